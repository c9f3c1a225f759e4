"""A simulated world with ON_FAILURE=park: workers that share leases, partitions that split and merge, and somebody who replays letters
beside all that. What counts is the order of effects of each key, replayed and direct ones together.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from dataclasses import replace

from streamkit.app import code_of
from streamkit.builtin.memory import MemoryLog, MemorySettings, MemoryStore
from streamkit.engine.adapter_context import EngineContext
from streamkit.engine.delivery.call import Code
from streamkit.engine.delivery.letter import Letter, original_of
from streamkit.engine.parked import Replayed, still_parked
from streamkit.engine.requests import release_request
from streamkit.errors import BrokerUnavailableError, StreamkitError
from streamkit.model import Record
from streamkit.plugin import NewRecord
from streamkit.processing import Context, record_processor
from streamkit.testing.simulation import Plan, Subject, World
from streamkit.testing.simulation.adapters import Outside, SimulatedTarget
from streamkit.testing.simulation.chance import plan_of
from streamkit.testing.simulation.ledger import Ledger
from streamkit.testing.simulation.world import BESIDE, GROUP, LETTERS, STREAM

__all__ = ["ParkWorld", "plan_with_parking"]

KEYS = 12
SETTINGS = {"start": "earliest", "on_failure": "park", "dead_letter": f"memory:{LETTERS}"}


def plan_with_parking(seed: int) -> Plan:
    """Leases and resharding; a failure in the first or second attempt parks."""
    plan = plan_of(seed, ownership="lease", shape="kinesis", by_key=seed % 2 == 1, settings={**SETTINGS, "retry_attempts": 1})
    return replace(plan, settings=(*plan.settings, ("retry_attempts", str(1 + seed // 2 % 2))))


class ParkLedger(Ledger):
    """Each record says which one of its key it is: `key:number`. A record is settled when it had its effect, or has a letter."""

    def __init__(self, log: MemoryLog, now: object, *, by_key: bool) -> None:
        super().__init__(log, STREAM, now, 10**6, by_key=by_key)  # type: ignore[arg-type]
        self.effects: dict[bytes, list[int]] = {}

    def effect(self, who: str, record: Record) -> None:
        """In the order of positions, over the whole history: the first effect of each record comes after that of the one before it."""
        assert record.value is not None
        key, _, number = record.value.partition(b":")
        had = self.effects.setdefault(key, [])
        self.note(who, "effect", key.decode(), number.decode())
        if key and int(number) > max(had, default=-1) + 1:
            self.fail("order", f"{who}: {record.value!r} has its effect, but {key!r}:{max(had, default=-1) + 1} has not")
        if had and int(number) <= max(had):
            self.counts["repeated effects"] += 1
        had.append(int(number))

    def letter(self, record: Record) -> None:
        """The target has it: then its marker must have been in the store."""
        letter = original_of(record)
        assert isinstance(letter, Letter)
        self._settle(letter.origin_partition, (self._index(letter.origin_partition, letter.origin_position),))
        how, _, name = letter.parked.partition(" ")
        self.note("target", f"letter {how or 'alone'}", letter.value, name)
        if how == "first" and letter.key not in still_parked(self._saved[letter.origin_partition].parked):
            self.fail("no loss", f"{letter.value!r} is a letter, and its key has no marker")

    def check_effects(self) -> None:
        """All had theirs; and what had several ended in order, so that the last one counts."""
        for key, numbers in self.effects.items():
            last = {number: index for index, number in enumerate(numbers)}
            if key and sorted(last, key=lambda number: last[number]) != sorted(last):
                self.fail("order", f"the last effects of {key!r} are out of order: {numbers}")


class _Target(SimulatedTarget):
    """Takes its time, and sometimes fails before or after it has written."""

    def __init__(self, settings: MemorySettings, context: EngineContext, outside: Outside, world: ParkWorld) -> None:
        super().__init__(settings, context, outside)
        self._world = world

    async def send(self, stream: str, records: Sequence[NewRecord]) -> Sequence[Exception | None]:
        world, dice = self._world, self._world.dice
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


class ParkWorld(World):
    """The plan's failures of handlers park keys, and so does chance."""

    ledger: ParkLedger

    def __init__(self, plan: Plan) -> None:
        self.is_keyed = any(name == "concurrency" for name, _ in plan.settings)
        ordering = {"ordering": "key"} if self.is_keyed else {}
        super().__init__(plan, Subject(self._code(), {**SETTINGS, **ordering}))
        self.clumsiness = 0.06
        self._numbers: dict[bytes, int] = {}
        self._dealt = 0
        self.bad: set[bytes | None] = set()
        """Values that fail whenever they are called."""

    def _new_ledger(self) -> Ledger:
        return ParkLedger(self.log, self.runtime.monotonic, by_key=self.is_keyed)

    @property
    def letters(self) -> Sequence[Record]:
        return self.log.topic(LETTERS).log("0").records

    def write(self, count: int) -> None:
        for _ in range(count):
            key = b"%d" % self.dice.randrange(KEYS) if self.dice.random() < 0.9 else b""
            number = self._numbers[key] = self._numbers.get(key, -1) + 1
            self.log.append(STREAM, b"%b:%d" % (key, number), key=key or None, now=self.runtime.unix_time())

    def _target(self, settings: MemorySettings, context: EngineContext) -> SimulatedTarget:
        return _Target(settings, context, self.outside, self)

    def _code(self) -> Code:
        def work(record: Record, context: Context) -> None:
            if context.lost:
                raise RuntimeError("no effect after a loss")
            if record.value in self.bad or self.dice.random() < self.clumsiness:
                raise ValueError("the handler fails")
            self.ledger.effect("direct", record)

        @record_processor
        def handle(record: Record, context: Context) -> None:
            work(record, context)

        @record_processor
        async def later(record: Record, context: Context) -> None:
            await asyncio.sleep(self.dice.random() * 0.02)
            work(record, context)

        return code_of(later if self.is_keyed else handle)

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

    async def _live(self) -> Ledger:
        replays = self.runtime.loop.create_task(self._replay_now_and_then())
        try:
            return await super()._live()
        finally:
            replays.cancel()

    async def _peace(self) -> None:
        self.clumsiness = 0.0
        await super()._peace()

    async def _become_quiet(self) -> None:
        """And nothing is parked any more."""
        until = self.runtime.monotonic() + 400.0
        await super()._become_quiet()
        while self._parked() or self._dealt < len(self.letters):
            await self._pause(0.5)
            if self.runtime.monotonic() > until:
                self.ledger.fail("goes on", f"still parked: {self._parked()}; {self._dealt} of {len(self.letters)} letters are dealt with")
        before = len(self.letters)
        self.write(3 * KEYS)
        await super()._become_quiet()
        if len(self.letters) > before:
            self.ledger.fail("goes on", "a key that was released is not called")
        if {key: max(numbers) for key, numbers in self.ledger.effects.items()} != self._numbers:
            self.ledger.fail("no loss", f"not all had their effect: {self._numbers}")
        self.ledger.check_effects()

    def _parked(self) -> dict[str, list[bytes]]:
        rows = {key[1]: row.checkpoint for key, row in self.rows.items() if row.checkpoint is not None}
        parked = {name: sorted(still_parked(row.parked)) for name, row in rows.items() if not row.at.is_end}
        return {name: keys for name, keys in parked.items() if keys}
