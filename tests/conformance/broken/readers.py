"""Readers of a memory log that break one rule each. Every one is a sound reader but for the lines that are here."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from typing import ClassVar

from streamkit.builtin.memory.reader import MemoryReader
from streamkit.errors import BrokerError
from streamkit.model import Batch, Headers, Partition, PlainRecord, Position, Record, StartPosition
from streamkit.plugin import Budget, CaughtUp, Ended, Event, Failed, Idle

__all__ = [
    "AddsWhereItWas",
    "BatchOnceOnly",
    "BlocksWhenIdle",
    "CaughtUpFirst",
    "CountsPositions",
    "DropsWhatWasPrefetched",
    "EndsAtTheTip",
    "EndsWhenDeleted",
    "EndsWithoutChildren",
    "FirstHeaderWins",
    "FirstOwnerWins",
    "FirstPartitionOnly",
    "ForgetsHeaders",
    "HangsInClose",
    "IdlesBesideRecords",
    "IgnoresBytes",
    "IgnoresPause",
    "IgnoresRecords",
    "IgnoresRemove",
    "NaiveTime",
    "NeverAdmitsLarge",
    "NeverCaughtUp",
    "NoneIsEmpty",
    "OrphansChildren",
    "RepeatsLast",
    "Reverses",
    "SkipsOne",
    "SkipsTheOldest",
    "SlicesWrong",
    "StartsAfterAt",
    "StartsAtAfter",
    "StopsAtTheTip",
    "StripsValues",
    "WrongLast",
]


def changed(record: Record, **fields: object) -> PlainRecord:
    """The same record but for these."""
    position = fields.get("position", record.position)
    value = fields.get("value", record.value)
    made = PlainRecord(record.partition, position, value, key=record.key, headers=record.headers, timestamp=record.timestamp)  # type: ignore[arg-type]
    for name in fields.keys() - {"position", "value"}:
        setattr(made, f"_{name}", fields[name])
    return made


class EachRecord(MemoryReader):
    """Changes records one by one."""

    def change(self, record: Record) -> Record:
        return record

    def read(self, budget: Budget) -> list[Event]:
        return [Batch.of(map(self.change, e), received=e.received) if isinstance(e, Batch) else e for e in super().read(budget)]


class StripsValues(EachRecord):
    def change(self, record: Record) -> Record:
        return changed(record, value=None if record.value is None else record.value.strip())


class NoneIsEmpty(EachRecord):
    def change(self, record: Record) -> Record:
        return changed(record, value=record.value or b"")


class ForgetsHeaders(EachRecord):
    def change(self, record: Record) -> Record:
        return changed(record, headers=())


class NaiveTime(EachRecord):
    def change(self, record: Record) -> Record:
        return changed(record, timestamp=record.timestamp.replace(tzinfo=None))


class CountsPositions(EachRecord):
    """Positions are counted by each reader for itself."""

    counted = 0

    def change(self, record: Record) -> Record:
        self.counted += 1
        return changed(record, position=Position(self.counted + id(self) % 1000))


class _FirstWins(Headers):
    def get(self, name: str, default: bytes | None = None) -> bytes | None:
        return next((value for key, value in self if key == name), default)


class _FirstWinsRecord(PlainRecord):
    __slots__ = ()

    @property
    def headers(self) -> Headers:
        return _FirstWins(self._headers)


class FirstHeaderWins(EachRecord):
    def change(self, record: Record) -> Record:
        return _FirstWinsRecord(record.partition, record.position, record.value, headers=record.headers, timestamp=record.timestamp)


class SkipsOne(MemoryReader):
    def read(self, budget: Budget) -> list[Event]:
        return [e.slice(0, len(e) - 1) if isinstance(e, Batch) and len(e) > 1 else e for e in super().read(budget)]


class RepeatsLast(MemoryReader):
    """What was returned last comes once more with the next poll."""

    last: Batch | None = None

    def read(self, budget: Budget) -> list[Event]:
        events = super().read(budget)
        if any(isinstance(event, Batch) for event in events) and self.last is not None:
            events.insert(0, self.last)
        self.last = next((event for event in events if isinstance(event, Batch)), None)
        return events


class _Reversed(Batch):
    """Any order: `Batch.of` would refuse it."""

    __slots__ = ("_inner",)

    def __init__(self, inner: Batch) -> None:
        self._inner = inner
        self.received = self.delivered = inner.received

    @property
    def partition(self) -> Partition:
        return self._inner.partition

    def __iter__(self) -> Iterator[Record]:
        return reversed(list(self._inner))

    def __len__(self) -> int:
        return len(self._inner)

    @property
    def bytes(self) -> int:
        return self._inner.bytes

    def values(self) -> list:  # type: ignore[type-arg]
        return list(reversed(self._inner.values()))

    @property
    def first(self) -> Position:
        return self._inner.last

    @property
    def last(self) -> Position:
        return self._inner.first

    def slice(self, start: int, stop: int) -> Batch:
        return self._inner.slice(start, stop)


class _Forward(_Reversed):
    """The batch itself, for subclasses to spoil."""

    __slots__ = ()

    def __iter__(self) -> Iterator[Record]:
        return iter(self._inner)

    def values(self) -> list:  # type: ignore[type-arg]
        return list(self._inner.values())

    @property
    def first(self) -> Position:
        return self._inner.first

    @property
    def last(self) -> Position:
        return self._inner.last


class _Last(_Forward):
    __slots__ = ()

    @property
    def last(self) -> Position:
        return Position((self._inner.last.sequence or 0) + 1)


class _Once(_Forward):
    __slots__ = ("_records",)

    def __iter__(self) -> Iterator[Record]:
        if not hasattr(self, "_records"):
            self._records = iter(list(self._inner))
        return self._records


class _Slice(_Forward):
    __slots__ = ()

    def slice(self, start: int, stop: int) -> Batch:
        return self._inner.slice(start, stop + 1)


class Reverses(MemoryReader):
    kind: type[_Reversed] = _Reversed

    def read(self, budget: Budget) -> list[Event]:
        return [self.kind(event) if isinstance(event, Batch) else event for event in super().read(budget)]


class WrongLast(Reverses):
    kind = _Last


class BatchOnceOnly(Reverses):
    kind = _Once


class SlicesWrong(Reverses):
    kind = _Slice


class FirstPartitionOnly(MemoryReader):
    """Others wait until the first one has nothing more, which it never says."""

    def read(self, budget: Budget) -> list[Event]:
        first = next(iter(self._cursors), None)
        return [event for event in super().read(budget) if getattr(event, "partition", first) == first]


class CaughtUpFirst(MemoryReader):
    def read(self, budget: Budget) -> list[Event]:
        said: list[Event] = [CaughtUp(cursor.partition) for cursor in self._cursors.values() if not cursor.caught_up]
        return said + super().read(budget)


class NeverCaughtUp(MemoryReader):
    def read(self, budget: Budget) -> list[Event]:
        return [event for event in super().read(budget) if not isinstance(event, CaughtUp)]


class StartsAfterAt(MemoryReader):
    async def add(self, partition: Partition, start: StartPosition, *, written: datetime | None = None, epoch: int = 0) -> None:
        await super().add(partition, replace(start, kind="after") if start.kind == "at" else start)


class StartsAtAfter(MemoryReader):
    async def add(self, partition: Partition, start: StartPosition, *, written: datetime | None = None, epoch: int = 0) -> None:
        await super().add(partition, replace(start, kind="at") if start.kind == "after" else start)


class SkipsTheOldest(MemoryReader):
    """An offset of 0 is taken for none."""

    async def add(self, partition: Partition, start: StartPosition, *, written: datetime | None = None, epoch: int = 0) -> None:
        await super().add(partition, start)
        self._cursors[partition].sequence += start == StartPosition.EARLIEST


class StopsAtTheTip(MemoryReader):
    """What is caught up is done with."""

    def read(self, budget: Budget) -> list[Event]:
        events = super().read(budget)
        self.drop([event.partition for event in events if isinstance(event, CaughtUp)])
        return events


class AddsWhereItWas(MemoryReader):
    """Keeps its place when a partition is removed."""

    def __init__(self, *arguments: object) -> None:
        super().__init__(*arguments)  # type: ignore[arg-type]
        self.places: dict[Partition, int] = {}

    def drop(self, partitions: Sequence[Partition]) -> None:
        self.places |= {p: self._cursors[p].sequence for p in partitions if p in self._cursors}
        super().drop(partitions)

    async def add(self, partition: Partition, start: StartPosition, *, written: datetime | None = None, epoch: int = 0) -> None:
        await super().add(partition, start)
        self._cursors[partition].sequence = self.places.get(partition, self._cursors[partition].sequence)


class FirstOwnerWins(MemoryReader):
    """Whoever reads a partition keeps others from it."""

    owners: ClassVar[dict[tuple[str, Partition], MemoryReader]] = {}

    async def add(self, partition: Partition, start: StartPosition, *, written: datetime | None = None, epoch: int = 0) -> None:
        if self.owners.setdefault((self._log.name, partition), self) is not self:
            raise BrokerError(f"{partition} has an owner", broker="memory")
        await super().add(partition, start)


class IgnoresPause(MemoryReader):
    async def pause(self, partitions: Sequence[Partition]) -> None:
        """Nothing."""


class DropsWhatWasPrefetched(MemoryReader):
    """A paused partition goes on at its tip."""

    async def resume(self, partitions: Sequence[Partition]) -> None:
        await super().resume(partitions)
        for partition in partitions:
            if (cursor := self._cursors.get(partition)) is not None and cursor.sequence:
                cursor.sequence += 1


class IgnoresRemove(MemoryReader):
    def drop(self, partitions: Sequence[Partition]) -> None:
        """Nothing."""


class IgnoresRecords(MemoryReader):
    def read(self, budget: Budget) -> list[Event]:
        return super().read(replace(budget, max_records=1000))


class IgnoresBytes(MemoryReader):
    def read(self, budget: Budget) -> list[Event]:
        return super().read(replace(budget, max_bytes=1 << 30))


class NeverAdmitsLarge(MemoryReader):
    def read(self, budget: Budget) -> list[Event]:
        with self._log.lock:
            for cursor in self._cursors.values():
                log = self._log.topic(cursor.partition.stream).log(cursor.partition.id)
                if log.after(cursor.sequence) and log.size_at(cursor.sequence) > budget.max_bytes:
                    return []
        return super().read(budget)


class IdlesBesideRecords(MemoryReader):
    async def poll(self, budget: Budget) -> Sequence[Event]:
        return [Idle(0.0), Idle(0.0), *self.read(budget)]


class BlocksWhenIdle(MemoryReader):
    async def poll(self, budget: Budget) -> Sequence[Event]:
        if not (events := self.read(budget)):
            time.sleep(2.1)
        return events or [Idle(0.0)]


class HangsInClose(MemoryReader):
    async def close(self) -> None:
        import asyncio

        await asyncio.Event().wait()


class EndsAtTheTip(MemoryReader):
    def read(self, budget: Budget) -> list[Event]:
        return [Ended(event.partition) if isinstance(event, CaughtUp) else event for event in super().read(budget)]


class EndsWithoutChildren(MemoryReader):
    def read(self, budget: Budget) -> list[Event]:
        return [Ended(event.partition) if isinstance(event, Ended) else event for event in super().read(budget)]


class OrphansChildren(MemoryReader):
    def read(self, budget: Budget) -> list[Event]:
        return [_orphaned(event) if isinstance(event, Ended) else event for event in super().read(budget)]


def _orphaned(event: Ended) -> Ended:
    return Ended(event.partition, tuple(replace(child, parents=()) for child in event.children))


class EndsWhenDeleted(MemoryReader):
    def read(self, budget: Budget) -> list[Event]:
        return [Ended(event.partition) if isinstance(event, Failed) else event for event in super().read(budget)]
