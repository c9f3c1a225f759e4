"""Kinesis records and runs of them, and what makes runs of an answer: KPL aggregates taken apart, nothing before our position.

Hot: a run keeps the service's records and their values in lists, and everything else is computed on first use. A position
is (sequence number, number inside an aggregate). `reader.py` calls the `Unpacker` once for each answer.
"""

from __future__ import annotations

import builtins
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from itertools import islice, pairwise, repeat
from operator import lt
from typing import Literal

from streamkit.errors import BrokerUnavailableError
from streamkit.model import Batch, Headers, Partition, Position, Record
from streamkit_kinesis.aggregate import ALL_HASHES, MAGIC, Aggregate, read_aggregate
from streamkit_kinesis.parser import RawRecord

__all__ = ["DAMAGED", "OUT_OF_RANGE", "KinesisBatch", "KinesisRecord", "KinesisUserRecord", "Unpacker"]

DAMAGED = "aggregate could not be taken apart, delivered whole"
OUT_OF_RANGE = "records of another shard's hash keys in an aggregate, dropped"

_NO_HEADERS = Headers()


class KinesisRecord(Record):
    """One record. `native` is the service's own, a `RawRecord`: of a user record the whole aggregate."""

    __slots__ = ("_partition", "_raw")

    def __init__(self, raw: RawRecord, partition: Partition) -> None:
        self._raw = raw
        self._partition = partition

    @property
    def partition(self) -> Partition:
        return self._partition

    @property
    def position(self) -> Position:
        return Position(int(self._raw.sequence))

    @property
    def key(self) -> bytes:
        """The partition key, UTF-8."""
        return self._raw.key.encode("utf-8", "surrogatepass")

    @property
    def value(self) -> bytes:
        return self._raw.data

    @property
    def headers(self) -> Headers:
        """Kinesis has none."""
        return _NO_HEADERS

    @property
    def timestamp(self) -> datetime:
        """When the service took it in, about; 1970 if it does not say."""
        return datetime.fromtimestamp(self._raw.arrived, UTC)

    @property
    def native(self) -> RawRecord:
        return self._raw


class KinesisUserRecord(KinesisRecord):
    """One of those in an aggregate; its sub-sequence says which."""

    __slots__ = ("_key", "_sub_sequence", "_value")

    def __init__(self, raw: RawRecord, partition: Partition, sub_sequence: int, key: bytes, value: bytes) -> None:
        self._raw = raw
        self._partition = partition
        self._sub_sequence = sub_sequence
        self._key = key
        self._value = value

    @property
    def position(self) -> Position:
        return Position(int(self._raw.sequence), self._sub_sequence)

    @property
    def key(self) -> bytes:
        return self._key

    @property
    def value(self) -> bytes:
        return self._value


class KinesisBatch(Batch):
    """A run of records of one shard, in the order of their positions."""

    __slots__ = ("_bytes", "_keys", "_partition", "_raws", "_subs", "_tip", "_values")

    def __init__(
        self,
        partition: Partition,
        raws: list[RawRecord],
        values: list[bytes],
        received: float,
        tip: float | None,
        subs: list[int] | None = None,
        keys: list[bytes | None] | None = None,
    ) -> None:
        """Columns of equal length. `tip`: the arrival time that lags are reckoned from. `subs` and `keys`: None if there is no
        aggregate among them; a key is None where the record is its own and not one of an aggregate."""
        self._partition = partition
        self._raws = raws
        self._values = values
        self._subs = subs
        self._keys = keys
        self._tip = tip
        self._bytes = -1
        self.received = self.delivered = received

    @property
    def partition(self) -> Partition:
        return self._partition

    def __iter__(self) -> Iterator[Record]:
        if self._subs is None or self._keys is None:
            return map(KinesisRecord, self._raws, repeat(self._partition))
        return self._mixed(self._subs, self._keys)

    def _mixed(self, subs: list[int], keys: list[bytes | None]) -> Iterator[Record]:
        partition = self._partition
        for raw, sub, key, value in zip(self._raws, subs, keys, self._values, strict=True):
            yield KinesisRecord(raw, partition) if key is None else KinesisUserRecord(raw, partition, sub, key, value)

    def __len__(self) -> int:
        return len(self._raws)

    @property
    def bytes(self) -> int:
        """The size of the values, keys not counted."""
        if self._bytes < 0:
            self._bytes = sum(map(len, self._values))
        return self._bytes

    @property
    def is_plain(self) -> bool:
        """There is no aggregate among them."""
        return self._subs is None

    def values(self) -> Sequence[builtins.bytes]:
        return self._values.copy()

    @property
    def first(self) -> Position:
        return self._position(0)

    @property
    def last(self) -> Position:
        return self._position(-1)

    def _position(self, index: int) -> Position:
        return Position(int(self._raws[index].sequence), 0 if self._subs is None else self._subs[index])

    @property
    def lag_seconds(self) -> float | None:
        """What the service said with the answer; for a record before the answer's last one, as much more as it came earlier."""
        return None if self._tip is None else max(0.0, self._tip - self._raws[-1].arrived)

    @property
    def last_timestamp(self) -> datetime | None:
        arrived = self._raws[-1].arrived
        return datetime.fromtimestamp(arrived, UTC) if arrived else None

    def slice(self, start: int, stop: int) -> KinesisBatch:
        raws = self._raws[start:stop]
        if not raws:
            raise ValueError(f"[{start}, {stop}) holds no record of {self!r}")
        subs = None if self._subs is None else self._subs[start:stop]
        keys = None if self._keys is None else self._keys[start:stop]
        return KinesisBatch(self._partition, raws, self._values[start:stop], self.received, self._tip, subs, keys)


