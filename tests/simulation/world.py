"""Several real engines on one thread in virtual time: workers join, leave, crash, freeze and come back; log and store fail.

Everything that happens follows from the seed. `World.run` plays one life of a group from the first record to a quiet end.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Literal

from streamkit.builtin.memory import MemoryBroker, MemoryLog, MemorySettings, MemoryStore, membership, reader
from streamkit.builtin.memory.coordinator import Coordinator
from streamkit.builtin.memory.faults import Faults
from streamkit.builtin.memory.log import Rows
from streamkit.builtin.sqlite import SqliteSettings, SqliteStore
from streamkit.engine.adapter_context import EngineContext
from streamkit.engine.delivery import retry
from streamkit.engine.runtime import Promise
from streamkit.engine.supervisor import Parts, Supervisor
from streamkit.errors import (
    BrokerUnavailableError,
    DrainTimeoutError,
    StoreNotReadyError,
    StoreThrottledError,
    StoreUnavailableError,
    StreamkitError,
    ThrottledError,
)
from streamkit.model import Checkpoint, Partition
from streamkit.plugin import Adapter, CheckpointStore, Observer, fencing
from streamkit.settings import Settings
from streamkit.testing.virtual import VirtualRuntime
from tests.simulation.keyed import KEYED_KINDS, KeyLedger
from tests.simulation.ledger import Ledger, WatchedRows
from tests.simulation.targets import KINDS, SLOW_SECONDS, Hands, code_of

__all__ = ["FAULTS", "MIN_CHANGES", "Plan", "World", "play", "quick"]

STREAM = "s"
GROUP = "g"
BESIDE = "beside g"
SESSION_SECONDS = 1.5
REVOKE_SECONDS = 1.5
DRAIN_SECONDS = 3.0
MIN_CHANGES = 3
"""A world in which hardly any partition changes hands proves little."""
PATIENCE_SECONDS = 120.0
"""How much virtual time a world has to become quiet once nothing disturbs it any more."""

FAULTS: dict[str, Callable[[], Exception]] = {
    "poll": lambda: BrokerUnavailableError("poll"),
    "poll throttled": lambda: ThrottledError("poll", retry_after=0.3),
    "claim": lambda: StoreUnavailableError("claim"),
    "claim throttled": lambda: StoreThrottledError("claim"),
    "claim not ready": lambda: StoreNotReadyError("claim"),
    "save": lambda: StoreUnavailableError("save"),
    "save throttled": lambda: StoreThrottledError("save"),
    "save not ready": lambda: StoreNotReadyError("save"),
    "save_after_write": lambda: StoreUnavailableError("the answer was lost"),
    "list": lambda: StoreUnavailableError("list"),
    "discover": lambda: BrokerUnavailableError("discover"),
}


@dataclass(frozen=True, slots=True)
class Plan:
    """What a world is like; the seed decides the rest."""

    seed: int
    kind: str
    shape: Literal["kafka", "kinesis"] = "kafka"
    store: Literal["group", "memory", "sqlite"] = "group"
    folder: Path | None = None
    records: int = 120
    steps: int = 14


@contextmanager
def quick() -> Iterator[None]:
    """Shorter waits where the engine's and the memory broker's are made for people and real time."""
    before = membership._IDLE_SECONDS, reader._IDLE_SECONDS, retry.HALT_BACKOFF_SECONDS
    membership._IDLE_SECONDS = reader._IDLE_SECONDS = 0.05
    retry.HALT_BACKOFF_SECONDS = 0.5
    try:
        yield
    finally:
        membership._IDLE_SECONDS, reader._IDLE_SECONDS, retry.HALT_BACKOFF_SECONDS = before


class _CountingFaults(Faults):
    def __init__(self, ledger: Ledger) -> None:
        super().__init__()
        self._ledger = ledger

    def _take(self, operation: object, worker: str) -> Exception | None:
        error = super()._take(operation, worker)  # type: ignore[arg-type]
        if error is not None:
            self._ledger.counts[f"fault:{operation}:{type(error).__name__}"] += 1
        return error


class _WatchedCoordinator(Coordinator):
    """Knows which members the group has given up without their knowledge: for them two owners at once are no crime."""

    def __init__(self, given_up: set[tuple[str, Partition]]) -> None:
        super().__init__()
        self._given_up = given_up

    def _expire(self, now: float) -> None:
        for member, expires in self._expires.items():
            if expires <= now:
                self._given_up.update((member, p) for p, owner in self._owner.items() if owner == member)
        self._given_up.update((self._owner[p], p) for p, (_, deadline) in self._revoking.items() if deadline <= now and p in self._owner)
        super()._expire(now)


class _WatchedSqlite(SqliteStore):
    """The world's faults strike here too, and every write goes past the ledger."""

    ledger: Ledger
    faults: Faults

    async def claim(self, partition: Partition, owner: str, epoch: int):  # type: ignore[no-untyped-def]
        await self.faults.strike("claim", self.context.worker)
        return await super().claim(partition, owner, epoch)

    async def save(self, checkpoints):  # type: ignore[no-untyped-def]
        await self.faults.strike("save", self.context.worker)
        answers = await super().save(checkpoints)
        await self.faults.strike("save_after_write", self.context.worker)
        return answers

    def _write(self, partition: Partition, row: fencing.Row) -> None:
        before = self._row(partition)
        super()._write(partition, row)
        self.ledger.written(partition.id, before, row)


