"""One simulated life: a log, a store, and workers that come and go as the plan says; then peace, and all must come right.

Everything runs on one thread in virtual time, and follows from the plan. `World.live` plays it from the first record to a quiet end.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta

from streamkit.builtin.memory import MemoryLog, MemorySettings
from streamkit.builtin.memory.faults import Operation
from streamkit.builtin.memory.log import Rows
from streamkit.engine.adapter_context import EngineContext
from streamkit.engine.delivery.care import DOUBTFUL_OWNERS
from streamkit.engine.delivery.failures import DOUBT
from streamkit.engine.ownership.lineage import holes
from streamkit.engine.supervisor import Parts, Supervisor
from streamkit.errors import DrainTimeoutError, StreamkitError
from streamkit.model import Partition, Record
from streamkit.plugin import CheckpointStore, NewRecord
from streamkit.plugin.fencing import overwritten
from streamkit.settings import Settings, refuse_not_yet
from streamkit.testing.simulation.adapters import Outside, SimulatedBroker, SimulatedStore, SimulatedTarget, WatchedCoordinator
from streamkit.testing.simulation.chance import LEASE_SECONDS, SLOW_SECONDS
from streamkit.testing.simulation.ledger import Broken, Ledger, WatchedRows
from streamkit.testing.simulation.plan import Plan, Step
from streamkit.testing.simulation.subject import Subject, quick
from streamkit.testing.simulation.trouble import Trouble
from streamkit.testing.simulation.watched import Watched
from streamkit.testing.simulation.worker import Watch, Worker
from streamkit.testing.virtual import VirtualRuntime

__all__ = ["BESIDE", "GROUP", "LETTERS", "STREAM", "World"]

STREAM = "stream"
LETTERS = "letters"
GROUP = "group"
BESIDE = "beside the group"
"""Whose rows stand in a store of their own."""
SESSION_SECONDS = 1.5
REVOKE_SECONDS = 1.5
CLOSING_SECONDS = 2.5
"""What giving back and closing may take beyond the drain: calls that are under way are waited for, and some take two seconds."""
LOOK_SECONDS = 0.25
PATIENCE_SECONDS = 120.0
"""How much virtual time there is to become quiet once nothing disturbs any more."""
DEAF_SECONDS = 0.2
"""So long after it goes on it does not hear yet what the group has done meanwhile."""
HELD: tuple[Operation, ...] = ("leases", "take", "renew", "save", "release", "request_handover", "name_children", "poll")
"""What hangs while a worker is stalled."""
_GIVEN: Mapping[str, object] = {
    "broker": "memory",
    "stream": STREAM,
    "group": GROUP,
    "lease_duration": timedelta(seconds=LEASE_SECONDS),
    "handover_timeout": "1s",
    "retry_backoff": "10ms",
    "retry_max_backoff": "100ms",
    "drain_timeout": "3s",
    "dead_letter": f"memory:{LETTERS}",
}


class World:
    """A log, a group, and its workers."""

    def __init__(self, plan: Plan, subject: Subject) -> None:
        self.plan = plan
        self.subject = subject
        self.dice = random.Random(f"world {plan.seed}")
        self.runtime = VirtualRuntime(plan.seed)
        self.name = f"simulation-{id(self)}"
        MemoryLog.forget(self.name)
        self.log = MemoryLog.named(self.name)
        self.log.create(STREAM, plan.partitions, plan.shape)
        self.log.create(LETTERS)
        self.settings = Settings.model_validate({**_GIVEN, "ownership": plan.ownership, **dict(plan.settings), **subject.settings})
        refuse_not_yet(self.settings)
        most = self.settings.max_in_flight
        self.limit = most + max(self.settings.max_batch, most // 10)  # one poll may overshoot by what it brings
        self.given_up: set[tuple[str, Partition]] = set()
        self.ledger = self._ledger()
        self.kinds: set[str] = set()
        """The kinds of trouble that somebody has met."""
        self.trouble = self.log.faults = Trouble(self.kinds.add)
        self.log._groups[GROUP] = WatchedCoordinator(self.given_up)
        self.outside = Outside(self.ledger, self.trouble, self.dice, self.given_up, self.settings.lease_duration.total_seconds())
        self.rows = WatchedRows(self.ledger)
        self._set: set[tuple[str, str]] = set()
        """Whose checkpoints an operator has set; once, because after that nothing disturbs."""
        """Those that count: a group's own are copies when there is a store beside it."""
        self._copies: Rows = {}
        self.log.rows = lambda broker, group: self.rows if (group == BESIDE) != self.plan.own_store else self._copies  # type: ignore[method-assign]
        self.workers: list[Worker] = []
        self.runtime.loop.set_exception_handler(self._strange)
        self.written: list[Record] = []

    def _new_ledger(self) -> Ledger:
        return Ledger(self.log, STREAM, self.runtime.monotonic, self.limit, by_key=self.settings.ordering == "key")

    def _ledger(self) -> Ledger:
        ledger = self._new_ledger()
        ledger.at_once = self.settings.concurrency
        ledger.skips = self.settings.on_failure == "skip"
        if self.plan.ownership == "lease":  # in a group it is not the store that says who owns what
            ledger.may_not_know = self._is_given_up
        else:
            ledger.may_not_know = lambda worker, partition: True
        ledger.is_manual = self.subject.code.facts.checkpoint == "manual"
        return ledger

    # -- workers --------------------------------------------------------------------------------------------------

    @property
    def running(self) -> list[Worker]:
        return [worker for worker in self.workers if worker.is_running]

    def start(self, name: str, max_partitions: int | None = None) -> Worker:
        plan = self.plan
        context = EngineContext(self.runtime, "memory", broker="memory", group=GROUP, worker=name)
        settings = MemorySettings(
            name=self.name,
            shape=plan.shape,
            auto_create=False,
            session_timeout=timedelta(seconds=SESSION_SECONDS),
            revoke_timeout=timedelta(seconds=REVOKE_SECONDS),
        )
        watched = Watched(name, self.ledger, self.trouble, self.dice.random, by_key=self.settings.ordering == "key")
        watch = Watch(name, self.ledger, self.check_one_owner)
        store = self._store(settings, context)
        parts = Parts(
            self.settings.model_copy(update={"max_partitions": max_partitions}),
            watched.of(self.subject.code),
            SimulatedBroker(settings, context, self.outside),
            store,
            store,  # type: ignore[arg-type]
            watch,
            name,
            plan.ownership,
            self.subject.state,
            self._target(settings, context),
        )
        supervisor = Supervisor(parts, self.runtime)
        worker = Worker(name, supervisor, watched, self.runtime.control.call(f"run-{name}", supervisor.run()), max_partitions is not None)
        watch.worker = worker
        self.workers.append(worker)
        self.ledger.note(name, "joined")
        self.runtime.loop.create_task(self._see_off(worker))
        return worker

    def _store(self, settings: MemorySettings, context: EngineContext) -> CheckpointStore | None:
        """None: the group's own."""
        return None if self.plan.own_store else SimulatedStore(settings, context, self.outside, group=BESIDE)

    def _target(self, settings: MemorySettings, context: EngineContext) -> SimulatedTarget | None:
        if self.settings.on_failure not in ("dead_letter", "park"):
            return None
        return SimulatedTarget(settings, context, self.outside)

    async def _see_off(self, worker: Worker) -> None:
        """What came of it. Only what the plan says may end a worker."""
        broken = self.ledger.broken
        try:
            await worker.promise
        except DrainTimeoutError:
            self.ledger.note(worker.name, "drain timeout")
        except StreamkitError as error:
            self.ledger.note(worker.name, f"ended by {type(error).__name__}")
            if worker.supervisor.is_started:
                broken.append(Broken("goes on", f"{worker.name} ended by {error!r}"))
        except Exception as error:
            broken.append(Broken("goes on", f"{worker.name} ended by {error!r}"))
        worker.is_over = True
        if worker.stopped_at is not None and not worker.was_stalled:
            took = self.runtime.monotonic() - worker.stopped_at
            if took > self.drain_limit:
                broken.append(Broken("drain in time", f"{worker.name} took {took:.2f}s to drain"))
        elif worker.is_running and worker.supervisor.is_started:
            broken.append(Broken("goes on", f"{worker.name} has ended by itself"))

    @property
    def drain_limit(self) -> float:
        return self.settings.drain_timeout.total_seconds() + CLOSING_SECONDS

    def leave(self, worker: Worker) -> None:
        self.ledger.note(worker.name, "draining")
        worker.stopped_at = self.runtime.monotonic()
        worker.supervisor.stop("shutdown")

    def crash(self, worker: Worker) -> None:
        self.ledger.note(worker.name, "crashed")
        worker.watched.dead = True
        worker.supervisor.abandon()

    def stall(self, worker: Worker, seconds: float) -> None:
        """Broker and store hang for it: past its lease it must have stopped by itself, whatever it hears later."""
        self.ledger.note(worker.name, "stalled")
        worker.was_stalled = True
        releases = [self.trouble.hold(operation, worker=worker.name) for operation in HELD]

        def thaw() -> None:
            if worker.thaw is not None:
                worker.thaw = None
                self.ledger.note(worker.name, "goes on")
                *others, poll = releases
                for release in others:
                    release()
                self.runtime.loop.call_later(DEAF_SECONDS, poll)

        worker.thaw = thaw
        self.runtime.loop.call_later(seconds, thaw)

    # -- rules that need more than the ledger ---------------------------------------------------------------------

    def check_one_owner(self, name: str, partition: Partition) -> None:
        """Nobody else may still believe to own it, but for those that have been given up without their knowledge."""
        if self._is_given_up(name, partition):
            return
        for other in self.workers:
            held = other.supervisor.assignments.get(partition)
            if other.name == name or other.is_gone or held is None or held.worker is None or held.is_over:
                continue
            is_lost = held.ending is not None and held.ending.kind != "revoked"
            if not is_lost and not self._is_given_up(other.name, partition):
                self.ledger.broken.append(Broken("one owner", f"{partition} has been assigned to {name}, and {other.name} still has it"))

    def _is_given_up(self, name: str, partition: Partition) -> bool:
        return any(member.startswith(f"{name}-") and p == partition for member, p in self.given_up)

    def _check(self) -> None:
        """At any moment."""
        for worker in self.running:
            for status in worker.supervisor.snapshot():
                if status.in_flight > self.limit:
                    message = f"{worker.name} holds {status.in_flight} of {status.partition}; the limit is {self.limit}"
                    self.ledger.broken.append(Broken("bounded memory", message))
        self._raise_broken()

    def _check_cover(self) -> None:
        """The leases that have not ended cover all keys, but for those of a merge's child whose second parent still has to end."""
        rows = [(row.partition, row.checkpoint) for row in self.rows.values() if row.partition is not None]
        ended = {partition.id for partition, checkpoint in rows if checkpoint is not None and checkpoint.at.is_end}
        left = [partition for partition, _ in rows if partition.id not in ended]
        everything = [replace(partition, ended=False) for partition in self.log.topic(STREAM).partitions]
        waited_for = [p for p in everything if len(p.parents) > 1 and any(parent in ended for parent in p.parents)]
        if left and (gaps := holes([*left, *waited_for])):
            self.ledger.broken.append(Broken("no loss", f"nobody has a lease for the hash keys {gaps}"))

    def _strange(self, loop: object, context: Mapping[str, object]) -> None:
        """What a callback of the engine let through; a broken rule has been noted already, where it was broken."""
        error = context.get("exception")
        if not isinstance(error, Broken):
            self.ledger.broken.append(Broken("goes on", f"{context.get('message')}: {error!r}"))

    def _raise_broken(self) -> None:
        if self.ledger.broken:
            raise self.ledger.broken[0]

    # -- the story ------------------------------------------------------------------------------------------------

    def write(self, count: int) -> None:
        for _ in range(count):
            number, dice = len(self.written), self.dice
            if self.subject.record is None:
                key = None if dice.random() < 0.15 else b"%d" % dice.randrange(20)
                record = NewRecord(b"record %d" % number, key)
            else:
                record = self.subject.record(number)
            self.written.append(self.log.append(STREAM, record.value, key=record.key, headers=record.headers, now=self.runtime.unix_time()))

    def live(self) -> Ledger:
        """From the first record until every record is done and saved, and everybody has left. Raises `Broken`."""
        with quick():
            try:
                if self.subject.setup is not None:
                    self.subject.setup()
                return self.runtime.run(self._live())
            finally:
                self.runtime.stop()
                MemoryLog.forget(self.name)

    async def _live(self) -> Ledger:
        for step in self.plan.steps:
            await self._pause(max(0.0, step.at - self.runtime.monotonic()))
            self._do(step)
            if self.plan.ownership == "lease" and self.plan.shape == "kinesis":
                self._check_cover()
        await self._change_owners()
        await self._peace()
        self.write(5)
        await self._become_quiet()
        for worker in self.running:
            self.leave(worker)
        await self._all_gone()
        self.ledger.check_nothing_lost()
        self._check_yours()
        return self.ledger

    async def _all_gone(self) -> None:
        until = self.runtime.monotonic() + PATIENCE_SECONDS
        while not all(worker.is_gone for worker in self.workers):
            await self._pause(0.1)
            if self.runtime.monotonic() > until:
                names = [worker.name for worker in self.workers if not worker.is_gone]
                self.ledger.fail("drain in time", f"{PATIENCE_SECONDS:g}s after it was told to stop {names} still runs")
        self._raise_broken()

    def _do(self, step: Step) -> None:
        """What cannot be done (any more) is left out: a smaller plan may have lost what it needs."""
        verb, *words = step.words
        if verb in ("fail", "lose", "late", "repeat", "handler", "hook"):
            self.trouble.order(step)
        elif verb == "write":
            self.write(int(words[0]))
        elif verb == "join":
            self._join(words[0], int(words[1]) if len(words) > 1 else None)
        elif verb in ("leave", "crash", "stall"):
            self._hurt(verb, words)
        elif verb == "grow":
            self.log.add_partitions(STREAM, len(self.log.topic(STREAM).logs) + 1)
        elif verb in ("split", "merge"):
            self._reshard(verb, int(words[0]))
        else:
            raise ValueError(f"a plan has no step {step}")

    def _join(self, name: str, max_partitions: int | None) -> None:
        namesakes = [worker for worker in self.workers if worker.name == name]
        in_the_way = self.workers if self.plan.ownership == "static" else namesakes
        if all(worker.is_gone for worker in in_the_way):
            self.kinds.update({"joins"} if self.running else (), {"comes back"} if namesakes else ())
            self.start(name, max_partitions)

    def _hurt(self, verb: str, words: Sequence[str]) -> None:
        for worker in self.running:
            if worker.name != words[0] or worker.thaw is not None:
                continue
            self.kinds.add({"leave": "leaves", "crash": "crashes", "stall": "stalls"}[verb])
            if verb == "stall":
                self.stall(worker, float(words[1]))
            else:
                (self.leave if verb == "leave" else self.crash)(worker)

    def _reshard(self, verb: str, number: int) -> None:
        topic = self.log.topic(STREAM)
        open_ones = sorted((p for p in topic.partitions if not p.ended), key=lambda p: p.key_range or (0, 0))
        index = number % len(open_ones)
        self.kinds.add("partitions split")
        if index and (verb == "merge" or len(open_ones) > 8):
            self.log.merge(STREAM, open_ones[index - 1].id, open_ones[index].id)
            self.ledger.counts["merge"] += 1
        else:
            self.log.split(STREAM, open_ones[index].id)
            self.ledger.counts["split"] += 1

    async def _change_owners(self) -> None:
        """Until there were as many changes as the plan wants."""
        while self.ledger.changes_of_owner < self.plan.changes:
            running = self.running
            if self.plan.ownership == "static" or len(running) > 1 or (running and self.dice.random() < 0.7):
                for worker in running if self.plan.ownership == "static" else running[:1]:
                    self.crash(worker)
                await self._pause(0.2)
            while self.plan.ownership == "static" and not all(worker.is_gone for worker in self.workers):
                await self._pause(LOOK_SECONDS)
            self.start(f"w{20 + len(self.workers)}")
            await self._pause(2 * LEASE_SECONDS)

    async def _peace(self) -> None:
        self.trouble.clear()
        for worker in self.workers:
            if worker.thaw is not None:
                worker.thaw()
        await self._pause(SLOW_SECONDS)

    async def _become_quiet(self) -> None:
        until = self.runtime.monotonic() + PATIENCE_SECONDS
        while late := [p for p in self.log.topic(STREAM).logs if not self.ledger.is_delivered(p)]:
            static = self.plan.ownership == "static"
            if all(worker.is_gone if static else worker.few or not worker.is_running for worker in self.workers):
                self.start(f"w{20 + len(self.workers)}")
            await self._pause(LOOK_SECONDS)
            if doubtful := self._halted_for_owners():
                await self._set_checkpoints(doubtful)
                until = self.runtime.monotonic() + PATIENCE_SECONDS
            elif self.runtime.monotonic() > until:
                held = [f"{w.name}: {s}" for w in self.running for s in w.supervisor.snapshot() if s.partition.id in late]
                self.ledger.fail(
                    "goes on", f"after {PATIENCE_SECONDS:g}s of peace {late} are not done; {'; '.join(held) or 'nobody has them'}"
                )

    def _halted_for_owners(self) -> list[tuple[str, str]]:
        """The rows of what halts because of owners that went, and nobody knows how: lawful only after so many of them."""
        said = [s.partition for worker in self.running for s in worker.supervisor.snapshot() if DOUBT in s.problem]
        rows = [(partition.stream, partition.id) for partition in said]
        return [row for row in rows if self.rows[row].fruitless_claims > DOUBTFUL_OWNERS and row not in self._set]

    async def _set_checkpoints(self, halted: Sequence[tuple[str, str]]) -> None:
        """What that halt tells its operator to do: stop the workers, set the checkpoint, here to where it is, and start anew."""
        for worker in self.running:
            self.leave(worker)
        await self._all_gone()
        for row in halted:
            stored = self.rows[row]
            assert stored.checkpoint is not None
            self.rows[row] = overwritten(stored, stored.checkpoint)
            self._set.add(row)
            self.ledger.note("(operator)", "set", row[1])

    async def _pause(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
        self._check()

    def _check_yours(self) -> None:
        if self.subject.check is None:
            return
        try:
            self.subject.check([record for record in self.written if self.ledger.is_read(record)])
        except Exception as error:
            raise Broken("your own check", f"{type(error).__name__}: {error}") from error
