"""The reading loop: positions only rise, what is full is paused, what fails is opened again from our own position."""

from __future__ import annotations

import asyncio

import pytest

from streamkit.engine.reading import WENT_ON
from streamkit.errors import AccessDeniedError, BrokerUnavailableError, StreamGoneError, ThrottledError
from streamkit.model import Batch, Partition, Position, Record, StartPosition
from streamkit.plugin import CaughtUp, Ended, Failed, Idle, NewRecord, Revoked
from streamkit.processing import Context, Processor, processor, record_processor
from streamkit.testing import Harness
from tests.unit.engine.rig import P0, Notes, batch, failing, values

P1 = Partition("stream", "1")


def opened(harness: Harness) -> list[object]:
    """Where partition 0 was opened, in order."""
    adds = [what for operation, what in harness.script.journal if operation == "add"]
    return [what[1] for what in adds if isinstance(what, tuple) and what[0] == P0]


def done(operation: str, harness: Harness) -> int:
    return sum(1 for name, _ in harness.script.journal if name == operation)


# -- positions ----------------------------------------------------------------------------------------------------------


def test_a_reader_that_goes_back_is_opened_again_from_our_own_position() -> None:
    with Harness(failing({})) as h:
        h.deliver(b"0", b"1", b"2")
        h.script.events.append(batch(1, 2))
        h.deliver(b"3")
        assert values(h) == [b"0", b"1", b"2", b"3"]
        assert opened(h) == [StartPosition.EARLIEST, StartPosition.after(Position(2))]
        assert any("went back to 1 after 2" in problem for problem in h.problems)


def test_what_a_reader_returns_after_it_went_back_is_not_taken_either() -> None:
    with Harness(failing({})) as h:
        h.deliver(b"0", b"1", b"2")
        h.write(b"3", b"4", b"5", b"6")
        h.script.events.extend([batch(1), batch(5, 6)])  # 3 and 4 are missing
        h.settle()
        assert values(h) == [b"%d" % n for n in range(7)]
        assert h.checkpoint == 6


def test_a_reader_that_keeps_going_back_halts_its_partition_alone() -> None:
    notes = Notes()
    with Harness(failing({}), partitions=2, observer=notes) as h:
        h.deliver(b"0", b"1")
        for _ in range(6):
            h.script.events.append(batch(0))
            h.advance(2)
        assert "went back" in str(h.halted)
        h.deliver(b"x", partition="1")
        assert h.checkpoint_of("1") == 0
        h.advance(35)
        assert h.halted is None
        h.deliver(b"2")
        assert h.checkpoint == 2
        assert len(notes.named("recovered")) == 1


# -- failures -----------------------------------------------------------------------------------------------------------


def test_a_retryable_failure_opens_the_partition_again_from_our_own_position() -> None:
    with Harness(failing({})) as h:
        h.deliver(b"0", b"1")
        h.script.events.append(Failed(P0, ThrottledError("slowly")))
        h.deliver(b"2")
        assert values(h) == [b"0", b"1", b"2"]
        assert opened(h)[-1] == StartPosition.after(Position(1))
        assert h.halted is None


def test_a_failure_that_is_not_retryable_halts_that_partition_alone() -> None:
    with Harness(failing({}), partitions=2) as h:
        h.script.events.append(Failed(P0, StreamGoneError("deleted")))
        h.deliver(b"x", partition="1")
        assert isinstance(h.halted, StreamGoneError)
        assert h.checkpoint_of("1") == 0
        h.advance(31)
        h.deliver(b"y", partition="0")
        assert h.halted is None
        assert h.checkpoint == 0


def test_opening_that_fails_for_good_halts_that_partition_alone() -> None:
    with Harness(failing({}), assigned=False) as h:
        h.script.fail("add", AccessDeniedError("no"))
        h.assign()
        assert isinstance(h.halted, AccessDeniedError)
        h.advance(31)
        h.deliver(b"a")
        assert h.checkpoint == 0


def test_opening_that_fails_for_a_while_is_tried_again() -> None:
    with Harness(failing({}), assigned=False) as h:
        h.script.fail("add", BrokerUnavailableError("not now"), times=2)
        h.deliver(b"a")
        assert h.checkpoint == 0
        assert len(opened(h)) == 3


def test_failed_with_a_place_to_resume_goes_on_there_and_says_so() -> None:
    """In the log, and counted: no setting passes records in silence."""
    notes = Notes()
    with Harness(failing({}), observer=notes) as h:
        h.deliver(b"0")
        h.write(*[b"%d" % n for n in range(1, 6)])
        h.script.events.append(Failed(P0, StreamGoneError("expired"), resume=StartPosition.at(Position(4))))
        h.settle()
        assert values(h) == [b"0", b"4", b"5"]
        assert any("NOT processed" in problem for problem in h.problems)
        assert notes.named("noticed") == [WENT_ON]