@dataclass(slots=True)
class Worker:
    """One process of the group, from its start to its end."""

    name: str
    supervisor: Supervisor
    hands: Hands
    promise: Promise[None]
    stopped_at: float | None = None
    thaw: Callable[[], None] | None = None
    was_frozen: bool = False
    is_over: bool = False


class _Watch(Observer):
    """One worker's events, as the ledger and the world want them."""

    _worker: Worker

    def __init__(self, world: World, name: str) -> None:
        self._world = world
        self._name = name
        self._ledger = world.ledger

    def on_assigned(self, partition: Partition, epoch: int) -> None:
        self._ledger.note(self._name, "assigned", partition.id, epoch)
        assignment = self._worker.supervisor.assignments[partition]
        self._ledger.owned(self._name, partition, epoch, assignment.start)
        self._world.check_one_owner(self._name, partition)

    def on_revoked(self, partition: Partition, epoch: int, reason: str) -> None:
        self._ledger.note(self._name, "revoked", partition.id, epoch)
        if not self._world.plan.kind.startswith("flushing"):  # whose last flush may have failed
            self._ledger.revoked(self._name, partition, epoch)

    def on_lost(self, partition: Partition, epoch: int, reason: str) -> None:
        self._ledger.note(self._name, "lost", partition.id, epoch)
        if reason.startswith("fenced"):
            self._ledger.counts["fenced"] += 1

    def on_ended(self, partition: Partition, epoch: int) -> None:
        self._ledger.note(self._name, "ended", partition.id, epoch)

    def on_checkpointed(self, checkpoint: Checkpoint) -> None:
        self._ledger.note(self._name, "checkpointed", checkpoint.partition.id, checkpoint.at)

    def on_checkpoint_failed(self, checkpoint: Checkpoint, error: Exception) -> None:
        self._ledger.note(self._name, f"not checkpointed: {type(error).__name__}", checkpoint.partition.id, checkpoint.at)

    def on_halted(self, partition: Partition, error: Exception) -> None:
        self._ledger.note(self._name, "halted", partition.id)

    def on_recovered(self, partition: Partition) -> None:
        self._ledger.note(self._name, "recovered", partition.id)

    def on_problem(self, subject: str, error: BaseException) -> None:
        self._ledger.note(self._name, f"problem: {type(error).__name__}", subject)


