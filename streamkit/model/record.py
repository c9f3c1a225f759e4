"""A record and a batch of records: abstract, because adapters keep the SDK's objects and compute the rest on first use."""

from __future__ import annotations

import builtins
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from itertools import chain, pairwise

from streamkit.model.partition import Partition
from streamkit.model.position import Position

__all__ = ["Batch", "Headers", "PlainRecord", "Record"]


class Headers(tuple[tuple[str, "bytes | None"], ...]):
    """Ordered `(name, value)` pairs; names may repeat, a value may be None."""

    __slots__ = ()

    def get(self, name: str, default: bytes | None = None) -> bytes | None:
        """The value of the last header of that name, or `default`."""
        for key, value in reversed(self):
            if key == name:
                return value
        return default


class Record(ABC):
    """One record. Hot: one small object, everything else computed on first use."""

    __slots__ = ()

    @property
    @abstractmethod
    def partition(self) -> Partition: ...

    @property
    @abstractmethod
    def position(self) -> Position: ...

    @property
    @abstractmethod
    def key(self) -> bytes | None: ...

    @property
    @abstractmethod
    def value(self) -> bytes | None:
        """None is a tombstone (Kafka), not an empty value."""

    @property
    @abstractmethod
    def headers(self) -> Headers: ...

    @property
    @abstractmethod
    def timestamp(self) -> datetime:
        """When the broker or the producer says it was written; aware, UTC."""

    @property
    @abstractmethod
    def native(self) -> object:
        """The SDK's own object, for what only that broker has."""

    @property
    def id(self) -> str:
        """`stream/partition/position`: the same at every delivery of this record, so an idempotency key."""
        return f"{self.partition}/{self.position}"

    def __repr__(self) -> str:
        return f"<Record {self.id} key={self.key!r}>"


class PlainRecord(Record):
    """A record that holds its own values: for simple adapters, the memory broker and tests."""

    __slots__ = ("_headers", "_key", "_native", "_partition", "_position", "_timestamp", "_value")

    def __init__(
        self,
        partition: Partition,
        position: Position,
        value: bytes | None,
        *,
        key: bytes | None = None,
        headers: Iterable[tuple[str, bytes | None]] = (),
        timestamp: datetime | None = None,
        native: object = None,
    ) -> None:
        self._partition = partition
        self._position = position
        self._value = value
        self._key = key
        self._headers = headers
        self._timestamp = timestamp
        self._native = native

    @property
    def partition(self) -> Partition:
        return self._partition

    @property
    def position(self) -> Position:
        return self._position

    @property
    def key(self) -> bytes | None:
        return self._key

    @property
    def value(self) -> bytes | None:
        return self._value

    @property
    def headers(self) -> Headers:
        return Headers(self._headers)

    @property
    def timestamp(self) -> datetime:
        return self._timestamp or datetime.fromtimestamp(0, UTC)

    @property
    def native(self) -> object:
        return self._native


class Batch(ABC):
    """A non-empty, ordered, immutable run of records of one partition, with strictly rising positions.

    An adapter fills `received` (unix seconds, once per poll); the engine fills `delivered` before each call.
    """

    __slots__ = ("delivered", "received")

    received: float
    delivered: float

    @property
    @abstractmethod
    def partition(self) -> Partition: ...

    @abstractmethod
    def __iter__(self) -> Iterator[Record]: ...

    @abstractmethod
    def __len__(self) -> int: ...

    @property
    @abstractmethod
    def bytes(self) -> int:
        """The size of all keys and values as far as the adapter counts it cheaply; values at least."""

    @abstractmethod
    def values(self) -> Sequence[builtins.bytes | None]:
        """The values alone, without making a record object for each."""

    @property
    @abstractmethod
    def first(self) -> Position: ...

    @property
    @abstractmethod
    def last(self) -> Position: ...

    @abstractmethod
    def slice(self, start: int, stop: int) -> Batch:
        """The records [start, stop) by index, at least one. Raises ValueError if there are none."""

    @property
    def lag_records(self) -> int | None:
        """Records in the partition after the last one here; None where the broker does not say."""
        return None

    @property
    def lag_seconds(self) -> float | None:
        """How far behind the tip the last record here is; None where unknown."""
        return None

    @property
    def last_timestamp(self) -> datetime | None:
        """When the last record here was written, without making an object for each record; None where unknown."""
        return None

    @property
    def received_at(self) -> datetime:
        """When the adapter received it; aware, UTC."""
        return datetime.fromtimestamp(self.received, UTC)

    @property
    def delivered_at(self) -> datetime:
        """When the processor was called with it (this attempt); aware, UTC."""
        return datetime.fromtimestamp(self.delivered, UTC)

    def __repr__(self) -> str:
        return f"<Batch {self.partition} {self.first}..{self.last} of {len(self)}>"

    @staticmethod
    def of(records: Iterable[Record], *, received: float = 0.0, lag_records: int | None = None) -> Batch:
        """A batch of finished record objects. Raises ValueError if empty, of several partitions, or not strictly rising."""
        batch = _ListBatch(tuple(records), received, lag_records)
        for before, record in pairwise(batch):
            if record.partition is not before.partition and record.partition != before.partition:
                raise ValueError(f"a batch of {before.partition} cannot hold a record of {record.partition}")
            if not before.position < record.position:
                raise ValueError(f"{record.partition}: position {record.position} after {before.position}")
        return batch

    @staticmethod
    def join(batches: Sequence[Batch]) -> Batch:
        """Neighbouring batches of one partition as one. Raises ValueError if positions do not rise over the seams."""
        return batches[0] if len(batches) == 1 else _JoinedBatch(batches)


