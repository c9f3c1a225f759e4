"""Ownership by leases in a store: looks at the rows, decides about itself, and acts. No worker leads. Runs on the control thread.

observation.py  what was seen of each lease, by our own clock     tenure.py  renews, expires, releases
balance.py      what to take, to ask for and to give              roster.py  which leases there are; looking.py asks it in time
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from streamkit.engine.checkpoint.leased_calls import Held, LeasedStoreCalls
from streamkit.engine.ownership.balance import Decisions, View, decide
from streamkit.engine.ownership.lineage import is_gated
from streamkit.engine.ownership.looking import Looking
from streamkit.engine.ownership.naming import is_another_program, owner_name
from streamkit.engine.ownership.observation import Limits, Observation, expires_next, observed
from streamkit.engine.ownership.protocol import Owner
from streamkit.engine.ownership.roster import Roster, Streams
from streamkit.engine.ownership.tenure import Tenure
from streamkit.engine.runtime import Runtime
from streamkit.errors import ConfigurationError, FencedError, StreamkitError
from streamkit.model import Lease, Partition
from streamkit.plugin import Event, Lost
from streamkit.settings import Settings

__all__ = ["LeaseOwnership", "Surroundings", "limits_of"]

MAX_POLL_SECONDS = 1.0
POLLS_IN_LEASE = 5
JITTER = 0.1
SOON_PART = 0.2
"""Of a poll: after a lease that we wanted went to another."""
MAX_BACKOFF_SECONDS = 10.0
MIN_LATE_SECONDS = 0.01


def limits_of(settings: Settings) -> Limits:
    """The settings of lease ownership as its rules want them."""
    lease = settings.lease_duration.total_seconds()
    return Limits(
        lease_seconds=lease,
        handover_seconds=settings.handover_timeout.total_seconds(),
        poll_seconds=min(MAX_POLL_SECONDS, lease / POLLS_IN_LEASE),
        max_partitions=settings.max_partitions,
    )


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What lease ownership is given by the supervisor."""

    runtime: Runtime
    worker: str
    """People's name of this worker."""
    limits: Limits
    streams: Streams
    report: Callable[[str, BaseException], None]
    on_task_ended: Callable[[BaseException | None], None]


