"""Promise 1: at least once, and never silently less."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import pytest

from streamkit.errors import RetriesExhaustedError, StoreUnavailableError
from streamkit.model import Batch, Position, Record, StartPosition
from streamkit.outcome import Outcome, Reject, Retry
from streamkit.processing import Context, Processor, processor, record_processor
from tests.promise.targets import noting, text, values
from tests.promise.world import MemoryWorld, World

TEN = [str(n) for n in range(10)]


def after(sequence: int) -> StartPosition:
    return StartPosition.after(Position(sequence))


def test_every_record_is_processed_and_saved(world: World) -> None:
    world.create(2)
    world.write(TEN, "0")
    world.write(TEN, "1")
    member = world.start(noting(world.journal))
    world.until(lambda: len(values(world.journal)) == 20)
    member.stop()
    assert values(world.journal, partition="0") == values(world.journal, partition="1") == TEN
    assert world.saved("0") == world.saved("1") == after(9)


@pytest.mark.parametrize("by", ["record", "batch"])
def test_nothing_is_saved_beyond_a_call_that_has_not_returned(virtual: MemoryWorld, by: str) -> None:
    gate = asyncio.Event()

    async def stop_at_five(batch: Batch | Record, context: Context) -> None:
        for record in batch if isinstance(batch, Batch) else [batch]:
            if text(record) == "5":
                await gate.wait()
            virtual.journal.note("done", "0", text(record))

    virtual.create(1)
    virtual.write(TEN)
    virtual.start(record_processor(stop_at_five) if by == "record" else processor(stop_at_five))
    virtual.until(lambda: len(values(virtual.journal)) == 5)
    virtual.pass_time(10)
    assert virtual.saved() in (StartPosition.EARLIEST, after(4))
    assert by == "record" or virtual.saved() == StartPosition.EARLIEST
    virtual.runtime.control.post(gate.set)
    virtual.until(lambda: virtual.saved() == after(9))


@pytest.mark.parametrize("lives", range(1, 11))
def test_a_worker_may_die_after_any_record(virtual: MemoryWorld, lives: int) -> None:
    virtual.create(1)
    virtual.write(TEN)
    first = virtual.start(noting(virtual.journal), max_batch=3)
    virtual.until(lambda: len(values(virtual.journal)) >= lives)
    first.kill()
    virtual.start(noting(virtual.journal, "w2"), "w2", stop="at_end").wait()
    assert sorted(set(values(virtual.journal))) == TEN
    assert virtual.saved() == after(9)


def test_a_record_that_fails_is_never_passed(virtual: MemoryWorld) -> None:
    @record_processor
    def handle(record: Record, context: Context) -> None:
        if text(record) == "3" and not virtual.journal.has("mended"):
            raise ValueError("no")
        virtual.journal.note("done", "0", text(record))

    virtual.create(1)
    virtual.write(TEN)
    virtual.start(handle, retry_attempts=3)
    virtual.until(lambda: virtual.journal.has("halted"))
    virtual.pass_time(100)
    assert values(virtual.journal) == ["0", "1", "2"]
    assert virtual.saved() == after(2)
    assert isinstance(virtual.journal.of("halted")[0][2], RetriesExhaustedError)
    virtual.journal.note("mended")
    virtual.until(lambda: virtual.saved() == after(9), seconds=600)
    assert values(virtual.journal) == TEN, "a retry delivers the record that failed, not the next one"


@pytest.mark.parametrize("outcome", [Retry(), Reject("no")])
def test_the_first_record_that_is_not_done_ends_the_batch(virtual: MemoryWorld, outcome: Outcome) -> None:
    @processor
    def handle(batch: Batch, context: Context) -> Mapping[Record, Outcome] | None:
        virtual.journal.note("called", [text(record) for record in batch])
        records = {text(record): record for record in batch}
        return {records["6"]: Retry(), records["4"]: outcome} if "4" in records and len(virtual.journal.of("called")) == 1 else None

    virtual.create(1)
    virtual.write(TEN)
    virtual.start(handle)
    virtual.until(lambda: virtual.saved() == after(9), seconds=100)
    assert virtual.journal.of("called") == [("called", TEN), ("called", TEN[4:])]


class Buffering(Processor):
    """Makes durable in `flush` alone."""

    def __init__(self, world: MemoryWorld) -> None:
        self.world = world
        self.waiting: list[str] = []

    def process(self, batch: Batch, context: Context) -> None:
        self.waiting += [text(record) for record in batch]
        self.world.journal.note("taken")

    def flush(self, context: Context) -> None:
        if self.world.journal.has("disk full"):
            raise OSError("disk full")
        for value in self.waiting:
            self.world.journal.note("done", "0", value)
        self.waiting.clear()


def test_a_checkpoint_waits_for_flush(virtual: MemoryWorld) -> None:
    class Bound(Buffering):
        def __init__(self) -> None:
            super().__init__(virtual)

    virtual.create(1)
    virtual.journal.note("disk full")
    member = virtual.start(Bound, retry_attempts=1_000)
    virtual.write(TEN)
    virtual.until(lambda: virtual.journal.has("taken"))
    virtual.pass_time(5)
    assert virtual.saved() == StartPosition.EARLIEST
    assert virtual.journal.has("problem", "flush of orders/0")
    virtual.journal.notes.clear()
    member.stop()
    assert values(virtual.journal) == TEN
    assert virtual.saved() == after(9)


def test_a_flush_that_fails_at_the_end_saves_nothing_new(virtual: MemoryWorld) -> None:
    class Bound(Buffering):
        def __init__(self) -> None:
            super().__init__(virtual)

    virtual.create(1)
    virtual.journal.note("disk full")
    member = virtual.start(Bound, retry_attempts=1_000)
    virtual.write(TEN)
    virtual.until(lambda: virtual.journal.has("taken"))
    member.stop()
    assert virtual.saved() == StartPosition.EARLIEST


def test_a_claim_whose_answer_is_in_doubt_is_not_an_absent_checkpoint(virtual: MemoryWorld) -> None:
    virtual.create(1)
    virtual.write(TEN[:5])
    virtual.start(noting(virtual.journal), stop="at_end").wait()
    virtual.journal.notes.clear()
    virtual.write(TEN[5:])
    virtual.log.faults.fail("claim", StoreUnavailableError("the answer was cut"), times=4)
    virtual.start(noting(virtual.journal), stop="at_end").wait()
    assert virtual.journal.has("problem", "claiming orders/0")
    assert values(virtual.journal) == TEN[5:]


def test_while_the_claim_is_in_doubt_nothing_is_read(virtual: MemoryWorld) -> None:
    virtual.create(1)
    virtual.write(TEN)
    virtual.log.faults.fail("claim", StoreUnavailableError("no"), times=1_000_000)
    member = virtual.start(noting(virtual.journal))
    virtual.until(lambda: virtual.journal.has("problem"))
    virtual.pass_time(30)
    assert values(virtual.journal) == []
    assert member.states == {"0": "claiming"}


@pytest.mark.parametrize("fault", ["save", "save_after_write"])
def test_a_save_that_fails_is_tried_again(virtual: MemoryWorld, fault: str) -> None:
    virtual.create(1)
    virtual.write(TEN)
    virtual.start(noting(virtual.journal))
    virtual.until(lambda: virtual.journal.has("assigned"))
    virtual.log.faults.fail(fault, StoreUnavailableError("no"), times=5)  # type: ignore[arg-type]
    virtual.until(lambda: virtual.journal.has("checkpointed", "0", after(9)))
    assert virtual.saved() == after(9)