class Unpacker:
    """Makes runs of a shard's answers. Keeps nothing from one answer to the next."""

    def __init__(
        self, partition: Partition, *, out_of_range: Literal["drop", "deliver"] = "drop", noticed: Callable[[str, int], None]
    ) -> None:
        """`out_of_range`: what becomes of user records in an aggregate whose hash key is not the shard's. `noticed`: told what
        happened and to how many records, as `AdapterContext.noticed` of this partition is."""
        self._partition = partition
        self._range = partition.key_range if out_of_range == "drop" and partition.key_range != ALL_HASHES else None
        self._noticed = noticed

    def unpack(
        self, records: Sequence[RawRecord], *, after: Position | None, received: float, lag_seconds: float | None
    ) -> KinesisBatch | None:
        """The records of an answer that come after `after` (None: all of them); None if there are none.

        `received` in unix seconds; `lag_seconds` is what the service says of the answer's last record.
        Raises BrokerUnavailableError if sequence numbers do not rise: what came between nobody knows, so it is read again.
        """
        if not records:
            return None
        raws = list(records)
        self._check_order(raws)
        tip = None if lag_seconds is None else raws[-1].arrived + lag_seconds
        inside = None  # the sub-sequence up to which the first record is done, if it is the one that `after` names
        if after is not None and after.sequence is not None and int(raws[0].sequence) <= after.sequence:
            sequence = after.sequence
            raws = [raw for raw in raws if int(raw.sequence) >= sequence]
            if not raws:
                return None
            if int(raws[0].sequence) == sequence:
                inside = after.sub_sequence
        values = [raw.data for raw in raws]
        if not _has_aggregate(values):
            if inside is not None:
                del raws[0], values[0]
            return KinesisBatch(self._partition, raws, values, received, tip) if raws else None
        return self._take_apart(raws, inside, received, tip)

    def _take_apart(self, whole: list[RawRecord], inside: int | None, received: float, tip: float | None) -> KinesisBatch | None:
        raws: list[RawRecord] = []
        values: list[bytes] = []
        subs: list[int] = []
        keys: list[bytes | None] = []
        damaged = dropped = 0
        for raw in whole:
            aggregate = read_aggregate(raw.data) if raw.data.startswith(MAGIC) else None
            if aggregate is not None:
                numbers, others = self._wanted(aggregate, inside)
                dropped += others
                indices, parts = aggregate.indices, aggregate.values
                if len(numbers) < len(parts):
                    indices, parts = [indices[number] for number in numbers], [parts[number] for number in numbers]
                raws += [raw] * len(numbers)
                subs += numbers
                keys += map(aggregate.table.__getitem__, indices)
                values += parts
            elif inside is None:
                damaged += raw.data.startswith(MAGIC)
                raws.append(raw)
                values.append(raw.data)
                subs.append(0)
                keys.append(None)
            inside = None
        if damaged:
            self._noticed(DAMAGED, damaged)
        if dropped:
            self._noticed(OUT_OF_RANGE, dropped)
        return KinesisBatch(self._partition, raws, values, received, tip, subs, keys) if raws else None

    def _wanted(self, aggregate: Aggregate, inside: int | None) -> tuple[Sequence[int], int]:
        """Numbers of the records to deliver, and how many of those to come are another shard's."""
        begin = 0 if inside is None else inside + 1
        numbers = range(begin, len(aggregate.values))
        outside = set(aggregate.outside(*self._range)) if self._range is not None else set()
        if not outside:
            return numbers, 0
        wanted = [number for number in numbers if number not in outside]
        return wanted, len(numbers) - len(wanted)

    def _check_order(self, raws: list[RawRecord]) -> None:
        numbers = [raw.sequence for raw in raws]
        if len(set(map(len, numbers))) == 1:  # then the order of the texts is that of the numbers, at a fraction of the cost
            rising = all(map(lt, numbers, islice(numbers, 1, None)))
        else:
            rising = all(before < after for before, after in pairwise(map(int, numbers)))
        if not rising or not (numbers[0].isdecimal() and numbers[-1].isdecimal()):
            raise BrokerUnavailableError(
                f"{self._partition}: the sequence numbers of an answer do not rise, from {numbers[0]} to {numbers[-1]}",
                broker="kinesis",
                partition=str(self._partition),
            )


def _has_aggregate(values: list[bytes]) -> bool:
    """Text and JSON come before MAGIC, so mostly one comparison each decides."""
    return any(value.startswith(MAGIC) for value in values if value >= MAGIC)