class LeaseOwnership:
    """One worker's part."""

    reader_knows = False
    again_seconds = None
    deals_leases = True

    def __init__(self, owner: Owner, calls: LeasedStoreCalls, around: Surroundings) -> None:
        self.me = owner_name(around.worker, around.runtime.random())
        self.leases: Sequence[Lease] | None = None
        self._problem: Exception | None = None
        self._owner = owner
        self._calls = calls
        self._around = around
        self._runtime = around.runtime
        self._limits = around.limits
        self._tenure = Tenure(owner, calls, around.runtime, around.limits.lease_seconds, around.report)
        self._roster = Roster(calls, around.streams, around.runtime, around.limits.lease_seconds)
        self._signal = around.runtime.control.signal()
        self._looking = Looking(self._roster.tend, around.runtime, around.report, around.on_task_ended, self._signal.set)
        self._seen: dict[Partition, Observation] = {}
        self._listed_at: float | None = None
        self._known_at: float | None = None
        """From when on all who began with us can have seen that we hold something."""
        self._giving: set[Partition] = set()
        self._contested: dict[Partition, float] = {}
        """Read by somebody who needs no lease of ours: until when (monotonic) we do not take them."""
        self._has_asked = False
        self._may_start = False
        self._is_draining = False
        self._is_abandoned = False
        self._is_running = False
        self._stopped = around.runtime.control.signal()

    # -- Ownership ------------------------------------------------------------------------------------------------

    @property
    def problem(self) -> Exception | None:
        return self._problem or self._looking.problem or self._tenure.silence()

    @property
    def is_complete(self) -> bool:
        return self._looking.is_complete

    def unattended(self) -> Collection[Partition]:
        rows = self.leases or ()
        by_partition = {row.partition: row for row in rows}
        others = [row for row in rows if not row.is_ended and row.partition not in self._calls.held]
        return {row.partition for row in others if not is_gated(row, by_partition) and not self._is_anothers(row)}

    def _is_anothers(self, row: Lease) -> bool:
        """A worker that has been seen alive has it."""
        seen = self._seen[row.partition]
        return row.owner not in ("", self.me) and seen.has_moved and not seen.is_expired(self._runtime.monotonic(), self._limits)

    def waiting(self) -> Mapping[Partition, Collection[str]]:
        rows = self.leases or ()
        by_partition = {row.partition: row for row in rows}
        gated = {row.partition: is_gated(row, by_partition) for row in rows if not row.is_ended}
        return {partition: parents for partition, parents in gated.items() if parents}

    def begin(self, known: Sequence[Partition]) -> None:
        self._tenure.begin(self._around.on_task_ended)
        self._is_running = True
        self._runtime.control.spawn("leases", self._run(), self._run_ended)

    def heard(self, event: Event) -> None:
        """The broker itself has let in another owner. If our lease still stands, that one keeps none: somebody else may try, we later."""
        if isinstance(event, Lost):
            self._contested.update(dict.fromkeys(event.partitions, self._runtime.monotonic() + self._limits.lease_seconds))
            self._owner.lose(event.partitions, event.reason)

    async def before_end(self, partition: Partition, children: Sequence[Partition]) -> None:
        await self._roster.before_end(partition, children)

    def ended(self, partition: Partition, children: Sequence[Partition]) -> None:
        """Its children can be taken, and perhaps its row removed."""
        self._looking.soon()
        self._signal.set()

    def over(self, partition: Partition) -> None:
        self._giving.discard(partition)
        self._tenure.over(partition)

    def drain(self) -> None:
        self._is_draining = True
        self._looking.stop()
        self._signal.set()

    async def stop(self, seconds: float) -> None:
        self.drain()
        until = self._runtime.monotonic() + seconds
        while self._is_running and (left := until - self._runtime.monotonic()) > 0:
            await self._stopped.wait(left)  # what it takes just now has to be given back too
        for partition in list(self._calls.held):
            self.over(partition)
        await self._tenure.stop(until - self._runtime.monotonic())

    def abandon(self) -> None:
        self._is_abandoned = True
        self.drain()
        self._tenure.abandon()

    # -- the loop -------------------------------------------------------------------------------------------------

    async def _run(self) -> None:
        failures = 0
        while not self._is_draining:
            try:
                seconds = await self._poll()
                failures = 0
                self._problem = None
            except ConfigurationError:
                raise
            except StreamkitError as error:
                failures += 1
                self._problem = error
                if failures == 1:
                    self._around.report("looking at leases", error)
                seconds = min(MAX_BACKOFF_SECONDS, self._limits.poll_seconds * 2 ** min(failures - 1, 4))
            if not self._is_draining:
                await self._signal.wait(seconds * (1 + JITTER * (2 * self._runtime.random() - 1)))
        if self._has_asked and not self._is_abandoned:
            await self._withdraw()

    def _run_ended(self, error: BaseException | None) -> None:
        self._is_running = False
        self._stopped.set()
        self._around.on_task_ended(error)

    async def _poll(self) -> float:
        """Look, decide, act. In how many seconds to look again."""
        if not self._may_start:
            await self._calls.check_start()
            self._may_start = True
        rows, listed_at = await self._list()
        self._lose_taken(rows)
        self._looking.polled(rows, listed_at)
        if not self._looking.is_complete:
            return self._limits.poll_seconds
        decisions = decide(self._view(rows))
        if self._is_draining:
            return 0.0
        self._give(decisions.give)
        for lease in decisions.refuse:
            await self._calls.request_handover(lease, "")
        if self._known_at is None and (decisions.take or decisions.force or decisions.ask):
            self._known_at = self._runtime.monotonic() + self._limits.poll_seconds * (1 - JITTER)
        got_all = await self._take([*decisions.take, *decisions.force])
        for lease in decisions.ask:
            self._has_asked = True
            await self._calls.request_handover(lease, self.me)
        return self._seconds_to_next(rows, decisions, got_all)

    async def _list(self) -> tuple[Sequence[Lease], float]:
        began = self._runtime.monotonic()
        rows = await self._calls.leases()
        now = self._runtime.monotonic()
        usual = 2 * self._limits.poll_seconds
        unwatched = 0.0 if self._listed_at is None else max(0.0, now - self._listed_at - usual)
        self._seen = observed(self._seen, rows, now, unwatched)
        self._listed_at = now
        self.leases = rows
        return rows, began

    def _lose_taken(self, rows: Sequence[Lease]) -> None:
        """What the rows say to be another's is lost, before the next renewal would find out. All that is held was taken before them."""
        owners = {row.partition: row.owner for row in rows}
        for partition, held in list(self._calls.held.items()):
            if owners.get(partition) != self.me and self._calls.drop(held):
                by = owners.get(partition)
                self._owner.lose([partition], f"{by} has taken its lease" if by else "its lease was taken away")

    def _view(self, rows: Sequence[Lease]) -> View:
        held = set(self._calls.held)
        now = self._runtime.monotonic()
        is_announced = any(self.me in (row.owner, row.handover_to) for row in rows)
        if not is_announced:
            self._known_at = None
        by_partition = {row.partition: row for row in rows}
        return View(
            rows,
            self._seen,
            self.me,
            now,
            self._limits,
            held=held,
            giving=self._giving & held,
            gated={row.partition for row in rows if is_gated(row, by_partition)},
            unaskable={row.owner for row in rows if is_another_program(row.owner)},
            busy={row.partition for row in rows if self._is_busy(row.partition, now)},
            is_announced=is_announced,
            is_known=self._known_at is not None and now >= self._known_at,
        )

    def _is_busy(self, partition: Partition, now: float) -> bool:
        if self._contested.get(partition, now) > now:
            return True
        self._contested.pop(partition, None)
        return partition in self._tenure.releasing or self._owner.is_occupied(partition)

    def _seconds_to_next(self, rows: Sequence[Lease], decisions: Decisions, got_all: bool) -> float:
        poll = self._limits.poll_seconds
        if not got_all:
            return poll * SOON_PART * (0.5 + self._runtime.random())
        # Not a moment later than a lease can be found expired: fail-over takes the lease's duration, not a poll more.
        return min(poll, expires_next(self._seen, rows, self._runtime.monotonic(), self._limits) + MIN_LATE_SECONDS)

    # -- acting ---------------------------------------------------------------------------------------------------

    async def _take(self, leases: Sequence[Lease]) -> bool:
        """Whether all became ours."""
        if not leases:
            return True
        await self._calls.settled()
        if self._is_draining:
            return True
        answers = await self._calls.take(leases, self.me)
        for answer in answers:
            if isinstance(answer, Held):
                self._begin(answer)
        for answer in answers:
            if isinstance(answer, ConfigurationError):
                raise answer
        for answer in answers:
            if isinstance(answer, Exception) and not isinstance(answer, FencedError):
                raise answer
        return all(isinstance(answer, Held) for answer in answers)

    async def _withdraw(self) -> None:
        """What we have asked for is wanted no more: else it would be given to us, and kept for us until we are found dead."""
        try:
            for row in await self._calls.leases():
                if row.handover_to == self.me:
                    await self._calls.request_handover(row, "")
        except StreamkitError as error:
            self._around.report("withdrawing requests for leases", error)

    def _begin(self, held: Held) -> None:
        if self._is_draining:
            self.over(held.partition)
            return
        self._owner.assign(held.partition, held.claim.epoch)
        self._owner.extend(held.partition, self._tenure.valid_until(held))
        self._tenure.look()

    def _give(self, leases: Sequence[Lease]) -> None:
        if leases:
            partitions = [lease.partition for lease in leases]
            self._giving.update(partitions)
            self._runtime.control.spawn("hand-over", self._hand_over(partitions), self._around.on_task_ended)

    async def _hand_over(self, partitions: Sequence[Partition]) -> None:
        """Each is released as soon as it is over; those that take too long are lost here, and released too."""
        await self._owner.revoke(partitions, "handover", self._limits.handover_seconds)
        for partition in partitions:
            if partition in self._giving:
                self.over(partition)