@dataclass
class World:
    """A log, a group, and the workers that come and go."""

    plan: Plan
    workers: list[Worker] = field(default_factory=list)

    def __post_init__(self) -> None:
        plan = self.plan
        self.dice = random.Random(f"world {plan.seed} {plan.kind}")
        self.runtime = VirtualRuntime(plan.seed)
        self.name = f"world-{plan.seed}"
        MemoryLog.forget(self.name)
        self.log = MemoryLog.named(self.name)
        self.log.create(STREAM, self.dice.randint(3, 5), plan.shape)
        self.settings = self._settings()
        most = self.settings.max_in_flight
        self.limit = most + max(self.settings.max_batch, most // 10)  # one poll may overshoot by what it brings
        self.ledger = (KeyLedger if self.is_keyed else Ledger)(self.log, STREAM, self.runtime.monotonic, self.limit)
        self.log.faults = _CountingFaults(self.ledger)
        self.given_up: set[tuple[str, Partition]] = set()
        self.log._groups[GROUP] = _WatchedCoordinator(self.given_up)
        self._watched = WatchedRows(self.ledger)
        self._copies: Rows = {}
        self.log.rows = self._rows  # type: ignore[method-assign]
        self.clumsiness = 0.05

    @property
    def is_keyed(self) -> bool:
        """Whether its workers keep the order of keys only."""
        return self.plan.kind in KEYED_KINDS

    def _settings(self) -> Settings:
        dice = self.dice
        return Settings(
            ordering="key" if self.is_keyed else "partition",
            concurrency=dice.choice((1, 2, 5)) if self.is_keyed else 1,
            broker="memory",
            stream=(STREAM,),
            group=GROUP,
            max_batch=dice.choice((1, 3, 10)),
            max_wait=timedelta(milliseconds=dice.choice((0, 0, 30))),
            max_in_flight=dice.choice((8, 20, 100)),
            checkpoint_interval=timedelta(milliseconds=dice.choice((50, 200, 600))),
            checkpoint_records=dice.choice((None, 5)),
            retry_attempts=dice.choice((2, 4)),
            retry_backoff=timedelta(milliseconds=10),
            retry_max_backoff=timedelta(milliseconds=100),
            drain_timeout=timedelta(seconds=DRAIN_SECONDS),
        )

    def _rows(self, broker: str, group: str) -> Rows:
        """The ledger watches the rows that count: a group's own are copies when there is a store beside it."""
        return self._watched if (group == BESIDE) == self._has_store else self._copies

    @property
    def _has_store(self) -> bool:
        return self.plan.store != "group" or self.plan.shape == "kinesis"

    # -- workers --------------------------------------------------------------------------------------------------

    @property
    def alive(self) -> list[Worker]:
        """Those that run and were not told to stop."""
        return [w for w in self.workers if not w.is_over and not w.hands.dead and w.stopped_at is None]

    def start(self, name: str) -> Worker:
        plan = self.plan
        context = EngineContext(self.runtime, "memory", broker="memory", group=GROUP, worker=name)
        settings = MemorySettings(
            name=self.name,
            shape=plan.shape,
            auto_create=False,
            session_timeout=timedelta(seconds=SESSION_SECONDS),
            revoke_timeout=timedelta(seconds=REVOKE_SECONDS),
        )
        hands = Hands(name, self.ledger, self.dice, self.clumsiness, self.clumsiness / 12)
        store, adapter = self._store(settings, context)
        ownership: Literal["group", "static"] = "group" if plan.shape == "kafka" else "static"
        broker = MemoryBroker(settings, context)
        watch = _Watch(self, name)
        parts = Parts(self.settings, code_of(plan.kind, hands, {**KINDS, **KEYED_KINDS}), broker, store, adapter, watch, name, ownership)
        supervisor = Supervisor(parts, self.runtime)
        worker = Worker(name, supervisor, hands, self.runtime.control.call(f"run-{name}", supervisor.run()))
        watch._worker = worker
        self.workers.append(worker)
        self.ledger.note(name, "joined")
        self.runtime.loop.create_task(self._watch(worker))
        return worker

    def _store(self, settings: MemorySettings, context: EngineContext) -> tuple[CheckpointStore | None, Adapter | None]:  # type: ignore[type-arg]
        if self.plan.store == "sqlite":
            assert self.plan.folder is not None
            sqlite = _WatchedSqlite(SqliteSettings(path=self.plan.folder / f"{self.name}-{id(self)}.db"), context)
            sqlite.ledger, sqlite.faults = self.ledger, self.log.faults
            return sqlite, sqlite
        if self.plan.store == "memory" or self.plan.shape == "kinesis":
            memory = MemoryStore(settings, context, group=BESIDE)
            return memory, memory
        return None, None

    async def _watch(self, worker: Worker) -> None:
        """What came of it. Only what the world did may end a worker."""
        try:
            await worker.promise
        except DrainTimeoutError:
            self.ledger.note(worker.name, "drain timeout")
        except StreamkitError as error:
            self.ledger.note(worker.name, f"ended by {type(error).__name__}")
            if worker.supervisor.is_started:
                self.ledger.broken.append(f"{worker.name} ended by {error!r}")
        except Exception as error:
            self.ledger.broken.append(f"{worker.name} ended by {error!r}")
        worker.is_over = True
        if worker.stopped_at is not None and not worker.was_frozen:
            took = self.runtime.monotonic() - worker.stopped_at
            if took > self.drain_limit:
                self.ledger.broken.append(f"{worker.name} took {took:.2f}s to drain")
        elif worker.stopped_at is None and not worker.hands.dead and worker.supervisor.is_started:
            self.ledger.broken.append(f"{worker.name} ended by itself: {worker.supervisor.stop_reason}")

    @property
    def drain_limit(self) -> float:
        return DRAIN_SECONDS + 0.5

    def drain(self, worker: Worker) -> None:
        self.ledger.note(worker.name, "draining")
        worker.stopped_at = self.runtime.monotonic()
        worker.supervisor.stop("shutdown")

    def crash(self, worker: Worker) -> None:
        self.ledger.note(worker.name, "crashed")
        worker.hands.dead = True
        worker.supervisor.abandon()

    def freeze(self, worker: Worker) -> None:
        """Its polls and saves hang until it is thawed: the group may give it up meanwhile, and it does not hear of it at once."""
        self.ledger.note(worker.name, "frozen")
        worker.was_frozen = True
        releases = [self.log.faults.hold(operation, worker=worker.name) for operation in ("save", "poll")]

        def thaw() -> None:
            if worker.thaw is None:
                return
            worker.thaw = None
            self.ledger.note(worker.name, "thawed")
            releases[0]()
            self.runtime.loop.call_later(0.2, releases[1])

        worker.thaw = thaw
        self.runtime.loop.call_later(self.dice.choice((0.5, 2.5, 2.5)), thaw)

    def check_one_owner(self, name: str, partition: Partition) -> None:
        """Nobody else may still believe to own it, but for those whom the group has given up without their knowledge."""
        if self._is_given_up(name, partition):
            return
        for other in self.workers:
            held = other.supervisor.assignments.get(partition)
            if other.name == name or other.hands.dead or other.is_over or held is None or held.worker is None or held.is_over:
                continue
            is_lost = held.ending is not None and held.ending.kind != "revoked"
            if not is_lost and not self._is_given_up(other.name, partition):
                self.ledger.broken.append(f"{partition} has been assigned to {name}, and {other.name} still has it")

    def _is_given_up(self, name: str, partition: Partition) -> bool:
        return any(member.startswith(f"{name}-") and p == partition for member, p in self.given_up)

    def check_memory(self) -> None:
        for worker in self.alive:
            for status in worker.supervisor.snapshot():
                if status.in_flight > self.limit:
                    self.ledger.broken.append(f"{worker.name} holds {status.in_flight} of {status.partition}; the limit is {self.limit}")

    # -- the story ------------------------------------------------------------------------------------------------

    def write(self, count: int) -> None:
        for _ in range(count):
            key: bytes | None = b"%d" % self.dice.randrange(20 if self.is_keyed else 50)
            if self.is_keyed and self.dice.random() < 0.2:
                key = None
            self.log.append(STREAM, b"x" * self.dice.randrange(20), key=key, now=self.runtime.unix_time())

    def break_something(self) -> None:
        what = self.dice.choice(tuple(FAULTS))
        someone = self.dice.choice(self.alive).name if self.alive and self.dice.random() < 0.5 else None
        self.log.faults.fail(what.split()[0], FAULTS[what](), self.dice.randint(1, 4), worker=someone)  # type: ignore[arg-type]

    async def run(self) -> Ledger:
        """From the first record until every record is done and saved, and everybody has left."""
        self.write(self.plan.records // 3)
        if self.plan.shape == "kafka":
            await self._group_story()
        else:
            await self._lineage_story()
        self.log.faults.clear()
        self.clumsiness = 0.0
        for worker in self.workers:
            worker.hands.clumsiness = worker.hands.slowness = 0.0
            if worker.thaw is not None:
                worker.thaw()
        await self._pause(SLOW_SECONDS)
        self.write(5)
        await self._become_quiet()
        for worker in self.alive:
            self.drain(worker)
        while not all(worker.is_over for worker in self.workers):
            await asyncio.sleep(0.1)
            self._raise_broken()
        self._raise_broken()
        self.ledger.check_nothing_lost()
        for partition in self.log.topic(STREAM).logs:
            if not self.ledger.is_saved(partition):
                self.ledger.fail(f"{partition}: all is done, but {self.ledger.saved(partition)} is stored")
        return self.ledger

    async def _group_story(self) -> None:
        first = self.start("w1")
        await self._pause(0.4)
        second = self.start("w2")
        await self._pause(0.8)
        self.dice.choice((self.drain, self.crash))(self.dice.choice((first, second)))
        for _ in range(self.plan.steps):
            await self._pause(self.dice.uniform(0.05, 0.7))
            self.write(self.dice.randrange(2 * self.plan.records // 3 // self.plan.steps * 2))
            self._act()

        while self.ledger.changes_of_owner < MIN_CHANGES:
            if self.alive and self.dice.random() < 0.7:
                self.crash(self.alive[0])
            self.start(self._free_names()[0])
            await self._pause(SESSION_SECONDS + 0.5)

    def _free_names(self) -> list[str]:
        return [f"w{n}" for n in range(1, 8) if all(w.name != f"w{n}" or w.is_over for w in self.workers)]

    def _act(self) -> None:
        alive = [worker for worker in self.alive if worker.thaw is None]
        action = self.dice.random()
        if action < 0.3 or not alive:
            if len(self.alive) < 4:
                self.start(self.dice.choice(self._free_names()))
        elif action < 0.42:
            self.drain(self.dice.choice(alive))
        elif action < 0.54:
            self.crash(self.dice.choice(alive))
        elif action < (0.64 if self.plan.store == "group" else 0.8):  # frozen ones still reach a store beside the group
            self.freeze(self.dice.choice(alive))
        elif action < 0.83 and self.dice.random() < 0.15:
            self.log.add_partitions(STREAM, len(self.log.topic(STREAM).logs) + 1)
        else:
            self.break_something()

    async def _lineage_story(self) -> None:
        """Static ownership: one worker at a time, which comes back; partitions split and merge beneath it."""
        self.start("w1")
        for step in range(self.plan.steps):
            await self._pause(self.dice.uniform(0.05, 0.7))
            self.write(self.dice.randrange(2 * self.plan.records // 3 // self.plan.steps * 2))
            if all(worker.is_over for worker in self.workers):
                self.start(f"w{len(self.workers) + 1}")
            action = 0.5 if step in (3, 6, 9) else self.dice.random()
            if action < 0.45:
                self._reshard()
            elif action < 0.7 and self.alive:
                self.dice.choice((self.drain, self.crash))(self.alive[0])
            else:
                self.break_something()
        while self.ledger.changes_of_owner < MIN_CHANGES:
            for worker in self.alive:
                self.crash(worker)
            await self._pause(0.2)
            self.start(f"w{len(self.workers) + 1}")
            await self._pause(1.0)

    def _reshard(self) -> None:
        topic = self.log.topic(STREAM)
        open_ones = sorted((p for p in topic.partitions if not p.ended), key=lambda p: p.key_range or (0, 0))
        index = self.dice.randrange(len(open_ones))
        if index and (self.dice.random() < 0.4 or len(open_ones) > 8):
            self.log.merge(STREAM, open_ones[index - 1].id, open_ones[index].id)
            self.ledger.counts["merge"] += 1
        else:
            self.log.split(STREAM, open_ones[index].id)
            self.ledger.counts["split"] += 1

    async def _pause(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
        self.check_memory()
        self._raise_broken()

    async def _become_quiet(self) -> None:
        until = self.runtime.monotonic() + PATIENCE_SECONDS
        number = 20
        while not all(self.ledger.is_delivered(partition) for partition in self.log.topic(STREAM).logs):
            if not [w for w in self.workers if not w.is_over and not w.hands.dead]:
                number += 1
                self.start(f"w{number}")
            await self._pause(0.25)
            if self.runtime.monotonic() > until:
                late = [p for p in self.log.topic(STREAM).logs if not self.ledger.is_delivered(p)]
                held = [f"{w.name}: {s}" for w in self.alive for s in w.supervisor.snapshot() if s.partition.id in late]
                self.ledger.fail(f"after {PATIENCE_SECONDS:g}s of peace {late} are not done; {held}")

    def _raise_broken(self) -> None:
        if self.ledger.broken:
            raise AssertionError(f"seed {self.plan.seed}, {self.plan}: {self.ledger.broken[0]}")


def play(plan: Plan) -> Ledger:
    """One life of a world."""
    with quick():
        world = World(plan)
        try:
            return world.runtime.run(world.run())
        finally:
            world.runtime.stop()
