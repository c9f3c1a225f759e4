"""Stores that break one rule each. Every one is a sound memory store but for the lines that are here."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from streamkit.builtin.file import FileStore
from streamkit.builtin.memory import MemoryStore
from streamkit.errors import CheckpointPositionError, StreamkitError
from streamkit.model import Checkpoint, Lease, Partition, StartPosition
from streamkit.plugin import Claim, Grant, fencing, leasing

__all__ = [
    "AbsentIsEarliest",
    "AllOrNothing",
    "AnswersAnyRequest",
    "ClaimsWithoutLock",
    "CreatesAnew",
    "CreatesWithoutCheckpoint",
    "CutsMetadata",
    "DeclaresNoLeases",
    "DeletesTheEpoch",
    "EpochFromTheClock",
    "FencesItsOwnRenewal",
    "ForgetsChildren",
    "ForgetsLineage",
    "ForgetsPending",
    "GrantsToBoth",
    "IgnoresIncarnation",
    "KeepsEpoch",
    "KeepsUntilClosed",
    "LocksItsOwnProcess",
    "LowersTheEpoch",
    "MixesGroups",
    "MovesBack",
    "OverwritesSoftly",
    "RefusesEqual",
    "ReleasesWithoutFence",
    "RemovesAnyway",
    "RenewsNothing",
    "RequestIsASign",
    "SavesTheUnknown",
    "TakesByEpochAlone",
    "TakesWithoutLock",
    "TrustsAnyGrant",
    "WritesWhenClosed",
]


T = TypeVar("T")


def key(partition: Partition) -> tuple[str, str]:
    return partition.stream, partition.id


class AbsentIsEarliest(MemoryStore):
    async def claim(self, partition: Partition, owner: str, epoch: int) -> Claim:
        claim = await super().claim(partition, owner, epoch)
        return claim if claim.checkpoint else replace(claim, checkpoint=Checkpoint(partition, StartPosition.EARLIEST))


class LowersTheEpoch(MemoryStore):
    """What the caller says counts, even if it is less."""

    async def claim(self, partition: Partition, owner: str, epoch: int) -> Claim:
        claim = await super().claim(partition, owner, epoch)
        row = self._rows[key(partition)] = replace(self._rows[key(partition)], epoch=epoch or claim.epoch)
        return fencing.claim_of(row)


class KeepsEpoch(MemoryStore):
    """A claim does not raise what is there."""

    async def claim(self, partition: Partition, owner: str, epoch: int) -> Claim:
        before = self._rows.get(key(partition), fencing.Row()).epoch
        await super().claim(partition, owner, epoch)
        row = self._rows[key(partition)] = replace(self._rows[key(partition)], epoch=max(before, epoch, 1))
        return fencing.claim_of(row)


class TrustsAnyGrant(MemoryStore):
    def _save(self, checkpoint: Checkpoint, grant: Grant) -> Grant:
        row = self._row(checkpoint.partition) or fencing.Row()
        self._rows[key(checkpoint.partition)] = replace(row, checkpoint=checkpoint)
        return grant


class MovesBack(MemoryStore):
    def _save(self, checkpoint: Checkpoint, grant: Grant) -> Grant:
        row = fencing.checked(self._row(checkpoint.partition), checkpoint.partition, grant)
        self._rows[key(checkpoint.partition)] = replace(row, checkpoint=checkpoint, version=row.version + 1)
        return grant


class SavesTheUnknown(MemoryStore):
    """A position that nobody can compare is taken for a later one."""

    def _save(self, checkpoint: Checkpoint, grant: Grant) -> Grant:
        if checkpoint.at.position is None or checkpoint.at.position.sequence is not None:
            return super()._save(checkpoint, grant)
        row = fencing.checked(self._row(checkpoint.partition), checkpoint.partition, grant)
        self._rows[key(checkpoint.partition)] = replace(row, checkpoint=checkpoint, version=row.version + 1)
        return grant


class RefusesEqual(MemoryStore):
    def _save(self, checkpoint: Checkpoint, grant: Grant) -> Grant:
        row = self._row(checkpoint.partition)
        if row is not None and row.checkpoint is not None and row.checkpoint.at == checkpoint.at:
            raise CheckpointPositionError("again", position=checkpoint.at, low=row.checkpoint.at, high=None)
        return super()._save(checkpoint, grant)


class AllOrNothing(MemoryStore):
    async def save(self, checkpoints: Sequence[tuple[Checkpoint, Grant]]) -> Sequence[Grant | Exception]:
        answers = await super().save(checkpoints)
        error = next((answer for answer in answers if isinstance(answer, Exception)), None)
        return answers if error is None else [error] * len(answers)


class IgnoresIncarnation(MemoryStore):
    async def claim(self, partition: Partition, owner: str, epoch: int) -> Claim:
        return await super().claim(replace(partition, incarnation=""), owner, epoch)


class ForgetsPending(MemoryStore):
    def _save(self, checkpoint: Checkpoint, grant: Grant) -> Grant:
        return super()._save(replace(checkpoint, pending=None, pending_state=b""), grant)


class MixesGroups(MemoryStore):
    """One name of broker and group together."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._rows = self._log.rows("", f"{self.context.broker}.{self._group}".strip("."))


class OverwritesSoftly(MemoryStore):
    async def overwrite(self, checkpoint: Checkpoint) -> None:
        row = self._row(checkpoint.partition) or fencing.Row()
        self._rows[key(checkpoint.partition)] = replace(row, checkpoint=checkpoint)


class DeletesTheEpoch(MemoryStore):
    async def delete(self, partitions: Sequence[Partition]) -> None:
        for partition in partitions:
            self._rows.pop(key(partition), None)


