"""When an app ends by itself: at the tips of its start, or after a while without records (`STREAMKIT_STOP`)."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from streamkit.engine.assignment import Assignment
from streamkit.engine.house import House
from streamkit.engine.ownership.protocol import Ownership
from streamkit.engine.status import unborn
from streamkit.errors import ConfigurationError, StreamkitError
from streamkit.model import Lease, Partition, Position, StartPosition

__all__ = ["StopWatch"]

IDLE_MEMBER_SECONDS = 1.0
"""How long a member without partitions waits before it asks the store, and between two such questions."""


class StopWatch:
    """Looked at by the supervisor, a few times a second, on the control thread."""

    def __init__(
        self,
        house: House,
        assignments: Mapping[Partition, Assignment],
        tips: Mapping[Partition, Position | None],
        ownership: Ownership,
    ) -> None:
        self._house = house
        self._ownership = ownership
        self._assignments = assignments
        self._tips = tips
        self._records = -1
        self._quiet_since = 0.0
        self._unowned_since: float | None = None
        self._full_since: float | None = None
        self._said_full = False

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
        if busy or self._may_get_more() or self._house.reading.records != self._records:
            self._records = self._house.reading.records
            self._quiet_since = now
        return now - self._quiet_since >= seconds

    def _may_get_more(self) -> bool:
        """Partitions that are not read yet may become ours, with all their records: we have not looked, or cannot, or nobody is known
        to have them. What MAX_PARTITIONS keeps from us is not waited for."""
        ownership = self._ownership
        if not ownership.is_complete or ownership.problem is not None:
            return True
        return not self._is_full() and bool(ownership.unattended())

    def _is_full(self) -> bool:
        most = self._house.settings.max_partitions
        return most is not None and len(self._assignments) >= most

    async def _is_at_end(self) -> bool:
        now = self._house.runtime.monotonic()
        if self._assignments:
            self._unowned_since = None
            return all(self._has_reached_tip(assignment) for assignment in self._assignments.values()) and self._others_are_done()
        if self._unowned_since is None:
            self._unowned_since = now
        if now - self._unowned_since < IDLE_MEMBER_SECONDS:
            return False
        self._unowned_since = now
        if self._ownership.deals_leases:
            return self._others_are_done()
        try:
            checkpoints = {c.partition: c.at for c in await self._house.store.list()}
        except StreamkitError as error:  # the group's own store answers with the broker's errors too
            self._house.observer.on_problem("looking whether the group is at its tips", error)
            return False
        return all(tip is None or _is_past(checkpoints.get(p), tip) for p, tip in self._tips.items())

    def _others_are_done(self) -> bool:
        """Whether what is not ours has nothing left for us, because it is done, or a living worker's while we have our own. What nobody
        has yet may become ours in a moment: free leases, and children whose parents have not ended."""
        ownership = self._ownership
        leases = ownership.leases if ownership.deals_leases else ()
        if leases is None or not ownership.is_complete:
            return False
        to_come, never = self._children_to_come(leases)
        if to_come:
            return False
        left = [one for one in leases if one.partition not in self._assignments and one.partition not in never and not self._is_done(one)]
        if not left:
            return True
        free = ownership.unattended()
        self._say_if_full(free)
        return bool(self._assignments) and all(lease.owner and lease.partition not in free for lease in left)

    def _children_to_come(self, leases: Collection[Lease]) -> tuple[bool, Collection[Partition]]:
        """Whether partitions wait for parents that will end, and those that wait for one of ours that has halted."""
        ownership = self._ownership
        waiting = {**ownership.waiting(), **(unborn(tuple(self._tips), leases) if ownership.deals_leases else {})}
        halted = {partition for partition, one in self._assignments.items() if _stands_still(one)}
        never: set[Partition] = set()
        size = -1
        while size != len(never):  # their children wait as well
            size = len(never)
            blocked = halted | never
            never.update(child for child, parents in waiting.items() if any(Partition(child.stream, one) in blocked for one in parents))
        coming = [child for child in waiting if child not in never]
        if not ownership.deals_leases:  # one whose other parent was told to another process never becomes ours
            coming = [child for child in coming if all(Partition(child.stream, one) in self._assignments for one in waiting[child])]
        return bool(coming), never

    def _say_if_full(self, free: Collection[Partition]) -> None:
        """Nobody reads the rest, and we may not: somebody has to be started, or we would wait for ever and nobody knew why."""
        now = self._house.runtime.monotonic()
        if not free or not self._is_full():
            self._full_since = None
            return
        self._full_since = now if self._full_since is None else self._full_since
        if not self._said_full and now - self._full_since >= self._house.settings.lease_duration.total_seconds():
            self._said_full = True
            problem = ConfigurationError(
                f"this worker is at its end, but nobody reads {len(free)} partitions",
                setting="STREAMKIT_MAX_PARTITIONS",
                fix="start more workers, or allow this one more partitions",
            )
            self._house.observer.on_problem("waiting for other workers", problem)

    def _is_done(self, lease: Lease) -> bool:
        if lease.is_ended:
            return True
        if lease.partition not in self._tips:
            return False
        tip = self._tips[lease.partition]
        return tip is None or (lease.checkpoint is not None and _is_past(lease.checkpoint.at, tip))

    def _has_reached_tip(self, assignment: Assignment) -> bool:
        if assignment.is_caught_up or _stands_still(assignment):
            return True
        if assignment.worker is None or assignment.partition not in self._tips:
            return False
        tip = self._tips[assignment.partition]
        position = assignment.worker.progress.position
        return tip is None or (position is not None and _is_known(tip) and position >= tip) or _is_past(assignment.start, tip)


def _is_busy(assignment: Assignment) -> bool:
    """A partition that is not read yet is not idle: its records have had no chance to come."""
    worker = assignment.worker
    if assignment.is_over or _stands_still(assignment):
        return False
    return worker is None or not worker.ready.done() or worker.queued_records > 0


def _stands_still(assignment: Assignment) -> bool:
    """Halted, and nothing of it goes on: with order by key one key may have halted while others are called."""
    return assignment.halted is not None and (assignment.worker is None or not assignment.worker.goes_on)


def _is_known(tip: Position) -> bool:
    """Where the broker cannot tell it, only the reader can say that it has caught up."""
    return tip.is_end or tip.sequence is not None


def _is_past(at: StartPosition | None, tip: Position) -> bool:
    """Whether going on from there would bring nothing up to `tip`."""
    if at is None or at.position is None or not (_is_known(tip) and _is_known(at.position)):  # another program's may be a token alone
        return at is not None and at.is_end
    return at.position >= tip if at.kind == "after" else at.position > tip
