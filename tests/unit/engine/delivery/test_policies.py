"""What becomes of a record that failed for good: each policy, its limit, and what happens when the dead letter cannot be written."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from streamkit.errors import BrokerUnavailableError, DeadLetterError, RetriesExhaustedError
from streamkit.model import Batch, Record
from streamkit.outcome import Outcome, Reject, Retry, Stop
from streamkit.processing import Context, Processor, processor, record_processor
from streamkit.testing import Harness
from tests.unit.engine.rig import Notes, failing, values

ASIDE = ["dead_letter", "skip"]


def letters(h: Harness) -> list[bytes | None]:
    return [letter.value for letter in h.dead_letters]


@pytest.mark.parametrize("policy", ASIDE)
def test_a_record_that_failed_for_good_is_put_aside_and_the_others_go_on(policy: str) -> None:
    with Harness(failing({b"bad": 99}), on_failure=policy, retry_attempts=3) as h:
        h.deliver(b"a", b"bad", b"c")
        assert h.put_aside == [(1, policy)]
        assert letters(h) == ([b"bad"] if policy == "dead_letter" else [])
        assert values(h) == [b"a", b"bad", b"bad", b"bad", b"c"]
        assert h.halted is None
        assert h.checkpoint == 2


@pytest.mark.parametrize("policy", ASIDE)
def test_the_attempts_come_first(policy: str) -> None:
    with Harness(failing({b"bad": 2}), on_failure=policy, retry_attempts=3) as h:
        h.deliver(b"bad")
        assert h.put_aside == []
        assert len(h.errors) == 2


@pytest.mark.parametrize("policy", ASIDE)
def test_reject_and_reject_on_are_put_aside_at_once(policy: str) -> None:
    @record_processor(reject_on=(LookupError,))
    def handle(record: Record, context: Context) -> Outcome | None:
        if record.value == b"raise":
            raise KeyError("no such customer")
        return Reject("malformed") if record.value == b"return" else None

    with Harness(handle, on_failure=policy) as h:
        h.deliver(b"a", b"raise", b"b", b"return", b"c")
        assert h.put_aside == [(1, policy), (3, policy)]
        assert values(h) == [b"a", b"raise", b"b", b"return", b"c"]
        assert h.checkpoint == 4


@pytest.mark.parametrize("policy", ASIDE)
def test_stop_is_stop_whatever_the_policy(policy: str) -> None:
    @record_processor
    def handle(record: Record, context: Context) -> Outcome | None:
        return Stop("enough") if record.value == b"b" else None

    with Harness(handle, on_failure=policy) as h:
        h.deliver(b"a", b"b", b"c")
        assert not h.is_running
        assert h.put_aside == []
    assert h.exit_code == 1
    assert h.checkpoint == 0


def test_a_hook_cannot_be_put_aside() -> None:
    class Never(Processor):
        def initialize(self, context: Context) -> None:
            raise ConnectionError("database away")

    with Harness(Never, on_failure="dead_letter", retry_attempts=2) as h:
        assert isinstance(h.halted, RetriesExhaustedError)
        assert h.dead_letters == []


# -- the dead letter cannot be written -----------------------------------------------------------------------------------


def test_a_dead_letter_that_cannot_be_written_halts_the_partition_and_nothing_is_lost() -> None:
    notes = Notes()
    with Harness(failing({b"bad": 99}), on_failure="dead_letter", retry_attempts=2, retry_backoff="0s", observer=notes) as h:
        h.script.fail("send", BrokerUnavailableError("full"), times=2)
        h.deliver(b"a", b"bad", b"c")
        assert isinstance(h.halted, DeadLetterError)
        assert "full" in str(h.halted)
        h.advance(6)
        assert h.checkpoint == 0
        assert b"c" not in values(h)
        h.advance(26)  # the same record again, and the write: it fails once more
        assert len(notes.named("halted")) == 2
        assert values(h).count(b"bad") == 4
        h.advance(61)
        h.settle()
        assert letters(h) == [b"bad"]
        assert h.put_aside == [(1, "dead_letter")]
        assert values(h).count(b"bad") == 6
        assert h.checkpoint == 2
        assert len(notes.named("recovered")) == 1


def test_a_crash_before_the_dead_letter_is_acknowledged_delivers_the_record_again() -> None:
    with Harness(failing({b"bad": 99}), on_failure="dead_letter", retry_attempts=1) as h:
        h.script.fail("send", BrokerUnavailableError("full"), times=1)
        h.deliver(b"a", b"bad")
        h.advance(6)
        h.crash()
        h.deliver(b"c")
        assert letters(h) == [b"bad"]
        assert h.put_aside == [(1, "dead_letter")]
        assert values(h) == [b"a", b"bad", b"bad", b"c"]


# -- the limit -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("policy", ASIDE)
def test_too_many_in_a_row_halt_the_partition(policy: str) -> None:
    @record_processor
    def handle(record: Record, context: Context) -> None:
        raise ValueError("a bad deploy")

    with Harness(handle, on_failure=policy, retry_attempts=1, dead_letter_max_consecutive=3) as h:
        h.deliver(*[b"x"] * 10)
        assert [sequence for sequence, _ in h.put_aside] == [0, 1, 2]
        assert isinstance(h.halted, RetriesExhaustedError)
        assert h.halted.record == "stream/0/3"
        assert "STREAMKIT_DEAD_LETTER_MAX_CONSECUTIVE=3" in str(h.halted)
        assert "3 records in a row were put aside before it" in str(h.halted)
        h.advance(6)
        assert h.checkpoint == 2


def test_a_success_ends_the_row() -> None:
    bad = {b"bad": 99}
    with Harness(failing(bad), on_failure="skip", retry_attempts=1, dead_letter_max_consecutive=2) as h:
        h.deliver(b"bad", b"bad", b"good", b"bad", b"bad", b"good")
        assert len(h.put_aside) == 4
        assert h.halted is None
        h.deliver(b"bad", b"bad", b"bad")
        assert h.halted is not None


def test_a_record_whose_letter_is_refused_again_and_again_does_not_count_again_and_again() -> None:
    with Harness(failing({b"bad": 99}), on_failure="dead_letter", retry_attempts=1, dead_letter_max_consecutive=1) as h:
        h.script.fail("send", BrokerUnavailableError("full"), times=3)
        h.deliver(b"bad")
        for wait in (31, 61, 121):
            assert isinstance(h.halted, DeadLetterError)
            h.advance(wait)
        h.settle()
        assert h.put_aside == [(0, "dead_letter")]


# -- batches -------------------------------------------------------------------------------------------------------------


def test_a_batch_without_names_counts_with_all_its_records() -> None:
    @processor
    def handle(batch: Batch, context: Context) -> None:
        if b"bad" in batch.values():
            raise ValueError("one of them")

    with Harness(handle, on_failure="dead_letter", retry_attempts=2, max_batch=3, dead_letter_max_consecutive=5) as h:
        h.deliver(b"a", b"bad", b"c", b"d", b"e", b"f")
        assert letters(h) == [b"a", b"bad", b"c"]
        assert h.checkpoint == 5
    with Harness(handle, on_failure="dead_letter", retry_attempts=2, dead_letter_max_consecutive=5) as h:
        h.deliver(b"a", b"bad", b"c", b"d", b"e", b"f")
        assert isinstance(h.halted, RetriesExhaustedError)
        assert "STREAMKIT_BISECT=true" in h.halted.fix
        assert "the batch of 6 records" in str(h.halted)
        assert h.dead_letters == []
        assert h.checkpoint is None


def test_a_batch_that_names_the_record_loses_only_that_one() -> None:
    @processor
    def handle(batch: Batch, context: Context) -> Mapping[Record, Outcome] | None:
        return {record: Reject("bad") for record in batch if record.value == b"bad"}

    with Harness(handle, on_failure="dead_letter") as h:
        h.deliver(b"a", b"bad", b"c", b"bad", b"e")
        assert h.put_aside == [(1, "dead_letter"), (3, "dead_letter")]
        assert [len(call.records) for call in h.calls] == [5, 3, 1]
        assert h.checkpoint == 4


def test_a_named_record_has_its_attempts_before_it_is_put_aside() -> None:
    @processor
    def handle(batch: Batch, context: Context) -> Mapping[Record, Outcome] | None:
        return {record: Retry() for record in batch if record.value == b"bad"}

    with Harness(handle, on_failure="skip", retry_attempts=3) as h:
        h.deliver(b"a", b"bad", b"c")
        assert h.put_aside == [(1, "skip")]
        assert [(len(call.records), call.attempt) for call in h.calls] == [(3, 1), (2, 2), (2, 3), (1, 1)]


# -- beside the end of an assignment -------------------------------------------------------------------------------------


@pytest.mark.parametrize("policy", ASIDE)
def test_what_was_put_aside_before_a_revoke_is_not_delivered_again(policy: str) -> None:
    with Harness(failing({b"bad": 99}), on_failure=policy, retry_attempts=1, checkpoint_interval="1h") as h:
        h.write(b"a", b"bad")
        h.advance(1)
        h.revoke()
        h.assign()
        assert values(h) == [b"a", b"bad"]
        assert len(h.put_aside) == 1


def test_a_letter_that_is_on_its_way_is_waited_for_by_a_revoke() -> None:
    with Harness(failing({b"bad": 99}), on_failure="dead_letter", retry_attempts=1) as h:
        h.script.send_seconds = 10
        h.write(b"a", b"bad", b"c")
        h.advance(2)
        h.revoke(deadline=20)
        assert h.put_aside == [(1, "dead_letter")]
        assert h.checkpoint == 1
        h.assign()
        assert values(h) == [b"a", b"bad", b"c"]


def test_a_letter_that_comes_too_late_for_a_revoke_counts_for_nothing() -> None:
    with Harness(failing({b"bad": 99}), on_failure="dead_letter", retry_attempts=1, checkpoint_interval="1s") as h:
        h.script.send_seconds = 60
        h.write(b"a", b"bad", b"c")
        h.advance(2)
        h.revoke(deadline=5)
        assert h.checkpoint == 0
        h.script.send_seconds = 0
        h.assign()
        assert letters(h).count(b"bad") >= 1
        assert values(h) == [b"a", b"bad", b"bad", b"c"]
        assert h.checkpoint == 2


@pytest.mark.parametrize("kind", ["halt", "retry"])
def test_checkpoints_of_what_was_done_before_go_on_while_a_record_waits(kind: str) -> None:
    """Also of a processor that has to be flushed first."""

    class Buffering(Processor):
        def process(self, batch: Batch, context: Context) -> None:
            if b"bad" in batch.values():
                raise ValueError

        def flush(self, context: Context) -> None:
            return None

    attempts = 1 if kind == "halt" else 50
    with Harness(Buffering, retry_attempts=attempts, retry_backoff="1h", retry_max_backoff="1h", max_batch=1, seed=2) as h:
        h.write(b"a", b"bad")
        h.advance(11)
        assert h.errors
        assert (h.halted is not None) == (kind == "halt")
        assert h.checkpoint == 0


def test_a_record_that_was_submitted_by_its_own_handler_does_not_make_the_next_one_guilty() -> None:
    @record_processor
    def handle(record: Record, context: Context) -> None:
        if record.value == b"own":
            context.checkpoint(record.position)
            raise ValueError("after it said that it was done")

    with Harness(handle, on_failure="dead_letter", retry_attempts=1) as h:
        h.deliver(b"own", b"b")
        assert h.put_aside == []
        assert values(h) == [b"own", b"b"]
        assert h.checkpoint == 1
