"""A processor's unit test in five lines: the real engine in virtual time, a scripted broker and store, a plain synchronous API.

    with Harness(handle) as h:
        h.deliver(b"a", b"b")
        assert h.checkpoint == 1

No time passes outside: retries, back-offs and checkpoint intervals are over at once, and each run is like the one before.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self

from streamkit.app import code_of
from streamkit.engine.adapter_context import EngineContext
from streamkit.engine.assignment import Assignment
from streamkit.engine.delivery.reentrant import check_order
from streamkit.engine.delivery.worker import Worker
from streamkit.engine.instrumentation import Instrumentation
from streamkit.engine.observers import Observers
from streamkit.engine.runtime import Promise
from streamkit.engine.supervisor import Parts, Supervisor
from streamkit.model import Checkpoint, Headers, Partition, Position, Record
from streamkit.plugin import Assigned, Lost, NewRecord, Observer, Revoked
from streamkit.settings import Settings, refuse_not_yet
from streamkit.testing.recording import Call, Recording
from streamkit.testing.scripted import Script, ScriptedBroker, ScriptedProducer, ScriptedStore
from streamkit.testing.virtual import EPOCH, VirtualRuntime

__all__ = ["Harness"]

Deliverable = bytes | None | tuple[bytes | None, bytes | None] | NewRecord
"""A value, a (value, key), or a whole record."""

PATIENCE_SECONDS = 3600.0
STEP_SECONDS = 0.01
MAX_STEP_SECONDS = 0.25
REVOKE_SECONDS = 30.0
SEEDS_APART = 7919
_GIVEN = {"broker": "scripted", "stream": "stream", "group": "group", "dead_letter": "scripted:letters"}


class Harness:
    """One processor, one member of a group, and a test that commands what happens.

    An error that the processor raised and that the test has not looked at (`errors`, `halted`) is raised again when the
    block is left, so that no test passes by accident.
    """

    def __init__(
        self,
        target: object,
        /,
        *,
        partitions: int | Sequence[str] = 1,
        state: object = None,
        seed: int = 0,
        assigned: bool = True,
        observer: Observer | None = None,
        **settings: object,
    ) -> None:
        """`partitions`: how many, or their ids. `state` becomes `context.state`. `settings` as in `App`: `checkpoint_interval="1s"`.

        `assigned=False`: begin without partitions; `assign` or `deliver` brings them.
        """
        ids = [str(number) for number in range(partitions)] if isinstance(partitions, int) else list(partitions)
        self.script = Script(ids)
        """The broker and the store: failures and events beyond what the methods here command."""
        self.calls: list[Call] = []
        """Every call of the processor, in order, with its records."""
        self.exit_code: int | None = None
        """What the process would have ended with; None while it runs."""
        self._settings = Settings.model_validate({**_GIVEN, **settings})
        refuse_not_yet(self._settings)
        self._code = code_of(target)
        check_order(self._settings, self._code)
        self._state = state
        self._seed = seed
        self._begins_assigned = assigned
        self._errors: list[BaseException] = []
        self._unread = 0
        self._problems: list[tuple[str, BaseException]] = []
        self._put_aside: list[tuple[Position, str]] = []
        self._observer = observer
        self._instrumentation: Instrumentation | None = None
        """What our own tests put around the work of the engine, before the block is entered."""
        self._held: set[Partition] = set()
        self._generation = 0
        self._now = 0.0
        self._life: _Life | None = None
        self._lives = 0

    # -- what happens ---------------------------------------------------------------------------------------------

    def deliver(self, *records: Deliverable, partition: str | None = None) -> list[Record]:
        """Append to the log of a partition (the first one unless told) and run until all is processed and saved.

        A partition that is not assigned is assigned first. Returns the records as the processor gets them.
        """
        written = self.write(*records, partition=partition)
        self._hold({record.partition for record in written})
        self.settle()
        return written

    def write(self, *records: Deliverable, partition: str | None = None) -> list[Record]:
        """Append to the log, and let no time pass: `advance` or `settle` follows."""
        return [self._write(_new(record), partition) for record in records]

    def assign(self, *partitions: str) -> None:
        """The group gives these (all, if none is named) to this owner; after `crash` or `stop` a new one starts."""
        self._hold(set(self._named(partitions)))
        self.settle()

    def end(self, *, partition: str | None = None, children: Sequence[str] = ()) -> None:
        """The broker closes a partition, and `children` go on where it ended; run until that is processed and saved."""
        self._hold({self._first(partition)})
        self.script.logs.update({Partition(self.script.stream, child): [] for child in children})
        self.script.ended[self._first(partition)] = tuple(Partition(self.script.stream, child) for child in children)
        self.settle()

    def revoke(self, *partitions: str, deadline: float = REVOKE_SECONDS) -> None:
        """A rebalance takes these (all, if none is named) away in order, within `deadline` seconds."""
        named = tuple(p for p in self._named(partitions) if p in self._held)
        answered: Promise[None] = Promise()
        self.script.events.append(Revoked(named, deadline, lambda: answered.resolve(None)))
        self._held.difference_update(named)
        self._run_until(lambda: answered.done() and not self._is_ending(), "the revoked partitions are given back")

    def lose(self, *partitions: str) -> None:
        """These (all, if none is named) belong to somebody else from now on."""
        named = tuple(p for p in self._named(partitions) if p in self._held)
        for partition in named:
            self.script.take(partition)
        self.script.events.append(Lost(named))
        self._held.difference_update(named)
        self._run_until(lambda: not self.script.events and not self._is_ending(), "the lost partitions are closed")

    def crash(self) -> None:
        """As kill -9: nothing is saved, no hook is called. The next `deliver` or `assign` starts a new owner from the stored checkpoint."""
        if self._life is not None:
            self._now = self._life.kill()
            self._life = None
            self._held.clear()
            self.script.events.clear()

    def stop(self) -> None:
        """Drain, as SIGTERM does. Raises what ended the app, `DrainTimeoutError` for example."""
        if self._life is None:
            return
        life = self._life
        life.supervisor.stop("shutdown")
        try:
            self._run_until(life.promise.done, "the app has stopped")
        finally:
            self._now = life.kill()
            self._life = None
            self._held.clear()
        self.exit_code = life.supervisor.exit_code
        life.promise.result()

    def advance(self, seconds: float) -> None:
        """Let virtual time pass."""
        self._alive().runtime.run(asyncio.sleep(seconds))

    def settle(self) -> None:
        """Run until nothing is left to do: everything is processed and saved, or halted. Raises TimeoutError after a virtual hour."""
        self._run_until(self._is_quiet, "everything is processed and saved")

    # -- what has happened ----------------------------------------------------------------------------------------

    @property
    def checkpoint(self) -> int | Position | None:
        """The last saved position of the first partition: its sequence, or `Position.END`; None: nothing done is saved."""
        return self.checkpoint_of(self._first(None).id)

    def checkpoint_of(self, partition: str) -> int | Position | None:
        """The same of any partition."""
        row = self.script.rows.get(self.script.partition(partition))
        at = row.checkpoint.at if row is not None and row.checkpoint is not None else None
        if at is None or at.position is None or at.kind != "after":
            return None
        return at.position if at.position.is_end else at.position.sequence

    @property
    def checkpoints(self) -> list[Checkpoint]:
        """All that were ever saved, oldest first; the first one of a partition is its start."""
        return self.script.saves

    @property
    def hooks(self) -> list[str]:
        """The names of the hooks in the order of their calls; a function's call is `process`."""
        return [call.hook for call in self.calls]

    @property
    def seen(self) -> list[Record]:
        """What the processor was called with, redelivery included."""
        return [record for call in self.calls for record in call.records]

    @property
    def errors(self) -> list[BaseException]:
        """What the processor raised, in order."""
        self._unread = len(self._errors)
        return self._errors

    @property
    def problems(self) -> list[str]:
        """What else went wrong: claims, saves and reads that failed, hooks that raised."""
        return [f"{subject}: {error}" for subject, error in self._problems]

    @property
    def put_aside(self) -> list[tuple[int | None, str]]:
        """Records that failed for good and were passed, in order: their sequences, and how (`dead_letter` or `skip`)."""
        self._unread = len(self._errors)
        return [(position.sequence, how) for position, how in self._put_aside]

    @property
    def dead_letters(self) -> list[NewRecord]:
        """What stands in the dead-letter target (with `on_failure="dead_letter"`)."""
        self._unread = len(self._errors)
        return self.script.letters

    @property
    def halted(self) -> Exception | None:
        """Why a partition does not go on; None: none has halted."""
        self._unread = len(self._errors)
        assignments = self._life.supervisor.assignments.values() if self._life is not None else ()
        return next((assignment.halted for assignment in assignments if assignment.halted is not None), None)

    @property
    def time(self) -> float:
        """Virtual seconds since the beginning."""
        return self._life.runtime.monotonic() if self._life is not None else self._now

    @property
    def is_running(self) -> bool:
        """Whether an owner is alive: not crashed, not stopped, not ended by itself."""
        return self._life is not None and not self._life.promise.done()

    # -- the block ------------------------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        if self._begins_assigned:
            self.assign()
        else:
            self._alive()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if error is not None:
            self.crash()  # what the test has found counts, not what a drain would add to it
            return
        self.stop()
        if self._unread < len(self._errors):
            raise self._errors[self._unread]

    # -- inside ---------------------------------------------------------------------------------------------------

    def _alive(self) -> _Life:
        if self._life is None:
            self.exit_code = None
            self._life = _Life(self)
            self._lives += 1
        return self._life

    def _hold(self, partitions: set[Partition]) -> None:
        self._alive()
        if new := tuple(p for p in self.script.logs if p in partitions - self._held):
            self._generation += 1
            self._held.update(new)
            self.script.events.append(Assigned(new, self._generation))

    def _named(self, names: Sequence[str]) -> list[Partition]:
        return [self.script.partition(name) for name in names] or list(self.script.logs)

    def _first(self, name: str | None) -> Partition:
        return next(iter(self.script.logs)) if name is None else self.script.partition(name)

    def _write(self, record: NewRecord, partition: str | None) -> Record:
        return self.script.write(record, self._first(record.partition or partition), EPOCH + self.time)

    def _run_until(self, is_reached: Callable[[], bool], goal: str) -> None:
        life = self._alive()
        until, step = self.time + PATIENCE_SECONDS, STEP_SECONDS
        while not is_reached():
            if life.promise.done():
                life.promise.result()  # the app has ended by itself: raises if it failed
                return
            if self.time >= until:
                raise TimeoutError(f"a virtual hour has passed, and not {goal}: {life.supervisor.snapshot()}, {self.problems}")
            life.runtime.run(asyncio.sleep(step))
            step = min(MAX_STEP_SECONDS, step * 1.5)

    def _is_quiet(self) -> bool:
        assignments = self._alive().supervisor.assignments
        return not self.script.events and all(p in assignments and self._is_settled(assignments[p]) for p in self._held)

    def _is_settled(self, assignment: Assignment) -> bool:
        worker, partition = assignment.worker, assignment.partition
        if assignment.is_over or (assignment.halted is not None and (worker is None or not self._goes_on(worker))):
            return True
        if worker is None or not worker.ready.done() or partition in self.script.ended:
            return False
        if worker.queued_records or self._is_unread(worker.newest, partition):
            return False
        done = [worker.submitted, None if self._code.facts.checkpoint == "manual" else worker.progress.position]
        saved = assignment.saved
        return all(position is None or (saved is not None and saved >= position) for position in done)

    def _goes_on(self, worker: Worker) -> bool:
        """Whether records of other keys are called, or will be read, though one has halted."""
        has_room = self._settings.ordering == "key" and worker.in_flight < self._settings.max_in_flight
        return worker.goes_on or (has_room and self._is_unread(worker.newest, worker.partition))

    def _is_unread(self, newest: Position | None, partition: Partition) -> bool:
        log = self.script.logs[partition]
        start = self.script.rows[partition].checkpoint
        if newest is None and start is not None and start.at.kind == "at":
            return bool(log) and start.at.position is not None and start.at.position <= log[-1].position
        return bool(log) and (newest is None or newest < log[-1].position)

    def _is_ending(self) -> bool:
        life = self._alive()
        return life.supervisor.has_zombies or any(a.ending is not None for a in life.supervisor.assignments.values())


