"""BISECT: a failing batch is halved until one record is left, which has its attempts and then the policy. The rest goes on whole."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamkit.model import Batch, Record
from streamkit.outcome import Outcome, Reject, Retry, Stop
from streamkit.processing import Context, processor, record_processor
from streamkit.testing import Harness

ATTEMPTS = 4


def rejecting(bad: set[int], answer: Callable[[], Outcome | None] | None = None) -> Callable[..., object]:
    """Fails as a whole at batches that hold one of these."""

    @processor
    def handle(batch: Batch, context: Context) -> Outcome | None:
        if any(record.position.sequence in bad for record in batch):
            if answer is not None:
                return answer()
            raise ValueError("one of them")
        return None

    return handle


def finished(h: Harness) -> list[int | None]:
    """Positions in the order in which a call finished them."""
    return [record.position.sequence for record in h.seen]


@pytest.mark.parametrize("poison", [0, 1, 499, 500, 998, 999])
def test_one_poison_record_is_found_in_o_of_log_n_calls(poison: int) -> None:
    with Harness(rejecting({poison}), bisect=True, on_failure="skip", retry_attempts=ATTEMPTS, max_batch=1000) as h:
        h.deliver(*[b"x"] * 1000)
        assert h.put_aside == [(poison, "skip")]
        assert len(h.calls) <= 2 * math.log2(1000) + ATTEMPTS
        assert h.checkpoint == 999


def test_the_poison_record_alone_has_all_attempts_and_the_rest_goes_on_whole() -> None:
    with Harness(rejecting({5}), bisect=True, on_failure="dead_letter", retry_attempts=3) as h:
        h.deliver(*[b"x"] * 16)
        assert h.put_aside == [(5, "dead_letter")]
        calls = [(call.records[0].position.sequence, len(call.records), call.attempt) for call in h.calls]
        assert calls == [(0, 16, 1), (0, 8, 1), (0, 4, 1), (4, 2, 1), (4, 1, 1), (5, 1, 1), (5, 1, 2), (5, 1, 3), (6, 10, 1)]


def test_records_before_it_are_finished_as_they_are_found_good() -> None:
    seen: list[int | None] = []

    @processor
    def handle(batch: Batch, context: Context) -> None:
        if batch.last.sequence == 6 and len(batch) == 1:
            seen.append(h.checkpoint)  # type: ignore[arg-type]
        if any(record.position.sequence == 6 for record in batch):
            raise ValueError

    with Harness(handle, bisect=True, retry_attempts=2, retry_backoff="1h", retry_max_backoff="2h", seed=3) as h:
        h.write(*[b"x"] * 8)
        h.advance(10)
        assert h.checkpoint == 5
        assert h.errors


def test_without_it_a_failing_batch_is_tried_again_whole() -> None:
    with Harness(rejecting({5}), on_failure="skip", retry_attempts=3) as h:
        h.deliver(*[b"x"] * 8)
        assert [len(call.records) for call in h.calls] == [8, 8, 8]
        assert len(h.put_aside) == 8


def test_a_failure_that_passes_costs_no_record() -> None:
    left = [3]

    @processor
    def handle(batch: Batch, context: Context) -> None:
        if left[0] > 0:
            left[0] -= 1
            raise ConnectionError("database away")

    with Harness(handle, bisect=True, on_failure="dead_letter") as h:
        h.deliver(*[b"x"] * 64)
        assert h.put_aside == []
        assert [len(call.records) for call in h.calls][:5] == [64, 32, 16, 8, 4]
        assert h.checkpoint == 63


@pytest.mark.parametrize("answer", [Retry(), Reject("one of them")])
def test_an_outcome_for_the_whole_batch_is_halved_as_well(answer: Outcome) -> None:
    with Harness(rejecting({3}, lambda: answer), bisect=True, on_failure="skip", retry_attempts=2) as h:
        h.deliver(*[b"x"] * 8)
        assert h.put_aside == [(3, "skip")]
        alone = [call for call in h.calls if [r.position.sequence for r in call.records] == [3]]
        assert len(alone) == (1 if isinstance(answer, Reject) else 2)


def test_retry_after_is_waited_for_between_the_halves() -> None:
    times = []

    @processor
    def handle(batch: Batch, context: Context) -> Outcome | None:
        times.append(h.time)
        return Retry(after=7.0) if len(times) == 1 else None

    with Harness(handle, bisect=True) as h:
        h.deliver(b"a", b"b")
        assert times[1] - times[0] == pytest.approx(7.0, abs=0.01)


def test_stop_is_not_halved() -> None:
    with Harness(rejecting({3}, lambda: Stop("enough")), bisect=True) as h:
        h.deliver(*[b"x"] * 8)
        assert len(h.calls) == 1
    assert h.exit_code == 1


def test_a_named_record_needs_no_halving() -> None:
    @processor
    def handle(batch: Batch, context: Context) -> Mapping[Record, Outcome] | None:
        return {record: Retry() for record in batch if record.position.sequence == 5}

    with Harness(handle, bisect=True, on_failure="skip", retry_attempts=2) as h:
        h.deliver(*[b"x"] * 8)
        assert h.put_aside == [(5, "skip")]
        assert [len(call.records) for call in h.calls] == [8, 1, 2]


def test_halving_does_not_touch_handlers_of_records() -> None:
    @record_processor
    def handle(record: Record, context: Context) -> None:
        if record.position.sequence == 5:
            raise ValueError

    with Harness(handle, bisect=True, on_failure="skip", retry_attempts=3) as h:
        h.deliver(*[b"x"] * 8)
        assert [call.records[0].position.sequence for call in h.calls] == [0, 1, 2, 3, 4, 5, 5, 5, 6, 7]
        assert h.put_aside == [(5, "skip")]


def test_a_halted_poison_record_is_tried_alone_again() -> None:
    bad = {5}
    with Harness(rejecting(bad), bisect=True, retry_attempts=2) as h:
        h.deliver(*[b"x"] * 8)
        assert h.halted is not None
        assert "record stream/0/5 failed after 2 attempts" in str(h.halted)
        count = len(h.calls)
        bad.clear()
        h.advance(31)
        h.settle()
        assert [len(call.records) for call in h.calls[count:]] == [1, 2]
        assert h.checkpoint == 7


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 70), st.sets(st.integers(0, 69), max_size=6), st.integers(1, 3), st.integers(1, 30))
def test_every_good_record_is_done_in_order_and_every_bad_one_is_put_aside(
    total: int, bad: set[int], attempts: int, max_batch: int
) -> None:
    bad = {position for position in bad if position < total}
    done: list[int] = []

    @processor
    def handle(batch: Batch, context: Context) -> None:
        found = [record.position.sequence for record in batch]
        if bad.intersection(found):
            raise ValueError
        done.extend(found)  # type: ignore[arg-type]

    with Harness(handle, bisect=True, on_failure="skip", retry_attempts=attempts, retry_backoff="0s", max_batch=max_batch) as h:
        h.deliver(*[b"x"] * total)
        assert done == [position for position in range(total) if position not in bad], "each good one once, in order"
        assert [sequence for sequence, _ in h.put_aside] == sorted(bad)
        alone = [call.records[0].position.sequence for call in h.calls if len(call.records) == 1]
        assert all(alone.count(position) == attempts for position in bad)
        batches = math.ceil(total / max_batch) + total // 10 + 2  # the reader's polls cut them as well
        assert len(h.calls) <= 2 * batches + len(bad) * (2 * math.log2(max(2, max_batch)) + attempts + 2)
