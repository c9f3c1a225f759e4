"""What is saved, when, and what happens when the store says no."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

import pytest

from streamkit.errors import (
    CheckpointError,
    CheckpointPositionError,
    PartitionLostError,
    StoreUnavailableError,
)
from streamkit.model import Batch, Checkpoint, Position, Record, StartPosition
from streamkit.plugin import Grant
from streamkit.plugin.fencing import Row
from streamkit.processing import CheckpointFuture, Context, Processor, processor, record_processor
from streamkit.testing import Harness
from tests.unit.engine.rig import P0, Notes, failing


def sequences(harness: Harness) -> list[int | None]:
    """What was saved of finished records, oldest first."""
    return [c.at.position.sequence for c in harness.checkpoints if c.at.kind == "after" and c.at.position is not None]


def saves(harness: Harness) -> int:
    return sum(1 for operation, _ in harness.script.journal if operation == "save")


# -- when ---------------------------------------------------------------------------------------------------------------


def test_progress_is_saved_at_the_interval_and_the_latest_wins() -> None:
    with Harness(failing({}), checkpoint_interval="10s") as h:
        for value in (b"a", b"b", b"c"):
            h.write(value)
            h.advance(3)
        assert sequences(h) == []
        h.advance(1.5)
        assert sequences(h) == [2]


def test_nothing_is_saved_without_news() -> None:
    with Harness(failing({}), checkpoint_interval="1s") as h:
        h.deliver(b"a")
        before = saves(h)
        h.advance(30)
        assert saves(h) == before


def test_checkpoint_records_saves_before_the_interval() -> None:
    with Harness(failing({}), checkpoint_interval="1h", checkpoint_records=3, max_batch=1) as h:
        h.write(b"a", b"b")
        h.advance(1)
        assert sequences(h) == []
        h.write(b"c")
        h.advance(1)
        assert sequences(h) == [2]


@pytest.mark.parametrize("seconds", [0.2, 0.4, 0.6])
def test_what_is_done_while_a_save_runs_is_saved_after_it_not_at_the_next_interval(seconds: float) -> None:
    """The worker asks for a checkpoint once; the answer to an earlier one is what reminds of it."""

    @record_processor
    async def handle(record: Record, context: Context) -> None:
        await asyncio.sleep(seconds)

    with Harness(handle, checkpoint_interval="1h", checkpoint_records=1) as h:
        h.script.save_seconds = 1.0
        h.write(b"a", b"b", b"c")
        h.advance(10)
        assert h.checkpoint == 2


def test_half_of_max_in_flight_saves_before_the_interval() -> None:
    with Harness(failing({}), checkpoint_interval="1h", max_in_flight=4, max_batch=1) as h:
        h.write(*[b"x"] * 10)
        h.advance(5)
        assert h.checkpoint == 9  # reading never stood still for want of a checkpoint


@pytest.mark.parametrize("how", ["revoke", "stop", "end"])
def test_progress_is_saved_before_revoke_stop_and_end(how: str) -> None:
    with Harness(failing({}), checkpoint_interval="1h") as h:
        h.write(b"a", b"b")
        h.advance(1)
        assert sequences(h) == []
        getattr(h, how)()
        assert h.checkpoint == (Position.END if how == "end" else 1)


@pytest.mark.parametrize("how", ["lose", "crash"])
def test_nothing_is_saved_after_a_loss_or_a_crash(how: str) -> None:
    with Harness(failing({}), checkpoint_interval="1h") as h:
        h.write(b"a", b"b")
        h.advance(1)
        getattr(h, how)()
        assert sequences(h) == []


# -- never ---------------------------------------------------------------------------------------------------------------


def test_a_checkpoint_never_passes_a_record_that_is_not_done() -> None:
    with Harness(failing({b"3": 99}), checkpoint_interval="50ms", retry_attempts=50, retry_backoff="1s") as h:
        h.write(*[b"%d" % n for n in range(6)])
        h.advance(20)
        assert h.errors
        assert set(sequences(h)) == {2}


def test_a_long_call_of_a_record_handler_is_saved_record_by_record_without_the_one_that_runs() -> None:
    done: list[int | None] = []

    @record_processor
    async def handle(record: Record, context: Context) -> None:
        await asyncio.sleep(3)
        done.append(record.position.sequence)

    with Harness(handle, checkpoint_interval="1s") as h:
        h.script.answers = lambda answers: seen.append((h.checkpoint, len(done))) or answers  # type: ignore[func-returns-value]
        seen: list[tuple[object, int]] = []
        h.deliver(*[b"x"] * 6)
        assert [count for _, count in seen] == [1, 2, 3, 4, 5, 6]
        assert [saved for saved, _ in seen] == [0, 1, 2, 3, 4, 5]


def test_saves_of_one_partition_never_overlap_and_never_go_back() -> None:
    @record_processor(checkpoint="manual")
    def handle(record: Record, context: Context) -> None:
        future = context.checkpoint()
        if record.position.sequence == 4:
            future.result()

    with Harness(handle, checkpoint_interval="20ms") as h:
        h.script.save_seconds = 0.3
        for _ in range(8):
            h.write(b"x", b"x")
            h.advance(0.1)
        h.settle()
        kinds = [operation for operation, _ in h.script.journal if operation in ("save", "saved")]
        assert kinds == ["save", "saved"] * (len(kinds) // 2)
        assert sequences(h) == sorted(set(sequences(h)), key=lambda n: n or 0)
        assert h.checkpoint == 15


# -- a store that fails --------------------------------------------------------------------------------------------------


def test_a_failing_store_is_tried_again_and_reported_once() -> None:
    notes = Notes()
    with Harness(failing({}), observer=notes) as h:
        h.script.fail("save", StoreUnavailableError("gone for lunch"), times=4)
        h.deliver(b"a", b"b")
        assert h.checkpoint == 1
        assert len(notes.named("checkpoint failed")) == 1
        assert notes.named("checkpointed") == [Position(1)]  # the recovery, once


def test_while_the_store_fails_processing_goes_on_and_the_latest_is_kept() -> None:
    with Harness(failing({}), checkpoint_interval="1s") as h:
        h.script.fail("save", StoreUnavailableError("gone"), times=8)
        for value in (b"a", b"b", b"c"):
            h.write(value)
            h.advance(1)
        assert len(h.calls) == 3
        h.settle()
        assert sequences(h) == [2]


def test_tries_of_a_failing_store_are_spaced_even_when_somebody_waits() -> None:
    @record_processor(checkpoint="manual")
    async def handle(record: Record, context: Context) -> None:
        await context.checkpoint()

    with Harness(handle) as h:
        h.script.fail("save", StoreUnavailableError("gone"), times=99)
        before = saves(h)
        h.write(b"a")
        h.advance(60)
        assert 10 < saves(h) - before < 25
        h.script.failures.clear()
        h.settle()
        assert h.checkpoint == 0


def test_somebody_who_asks_again_and_again_does_not_make_the_tries_more_frequent() -> None:
    @record_processor(checkpoint="manual")
    def handle(record: Record, context: Context) -> None:
        future = context.checkpoint()
        while not future.done():
            try:
                future.result(timeout=0.02)
            except TimeoutError:
                continue

    with Harness(handle) as h:
        h.script.fail("save", StoreUnavailableError("gone"), times=99)
        before = saves(h)
        h.write(b"a")
        h.advance(10)
        assert 5 <= saves(h) - before < 12
        h.script.failures.clear()
        h.settle()
        assert h.checkpoint == 0


def test_a_second_outage_is_reported_again() -> None:
    notes = Notes()
    with Harness(failing({}), observer=notes) as h:
        for value in (b"a", b"b"):
            h.script.fail("save", StoreUnavailableError("gone"), times=2)
            h.deliver(value)
        assert len(notes.named("checkpoint failed")) == 2


def test_too_few_answers_save_nothing_for_certain_and_are_tried_again() -> None:
    with Harness(failing({}), partitions=2) as h:
        bad = iter([True])
        h.script.answers = lambda answers: answers[:-1] if next(bad, False) else answers
        h.deliver(b"a", partition="0")
        h.deliver(b"b", partition="1")
        assert h.checkpoint_of("0") == h.checkpoint_of("1") == 0
        assert any("answered for 0 of 1" in problem for problem in h.problems)


def test_one_partitions_refusal_does_not_touch_the_others() -> None:
    def refuse_first(answers: list[Grant | Exception]) -> Sequence[Grant | Exception]:
        return [StoreUnavailableError("not you"), *answers[1:]] if len(answers) == 2 else answers

    notes = Notes()
    with Harness(failing({}), partitions=2, checkpoint_interval="10s", observer=notes) as h:
        h.script.answers = refuse_first
        h.write(b"a", partition="0")
        h.write(b"b", partition="1")
        h.settle()
        assert len(notes.named("checkpoint failed")) == 1
        assert len(notes.named("checkpointed")) == 2


def test_a_store_that_is_down_at_revoke_costs_no_more_than_the_deadline() -> None:
    class Plain(Processor):
        def process(self, batch: Batch, context: Context) -> None:
            return None

    with Harness(Plain, checkpoint_interval="1h") as h:
        h.write(b"a")
        h.advance(1)
        h.script.fail("save", StoreUnavailableError("gone"), times=999)
        before = h.time
        h.revoke(deadline=5)
        assert h.time - before < 5.5
        assert h.hooks[-2:] == ["partition_lost", "close"]


# -- what the processor submits ------------------------------------------------------------------------------------------


class Submitting(Processor):
    """Does to the context what the test says, and keeps the future."""

    checkpoint = "manual"
    act: object = None
    futures: list[CheckpointFuture]

    def process(self, batch: Batch, context: Context) -> None:
        type(self).act(batch, context)  # type: ignore[operator]


def submitting(act: object) -> type[Submitting]:
    return type("Submits", (Submitting,), {"act": staticmethod(act)})


def test_a_manual_processor_alone_moves_the_checkpoint() -> None:
    def act(batch: Batch, context: Context) -> None:
        if batch.last.sequence == 1:
            context.checkpoint()

    with Harness(submitting(act), max_batch=1) as h:
        h.deliver(b"a", b"b", b"c")
        h.advance(60)
        h.revoke()
        assert sequences(h) == [1]


def test_a_future_that_is_waited_for_is_written_at_once() -> None:
    times = []

    @record_processor(checkpoint="manual")
    async def handle(record: Record, context: Context) -> None:
        before = h.time
        await context.checkpoint()
        times.append(h.time - before)

    with Harness(handle, checkpoint_interval="1h") as h:
        h.deliver(b"a", b"b")
        assert max(times) < 0.1
        assert sequences(h) == [0, 1]


def test_result_in_a_def_handler_is_written_at_once() -> None:
    times = []

    @record_processor(checkpoint="manual")
    def handle(record: Record, context: Context) -> None:
        before = h.time
        context.checkpoint().result()
        times.append(h.time - before)

    with Harness(handle, checkpoint_interval="1h") as h:
        h.deliver(b"a", b"b")
        assert max(times) < 0.1
        assert sequences(h) == [0, 1]


def test_result_on_the_user_loops_own_thread_raises() -> None:
    @record_processor(checkpoint="manual")
    async def handle(record: Record, context: Context) -> None:
        context.checkpoint().result()

    with Harness(handle, retry_attempts=1) as h:
        h.deliver(b"a")
        assert "await it instead" in str(h.errors[0])


def test_a_result_that_does_not_come_in_time_raises_timeout_error() -> None:
    @record_processor(checkpoint="manual")
    def handle(record: Record, context: Context) -> None:
        context.checkpoint().result(timeout=2)

    with Harness(handle, retry_attempts=1) as h:
        h.script.save_seconds = 5
        h.deliver(b"a")
        assert isinstance(h.errors[0], TimeoutError)


def test_a_waiter_that_gives_up_does_not_take_the_checkpoint_from_others() -> None:
    done = []

    @record_processor(checkpoint="manual")
    async def handle(record: Record, context: Context) -> None:
        future = context.checkpoint()
        try:
            await asyncio.wait_for(_wait(future), 1)
        except TimeoutError:
            done.append(future.done())
        await future
        done.append(future.done())

    async def _wait(future: CheckpointFuture) -> None:
        await future

    with Harness(handle) as h:
        h.script.save_seconds = 3
        h.deliver(b"a")
        assert done == [False, True]


def test_a_future_that_nobody_reads_blocks_nobody() -> None:
    def act(batch: Batch, context: Context) -> None:
        context.checkpoint()

    with Harness(submitting(act), checkpoint_interval="10s", max_batch=1) as h:
        h.script.fail("save", StoreUnavailableError("gone"), times=3)
        h.deliver(*[b"x"] * 5)
        assert sequences(h) == [4]  # the latest wins


def test_a_position_before_the_last_submitted_one_is_refused_with_its_bounds() -> None:
    def act(batch: Batch, context: Context) -> None:
        context.checkpoint(batch.last)
        with pytest.raises(CheckpointPositionError) as caught:
            context.checkpoint(batch.first)
        assert caught.value.low == batch.last
        assert caught.value.high == batch.last

    with Harness(submitting(act)) as h:
        h.deliver(b"a", b"b")
        assert h.errors == []


def test_a_position_beyond_what_was_delivered_is_refused() -> None:
    @record_processor(checkpoint="manual")
    def handle(record: Record, context: Context) -> None:
        if record.position.sequence == 0:
            context.checkpoint(Position(1))

    with Harness(handle, retry_attempts=1) as h:
        h.deliver(b"a", b"b")
        assert isinstance(h.errors[0], CheckpointPositionError)
        assert sequences(h) == []


def test_a_position_before_the_stored_checkpoint_is_refused_in_a_new_assignment() -> None:
    def act(batch: Batch, context: Context) -> None:
        context.checkpoint(Position(0) if batch.first == Position(2) else None)

    with Harness(submitting(act), retry_attempts=1) as h:
        h.deliver(b"a", b"b")
        h.revoke()
        h.deliver(b"c")
        assert isinstance(h.errors[0], CheckpointPositionError)
        assert h.checkpoint == 1


def test_a_position_before_an_automatic_checkpoint_is_refused() -> None:
    class Late(Processor):
        def process(self, batch: Batch, context: Context) -> None:
            if batch.first == Position(2):
                context.checkpoint(Position(0))

    with Harness(Late, retry_attempts=1) as h:
        h.deliver(b"a", b"b")
        assert h.checkpoint == 1
        h.deliver(b"c")
        assert isinstance(h.errors[0], CheckpointPositionError)


def test_the_same_position_again_is_a_no_op() -> None:
    def act(batch: Batch, context: Context) -> None:
        context.checkpoint(batch.last)
        context.checkpoint(batch.last).result()
        context.checkpoint().result()

    with Harness(submitting(act)) as h:
        h.deliver(b"a", b"b")
        assert sequences(h) == [1]


def test_a_checkpoint_in_a_hook_before_the_first_record_is_a_no_op() -> None:
    class Early(Processor):
        def initialize(self, context: Context) -> None:
            context.checkpoint().result()

        def process(self, batch: Batch, context: Context) -> None:
            return None

    with Harness(Early) as h:
        h.deliver(b"a")
        h.revoke()
        h.deliver(b"b")
        assert h.errors == []
        assert sequences(h) == [0, 1]


def test_metadata_is_stored_and_given_to_the_next_owner_unchanged_by_automatic_saves() -> None:
    @processor
    def handle(batch: Batch, context: Context) -> None:
        if batch.first == Position(0):
            context.checkpoint(metadata="from a")

    with Harness(handle) as h:
        h.deliver(b"a")
        h.revoke()
        h.deliver(b"b")
        assert h.checkpoints[-1].metadata == "from a"


def test_metadata_that_the_store_cannot_hold_is_refused() -> None:
    @record_processor
    def handle(record: Record, context: Context) -> None:
        context.checkpoint(metadata="x" * 5000)

    with Harness(handle, retry_attempts=1) as h:
        h.deliver(b"a")
        assert isinstance(h.errors[0], CheckpointError)


def test_futures_that_are_open_at_the_deadline_of_a_revoke_fail() -> None:
    caught: list[BaseException] = []

    @record_processor(checkpoint="manual")
    async def handle(record: Record, context: Context) -> None:
        try:
            await context.checkpoint()
        except PartitionLostError as error:
            caught.append(error)

    with Harness(handle) as h:
        h.script.fail("save", StoreUnavailableError("gone"), times=999)
        h.write(b"a")
        h.advance(1)
        h.revoke(deadline=3)
        assert len(caught) == 1


def test_a_result_that_is_waited_for_when_the_partition_is_lost_fails() -> None:
    caught: list[BaseException] = []

    @record_processor(checkpoint="manual")
    def handle(record: Record, context: Context) -> None:
        try:
            context.checkpoint().result()
        except PartitionLostError as error:
            caught.append(error)
            with pytest.raises(PartitionLostError):
                context.checkpoint()

    with Harness(handle) as h:
        h.script.save_seconds = 10
        h.write(b"a")
        h.advance(1)
        h.lose()
        assert len(caught) == 1
        assert h.errors == []


def test_a_future_is_done_when_a_later_position_is_saved() -> None:
    futures: list[CheckpointFuture] = []

    def act(batch: Batch, context: Context) -> None:
        futures.append(context.checkpoint())

    with Harness(submitting(act), max_batch=1) as h:
        h.write(b"a", b"b", b"c")
        h.advance(0.5)
        assert [future.done() for future in futures] == [False, False, False]
        h.settle()
        assert [future.done() for future in futures] == [True, True, True]
        assert sequences(h) == [2]
        assert P0 in h.script.rows


# -- the age of what is saved --------------------------------------------------------------------------------------------


def test_a_checkpoint_says_when_its_record_was_written() -> None:
    with Harness(failing({})) as h:
        h.write(b"a", b"b")
        h.advance(1)
        last = h.write(b"c")[-1]
        h.settle()
        assert h.checkpoints[-1].at.position == last.position
        assert h.checkpoints[-1].record_time == last.timestamp


def test_so_does_one_in_the_middle_of_a_call() -> None:
    @record_processor
    async def handle(record: Record, context: Context) -> None:
        await asyncio.sleep(3)

    with Harness(handle, checkpoint_interval="1s", max_wait="1s", max_batch=3) as h:
        records = []
        for value in (b"a", b"b", b"c"):
            records.extend(h.write(value))
            h.advance(0.2)
        h.settle()
        times = {record.position: record.timestamp for record in records}
        assert len(set(times.values())) == 3
        written = [c for c in h.checkpoints if c.at.kind == "after"]
        assert len(written) == 3
        assert all(c.record_time == times[c.at.position] for c in written if c.at.position is not None)


def test_a_checkpoint_in_between_does_not_claim_to_know() -> None:
    def act(batch: Batch, context: Context) -> None:
        context.checkpoint(batch.first)

    with Harness(submitting(act)) as h:
        h.deliver(b"a", b"b")
        assert [c.record_time for c in h.checkpoints] == [None, None]


def test_behind_a_token_alone_which_another_program_has_left_anything_may_follow() -> None:
    with Harness(failing({}), assigned=False) as h:
        h.write(b"done by the other")
        stored = Checkpoint(P0, StartPosition.after(Position(None, token="its last")), partitions_at_start=1)
        h.script.rows[P0] = Row(4, "w", stored)
        h._hold({P0})
        h.advance(1)
        row = h.script.rows[P0]
        assert row.checkpoint is not None  # a store that knows of such programs compares it with nothing
        h.script.rows[P0] = replace(row, checkpoint=replace(row.checkpoint, at=StartPosition.EARLIEST))
        (record,) = h.deliver(b"a")
        assert h.checkpoints[-1].at == StartPosition.after(record.position)
