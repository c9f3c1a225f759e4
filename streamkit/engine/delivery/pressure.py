"""How much may be read ahead, per partition and per process. Pure: looks at counters, decides full or not.

A partition is full when it holds too many records that wait for their call, too many above its saved checkpoint, or its
share of the process's bytes. It has room again at the low marks, so that pausing and resuming stay rare. One batch is
always admitted to an empty queue, however large.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol

from streamkit.model import Batch

__all__ = ["Load", "Pressure", "weight_of"]

RECORD_OVERHEAD_BYTES = 200
"""What a waiting record costs beside its value (measured: 136 bytes a confluent-kafka Message, and its key and objects)."""


def weight_of(batch: Batch) -> int:
    """What a batch that waits or runs takes of the process's bytes."""
    return batch.bytes + len(batch) * RECORD_OVERHEAD_BYTES


class Load(Protocol):
    """What a worker says about itself. Counters only rise, and each has one writer, so no lock is needed."""

    @property
    def queued_records(self) -> int:
        """Offered and not yet finished."""

    @property
    def resting_records(self) -> int:
        """Those of them that wait for the retry of their key, while others are called: they count in bytes and in flight only."""

    @property
    def held_bytes(self) -> int:
        """Bytes of those, with overhead."""

    @property
    def in_flight(self) -> int:
        """Above the saved checkpoint, finished or not."""


class Pressure:
    """The limits of one app."""

    def __init__(self, *, max_batch: int, max_in_flight: int, max_bytes: int) -> None:
        self._high = min(4 * max_batch, max_in_flight)
        self._low = self._high // 2
        self._max_in_flight = max_in_flight
        self.max_bytes = max_bytes

    def is_full(self, load: Load, partitions: int) -> bool:
        """Whether nothing more may be read for it; `partitions` share the bytes of the process."""
        if load.in_flight >= self._max_in_flight:
            return True
        queued = load.queued_records
        return queued - load.resting_records >= self._high or (queued > 0 and load.held_bytes >= self._share(partitions))

    def has_room(self, load: Load, partitions: int) -> bool:
        """Whether a full one may be read again."""
        if load.in_flight > self._max_in_flight * 3 // 4:
            return False
        queued = load.queued_records
        return queued == 0 or (queued - load.resting_records <= self._low and load.held_bytes <= self._share(partitions) // 2)

    def bytes_left(self, loads: Collection[Load]) -> int:
        """How many bytes the next poll may bring; at least one, because one record is always admitted."""
        return max(1, self.max_bytes - sum(load.held_bytes for load in loads))

    def _share(self, partitions: int) -> int:
        return self.max_bytes // max(1, partitions)
