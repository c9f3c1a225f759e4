"""Rules of order by key: the calls of one key follow one another, and other keys do not wait for them."""

from tests.mutants.mutant import Mutant
from tests.mutants.rules.places import ASSIGNMENT, KEYED, LANES, PRESSURE

__all__ = ["MUTANTS"]

KEYS = "tests/promise/test_promise_3_key_order.py::"
BY_KEY = "tests/unit/engine/delivery/test_keyed.py::"
BY_LANES = "tests/unit/engine/delivery/test_lanes.py::"

MUTANTS: tuple[Mutant, ...] = (
    Mutant(
        "two calls of one key never run at once",
        LANES,
        "            elif not lane.running:\n                self.waiting_records += 1\n",
        "            elif lane.running:\n                self._make_ready(lane)\n",
        (BY_LANES + "test_order_by_key_holds_in_every_schedule",),
    ),
    Mutant(
        "lanes and tracker have one dispatcher at a time, whichever runners are done",
        KEYED,
        "if not self._baton.acquire(blocking=False):",
        "if not self._baton.acquire(blocking=False) and self._is_over:",
        ("tests/promise/test_promise_3_key_order.py::test_calls_that_end_at_the_same_time_on_many_threads_break_no_rule",),
    ),
    Mutant(
        "a record that is tried again is not overtaken by a later one of its key",
        LANES,
        "lane.items.extendleft(reversed(kept))",
        "lane.items.extend(kept)",
        (BY_LANES + "test_order_by_key_holds_in_every_schedule",),
    ),
    Mutant(
        "the safe position never passes a gap",
        "engine/delivery/tracker.py",
        "gap = segment.flags.find(0, segment.done)",
        "gap = segment.flags.rfind(1) + 1",
        ("tests/unit/engine/delivery/test_tracker.py::test_a_gap_stops_the_safe_position_and_its_end_moves_it_over_all_that_is_done",),
    ),
    Mutant(
        "a key in trouble blocks only itself",
        KEYED,
        "            if lane not in failed:\n                self._lanes.wake(lane)\n",
        "            if lane not in failed:\n                self._lanes.rest(lane, self._life.runtime.monotonic() + 60)\n",
        (BY_KEY + "test_a_batch_that_names_the_record_holds_up_only_its_key",),
    ),
    Mutant(
        "with order by key a checkpoint says that one record is done, and moves nothing",
        "engine/delivery/runner.py",
        "future = self._link.follow(position, metadata, on_wait)",
        "future = self._link.submit(position, metadata)",
        (BY_KEY + "test_a_checkpoint_says_that_this_record_is_done_and_its_future_waits_for_the_safe_position",),
    ),
    Mutant(
        "calls that wait for a checkpoint do not keep out the record that they wait for",
        KEYED,
        "(free > 0 or self._is_waited_for(free))",
        "free > 0",
        (BY_KEY + "test_calls_that_wait_for_their_checkpoints_do_not_keep_out_the_record_that_they_wait_for",),
    ),
    Mutant(
        "what is safe is saved before a call that hangs ends the drain",
        ASSIGNMENT,
        'if ending.kind == "revoked" and self._entry.worker.calls():',
        "if False:",
        (KEYS + "test_a_call_that_hangs_holds_up_its_key_alone_and_what_is_safe_is_saved_at_the_drain",),
    ),
    Mutant(
        "records behind a retry do not stop the reading of others",
        PRESSURE,
        "return queued - load.resting_records >= self._high or",
        "return queued >= self._high or",
        ("tests/unit/engine/delivery/test_pressure.py::test_records_behind_a_retry_hold_up_others_only_by_their_bytes_and_in_flight",),
    ),
    Mutant(
        "code that is not reentrant is not called for several keys at once",
        "engine/delivery/reentrant.py",
        "if not facts.reentrant:",
        "if False:",
        ("tests/unit/engine/delivery/test_reentrant.py::test_what_cannot_run_beside_itself_refuses_to_start",),
    ),
    Mutant(
        "one call is made beyond CONCURRENCY while one is waited for, however many wait",
        KEYED,
        "return free == 0 or len(self._waiting) == len(self._running)",
        "return True",
        ("tests/unit/engine/delivery/test_runner.py::test_however_many_wait_for_their_checkpoints_one_call_is_made_beyond_concurrency",),
    ),
)
