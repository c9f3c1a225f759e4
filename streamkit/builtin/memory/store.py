"""Checkpoints in a `MemoryLog`: they outlive an app, not the process. Also what a group keeps its offsets in."""

from __future__ import annotations

from collections.abc import Sequence

from streamkit.builtin import fencing
from streamkit.builtin.memory.log import MemoryLog
from streamkit.builtin.memory.settings import MemorySettings
from streamkit.errors import CheckpointPositionError, FencedError, StoreNotReadyError
from streamkit.model import Capabilities, Checkpoint, Partition
from streamkit.plugin import Adapter, AdapterContext, CheckpointStore, Claim, Grant

__all__ = ["MemoryStore"]

_ANSWERS = (FencedError, CheckpointPositionError, StoreNotReadyError)  # said of one checkpoint, never raised by `save`


class MemoryStore(Adapter[MemorySettings], CheckpointStore):
    """Rows of one broker and group in the `MemoryLog` of that name. The lock of the log makes each step atomic."""

    capabilities = Capabilities(fencing=True, scope="process", metadata_characters=4096, pending_bytes=1 << 20)

    def __init__(self, settings: MemorySettings, context: AdapterContext, *, group: str | None = None) -> None:
        super().__init__(settings, context)
        self._log = MemoryLog.named(settings.name)
        self._group = context.group if group is None else group
        self._rows = self._log.rows(context.broker, self._group)

    async def claim(self, partition: Partition, owner: str, epoch: int) -> Claim:
        await self._log.faults.strike("claim", self.context.worker)
        with self._log.lock:
            row = fencing.claimed(self._rows.get(_key(partition)), partition, owner, epoch)
            self._rows[_key(partition)] = row
        return fencing.claim_of(row)

    async def save(self, checkpoints: Sequence[tuple[Checkpoint, Grant]]) -> Sequence[Grant | Exception]:
        try:
            await self._log.faults.strike("save", self.context.worker)
        except _ANSWERS as error:
            return [error for _ in checkpoints]
        with self._log.lock:
            answers = [self._save(checkpoint, grant) for checkpoint, grant in checkpoints]
        await self._log.faults.strike("save_after_write", self.context.worker)
        return answers

    def _save(self, checkpoint: Checkpoint, grant: Grant) -> Grant | Exception:
        key = _key(checkpoint.partition)
        try:
            self._rows[key] = fencing.saved(self._rows.get(key), checkpoint, grant)
        except (FencedError, CheckpointPositionError) as error:
            return error
        return grant

    async def list(self) -> Sequence[Checkpoint]:
        await self._log.faults.strike("list", self.context.worker)
        with self._log.lock:
            return [row.checkpoint for _, row in sorted(self._rows.items(), key=lambda item: item[0]) if row.checkpoint is not None]

    async def members(self) -> int:
        """How many live members the group has: whether an operator may change anything."""
        with self._log.lock:
            return self._log.group(self._group).members(self.context.monotonic())

    async def overwrite(self, checkpoint: Checkpoint) -> None:
        key = _key(checkpoint.partition)
        with self._log.lock:
            self._rows[key] = fencing.overwritten(self._rows.get(key), checkpoint)

    async def delete(self, partitions: Sequence[Partition]) -> None:
        with self._log.lock:
            for key in map(_key, partitions):
                if (row := self._rows.get(key)) is not None:
                    self._rows[key] = fencing.forgotten(row)


def _key(partition: Partition) -> tuple[str, str]:
    return (partition.stream, partition.id)
