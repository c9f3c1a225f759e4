"""A call that fails after it has said by `context.checkpoint` that it was done: nothing comes again, and nothing goes unsaid."""

from __future__ import annotations

import pytest

from streamkit.model import Batch, Partition, Record
from streamkit.outcome import Outcome, Reject, Stop
from streamkit.plugin import Observer
from streamkit.processing import Context, processor, record_processor
from streamkit.testing import Harness
from tests.unit.engine.rig import values

ORDERS = ["partition", "key"]
THREE = ((b"a", b"k1"), (b"b", b"k2"), (b"c", b"k3"))


class Attempts(Observer):
    def __init__(self) -> None:
        self.failed: list[str] = []

    def on_attempt_failed(self, partition: Partition, error: BaseException, attempt: int) -> None:
        self.failed.append(str(error))


@pytest.mark.parametrize("ordering", ORDERS)
def test_a_failure_is_told_and_the_record_does_not_come_again(ordering: str) -> None:
    @record_processor
    def handle(record: Record, context: Context) -> None:
        context.checkpoint()
        raise ValueError(f"after {(record.value or b'').decode()}")

    attempts = Attempts()
    with Harness(handle, observer=attempts, ordering=ordering) as h:
        h.deliver(*THREE)
        assert sorted(attempts.failed) == ["after a", "after b", "after c"]
        assert sorted(value or b"" for value in values(h)) == [b"a", b"b", b"c"]
        assert h.checkpoint == 2
        assert len(h.errors) == 3


@pytest.mark.parametrize("ordering", ORDERS)
@pytest.mark.parametrize("way", ["stop", "exit"])
def test_a_stop_stops(ordering: str, way: str) -> None:
    @record_processor
    def handle(record: Record, context: Context) -> Outcome | None:
        context.checkpoint()
        if record.value != b"b":
            return None
        if way == "exit":
            raise SystemExit(1)
        return Stop("enough")

    with Harness(handle, ordering=ordering) as h:
        h.write(*THREE)
        h.advance(1)
        assert not h.is_running
    assert h.exit_code == 1


@pytest.mark.parametrize("ordering", ORDERS)
@pytest.mark.parametrize("by", ["record", "batch"])
def test_a_record_that_is_rejected_by_name_is_put_aside(ordering: str, by: str) -> None:
    @record_processor
    def one(record: Record, context: Context) -> Outcome | None:
        context.checkpoint()
        return Reject("unreadable") if record.value == b"b" else None

    @processor
    def several(batch: Batch, context: Context) -> dict[Record, Outcome]:
        context.checkpoint()
        return {record: Reject("unreadable") for record in batch if record.value == b"b"}

    with Harness(one if by == "record" else several, ordering=ordering, on_failure="dead_letter") as h:
        h.deliver(*THREE)
        h.advance(1)
        assert h.put_aside == [(1, "dead_letter")]
        assert [letter.value for letter in h.dead_letters] == [b"b"]
        assert sorted(value or b"" for value in values(h)) == [b"a", b"b", b"c"]
        assert h.checkpoint == 2


@pytest.mark.parametrize("by", ["record", "batch"])
def test_a_manual_processor_that_rejects_by_name_what_it_has_checkpointed_loses_nothing(by: str) -> None:
    @processor(checkpoint="manual")
    def handle(batch: Batch, context: Context) -> dict[Record, Outcome]:
        context.checkpoint()
        return {record: Reject("unreadable") for record in batch if record.value == b"b"}

    with Harness(handle, on_failure="skip", max_batch=1 if by == "record" else 10) as h:
        h.deliver(*THREE)
        assert h.put_aside == [(1, "skip")]
        assert h.checkpoint == 2


def test_a_batch_by_key_that_fails_after_it_was_done_with_some_has_attempts_for_the_others() -> None:
    calls: list[list[bytes | None]] = []

    @processor
    def handle(batch: Batch, context: Context) -> None:
        calls.append(batch.values())
        if len(batch) > 1:
            context.checkpoint(batch.first)
        raise ValueError("no")

    with Harness(handle, ordering="key", retry_attempts=2, on_failure="skip") as h:
        h.deliver(*THREE)
        assert [value for call in calls[1:] for value in call].count(b"a") == 0
        assert sorted(h.put_aside) == [(1, "skip"), (2, "skip")]
        assert h.checkpoint == 2
        assert len(calls) == 1 + 2 * 2
