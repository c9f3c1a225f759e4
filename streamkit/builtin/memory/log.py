"""`MemoryLog`: a log service inside this process, shared by all brokers, producers and stores of one name.

It has no thread and no clock: whoever needs a time passes `now`, so that it runs as well under real threads as in a
simulation with virtual time. One lock guards everything; it is never held across an `await`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from threading import Lock, RLock

from streamkit.builtin.memory.coordinator import Coordinator
from streamkit.builtin.memory.faults import Faults
from streamkit.builtin.memory.topic import Shape, Topic
from streamkit.errors import StreamGoneError
from streamkit.model import Partition, PlainRecord
from streamkit.plugin.fencing import Row

__all__ = ["MemoryLog", "Rows"]

Rows = dict[tuple[str, str], Row]
"""The rows of one group, by stream and partition."""

_registry: dict[str, MemoryLog] = {}
_registry_lock = Lock()


class MemoryLog:
    """Streams, groups and stored checkpoints of one name. All methods are thread-safe."""

    def __init__(self, name: str = "default") -> None:
        self.name = name
        self.lock = RLock()
        self.faults = Faults()
        self._topics: dict[str, Topic] = {}
        self._deleted: set[str] = set()
        self._created = 0
        self._groups: dict[str, Coordinator] = {}
        self._group_partitions: frozenset[Partition] | None = None
        self._members = 0
        self._rows: dict[tuple[str, str], Rows] = {}
        self._requests: dict[tuple[str, str], dict[Partition, str]] = {}

    @staticmethod
    def named(name: str = "default") -> MemoryLog:
        """The log of that name in this process; made when first asked for."""
        with _registry_lock:
            return _registry.setdefault(name, MemoryLog(name))

    @staticmethod
    def forget(name: str = "default") -> None:
        """Let the next `named` make a new log. Those who hold the old one keep it."""
        with _registry_lock:
            _registry.pop(name, None)

    def create(self, stream: str, partitions: int = 1, shape: Shape = "kafka", *, now: float = 0.0) -> list[Partition]:
        """Make a stream. `now` (unix seconds) becomes part of its incarnation. Raises ValueError if it is there already."""
        with self.lock:
            if stream in self._topics:
                raise ValueError(f"stream {stream!r} exists")
            self._created += 1
            self._deleted.discard(stream)
            topic = self._topics[stream] = Topic(stream, partitions, shape, f"{self.name}/{stream}@{now:.3f}#{self._created}")
            self._group_partitions = None
            return topic.partitions

    def delete(self, stream: str) -> None:
        """Delete a stream; it is not made again on first use, only by `create`."""
        with self.lock:
            self.topic(stream)
            del self._topics[stream]
            self._deleted.add(stream)
            self._group_partitions = None

    def add_partitions(self, stream: str, total: int) -> None:
        """Let a stream of the kafka shape grow to `total` partitions."""
        with self.lock:
            self.topic(stream).grow(total)
            self._group_partitions = None

    def split(self, stream: str, partition: str) -> tuple[Partition, Partition]:
        """End a partition of the kinesis shape; its two children are returned. Raises ValueError if it cannot be split."""
        with self.lock:
            return self.topic(stream).split(partition)

    def merge(self, stream: str, one: str, other: str) -> Partition:
        """End two neighbouring partitions; their child is returned. Raises ValueError if they are no neighbours."""
        with self.lock:
            return self.topic(stream).merge(one, other)

    def trim(self, stream: str, partition: str, before: int) -> None:
        """Forget the records of a partition below that sequence, as retention does."""
        with self.lock:
            self.topic(stream).log(partition).trim(before)

    def append(
        self,
        stream: str,
        value: bytes | None,
        *,
        key: bytes | None = None,
        headers: Iterable[tuple[str, bytes | None]] = (),
        partition: str | None = None,
        timestamp: datetime | None = None,
        now: float = 0.0,
    ) -> PlainRecord:
        """Write a record and return it as readers will see it. `now` (unix seconds) is its time unless `timestamp` says another.

        Raises StreamGoneError for an unknown stream, BrokerError for a partition that is unknown or has ended.
        """
        with self.lock:
            return self.topic(stream).append(value, key, headers, partition, timestamp or datetime.fromtimestamp(now, UTC))

    def topic(self, stream: str) -> Topic:
        """The stream itself, to be used under `lock` only. Raises StreamGoneError if it does not exist."""
        with self.lock:
            try:
                return self._topics[stream]
            except KeyError:
                what = "was deleted" if stream in self._deleted else "does not exist"
                fix = "make the stream, or correct STREAMKIT_STREAM"
                raise StreamGoneError(f"stream {stream!r} {what}", broker="memory", fix=fix) from None

    def ensure(self, stream: str, partitions: int, shape: Shape, *, now: float) -> None:
        """Make a stream on first use, unless it was deleted."""
        with self.lock:
            if stream not in self._topics and stream not in self._deleted:
                self.create(stream, partitions, shape, now=now)

    def match(self, pattern: str) -> list[str]:
        """The streams that a regular expression matches from their beginning, by name."""
        with self.lock:
            return [name for name in sorted(self._topics) if re.match(pattern, name)]

    def partitions(self, stream: str) -> Sequence[Partition]:
        """All partitions of a stream, those that have ended too. Raises StreamGoneError."""
        with self.lock:
            return self.topic(stream).partitions

    def group_partitions(self) -> frozenset[Partition]:
        """All partitions that groups deal out (the kafka shape). The very same object until something changes."""
        with self.lock:
            if self._group_partitions is None:
                topics = [topic for topic in self._topics.values() if topic.shape == "kafka"]
                self._group_partitions = frozenset(p for topic in topics for p in topic.partitions)
            return self._group_partitions

    def group(self, name: str) -> Coordinator:
        """The coordinator of a group, to be used under `lock` only."""
        with self.lock:
            return self._groups.setdefault(name, Coordinator())

    def member_id(self, worker: str) -> str:
        """A name that no other member of this log has; the same in every run of a simulation."""
        with self.lock:
            self._members += 1
            return f"{worker}-{self._members}"

    def rows(self, broker: str, group: str) -> Rows:
        """The stored rows of a group, to be used under `lock` only. Of the memory broker they are the group's own offsets."""
        with self.lock:
            return self._rows.setdefault((broker, group), {})

    def requests(self, broker: str, group: str) -> dict[Partition, str]:
        """What was asked of the owners of a group's partitions, to be used under `lock` only."""
        with self.lock:
            return self._requests.setdefault((broker, group), {})
