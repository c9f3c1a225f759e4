"""How each partition stands and why it does not move, in virtual time: to the second, and with the strongest reason first."""

from __future__ import annotations

import asyncio

import pytest

from streamkit.engine.requests import release_request
from streamkit.engine.status import AppStatus, PartitionStatus, Reason, not_ready
from streamkit.errors import BrokerUnavailableError, StoreUnavailableError, StreamGoneError
from streamkit.model import Batch, Record
from streamkit.plugin import Failed
from streamkit.processing import Context, Processor, record_processor
from streamkit.testing import Harness
from tests.unit.engine.rig import P0, failing


def status(h: Harness) -> AppStatus:
    return h._alive().supervisor.health.status()


def line(h: Harness) -> PartitionStatus:
    (one,) = status(h).partitions
    return one


def reason(h: Harness) -> Reason:
    found = line(h).reason
    assert found is not None, line(h)
    return found


def slow(seconds: float) -> object:
    @record_processor
    async def handle(record: Record, context: Context) -> None:
        await asyncio.sleep(seconds)

    return handle


def test_what_moves_has_no_reason_not_to() -> None:
    with Harness(failing({})) as h:
        h.deliver(b"a", b"b")
        one = line(h)
        assert (one.state, one.reason, one.problem, one.owner, str(one.position), str(one.saved)) == (
            "caught up",
            None,
            "",
            "harness",
            "1",
            "1",
        )
        assert (one.lag_records, one.lag_seconds) == (0, 0.0)
        assert not_ready(status(h)) == []


def test_a_retry_says_which_attempt_and_when_the_next_one_is() -> None:
    with Harness(failing({b"bad": 99}), retry_attempts=4, retry_backoff="1h", retry_max_backoff="1h") as h:
        h.write(b"good", b"bad", b"behind")
        h.advance(1)
        before = reason(h)
        assert (line(h).state, before.kind, before.attempt) == ("retrying", "retry", 1)
        assert before.next_seconds is not None
        assert before.text == (f"record stream/0/1: attempt 1 of 4 failed, again in {before.next_seconds:.1f}s: ValueError: no b'bad'")
        h.advance(1)
        after = reason(h)
        assert after.next_seconds == pytest.approx(before.next_seconds - 1)
        assert not_ready(status(h)) == []
        assert line(h).lag_records == 2, "the one that fails and the one behind it"
        assert h.errors
        h.crash()


def test_a_halt_says_since_when_and_when_it_is_tried_again() -> None:
    with Harness(failing({b"bad": 1}), retry_attempts=1) as h:
        h.write(b"bad")
        h.advance(1)
        h.advance(4)
        why = reason(h)
        assert (line(h).state, why.kind) == ("halted", "halt")
        assert why.since_seconds == pytest.approx(5, abs=0.1)
        assert why.next_seconds == pytest.approx(25, abs=0.1)
        assert why.text.startswith("halted: record stream/0/0 failed after 1 attempt: ValueError: no b'bad'; tried again in 2")
        assert not_ready(status(h)) == [f"stream/0: {why.text}"]
        h.advance(30)
        assert (line(h).state, line(h).reason) == ("caught up", None)
        assert h.errors


def test_a_partition_that_cannot_be_read_is_halted_too() -> None:
    with Harness(failing({})) as h:
        h.script.events.append(Failed(P0, StreamGoneError("no such partition")))
        h.advance(1)
        assert (line(h).state, reason(h).kind) == ("halted", "halt")
        assert "no such partition" in reason(h).text


def test_a_stuck_call_is_shown_with_its_time_and_goes_when_it_returns() -> None:
    with Harness(slow(100), stuck_after="10s") as h:
        h.write(b"a")
        h.advance(9)
        assert line(h).state == "running"
        h.advance(3)
        why = reason(h)
        assert (line(h).state, why.kind) == ("stuck", "stuck")
        assert why.since_seconds == pytest.approx(12, abs=0.5)
        assert "await asyncio.sleep(seconds)" in why.stack
        assert not_ready(status(h)) == [f"stream/0: {why.text}"]
        h.settle()
        h.advance(1)
        assert (line(h).state, line(h).reason) == ("caught up", None)