class _ListBatch(Batch):
    __slots__ = ("_bytes", "_lag_records", "_records")

    def __init__(self, records: tuple[Record, ...], received: float, lag_records: int | None) -> None:
        """`records` have been looked at by `Batch.of`; slices of them need not be again."""
        if not records:
            raise ValueError("a batch has at least one record")
        self._records = records
        self._bytes = -1
        self._lag_records = lag_records
        self.received = self.delivered = received

    @property
    def partition(self) -> Partition:
        return self._records[0].partition

    def __iter__(self) -> Iterator[Record]:
        return iter(self._records)

    def __len__(self) -> int:
        return len(self._records)

    @property
    def bytes(self) -> int:
        if self._bytes < 0:  # counted once: it is asked for several times on the way of a batch
            self._bytes = sum(len(r.value or b"") + len(r.key or b"") for r in self._records)
        return self._bytes

    def values(self) -> Sequence[builtins.bytes | None]:
        return [r.value for r in self._records]

    @property
    def first(self) -> Position:
        return self._records[0].position

    @property
    def last(self) -> Position:
        return self._records[-1].position

    @property
    def lag_records(self) -> int | None:
        return self._lag_records

    @property
    def last_timestamp(self) -> datetime | None:
        timestamp = self._records[-1].timestamp
        return timestamp if timestamp.timestamp() else None

    def slice(self, start: int, stop: int) -> Batch:
        return _ListBatch(self._records[start:stop], self.received, self._lag_records)


class _JoinedBatch(Batch):
    __slots__ = ("_batches", "_length")

    def __init__(self, batches: Sequence[Batch]) -> None:
        for before, batch in pairwise(batches):
            if not before.last < batch.first or batch.partition != before.partition:
                raise ValueError(f"{batch!r} does not follow {before!r}")
        self._batches = tuple(batches)
        self._length = sum(map(len, batches))
        self.received = self.delivered = batches[0].received

    @property
    def partition(self) -> Partition:
        return self._batches[0].partition

    def __iter__(self) -> Iterator[Record]:
        return chain.from_iterable(self._batches)

    def __len__(self) -> int:
        return self._length

    @property
    def bytes(self) -> int:
        return sum(batch.bytes for batch in self._batches)

    def values(self) -> Sequence[builtins.bytes | None]:
        return list(chain.from_iterable(batch.values() for batch in self._batches))

    @property
    def first(self) -> Position:
        return self._batches[0].first

    @property
    def last(self) -> Position:
        return self._batches[-1].last

    @property
    def lag_records(self) -> int | None:
        return self._batches[-1].lag_records

    @property
    def lag_seconds(self) -> float | None:
        return self._batches[-1].lag_seconds

    @property
    def last_timestamp(self) -> datetime | None:
        return self._batches[-1].last_timestamp

    def slice(self, start: int, stop: int) -> Batch:
        parts: list[Batch] = []
        offset = 0
        for batch in self._batches:  # slices of the parts: what they weigh adds up to what the parts were said to weigh
            low, high = max(start - offset, 0), min(stop - offset, len(batch))
            if low < high:
                parts.append(batch.slice(low, high))
            offset += len(batch)
        if not parts:
            raise ValueError(f"[{start}, {stop}) holds no record of {self!r}")
        return Batch.join(parts)
