"""When one shard may and should be read next. Pure: (what happened, now) -> when. No thread, no clock, one object a shard.

The service allows 5 reads and 2 MB a second of each shard, for all consumers together, and refuses what is above. So the pace
adapts as TCP does: a refusal halves it and adds a pause of random length, each success brings back a part. At the tip a shard
rests for IDLE_WAIT; while records come, for less.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["Limits", "Pace"]

RISE = 0.05
"""What a success gives back, of the full pace: twenty of them after a full stop."""
SLOWEST = 0.2
"""Reads a second below which a pace does not fall."""
THROTTLE_SECONDS = 0.25
MAX_THROTTLE_SECONDS = 10.0
FAILURE_SECONDS = 0.1
MAX_FAILURE_SECONDS = 5.0
QUICKEST = 0.25
"""Of IDLE_WAIT: how long a shard rests that has just brought records, and has no more."""
START_SECONDS = 0.01
"""For each shard that is read: so far do the first reads of many lie apart, and never beat together again."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Of one shard."""

    reads_per_second: float
    bytes_per_second: float
    idle_seconds: float


class Pace:
    """Of one shard."""

    __slots__ = ("_failures", "_limits", "_random", "_rest", "_throttles", "due", "failing_since", "rate")

    def __init__(self, limits: Limits, random: Callable[[], float], now: float, shards: int = 1) -> None:
        """`random`: from 0 to 1. `shards`: how many are read in all."""
        self._limits = limits
        self._random = random
        self.due = now + random() * min(limits.idle_seconds, shards * START_SECONDS)
        """When it is to be read next."""
        self.rate = limits.reads_per_second
        """Reads a second that it is allowed at present."""
        self.failing_since: float | None = None
        """When the first of the failures was that no success has followed."""
        self._rest = limits.idle_seconds * QUICKEST
        self._throttles = 0
        self._failures = 0

    @property
    def failures(self) -> int:
        """In a row, refusals not counted."""
        return self._failures

    def read(self, began: float, ended: float, data_bytes: int, records: int, *, behind: bool) -> None:
        """A read that began and ended then has brought so much. `behind`: there is more."""
        limits = self._limits
        self._succeeded()
        self.rate = min(limits.reads_per_second, self.rate + limits.reads_per_second * RISE)
        allowed = began + max(1 / self.rate, data_bytes / limits.bytes_per_second)
        if records:
            self._rest = limits.idle_seconds * QUICKEST
        elif not behind:
            self._rest = min(limits.idle_seconds, self._rest * 2)
        rested = ended if behind else began + self._rest * (0.75 + 0.5 * self._random())
        self.due = max(allowed, rested)

    def throttled(self, now: float) -> None:
        """The service has refused a read for the limits of the shard, or of the key that it is encrypted with."""
        self._throttles += 1
        self.rate = max(min(SLOWEST, self._limits.reads_per_second), self.rate / 2)
        most = min(MAX_THROTTLE_SECONDS, THROTTLE_SECONDS * 2 ** min(self._throttles, 10))
        self.due = now + 1 / self.rate + most * self._random()

    def failed(self, now: float) -> None:
        """There was no answer, or none of use."""
        self._failures += 1
        if self.failing_since is None:
            self.failing_since = now
        most = min(MAX_FAILURE_SECONDS, FAILURE_SECONDS * 2 ** min(self._failures, 10))
        self.due = now + most * (0.5 + self._random() / 2)

    def again(self, now: float) -> None:
        """The iterator was too old, and a new one is needed: soon, but no faster than reads may be. No success: it brought nothing."""
        self.due = now + 1 / self.rate

    def _succeeded(self) -> None:
        self._throttles = self._failures = 0
        self.failing_since = None
