"""What a worker has seen of each lease, and since when by its own clock: nobody compares clocks, and the store has none.

Pure. An owner that renews raises the version. A version that has stood still for a whole lease duration, while we were
looking, has no living owner.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from streamkit.model import Lease, Partition

__all__ = ["Limits", "Observation", "expires_next", "observed", "valid_seconds"]

MARGIN_PART = 1 / 5
"""Of a lease's duration: how long before others could take it its owner stops. Clocks need not agree, only run equally fast."""


def valid_seconds(lease_seconds: float) -> float:
    """For how long after its last renewal was begun an owner may begin calls, whatever becomes of the next renewal."""
    return lease_seconds * (1 - MARGIN_PART)


@dataclass(frozen=True, slots=True)
class Limits:
    """The settings of lease ownership, and how often the rows are looked at."""

    lease_seconds: float
    handover_seconds: float
    poll_seconds: float
    max_partitions: int | None = None


@dataclass(frozen=True, slots=True)
class Observation:
    """One lease."""

    version: int
    since: float
    """When this version was first seen; an owned lease that is seen for the first time counts as renewed just then."""
    asked_by: str
    asked_since: float
    owner: str = ""
    freed_by: str = ""
    """Of a free lease that is kept for nobody: who gave it back while we were looking. That worker is leaving, or could not do it."""
    has_moved: bool = False
    """Its version has changed while we were looking: whoever owned it then was alive."""

    def is_expired(self, now: float, limits: Limits) -> bool:
        """Of an owned lease: its owner is dead. Of one that is kept for somebody: it will not come."""
        return now - self.since >= limits.lease_seconds


def observed(
    before: Mapping[Partition, Observation], rows: Sequence[Lease], now: float, unwatched_seconds: float = 0.0
) -> dict[Partition, Observation]:
    """What is known after a listing. `unwatched_seconds`: how long nothing could be listed, or this process did not run, beyond the
    usual time between two listings. That time does not count: owners could not renew either, or could and we have not seen it."""
    seen = {}
    for lease in rows:
        old = before.get(lease.partition)
        since = asked_since = now
        freed_by = ""
        has_moved = old is not None and (old.has_moved or old.version != lease.version)
        if old is not None and old.version == lease.version:
            since = min(now, old.since + unwatched_seconds)
        if old is not None and old.asked_by == lease.handover_to:
            asked_since = min(now, old.asked_since + unwatched_seconds)
        if old is not None and not lease.owner and not lease.handover_to:
            freed_by = old.owner or old.freed_by
        seen[lease.partition] = Observation(lease.version, since, lease.handover_to, asked_since, lease.owner, freed_by, has_moved)
    return seen


def expires_next(seen: Mapping[Partition, Observation], rows: Sequence[Lease], now: float, limits: Limits) -> float:
    """In how many seconds the next owned lease could be found expired; infinite if none will be."""
    times = [seen[lease.partition].since + limits.lease_seconds - now for lease in rows if lease.owner]
    return min((seconds for seconds in times if seconds > 0), default=float("inf"))