def test_after_a_resume_a_passing_error_goes_on_from_there_and_from_nowhere_else() -> None:
    with Harness(failing({})) as h:
        h.deliver(b"0", b"1", b"2")
        h.script.events.append(Failed(P0, StreamGoneError("3 and 4 are gone"), resume=StartPosition.at(Position(5))))
        h.advance(1)
        h.script.events.append(Failed(P0, BrokerUnavailableError("a moment")))
        h.advance(5)
        assert opened(h)[1:] == [StartPosition.at(Position(5))] * 2
        h.script.write(NewRecord(b"3"), P0, h.time)
        h.script.write(NewRecord(b"4"), P0, h.time)
        h.deliver(b"5")
        h.script.events.append(Failed(P0, BrokerUnavailableError("a moment")))
        h.deliver(b"6")
        assert values(h) == [b"0", b"1", b"2", b"5", b"6"]


def test_after_a_resume_positions_still_rise() -> None:
    with Harness(failing({})) as h:
        h.deliver(b"0", b"1", b"2")
        h.script.events.append(Failed(P0, StreamGoneError("expired"), resume=StartPosition.at(Position(4))))
        h.advance(1)
        h.script.events.append(batch(1, 2))
        h.advance(1)
        assert values(h) == [b"0", b"1", b"2"]
        assert any("went back to 1 after 2" in problem for problem in h.problems)


def test_a_resume_that_goes_back_is_followed() -> None:
    with Harness(failing({})) as h:
        h.deliver(b"0", b"1", b"2")
        h.script.events.append(Failed(P0, StreamGoneError("made anew"), resume=StartPosition.at(Position(1))))
        h.advance(1)
        assert values(h) == [b"0", b"1", b"2", b"1", b"2"]
        assert h.checkpoint == 2


def test_the_reader_is_told_when_the_record_of_its_start_was_written() -> None:
    with Harness(failing({}), checkpoint_interval="1s") as h:
        h.advance(3)
        (first,) = h.deliver(b"0")
        h.advance(3)
        h.crash()
        (second,) = h.deliver(b"1")
        assert h.script.starts_written == [(P0, None), (P0, first.timestamp)], "as the checkpoint says"
        h.script.events.append(Failed(P0, BrokerUnavailableError("a moment")))
        h.advance(3)
        assert h.script.starts_written[-1] == (P0, second.timestamp), "what was offered last, though it is not saved"
        h.script.events.append(Failed(P0, BrokerUnavailableError("another moment")))
        h.advance(3)
        assert h.script.starts_written[-1] == (P0, second.timestamp), "nothing was offered since"
        h.script.events.append(Failed(P0, StreamGoneError("expired"), resume=StartPosition.EARLIEST))
        h.advance(3)
        assert h.script.starts_written[-1] == (P0, None), "another start, of unknown age"


def test_recovered_is_said_after_something_was_read() -> None:
    notes = Notes()
    with Harness(failing({}), observer=notes) as h:
        h.deliver(b"0")
        h.script.events.append(Failed(P0, AccessDeniedError("no")))
        h.advance(29.9)
        assert h.halted is not None
        h.script.poll_seconds = 5.0
        while len(opened(h)) < 2:
            h.advance(0.1)
        h.advance(1)
        assert "recovered" not in str(notes.events), "it was opened, and nothing is known yet"
        h.script.poll_seconds = 0.0
        h.advance(10)
        assert "recovered" in str(notes.events)
        assert h.halted is None


def test_a_failed_poll_is_tried_again_with_back_off_and_reported_once() -> None:
    with Harness(failing({})) as h:
        h.script.events.extend([BrokerUnavailableError("gone")] * 5)
        before = h.time
        h.write(b"a")
        h.settle()
        assert h.time - before > 2
        assert h.checkpoint == 0
        assert len([p for p in h.problems if p.startswith("reading")]) == 1


def test_a_poll_that_fails_for_good_ends_the_app() -> None:
    with Harness(Saver) as h:
        h.script.events.append(AccessDeniedError("no"))
        with pytest.raises(AccessDeniedError):
            h.settle()
        with pytest.raises(AccessDeniedError):
            h.stop()
        assert h.hooks[-2:] == ["partition_lost", "close"]


def test_a_reader_with_a_bug_ends_the_app_and_the_cause_is_kept() -> None:
    with Harness(failing({})) as h:
        h.script.events.append(ZeroDivisionError("bug"))
        with pytest.raises(RuntimeError, match="the reader failed") as caught:
            h.settle()
        assert isinstance(caught.value.__cause__, ZeroDivisionError)
        with pytest.raises(RuntimeError):
            h.stop()


def test_an_error_while_leaving_does_not_keep_the_reader_from_being_closed() -> None:
    with Harness(failing({})) as h:
        h.script.fail("leave", BrokerUnavailableError("gone"))
        h.stop()
        assert [operation for operation, _ in h.script.journal[-2:]] == ["leave", "close"]
        assert any("leaving" in problem for problem in h.problems)


# -- room ---------------------------------------------------------------------------------------------------------------


class Saver(Processor):
    def process(self, batch: Batch, context: Context) -> None:
        return None


