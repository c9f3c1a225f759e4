"""One stream of a `MemoryLog`: its partitions, their records, and how they split and merge. Pure data; the log holds the lock.

Two shapes. `kafka`: offsets from 0 in each partition, a key's partition is its crc32. `kinesis`: one row of very large
numbers for the whole stream, with gaps; each partition has a range of the md5 of keys and may be split or merged
(https://docs.aws.amazon.com/streams/latest/dev/key-concepts.html).
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from hashlib import md5
from typing import Literal
from zlib import crc32

from streamkit.errors import BrokerError, PositionExpiredError, PositionInvalidError
from streamkit.model import Partition, PlainRecord, Position, Record, StartPosition

__all__ = ["PartitionLog", "Shape", "Topic"]

Shape = Literal["kafka", "kinesis"]

_HASH_KEYS = 1 << 128
_FIRST_KINESIS_SEQUENCE = 2 << 184  # the version in the upper bits of the real ones


class PartitionLog:
    """The records of one partition, oldest first."""

    __slots__ = ("_bytes_before", "ends", "lost_through", "partition", "records", "sequences")

    def __init__(self, partition: Partition) -> None:
        self.partition = partition
        self.records: list[Record] = []
        self.sequences: list[int] = []
        self.ends: list[int] = []
        """Bytes ever written up to and including each record, so that a byte budget is found by bisection."""
        self.lost_through = -1
        """The highest sequence that was trimmed away; a reader that still needs it has come too late."""
        self._bytes_before = 0

    def append(self, record: Record, sequence: int) -> None:
        size = len(record.value or b"") + len(record.key or b"")
        self.records.append(record)
        self.sequences.append(sequence)
        self.ends.append((self.ends[-1] if self.ends else self._bytes_before) + size)

    def after(self, sequence: int) -> int:
        """How many records lie at or after `sequence`."""
        return len(self.sequences) - bisect_left(self.sequences, sequence)

    def size_at(self, sequence: int) -> int:
        """Bytes of the first record at or after `sequence`, which exists."""
        index = bisect_left(self.sequences, sequence)
        return self.ends[index] - (self.ends[index - 1] if index else self._bytes_before)

    def read(self, sequence: int, max_records: int, max_bytes: int) -> Sequence[Record]:
        """Records at or after `sequence` within both limits."""
        start = bisect_left(self.sequences, sequence)
        stop = min(start + max_records, len(self.records))
        before = self.ends[start - 1] if start else self._bytes_before
        return self.records[start : bisect_right(self.ends, before + max_bytes, start, stop)]

    def trim(self, before: int) -> None:
        """Forget the records below `before`."""
        count = bisect_left(self.sequences, before)
        if count:
            self.lost_through = self.sequences[count - 1]
            self._bytes_before = self.ends[count - 1]
            del self.records[:count], self.sequences[:count], self.ends[:count]


class Topic:
    """One stream. A stream deleted and made again is another topic, with another `incarnation`."""

    def __init__(self, stream: str, partitions: int, shape: Shape, incarnation: str) -> None:
        self.stream = stream
        self.shape = shape
        self.incarnation = incarnation
        self.logs: dict[str, PartitionLog] = {}
        self._next_kinesis = _FIRST_KINESIS_SEQUENCE
        self._turn = 0
        for index in range(partitions):
            ends = [_HASH_KEYS * i // partitions for i in (index, index + 1)]
            self._add(key_range=(ends[0], ends[1] - 1) if shape == "kinesis" else None)

    @property
    def partitions(self) -> list[Partition]:
        return [log.partition for log in self.logs.values()]

    def log(self, partition: str) -> PartitionLog:
        """Raises BrokerError if there is no such partition."""
        try:
            return self.logs[partition]
        except KeyError:
            raise BrokerError(f"{self.stream} has no partition {partition!r}", broker="memory", partition=partition) from None

    def append(
        self,
        value: bytes | None,
        key: bytes | None,
        headers: Iterable[tuple[str, bytes | None]],
        partition: str | None,
        timestamp: datetime,
    ) -> PlainRecord:
        """Write a record. Raises BrokerError if `partition` is unknown or has ended."""
        log = self.log(partition) if partition is not None else self._route(key)
        if log.partition.ended:
            raise BrokerError(f"{log.partition} has ended", broker="memory", partition=log.partition.id)
        sequence = self.next_sequence(log)
        if self.shape == "kinesis":
            self._next_kinesis += 1 + crc32(b"%d" % sequence) % 9
        record = PlainRecord(log.partition, Position(sequence), value, key=key, headers=tuple(headers), timestamp=timestamp)
        log.append(record, sequence)
        return record

    def next_sequence(self, log: PartitionLog) -> int:
        """No record of `log` has it or a higher one yet, and all that come will. Stays when everything was trimmed."""
        if self.shape == "kinesis":
            return self._next_kinesis
        return (log.sequences[-1] if log.sequences else log.lost_through) + 1

    def sequence(self, log: PartitionLog, start: StartPosition) -> int:
        """The first sequence that a reader which begins at `start` may be given."""
        if start.kind == "earliest":
            return log.lost_through + 1
        if start.kind == "time" and start.time is not None:
            return next((s for s, r in zip(log.sequences, log.records, strict=True) if r.timestamp >= start.time), self.next_sequence(log))
        if start.position is None or (start.is_end and log.partition.ended):
            return self.next_sequence(log)
        position = start.position
        if position.sequence is None:
            raise PositionInvalidError(f"{log.partition}: there is no record at {position}", broker="memory", partition=log.partition.id)
        return position.sequence + (start.kind == "after" or position.sub_sequence > 0)

    def check(self, log: PartitionLog, sequence: int) -> None:
        """Raise PositionExpiredError or PositionInvalidError if reading at `sequence` would skip or invent records."""
        if sequence <= log.lost_through:
            earliest = str(log.sequences[0] if log.sequences else self.next_sequence(log))
            message = f"{log.partition}: {sequence} is no longer kept, the oldest position is {earliest}"
            raise PositionExpiredError(message, earliest=earliest, broker="memory", partition=log.partition.id)
        if sequence > self.next_sequence(log):
            message = f"{log.partition}: {sequence} lies beyond the next position, {self.next_sequence(log)}"
            raise PositionInvalidError(message, broker="memory", partition=log.partition.id)

    def reachable(self, start: StartPosition) -> list[Partition]:
        """The partitions in which a reader that begins at `start` can meet records."""
        if start.kind not in ("latest", "time"):
            return self.partitions
        return [log.partition for log in self.logs.values() if not log.partition.ended or log.after(self.sequence(log, start))]

    def grow(self, total: int) -> None:
        """Add partitions until there are `total` (kafka shape). Raises ValueError if there are more, or the shape has none to add."""
        if self.shape != "kafka" or total < len(self.logs):
            raise ValueError(f"{self.stream} ({self.shape}, {len(self.logs)} partitions) cannot grow to {total}")
        while len(self.logs) < total:
            self._add()

    def split(self, partition: str) -> tuple[Partition, Partition]:
        """End a partition; each of its two children has half of its keys."""
        low, high = self._open_range(partition)
        if low == high:
            raise ValueError(f"{self.stream}/{partition} has one hash key only")
        middle = (low + high) // 2
        children = (self._add((partition,), (low, middle)), self._add((partition,), (middle + 1, high)))
        self._end(partition, children)
        return children

    def merge(self, one: str, other: str) -> Partition:
        """End two neighbours; their one child has the keys of both."""
        first, second = sorted((self._open_range(one), self._open_range(other)))
        if first[1] + 1 != second[0]:
            raise ValueError(f"{self.stream}: {one} and {other} are not neighbours")
        child = self._add((one, other), (first[0], second[1]))
        self._end(one, (child,))
        self._end(other, (child,))
        return child

    def _add(self, parents: tuple[str, ...] = (), key_range: tuple[int, int] | None = None) -> Partition:
        number = len(self.logs)
        name = f"shardId-{number:012d}" if self.shape == "kinesis" else str(number)
        partition = Partition(self.stream, name, incarnation=self.incarnation, parents=parents, key_range=key_range)
        self.logs[name] = PartitionLog(partition)
        return partition

    def _end(self, partition: str, children: Iterable[Partition]) -> None:
        log = self.logs[partition]
        log.partition = replace(log.partition, ended=True, children=tuple(child.id for child in children))

    def _open_range(self, partition: str) -> tuple[int, int]:
        found = self.log(partition).partition
        if found.ended or found.key_range is None:
            raise ValueError(f"{found} cannot be split or merged: it has {'ended' if found.ended else 'no hash keys'}")
        return found.key_range

    def _route(self, key: bytes | None) -> PartitionLog:
        if key is not None and self.shape == "kinesis":
            return self._holder(int.from_bytes(md5(key, usedforsecurity=False).digest(), "big"))
        if key is not None:
            return self.logs[str(crc32(key) % len(self.logs))]
        open_logs = [log for log in self.logs.values() if not log.partition.ended]
        self._turn += 1
        return open_logs[(self._turn - 1) % len(open_logs)]

    def _holder(self, hash_key: int) -> PartitionLog:
        for log in self.logs.values():
            low, high = log.partition.key_range or (0, -1)
            if low <= hash_key <= high and not log.partition.ended:
                return log
        raise AssertionError(f"{self.stream}: no open partition holds hash key {hash_key}")
