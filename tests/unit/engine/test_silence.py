"""What never answers is seen: a store, a dead-letter target, code that does not checkpoint; and a drain saves what it can."""

from __future__ import annotations

import asyncio

import pytest

from streamkit.engine.status import not_ready
from streamkit.model import Partition, Position, Record
from streamkit.plugin import Observer
from streamkit.processing import Context, record_processor
from streamkit.testing import Harness
from tests.unit.engine.rig import failing
from tests.unit.engine.test_health import line, reason, status


class Outages(Observer):
    def __init__(self) -> None:
        self.said: list[str] = []

    def on_store_down(self, error: Exception, partitions: int) -> None:
        self.said.append(f"down: {error}")

    def on_store_up(self, seconds: float, partitions: int) -> None:
        self.said.append("up")


def test_a_save_that_is_not_answered_is_an_outage_after_half_a_minute() -> None:
    outages = Outages()
    with Harness(failing({}), observer=outages) as h:
        h.script.save_seconds = 100.0
        h.write(b"a")
        h.advance(20)
        assert outages.said == []
        h.advance(30)
        assert outages.said == ["down: the store has not answered a save for 30s"]
        assert reason(h).kind == "store"
        assert not_ready(status(h)) == ["stream/0: the store: the store has not answered a save for 30s"]
        h.script.save_seconds = 0.0
        h.advance(100)
        assert outages.said[1:] == ["up"]
        assert line(h).reason is None


def test_a_dead_letter_target_that_does_not_answer_is_seen() -> None:
    with Harness(failing({b"bad": 99}), on_failure="dead_letter", retry_attempts=1) as h:
        h.script.send_seconds = 100.0
        h.write(b"bad")
        h.advance(5)
        assert "its dead letter is being written" in reason(h).text
        assert not_ready(status(h)) == []
        h.advance(30)
        assert reason(h).kind == "dead_letter"
        assert not_ready(status(h)) == [f"stream/0: {reason(h).text}"]
        assert len([problem for problem in h.problems if "has not answered for 30s" in problem]) == 1
        h.advance(100)
        assert line(h).reason is None
        assert h.put_aside == [(0, "dead_letter")]


def test_reading_that_waits_for_a_manual_checkpoint_says_so() -> None:
    @record_processor(checkpoint="manual")
    def handle(record: Record, context: Context) -> None:
        return None

    with Harness(handle, max_in_flight=10, max_batch=10) as h:
        h.write(*[b"x"] * 40)
        h.advance(60)
        assert (reason(h).kind, reason(h).text) == (
            "checkpoint",
            "waits for a checkpoint of the processor: 10 records were read after the last one",
        )
        h.crash()


@pytest.mark.parametrize("policy", ["dead_letter", "skip"])
def test_what_was_put_aside_is_counted_whatever_observers_do(policy: str) -> None:
    with Harness(failing({b"bad": 99}), on_failure=policy, retry_attempts=1) as h:
        h.deliver(b"bad", b"good", b"bad")
        assert h.put_aside
        totals = h._alive().supervisor.health.totals()[Partition("stream", "0")]
        assert totals.put_aside == {policy: 2}
        h.revoke()
        h.deliver(b"bad")
        assert h._alive().supervisor.health.totals()[Partition("stream", "0")].put_aside == {policy: 3}
        assert len(h.put_aside) == 3


def test_a_call_that_hangs_at_a_drain_does_not_keep_what_was_done_before_it_from_being_saved() -> None:
    @record_processor
    async def handle(record: Record, context: Context) -> None:
        if record.value == b"slow":
            await asyncio.sleep(10.0**9)

    with Harness(handle, checkpoint_interval="1h", checkpoint_records=1000) as h:
        h.write(b"a", b"b", b"slow")
        h.advance(1)
        assert h.checkpoint is None
        h._alive().supervisor.stop("shutdown")
        h.advance(1)
        assert h.checkpoint == 1
        assert h.checkpoints[-1].at.position == Position(1)
        h.crash()
