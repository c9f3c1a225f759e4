"""END: saved only when everything is done and told, after what must come before it, and by manual code only when it says so."""

from __future__ import annotations

import pytest

from streamkit.errors import CheckpointError, StoreUnavailableError
from streamkit.model import Batch, Position, Record
from streamkit.plugin import Grant
from streamkit.processing import CheckpointFuture, Context, Processor, processor, record_processor
from streamkit.testing import Harness
from tests.unit.engine.hooks_rig import checkpointing
from tests.unit.engine.rig import P0, Notes, failing


def saved(harness: Harness) -> list[str]:
    return [str(checkpoint.at) for checkpoint in harness.checkpoints[1:]]


# -- manual code that has no partition_ended -----------------------------------------------------------------------------


def test_the_end_of_a_manual_function_is_saved_when_its_last_record_is_checkpointed() -> None:
    @record_processor(checkpoint="manual")
    def handle(record: Record, context: Context) -> None:
        context.checkpoint()

    with Harness(handle, checkpoint_interval="1h") as h:
        h.write(b"a", b"b")
        h.end()
        assert h.checkpoint == Position.END


def test_so_is_that_of_a_manual_processor_without_partition_ended() -> None:
    class Manual(Processor):
        checkpoint = "manual"

        def process(self, batch: Batch, context: Context) -> None:
            context.checkpoint()

    with Harness(Manual, checkpoint_interval="1h") as h:
        h.write(b"a", b"b")
        h.end()
        assert h.checkpoint == Position.END


def test_the_end_of_a_manual_function_waits_for_its_last_record_and_health_says_so() -> None:
    later: list[Context] = []

    @record_processor(checkpoint="manual")
    def handle(record: Record, context: Context) -> None:
        if record.position == Position(0):
            context.checkpoint()
        later.append(context)

    with Harness(handle, retry_attempts=2, retry_backoff="1s", partitions=2) as h:
        h.write(b"a", b"b", partition="0")
        h.script.ended[h.script.partition("0")] = ()
        h.advance(60)
        assert h.checkpoint == 0
        assert "its last record has not been checkpointed" in str(h.halted)
        later[-1].checkpoint(Position(1))
        h.advance(60)
        assert h.checkpoint == Position.END
        assert h.halted is None


def test_a_manual_function_that_was_given_nothing_ends() -> None:
    @processor(checkpoint="manual")
    def handle(batch: Batch, context: Context) -> None:
        raise AssertionError("there is no record")

    with Harness(handle) as h:
        h.end()
        assert h.checkpoint == Position.END


# -- what the code may say, and when -------------------------------------------------------------------------------------


def test_a_checkpoint_in_the_last_flush_is_not_the_end() -> None:
    seen: list[object] = []

    class Flushing(Processor):
        def process(self, batch: Batch, context: Context) -> None:
            return None

        def flush(self, context: Context) -> None:
            context.checkpoint().result()

        def partition_ended(self, context: Context) -> None:
            seen.append(h.checkpoint)

    with Harness(Flushing, checkpoint_interval="1h") as h:
        h.write(b"a")
        h.end()
        assert seen == [0]
        assert h.checkpoint == Position.END


def test_a_partition_ended_that_fails_is_not_ended_by_a_checkpoint_in_partition_revoked() -> None:
    class Failing(Processor):
        def process(self, batch: Batch, context: Context) -> None:
            return None

        def partition_ended(self, context: Context) -> None:
            raise ValueError("not yet")

        def partition_revoked(self, context: Context) -> None:
            context.checkpoint(metadata="bye").result()

    with Harness(Failing, retry_attempts=1) as h:
        h.write(b"a")
        h.script.ended[h.script.partition("0")] = ()
        h.advance(3)
        h.revoke()
        assert h.errors
        assert h.checkpoint == 0
        assert h.checkpoints[-1].metadata == "bye"


@pytest.mark.parametrize("manual", [True, False])
def test_an_end_that_the_store_refuses_is_not_taken_for_saved(manual: bool) -> None:
    def submit(context: Context) -> None:
        context.checkpoint()

    def refuse(answers: list[Grant | Exception]) -> list[Grant | Exception]:
        return [CheckpointError("no ends here")] * len(answers) if h.checkpoint == Position.END else answers

    notes = Notes()
    with Harness(checkpointing("partition_ended", submit, manual=manual), observer=notes) as h:
        h.script.answers = refuse
        h.write(b"a")
        h.script.ended[h.script.partition("0")] = ()
        h.advance(30)
        assert notes.named("ended") == []
        assert len([subject for subject in notes.named("problem") if "refuses" in str(subject)]) <= 8  # each time that it is asked
        h.script.answers = lambda answers: answers
        h.advance(60)
        assert len(notes.named("ended")) == 1


