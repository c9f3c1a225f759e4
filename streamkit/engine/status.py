"""One line of health for each assigned partition."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from streamkit.engine.assignment import Assignment
from streamkit.model import Partition, Position

__all__ = ["PartitionStatus", "status_of"]


@dataclass(frozen=True, slots=True)
class PartitionStatus:
    """One line of health."""

    partition: Partition
    state: Literal["claiming", "starting", "running", "caught up", "halted", "ending"]
    epoch: int
    position: Position | None
    saved: Position | None
    in_flight: int
    problem: str = ""


def status_of(assignment: Assignment) -> PartitionStatus:
    """How it stands now."""
    worker = assignment.worker
    state: Literal["claiming", "starting", "running", "caught up", "halted", "ending"] = "running"
    if assignment.ending is not None:
        state = "ending"
    elif worker is None:
        state = "claiming"
    elif assignment.halted is not None:
        state = "halted"
    elif not worker.ready.done():
        state = "starting"
    elif assignment.is_caught_up and not worker.queued_records:
        state = "caught up"
    problem = assignment.halted or assignment.problem
    return PartitionStatus(
        assignment.partition,
        state,
        assignment.epoch,
        worker.snapshot().position if worker is not None else None,
        assignment.saved,
        worker.in_flight if worker is not None else 0,
        str(problem) if problem is not None else "",
    )
