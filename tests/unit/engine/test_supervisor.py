"""The life of an app: when it stops, how it drains, and what becomes of partitions that come and go."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from streamkit.errors import BrokerUnavailableError, DrainTimeoutError, StoreUnavailableError
from streamkit.model import Batch, Checkpoint, Partition, Position, Record, StartPosition
from streamkit.plugin import Assigned, Lost, Revoked
from streamkit.plugin.fencing import Row
from streamkit.processing import Context, Processor, processor, record_processor
from streamkit.testing import Harness
from tests.unit.engine.rig import P0, Notes, failing, values

P1 = Partition("stream", "1")


class Slow(Processor):
    """Takes `seconds` for a batch, and notes what it saw of its context."""

    seconds = 10.0
    running = 0
    most = 0
    notes: list[object]

    async def process(self, batch: Batch, context: Context) -> None:
        kind = type(self)
        kind.running += 1
        kind.most = max(kind.most, kind.running)
        await asyncio.sleep(self.seconds)
        kind.notes.append((context.lost, context.ending))
        kind.running -= 1


def slow(seconds: float) -> type[Slow]:
    return type("Made", (Slow,), {"seconds": seconds, "notes": []})


# -- when it stops -------------------------------------------------------------------------------------------------------


def test_at_end_stops_when_every_partition_has_reached_its_tip_of_the_start() -> None:
    h = Harness(failing({}), partitions=3, stop="at_end", assigned=False)
    h.write(*[b"x"] * 5, partition="0")
    h.write(b"y", partition="2")
    with h:
        h.assign()
        h._run_until(lambda: not h.is_running, "stopped")
        h.stop()
        assert h.exit_code == 0
        assert (h.checkpoint_of("0"), h.checkpoint_of("1"), h.checkpoint_of("2")) == (4, None, 0)
        assert h.time < 5


def test_at_end_where_the_broker_knows_no_tips_the_reader_says_when_they_are_reached() -> None:
    h = Harness(failing({}), partitions=2, stop="at_end", assigned=False)
    h.script.tips_are_known = False
    h.write(*[b"x"] * 5, partition="0")
    with h:
        h.assign()
        h._run_until(lambda: not h.is_running, "stopped")
        h.stop()
        assert h.exit_code == 0
        assert (h.checkpoint_of("0"), h.checkpoint_of("1")) == (4, None)


def test_at_end_behind_a_token_alone_everything_up_to_the_tip_is_waited_for() -> None:
    h = Harness(slow(2.0), stop="at_end", assigned=False)
    h.write(b"done by another program", b"to be done")
    with h:
        h.script.rows[P0] = Row(4, "w", Checkpoint(P0, StartPosition.after(Position(None, token="its last")), partitions_at_start=1))
        h._hold({P0})
        h.advance(1)
        row = h.script.rows[P0]
        assert row.checkpoint is not None  # a store that knows of such programs compares it with nothing
        h.script.rows[P0] = replace(row, checkpoint=replace(row.checkpoint, at=StartPosition.EARLIEST))
        h._run_until(lambda: not h.is_running, "stopped")
        h.stop()
        assert (h.exit_code, h.checkpoint) == (0, 1)


def test_a_member_without_partitions_does_not_end_while_tips_are_not_known() -> None:
    h = Harness(failing({}), stop="at_end", assigned=False)
    h.script.tips_are_known = False
    h.write(b"x")
    with h:
        h._hold({P0})
        h._run_until(lambda: bool(h.checkpoints), "saved")
        h.revoke()
        h.advance(30)
        assert h.is_running


def test_at_end_waits_for_what_is_still_processed() -> None:
    h = Harness(slow(100), stop="at_end", assigned=False)
    h.write(b"x")
    with h:
        h._hold({P0})
        h.advance(60)
        assert h.is_running
        h._run_until(lambda: not h.is_running, "stopped")
        assert h.checkpoint == 0


def test_at_end_does_not_wait_for_a_halted_partition_but_the_exit_code_says_so() -> None:
    h = Harness(failing({b"bad": 99}), partitions=2, stop="at_end", retry_attempts=1, assigned=False)
    h.write(b"bad", partition="0")
    h.write(b"x", partition="1")
    with h:
        h.assign()
        h._run_until(lambda: not h.is_running, "stopped")
        assert h.errors
        h.stop()
        assert h.exit_code == 1
        assert h.checkpoint_of("1") == 0


def test_at_end_lets_a_member_without_partitions_finish_when_the_group_is_at_its_tips() -> None:
    h = Harness(failing({}), stop="at_end", assigned=False)
    h.write(b"a", b"b")
    with h:
        h.advance(30)
        assert h.is_running  # another member may still be at work
        h.assign()
        h._run_until(lambda: not h.is_running, "stopped")
    with Harness(failing({}), stop="at_end", assigned=False) as second:
        second.script = h.script
        second.crash()
        second._alive()
        second.advance(5)
        assert not second.is_running


def test_a_member_without_partitions_outlives_a_store_that_is_down() -> None:
    h = Harness(failing({}), stop="at_end", assigned=False)
    h.write(b"a")
    with h:
        h.advance(0.1)
        h.script.fail("list", StoreUnavailableError("gone"), times=3)
        h.advance(20)
        assert h.is_running
        assert any("gone" in problem for problem in h.problems)
        h.crash()


def test_idle_stops_after_so_long_without_a_record() -> None:
    with Harness(failing({}), stop="idle:10s") as h:
        h.write(b"a")
        h.advance(8)
        h.write(b"b")
        h.advance(8)
        assert h.is_running
        h.advance(4)
        assert not h.is_running
        h.stop()
        assert h.exit_code == 0
        assert h.checkpoint == 1


def test_idle_does_not_stop_while_a_record_is_processed() -> None:
    with Harness(slow(60), stop="idle:5s") as h:
        h.write(b"a")
        h.advance(50)
        assert h.is_running
        h.settle()
        assert h.checkpoint == 0


def test_a_broker_that_cannot_be_opened_is_raised_and_nothing_has_started() -> None:
    class Closed(BrokerUnavailableError):
        pass

    h = Harness(failing({}), assigned=False)
    life = h._alive()

    async def discover(*_: object) -> object:
        raise Closed("no route")

    life.supervisor._parts.broker.discover = discover  # type: ignore[method-assign,assignment]
    with pytest.raises(Closed):
        h._run_until(lambda: False, "started")
    assert not life.supervisor.is_started
    h.crash()


# -- drain ---------------------------------------------------------------------------------------------------------------


def test_stop_lets_running_calls_finish_and_begins_no_other() -> None:
    made = slow(5)
    with Harness(made, partitions=2, max_batch=1) as h:
        h.write(b"a", b"b", partition="0")
        h.write(b"c", partition="1")
        h.advance(1)
        h.stop()
        assert h.exit_code == 0
        assert sorted(values(h)) == [b"a", b"c"]  # type: ignore[type-var]
        assert (h.checkpoint_of("0"), h.checkpoint_of("1")) == (0, 0)
        assert h.hooks.count("partition_revoked") == h.hooks.count("close") == 2


def test_a_drain_ends_a_record_handler_after_its_current_record() -> None:
    @record_processor
    async def handle(record: Record, context: Context) -> None:
        await asyncio.sleep(1)

    with Harness(handle) as h:
        h.write(*[b"x"] * 100)
        h.advance(3.5)
        before = h.time
        h.stop()
        assert h.time - before < 2
        assert h.checkpoint == 3


def test_a_call_that_outlives_the_drain_timeout_is_named_and_never_told_revoked() -> None:
    with Harness(slow(500), partitions=2, drain_timeout="10s") as h:
        h.write(b"a", partition="1")
        h.advance(1)
        before = h.time
        with pytest.raises(DrainTimeoutError) as caught:
            h.stop()
        assert 10 <= h.time - before < 17
        assert caught.value.unfinished == ("stream/1",)
        assert [call.hook for call in h.calls if call.partition == P1] == ["initialize", "process"]
        assert h.checkpoint_of("1") is None


def test_the_context_tells_a_running_call_how_long_it_has() -> None:
    remaining: list[float | None] = []

    @record_processor
    async def handle(record: Record, context: Context) -> None:
        for _ in range(4):
            remaining.append(context.remaining)
            await asyncio.sleep(2)

    with Harness(handle, drain_timeout="10s") as h:
        h.write(b"a")
        h.advance(3)
        h.stop()
        assert remaining[:2] == [None, None]
        assert all(left is not None and left < 10 for left in remaining[2:])


def test_waiting_for_a_retry_does_not_hold_up_a_drain() -> None:
    with Harness(failing({b"a": 99}), retry_backoff="1h", retry_max_backoff="1h") as h:
        h.write(b"a")
        h.advance(1)
        before = h.time
        h.stop()
        assert h.errors
        assert h.time - before < 1


def test_what_arrives_during_a_drain_is_not_begun() -> None:
    with Harness(slow(5), partitions=2, assigned=False) as h:
        h._hold({P0})
        h.write(b"a", partition="0")
        h.advance(1)
        h._alive().supervisor.stop("shutdown")
        h.script.events.append(Assigned((P1,), 9))
        h.write(b"b", partition="1")
        h._run_until(lambda: not h.is_running, "stopped")
        assert values(h) == [b"a"]


# -- partitions that come and go -----------------------------------------------------------------------------------------


def test_a_revoke_that_ends_in_time_is_answered_after_the_last_hook() -> None:
    with Harness(slow(5)) as h:
        h.write(b"a")
        h.advance(1)
        before = h.time
        h.revoke(deadline=20)
        assert 3.5 < h.time - before < 6
        assert h.hooks == ["initialize", "process", "partition_revoked", "close"]
        assert h.checkpoint == 0


def test_a_call_that_outlives_the_deadline_of_a_revoke_is_lost() -> None:
    made = slow(30)
    notes = Notes()
    with Harness(made, observer=notes) as h:
        h.write(b"a")
        h.advance(1)
        h.revoke(deadline=5)
        assert h.hooks == ["initialize", "process", "partition_lost", "close"]
        assert made.notes == [(True, True)]
        assert h.checkpoint is None
        assert [name for name, _ in notes.events if name in ("revoked", "lost")] == ["lost"]


def test_the_group_is_answered_by_the_deadline_even_if_the_call_still_runs() -> None:
    answered: list[float] = []
    with Harness(slow(100)) as h:
        h.write(b"a")
        h.advance(1)
        before = h.time
        h.script.events.append(Revoked((P0,), 5.0, lambda: answered.append(h.time - before)))
        h._held.clear()
        h.advance(20)
        assert len(answered) == 1
        assert 4 < answered[0] <= 5
        h.crash()


def test_a_new_assignment_waits_for_the_old_call() -> None:
    made = slow(30)
    with Harness(made) as h:
        h.write(b"a")
        h.advance(1)
        h.script.events.extend([Lost((P0,)), Assigned((P0,), 7)])
        h.advance(10)
        assert h.hooks == ["initialize", "process"]
        h.settle()
        assert h.hooks == ["initialize", "process", "partition_lost", "close", "initialize", "process"]
        assert made.most == 1


def test_a_third_assignment_waits_for_the_first_call_too() -> None:
    made = slow(60)
    with Harness(made) as h:
        h.write(b"a")
        h.advance(1)
        h.script.events.extend([Lost((P0,)), Assigned((P0,), 7)])
        h.advance(5)
        h.script.events.append(Lost((P0,)))
        h.advance(5)
        h.script.events.append(Assigned((P0,), 8))
        h.advance(20)
        assert h.hooks == ["initialize", "process"]
        h.settle()
        assert made.most == 1
        assert h.hooks == ["initialize", "process", "partition_lost", "close", "initialize", "process"]


def test_assigned_twice_without_a_loss_the_newer_one_counts() -> None:
    made = slow(3)
    with Harness(made) as h:
        h.write(b"a")
        h.advance(1)
        h.script.events.append(Assigned((P0,), 7))
        h.settle()
        assert made.most == 1
        assert h.hooks == ["initialize", "process", "partition_lost", "close", "initialize", "process"]
        assert h.checkpoint == 0


def test_a_loss_sets_context_lost_while_the_call_runs() -> None:
    made = slow(5)
    with Harness(made) as h:
        h.write(b"a")
        h.advance(1)
        h.lose()
        assert made.notes == [(True, True)]
        assert h.hooks == ["initialize", "process", "partition_lost", "close"]


def test_what_a_call_does_after_a_loss_is_neither_counted_nor_reported() -> None:
    @record_processor
    async def handle(record: Record, context: Context) -> None:
        while not context.lost:
            await asyncio.sleep(0.1)
        raise InterruptedError("gave up")

    notes = Notes()
    with Harness(handle, observer=notes) as h:
        h.write(b"a")
        h.advance(1)
        h.lose()
        assert len(h.errors) == 1
        assert notes.named("attempt failed") == []


def test_a_loss_during_a_revoke_is_a_loss() -> None:
    with Harness(slow(10)) as h:
        h.write(b"a")
        h.advance(1)
        h.script.events.append(Revoked((P0,), 60.0))
        h.advance(1)
        h.lose("0")
        h.advance(20)
        assert h.hooks == ["initialize", "process", "partition_lost", "close"]
        h._held.clear()


def test_nothing_is_delivered_after_a_loss() -> None:
    seen: list[bool] = []

    @processor
    async def handle(batch: Batch, context: Context) -> None:
        seen.append(context.lost)
        await asyncio.sleep(2)

    with Harness(handle, max_batch=1) as h:
        h.write(*[b"x"] * 20)
        h.advance(5)
        count = len(seen)
        h.lose()
        h.advance(20)
        assert len(seen) == count
        assert not any(seen)


def test_queued_records_that_were_dropped_come_again_to_the_next_owner() -> None:
    with Harness(slow(2), max_batch=1) as h:
        h.write(*[b"%d" % n for n in range(6)])
        h.advance(3)
        h.revoke()
        h.assign()
        assert values(h) == [b"%d" % n for n in range(6)]
        assert h.checkpoint == 5


def test_after_a_crash_what_was_not_saved_comes_again() -> None:
    with Harness(failing({}), checkpoint_interval="10s") as h:
        h.write(b"a", b"b")
        h.advance(1)
        h.crash()
        h.deliver(b"c")
        assert values(h) == [b"a", b"b", b"a", b"b", b"c"]


def test_an_abandoned_app_calls_no_hook_whatever_the_group_says_then() -> None:
    with Harness(slow(5)) as h:
        h.write(b"a")
        h.advance(1)
        life = h._alive()
        h.script.events.append(Lost((P0,)))
        life.supervisor.abandon()
        life.supervisor._runtime.control.post(life.supervisor.lose, [P0], "too late")
        h._run_until(life.promise.done, "over")
        h.advance(20)
        assert h.hooks == ["initialize", "process"]
        h.crash()


def test_a_revoke_of_some_leaves_the_others() -> None:
    with Harness(failing({}), partitions=2) as h:
        h.revoke("0")
        h.deliver(b"x", partition="1")
        assert h.checkpoint_of("1") == 0
        assert h._held == {P1}


def test_children_are_known_to_the_hook_and_can_be_assigned_next() -> None:
    children: list[tuple[Partition, ...]] = []

    class Parent(Processor):
        def process(self, batch: Batch, context: Context) -> None:
            return None

        def partition_ended(self, context: Context) -> None:
            children.append(context.children)

    with Harness(Parent) as h:
        h.write(b"a")
        h.end(children=["1", "2"])
        assert children == [(P1, Partition("stream", "2"))]
        assert h.checkpoint == Position.END
        h.deliver(b"b", partition="1")
        assert h.checkpoint_of("1") == 0
