"""A simulated world with ON_FAILURE=park: workers that share leases, partitions that split and merge, and somebody who replays letters
beside all that. What counts is the order of effects of each key, replayed and direct ones together.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from datetime import timedelta

from streamkit.builtin.memory import MemoryBroker, MemoryLog, MemoryProducer, MemorySettings, MemoryStore
from streamkit.builtin.memory.log import Rows
from streamkit.engine.adapter_context import EngineContext
from streamkit.engine.delivery.call import Code
from streamkit.engine.delivery.letter import Letter, original_of
from streamkit.engine.parked import Replayed, still_parked
from streamkit.engine.requests import release_request
from streamkit.engine.supervisor import Parts, Supervisor
from streamkit.errors import BrokerUnavailableError, StreamkitError
from streamkit.model import Record, StartPosition
from streamkit.plugin import NewRecord
from streamkit.processing import Context, facts_of, record_processor
from streamkit.settings import Settings
from tests.simulation.leases import LeaseWorld, _SlowStore
from tests.simulation.ledger import Ledger, WatchedRows
from tests.simulation.targets import Hands, Mishap
from tests.simulation.world import BESIDE, GROUP, STREAM, Plan, Worker, _CountingFaults, _Watch, quick

__all__ = ["ParkWorld", "play_parking"]

LETTERS = "letters"
KEYS = 12


class ParkLedger(Ledger):
    """Each record says which one of its key it is: `key:number`. A record is settled when it had its effect, or has a letter."""

    def __init__(self, log: MemoryLog, now: object) -> None:
        super().__init__(log, STREAM, now, 10**6)  # type: ignore[arg-type]
        self.effects: dict[bytes, list[int]] = {}

    def effect(self, who: str, record: Record) -> None:
        """In the order of positions, over the whole history: the first effect of each record comes after that of the one before it."""
        assert record.value is not None
        key, _, number = record.value.partition(b":")
        had = self.effects.setdefault(key, [])
        self.note(who, "effect", key.decode(), number.decode())
        if key and int(number) > max(had, default=-1) + 1:
            self.fail(f"{who}: {record.value!r} has its effect, but {key!r}:{max(had, default=-1) + 1} has not")
        if had and int(number) <= max(had):
            self.counts["repeated effects"] += 1
        had.append(int(number))

    def settled(self, partition: str, sequence: int | None) -> None:
        """The record is done, or can be found among the letters."""
        assert sequence is not None
        done = self._done.setdefault(partition, set())
        done.add(self.sequences(partition).index(sequence))
        frontier = self._frontier.get(partition, 0)
        while frontier in done:
            frontier += 1
        self._frontier[partition] = frontier

    def letter(self, record: Record) -> None:
        """The target has it: then its marker must have been in the store."""
        letter = original_of(record)
        assert isinstance(letter, Letter)
        self.settled(letter.origin_partition, letter.origin_position.sequence)
        how, _, name = letter.parked.partition(" ")
        self.note("target", f"letter {how or 'alone'}", letter.value, name)
        if how == "first" and letter.key not in still_parked(self._saved[letter.origin_partition].parked):
            self.fail(f"{letter.value!r} is a letter, and its key has no marker")

    def check_effects(self) -> None:
        """All had theirs; and what had several ended in order, so that the last one counts."""
        for key, numbers in self.effects.items():
            last = {number: index for index, number in enumerate(numbers)}
            if key and sorted(last, key=lambda number: last[number]) != sorted(last):
                self.fail(f"the last effects of {key!r} are out of order: {numbers}")


class _Target(MemoryProducer):
    """Takes its time, and sometimes fails before or after it has written."""

    world: ParkWorld

    async def send(self, stream: str, records: Sequence[NewRecord]) -> Sequence[Exception | None]:
        world, dice = self.world, self.world.dice
        await asyncio.sleep(dice.random() * 0.05)
        if dice.random() < world.clumsiness:
            world.ledger.counts["fault:send"] += 1
            raise BrokerUnavailableError("not written")
        before = len(world.letters)
        answers = await super().send(stream, records)
        for record in world.letters[before:]:
            world.ledger.letter(record)
        if dice.random() < world.clumsiness:
            world.ledger.counts["fault:send_after_write"] += 1
            raise BrokerUnavailableError("the answer was lost")
        return answers


class ParkWorld(LeaseWorld):
    """Seeds that are odd keep the order of keys only."""

    ledger: ParkLedger

    def __post_init__(self) -> None:
        super().__post_init__()
        self.clumsiness = 0.06
        self.ledger = ParkLedger(self.log, self.runtime.monotonic)
        self.log.faults = _CountingFaults(self.ledger)
        self._watched = WatchedRows(self.ledger)
        self.log.create(LETTERS)
        self._numbers: dict[bytes, int] = {}
        self._dealt = 0
        self.bad: set[bytes | None] = set()
        """Values that fail whenever they are called."""

    @property
    def is_keyed(self) -> bool:
        return self.plan.seed % 2 == 1

    @property
    def letters(self) -> Sequence[Record]:
        return self.log.topic(LETTERS).log("0").records

    @property
    def rows(self) -> Rows:
        return self._watched

    def _settings(self) -> Settings:
        return (
            super()
            ._settings()
            .model_copy(
                update={
                    "start": StartPosition.EARLIEST,
                    "on_failure": "park",
                    "dead_letter": f"memory:{LETTERS}",
                    "retry_attempts": self.dice.choice((1, 2)),
                    "checkpoint_interval": timedelta(milliseconds=self.dice.choice((50, 200, 1000))),
                }
            )
        )

    def write(self, count: int) -> None:
        for _ in range(count):
            key = b"%d" % self.dice.randrange(KEYS) if self.dice.random() < 0.9 else b""
            number = self._numbers[key] = self._numbers.get(key, -1) + 1
            self.log.append(STREAM, b"%b:%d" % (key, number), key=key or None, now=self.runtime.unix_time())

    def start(self, name: str) -> Worker:
        context = EngineContext(self.runtime, "memory", broker="memory", group=GROUP, worker=name)
        settings = MemorySettings(name=self.name, shape=self.plan.shape, auto_create=False)
        hands = Hands(name, self.ledger, self.dice, self.clumsiness, 0.0)
        store, target = _SlowStore(settings, context, group=BESIDE), _Target(settings, context)
        store.world = target.world = self
        self._roomy.add(name)
        watch = _Watch(self, name)
        parts = Parts(
            self.settings, self._code(hands), MemoryBroker(settings, context), store, store, watch, name, "lease", dead_letter=target
        )
        supervisor = Supervisor(parts, self.runtime)
        worker = Worker(name, supervisor, hands, self.runtime.control.call(f"run-{name}", supervisor.run()))
        watch._worker = worker
        self.workers.append(worker)
        self.ledger.note(name, "joined")
        self.runtime.loop.create_task(self._watch(worker))
        return worker

    def _code(self, hands: Hands) -> Code:
        def work(record: Record, context: Context) -> None:
            if hands.is_dead() or context.lost:
                return
            if record.value in self.bad or hands.dice.random() < hands.clumsiness:
                self.ledger.counts["fault:handler"] += 1
                raise Mishap("handler")
            self.ledger.effect(hands.worker, record)
            self.ledger.settled(context.partition.id, record.position.sequence)

        @record_processor
        def handle(record: Record, context: Context) -> None:
            work(record, context)

        @record_processor
        async def later(record: Record, context: Context) -> None:
            await asyncio.sleep(hands.dice.random() * 0.02)
            work(record, context)

        chosen = later if self.is_keyed else handle
        facts = facts_of(chosen)
        assert facts is not None
        return Code(facts, function=chosen)

    # -- replays --------------------------------------------------------------------------------------------------

    async def replay(self) -> None:
        """One run over the letters that wait, and then the request to release what has been dealt with."""
        dice = random.Random(self.dice.random())
        asked, tip = self._dealt, len(self.letters)
        while self._dealt < tip:
            letter = original_of(self.letters[self._dealt])
            assert isinstance(letter, Letter)
            if dice.random() < self.clumsiness:
                break  # it fails again: the next replay goes on with it
            self.ledger.effect("replay", letter)
            await asyncio.sleep(dice.random() * 0.01)
            if dice.random() < self.clumsiness / 2:  # killed, perhaps before the last letters were saved as done
                self._dealt = max(asked, self._dealt - dice.randrange(3))
                return
            self._dealt += 1
        context = EngineContext(self.runtime, "memory", broker="memory", group=GROUP, worker="replay")
        store = MemoryStore(MemorySettings(name=self.name, shape=self.plan.shape, auto_create=False), context, group=BESIDE)
        listed = await store.list()
        await asyncio.sleep(dice.random() * 0.5)
        replayed = Replayed(GROUP)
        for number, record in enumerate(self.letters):
            letter = original_of(record)
            assert isinstance(letter, Letter)
            replayed.see(letter, is_dealt_with=number < self._dealt)
        await asyncio.sleep(dice.random() * 0.5)
        for checkpoint in listed:
            wanted = replayed.of(checkpoint.parked)
            if wanted and not checkpoint.at.is_end:
                await store.ask(checkpoint.partition, release_request(wanted))
                self.ledger.counts["asked"] += 1

    async def _replay_now_and_then(self) -> None:
        while True:
            await asyncio.sleep(self.dice.uniform(0.2, 1.5))
            try:
                await self.replay()
            except StreamkitError:
                self.ledger.counts["replay failed"] += 1

    async def run(self) -> Ledger:
        replays = self.runtime.loop.create_task(self._replay_now_and_then())
        try:
            return await super().run()
        finally:
            replays.cancel()

    async def _become_quiet(self) -> None:
        """And nothing is parked any more."""
        until = self.runtime.monotonic() + 400.0
        await super()._become_quiet()
        while self._parked() or self._dealt < len(self.letters):
            await self._pause(0.5)
            if self.runtime.monotonic() > until:
                self.ledger.fail(f"still parked: {self._parked()}; {self._dealt} of {len(self.letters)} letters are dealt with")
        before = len(self.letters)
        self.write(3 * KEYS)
        await super()._become_quiet()
        if len(self.letters) > before:
            self.ledger.fail("a key that was released is not called")
        if {key: max(numbers) for key, numbers in self.ledger.effects.items()} != self._numbers:
            self.ledger.fail(f"not all had their effect: {self._numbers}")
        self.ledger.check_effects()

    def _parked(self) -> dict[str, list[bytes]]:
        rows = {key[1]: row.checkpoint for key, row in self._watched.items() if row.checkpoint is not None}
        parked = {name: sorted(still_parked(row.parked)) for name, row in rows.items() if not row.at.is_end}
        return {name: keys for name, keys in parked.items() if keys}


def play_parking(plan: Plan) -> Ledger:
    """One life of a world that parks."""
    with quick():
        world = ParkWorld(plan)
        try:
            return world.runtime.run(world.run())
        finally:
            world.runtime.stop()
            MemoryLog.forget(world.name)
