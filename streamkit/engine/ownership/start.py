"""Where a partition without a checkpoint begins. Pure.

The configured start counts for the partitions that were there when the group first started. One that is found later begins
at EARLIEST: with LATEST, what was written to it before we noticed it would be skipped. Which ones were there is remembered
as a number in every checkpoint, because workers that start together claim one after the other.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from streamkit.model import Checkpoint, Partition, StartPosition

__all__ = ["first_start"]


def first_start(
    partition: Partition, configured: StartPosition, stored: Sequence[Checkpoint], partitions_of: Callable[[str], int]
) -> tuple[StartPosition, int]:
    """The start for `partition`, and how many partitions its stream had when the group first started."""
    counts = [c.partitions_at_start for c in stored if c.partition.stream == partition.stream]
    known = [count for count in counts if count is not None]
    if not counts:
        return configured, partitions_of(partition.stream)
    if not known:  # written by somebody else: which partitions were there is not to be known, and EARLIEST skips nothing
        return StartPosition.EARLIEST, partitions_of(partition.stream)
    count = min(known)
    is_new = int(partition.id) >= count if partition.id.isdigit() else True
    return (StartPosition.EARLIEST if is_new else configured), count
