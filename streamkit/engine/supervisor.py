"""One app from open to close, on the control thread: ownership, assignments, when to stop, and the drain."""

from __future__ import annotations

from collections.abc import Coroutine, Mapping, Sequence

from streamkit.engine.assignment import Assignment
from streamkit.engine.checkpoint.checkpointer import Checkpointer
from streamkit.engine.dealing import Dealing
from streamkit.engine.delivery.dead_letter import DeadLetters
from streamkit.engine.delivery.messages import Ending
from streamkit.engine.delivery.pressure import Pressure
from streamkit.engine.discovery import Discovery
from streamkit.engine.health import Health, Subject
from streamkit.engine.house import House, limits_of, poll_records
from streamkit.engine.late import drain_timed_out
from streamkit.engine.ownership.naming import owner_name
from streamkit.engine.ownership.protocol import Ownership
from streamkit.engine.parts import Parts
from streamkit.engine.reading import Reading
from streamkit.engine.requests import Requests
from streamkit.engine.runtime import Runtime
from streamkit.engine.starting import NotStartedError, Starting, first_contact
from streamkit.engine.status import PartitionStatus
from streamkit.engine.stopping import StopWatch
from streamkit.errors import ConfigurationError, StreamkitError
from streamkit.model import Partition
from streamkit.plugin import CheckpointStore, Event, Failed, GroupBroker, Lost, Reader

__all__ = ["Parts", "Supervisor"]

TICK_SECONDS = 0.25
CLOSE_SECONDS = 5.0
GIVE_BACK_SECONDS = 1.0
"""What giving back may take when the drain has used up its time."""


