"""Delivery by key through the whole engine: who is called when, what a failure holds up, and what is saved."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping
from math import log2
from typing import Any

import pytest

from streamkit.errors import (
    BrokerUnavailableError,
    CheckpointError,
    CheckpointPositionError,
    DeadLetterError,
    RetriesExhaustedError,
    UnsupportedError,
)
from streamkit.model import Batch, Position, Record
from streamkit.outcome import Outcome, Reject, Retry, Stop
from streamkit.processing import Context, LostContext, Processor, processor, record_processor
from streamkit.testing import Harness
from tests.unit.engine.rig import Notes

BY_KEY: dict[str, Any] = {"ordering": "key", "concurrency": 4, "retry_backoff": "1s", "retry_max_backoff": "64s"}


def pairs(keys: str) -> list[tuple[bytes, bytes]]:
    """One record for each letter: its key is the letter, its value its number."""
    return [(b"%d" % number, key.encode()) for number, key in enumerate(keys)]


def by_key(records: list[Record]) -> dict[bytes | None, list[int]]:
    found: dict[bytes | None, list[int]] = {}
    for record in records:
        found.setdefault(record.key, []).append(int(record.value or b"-1"))
    return found


class Calls:
    """An async handler that takes a second for each record, and notes who ran beside whom."""

    def __init__(self, fails: dict[bytes, int] | None = None) -> None:
        self.running: Counter[bytes | None] = Counter()
        self.most = 0
        self.begun: list[tuple[bytes | None, int, int]] = []
        self.done: list[int] = []
        self.fails = dict(fails or {})

    def handler(self) -> object:
        @record_processor
        async def handle(record: Record, context: Context) -> None:
            number = int(record.value or b"-1")
            self.begun.append((record.key, number, context.attempt))
            self.running[record.key] += 1
            assert self.running[record.key] == 1 or record.key is None, "two calls of one key at once"
            self.most = max(self.most, self.running.total())
            try:
                await asyncio.sleep(1.0)
                if self.fails.get(record.value or b"", 0):
                    self.fails[record.value or b""] -= 1
                    raise ValueError(f"no {number}")
                self.done.append(number)
            finally:
                self.running[record.key] -= 1

        return handle


def test_so_many_calls_run_at_once_and_those_of_a_key_one_after_the_other() -> None:
    calls = Calls()
    with Harness(calls.handler(), **BY_KEY) as h:
        h.deliver(*pairs("aabcdaefgabc"))
        assert by_key(h.seen) == {b"a": [0, 1, 5, 9], b"b": [2, 10], b"c": [3, 11], b"d": [4], b"e": [6], b"f": [7], b"g": [8]}
        assert calls.most == 4
        assert h.time < 12 / 4 + 3
        assert h.checkpoint == 11


def test_def_handlers_run_on_threads_of_their_own() -> None:
    @record_processor
    def handle(record: Record, context: Context) -> None:
        if record.value == b"0":
            context.checkpoint(record.position).result()

    with Harness(handle, **BY_KEY) as h:
        h.deliver(*pairs("abcabc"))
        assert by_key(h.seen) == {b"a": [0, 3], b"b": [1, 4], b"c": [2, 5]}
        assert h.checkpoint == 5


def test_records_without_a_key_spread_over_all() -> None:
    calls = Calls()
    with Harness(calls.handler(), **BY_KEY) as h:
        h.deliver(*[b"%d" % n for n in range(8)])
        assert calls.most == 4
        assert h.checkpoint == 7


def test_one_call_at_a_time_with_order_by_key_is_allowed_too() -> None:
    calls = Calls({b"0": 2})
    with Harness(calls.handler(), ordering="key", retry_backoff="10s") as h:
        h.deliver(*pairs("abab"))
        assert calls.most == 1
        assert [number for key, number, _ in calls.begun if key == b"b"] == [1, 3]
        assert calls.done.index(3) < calls.done.index(0), "the retry of a does not hold up b"
        assert len(h.errors) == 2
        assert h.checkpoint == 3


def test_a_key_that_is_retried_blocks_only_itself_and_is_never_overtaken() -> None:
    calls = Calls({b"0": 3})
    with Harness(calls.handler(), **BY_KEY, seed=3) as h:
        h.deliver(*pairs("abcdaebc"))
        assert [(number, attempt) for key, number, attempt in calls.begun if key == b"a"] == [(0, 1), (0, 2), (0, 3), (0, 4), (4, 1)]
        assert calls.done[-2:] == [0, 4]
        assert sorted(calls.done[:-2]) == [1, 2, 3, 5, 6, 7]
        assert len(h.errors) == 3
        assert h.checkpoint == 7


def test_nothing_is_saved_past_a_record_that_is_not_done() -> None:
    calls = Calls({b"2": 1})
    with Harness(calls.handler(), **BY_KEY, checkpoint_interval="100ms") as h:
        h.write(*pairs("abcdefgh"))
        h.assign()
        h.settle()
        assert h.errors
        saved = [checkpoint.at.position.sequence or 0 for checkpoint in h.checkpoints if checkpoint.at.position is not None]
        assert saved == sorted(saved)
        assert 1 in saved, "up to the one that waits for its retry"
        assert not {2, 3, 4, 5, 6} & set(saved)
        assert h.checkpoint == 7


def test_a_crash_redelivers_what_lies_above_the_safe_position() -> None:
    calls = Calls({b"1": 99})
    with Harness(calls.handler(), **BY_KEY, checkpoint_interval="100ms") as h:
        h.write(*pairs("abcdef"))
        h.advance(3.5)
        assert h.checkpoint == 0
        h.crash()
        calls.fails.clear()
        calls.running.clear()
        before = len(h.seen)
        h.assign()
        assert sorted(int(record.value or b"") for record in h.seen[before:]) == [1, 2, 3, 4, 5]
        assert h.errors
        assert h.checkpoint == 5


# -- halts -------------------------------------------------------------------------------------------------------------------


def test_a_key_that_has_failed_for_good_waits_alone_and_the_partition_shows_it() -> None:
    calls = Calls({b"1": 4})
    notes = Notes()
    with Harness(calls.handler(), **BY_KEY, retry_attempts=2, observer=notes) as h:
        h.deliver(*pairs("abcabcabc"))
        assert isinstance(h.halted, RetriesExhaustedError)
        assert h.halted.record == "stream/0/1"
        assert sorted(calls.done) == [0, 2, 3, 5, 6, 8], "all but b"
        h.advance(6)
        assert h.checkpoint == 0
        h.deliver(*[(b"%d" % n, b"ab"[n % 2 :][:1]) for n in range(9, 13)])
        assert sorted(calls.done) == [0, 2, 3, 5, 6, 8, 10, 12]
        h.advance(30 + 64)
        h.settle()
        assert not h.halted
        assert [number for key, number, _ in calls.begun if key == b"b"] == [1, 1, 1, 1, 1, 4, 7, 9, 11]
        assert len(h.errors) == 4
        assert h.checkpoint == 12
    assert h.exit_code == 0
    assert len(notes.named("recovered")) == 1


def test_others_go_on_until_max_in_flight_is_reached_then_reading_pauses() -> None:
    calls = Calls({b"0": 99})
    with Harness(calls.handler(), **BY_KEY, retry_attempts=1, max_batch=2, max_in_flight=40, checkpoint_interval="100ms") as h:
        h.write(*[(b"%d" % n, b"bad" if n % 4 == 0 else b"%d" % n) for n in range(200)])
        h.advance(29)
        assert h.errors
        done = len(calls.done)
        assert 20 < done < 40
        (assignment,) = h._alive().supervisor.assignments.values()
        assert assignment.worker is not None
        assert assignment.worker.in_flight <= 40 + 4
        h.advance(1)
        assert len(calls.done) == done, "finished or not: what lies above the saved position counts"
        calls.fails.clear()
        h.settle()
        h.advance(40)
        h.settle()
        assert h.checkpoint == 199


def test_stop_drains_the_process() -> None:
    @record_processor
    async def handle(record: Record, context: Context) -> Outcome | None:
        return Stop("enough") if record.value == b"2" else None

    with Harness(handle, **BY_KEY) as h:
        h.write(*pairs("abcdef"))
        h.advance(5)
        assert not h.is_running
    assert h.exit_code == 1
    assert h.checkpoint == 1


# -- putting aside -----------------------------------------------------------------------------------------------------------


def test_a_record_that_is_skipped_is_done_and_its_key_goes_on() -> None:
    @record_processor
    def handle(record: Record, context: Context) -> Outcome | None:
        return Reject("bad") if record.value == b"1" else None

    with Harness(handle, **BY_KEY, on_failure="skip") as h:
        h.deliver(*pairs("abab"))
        assert by_key(h.seen) == {b"a": [0, 2], b"b": [1, 3]}
        assert h.checkpoint == 3


def test_dead_letters_hold_up_only_their_key_while_they_are_written() -> None:
    calls = Calls({b"1": 99})
    with Harness(calls.handler(), **BY_KEY, on_failure="dead_letter", retry_attempts=2) as h:
        h.deliver(*pairs("abcbab"))
        assert [letter.value for letter in h.dead_letters] == [b"1"]
        assert [number for key, number, _ in calls.begun if key == b"b"] == [1, 1, 3, 5]
        assert h.put_aside == [(1, "dead_letter")]
        assert h.checkpoint == 5


def test_a_dead_letter_that_cannot_be_written_halts_and_the_record_is_tried_again() -> None:
    calls = Calls({b"1": 99})
    with Harness(calls.handler(), **BY_KEY, on_failure="dead_letter", retry_attempts=2) as h:
        h.script.fail("send", BrokerUnavailableError("no"))
        h.deliver(*pairs("abcb"))
        assert isinstance(h.halted, DeadLetterError)
        assert calls.done == [0, 2]
        h.advance(6)
        assert h.checkpoint == 0, "what could not be put aside is not done"
        h.advance(40)
        h.settle()
        assert [letter.value for letter in h.dead_letters] == [b"1"]
        assert [number for key, number, _ in calls.begun if key == b"b"] == [1, 1, 1, 1, 3]
        assert h.checkpoint_of("0") == 3


def test_so_many_records_put_aside_in_a_row_halt_whatever_their_keys() -> None:
    @record_processor
    def handle(record: Record, context: Context) -> Outcome:
        return Reject("all bad")

    with Harness(handle, **BY_KEY, on_failure="skip", dead_letter_max_consecutive=3) as h:
        h.deliver(*pairs("abcdefgh"))
        assert isinstance(h.halted, RetriesExhaustedError)
        assert "DEAD_LETTER_MAX_CONSECUTIVE=3" in str(h.halted)
        assert len(h.put_aside) == 3


# -- time ---------------------------------------------------------------------------------------------------------------------


def test_an_attempt_that_takes_too_long_is_cut_and_tried_again_alone() -> None:
    @record_processor
    async def handle(record: Record, context: Context) -> None:
        if record.value == b"0" and context.attempt == 1:
            await asyncio.sleep(60)

    with Harness(handle, **BY_KEY, process_timeout="2s") as h:
        h.deliver(*pairs("abab"))
        assert by_key(h.seen) == {b"a": [0, 0, 2], b"b": [1, 3]}
        assert h.time < 30
        assert h.checkpoint == 3


def test_no_call_is_begun_once_the_lease_may_have_passed_on() -> None:
    calls = Calls()
    with Harness(calls.handler(), **BY_KEY) as h:
        (assignment,) = h._alive().supervisor.assignments.values()
        assert assignment.worker is not None
        assignment.worker.valid_until = h.time
        h.write(*pairs("ab"))
        h.advance(5)
        assert calls.begun == []
        assignment.worker.valid_until = h.time + 1000
        h.settle()
        assert h.checkpoint == 1


# -- batches -----------------------------------------------------------------------------------------------------------------


def batches(h: Harness) -> list[list[int]]:
    return [[int(record.value or b"-1") for record in call.records] for call in h.calls if call.hook == "process"]


def test_a_batch_holds_several_keys_and_all_waiting_records_of_each() -> None:
    @processor
    async def handle(batch: Batch, context: Context) -> None:
        await asyncio.sleep(1)

    with Harness(handle, ordering="key", concurrency=2, max_batch=10) as h:
        h.deliver(*pairs("aabbccdd"))
        assert batches(h) == [[0, 1, 2, 3], [4, 5, 6, 7]], "shared among those that are free"
        assert h.checkpoint == 7


def test_a_failing_batch_of_several_keys_is_tried_again_key_by_key() -> None:
    @processor
    def handle(batch: Batch, context: Context) -> None:
        if any(record.value == b"3" for record in batch):
            raise ValueError(context.attempt)

    with Harness(handle, ordering="key", concurrency=1, max_batch=10, retry_attempts=3) as h:
        h.deliver(*pairs("aabbcc"))
        assert batches(h) == [[0, 1, 2, 3, 4, 5], [0, 1], [2, 3], [4, 5], [2, 3], [2, 3]]
        assert [str(error) for error in h.errors] == ["1", "1", "2", "3"], "each key has attempts of its own"
        assert isinstance(h.halted, RetriesExhaustedError)
        h.advance(6)
        assert h.checkpoint == 1


def test_a_batch_that_names_the_record_holds_up_only_its_key() -> None:
    @processor
    def handle(batch: Batch, context: Context) -> Mapping[Record, Outcome]:
        return {record: Retry(5.0) for record in batch if record.value == b"2" and context.attempt == 1}

    with Harness(handle, ordering="key", concurrency=1, max_batch=10) as h:
        h.deliver(*pairs("aabbcc"))
        assert batches(h) == [[0, 1, 2, 3, 4, 5], [4, 5], [2, 3]]
        assert h.checkpoint == 5


def test_a_batch_of_several_keys_that_asks_for_patience_gets_it() -> None:
    times = []

    @processor
    def handle(batch: Batch, context: Context) -> Outcome | None:
        times.append(h.time)
        return Retry(7.0) if len(times) == 1 else None

    with Harness(handle, ordering="key", concurrency=1) as h:
        h.deliver(*pairs("ab"))
        assert len(times) == 3
        assert times[1] - times[0] == pytest.approx(7.0, abs=0.05)


def test_a_batch_of_several_keys_may_stop_the_process() -> None:
    @processor
    def handle(batch: Batch, context: Context) -> Outcome:
        return Stop("enough")

    with Harness(handle, ordering="key", concurrency=2) as h:
        h.write(*pairs("abcd"))
        h.advance(5)
        assert not h.is_running
    assert h.exit_code == 1
    assert h.checkpoint is None


def test_the_batch_of_one_key_is_tried_again_whole() -> None:
    seen: list[tuple[int, int]] = []

    @processor
    async def handle(batch: Batch, context: Context) -> Outcome | None:
        seen.append((len(batch), context.attempt))
        return Retry(0.1) if len(seen) < 4 else None

    with Harness(handle, ordering="key", concurrency=1) as h:
        h.deliver(*pairs("aaa"))
        assert seen == [(3, 1), (3, 2), (3, 3), (3, 4)]


def test_bisect_finds_the_bad_record_among_those_of_its_key() -> None:
    @processor
    def handle(batch: Batch, context: Context) -> None:
        if any(record.value == b"37" for record in batch):
            raise ValueError

    with Harness(handle, ordering="key", concurrency=2, on_failure="skip", bisect=True, retry_attempts=2) as h:
        h.deliver(*[(b"%d" % n, b"a") for n in range(64)], (b"64", b"b"))
        assert h.errors
        assert h.checkpoint == 64
        assert sum(1 for call in batches(h) if 37 in call) <= 2 * log2(64) + 2
        assert [37] in batches(h)
        done = [n for call in batches(h) if 37 not in call for n in call]
        assert sorted(done) == [n for n in range(65) if n != 37], "each of the others is done once"


def test_max_wait_lets_batches_fill() -> None:
    @processor
    async def handle(batch: Batch, context: Context) -> None:
        return None

    with Harness(handle, ordering="key", concurrency=2, max_wait="2s", max_batch=4) as h:
        h.write(*pairs("ab"))
        h.advance(1)
        assert batches(h) == []
        h.write(*pairs("cd"))
        h.advance(0.5)
        assert len(batches(h)) == 1, "it is full"
        h.write(*pairs("e"))
        h.advance(1.9)
        assert len(batches(h)) == 1
        h.advance(0.3)
        assert len(batches(h)) == 2


# -- checkpoints -------------------------------------------------------------------------------------------------------------


def test_a_checkpoint_says_that_this_record_is_done_and_its_future_waits_for_the_safe_position() -> None:
    resolved: list[tuple[int, int | Position | None]] = []

    @record_processor
    async def handle(record: Record, context: Context) -> None:
        number = int(record.value or b"")
        if number == 0:
            await asyncio.sleep(5)
        future = context.checkpoint(record.position, metadata=f"m{number}")
        if number:
            assert not future.done()
        await future
        resolved.append((number, h.checkpoint))

    with Harness(handle, **BY_KEY, checkpoint_interval="1h") as h:
        h.write(*pairs("abcd"))
        h.advance(4.9)
        assert resolved == []
        assert h.checkpoint_of("0") is None, "all but the first have said that they are done, and nothing may be saved"
        h.advance(0.5)
        assert sorted(number for number, _ in resolved) == [0, 1, 2, 3]
        assert h.checkpoint == 3, "written at once, not after an hour"
        assert all(isinstance(saved, int) and saved >= number for number, saved in resolved)


def test_calls_that_wait_for_their_checkpoints_do_not_keep_out_the_record_that_they_wait_for() -> None:
    @record_processor
    async def handle(record: Record, context: Context) -> Outcome | None:
        if record.value == b"0" and context.attempt < 3:
            return Retry(1.0)
        await context.checkpoint()
        return None

    with Harness(handle, ordering="key", concurrency=2) as h:
        h.deliver(*pairs("abcd"))
        assert h.checkpoint == 3


def test_what_was_said_to_be_done_is_not_delivered_again() -> None:
    @record_processor
    async def handle(record: Record, context: Context) -> None:
        context.checkpoint()
        if record.value == b"0":
            raise ValueError("after its effect")

    with Harness(handle, **BY_KEY) as h:
        h.deliver(*pairs("aab"))
        assert by_key(h.seen) == {b"a": [0, 1], b"b": [2]}
        assert h.errors
        assert h.checkpoint == 2


def test_a_batch_handler_says_so_for_one_record_or_for_all_of_its_call() -> None:
    @processor
    def handle(batch: Batch, context: Context) -> None:
        if context.attempt == 1 and len(batch) == 4:
            context.checkpoint(list(batch)[1].position)
            raise ValueError
        context.checkpoint()
        raise ValueError

    with Harness(handle, ordering="key", concurrency=1, max_batch=4) as h:
        h.deliver(*pairs("aaaa"))
        assert batches(h) == [[0, 1, 2, 3], [0, 2, 3]]
        assert len(h.errors) == 2
        assert h.checkpoint == 3


def test_a_checkpoint_of_a_record_of_another_call_is_refused() -> None:
    caught: list[CheckpointPositionError] = []

    @record_processor
    async def handle(record: Record, context: Context) -> None:
        if record.value == b"0":
            await asyncio.sleep(1)
        else:
            with pytest.raises(CheckpointPositionError) as refused:
                context.checkpoint(Position(0))
            caught.append(refused.value)
            with pytest.raises(CheckpointPositionError):
                context.checkpoint(Position(99))
            with pytest.raises(UnsupportedError, match="one order for all"):
                context.prepare_checkpoint()
            with pytest.raises(CheckpointError):
                context.checkpoint(metadata="m" * 100_000)

    with Harness(handle, **BY_KEY) as h:
        h.deliver(*pairs("ab"))
        assert "not a record of this call" in str(caught[0])
        assert h.checkpoint == 1


# -- the end -----------------------------------------------------------------------------------------------------------------


def test_a_revoke_begins_no_further_call_and_saves_what_is_done() -> None:
    calls = Calls()
    with Harness(calls.handler(), **BY_KEY) as h:
        h.write(*pairs("abcdefghij"))
        h.advance(1.5)
        h.revoke()
        assert sorted(calls.done) == [0, 1, 2, 3, 4, 5, 6, 7], "those that ran have ended, no other has begun"
        assert h.checkpoint == 7
        h.assign()
        assert sorted(calls.done) == list(range(10))


def test_all_calls_see_at_once_that_the_partition_is_lost() -> None:
    seen: list[tuple[str, object]] = []

    class Watching(Processor):
        reentrant = True

        async def process(self, batch: Batch, context: Context) -> None:
            seen.append(("called", context.epoch))
            while not context.lost:
                await asyncio.sleep(0.1)
            seen.append(("lost", context.remaining is None or context.ending))

        def partition_lost(self, context: LostContext) -> None:
            seen.append(("told", context.epoch))

    with Harness(Watching, **BY_KEY, max_batch=1) as h:
        h.write(*pairs("abc"))
        h.advance(2)
        assert seen == [("called", seen[0][1])] * 3
        h.lose()
        assert [what for what, _ in seen[3:]] == ["lost", "lost", "lost", "told"]
        assert h.checkpoint is None


def test_a_partition_ends_when_every_key_is_done() -> None:
    calls = Calls({b"1": 2})
    with Harness(calls.handler(), **BY_KEY) as h:
        h.write(*pairs("abc"))
        h.end()
        assert sorted(calls.done) == [0, 1, 2]
        assert len(h.errors) == 2
        assert h.checkpoint == Position.END


def test_a_run_to_the_end_waits_for_retries() -> None:
    calls = Calls({b"0": 2})
    with Harness(calls.handler(), **BY_KEY, stop="idle:2s") as h:
        h.write(*pairs("abc"))
        h.advance(60)
        assert not h.is_running
        assert sorted(calls.done) == [0, 1, 2]
        assert len(h.errors) == 2
    assert h.checkpoint == 2


def test_hooks_run_once_and_never_beside_a_call() -> None:
    class Hooked(Processor):
        reentrant = True

        def __init__(self) -> None:
            self.running = 0

        async def initialize(self, context: Context) -> None:
            assert not self.running

        async def process(self, batch: Batch, context: Context) -> None:
            self.running += 1
            await asyncio.sleep(1)
            self.running -= 1

        async def partition_revoked(self, context: Context) -> None:
            assert not self.running
            context.checkpoint()

    with Harness(Hooked, **BY_KEY, max_batch=1) as h:
        h.write(*pairs("abcdefgh"))
        h.advance(0.5)
    assert h.hooks.count("process") == 4
    assert (h.hooks[0], *h.hooks[-2:]) == ("initialize", "partition_revoked", "close")
    assert h.checkpoint == 3
