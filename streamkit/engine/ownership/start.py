"""Where a partition without a checkpoint begins. Pure.

The configured start counts for the partitions that were there when the group first started. One that is found later begins
at EARLIEST: with LATEST, what was written to it before we noticed it would be skipped. For the same reason LATEST means the
group's first start for everybody: a partition that is claimed later, because its first owner died or was slow, begins at that
time. Both are remembered in every checkpoint: how many partitions there were, and when it was.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from streamkit.model import Checkpoint, Partition, StartPosition

__all__ = ["FirstStart", "first_start"]

CLOCK_MARGIN = timedelta(seconds=60)
"""How far the clocks of workers and producers may differ: a start at a time is put so much earlier, never later."""


@dataclass(frozen=True, slots=True)
class FirstStart:
    """Where to begin, and what to remember."""

    wish: StartPosition
    """To be resolved by the broker."""
    partitions: int
    """How many the stream had when the group first started."""
    started: datetime
    """When the group first started."""


def first_start(
    partition: Partition,
    configured: StartPosition,
    stored: Sequence[Checkpoint],
    partitions_of: Callable[[str], int],
    now: datetime,
) -> FirstStart:
    """The start for `partition`, given all checkpoints of the group."""
    if not stored:
        return FirstStart(configured, partitions_of(partition.stream), now)
    times = [c.group_started for c in stored if c.group_started is not None]
    counts = [c.partitions_at_start for c in stored if c.partition.stream == partition.stream and c.partitions_at_start is not None]
    started = min(times, default=now)
    count = min(counts, default=partitions_of(partition.stream))
    if _was_there(partition, counts, together=bool(times) and now - started < CLOCK_MARGIN):
        if configured.kind != "latest":
            return FirstStart(configured, count, started)
        if times:
            return FirstStart(StartPosition.at_time(started - CLOCK_MARGIN), count, started)
    return FirstStart(StartPosition.EARLIEST, count, started)


def _was_there(partition: Partition, counts: Sequence[int], *, together: bool) -> bool:
    """Whether the partition existed at the group's first start. In doubt it did not: EARLIEST skips nothing."""
    if counts and partition.id.isdigit():
        return int(partition.id) < min(counts)
    return together  # another partition of a first start that goes on just now, or one that was found later