class Supervisor:
    """One app. `run` once, on the control carrier; `stop` from anywhere."""

    def __init__(self, parts: Parts, runtime: Runtime) -> None:
        self.is_started = False
        self.exit_code = 0
        self.stop_reason = ""
        self._parts = parts
        self._runtime = runtime
        self._signal = runtime.control.signal()
        self._assignments: dict[Partition, Assignment] = {}
        self._zombies: dict[Partition, Assignment] = {}
        self._again: dict[Partition, tuple[float, int]] = {}
        """Ours by the group or by decree, but fenced in the store: when to begin again, and the epoch."""
        self._revoking: set[Partition] = set()
        self._discovery = Discovery(parts, runtime)
        self._stopping = False
        self._abandoned = False
        self._fatal: Exception | None = None
        self._ownership: Ownership
        self._reading: Reading
        self._checkpointer: Checkpointer
        self._house: House
        self._watch: StopWatch
        self._is_reading = False
        self._reading_over = False
        self.health = Health(
            Subject(
                settings=parts.settings,
                worker=parts.worker_name,
                ownership=parts.ownership,
                observer=parts.observer,
                assignments=self._assignments,
                zombies=self._zombies,
                known=self._discovery.known,
                give_up=self._give_up,
            ),
            runtime,
        )

    # -- from anywhere --------------------------------------------------------------------------------------------

    def stop(self, reason: str) -> None:
        """Drain: no new calls, save, release."""
        self._runtime.control.post(self._stop, reason)

    def abandon(self) -> None:
        """As if the process had died: nothing is saved, no hook is called, the group is not told. For demos and tests."""
        self._runtime.control.post(self._abandon)

    def snapshot(self) -> list[PartitionStatus]:
        """Every assigned partition, as it stands now."""
        return self.health.snapshot()

    @property
    def assignments(self) -> Mapping[Partition, Assignment]:
        """What is assigned, as it stands; look at it on the control thread."""
        return self._assignments

    @property
    def has_zombies(self) -> bool:
        """Whether code of an assignment that was lost still runs."""
        return bool(self._zombies)

    # -- the life of an app ---------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Open, run until something says stop, drain, close.

        Raises what made it impossible: `ConfigurationError` or `BrokerError` (`is_started` tells whether it ever ran),
        `DrainTimeoutError` if code was still running at the deadline, or the store had not taken what was to be saved.
        """
        try:
            try:
                await self._open()
            except NotStartedError:
                return
            self.is_started = True
            self.health.phase = "draining" if self._stopping else "running"
            while not self._stopping:
                await self._signal.wait(TICK_SECONDS)
                self._assign_again()
                if not self._stopping and not self._again and await self._watch.is_done():
                    self._stop(str(self._parts.settings.stop))
            unfinished = () if self._abandoned else await self._drain()
        finally:
            await self._close()
        if self._fatal is not None:
            raise self._fatal
        if unfinished:
            seconds = self._parts.settings.drain_timeout.total_seconds()
            raise drain_timed_out(seconds, unfinished, self._checkpointer.unsaved(unfinished))

    async def _open(self) -> None:
        runtime, told = self._runtime, self._parts.observer.on_problem
        seconds = self._parts.settings.start_timeout.total_seconds()
        starting = Starting(runtime, seconds, self._signal, lambda: self._stopping, told)
        tips = await first_contact(self._parts, runtime, starting, self._discovery, self._dead_letters())
        self._assemble()
        self._watch = StopWatch(self._house, self._assignments, tips, self._ownership)
        carrier = self._reading_carrier
        carrier.spawn("reading", self._reading.run(), lambda error: runtime.control.post(self._reading_ended, error))
        runtime.control.spawn("checkpointer", self._checkpointer.run(), self._task_ended)
        self._is_reading = True
        self.health.house, self.health.ownership = self._house, self._ownership
        runtime.control.spawn("watchdog", self.health.watchdog.run(), self._task_ended)
        runtime.control.spawn("requests", self._house.requests.run(), self._task_ended)
        self._ownership.begin(list(self._discovery.known.values()))

    def _assemble(self) -> None:
        """The parts that live as long as the app does."""
        parts, runtime, settings = self._parts, self._runtime, self._parts.settings
        reader, own = self._reader_and_its_store()
        store = parts.store or own
        if store is None:
            fix = "set it, for example to sqlite"
            raise ConfigurationError("this broker keeps no checkpoints of its own", setting="STREAMKIT_STORE", fix=fix)
        self._reading_carrier = runtime.thread("reading") if reader.blocking else runtime.io
        at_once = poll_records(settings)
        pressure = Pressure(max_batch=at_once, max_in_flight=settings.max_in_flight, max_bytes=settings.max_in_flight_bytes)
        told = self._post_event, self._post_problem, parts.observer.on_noticed
        self._reading = Reading(reader, self._reading_carrier, runtime, pressure, at_once, *told)
        self._ownership, calls = Dealing(parts, runtime, self, self._discovery, self._reading, self._task_ended).begin(store, own)
        self._checkpointer = Checkpointer(
            runtime,
            calls,
            parts.observer,
            interval_seconds=settings.checkpoint_interval.total_seconds(),
            records=settings.checkpoint_records,
            max_in_flight=settings.max_in_flight,
            instrumentation=parts.instrumentation,
        )
        self._house = House(
            runtime=runtime,
            settings=settings,
            code=parts.code,
            limits=limits_of(settings, parts.code),
            broker=parts.broker,
            store=calls,
            store_capabilities=store.capabilities,
            checkpointer=self._checkpointer,
            requests=Requests(runtime, calls, settings, self._assignments, parts.observer.on_problem),
            reading=self._reading,
            observer=parts.observer,
            worker_name=parts.worker_name,
            claimant=owner_name(parts.worker_name, runtime.random()),
            state=parts.state,
            dead_letters=self._dead_letters(),
            look_up=self._discovery.look_up,
            partitions_of=self._discovery.count,
            instrumentation=parts.instrumentation,
        )

    def _reader_and_its_store(self) -> tuple[Reader, CheckpointStore | None]:
        """A member of the group and the group's own store, or a plain reader."""
        parts, settings = self._parts, self._parts.settings
        if parts.ownership != "group":
            return parts.broker.reader(), None
        assert isinstance(parts.broker, GroupBroker)
        membership = parts.broker.join(settings.stream, settings.group, lambda revoked: self._reading.serve(revoked))
        return membership, membership.checkpoints

    def _dead_letters(self) -> DeadLetters | None:
        producer, target = self._parts.dead_letter, self._parts.settings.dead_letter
        if producer is None or target is None:
            return None
        parts = self._parts
        group, worker = parts.settings.group, parts.worker_name
        return DeadLetters(producer, target, self._runtime, group=group, worker=worker, instrumentation=parts.instrumentation)

    async def _drain(self) -> Sequence[Partition]:
        """Give everything back within DRAIN_TIMEOUT. The partitions whose code was still running at the end of it."""
        if any(a.halted is not None for a in self._assignments.values()):
            self.exit_code = 1
        self._ownership.drain()
        partitions = list(self._assignments)
        self._reading.remove(partitions)
        seconds = self._parts.settings.drain_timeout.total_seconds()
        until = self._runtime.monotonic() + seconds
        unfinished = await self.revoke(partitions, self.stop_reason, seconds)
        for zombie in list(self._zombies.values()):
            await zombie.wait_over(max(0.0, until - self._runtime.monotonic()))
        await self._ownership.stop(max(GIVE_BACK_SECONDS, until - self._runtime.monotonic()))
        return [*unfinished, *(p for p, zombie in self._zombies.items() if not zombie.is_over and p not in unfinished)]

    async def _close(self) -> None:
        """Every step is tried, whatever the one before did; what fails is reported."""
        parts, io = self._parts, self._runtime.io
        if self._is_reading:
            self._ownership.abandon()  # whatever made us end: nobody is left to act on what it would go on to take and renew
            await self._within("leaving", self._reading.close(leave=not self._abandoned))
            self._checkpointer.stop()
            self._house.requests.stop()
            self.health.watchdog.stop()
        if parts.dead_letter is not None:
            await self._within("closing the dead-letter target", io.call("close-dead-letter", parts.dead_letter.close()))
        if parts.store_adapter is not None:
            await self._within("closing the store", io.call("close-store", parts.store_adapter.close()))
        await self._within("closing the broker", io.call("close-broker", parts.broker.close()))

    async def _within(self, doing: str, promise: object) -> None:
        """Wait for a step of the shutdown, but not for ever."""
        runtime = self._runtime
        signal = runtime.control.signal()

        async def body() -> None:
            try:
                await promise  # type: ignore[misc]
            except Exception as error:
                self._parts.observer.on_problem(doing, error)

        runtime.control.spawn(doing, body(), lambda _: signal.set())
        await signal.wait(CLOSE_SECONDS)

    # -- Owner ----------------------------------------------------------------------------------------------------

    def assign(self, partition: Partition, epoch: int) -> None:
        if self._stopping:
            return
        current = self._assignments.pop(partition, None)
        if current is not None:  # assigned twice without a loss in between: the newer one counts
            current.end(Ending("lost", "assigned again"))
            self._keep_zombie(current)
        self._again.pop(partition, None)
        self._revoking.discard(partition)
        assignment = Assignment(partition, epoch, self._house, self, self._zombies.get(partition))
        self._assignments[partition] = assignment
        self.health.tally.add(partition, assignment)
        assignment.begin()

    def _assign_again(self) -> None:
        now = self._runtime.monotonic()
        for partition, (at, epoch) in list(self._again.items()):
            if at <= now:
                self.assign(partition, epoch)

    def revoke(self, partitions: Sequence[Partition], reason: str, seconds: float) -> Coroutine[object, object, Sequence[Partition]]:
        """Begin to end these in order. The coroutine waits: those that are not over after `seconds` are lost, and returned."""
        until = self._runtime.monotonic() + seconds
        ending = [self._assignments[p] for p in partitions if p in self._assignments]
        self._revoking.update(partitions)
        for partition in partitions:
            self._again.pop(partition, None)
        self._unread(partitions)
        for assignment in ending:
            assignment.end(Ending("revoked", reason, until))
        return self._revoked(partitions, ending, until, f"not finished within {seconds:g}s of {reason}")

    async def _revoked(
        self, partitions: Sequence[Partition], ending: Sequence[Assignment], until: float, why_late: str
    ) -> Sequence[Partition]:
        for assignment in ending:
            await assignment.wait_over(max(0.0, until - self._runtime.monotonic()))
        late = [assignment for assignment in ending if not assignment.is_over]
        ours = [a.partition for a in late if self._assignments.get(a.partition) is a]  # not those that were lost and assigned anew
        self.lose(ours, why_late)
        for assignment in ending:
            if self._assignments.get(assignment.partition) is assignment:
                del self._assignments[assignment.partition]
        self._revoking.difference_update(partitions)
        return [assignment.partition for assignment in late]

    def _unread(self, partitions: Sequence[Partition]) -> None:
        """Nothing more of these is read, unless the reader itself has said so."""
        if not self._ownership.reader_knows and not self._stopping:
            self._reading.remove(partitions)

    def lose(self, partitions: Sequence[Partition], reason: str) -> None:
        self._unread(partitions)
        for partition in partitions:
            assignment = self._assignments.pop(partition, None)
            self._again.pop(partition, None)
            if assignment is not None:
                assignment.end(Ending("lost", reason))
                self._keep_zombie(assignment)
            self._ownership.over(partition)

    def extend(self, partition: Partition, until: float) -> None:
        if (assignment := self._assignments.get(partition)) is not None:
            assignment.extend(until)

    def is_occupied(self, partition: Partition) -> bool:
        return partition in self._zombies

    def _give_up(self, assignment: Assignment, reason: str) -> None:
        """A call of it is stuck. Where leases are dealt another worker can have it; a group or a decree would only give it back."""
        if self._ownership.deals_leases and self._assignments.get(assignment.partition) is assignment:
            self.lose([assignment.partition], reason)

    def _keep_zombie(self, assignment: Assignment) -> None:
        """Its code may still run. If an earlier one's does, this one has been waiting for it, and the next waits for it as well."""
        if not assignment.is_over:
            self._zombies.setdefault(assignment.partition, assignment)

    # -- Supervision ----------------------------------------------------------------------------------------------

    def finished(self, assignment: Assignment) -> None:
        self.health.tally.retire(assignment.partition, assignment)
        if self._zombies.get(assignment.partition) is assignment:
            del self._zombies[assignment.partition]
        if self._assignments.get(assignment.partition) is not assignment:
            return
        if not self._abandoned:
            self._ownership.over(assignment.partition)
        if assignment.ending is not None or self._ownership.deals_leases:
            del self._assignments[assignment.partition]
            is_lost = assignment.ending is not None and assignment.ending.kind == "lost"
            if is_lost and assignment.partition not in self._revoking and (wait := self._ownership.again_seconds) is not None:
                # Fenced for good, but nobody has taken it from us, so perhaps nobody else reads it: begin again from the store.
                self._again[assignment.partition] = (self._runtime.monotonic() + wait, assignment.epoch)

    def stop_asked(self, error: Exception) -> None:
        self.exit_code = 1
        if isinstance(error, ConfigurationError):
            self._fatal = self._fatal or error
        self._parts.observer.on_problem("stopping", error)
        self._stop(str(error))

    async def before_end(self, assignment: Assignment, children: Sequence[Partition]) -> None:
        await self._ownership.before_end(assignment.partition, children)

    def ended(self, assignment: Assignment, children: Sequence[Partition]) -> None:
        self._discovery.add(children)
        self._ownership.ended(assignment.partition, children)

    # -- events ---------------------------------------------------------------------------------------------------

    def _post_event(self, event: Event) -> None:
        self._runtime.control.post(self._on_event, event)

    def _post_problem(self, subject: str, error: BaseException) -> None:
        self._runtime.control.post(self._parts.observer.on_problem, subject, error)

    def _on_event(self, event: Event) -> None:
        if isinstance(event, Failed):
            if (assignment := self._assignments.get(event.partition)) is not None:
                assignment.read_failed(event.error)
        elif isinstance(event, Lost) and not (self._ownership.reader_knows or self._ownership.deals_leases):
            for partition in event.partitions:  # ours by decree: as after a claim by somebody else, it is begun again after a while
                if (taken := self._assignments.get(partition)) is not None:
                    taken.lose(event.reason)
        else:
            self._ownership.heard(event)

    def _reading_ended(self, error: BaseException | None) -> None:
        self._reading_over = True
        if error is not None:
            self._fatal = error if isinstance(error, StreamkitError) else RuntimeError(f"the reader failed: {error!r}")
            self._fatal.__cause__ = error
            self.lose(list(self._assignments), "the reader failed")
            self._stop("the reader failed")

    def _task_ended(self, error: BaseException | None) -> None:
        """A task of the engine that should not have failed has: stop rather than go on with a part missing."""
        if error is not None and not self._abandoned:
            self._fatal = self._fatal or (error if isinstance(error, Exception) else RuntimeError(repr(error)))
            self.exit_code = 1
            self._stop(f"internal error: {error!r}")

    def _stop(self, reason: str) -> None:
        if not self._stopping:
            self._stopping = True
            self.stop_reason = reason
            self.health.phase = "draining"
            self._signal.set()

    def _abandon(self) -> None:
        self._abandoned = True
        if self._is_reading:
            self._ownership.abandon()
        for assignment in [*self._assignments.values(), *self._zombies.values()]:
            assignment.end(Ending("abandoned", "abandoned"))
        self._stop("abandoned")
