"""What is said when a drain has not ended in time: whose code still ran, and for whom it was the store that did not answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from streamkit.errors import DrainTimeoutError
from streamkit.model import Partition

__all__ = ["drain_timed_out"]


def drain_timed_out(seconds: float, unfinished: Sequence[Partition], unsaved: Mapping[Partition, Exception]) -> DrainTimeoutError:
    """`unsaved`: those of them whose last checkpoint the store had not taken, and what it said."""
    running = [str(partition) for partition in unfinished if partition not in unsaved]
    waiting = [str(partition) for partition in unfinished if partition in unsaved]
    reasons, fixes = [], []
    if running:
        reasons.append(f"code was still running for {', '.join(running)}")
        fixes.append("raise STREAMKIT_DRAIN_TIMEOUT, or let long handlers look at context.remaining and context.lost")
    if waiting:
        error = next(unsaved[partition] for partition in unfinished if partition in unsaved)
        reasons.append(f"the store had still not taken the checkpoints of {', '.join(waiting)}: {error}")
        fixes.append("mend the store; what it has not taken is delivered again, nothing is lost")
    return DrainTimeoutError(
        f"after {seconds:g}s {'; '.join(reasons)}", unfinished=[str(partition) for partition in unfinished], fix="; ".join(fixes)
    )