class AnswersAnyRequest(MemoryStore):
    async def answered(self, partition: Partition, request: str) -> None:
        self._requests.pop(partition, None)


class CutsMetadata(MemoryStore):
    def _save(self, checkpoint: Checkpoint, grant: Grant) -> Grant:
        return super()._save(replace(checkpoint, metadata=checkpoint.metadata[:4096]), grant)


class KeepsUntilClosed(MemoryStore):
    """Answers at once, and never writes."""

    async def save(self, checkpoints: Sequence[tuple[Checkpoint, Grant]]) -> Sequence[Grant | Exception]:
        return [grant for _, grant in checkpoints]


class EpochFromTheClock(MemoryStore):
    async def claim(self, partition: Partition, owner: str, epoch: int) -> Claim:
        await super().claim(partition, owner, epoch)
        row = self._rows[key(partition)] = replace(self._rows[key(partition)], epoch=int(self.context.unix_time()))
        return fencing.claim_of(row)


class ClaimsWithoutLock(MemoryStore):
    """Reads, lets others have a turn, and writes."""

    async def claim(self, partition: Partition, owner: str, epoch: int) -> Claim:
        row = fencing.claimed(self._row(partition), partition, owner, epoch)
        await asyncio.sleep(0.02)
        self._rows[key(partition)] = row
        return fencing.claim_of(row)


class DeclaresNoLeases(MemoryStore):
    capabilities = replace(MemoryStore.capabilities, leases=False)


class TakesWithoutLock(MemoryStore):
    async def take(self, leases: Sequence[Lease], owner: str) -> Sequence[Claim | Exception]:
        rows = []
        answers: list[Claim | Exception] = []
        for lease in leases:
            try:
                rows.append((lease, leasing.taken(self._row(lease.partition), lease, owner)))
                answers.append(fencing.claim_of(rows[-1][1]))
            except StreamkitError as error:
                answers.append(error)
        await asyncio.sleep(0.01)
        for lease, row in rows:
            self._rows[key(lease.partition)] = row
        return answers


class TakesByEpochAlone(MemoryStore):
    def _take(self, lease: Lease, owner: str) -> Claim:
        row = self._row(lease.partition)
        if row is not None and row.epoch == lease.epoch:
            lease = replace(lease, version=row.version, owner=row.owner)
        return super()._take(lease, owner)


class ForgetsLineage(MemoryStore):
    async def create(self, leases: Sequence[Lease]) -> None:
        await super().create([replace(lease, partition=Partition(lease.partition.stream, lease.partition.id)) for lease in leases])


class CreatesAnew(MemoryStore):
    async def create(self, leases: Sequence[Lease]) -> None:
        for lease in leases:
            self._rows[key(lease.partition)] = leasing.created(lease)


class CreatesWithoutCheckpoint(MemoryStore):
    async def create(self, leases: Sequence[Lease]) -> None:
        await super().create([replace(lease, checkpoint=None) for lease in leases])


class GrantsToBoth(MemoryStore):
    """A take is of what is there now, whatever was listed."""

    def _take(self, lease: Lease, owner: str) -> Claim:
        row = self._row(lease.partition)
        return super()._take(lease if row is None else leasing.lease_of(row, lease.partition), owner)


class RenewsNothing(MemoryStore):
    def _renew(self, partition: Partition, grant: Grant) -> Grant:
        fencing.checked(self._row(partition), partition, grant)
        return grant


class FencesItsOwnRenewal(MemoryStore):
    """Each renewal gives another grant, and the one before is refused."""

    def _renew(self, partition: Partition, grant: Grant) -> Grant:
        row = leasing.renewed(self._row(partition), partition, grant)
        row = self._rows[key(partition)] = replace(row, epoch=row.epoch + 1)
        return Grant(row.epoch)


class RequestIsASign(MemoryStore):
    async def request_handover(self, lease: Lease, to: str) -> bool:
        noted = await super().request_handover(lease, to)
        if noted:
            row = self._rows[key(lease.partition)]
            self._rows[key(lease.partition)] = replace(row, version=row.version + 1)
        return noted


class ReleasesWithoutFence(MemoryStore):
    """Frees, and lets the old grant save."""

    def _release(self, partition: Partition, grant: Grant) -> None:
        row = fencing.checked(self._row(partition), partition, grant)
        self._rows[key(partition)] = replace(row, version=row.version + 1, fruitless_claims=0)


class ForgetsChildren(MemoryStore):
    async def take(self, leases: Sequence[Lease], owner: str) -> Sequence[Claim | Exception]:
        answers = await super().take(leases, owner)
        for lease in leases:
            if (row := self._row(lease.partition)) is not None and row.partition is not None:
                self._rows[key(lease.partition)] = replace(row, partition=replace(row.partition, children=()))
        return answers


class RemovesAnyway(MemoryStore):
    async def remove(self, leases: Sequence[Lease]) -> None:
        for lease in leases:
            self._rows.pop(key(lease.partition), None)


# -- between processes --------------------------------------------------------------------------------------------------


class LocksItsOwnProcess(FileStore):
    """Keeps the threads of a process apart, and processes not."""

    own_lock = threading.Lock()

    def _locked(self, work: Callable[[], T]) -> T:
        with self._translated(), self.own_lock:
            return work()

    def _write(self, partition: Partition, row: fencing.Row) -> None:
        time.sleep(0.005)  # so that they meet: since the row was read, others have had a turn
        super()._write(partition, row)


class WritesWhenClosed(FileStore):
    """Answers at once, and is never told that it will be killed."""

    def _save(self, checkpoint: Checkpoint, grant: Grant) -> Grant | Exception:
        return grant
