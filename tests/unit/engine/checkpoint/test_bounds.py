"""Which positions `context.checkpoint` takes, what it means without one, and what metadata does."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from streamkit.errors import (
    CheckpointError,
    CheckpointPositionError,
    FencedError,
    OwnershipError,
    PartitionLostError,
    StoreUnavailableError,
)
from streamkit.model import Batch, Position
from streamkit.plugin import Grant
from streamkit.processing import CheckpointFuture, Context, Processor, processor
from streamkit.testing import Harness
from tests.unit.engine.rig import P0


def manual(act: Callable[[Batch, Context], None]) -> Callable[[Batch, Context], None]:
    return processor(checkpoint="manual")(act)


def written(harness: Harness) -> list[tuple[int | None, str]]:
    return [(c.at.position.sequence, c.metadata) for c in harness.checkpoints if c.at.kind == "after" and c.at.position]


# -- without a position --------------------------------------------------------------------------------------------------


def test_without_a_position_it_is_the_batch_of_the_calling_handler() -> None:
    def act(batch: Batch, context: Context) -> None:
        context.checkpoint().result()
        assert h.checkpoint == batch.last.sequence

    with Harness(manual(act), max_batch=2) as h:
        h.deliver(b"a", b"b", b"c")
        assert h.errors == []


def test_without_a_position_it_never_goes_back_behind_what_was_submitted() -> None:
    """After a failed call less has returned than was submitted: nothing new is said, and nothing is refused."""
    futures: list[CheckpointFuture] = []

    class Flushing(Processor):
        def process(self, batch: Batch, context: Context) -> None:
            if context.attempt == 1:
                context.checkpoint(Position(1))
                raise ValueError("in the middle")

        def flush(self, context: Context) -> None:
            futures.append(context.checkpoint())

    with Harness(Flushing, checkpoint_interval="1s", retry_backoff="10s") as h:
        h.write(b"a", b"b", b"c")
        h.settle()
        h.revoke()
        assert [type(error) for error in h.errors] == [ValueError]
        assert all(future.done() for future in futures)
        assert h.checkpoint == 2


def test_before_the_first_record_it_does_not_pass_the_record_that_comes_next() -> None:
    """A start `at` a record is not a checkpoint of it."""

    class Early(Processor):
        def initialize(self, context: Context) -> None:
            context.checkpoint().result()

        def process(self, batch: Batch, context: Context) -> None:
            return None

    with Harness(Early, start="latest", assigned=False) as h:
        h.write(b"old")
        h.assign()
        assert h.checkpoint is None
        h.deliver(b"a")
        assert [record.value for record in h.seen] == [b"a"]


# -- bounds --------------------------------------------------------------------------------------------------------------


def test_a_position_before_the_start_is_refused() -> None:
    caught: list[CheckpointPositionError] = []

    def act(batch: Batch, context: Context) -> None:
        with pytest.raises(CheckpointPositionError) as error:
            context.checkpoint(Position(0))
        caught.append(error.value)

    with Harness(manual(act), start="latest", assigned=False) as h:
        h.write(b"old", b"old")
        h.assign()
        h.deliver(b"a")
        assert caught[0].low == Position(2)


@pytest.mark.parametrize("position", [Position(None, token="x"), 0, "0"])
def test_what_has_no_place_is_refused_by_the_same_name(position: Position) -> None:
    caught: list[CheckpointPositionError] = []

    def act(batch: Batch, context: Context) -> None:
        with pytest.raises(CheckpointPositionError) as error:
            context.checkpoint(position)
        caught.append(error.value)

    with Harness(manual(act)) as h:
        h.deliver(b"a")
        assert caught[0].position is position


def test_what_was_delivered_may_be_checkpointed_after_its_call_has_returned() -> None:
    contexts: list[Context] = []

    def act(batch: Batch, context: Context) -> None:
        contexts.append(context)

    with Harness(manual(act), max_batch=3) as h:
        h.deliver(b"a", b"b", b"c", b"d")
        contexts[0].checkpoint(Position(1))
        h.settle()
        assert h.checkpoint == 1
        contexts[0].checkpoint(Position(3))
        h.settle()
        assert h.checkpoint == 3


def test_what_was_delivered_may_be_checkpointed_while_its_call_is_tried_again() -> None:
    """Others may have taken it over: a queue of the user's own, for example."""
    contexts: list[Context] = []

    def act(batch: Batch, context: Context) -> None:
        contexts.append(context)
        raise ValueError("tried again")

    with Harness(manual(act), retry_backoff="10s", retry_attempts=9) as h:
        h.write(b"a", b"b", b"c")
        h.advance(1)
        contexts[0].checkpoint(Position(2))
        h.settle()
        assert h.checkpoint == 2
        assert h.errors


# -- metadata ------------------------------------------------------------------------------------------------------------


def test_new_metadata_at_the_same_position_is_written() -> None:
    class Late(Processor):
        def process(self, batch: Batch, context: Context) -> None:
            return None

        def partition_revoked(self, context: Context) -> None:
            context.checkpoint(metadata="bye")

    with Harness(Late) as h:
        h.deliver(b"a")
        h.revoke()
        assert written(h) == [(0, ""), (0, "bye")]