def slow(seconds: float) -> object:
    @record_processor
    async def handle(record: Record, context: Context) -> None:
        await asyncio.sleep(seconds)

    return handle


def test_a_slow_partition_is_paused_and_resumed_and_nothing_is_lost() -> None:
    with Harness(slow(1), max_batch=2, max_in_flight=30) as h:
        h.deliver(*[b"%d" % n for n in range(40)])
        assert values(h) == [b"%d" % n for n in range(40)]
        assert done("pause", h) >= 1
        assert done("resume", h) >= 1


def test_a_slow_partition_does_not_hold_up_the_others() -> None:
    @record_processor
    async def handle(record: Record, context: Context) -> None:
        if record.partition == P0:
            await asyncio.sleep(100)

    with Harness(handle, partitions=2, max_batch=2) as h:
        h.write(*[b"x"] * 40, partition="0")
        h.advance(3)
        h.write(*[b"y"] * 40, partition="1")
        h.advance(7)
        assert h.checkpoint_of("1") == 39
        h.crash()


def test_what_is_held_in_memory_is_bounded() -> None:
    with Harness(slow(50), max_batch=5, max_in_flight=30) as h:
        h.write(*[b"x"] * 500)
        h.advance(20)
        (assignment,) = h._alive().supervisor.assignments.values()
        assert assignment.worker is not None
        assert 1 < assignment.worker.queued_records <= 25  # 4 batches, and the poll that made it full
        h.crash()


def test_a_partition_that_was_paused_when_it_failed_is_still_bounded() -> None:
    with Harness(slow(50), max_batch=5, max_in_flight=30) as h:
        h.write(*[b"x"] * 500)
        h.advance(20)
        h.script.events.append(Failed(P0, ThrottledError("slowly")))
        h.advance(20)
        (assignment,) = h._alive().supervisor.assignments.values()
        assert assignment.worker is not None
        assert 1 < assignment.worker.queued_records <= 30
        h.crash()


def test_a_processor_that_never_checkpoints_is_not_fed_beyond_max_in_flight() -> None:
    @processor(checkpoint="manual")
    def handle(batch: Batch, context: Context) -> None:
        return None

    with Harness(handle, max_in_flight=20, max_batch=5) as h:
        h.write(*[b"x"] * 200)
        h.advance(60)
        assert 20 <= len(h.seen) <= 25


def test_idle_is_waited_for_and_a_command_ends_the_wait() -> None:
    with Harness(failing({}), partitions=2) as h:
        h.script.events.append(Idle(1000))
        h.advance(1)
        before = h.time
        h.stop()  # `remove` and `leave` are commands
        assert h.time - before < 1


# -- ends and tips ------------------------------------------------------------------------------------------------------


def test_a_partition_is_caught_up_only_after_what_came_before_is_done() -> None:
    with Harness(slow(10)) as h:
        h.write(b"a")
        h.advance(5)  # read, and the tip was reached; the handler still runs
        (assignment,) = h._alive().supervisor.assignments.values()
        caught_up_once = assignment.is_caught_up  # at the empty log, before
        assignment.is_caught_up = False
        h.advance(4)
        assert not assignment.is_caught_up
        h.advance(3)
        assert assignment.is_caught_up
        assert caught_up_once


def test_the_end_comes_after_every_record() -> None:
    class Ending(Processor):
        def process(self, batch: Batch, context: Context) -> None:
            return None

    with Harness(Ending, max_batch=2) as h:
        h.write(*[b"x"] * 7)
        h.end()
        assert len(h.seen) == 7
        assert h.hooks[-2:] == ["partition_ended", "close"]


def test_events_of_partitions_that_are_not_ours_change_nothing() -> None:
    with Harness(failing({})) as h:
        h.script.events.extend([batch(0, partition=P1), CaughtUp(P1), Ended(P1), Failed(P1, ThrottledError("x"))])
        h.deliver(b"a")
        assert values(h) == [b"a"]
        assert h.problems == []


def test_records_that_arrive_with_their_own_revoke_are_not_delivered() -> None:
    with Harness(failing({})) as h:
        h.write(b"a")
        h.script.events.extend([Revoked((P0,), 5.0), batch(0)])
        h._held.clear()
        h.advance(3)
        assert values(h) == []


def test_an_add_that_was_on_its_way_when_the_partition_was_revoked_is_not_made() -> None:
    class Slow(Processor):
        async def initialize(self, context: Context) -> None:
            await asyncio.sleep(1)

        def process(self, batch: Batch, context: Context) -> None:
            return None

    with Harness(Slow, assigned=False) as h:
        h.script.poll_seconds = 0.4
        h._hold({P0})
        while "initialize" not in h.hooks:
            h.advance(0.01)
        h.advance(0.95)
        h.script.events.append(Revoked((P0,), 5.0))  # the poll that returns it ends after `initialize`
        h._held.clear()
        h.advance(3)
        assert opened(h) == []
        assert h.hooks == ["initialize", "partition_revoked", "close"]
        h.deliver(b"a")
        assert h.checkpoint == 0
