"""Checkpoints and leases in a `MemoryLog`: they outlive an app, not the process. Also what a group keeps its offsets in."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from streamkit.builtin.memory.faults import Operation
from streamkit.builtin.memory.log import MemoryLog
from streamkit.builtin.memory.settings import MemorySettings
from streamkit.errors import CheckpointPositionError, ConfigurationError, FencedError, StoreNotReadyError
from streamkit.model import Capabilities, Checkpoint, Lease, Partition
from streamkit.plugin import Adapter, AdapterContext, Claim, Grant, LeaseStore, fencing, leasing

__all__ = ["MemoryStore"]

T = TypeVar("T")
R = TypeVar("R")

_ANSWERS = (FencedError, CheckpointPositionError, StoreNotReadyError)  # said of one checkpoint or lease, never raised for all


class MemoryStore(Adapter[MemorySettings], LeaseStore):
    """Rows of one broker and group in the `MemoryLog` of that name. The lock of the log makes each step atomic."""

    capabilities = Capabilities(
        fencing=True, scope="process", metadata_characters=4096, pending_bytes=1 << 20, parked_bytes=1 << 16, leases=True
    )

    def __init__(self, settings: MemorySettings, context: AdapterContext, *, group: str | None = None) -> None:
        super().__init__(settings, context)
        self._log = MemoryLog.named(settings.name)
        self._group = context.group if group is None else group
        self._rows = self._log.rows(context.broker, self._group)
        self._requests = self._log.requests(context.broker, self._group)

    async def claim(self, partition: Partition, owner: str, epoch: int) -> Claim:
        await self._strike("claim")
        with self._log.lock:
            row = fencing.claimed(self._row(partition), partition, owner, epoch)
            self._rows[_key(partition)] = row
        await self._strike("claim_after_write")
        return fencing.claim_of(row)

    async def save(self, checkpoints: Sequence[tuple[Checkpoint, Grant]]) -> Sequence[Grant | Exception]:
        return await self._each("save", "save_after_write", checkpoints, lambda pair: self._save(*pair))

    def _save(self, checkpoint: Checkpoint, grant: Grant) -> Grant:
        self._rows[_key(checkpoint.partition)] = fencing.saved(self._row(checkpoint.partition), checkpoint, grant)
        return grant

    async def list(self) -> Sequence[Checkpoint]:
        await self._strike("list")
        with self._log.lock:
            return [row.checkpoint for _, row in self._sorted() if row.checkpoint is not None]

    async def members(self) -> int:
        """How many live members the group has: whether an operator may change anything."""
        with self._log.lock:
            return self._log.group(self._group).members(self.context.monotonic())

    async def overwrite(self, checkpoint: Checkpoint) -> None:
        with self._log.lock:
            self._rows[_key(checkpoint.partition)] = fencing.overwritten(self._row(checkpoint.partition), checkpoint)

    async def delete(self, partitions: Sequence[Partition]) -> None:
        with self._log.lock:
            for partition in partitions:
                if (row := self._row(partition)) is not None:
                    self._rows[_key(partition)] = fencing.forgotten(row)

    async def ask(self, partition: Partition, request: str) -> None:
        await self._strike("ask")
        with self._log.lock:
            self._requests[partition] = request

    async def requests(self) -> Mapping[Partition, str]:
        await self._strike("requests")
        with self._log.lock:
            return dict(self._requests)

    async def answered(self, partition: Partition, request: str) -> None:
        await self._strike("answered")
        with self._log.lock:
            if self._requests.get(partition) == request:
                del self._requests[partition]

    # -- leases ---------------------------------------------------------------------------------------------------

    async def leases(self) -> Sequence[Lease]:
        await self._strike("leases")
        with self._log.lock:
            return [leasing.lease_of(row, Partition(*key)) for key, row in self._sorted()]

    async def create(self, leases: Sequence[Lease]) -> None:
        await self._strike("create")
        with self._log.lock:
            for lease in leases:
                if self._row(lease.partition) is None:
                    self._rows[_key(lease.partition)] = leasing.created(lease)
        await self._strike("create_after_write")

    async def take(self, leases: Sequence[Lease], owner: str) -> Sequence[Claim | Exception]:
        return await self._each("take", "take_after_write", leases, lambda lease: self._take(lease, owner))

    def _take(self, lease: Lease, owner: str) -> Claim:
        row = self._rows[_key(lease.partition)] = leasing.taken(self._row(lease.partition), lease, owner)
        return fencing.claim_of(row)

    async def renew(self, held: Sequence[tuple[Partition, Grant]]) -> Sequence[Grant | Exception]:
        return await self._each("renew", "renew_after_write", held, lambda pair: self._renew(*pair))

    def _renew(self, partition: Partition, grant: Grant) -> Grant:
        self._rows[_key(partition)] = leasing.renewed(self._row(partition), partition, grant)
        return grant

    async def request_handover(self, lease: Lease, to: str) -> bool:
        await self._strike("request_handover")
        with self._log.lock:
            row = leasing.handed_over(self._row(lease.partition), lease, to)
            if row is not None:
                self._rows[_key(lease.partition)] = row
        await self._strike("request_handover_after_write")
        return row is not None

    async def release(self, held: Sequence[tuple[Partition, Grant]]) -> Sequence[Exception | None]:
        return await self._each("release", "release_after_write", held, lambda pair: self._release(*pair))

    def _release(self, partition: Partition, grant: Grant) -> None:
        self._rows[_key(partition)] = leasing.released(self._row(partition), partition, grant)

    async def name_children(self, partition: Partition, grant: Grant, children: Sequence[str]) -> Grant:
        await self._strike("name_children")
        with self._log.lock:
            self._rows[_key(partition)] = leasing.with_children(self._row(partition), partition, grant, children)
        await self._strike("name_children_after_write")
        return grant

    async def remove(self, leases: Sequence[Lease]) -> None:
        await self._strike("remove")
        with self._log.lock:
            for lease in leases:
                if leasing.is_unchanged(self._row(lease.partition), lease):
                    del self._rows[_key(lease.partition)]
        await self._strike("remove_after_write")

    # -- rows -----------------------------------------------------------------------------------------------------

    async def _each(self, before: Operation, after: Operation, items: Sequence[T], write: Callable[[T], R]) -> Sequence[R | Exception]:
        """Write for each item in one step; what is wrong with one is its own answer."""
        try:
            await self._strike(before)
        except _ANSWERS as error:
            return [error for _ in items]
        with self._log.lock:
            answers = [_answer(write, item) for item in items]
        await self._strike(after)
        return answers

    async def _strike(self, operation: Operation) -> None:
        await self._log.faults.strike(operation, self.context.worker)

    def _row(self, partition: Partition) -> fencing.Row | None:
        return self._rows.get(_key(partition))

    def _sorted(self) -> Sequence[tuple[tuple[str, str], fencing.Row]]:
        return sorted(self._rows.items(), key=lambda item: item[0])


def _answer(write: Callable[[T], R], item: T) -> R | Exception:
    try:
        return write(item)
    except (FencedError, CheckpointPositionError, ConfigurationError) as error:
        return error


def _key(partition: Partition) -> tuple[str, str]:
    return (partition.stream, partition.id)
