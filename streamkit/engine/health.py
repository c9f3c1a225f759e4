"""How one app stands: kept up to date by its supervisor, asked by the status page and by `App.snapshot`, from any thread."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

from streamkit.engine.assignment import Assignment
from streamkit.engine.delivery.messages import RunningCall
from streamkit.engine.house import House
from streamkit.engine.ownership.naming import is_another_program
from streamkit.engine.ownership.protocol import Ownership
from streamkit.engine.runtime import Runtime
from streamkit.engine.status import AppStatus, Circumstances, PartitionStatus, Phase, held_by, in_order, status_of, unborn, waiting_for
from streamkit.engine.tally import Tally, Totals
from streamkit.engine.watchdog import HELD_SECONDS, Watchdog
from streamkit.errors import BrokerError
from streamkit.model import Lease, Partition
from streamkit.plugin import Observer
from streamkit.settings import Settings

__all__ = ["Health", "Subject"]


@dataclass(frozen=True, slots=True)
class Subject:
    """Whose health it is."""

    settings: Settings
    worker: str
    ownership: str
    observer: Observer
    assignments: Mapping[Partition, Assignment]
    zombies: Mapping[Partition, Assignment]
    """Lost, while a call of theirs still runs."""
    known: Mapping[Partition, Partition]
    """What discovery has found."""
    give_up: Callable[[Assignment, str], None]


@dataclass(slots=True)
class Health:
    """One for each app."""

    subject: Subject
    runtime: Runtime
    phase: Phase = "starting"
    house: House | None = None
    """Once broker and store have answered."""
    ownership: Ownership | None = None
    """Once it has begun."""
    tally: Tally[Assignment] = field(default_factory=lambda: Tally(_totals))
    watchdog: Watchdog[Assignment] = field(init=False)
    _began_at: float = field(init=False)

    def __post_init__(self) -> None:
        subject, settings = self.subject, self.subject.settings
        self._began_at = self.runtime.monotonic()
        self.watchdog = Watchdog(
            self.runtime,
            subject.observer,
            self._running,
            subject.give_up,
            stuck_after_seconds=settings.stuck_after.total_seconds(),
            held_seconds=settings.lease_duration.total_seconds() / 3 if subject.ownership == "lease" else HELD_SECONDS,
        )

    def _running(self) -> dict[Assignment, Sequence[RunningCall]]:
        """The calls of what is assigned, and of what was lost while its code still runs."""
        found = {one: one.worker.calls() for one in self._assignments() if one.worker is not None}
        found.update({one: one.worker.calls() for one in self._left_behind() if one.worker is not None})
        return {one: calls for one, calls in found.items() if one.ending is None or one.ending.kind != "abandoned"}

    def _assignments(self) -> list[Assignment]:
        """A copy: the control thread may change it meanwhile."""
        return list(self.subject.assignments.values())

    def _left_behind(self) -> list[Assignment]:
        return list(self.subject.zombies.values())

    # -- asked by others ------------------------------------------------------------------------------------------

    def snapshot(self) -> list[PartitionStatus]:
        """The partitions of this worker."""
        given = self._circumstances()
        return [status_of(one, given) for one in self._assignments()]

    def status(self) -> AppStatus:
        """Everything. What was given up while its call still runs is among the partitions, as stuck."""
        subject, settings, given = self.subject, self.subject.settings, self._circumstances()
        lines = {one.partition: status_of(one, given) for one in self._assignments()}
        lines.update({one.partition: status_of(one, given) for one in self._left_behind() if one in given.stuck})
        for partition, parents in self._waiting().items():
            lines.setdefault(partition, waiting_for(partition, parents))
        for lease in self._of_another_program():
            lines.setdefault(lease.partition, held_by(lease, settings.lease_duration.total_seconds()))
        return AppStatus(
            broker=settings.broker,
            streams=settings.stream,
            group=settings.group,
            worker=subject.worker,
            ownership=subject.ownership,
            phase=self.phase,
            uptime_seconds=given.now - self._began_at,
            silent_seconds=self.watchdog.silent_seconds(),
            partitions=in_order(lines.values()),
            problems=tuple(self._problems()),
        )

    def totals(self) -> Mapping[Partition, Totals]:
        """What has been done so far, also by assignments that are over."""
        return self.tally.totals()

    def saves(self) -> tuple[int, float]:
        """How many saves of checkpoints the store has answered, and the seconds that they took."""
        return self.house.checkpointer.saves if self.house is not None else (0, 0.0)

    def _circumstances(self) -> Circumstances:
        outage = self.house.checkpointer.outage if self.house is not None else None
        return Circumstances(
            now=self.runtime.monotonic(),
            owner=self.subject.worker,
            max_attempts=self.subject.settings.retry_attempts,
            stuck=self.watchdog.stuck,
            occupied=frozenset(one.partition for one in self._left_behind()),
            store_error=outage.error if outage is not None else None,
            unsaved=outage.partitions if outage is not None else (),
            unread=self.house.reading.waits_for_room if self.house is not None else (),
        )

    def _waiting(self) -> Mapping[Partition, Collection[str]]:
        if self.ownership is None:
            return {}
        leases = self.ownership.leases
        return {**({} if leases is None else unborn(tuple(self.subject.known), leases)), **self.ownership.waiting()}

    def _of_another_program(self) -> list[Lease]:
        leases = self.ownership.leases if self.ownership is not None else None
        return [one for one in leases or () if is_another_program(one.owner) and not one.is_ended]

    def _problems(self) -> list[str]:
        """Of the whole app. One of a partition alone stands there."""
        if self.house is None or self.phase != "running":
            return []
        found = []
        if self.house.reading.is_failing:
            found.append("reading fails: the broker does not answer")
        if self.ownership is not None and (problem := self.ownership.problem) is not None:
            found.append(f"the {'broker' if isinstance(problem, BrokerError) else 'store'}: {problem}")
        return found


def _totals(assignment: Assignment) -> Totals:
    worker = assignment.worker
    if worker is None:
        return Totals()
    return Totals(worker.snapshot().count, *worker.calls_made(), dict(assignment.asides.counts), worker.bytes_done)
