"""One ordered part of a stream: a Kafka partition, a Kinesis shard, an Event Hubs partition."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["Partition"]


@dataclass(frozen=True, slots=True)
class Partition:
    """Two partitions are equal when stream and id are; everything else is what is known about it."""

    stream: str
    id: str
    incarnation: str = field(default="", compare=False)
    """Which stream of that name: cluster and topic id; namespace and hub; stream ARN and creation time. A stored
    checkpoint of another incarnation is refused. Empty: the broker has no such identity."""
    parents: tuple[str, ...] = field(default=(), compare=False)
    children: tuple[str, ...] = field(default=(), compare=False)
    key_range: tuple[int, int] | None = field(default=None, compare=False)
    """First and last hash key, both inclusive (Kinesis); None where a broker does not split by ranges."""
    ended: bool = field(default=False, compare=False)
    """The broker has closed it: no record will be added."""
    extra: Mapping[str, str] = field(default_factory=dict, compare=False)
    """Text that a store with foreign columns round-trips; the engine does not look inside."""

    def __str__(self) -> str:
        return f"{self.stream}/{self.id}"
