"""How much one call of the delivery by key gets, and how long records wait for more to come.

Pure but for what it has learned: how long a handler of records takes. Asked by the dispatcher (`keyed.py`) alone.
"""

from __future__ import annotations

from streamkit.engine.delivery.lanes import Lanes
from streamkit.engine.delivery.messages import Limits

__all__ = ["Pace"]

RUN_SECONDS = 0.002
"""About how long one job of a handler of records shall take: handing it over costs some ten microseconds."""
MAX_RUN = 64


class Pace:
    """Of one assignment."""

    def __init__(self, limits: Limits, lanes: Lanes, *, by_record: bool) -> None:
        self._limits = limits
        self._lanes = lanes
        self._by_record = by_record
        self._waiting_since: float | None = None
        self._record_seconds = RUN_SECONDS
        """How long a handler of records takes for one, as far as is known: one at a time until then."""

    def learn(self, records: int, seconds: float) -> None:
        """A call has taken so long for so many."""
        if self._by_record and records:
            self._record_seconds += (seconds / records - self._record_seconds) / 4

    def patience(self, now: float, *, at_end: bool) -> float:
        """How long the records that wait shall still wait for more to come: MAX_WAIT, for handlers of batches."""
        limits = self._limits
        is_full = self._lanes.waiting_records >= limits.max_batch or at_end
        if not limits.max_wait_seconds or self._by_record or is_full or self._lanes.next_is_alone:
            self._waiting_since = None
            return 0.0
        if self._waiting_since is None:
            self._waiting_since = now
        left = self._waiting_since + limits.max_wait_seconds - now
        if left <= 0:
            self._waiting_since = None
        return left

    def share(self, free: int) -> int:
        """How many records the next job gets: what waits is shared among those that are free."""
        limits = self._limits
        if free <= 0:
            return 1
        if not self._by_record and limits.max_wait_seconds:
            return limits.max_batch  # they were waited for, so that they come together
        share = -(-self._lanes.waiting_records // free)
        if not self._by_record:
            return min(share, limits.max_batch)
        return min(share, limits.max_batch, max(1, min(MAX_RUN, int(RUN_SECONDS / max(self._record_seconds, 1e-9)))))