@pytest.mark.parametrize("hangs", ["initialize", "flush", "partition_ended"])
def test_any_hook_that_hangs_is_stuck(hangs: str) -> None:
    class Hooks(Processor):
        async def _maybe(self, hook: str) -> None:
            if hook == hangs:
                await asyncio.sleep(100)

        async def initialize(self, context: Context) -> None:
            await self._maybe("initialize")

        async def process(self, batch: Batch, context: Context) -> None:
            """Nothing to do."""

        async def flush(self, context: Context) -> None:
            await self._maybe("flush")

        async def partition_ended(self, context: Context) -> None:
            await self._maybe("partition_ended")

    h = Harness(Hooks, stuck_after="10s", assigned=False)
    with h:
        h._hold({P0})
        h.write(b"a")
        h.script.ended[P0] = ()
        h.advance(25)
        assert (line(h).state, reason(h).kind) == ("stuck", "stuck")
        assert "await asyncio.sleep(100)" in reason(h).stack
        h.crash()


def test_a_long_batch_of_short_records_is_not_stuck() -> None:
    with Harness(slow(3), stuck_after="10s") as h:
        h.write(*[b"x"] * 20)
        for _ in range(29):
            h.advance(2)
            assert line(h).state == "running"


def test_with_order_by_key_one_call_that_hangs_is_stuck_though_others_go_on() -> None:
    @record_processor
    async def handle(record: Record, context: Context) -> None:
        await asyncio.sleep(100 if record.key == b"slow" else 0.1)

    with Harness(handle, stuck_after="10s", ordering="key", concurrency=4) as h:
        h.write((b"x", b"slow"))
        for number in range(60):
            h.write((b"y", b"%d" % number))
            h.advance(0.2)
        why = reason(h)
        assert (line(h).state, why.kind) == ("stuck", "stuck")
        assert why.since_seconds == pytest.approx(12, abs=0.5)
        h.settle()
        h.advance(1)
        assert line(h).reason is None


def test_a_claim_that_fails_is_shown_and_red() -> None:
    h = Harness(failing({}), assigned=False)
    with h:
        h.script.fail("claim", StoreUnavailableError("no route"), times=10_000)
        h._hold({P0})
        h.advance(1)
        assert (line(h).state, reason(h)) == ("claiming", Reason("store", "the store: no route"))
        assert not_ready(status(h)) == ["stream/0: the store: no route"]
        h.crash()


def test_a_store_that_takes_no_checkpoints_is_shown_beside_what_goes_on() -> None:
    with Harness(failing({})) as h:
        h.script.fail("save", StoreUnavailableError("disk full"), times=10_000)
        h.write(b"a")
        h.advance(10)
        assert (line(h).state, reason(h), str(line(h).position)) == ("caught up", Reason("store", "the store: disk full"), "0")
        assert not_ready(status(h)) == ["stream/0: the store: disk full"]
        h.script.failures.clear()
        h.settle()
        assert not_ready(status(h)) == []


def test_a_broker_that_fails_makes_all_of_it_red() -> None:
    with Harness(failing({})) as h:
        h.script.events.extend(BrokerUnavailableError("gone") for _ in range(3))
        h.advance(0.5)
        assert not_ready(status(h)) == ["group group: reading fails: the broker does not answer"]
        h.advance(30)
        assert not_ready(status(h)) == []


def test_the_strongest_reason_is_shown() -> None:
    with Harness(slow(100), stuck_after="10s") as h:
        h.write(b"a", b"b")
        h.script.fail("save", StoreUnavailableError("disk full"), times=10_000)
        h.advance(111)
        assert reason(h).kind == "stuck"
        h.crash()


def test_a_drain_is_no_readiness() -> None:
    with Harness(slow(10)) as h:
        h.write(b"a")
        h.advance(1)
        h._alive().supervisor.stop("shutdown")
        h.advance(1)
        assert status(h).phase == "draining"
        assert line(h).state == "ending"
        assert not_ready(status(h)) == ["group group: draining"]


@pytest.mark.parametrize("ordering", ["partition", "key"])
def test_parked_keys_are_counted_until_they_are_released_and_are_not_red(ordering: str) -> None:
    with Harness(failing({b"a": 1, b"b": 1}), on_failure="park", retry_attempts=1, checkpoint_interval="1s", ordering=ordering) as h:
        h.deliver((b"a", b"a"), (b"b", b"b"), (b"c", b"c"))
        assert (line(h).parked, reason(h).kind) == (2, "parked")
        assert reason(h).text == "goes on, but for 2 keys parked: what comes of them is put aside"
        assert not_ready(status(h)) == []
        h.revoke()
        h.assign()
        h.advance(1)
        assert line(h).parked == 2, "the next owner goes on with it"
        row = h.script.rows[P0].checkpoint
        assert row is not None
        h.script.requests[P0] = release_request({key: one.letters for key, one in row.parked.items()})
        h.advance(3)
        assert (line(h).parked, line(h).reason) == (0, None)
        assert len(h.errors) == 2
