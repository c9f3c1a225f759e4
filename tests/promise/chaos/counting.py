"""A broker that several processes can read without sharing anything: record n of a partition is n, and it is there when its time has come.

`begin` (unix seconds) and `rate` (records a second and partition) say which records there are; after `seconds` no more are
added. Keys are dealt out so that a key has records all over its partition.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from pydantic import BaseModel, ConfigDict, Field

from streamkit.errors import StreamGoneError
from streamkit.model import Batch, Capabilities, Partition, PlainRecord, Position, StartPosition
from streamkit.plugin import Broker, Budget, CaughtUp, Event, Idle, Plugin, Reader, hookimpl

__all__ = ["CountingBroker", "CountingSettings", "key_of", "streamkit_plugin"]

STREAM = "numbers"


class CountingSettings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    partitions: int = Field(default=6, description="How many partitions there are.")
    keys: int = Field(default=17, description="How many keys each partition has.")
    begin: float = Field(description="Unix time of the first record.")
    rate: float = Field(default=40.0, description="Records a second, in each partition.")
    seconds: float = Field(default=20.0, description="How long records are added.")


@hookimpl
def streamkit_plugin() -> Plugin:
    return Plugin(name="counting", settings=CountingSettings, broker="tests.promise.chaos.counting:CountingBroker")


def key_of(number: int, keys: int) -> bytes:
    return b"k%d" % (number * 7919 % keys)


class CountingBroker(Broker[CountingSettings]):
    capabilities = Capabilities(static=True, start_time=True)

    async def discover(self, streams: Sequence[str], start: StartPosition) -> Sequence[Partition]:
        if list(streams) != [STREAM]:
            raise StreamGoneError(f"there is only {STREAM!r}, not {', '.join(streams)}")
        return [Partition(STREAM, str(number)) for number in range(self.settings.partitions)]

    async def tips(self, partitions: Sequence[Partition]) -> Sequence[Position | None]:
        count = self.count()
        return [Position(count - 1) if count else None for _ in partitions]

    async def resolve(self, partition: Partition, start: StartPosition) -> StartPosition:
        return StartPosition.at(Position(self._number(start))) if start.kind in ("latest", "time") else start

    def reader(self) -> Reader:
        return CountingReader(self)

    def count(self) -> int:
        """How many records each partition has by now."""
        age = min(self.settings.seconds, self.context.unix_time() - self.settings.begin)
        return max(0, int(age * self.settings.rate))

    def _number(self, start: StartPosition) -> int:
        if start.kind == "latest":
            return self.count()
        if start.kind == "time":
            assert start.time is not None
            return max(0, int((start.time.timestamp() - self.settings.begin) * self.settings.rate))
        if start.position is None:
            return 0
        return (start.position.sequence or 0) + (start.kind == "after")

    def record(self, partition: Partition, number: int) -> PlainRecord:
        at = datetime.fromtimestamp(self.settings.begin + number / self.settings.rate, UTC)
        return PlainRecord(partition, Position(number), b"%d" % number, key=key_of(number, self.settings.keys), timestamp=at)


@dataclass(slots=True)
class _Cursor:
    number: int
    paused: bool = False
    caught_up: bool = False


class CountingReader(Reader):
    def __init__(self, broker: CountingBroker) -> None:
        self._broker = broker
        self._cursors: dict[Partition, _Cursor] = {}

    async def add(self, partition: Partition, start: StartPosition, *, written: datetime | None = None, epoch: int = 0) -> None:
        self._cursors[partition] = _Cursor(self._broker._number(start))

    async def remove(self, partitions: Sequence[Partition]) -> None:
        for partition in partitions:
            self._cursors.pop(partition, None)

    async def pause(self, partitions: Sequence[Partition]) -> None:
        self._set_paused(partitions, True)

    async def resume(self, partitions: Sequence[Partition]) -> None:
        self._set_paused(partitions, False)

    def _set_paused(self, partitions: Sequence[Partition], paused: bool) -> None:
        for partition in partitions:
            if partition in self._cursors:
                self._cursors[partition].paused = paused

    async def poll(self, budget: Budget) -> Sequence[Event]:
        await asyncio.sleep(0)
        events: list[Event] = []
        left, count = budget.max_records, self._broker.count()
        for partition, cursor in list(self._cursors.items()):
            if cursor.paused or left <= 0:
                continue
            end = min(count, cursor.number + left)
            if cursor.number < end:
                events.append(Batch.of([self._broker.record(partition, n) for n in range(cursor.number, end)], lag_records=count - end))
                left -= end - cursor.number
                cursor.number, cursor.caught_up = end, False
                self._cursors[partition] = self._cursors.pop(partition)
            elif not cursor.caught_up:
                cursor.caught_up = True
                events.append(CaughtUp(partition))
        return events or [Idle(0.02)]
