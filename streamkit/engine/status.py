"""Health: how one app and each of its partitions stand, and why one does not move. Looks only; may be asked from any thread.

What it looks at belongs to other threads and may change meanwhile: each line is true for some moment of the last one.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from streamkit.engine.asides import SILENT_SECONDS
from streamkit.engine.assignment import Assignment
from streamkit.engine.delivery.failures import Trouble
from streamkit.engine.watchdog import Stuck
from streamkit.errors import CheckpointError
from streamkit.model import Lease, Partition, Position

__all__ = [
    "AppStatus",
    "Circumstances",
    "PartitionStatus",
    "Phase",
    "Reason",
    "State",
    "held_by",
    "in_order",
    "not_ready",
    "status_of",
    "unborn",
    "waiting_for",
]

Phase = Literal["starting", "running", "draining", "over"]
State = Literal["waiting", "claiming", "starting", "running", "caught up", "retrying", "halted", "stuck", "ending"]


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a partition does not move."""

    kind: Literal["parent", "owner", "claiming", "retry", "halt", "stuck", "store", "dead_letter", "checkpoint", "care", "parked"]
    text: str
    """One line for people."""
    since_seconds: float | None = None
    """For how long it has been so, where that is known."""
    next_seconds: float | None = None
    """In how many seconds it is tried again."""
    attempt: int = 0
    """How many attempts have failed."""
    stack: str = ""
    """Where the call is that does not return."""
    parents: tuple[str, ...] = ()
    """What has to end first."""


@dataclass(frozen=True, slots=True)
class PartitionStatus:
    """One line of health."""

    partition: Partition
    state: State
    epoch: int
    position: Position | None
    """Everything up to here is done."""
    saved: Position | None
    """And up to here it is in the store."""
    in_flight: int
    """Records above the saved position that were read, done or not."""
    problem: str = ""
    """What went wrong, while it has not been put right."""
    owner: str = ""
    lag_records: int | None = None
    """Records between `position` and the tip, as far as the broker says."""
    lag_seconds: float | None = None
    """How far `position` is behind the tip, at least."""
    reason: Reason | None = None
    """Why it does not move; None: nothing holds it up."""
    parked: int = 0
    """So many keys are parked: their records are put aside uncalled."""


@dataclass(frozen=True, slots=True)
class AppStatus:
    """One app."""

    broker: str
    streams: tuple[str, ...]
    group: str
    worker: str
    ownership: str
    phase: Phase
    uptime_seconds: float
    silent_seconds: float
    """For how long the control thread has not been seen at work."""
    partitions: tuple[PartitionStatus, ...]
    """Those of this worker, and those that wait for their parents or are held by another program."""
    problems: tuple[str, ...] = ()
    """What holds up the whole app: a broker or a store that does not answer."""


# -- one partition -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What is the same for all partitions of an app while one answer is made."""

    now: float
    """Monotonic."""
    owner: str
    max_attempts: int
    stuck: Mapping[Assignment, Stuck]
    occupied: Collection[Partition]
    """Those of which a call of an earlier assignment still runs in this process."""
    store_error: Exception | None
    """Why the store takes no checkpoints, while it takes none."""
    unsaved: Collection[Partition]
    """Those that wait for it."""
    unread: Collection[Partition] = ()
    """Those of which nothing is read, because too much of them is under way."""


def status_of(assignment: Assignment, given: Circumstances) -> PartitionStatus:
    """How it stands now."""
    worker = assignment.worker
    trouble = worker.trouble if worker is not None else None
    stuck = given.stuck.get(assignment)
    unsaved = given.store_error if assignment.partition in given.unsaved else None
    problem = assignment.halted or assignment.problem or unsaved
    lag_records, lag_seconds = worker.lag() if worker is not None else (None, None)
    return PartitionStatus(
        assignment.partition,
        _state(assignment, trouble, stuck),
        assignment.epoch,
        worker.snapshot().position if worker is not None else None,
        assignment.saved,
        worker.in_flight if worker is not None else 0,
        str(problem) if problem is not None else "",
        given.owner,
        lag_records,
        lag_seconds,
        _reason(assignment, trouble, stuck, unsaved, given),
        _parked(assignment),
    )


def waiting_for(partition: Partition, parents: Collection[str]) -> PartitionStatus:
    """A partition whose parents have not ended: nobody may take it."""
    names = tuple(sorted(parents))
    reason = Reason("parent", f"waits for the end of {', '.join(names)}", parents=names)
    return PartitionStatus(partition, "waiting", 0, None, None, 0, reason=reason)


def held_by(lease: Lease, lease_seconds: float) -> PartitionStatus:
    """A partition whose lease another program has: no worker can ask for it."""
    text = (
        f"{lease.owner} has its lease: another program, such as the KCL, which cannot be asked for it; "
        f"stop that, and it is taken after {lease_seconds:g}s of silence"
    )
    return PartitionStatus(lease.partition, "waiting", lease.epoch, None, None, 0, owner=lease.owner, reason=Reason("owner", text))


def unborn(known: Iterable[Partition], leases: Iterable[Lease]) -> dict[Partition, tuple[str, ...]]:
    """Partitions that get a lease only when their parents have ended: with the parents that have not."""
    rows = {lease.partition: lease for lease in leases}
    without = [one for one in known if one.parents and one not in rows]
    unfinished = {(lease.partition.stream, lease.partition.id) for lease in rows.values() if not lease.is_ended}
    found: dict[Partition, tuple[str, ...]] = {}
    size = -1
    while size != len(found):  # their children wait as well
        size = len(found)
        for one in without:
            if parents := tuple(parent for parent in one.parents if (one.stream, parent) in unfinished):
                found[one] = parents
                unfinished.add((one.stream, one.id))
    return found


