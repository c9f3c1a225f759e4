"""The worker's promises about order, retries and failures, seen through the whole engine."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

import pytest

from streamkit.errors import RetriesExhaustedError
from streamkit.model import Batch, Record
from streamkit.outcome import Outcome, Reject, Retry, Stop
from streamkit.processing import Context, Processor, processor, record_processor
from streamkit.testing import Harness
from tests.unit.engine.rig import Notes, failing, values

ONE_SECOND = {"retry_backoff": "1s", "retry_max_backoff": "64s"}


def test_records_come_in_order_and_each_once() -> None:
    with Harness(failing({})) as h:
        h.deliver(*[b"%d" % n for n in range(25)])
        assert values(h) == [b"%d" % n for n in range(25)]
        assert h.checkpoint == 24


def test_a_failing_record_is_tried_again_until_it_succeeds() -> None:
    with Harness(failing({b"b": 2})) as h:
        h.deliver(b"a", b"b", b"c")
        assert values(h) == [b"a", b"b", b"b", b"b", b"c"]
        assert [str(error) for error in h.errors] == ["no b'b'", "no b'b'"]
        assert h.checkpoint == 2


def test_records_before_the_failing_one_never_run_again() -> None:
    with Harness(failing({b"5": 3})) as h:
        h.deliver(b"1", b"2", b"3", b"4", b"5", b"6")
        assert [h.seen.count(record) for record in h.seen[:4]] == [1, 1, 1, 1]
        assert values(h) == [b"1", b"2", b"3", b"4", b"5", b"5", b"5", b"5", b"6"]
        assert len(h.errors) == 3


def test_a_failing_batch_is_tried_again_whole() -> None:
    calls = []

    @processor
    def handle(batch: Batch, context: Context) -> None:
        calls.append((batch.values(), context.attempt))
        if context.attempt == 1:
            raise ValueError

    with Harness(handle) as h:
        h.deliver(b"a", b"b")
        assert calls == [([b"a", b"b"], 1), ([b"a", b"b"], 2)]
        assert len(h.errors) == 1


def test_raising_and_retry_share_one_budget() -> None:
    @record_processor
    def handle(record: Record, context: Context) -> Outcome | None:
        if context.attempt % 2:
            raise ValueError
        return Retry()

    with Harness(handle, retry_attempts=4) as h:
        h.deliver(b"a")
        assert isinstance(h.halted, RetriesExhaustedError)
        assert h.halted.attempts == 4
        assert [call.attempt for call in h.calls] == [1, 2, 3, 4]


def test_each_record_has_a_budget_of_its_own() -> None:
    with Harness(failing({b"a": 2, b"b": 2}), retry_attempts=3) as h:
        h.deliver(b"a", b"b")
        assert h.checkpoint == 1
        assert len(h.errors) == 4


def test_the_record_after_a_retried_one_is_at_its_first_attempt() -> None:
    with Harness(failing({b"a": 1})) as h:
        h.deliver(b"a", b"b")
        assert [(call.records[0].value, call.attempt) for call in h.calls] == [(b"a", 1), (b"a", 2), (b"b", 1)]
        assert len(h.errors) == 1


def test_waits_between_attempts_are_jittered_over_the_whole_range() -> None:
    times: list[float] = []
    clock: list[Harness] = []

    @record_processor
    def handle(record: Record, context: Context) -> None:
        times.append(clock[0].time)
        raise ValueError

    waits: list[list[float]] = []
    for seed in range(12):
        times.clear()
        with Harness(handle, seed=seed, retry_attempts=4, retry_backoff="10s", retry_max_backoff="20s") as h:
            clock[:] = [h]
            h.deliver(b"a")
            assert h.errors
        waits.append([after - before for before, after in pairwise(times)])
    firsts, seconds, thirds = zip(*waits, strict=True)
    assert max(firsts) <= 10.001
    assert max(seconds) <= 20.001
    assert max(thirds) <= 20.001  # RETRY_MAX_BACKOFF
    assert max(seconds) > 10
    assert min(firsts) < 2.5  # full jitter, not equal jitter
    assert max(firsts) > 7.5


def test_retry_after_is_waited_for_exactly() -> None:
    times = []

    @record_processor
    def handle(record: Record, context: Context) -> Outcome | None:
        times.append(h.time)
        return Retry(after=7.0) if context.attempt == 1 else None

    with Harness(handle) as h:
        h.deliver(b"a")
        assert times[1] - times[0] == pytest.approx(7.0, abs=0.01)


def test_an_exhausted_record_halts_its_partition_and_nothing_is_skipped() -> None:
    notes = Notes()
    with Harness(failing({b"bad": 99}), retry_attempts=2, observer=notes) as h:
        h.deliver(b"a", b"bad", b"c")
        assert isinstance(h.halted, RetriesExhaustedError)
        assert h.halted.record == "stream/0/1"
        assert isinstance(h.halted.__cause__, ValueError)
        h.advance(6)
        assert h.checkpoint == 0
        assert b"c" not in values(h)
    assert h.exit_code == 1
    assert len(notes.named("halted")) == 1


def test_a_halted_partition_leaves_the_others_alone() -> None:
    with Harness(failing({b"bad": 99}), partitions=2, retry_attempts=1) as h:
        h.deliver(b"bad", partition="0")
        h.deliver(b"a", b"b", partition="1")
        assert h.halted is not None
        assert h.checkpoint_of("1") == 1


def test_a_halted_partition_tries_again_after_a_long_wait_and_recovers() -> None:
    notes = Notes()
    with Harness(failing({b"bad": 5}), retry_attempts=2, retry_backoff="0s", observer=notes) as h:
        h.deliver(b"bad", b"c")
        assert len(h.errors) == 2
        h.advance(29)
        assert len(h.errors) == 2
        h.advance(2)  # 30 s after the first halt: two more attempts, halts again
        assert len(h.errors) == 4
        h.advance(57)
        assert len(h.errors) == 4
        h.advance(5)  # 60 s after the second
        assert h.halted is None
        h.settle()
        assert h.checkpoint == 1
    assert h.exit_code == 0
    assert len(notes.named("halted")) == 2
    assert len(notes.named("recovered")) == 1


def test_on_failure_stop_drains_the_process_with_exit_code_1() -> None:
    with Harness(failing({b"bad": 99}), retry_attempts=2, on_failure="stop") as h:
        h.deliver(b"a", b"bad", b"c")
        assert not h.is_running
        assert h.errors
    assert h.exit_code == 1
    assert h.checkpoint == 0


def test_stop_drains_whatever_the_policy_is() -> None:
    @record_processor
    def handle(record: Record, context: Context) -> Outcome | None:
        return Stop("enough") if record.value == b"b" else None

    with Harness(handle) as h:
        h.deliver(b"a", b"b", b"c")
        assert not h.is_running
    assert h.exit_code == 1
    assert values(h) == [b"a", b"b"]
    assert h.checkpoint == 0
    assert any("enough" in problem for problem in h.problems)


def test_reject_is_not_tried_again() -> None:
    @record_processor
    def handle(record: Record, context: Context) -> Outcome | None:
        return Reject("malformed")

    with Harness(handle) as h:
        h.deliver(b"a")
        assert "malformed" in str(h.halted)
        assert len(h.calls) == 1


def test_reject_on_is_not_tried_again() -> None:
    with Harness(failing({b"a": 9}, error=KeyError, reject_on=(LookupError,))) as h:
        h.deliver(b"a")
        assert h.halted is not None
        assert len(h.calls) == 1


def test_other_exceptions_than_reject_on_are_tried_again() -> None:
    with Harness(failing({b"a": 1}, error=ValueError, reject_on=(LookupError,))) as h:
        h.deliver(b"a")
        assert len(h.errors) == 1
        assert h.checkpoint == 0


def test_a_mapping_names_what_is_not_done_and_the_rest_is_tried_again_from_the_first_of_those() -> None:
    calls = []

    @processor
    def handle(batch: Batch, context: Context) -> Mapping[Record, Outcome] | None:
        calls.append(batch.values())
        if context.attempt > 1 or len(calls) > 1:
            return None
        records = list(batch)
        return {records[3]: Retry(), records[1]: Retry()}

    with Harness(handle) as h:
        h.deliver(b"a", b"b", b"c", b"d")
        assert calls == [[b"a", b"b", b"c", b"d"], [b"b", b"c", b"d"]]
        assert h.checkpoint == 3


def test_a_mapping_of_a_record_that_is_not_in_the_batch_is_a_failure() -> None:
    kept: list[Record] = []

    @processor
    def handle(batch: Batch, context: Context) -> Mapping[Record, Outcome] | None:
        kept.extend(batch)
        return {kept[0]: Retry()}

    with Harness(handle, retry_attempts=1, max_batch=1) as h:
        kept.extend(h.write(b"x"))
        h.settle()
        h.deliver(b"y")
        assert h.halted is not None


def test_a_wrong_answer_is_a_failure_that_says_what_is_allowed() -> None:
    @record_processor
    def handle(record: Record, context: Context) -> object:
        return "done"

    with Harness(handle, retry_attempts=1) as h:
        h.deliver(b"a")
        assert "Retry, Reject or Stop, not str" in str(h.halted)


def test_a_retry_redelivers_only_what_lies_after_the_last_submitted_checkpoint() -> None:
    calls = []

    @processor
    def handle(batch: Batch, context: Context) -> None:
        calls.append(batch.values())
        if len(calls) == 1:
            context.checkpoint(list(batch)[1].position)
            raise ValueError

    with Harness(handle) as h:
        h.deliver(b"a", b"b", b"c", b"d")
        assert calls == [[b"a", b"b", b"c", b"d"], [b"c", b"d"]]
        assert len(h.errors) == 1
        assert h.checkpoint == 3


def test_a_batch_that_was_submitted_whole_is_not_tried_again() -> None:
    @processor
    def handle(batch: Batch, context: Context) -> None:
        context.checkpoint()
        raise ValueError

    with Harness(handle) as h:
        h.deliver(b"a", b"b")
        assert len(h.calls) == 1
        assert len(h.errors) == 1
        assert h.checkpoint == 1


def test_process_that_raises_system_exit_drains_the_process() -> None:
    @record_processor
    def handle(record: Record, context: Context) -> None:
        if record.value == b"b":
            raise SystemExit(5)

    with Harness(handle) as h:
        h.deliver(b"a", b"b")
        assert not h.is_running
    assert h.exit_code == 1
    assert h.checkpoint == 0


def test_a_coroutine_handler_that_raises_system_exit_keeps_what_it_has_done() -> None:
    @record_processor
    async def handle(record: Record, context: Context) -> None:
        if record.value == b"b":
            raise SystemExit(5)

    with Harness(handle) as h:
        h.deliver(b"a", b"b")
        assert not h.is_running
    assert h.exit_code == 1
    assert h.checkpoint == 0


def test_a_cancelled_error_of_the_users_own_is_a_failure_like_another() -> None:
    import asyncio

    @record_processor
    async def handle(record: Record, context: Context) -> None:
        if context.attempt == 1:
            raise asyncio.CancelledError

    with Harness(handle) as h:
        h.deliver(b"a")
        assert h.is_running
        assert h.checkpoint == 0


def test_a_cancelled_error_in_a_batch_or_a_hook_is_a_failure_like_another() -> None:
    import asyncio

    class Cancelled(Processor):
        async def initialize(self, context: Context) -> None:
            if context.attempt == 1:
                raise asyncio.CancelledError

        async def process(self, batch: Batch, context: Context) -> None:
            if context.attempt == 1:
                raise asyncio.CancelledError

    with Harness(Cancelled) as h:
        h.deliver(b"a")
        assert h.is_running
        assert h.checkpoint == 0
        assert h.hooks == ["initialize", "initialize", "process", "process"]
