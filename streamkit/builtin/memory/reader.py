"""Reads partitions of a `MemoryLog`: never blocks, returns what is there, fair over partitions within each poll."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from streamkit.builtin.memory.log import MemoryLog
from streamkit.builtin.memory.topic import PartitionLog, Topic
from streamkit.errors import BrokerError, PositionInvalidError
from streamkit.model import Batch, Partition, StartPosition
from streamkit.plugin import AdapterContext, Budget, CaughtUp, Ended, Event, Failed, Idle, Reader

__all__ = ["MemoryReader", "topic_of"]

_IDLE_SECONDS = 0.01
_MAX_KINESIS_BYTES = 10 << 20  # of one GetRecords answer; it has 10 000 records at most
_MAX_KINESIS_RECORDS = 10_000


@dataclass(slots=True, eq=False)
class _Cursor:
    partition: Partition
    sequence: int
    """The lowest one that has not been returned."""
    paused: bool = False
    caught_up: bool = False
    """`CaughtUp` has been said and nothing has been returned since."""


class MemoryReader(Reader):
    """One cursor for each partition; the one that was served longest ago comes first."""

    def __init__(self, log: MemoryLog, context: AdapterContext) -> None:
        self._log = log
        self._context = context
        self._cursors: dict[Partition, _Cursor] = {}

    async def add(self, partition: Partition, start: StartPosition, *, written: datetime | None = None, epoch: int = 0) -> None:
        with self._log.lock:
            topic = topic_of(self._log, partition)
            self._cursors[partition] = _Cursor(partition, topic.sequence(topic.log(partition.id), start))

    async def remove(self, partitions: Sequence[Partition]) -> None:
        self.drop(partitions)

    def drop(self, partitions: Sequence[Partition]) -> None:
        """`remove`, for those who hold the log's lock."""
        for partition in partitions:
            self._cursors.pop(partition, None)

    async def pause(self, partitions: Sequence[Partition]) -> None:
        self._set_paused(partitions, True)

    async def resume(self, partitions: Sequence[Partition]) -> None:
        self._set_paused(partitions, False)

    def _set_paused(self, partitions: Sequence[Partition], paused: bool) -> None:
        for partition in partitions:
            if (cursor := self._cursors.get(partition)) is not None:
                cursor.paused = paused

    async def poll(self, budget: Budget) -> Sequence[Event]:
        await self._log.faults.strike("poll", self._context.worker)
        return self.read(budget) or [Idle(_IDLE_SECONDS)]

    def read(self, budget: Budget) -> list[Event]:
        """What is there now; empty if nothing is."""
        with self._log.lock:
            events: list[Event] = []
            ready: list[tuple[_Cursor, Topic, PartitionLog]] = []
            for cursor in [cursor for cursor in self._cursors.values() if not cursor.paused]:
                try:
                    topic = topic_of(self._log, cursor.partition)
                    log = topic.log(cursor.partition.id)
                    topic.check(log, cursor.sequence)
                except BrokerError as error:
                    del self._cursors[cursor.partition]
                    events.append(Failed(cursor.partition, error))
                    continue
                if log.after(cursor.sequence):
                    ready.append((cursor, topic, log))
                else:
                    events.extend(self._at_tip(cursor, topic, log))
            return events + list(self._share_out(ready, budget))

    def _share_out(self, ready: Sequence[tuple[_Cursor, Topic, PartitionLog]], budget: Budget) -> Iterator[Event]:
        """A batch for each, of equal shares; what one leaves over goes to those after it."""
        records, size = budget.max_records, budget.max_bytes
        admit = True  # one record is always admitted, however large
        for index, (cursor, topic, log) in enumerate(ready):
            waiting = len(ready) - index
            share = Budget(max(1, records // waiting), size // waiting, 0)
            if not admit and (records < 1 or log.size_at(cursor.sequence) > size):
                continue
            batch = self._take(cursor, topic, log, share)
            records -= len(batch)
            size -= batch.bytes
            admit = False
            yield batch
            if not log.after(cursor.sequence):
                yield from self._at_tip(cursor, topic, log)

    def _take(self, cursor: _Cursor, topic: Topic, log: PartitionLog, share: Budget) -> Batch:
        max_records, max_bytes = share.max_records, share.max_bytes
        if topic.shape == "kinesis":
            max_records, max_bytes = min(max_records, _MAX_KINESIS_RECORDS), min(max_bytes, _MAX_KINESIS_BYTES)
        first_size = log.size_at(cursor.sequence)
        records = log.read(cursor.sequence, max_records, max(max_bytes, first_size))
        cursor.sequence = (records[-1].position.sequence or 0) + 1
        cursor.caught_up = False
        self._cursors[cursor.partition] = self._cursors.pop(cursor.partition)  # served: to the end of the row
        return Batch.of(records, received=self._context.unix_time(), lag_records=log.after(cursor.sequence))

    def _at_tip(self, cursor: _Cursor, topic: Topic, log: PartitionLog) -> Iterator[Event]:
        if log.partition.ended:
            del self._cursors[cursor.partition]
            yield Ended(log.partition, tuple(topic.logs[child].partition for child in log.partition.children))
        elif not cursor.caught_up:
            cursor.caught_up = True
            yield CaughtUp(cursor.partition)


def topic_of(log: MemoryLog, partition: Partition) -> Topic:
    """The stream of a partition. Raises StreamGoneError, or PositionInvalidError if it is another one of the same name."""
    topic = log.topic(partition.stream)
    if partition.incarnation and partition.incarnation != topic.incarnation:
        message = f"{partition} is of {partition.incarnation!r}, but the stream is now {topic.incarnation!r}"
        raise PositionInvalidError(message, broker="memory", partition=partition.id)
    return topic