class _Life:
    """One owner: from its start to its end, or its death."""

    def __init__(self, harness: Harness) -> None:
        # Another process has other chances: above all another name, by which stores know it.
        self.runtime = VirtualRuntime(harness._seed + SEEDS_APART * harness._lives, start=harness._now)
        self.recording = Recording(harness.calls, harness._errors)
        self._store = ScriptedStore(harness.script, asyncio.sleep)
        context = EngineContext(self.runtime, "scripted", broker="scripted", group="group", worker="harness")
        watching = [
            _Problems(self.recording, harness._problems, harness._put_aside),
            *([harness._observer] if harness._observer is not None else []),
        ]
        parts = Parts(
            settings=harness._settings,
            code=self.recording.of(harness._code),
            broker=ScriptedBroker(harness.script, context, asyncio.sleep),
            store=self._store,
            store_adapter=None,
            observer=Observers(watching),
            worker_name="harness",
            ownership="group",
            state=harness._state,
            dead_letter=ScriptedProducer(harness.script, context, asyncio.sleep),
            instrumentation=harness._instrumentation,
        )
        self.supervisor = Supervisor(parts, self.runtime)
        self.promise = self.runtime.control.call("run", self.supervisor.run())

    def kill(self) -> float:
        """Nothing that it does from now on is noted. The virtual time of its death."""
        self.recording.over = self._store.is_dead = True
        now = self.runtime.monotonic()
        self.supervisor.abandon()
        self.runtime.stop()
        return now


class _Problems(Observer):
    def __init__(self, recording: Recording, problems: list[tuple[str, BaseException]], put_aside: list[tuple[Position, str]]) -> None:
        self._recording = recording
        self._problems = problems
        self._put_aside = put_aside

    def on_put_aside(self, partition: Partition, position: Position, error: BaseException, how: str) -> None:
        if not self._recording.over:
            self._put_aside.append((position, how))

    def on_problem(self, subject: str, error: BaseException) -> None:
        if not self._recording.over:
            self._problems.append((subject, error))

    def on_checkpoint_failed(self, checkpoint: Checkpoint, error: Exception) -> None:
        if not self._recording.over:
            self._problems.append((f"saving {checkpoint.partition} at {checkpoint.at.position}", error))


def _new(record: Deliverable) -> NewRecord:
    if isinstance(record, NewRecord):
        return record
    if isinstance(record, tuple):
        return NewRecord(record[0], record[1])
    return NewRecord(record, headers=Headers())
