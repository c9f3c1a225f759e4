"""Promise 5, in two phases: a prepared checkpoint is durable and moves nothing; its commit moves it; a crash in between loses neither."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from contextlib import suppress
from types import ModuleType

import pytest
from pydantic import BaseModel

from streamkit.assembly.loader import load
from streamkit.assembly.parts import assemble
from streamkit.assembly.registry import Registry
from streamkit.assembly.targets import code_of
from streamkit.errors import CheckpointPositionError, DrainTimeoutError, StoreUnavailableError, UnsupportedError
from streamkit.model import Batch, Capabilities, Checkpoint, Partition, Position, Record, StartPosition
from streamkit.plugin import Adapter, CheckpointStore, Claim, Grant, Plugin, hookimpl
from streamkit.processing import Context, Processor, processor, record_processor
from streamkit.testing import VirtualRuntime
from tests.promise.targets import text, values
from tests.promise.world import STREAM, MemoryWorld, World

TEN = [str(n) for n in range(10)]


def row(world: MemoryWorld) -> Checkpoint:
    with world.log.lock:
        found = world.store._rows[(STREAM, "0")].checkpoint
    assert found is not None
    return found


def test_prepared_and_then_committed(world: World) -> None:
    assert isinstance(world, MemoryWorld)

    @record_processor(checkpoint="manual", prepares=True)
    def handle(record: Record, context: Context) -> None:
        before = row(world).at
        prepared = context.prepare_checkpoint(state=b"tx " + (record.value or b"")).result(10)
        pending = row(world)
        prepared.commit().result(10)
        world.journal.note("done", "0", text(record), before == pending.at, pending.pending, pending.pending_state, row(world))

    world.create(1)
    world.write(TEN)
    world.start(handle, checkpoint_interval="1h")
    world.until(lambda: len(values(world.journal)) == 10)
    for n, (*_, stood_still, pending, state, after) in enumerate(world.journal.of("done")):
        assert stood_still
        assert (pending, state) == (Position(n), b"tx %d" % n)
        assert isinstance(after, Checkpoint)
        assert (after.at, after.pending, after.pending_state) == (StartPosition.after(Position(n)), None, b"")


class TwoPhases(Processor):
    """Writes in transactions: prepare, let the effect happen, commit. What a crash has left open is closed first."""

    checkpoint = "manual"
    prepares = True
    world: MemoryWorld
    ledger: dict[bytes, list[str]]
    crash_at: tuple[str, str] = ("", "")

    def _crash(self, when: str, value: str) -> None:
        if (when, value) == self.crash_at:
            type(self).crash_at = ("", "")
            self.world.journal.note("crash")
            raise RuntimeError("as if the process had died here")

    def initialize(self, context: Context) -> None:
        if context.pending is None:
            return
        position, transaction = context.pending
        if transaction in self.ledger:  # the effect had happened: the checkpoint follows it
            context.prepare_checkpoint(position, transaction).result(10).commit().result(10)

    def process(self, batch: Batch, context: Context) -> None:
        for record in batch:
            transaction = str(record.position).encode()
            prepared = context.prepare_checkpoint(record.position, transaction).result(10)
            self._crash("prepared", text(record))
            self.ledger.setdefault(transaction, []).append(text(record))
            self._crash("happened", text(record))
            prepared.commit().result(10)


@pytest.mark.parametrize("when", ["prepared", "happened"])
@pytest.mark.parametrize("at", ["0", "4", "9"])
def test_a_crash_between_the_phases_loses_no_effect_and_doubles_none(virtual: MemoryWorld, when: str, at: str) -> None:
    made: type[TwoPhases] = type("Made", (TwoPhases,), {"world": virtual, "ledger": {}, "crash_at": (when, at)})
    virtual.create(1)
    virtual.write(TEN)
    member = virtual.start(made, checkpoint_interval="1h", retry_backoff="1h", retry_max_backoff="1h")
    virtual.until(lambda: virtual.journal.has("crash"))
    member.kill()
    assert row(virtual).pending == Position(int(at))
    virtual.start(made, "w2", checkpoint_interval="1h")
    virtual.until(lambda: virtual.saved() == StartPosition.after(Position(9)))
    assert [made.ledger[str(n).encode()] for n in range(10)] == [[value] for value in TEN]


class TwoPhasesAsync(Processor):
    """The same, and time passes between the phases: a crash can come anywhere."""

    checkpoint = "manual"
    prepares = True
    ledger: dict[bytes, list[str]]
    dice: random.Random

    async def initialize(self, context: Context) -> None:
        if context.pending is not None and context.pending[1] in self.ledger:
            prepared = await context.prepare_checkpoint(*context.pending)
            await prepared.commit()

    async def process(self, batch: Batch, context: Context) -> None:
        for record in batch:
            transaction = str(record.position).encode()
            prepared = await context.prepare_checkpoint(record.position, transaction)
            await self._pass(context)
            self.ledger.setdefault(transaction, []).append(text(record))
            await self._pass(context)
            prepared.commit()
            if self.dice.random() < 0.5:
                await self._pass(context)

    async def _pass(self, context: Context) -> None:
        await asyncio.sleep(self.dice.random() / 10)
        if context.lost:  # in a process that has died nothing would go on
            raise RuntimeError("lost")


@pytest.mark.parametrize("seed", range(8))
def test_crashes_and_lost_answers_at_any_moment_lose_no_effect_and_double_none(virtual: MemoryWorld, seed: int) -> None:
    dice = random.Random(f"two phases {seed}")
    made: type[TwoPhasesAsync] = type("Made", (TwoPhasesAsync,), {"ledger": {}, "dice": dice})
    virtual.create(1)
    virtual.write([str(n) for n in range(60)])
    for number in range(12):
        member = virtual.start(made, f"w{number}", checkpoint_interval="100ms", max_batch=dice.choice((1, 3, 10)))
        for _ in range(3):
            operation = dice.choice(("save", "save_after_write"))
            virtual.log.faults.fail(operation, StoreUnavailableError("in doubt"), times=dice.randint(0, 2))
            virtual.pass_time(dice.random())
        if dice.random() < 0.7:
            member.kill()
        else:
            with suppress(DrainTimeoutError):  # the store may be down for longer than a drain lasts
                member.stop()
    virtual.log.faults.clear()
    virtual.start(made, "last")
    virtual.until(lambda: virtual.saved() == StartPosition.after(Position(59)), seconds=120)
    assert [made.ledger[str(n).encode()] for n in range(60)] == [[str(n)] for n in range(60)]


def test_the_next_owner_is_told_whoever_it_is(virtual: MemoryWorld) -> None:
    class Noting(Processor):
        checkpoint = "manual"

        def initialize(self, context: Context) -> None:
            virtual.journal.note("told", context.pending)

        def process(self, batch: Batch, context: Context) -> None:
            if not virtual.journal.has("prepared"):
                context.prepare_checkpoint(Position(3), b"open").result()
                context.checkpoint(Position(5)).result()
                virtual.journal.note("prepared")

    virtual.create(1)
    virtual.write(TEN)
    first = virtual.start(Noting)
    virtual.until(lambda: virtual.journal.has("prepared"))
    first.stop()  # given back in order
    virtual.start(Noting, "w2")
    virtual.until(lambda: virtual.journal.has("told", times=2))
    assert virtual.journal.of("told") == [("told", None), ("told", (Position(3), b"open"))]


def test_one_that_was_replaced_cannot_be_committed(virtual: MemoryWorld) -> None:
    @processor(checkpoint="manual")
    def handle(batch: Batch, context: Context) -> None:
        older = context.prepare_checkpoint(Position(3)).result()
        newer = context.prepare_checkpoint(Position(5)).result()
        with pytest.raises(CheckpointPositionError, match="replaced by a newer one"):
            older.commit()
        newer.commit().result()
        virtual.journal.note("refused")

    virtual.create(1)
    virtual.write(TEN)
    virtual.start(handle)
    virtual.until(lambda: virtual.journal.has("refused"))
    assert virtual.saved() == StartPosition.after(Position(5))


# -- a store that keeps none ---------------------------------------------------------------------------------------------


class NoSettings(BaseModel):
    """Nothing."""


class ScrapStore(Adapter[NoSettings], CheckpointStore):
    """Keeps positions, and nothing beside them. It is never opened."""

    capabilities = Capabilities(fencing=True, scope="host")

    async def claim(self, partition: Partition, owner: str, epoch: int) -> Claim:
        raise NotImplementedError

    async def save(self, checkpoints: Sequence[tuple[Checkpoint, Grant]]) -> Sequence[Grant | Exception]:
        raise NotImplementedError

    async def list(self) -> Sequence[Checkpoint]:
        raise NotImplementedError

    async def overwrite(self, checkpoint: Checkpoint) -> None:
        raise NotImplementedError

    async def delete(self, partitions: Sequence[Partition]) -> None:
        raise NotImplementedError


def assembled(target: object, store: str) -> str:
    """The contract, or what it refuses with."""
    module = ModuleType("scrap")
    module.streamkit_plugin = hookimpl(lambda: Plugin(name="scrap", settings=NoSettings, store=f"{__name__}:ScrapStore"))  # type: ignore[attr-defined]
    registry = Registry()
    registry.register(module)
    overrides = {"broker": "memory", "stream": "orders", "group": "billing", "store": store}
    loaded = load(registry, environment={}, overrides=overrides, dotenv=None, config=None)
    runtime = VirtualRuntime(1)
    try:
        return assemble(loaded, registry, code_of(target), (), runtime).contract
    finally:
        runtime.stop()


@record_processor(prepares=True)
def prepares(record: Record, context: Context) -> None:
    """Says that it does."""


class Prepares(Processor):
    prepares = True

    def process(self, batch: Batch, context: Context) -> None:
        """Says that it does."""


@pytest.mark.parametrize("target", [prepares, Prepares])
def test_a_store_that_keeps_none_refuses_to_start(target: object) -> None:
    with pytest.raises(UnsupportedError, match="prepares checkpoints") as caught:
        assembled(target, "scrap")
    assert caught.value.setting == "STREAMKIT_STORE"
    assert "sqlite" in caught.value.fix
    assert "scrap" not in caught.value.fix


@pytest.mark.parametrize("target", [prepares, Prepares])
def test_one_that_keeps_them_says_so_in_the_contract(target: object) -> None:
    assert "kept by memory, prepared ones as well" in assembled(target, "memory")


def test_code_that_does_not_say_so_starts_anyway() -> None:
    @record_processor
    def handle(record: Record, context: Context) -> None:
        """Never prepares anything."""

    assert "kept by scrap\n" in assembled(handle, "scrap")
