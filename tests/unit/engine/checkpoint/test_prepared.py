"""Checkpoints in two phases: prepared durably, committed later, handed to the next owner in between."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from streamkit.errors import (
    CheckpointError,
    CheckpointPositionError,
    PartitionLostError,
    StoreUnavailableError,
    UnsupportedError,
)
from streamkit.model import Batch, Capabilities, Position, Record
from streamkit.processing import CheckpointFuture, Context, PreparedCheckpoint, PreparedFuture, Processor, record_processor
from streamkit.testing import Harness
from streamkit.testing.scripted import ScriptedStore

Stored = tuple[object, Position | None, bytes]


def stored(harness: Harness) -> list[Stored]:
    """Every save as (position, pending, state), the start left out."""
    return [(c.at.position and c.at.position.sequence, c.pending, c.pending_state) for c in harness.checkpoints[1:]]


class Preparing(Processor):
    """Does in `process` what the test says; notes what `initialize` was told."""

    checkpoint = "manual"
    prepares = True
    act: Callable[[Batch, Context], None]
    told: list[tuple[Position, bytes] | None]

    def initialize(self, context: Context) -> None:
        self.told.append(context.pending)

    def process(self, batch: Batch, context: Context) -> None:
        type(self).act(batch, context)


def preparing(act: Callable[[Batch, Context], None], **members: object) -> type[Preparing]:
    return type("Prepares", (Preparing,), {"act": staticmethod(act), "told": [], **members})


def nothing(batch: Batch, context: Context) -> None:
    return None


def test_a_prepared_checkpoint_is_durable_when_its_future_resolves_and_moves_nothing() -> None:
    seen: list[Stored] = []

    def act(batch: Batch, context: Context) -> None:
        prepared = context.prepare_checkpoint(state=b"tx 1").result()
        assert (prepared.position, prepared.state) == (Position(1), b"tx 1")
        seen.extend(stored(h))

    with Harness(preparing(act), checkpoint_interval="1h") as h:
        h.deliver(b"a", b"b")
        assert seen == [(None, Position(1), b"tx 1")]
        assert h.checkpoint is None


def test_a_commit_moves_the_checkpoint_and_forgets_what_was_pending_in_one_save() -> None:
    def act(batch: Batch, context: Context) -> None:
        context.prepare_checkpoint(Position(1), b"tx").result().commit().result()

    with Harness(preparing(act), checkpoint_interval="1h") as h:
        h.deliver(b"a", b"b", b"c")
        assert stored(h) == [(None, Position(1), b"tx"), (1, None, b"")]


def test_prepared_and_committed_in_an_async_handler() -> None:
    @record_processor(checkpoint="manual", prepares=True)
    async def handle(record: Record, context: Context) -> None:
        prepared = await context.prepare_checkpoint(state=record.value or b"")
        await prepared.commit()

    with Harness(handle, checkpoint_interval="1h") as h:
        h.deliver(b"a", b"b")
        assert stored(h) == [(None, Position(0), b"a"), (0, None, b""), (0, Position(1), b"b"), (1, None, b"")]


def test_a_prepared_checkpoint_that_nobody_waits_for_is_written_at_the_interval() -> None:
    futures: list[PreparedFuture] = []

    def act(batch: Batch, context: Context) -> None:
        futures.append(context.prepare_checkpoint())

    with Harness(preparing(act), checkpoint_interval="10s") as h:
        h.write(b"a")
        h.advance(8)
        assert stored(h) == []
        assert not futures[0].done()
        h.advance(3)
        assert stored(h) == [(None, Position(0), b"")]
        assert futures[0].done()


def test_after_a_crash_initialize_is_told_and_records_are_redelivered_from_the_last_checkpoint() -> None:
    def act(batch: Batch, context: Context) -> None:
        if batch.last == Position(0):
            context.checkpoint().result()
        elif not made.told[1:]:
            context.prepare_checkpoint(state=b"half").result()

    made = preparing(act)
    with Harness(made, checkpoint_interval="1h") as h:
        h.deliver(b"a")
        h.write(b"b", b"c")
        h.advance(1)
        h.crash()
        h.assign()
        assert made.told == [None, (Position(2), b"half")]
        assert [record.value for record in h.seen] == [b"a", b"b", b"c", b"b", b"c"]


def test_a_pending_checkpoint_can_be_committed_in_initialize_and_reading_begins_behind_it() -> None:
    class Recovering(Preparing):
        def initialize(self, context: Context) -> None:
            super().initialize(context)
            if context.pending is not None:
                context.prepare_checkpoint(*context.pending).result().commit().result()

    def act(batch: Batch, context: Context) -> None:
        if len(made.told) == 1:
            context.prepare_checkpoint(Position(1), state=b"half").result()

    made: type[Preparing] = type("Made", (Recovering,), {"act": staticmethod(act), "told": []})
    with Harness(made, checkpoint_interval="1h") as h:
        h.deliver(b"a", b"b", b"c")
        h.crash()
        h.assign()
        assert stored(h) == [(None, Position(1), b"half"), (1, None, b"")]  # the same again was in the store already
        assert [record.value for record in h.seen] == [b"a", b"b", b"c", b"c"]


def test_nobody_goes_beyond_what_was_prepared_before_records_are_delivered() -> None:
    caught: list[CheckpointPositionError] = []

    class Eager(Preparing):
        def initialize(self, context: Context) -> None:
            super().initialize(context)
            if context.pending is not None:
                with pytest.raises(CheckpointPositionError) as error:
                    context.checkpoint(Position(2))
                caught.append(error.value)

    def act(batch: Batch, context: Context) -> None:
        if not caught:
            context.prepare_checkpoint(Position(1)).result()

    with Harness(type("Made", (Eager,), {"act": staticmethod(act), "told": []}), checkpoint_interval="1h") as h:
        h.deliver(b"a", b"b", b"c")
        h.crash()
        h.assign()
        assert caught[0].high == Position(1)


@pytest.mark.parametrize("how", ["revoke", "stop", "crash"])
def test_later_saves_and_every_way_to_give_back_keep_what_is_pending(how: str) -> None:
    def act(batch: Batch, context: Context) -> None:
        if batch.last == Position(0):
            context.prepare_checkpoint(state=b"kept").result()

    made = preparing(act, checkpoint="automatic")
    with Harness(made) as h:
        h.deliver(b"a")
        h.deliver(b"b")
        getattr(h, how)()
        h.deliver(b"c")
        assert made.told == [None, (Position(0), b"kept")]
        assert stored(h)[-1] == (2, Position(0), b"kept")


def test_a_newer_one_replaces_the_older_whose_commit_is_then_a_named_error() -> None:
    def act(batch: Batch, context: Context) -> None:
        older = context.prepare_checkpoint(Position(0), b"old").result()
        context.prepare_checkpoint(Position(1), b"new").result()
        with pytest.raises(CheckpointPositionError) as caught:
            older.commit()
        assert (caught.value.position, caught.value.low, caught.value.high) == (Position(0), Position(1), Position(1))

    with Harness(preparing(act), checkpoint_interval="1h") as h:
        h.deliver(b"a", b"b")
        assert h.errors == []
        assert stored(h) == [(None, Position(0), b"old"), (None, Position(1), b"new")]


def test_a_future_fails_if_a_newer_one_took_its_place_before_it_was_written() -> None:
    caught: list[CheckpointError] = []

    def act(batch: Batch, context: Context) -> None:
        older = context.prepare_checkpoint(Position(0))
        context.prepare_checkpoint(Position(1)).result()
        with pytest.raises(CheckpointError, match="replaced by a newer one") as error:
            older.result()
        caught.append(error.value)

    with Harness(preparing(act), checkpoint_interval="1h") as h:
        h.deliver(b"a", b"b")
        assert len(caught) == 1
        assert stored(h) == [(None, Position(1), b"")]


def test_a_second_commit_is_the_first_one() -> None:
    def act(batch: Batch, context: Context) -> None:
        prepared = context.prepare_checkpoint().result()
        assert prepared.commit() is prepared.commit()

    with Harness(preparing(act)) as h:
        h.deliver(b"a")
        assert stored(h)[-1] == (0, None, b"")


def test_a_commit_after_the_checkpoint_has_passed_it_only_forgets_it() -> None:
    def act(batch: Batch, context: Context) -> None:
        prepared = context.prepare_checkpoint(Position(0), b"x").result()
        context.checkpoint(Position(2)).result()
        prepared.commit().result()

    with Harness(preparing(act), checkpoint_interval="1h") as h:
        h.deliver(b"a", b"b", b"c")
        assert stored(h) == [(None, Position(0), b"x"), (2, Position(0), b"x"), (2, None, b"")]


def test_a_commit_keeps_the_metadata_of_the_last_checkpoint() -> None:
    def act(batch: Batch, context: Context) -> None:
        prepared = context.prepare_checkpoint(Position(1)).result()
        context.checkpoint(Position(0), metadata="mine").result()
        prepared.commit().result()

    with Harness(preparing(act)) as h:
        h.deliver(b"a", b"b")
        assert h.checkpoints[-1].metadata == "mine"
        assert stored(h)[-1] == (1, None, b"")


def test_the_bounds_of_a_checkpoint_hold() -> None:
    def act(batch: Batch, context: Context) -> None:
        context.checkpoint(Position(1))
        for position in (Position(0), Position(3), Position.END):
            with pytest.raises(CheckpointPositionError) as caught:
                context.prepare_checkpoint(position)
            assert (caught.value.low, caught.value.high) == (Position(1), Position(2))

    with Harness(preparing(act)) as h:
        h.deliver(b"a", b"b", b"c")
        assert h.errors == []


def test_before_the_first_record_there_is_nothing_to_prepare() -> None:
    class Early(Preparing):
        def initialize(self, context: Context) -> None:
            with pytest.raises(CheckpointPositionError, match="nothing has been delivered"):
                context.prepare_checkpoint()

    with Harness(type("Made", (Early,), {"act": staticmethod(nothing), "told": []})) as h:
        h.settle()
        assert h.hooks == ["initialize"]


def test_the_end_can_be_prepared() -> None:
    class Ending(Preparing):
        def partition_ended(self, context: Context) -> None:
            prepared = context.prepare_checkpoint(state=b"end").result()
            assert prepared.position.is_end
            prepared.commit()

    with Harness(type("Made", (Ending,), {"act": staticmethod(nothing), "told": []})) as h:
        h.write(b"a")
        h.end()
        assert h.checkpoint == Position.END
        assert h.checkpoints[-1].pending is None
        assert h.checkpoints[-2].pending == Position.END


def test_a_store_that_is_down_keeps_the_future_waiting_and_tries_again() -> None:
    def act(batch: Batch, context: Context) -> None:
        context.prepare_checkpoint(state=b"x").result()

    with Harness(preparing(act), checkpoint_interval="1h") as h:
        h.script.fail("save", StoreUnavailableError("gone"), times=4)
        h.deliver(b"a")
        assert stored(h) == [(None, Position(0), b"x")]


def test_a_lost_answer_does_not_lose_what_was_prepared() -> None:
    """The same is written again: nobody knows whether it is in the store."""

    def lost(answers: list[object]) -> list[object]:
        return answers if next(bad, False) is False else [StoreUnavailableError("the answer was lost")] * len(answers)

    def act(batch: Batch, context: Context) -> None:
        if batch.last == Position(0):
            h.script.answers = lost  # type: ignore[assignment]
            context.prepare_checkpoint(state=b"x").result().commit().result()

    bad = iter([True])
    with Harness(preparing(act), checkpoint_interval="1h") as h:
        h.deliver(b"a")
        assert stored(h)[-2:] == [(None, Position(0), b"x"), (0, None, b"")]


def test_a_save_that_was_under_way_is_not_the_one_that_was_asked_for() -> None:
    """What is prepared while another save runs is durable only after the next one."""
    done: list[tuple[bool, Position | None]] = []

    @record_processor(checkpoint="manual", prepares=True)
    def handle(record: Record, context: Context) -> None:
        first: CheckpointFuture = context.checkpoint()
        with pytest.raises(TimeoutError):
            first.result(timeout=0.1)  # it is being written
        prepared = context.prepare_checkpoint(state=b"x")
        first.result()
        done.append((prepared.done(), h.checkpoints[-1].pending))
        prepared.result()
        done.append((prepared.done(), h.checkpoints[-1].pending))

    with Harness(handle, checkpoint_interval="1h") as h:
        h.script.save_seconds = 0.5
        h.deliver(b"a")
        assert done == [(False, None), (True, Position(0))]


@pytest.mark.parametrize("answer", ["prepare", "commit"])
def test_after_a_loss_it_is_a_named_error(answer: str) -> None:
    caught: list[BaseException] = []

    def act(batch: Batch, context: Context) -> None:
        prepared: PreparedCheckpoint = context.prepare_checkpoint().result()
        h.script.save_seconds = 60
        try:
            if answer == "prepare":
                context.prepare_checkpoint(state=b"y").result()
            else:
                prepared.commit().result()
        except PartitionLostError as error:
            caught.append(error)
        for call in (context.prepare_checkpoint, prepared.commit):
            try:
                call()
            except PartitionLostError as error:
                caught.append(error)

    with Harness(preparing(act), checkpoint_interval="1h") as h:
        h.write(b"a")
        h.advance(1)
        h.lose()
        assert len(caught) == (3 if answer == "prepare" else 2)  # a second commit is the first one, which has failed


def test_state_that_the_store_cannot_hold_is_refused_at_the_call() -> None:
    def act(batch: Batch, context: Context) -> None:
        with pytest.raises(CheckpointError, match=r"1048577 bytes of state; this store keeps 1048576"):
            context.prepare_checkpoint(state=bytes(2**20 + 1))
        context.prepare_checkpoint(state=bytes(2**20)).result()

    with Harness(preparing(act)) as h:
        h.deliver(b"a")
        assert len(stored(h)[0][2]) == 2**20


def test_a_store_that_keeps_none_refuses_at_the_call(monkeypatch: pytest.MonkeyPatch) -> None:
    def act(batch: Batch, context: Context) -> None:
        with pytest.raises(UnsupportedError, match="STREAMKIT_STORE"):
            context.prepare_checkpoint()

    monkeypatch.setattr(ScriptedStore, "capabilities", Capabilities(fencing=True, metadata_characters=10))
    with Harness(preparing(act, prepares=False)) as h:
        h.deliver(b"a")
        assert h.errors == []


def test_a_retry_does_not_deliver_again_what_was_committed() -> None:
    def act(batch: Batch, context: Context) -> None:
        if len(h.calls) == 2:
            context.prepare_checkpoint(Position(1)).result().commit()
            raise ValueError("after the commit")

    with Harness(preparing(act)) as h:
        h.deliver(b"a", b"b", b"c")
        assert [[record.value for record in call.records] for call in h.calls[1:]] == [[b"a", b"b", b"c"], [b"c"]]
        assert len(h.errors) == 1


def test_a_checkpoint_without_a_position_does_not_take_a_commit_back() -> None:
    """In `initialize` nothing has returned yet, and what was just committed lies ahead."""

    class Recovering(Preparing):
        def initialize(self, context: Context) -> None:
            super().initialize(context)
            if context.pending is not None:
                context.prepare_checkpoint(*context.pending).result().commit()
                context.checkpoint().result()

    def act(batch: Batch, context: Context) -> None:
        if len(made.told) == 1:
            context.checkpoint(Position(0)).result()
            context.prepare_checkpoint(Position(1)).result()

    made: type[Preparing] = type("Made", (Recovering,), {"act": staticmethod(act), "told": []})
    with Harness(made, checkpoint_interval="1h") as h:
        h.deliver(b"a", b"b", b"c")
        h.crash()
        h.assign()
        assert [record.value for record in h.seen] == [b"a", b"b", b"c", b"c"]
        assert h.checkpoint == 1


def test_the_last_one_counts_even_if_it_is_the_one_that_is_stored() -> None:
    def act(batch: Batch, context: Context) -> None:
        context.prepare_checkpoint(Position(0), b"first").result()
        context.prepare_checkpoint(Position(1), b"second")
        context.prepare_checkpoint(Position(0), b"first").result()

    with Harness(preparing(act), checkpoint_interval="1s") as h:
        h.deliver(b"a", b"b")
        h.advance(5)
        assert {pending for _, pending, _ in stored(h)} == {Position(0)}
