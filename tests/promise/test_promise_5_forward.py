"""Promise 5: checkpoints move forward only, between the last one and what was delivered; the latest wins.

Prepared checkpoints: test_promise_5_prepared.py. A store that is down: test_promise_5_outage.py.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from streamkit.errors import CheckpointError, CheckpointPositionError, StoreUnavailableError
from streamkit.model import Batch, Position, Record, StartPosition
from streamkit.processing import CheckpointFuture, Context, Processor, processor, record_processor
from tests.promise.targets import noting, text, values
from tests.promise.world import MemoryWorld, World

TEN = [str(n) for n in range(10)]


def after(sequence: int) -> StartPosition:
    return StartPosition.after(Position(sequence))


def played(world: World, play: Callable[[Batch, Context], None], interval: str = "50ms") -> None:
    """Run `play` once, on the batch of all ten records, with manual checkpoints."""

    @processor(checkpoint="manual")
    def handle(batch: Batch, context: Context) -> None:
        if not world.journal.has("played"):
            try:
                play(batch, context)
            finally:
                world.journal.note("played")

    world.create(1)
    world.write(TEN)
    member = world.start(handle, checkpoint_interval=interval)
    world.until(lambda: world.journal.has("played"))
    member.stop()


def test_an_awaited_checkpoint_is_in_the_store(world: World) -> None:
    @record_processor(checkpoint="manual")
    async def handle(record: Record, context: Context) -> None:
        await context.checkpoint()
        world.journal.note("done", "0", text(record), world.saved())

    world.create(1)
    world.write(TEN)
    world.start(handle, checkpoint_interval="1h")
    world.until(lambda: len(values(world.journal)) == 10)
    assert [note[3] for note in world.journal.of("done")] == [after(n) for n in range(10)]


def test_a_waiting_def_handler_has_its_checkpoint_written_at_once(threads: World) -> None:
    def play(batch: Batch, context: Context) -> None:
        context.checkpoint(Position(4), metadata="half").result(10)
        threads.journal.note("saved", threads.saved())

    played(threads, play, "1h")
    assert threads.journal.has("saved", after(4))


def test_the_latest_wins(virtual: MemoryWorld) -> None:
    futures: list[CheckpointFuture] = []

    def play(batch: Batch, context: Context) -> None:
        futures.extend(context.checkpoint(Position(n)) for n in range(8))

    played(virtual, play, "1s")
    assert [note[2] for note in virtual.journal.of("checkpointed")] == [after(7)], "one write for eight submissions"
    assert all(future.done() for future in futures)
    for future in futures:
        future.result(0)


def test_one_that_goes_back_is_a_named_error(world: World) -> None:
    def play(batch: Batch, context: Context) -> None:
        context.checkpoint(Position(5))
        with pytest.raises(CheckpointPositionError) as caught:
            context.checkpoint(Position(4))
        assert (caught.value.position, caught.value.low, caught.value.high) == (Position(4), Position(5), Position(9))
        world.journal.note("refused")

    played(world, play)
    assert world.journal.has("refused")
    assert world.saved() == after(5)


def test_one_beyond_what_was_delivered_is_a_named_error(world: World) -> None:
    def play(batch: Batch, context: Context) -> None:
        for position in (Position(10), Position.END):
            with pytest.raises(CheckpointPositionError):
                context.checkpoint(position)
        world.journal.note("refused")

    played(world, play)
    assert world.journal.has("refused")
    assert world.saved() == StartPosition.EARLIEST


def test_one_behind_the_last_owners_is_a_named_error(world: World) -> None:
    world.create(1)
    world.write(TEN[:5])
    world.start(noting(world.journal), stop="at_end").wait()
    world.write(TEN[5:])

    @record_processor(checkpoint="manual")
    def handle(record: Record, context: Context) -> None:
        try:
            context.checkpoint(Position(2))
        except CheckpointPositionError as error:
            world.journal.note("refused", error.low)

    world.start(handle, "w2")
    world.until(lambda: world.journal.has("refused"))
    assert world.journal.of("refused")[0] == ("refused", Position(4))


def test_an_equal_one_changes_nothing(virtual: MemoryWorld) -> None:
    def play(batch: Batch, context: Context) -> None:
        context.checkpoint(Position(5))
        context.checkpoint(Position(5))

    played(virtual, play)
    assert [note[2] for note in virtual.journal.of("checkpointed")] == [after(5)]


def test_a_retry_delivers_only_what_lies_after_the_last_checkpoint(virtual: MemoryWorld) -> None:
    @processor(checkpoint="manual")
    def handle(batch: Batch, context: Context) -> None:
        virtual.journal.note("called", [text(record) for record in batch], context.attempt)
        if len(virtual.journal.of("called")) == 1:
            context.checkpoint(Position(3))
            raise ValueError("no")
        context.checkpoint()

    virtual.create(1)
    virtual.write(TEN)
    virtual.start(handle)
    virtual.until(lambda: virtual.saved() == after(9))
    assert virtual.journal.of("called") == [("called", TEN, 1), ("called", TEN[4:], 2)]


def test_a_failed_save_does_not_use_up_the_window(virtual: MemoryWorld) -> None:
    """Records that are saved in the end are counted as saved, or reading would stop for ever."""

    @processor(checkpoint="manual")
    def handle(batch: Batch, context: Context) -> None:
        context.checkpoint()

    virtual.create(1)
    virtual.start(handle, max_in_flight=10, max_batch=10)
    virtual.until(lambda: virtual.journal.has("assigned"))
    virtual.log.faults.fail("save", StoreUnavailableError("no"), times=3)
    virtual.write(TEN)
    virtual.until(lambda: virtual.saved() == after(9))
    virtual.write(TEN)
    virtual.until(lambda: virtual.saved() == after(19))


def test_a_checkpoint_in_the_middle_of_a_call_does_not_use_up_the_window(virtual: MemoryWorld) -> None:
    """What is saved while its batch still runs is counted when the batch is over."""

    @record_processor(checkpoint="manual")
    async def handle(record: Record, context: Context) -> None:
        await context.checkpoint()

    virtual.create(1)
    virtual.start(handle, max_in_flight=10, max_batch=10)
    virtual.write([*TEN, *TEN])
    virtual.until(lambda: virtual.saved() == after(19))


def test_a_batch_that_is_saved_from_within_its_call_does_not_use_up_the_window(virtual: MemoryWorld) -> None:
    """Its last position is in the store before its records are done: there is nothing more to save, but they count as saved."""

    @processor
    async def handle(batch: Batch, context: Context) -> None:
        await context.checkpoint()

    virtual.create(1)
    virtual.start(handle, max_in_flight=10, max_batch=10)
    virtual.write([*TEN, *TEN])
    virtual.until(lambda: virtual.saved() == after(19))


def test_revoked_may_checkpoint(virtual: MemoryWorld) -> None:
    class Late(Processor):
        checkpoint = "manual"

        def process(self, batch: Batch, context: Context) -> None:
            virtual.journal.note("done")

        def partition_revoked(self, context: Context) -> None:
            context.checkpoint(metadata="bye")

    virtual.create(1)
    virtual.write(TEN)
    member = virtual.start(Late)
    virtual.until(lambda: virtual.journal.has("done"))
    member.stop()
    assert virtual.saved() == after(9)


def test_metadata_that_the_store_would_cut_is_refused(virtual: MemoryWorld) -> None:
    def play(batch: Batch, context: Context) -> None:
        with pytest.raises(CheckpointError, match="4096"):
            context.checkpoint(metadata="x" * 5000)
        virtual.journal.note("refused")

    played(virtual, play)
    assert virtual.journal.has("refused")