def test_an_equal_position_without_metadata_keeps_that_of_before() -> None:
    def act(batch: Batch, context: Context) -> None:
        context.checkpoint(metadata="mine").result()
        context.checkpoint().result()

    with Harness(manual(act)) as h:
        h.deliver(b"a")
        h.deliver(b"b")
        assert written(h) == [(0, "mine"), (1, "mine")]


def test_a_later_position_without_metadata_has_none() -> None:
    def act(batch: Batch, context: Context) -> None:
        context.checkpoint(metadata="mine" if batch.first == Position(0) else "").result()

    with Harness(manual(act)) as h:
        h.deliver(b"a")
        h.deliver(b"b")
        assert written(h) == [(0, "mine"), (1, "")]


def test_the_metadata_of_the_last_submission_wins() -> None:
    def act(batch: Batch, context: Context) -> None:
        for text in ("one", "two", "three"):
            context.checkpoint(metadata=text)

    with Harness(manual(act)) as h:
        h.deliver(b"a")
        assert written(h) == [(0, "three")]


def test_metadata_that_is_submitted_while_a_save_runs_is_written_by_the_next_one_before_its_future_is_done() -> None:
    seen: list[str] = []

    def act(batch: Batch, context: Context) -> None:
        first = context.checkpoint(metadata="one")
        with pytest.raises(TimeoutError):
            first.result(0.1)  # it is being written
        second = context.checkpoint(metadata="two")
        first.result()
        seen.append(f"{h.checkpoints[-1].metadata} {second.done()}")
        second.result()
        seen.append(h.checkpoints[-1].metadata)

    with Harness(manual(act), checkpoint_interval="1h") as h:
        h.script.save_seconds = 0.5
        h.deliver(b"a")
        assert seen == ["one False", "two"]


# -- when it is written, and what becomes of it --------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["revoke", "stop"])
def test_what_nobody_waits_for_is_written_before_the_partition_is_given_back(how: str) -> None:
    def act(batch: Batch, context: Context) -> None:
        context.checkpoint(batch.first)

    with Harness(manual(act), checkpoint_interval="1h") as h:
        h.write(b"a", b"b")
        h.advance(1)
        assert h.checkpoint is None
        getattr(h, how)()
        assert h.checkpoint == 0


def test_what_a_failed_call_has_submitted_is_written() -> None:
    def act(batch: Batch, context: Context) -> None:
        context.checkpoint(batch.first)
        raise ValueError("after it")

    with Harness(manual(act), retry_attempts=1) as h:
        h.deliver(b"a", b"b")
        h.advance(10)
        assert h.checkpoint == 0
        assert h.errors


def test_a_future_of_a_partition_that_is_fenced_for_good_fails_with_fenced_error() -> None:
    caught: list[BaseException] = []

    def act(batch: Batch, context: Context) -> None:
        try:
            context.checkpoint().result()
        except OwnershipError as error:
            caught.append(error)

    with Harness(manual(act)) as h:
        h.script.fail("claim", StoreUnavailableError("gone"), times=99)
        h.script.take(P0)
        h.write(b"a")
        h.advance(2)
        h.lose()
        assert [type(error) for error in caught] == [FencedError]
        h.script.failures.clear()


def test_a_future_of_a_partition_that_is_lost_fails_with_partition_lost_error() -> None:
    caught: list[BaseException] = []

    def act(batch: Batch, context: Context) -> None:
        try:
            context.checkpoint().result()
        except OwnershipError as error:
            caught.append(error)

    with Harness(manual(act)) as h:
        h.script.save_seconds = 60
        h.write(b"a")
        h.advance(2)
        h.lose()
        assert [type(error) for error in caught] == [PartitionLostError]


def test_fenced_but_claimed_once_more_a_future_waits_for_the_save_that_succeeds() -> None:
    def act(batch: Batch, context: Context) -> None:
        context.checkpoint().result()

    with Harness(manual(act)) as h:
        h.script.take(P0)
        h.deliver(b"a")
        assert h.errors == []
        assert h.checkpoint == 0


def test_what_the_store_refuses_is_told_to_its_future_and_not_written_later_without_its_metadata() -> None:
    caught: list[BaseException] = []

    def act(batch: Batch, context: Context) -> None:
        try:
            context.checkpoint(metadata="bad").result()
        except CheckpointError as error:
            caught.append(error)

    def refuse(checkpoints: Sequence[Grant | Exception]) -> Sequence[Grant | Exception]:
        return [CheckpointError("no such metadata")] * len(checkpoints) if h.checkpoints[-1].metadata == "bad" else checkpoints

    with Harness(manual(act), checkpoint_interval="1s") as h:
        h.script.answers = refuse
        h.write(b"a")
        h.advance(60)
        assert [str(error) for error in caught] == ["no such metadata"]
        assert [metadata for _, metadata in written(h)] == ["bad"], "the store wrote it only to say that it would not"
        h.crash()