def _state(assignment: Assignment, trouble: Trouble | None, stuck: Stuck | None) -> State:
    worker = assignment.worker
    if stuck is not None:
        return "stuck"
    if assignment.ending is not None:
        return "ending"
    if worker is None:
        return "caught up" if assignment.is_caught_up else "claiming"
    if assignment.halted is not None:
        return "halted"
    if trouble is not None:
        return "retrying"
    if not worker.ready.done():
        return "starting"
    return "caught up" if assignment.is_caught_up and not worker.queued_records else "running"


def _reason(
    assignment: Assignment, trouble: Trouble | None, stuck: Stuck | None, unsaved: Exception | None, given: Circumstances
) -> Reason | None:
    """The strongest one."""
    if stuck is not None:
        return _stuck(assignment, stuck, given.now)
    if assignment.is_over:
        return None
    if assignment.halted is not None:
        return _halted(assignment.halted, trouble, assignment.halted_at, given.now)
    for problem in (assignment.problem, unsaved):
        if isinstance(problem, CheckpointError):
            return Reason("store", f"the store: {_text(problem)}")
    if assignment.ending is None and (assignment.worker is None or assignment.problem is not None):
        return _claiming(assignment, given)
    since = assignment.asides.since
    if since is not None and given.now - since >= SILENT_SECONDS:
        return Reason("dead_letter", f"the dead-letter target has not answered for {given.now - since:.0f}s", given.now - since)
    if trouble is not None and trouble.error is not None:
        return _retry(trouble, trouble.error, given, is_written=since is not None)
    worker = assignment.worker
    if worker is not None and worker.is_manual and not worker.queued_records and assignment.partition in given.unread:
        text = f"waits for a checkpoint of the processor: {worker.in_flight} records were read after the last one"
        return Reason("checkpoint", text)
    if worker is not None and worker.is_careful:
        return Reason("care", "goes on one by one: owners of it have died or lost it without progress")
    if parked := _parked(assignment):
        return Reason("parked", f"goes on, but for {parked} key{'s' if parked > 1 else ''} parked: what comes of them is put aside")
    return None


def _parked(assignment: Assignment) -> int:
    markers = assignment.asides.markers
    return markers.count if markers is not None else 0


def _stuck(assignment: Assignment, stuck: Stuck, now: float) -> Reason:
    seconds = now - stuck.since
    given_up = "; given up, another worker may take it" if assignment.ending is not None and assignment.ending.kind == "lost" else ""
    return Reason("stuck", f"a call of the processor has got nowhere for {seconds:.0f}s{given_up}", seconds, stack=stuck.stack)


def _halted(error: Exception, trouble: Trouble | None, at: float | None, now: float) -> Reason:
    again = _next(trouble, now)
    when = f"; tried again in {again:.0f}s" if again is not None else ""
    return Reason("halt", f"halted: {_text(error)}{when}", None if at is None else now - at, again)


def _retry(trouble: Trouble, error: BaseException, given: Circumstances, *, is_written: bool) -> Reason:
    again = _next(trouble, given.now)
    now = "its dead letter is being written" if trouble.aside and is_written else "now running again"
    when = f"again in {again:.1f}s" if again is not None else now
    text = f"{trouble.what}: attempt {trouble.attempt} of {given.max_attempts} failed, {when}: {type(error).__name__}: {error}"
    return Reason("retry", text, next_seconds=again, attempt=trouble.attempt)


def _claiming(assignment: Assignment, given: Circumstances) -> Reason:
    if assignment.partition in given.occupied:
        return Reason("claiming", "waits for a call of an earlier assignment in this process")
    problem = assignment.problem
    return Reason("claiming", "is being claimed" if problem is None else f"cannot be claimed: {_text(problem)}")


def _next(trouble: Trouble | None, now: float) -> float | None:
    return None if trouble is None or trouble.retry_at is None else max(0.0, trouble.retry_at - now)


def _text(error: BaseException) -> str:
    return str(error) or type(error).__name__


# -- readiness -----------------------------------------------------------------------------------------------------------


def not_ready(status: AppStatus) -> list[str]:
    """Why the app should not count as one that does its work; empty: it is ready, perhaps as a standby without partitions."""
    name = f"group {status.group}"
    if status.phase == "over":
        return []  # it ended in order, and others in this process may go on; one that failed stops them
    if status.phase == "starting":
        return [f"{name}: broker and store have not answered yet"]
    if status.phase == "draining":
        return [f"{name}: draining"]
    reasons = [f"{name}: {problem}" for problem in status.problems]
    reasons += [
        f"{one.partition}: {one.reason.text}" for one in status.partitions if one.reason is not None and _is_red(one.reason, one.problem)
    ]
    return reasons


def _is_red(reason: Reason, problem: str) -> bool:
    """A retry may help, and a parent will end; a claim that is under way is no trouble unless it fails."""
    return reason.kind in ("halt", "stuck", "store", "dead_letter") or (reason.kind == "claiming" and bool(problem))


def in_order(lines: Iterable[PartitionStatus]) -> tuple[PartitionStatus, ...]:
    """By stream and partition, 2 before 10."""
    return tuple(sorted(lines, key=lambda line: (line.partition.stream, _natural(line.partition.id))))


def _natural(name: str) -> tuple[int, str]:
    return (int(name), "") if name.isdecimal() else (2**63, name)
