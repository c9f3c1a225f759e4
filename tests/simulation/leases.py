"""A simulated world in which leases deal out the partitions: workers join, leave, crash, freeze past their lease and come back,
the store is slow, fails, hangs and loses answers, while partitions split and merge beneath them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

from streamkit.builtin.memory import MemoryBroker, MemoryLog, MemorySettings, MemoryStore
from streamkit.builtin.memory.faults import Operation
from streamkit.engine.adapter_context import EngineContext
from streamkit.engine.ownership.lineage import holes
from streamkit.engine.supervisor import Parts, Supervisor
from streamkit.errors import StoreThrottledError, StoreUnavailableError
from streamkit.model import Lease, Partition, StartPosition
from streamkit.plugin import Claim
from streamkit.settings import Settings
from tests.simulation.keyed import KEYED_KINDS
from tests.simulation.ledger import Ledger
from tests.simulation.targets import KINDS, Hands, code_of
from tests.simulation.world import BESIDE, DRAIN_SECONDS, GROUP, MIN_CHANGES, STREAM, Plan, Worker, World, _Watch, quick

__all__ = ["LEASE_FAULTS", "LEASE_SECONDS", "LeaseWorld", "play_leases"]

LEASE_SECONDS = 2.0
HANDOVER_SECONDS = 1.0
GIVING_BACK_SECONDS = 1.5
"""What the release of leases may take when the store fails just then, beyond the drain."""

LEASE_FAULTS: tuple[Operation, ...] = (
    "leases",
    "create",
    "create_after_write",
    "take",
    "take_after_write",
    "renew",
    "renew_after_write",
    "request_handover",
    "request_handover_after_write",
    "release",
    "release_after_write",
    "name_children",
    "name_children_after_write",
    "remove",
    "remove_after_write",
    "save",
    "save_after_write",
    "discover",
)
HELD: tuple[Operation, ...] = ("leases", "take", "renew", "save", "release", "request_handover", "name_children", "poll")
"""What hangs while a worker is frozen."""


class _SlowStore(MemoryStore):
    """Takes time, so that what is decided is always a little out of date. Tells its world about takes by force."""

    world: LeaseWorld

    async def _strike(self, operation: Operation) -> None:
        dice = self.world.dice
        await asyncio.sleep(dice.uniform(0.2, 0.6) if dice.random() < 0.02 else dice.random() * 0.02)
        await super()._strike(operation)

    async def take(self, leases: Sequence[Lease], owner: str) -> Sequence[Claim | Exception]:
        answers = await super().take(leases, owner)
        for lease, answer in zip(leases, answers, strict=True):
            if isinstance(answer, Claim) and lease.owner and lease.handover_to == owner:
                self.world.forced(lease)
        return answers


class LeaseWorld(World):
    """`World` with leases."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self._roomy: set[str] = set()
        """Workers without MAX_PARTITIONS."""

    def _settings(self) -> Settings:
        settings = super()._settings()
        return settings.model_copy(
            update={
                "ownership": "lease",
                "lease_duration": timedelta(seconds=LEASE_SECONDS),
                "handover_timeout": timedelta(seconds=HANDOVER_SECONDS),
                "start": StartPosition.LATEST if self.dice.random() < 0.4 else StartPosition.EARLIEST,
            }
        )

    @property
    def _has_store(self) -> bool:
        return True

    def start(self, name: str) -> Worker:
        context = EngineContext(self.runtime, "memory", broker="memory", group=GROUP, worker=name)
        settings = MemorySettings(name=self.name, shape=self.plan.shape, auto_create=False)
        hands = Hands(name, self.ledger, self.dice, self.clumsiness, self.clumsiness / 12)
        store = _SlowStore(settings, context, group=BESIDE)
        store.world = self
        most = self.dice.choice((None, None, None, 4)) if len(self.alive) >= 2 else None
        (self._roomy.add if most is None else self._roomy.discard)(name)
        watch = _Watch(self, name)
        parts = Parts(
            self.settings.model_copy(update={"max_partitions": most}),
            code_of(self.plan.kind, hands, {**KINDS, **KEYED_KINDS}),
            MemoryBroker(settings, context),
            store,
            store,
            watch,
            name,
            "lease",
        )
        supervisor = Supervisor(parts, self.runtime)
        worker = Worker(name, supervisor, hands, self.runtime.control.call(f"run-{name}", supervisor.run()))
        watch._worker = worker
        self.workers.append(worker)
        self.ledger.note(name, "joined")
        self.runtime.loop.create_task(self._watch(worker))
        return worker

    async def _become_quiet(self) -> None:
        """With those alone that are at their MAX_PARTITIONS it never would."""
        if not any(worker.name in self._roomy for worker in self.alive):
            self.start("w30")
        await super()._become_quiet()

    def forced(self, lease: Lease) -> None:
        """Its owner is alive and has not answered: it delivers until it finds out."""
        self.ledger.counts["forced"] += 1
        self.given_up.add((f"{lease.owner.partition('#')[0]}-", lease.partition))

    def freeze(self, worker: Worker) -> None:
        """The store hangs for it, and the broker: past its lease it must have stopped by itself, whatever it hears later."""
        self.ledger.note(worker.name, "frozen")
        worker.was_frozen = True
        releases = [self.log.faults.hold(operation, worker=worker.name) for operation in HELD]

        def thaw() -> None:
            if worker.thaw is not None:
                worker.thaw = None
                self.ledger.note(worker.name, "thawed")
                for release in releases:
                    release()

        worker.thaw = thaw
        self.runtime.loop.call_later(self.dice.choice((0.5, LEASE_SECONDS + 0.5, 2 * LEASE_SECONDS)), thaw)

    def break_something(self) -> None:
        what = self.dice.choice(LEASE_FAULTS)
        someone = self.dice.choice(self.alive).name if self.alive and self.dice.random() < 0.5 else None
        error = self.dice.choice((StoreUnavailableError, StoreThrottledError))(what) if what != "discover" else None
        if error is None:
            super().break_something()
        else:
            self.log.faults.fail(what, error, self.dice.randint(1, 4), worker=someone)

    @property
    def drain_limit(self) -> float:
        return DRAIN_SECONDS + GIVING_BACK_SECONDS

    async def _group_story(self) -> None:
        await self._lineage_story()

    async def _lineage_story(self) -> None:
        first = self.start("w1")
        await self._pause(self.dice.choice((0.02, 0.1, 1.5)))
        second = self.start("w2")
        if self.dice.random() < 0.3:
            self.crash(first)  # in the middle of the first start
        await self._pause(1.5)
        self.dice.choice((self.drain, self.crash))(self.dice.choice([w for w in (first, second) if not w.hands.dead]))
        for step in range(self.plan.steps):
            await self._pause(self.dice.uniform(0.05, 1.2))
            self.write(self.dice.randrange(2 * self.plan.records // 3 // self.plan.steps * 2))
            if self.plan.shape == "kinesis" and (step in (3, 6, 9) or self.dice.random() < 0.25):
                self._reshard()
            self._act()
            self._check_cover()
        while self.ledger.changes_of_owner < MIN_CHANGES:
            if len(self.alive) > 1 or (self.alive and self.dice.random() < 0.7):
                self.crash(self.alive[0])
            self.start(self._free_names()[0])
            await self._pause(2 * LEASE_SECONDS)

    def _act(self) -> None:
        alive = [worker for worker in self.alive if worker.thaw is None]
        action = self.dice.random()
        if action < 0.3 or not alive:
            if len(self.alive) < 4:
                self.start(self.dice.choice(self._free_names()))
        elif action < 0.4:
            self.drain(self.dice.choice(alive))
        elif action < 0.5:
            self.crash(self.dice.choice(alive))
        elif action < 0.65:
            self.freeze(self.dice.choice(alive))
        elif action < 0.7 and self.plan.shape == "kafka":
            self.log.add_partitions(STREAM, len(self.log.topic(STREAM).logs) + 1)
        else:
            self.break_something()

    def _check_cover(self) -> None:
        """The leases that are not ended cover all keys, but for those of a merge's child whose second parent still has to end."""
        rows = [row for row in self._watched.values() if row.partition is not None]
        ended = {row.partition.id for row in rows if row.partition is not None and row.checkpoint is not None and row.checkpoint.at.is_end}
        left = [row.partition for row in rows if row.partition is not None and row.partition.id not in ended]
        everything = [replace(partition, ended=False) for partition in self.log.topic(STREAM).partitions]
        waited_for = [p for p in everything if len(p.parents) > 1 and any(parent in ended for parent in p.parents)]
        if left and (gaps := holes([*left, *waited_for])):
            self.ledger.broken.append(f"nobody has a lease for the hash keys {gaps}")

    def _is_given_up(self, name: str, partition: Partition) -> bool:
        return (f"{name}-", partition) in self.given_up


def play_leases(plan: Plan) -> Ledger:
    """One life of a world with leases."""
    with quick():
        world = LeaseWorld(plan)
        try:
            return world.runtime.run(world.run())
        finally:
            world.runtime.stop()
            MemoryLog.forget(world.name)