def test_an_end_in_doubt_is_written_again() -> None:
    bad = iter([True])

    def lost(answers: list[Grant | Exception]) -> list[Grant | Exception]:
        if h.checkpoint == Position.END and next(bad, False):
            return [StoreUnavailableError("the answer was lost")] * len(answers)
        return answers

    notes = Notes()
    with Harness(failing({}), observer=notes) as h:
        h.script.answers = lost
        h.write(b"a")
        h.end()
        assert saved(h)[-2:] == ["after END", "after END"]
        assert len(notes.named("ended")) == 1


# -- what comes before it ------------------------------------------------------------------------------------------------


class Ending(Processor):
    """Waits for END to be saved, inside the hook."""

    checkpoint = "manual"
    futures: list[CheckpointFuture] = []  # noqa: RUF012

    def process(self, batch: Batch, context: Context) -> None:
        return None

    def partition_ended(self, context: Context) -> None:
        self.futures.append(context.checkpoint())
        self.futures[-1].result()


@pytest.mark.parametrize("target", [failing({}), Ending], ids=["automatic", "manual"])
def test_the_end_waits_for_what_must_come_before_it_even_when_somebody_waits_for_it(target: object) -> None:
    tries: list[object] = []

    async def before_end() -> None:
        tries.append(h.checkpoint)
        if len(tries) < 3:
            raise StoreUnavailableError("gone")

    notes = Notes()
    with Harness(target, observer=notes, checkpoint_interval="1h") as h:
        h.write(b"a")
        h.advance(1)
        (assignment,) = h._alive().supervisor.assignments.values()
        assert assignment._entry is not None
        assignment._entry.before_end = before_end
        h.end(children=["7"])
        assert len(tries) == 3
        assert Position.END not in tries
        assert h.checkpoint == Position.END
        assert len([subject for subject in notes.named("problem") if "follow" in str(subject)]) == 1  # reported once


def test_what_is_done_is_saved_while_the_end_waits_and_a_drain_does_not_wait_for_it() -> None:
    async def before_end() -> None:
        raise StoreUnavailableError("gone")

    with Harness(failing({}), checkpoint_interval="60s") as h:
        h.write(b"a", b"b")
        h.advance(1)
        (assignment,) = h._alive().supervisor.assignments.values()
        assert assignment._entry is not None
        assignment._entry.before_end = before_end
        h.script.ended[P0] = ()
        h.advance(61)
        assert h.checkpoint == 1
        before = h.time
        h.stop()
        assert h.time - before < 1
        assert h.checkpoint == 1


# -- manual code and the failure policy ----------------------------------------------------------------------------------


@pytest.mark.parametrize("policy", ["dead_letter", "skip"])
def test_what_was_put_aside_need_not_be_checkpointed_by_the_code(policy: str) -> None:
    @record_processor(checkpoint="manual")
    def handle(record: Record, context: Context) -> None:
        if record.value == b"bad":
            raise ValueError("bad")
        context.checkpoint()

    with Harness(handle, on_failure=policy, retry_attempts=1) as h:
        h.write(b"a", b"bad")
        h.advance(1)
        assert h.put_aside == [(1, policy)]
        h.end(children=["7"])
        assert h.checkpoint == Position.END
        assert h.halted is None


def test_an_end_that_is_refused_is_not_asked_for_as_fast_as_possible() -> None:
    asked: list[float] = []

    class Waiting(Processor):
        checkpoint = "manual"

        def process(self, batch: Batch, context: Context) -> None:
            context.checkpoint()

        def partition_ended(self, context: Context) -> None:
            asked.append(h.time)

    with Harness(Waiting, retry_backoff="0s") as h:
        h.write(b"a")
        h.advance(1)
        h.script.ended[P0] = ()
        h.advance(10)
        assert 90 <= len(asked) <= 101
        assert h.halted is not None
        h.crash()
