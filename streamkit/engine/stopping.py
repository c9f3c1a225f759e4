"""When an app ends by itself: at the tips of its start, or after a while without records (`STREAMKIT_STOP`)."""

from __future__ import annotations

from collections.abc import Mapping

from streamkit.engine.assignment import Assignment
from streamkit.engine.house import House
from streamkit.errors import StreamkitError
from streamkit.model import Partition, Position, StartPosition

__all__ = ["StopWatch"]

IDLE_MEMBER_SECONDS = 1.0
"""How long a member without partitions waits before it asks the store, and between two such questions."""


class StopWatch:
    """Looked at by the supervisor, a few times a second, on the control thread."""

    def __init__(self, house: House, assignments: Mapping[Partition, Assignment], tips: Mapping[Partition, Position | None]) -> None:
        self._house = house
        self._assignments = assignments
        self._tips = tips
        self._records = -1
        self._quiet_since = 0.0
        self._unowned_since: float | None = None

    async def is_done(self) -> bool:
        """Whether the app should drain now."""
        stop = self._house.settings.stop
        if stop.kind == "idle":
            return self._is_idle(stop.idle_seconds or 0.0)
        if stop.kind == "at_end":
            return await self._is_at_end()
        return False

    def _is_idle(self, seconds: float) -> bool:
        now = self._house.runtime.monotonic()
        busy = self._house.reading.is_failing or any(_is_busy(assignment) for assignment in self._assignments.values())
        if busy or self._house.reading.records != self._records:
            self._records = self._house.reading.records
            self._quiet_since = now
        return now - self._quiet_since >= seconds

    async def _is_at_end(self) -> bool:
        now = self._house.runtime.monotonic()
        if self._assignments:
            self._unowned_since = None
            return all(self._has_reached_tip(assignment) for assignment in self._assignments.values())
        if self._unowned_since is None:
            self._unowned_since = now
        if now - self._unowned_since < IDLE_MEMBER_SECONDS:
            return False
        self._unowned_since = now
        try:
            checkpoints = {c.partition: c.at for c in await self._house.store.list()}
        except StreamkitError as error:  # the group's own store answers with the broker's errors too
            self._house.observer.on_problem("looking whether the group is at its tips", error)
            return False
        return all(tip is None or _is_past(checkpoints.get(p), tip) for p, tip in self._tips.items())

    def _has_reached_tip(self, assignment: Assignment) -> bool:
        if assignment.is_caught_up or assignment.halted is not None:
            return True
        if assignment.worker is None or assignment.partition not in self._tips:
            return False
        tip = self._tips[assignment.partition]
        position = assignment.worker.progress.position
        return tip is None or (position is not None and position >= tip) or _is_past(assignment.start, tip)


def _is_busy(assignment: Assignment) -> bool:
    """A partition that is not read yet is not idle: its records have had no chance to come."""
    worker = assignment.worker
    if assignment.is_over or assignment.halted is not None:
        return False
    return worker is None or not worker.ready.done() or worker.queued_records > 0


def _is_past(at: StartPosition | None, tip: Position) -> bool:
    """Whether going on from there would bring nothing up to `tip`."""
    if at is None or at.position is None:
        return False
    return at.position >= tip if at.kind == "after" else at.position > tip
