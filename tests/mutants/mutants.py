"""Rules, each with a change that takes it away and the tests that must then fail.

`old` must occur exactly once in the file, so that a mutant cannot rot unnoticed. Keep them small: one rule, one change.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["MUTANTS", "Mutant"]

ONE = "tests/promise/test_promise_1_at_least_once.py::"
TWO = "tests/promise/test_promise_2_start.py::"
THREE = "tests/promise/test_promise_3_order.py::"
FOUR = "tests/promise/test_promise_4_one_owner.py::"
FIVE = "tests/promise/test_promise_5_forward.py::"
SIX = "tests/promise/test_promise_6_bounded.py::"
SEVEN = "tests/promise/test_promise_7_failures_stay_small.py::"
EIGHT = "tests/promise/test_promise_8_contract.py::"

ASSIGNMENT = "engine/assignment.py"
CHECKPOINTER = "engine/checkpoint/checkpointer.py"
LINK = "engine/checkpoint/link.py"
PRESSURE = "engine/delivery/pressure.py"
START = "engine/ownership/start.py"
STATIC = "engine/ownership/static.py"
SUPERVISOR = "engine/supervisor.py"
WORKER = "engine/delivery/worker.py"
FENCING = "builtin/fencing.py"


@dataclass(frozen=True, slots=True)
class Mutant:
    """`file` is a path inside the package."""

    rule: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]


MUTANTS = (
    # -- 1: at least once
    Mutant(
        "a checkpoint never passes a record that is not done",
        WORKER,
        "done = running.done if running is not None else 0",
        "done = len(running.batch) if running is not None else 0",
        (ONE + "test_nothing_is_saved_beyond_a_call_that_has_not_returned",),
    ),
    Mutant(
        "a checkpoint waits for flush",
        CHECKPOINTER,
        "progress = worker.flushed if worker.flushes else worker.snapshot()",
        "progress = worker.snapshot()",
        (ONE + "test_a_checkpoint_waits_for_flush",),
    ),
    Mutant(
        "a flush that failed made nothing durable",
        WORKER,
        "            self._flush_failures += 1\n            return False\n",
        "            self._flush_failures += 1\n            self.flushed = progress\n            return False\n",
        (ONE + "test_a_flush_that_fails_at_the_end_saves_nothing_new",),
    ),
    Mutant(
        "a retry delivers the record that failed",
        WORKER,
        "done, rest = _split(rest, result.count)\n",
        "done, rest = _split(rest, result.count + 1)\n",
        (ONE + "test_a_record_that_fails_is_never_passed",),
    ),
    Mutant(
        "the first record of a batch that is not done ends it",
        "engine/delivery/call.py",
        "first = min(named)",
        "first = max(named)",
        (ONE + "test_the_first_record_that_is_not_done_ends_the_batch",),
    ),
    Mutant(
        "a claim in doubt is not an absent checkpoint",
        ASSIGNMENT,
        '                await self._wait_after(f"claiming {self.partition}", error, failures)\n',
        "                claim = await self._house.store.claim(self.partition, self._house.worker_name, self.epoch)\n"
        "                return replace(claim, checkpoint=None)\n",
        (ONE + "test_a_claim_whose_answer_is_in_doubt_is_not_an_absent_checkpoint",),
    ),
    Mutant(
        "a row that cannot be read is not an absent checkpoint",
        "builtin/sqlite.py",
        '            raise StoreUnavailableError(f"{str(self.settings.path)!r}: the checkpoint of {partition} cannot be read: {error}") '
        "from error\n",
        "            return None  # type: ignore[return-value]\n",
        ("tests/unit/builtin/test_sqlite_store.py::test_a_row_that_cannot_be_read_names_itself_and_holds_up_nobody_else",),
    ),
    # -- 2: start
    Mutant(
        "the start is saved before the first record",
        ASSIGNMENT,
        "(answer,) = await self._house.store.save([(first, grant)])",
        "answer = grant",
        (TWO + "test_latest_and_a_kill_in_the_first_call_lose_nothing",),
    ),
    Mutant(
        "the start is resolved before it is saved",
        ASSIGNMENT,
        'start = await house.runtime.io.call("resolve", house.broker.resolve(self.partition, first.wish))',
        "start = first.wish",
        (TWO + "test_latest_and_a_kill_in_the_first_call_lose_nothing",),
    ),
    Mutant(
        "a partition found later begins at EARLIEST",
        START,
        "    return FirstStart(StartPosition.EARLIEST, count, started)\n",
        "    return FirstStart(configured, count, started)\n",
        (TWO + "test_a_partition_found_later_begins_at_earliest",),
    ),
    Mutant(
        "one that was there from the beginning does not begin at EARLIEST",
        START,
        "return int(partition.id) < min(counts)",
        "return False",
        (TWO + "test_latest_is_the_first_start_of_the_group_for_every_partition",),
    ),
    Mutant(
        "what a group has begun it finishes, wherever a new one would start",
        STATIC,
        "    return [partition for partition in everything if (partition.stream, partition.id) in kept]\n",
        "    return found\n",
        (TWO + "test_latest_does_not_forget_a_partition_that_was_begun_and_has_ended_since",),
    ),
    # -- 3: order
    Mutant(
        "within an assignment positions strictly rise",
        WORKER,
        "        if self.newest is not None and not self.newest < batch.first:\n            return False\n",
        "",
        (THREE + "test_a_reader_that_goes_back_is_opened_again_from_our_own_position",),
    ),
    Mutant(
        "a reader that went back is opened from our own position",
        "engine/reading.py",
        "worker.context.start if worker.newest is None else StartPosition.after(worker.newest)",
        "worker.context.start",
        (THREE + "test_a_reader_that_goes_back_is_opened_again_from_our_own_position",),
    ),
    Mutant(
        "children begin after all their parents",
        STATIC,
        "        if parents:\n            self._waiting[partition] = parents\n            return\n",
        "",
        (THREE + "test_children_begin_after_all_their_parents_have_ended",),
    ),
    Mutant(
        "both parents of a merge gate the child",
        STATIC,
        "                if not parents:\n",
        "                if True:\n",
        (THREE + "test_children_begin_after_all_their_parents_have_ended",),
    ),
    Mutant(
        "a manual processor says itself that a partition has ended",
        CHECKPOINTER,
        'if final == "end" and entry.is_manual and not (entry.submitted is not None and entry.submitted.is_end):\n'
        "            promise.resolve(False)",
        'if final == "end" and entry.is_manual and not (entry.submitted is not None and entry.submitted.is_end):\n'
        "            promise.resolve(True)",
        (THREE + "test_children_wait_while_a_parent_may_not_end",),
    ),
    # -- 4: one owner
    Mutant(
        "an older owner's save is refused",
        FENCING,
        "if row is None or held != current:",
        "if row is None:",
        (FOUR + "test_the_save_of_an_old_owner_is_refused",),
    ),
    Mutant(
        "every claim raises the epoch",
        FENCING,
        "return Row(max(epoch, row.epoch + 1), owner, row.checkpoint)",
        "return Row(max(epoch, row.epoch), owner, row.checkpoint)",
        ("tests/unit/builtin/test_fencing.py",),
    ),
    Mutant(
        "nothing is saved after a loss",
        ASSIGNMENT,
        'if self._entry is not None and ending.kind != "revoked":',
        "if self._entry is not None and False:",
        (FOUR + "test_nothing_is_saved_after_a_loss",),
    ),
    Mutant(
        "open futures fail with the loss",
        CHECKPOINTER,
        "            self._entries.remove(entry)\n        for _, promise in entry.futures:\n            promise.fail(error)\n",
        "            self._entries.remove(entry)\n",
        (FOUR + "test_open_futures_fail_with_the_loss",),
    ),
    Mutant(
        "a handler can see that its partition is lost",
        WORKER,
        'self.context.lost = self.context.lost or ending.kind != "revoked"',
        "pass",
        (FOUR + "test_a_worker_that_lost_a_partition_cannot_move_its_checkpoint",),
    ),
    Mutant(
        "no call is begun after the end",
        WORKER,
        "while rest is not None and self._ending is None:",
        "while rest is not None:",
        (FOUR + "test_nothing_is_begun_once_the_end_has_begun",),
    ),
    Mutant(
        "a new assignment waits for the old call",
        ASSIGNMENT,
        "            await self._after.wait_over()",
        "            pass",
        (FOUR + "test_a_new_assignment_waits_for_the_old_call",),
    ),
    Mutant(
        "an assignment that is lost while it waits does not hide the one that it waited for",
        SUPERVISOR,
        "self._zombies.setdefault(assignment.partition, assignment)",
        "self._zombies[assignment.partition] = assignment",
        (FOUR + "test_a_new_assignment_waits_for_the_old_call",),
    ),
    Mutant(
        "a late revoke does not take the next assignment",
        SUPERVISOR,
        "ours = [a.partition for a in late if self._assignments.get(a.partition) is a]",
        "ours = [a.partition for a in late]",
        (FOUR + "test_a_revoke_that_takes_too_long_does_not_touch_the_next_assignment",),
    ),
    Mutant(
        "fenced for good, but still assigned: begin again from the store",
        SUPERVISOR,
        'if assignment.ending.kind == "lost" and assignment.partition not in self._revoking:',
        "if False:",
        (FOUR + "test_an_operator_who_moves_a_checkpoint_is_obeyed",),
    ),
    Mutant(
        "a run does not end while a partition is about to begin again",
        SUPERVISOR,
        "if not self._stopping and not self._again and await",
        "if not self._stopping and await",
        (FOUR + "test_a_run_does_not_end_while_a_partition_is_about_to_begin_again",),
    ),
    # -- 5: forward
    Mutant(
        "all is saved before a partition is given back",
        CHECKPOINTER,
        "        entry.final = final\n        entry.settled = promise\n        self.urge(entry)\n",
        "        promise.resolve(True)\n",
        (FIVE + "test_revoked_may_checkpoint",),
    ),
    Mutant(
        "checkpoints of a store do not go back",
        FENCING,
        "        _forward(row.checkpoint.at, checkpoint)\n",
        "",
        ("tests/unit/builtin/test_fencing.py",),
    ),
    Mutant(
        "a checkpoint behind the last one is an error",
        LINK,
        "if (low is not None and position < low) or high is None or high < position:",
        "if high is None or high < position:",
        (FIVE + "test_one_that_goes_back_is_a_named_error", FIVE + "test_one_behind_the_last_owners_is_a_named_error"),
    ),
    Mutant(
        "a checkpoint beyond what was delivered is an error",
        LINK,
        "if (low is not None and position < low) or high is None or high < position:",
        "if low is not None and position < low:",
        (FIVE + "test_one_beyond_what_was_delivered_is_a_named_error",),
    ),
    Mutant(
        "the latest submission wins",
        CHECKPOINTER,
        "max(entry.submitted, position)",
        "min(entry.submitted, position)",
        (FIVE + "test_the_latest_wins",),
    ),
    Mutant(
        "an awaited checkpoint is written at once",
        CHECKPOINTER,
        '        """Write it now, not at the next interval."""\n        entry.urgent = True\n        self._signal.set()\n',
        '        """Write it now, not at the next interval."""\n',
        (FIVE + "test_an_awaited_checkpoint_is_in_the_store",),
    ),
    Mutant(
        "a save that fails does not use up the window",
        WORKER,
        "        return self._counted\n",
        "        counted, self._counted = self._counted, self.saved_count\n        return counted\n",
        (FIVE + "test_a_failed_save_does_not_use_up_the_window",),
    ),
    Mutant(
        "a save in the middle of a batch does not use up the window",
        CHECKPOINTER,
        "            self._count(entry.worker, wanted.count)\n        self._ask_flush(entry, now)",
        "            pass\n        self._ask_flush(entry, now)",
        (FIVE + "test_a_checkpoint_in_the_middle_of_a_call_does_not_use_up_the_window",),
    ),
    Mutant(
        "a retry delivers only what lies after the last checkpoint",
        WORKER,
        "            rest = self._after_submitted(rest)\n",
        "",
        (FIVE + "test_a_retry_delivers_only_what_lies_after_the_last_checkpoint",),
    ),
    # -- 6: bounds
    Mutant(
        "what is not saved is bounded",
        PRESSURE,
        "        if load.in_flight >= self._max_in_flight:\n            return True\n",
        "",
        (SIX + "test_records_that_are_done_but_not_saved_are_bounded_too",),
    ),
    Mutant(
        "bytes are bounded",
        PRESSURE,
        " or (queued > 0 and load.held_bytes >= self._share(partitions))\n",
        "\n",
        (SIX + "test_a_slow_handler_bounds_the_bytes_in_memory",),
    ),
    Mutant(
        "one oversized record is admitted",
        "builtin/memory/reader.py",
        "max(max_bytes, first_size)",
        "max_bytes",
        (SIX + "test_an_oversized_record_is_admitted_alone",),
    ),
    Mutant(
        "a drain ends by its deadline",
        SUPERVISOR,
        "await assignment.wait_over(max(0.0, until - self._runtime.monotonic()))",
        "await assignment.wait_over()",
        (SIX + "test_a_drain_does_not_wait_for_an_async_handler_either",),
    ),
    Mutant(
        "attempts are bounded",
        "engine/delivery/retry.py",
        "return attempt >= self.attempts",
        "return attempt > self.attempts",
        (SIX + "test_attempts_are_counted",),
    ),
    # -- 7: failures stay small
    Mutant(
        "a partition halts alone",
        WORKER,
        "        self._events.halt(final)\n",
        "        self._events.stop_asked(final)\n",
        (SEVEN + "test_a_partition_halts_alone_and_visibly",),
    ),
    Mutant(
        "a rejected record is not tried again at once",
        WORKER,
        "if isinstance(failure, Stop) or rejected or policy.exhausted(attempt):",
        "if isinstance(failure, Stop) or policy.exhausted(attempt):",
        (SEVEN + "test_a_rejected_record_is_not_tried_again_before_the_long_back_off",),
    ),
    Mutant(
        "a hook that raises delays nothing",
        WORKER,
        "            self._events.hook_failed(name, error)\n            return False\n",
        "            self._events.hook_failed(name, error)\n            raise\n",
        (SEVEN + "test_a_raising_hook_is_reported_and_delays_nothing",),
    ),
    # -- 8: refusals
    Mutant(
        "a checkpoint of another incarnation is refused",
        FENCING,
        "if stored and partition.incarnation and stored != partition.incarnation:",
        "if False:",
        (EIGHT + "test_a_stream_that_was_made_anew_refuses_the_old_checkpoint",),
    ),
    Mutant(
        "a set-up that is refused leaves no reader behind",
        SUPERVISOR,
        "        self._is_reading = True\n",
        "",
        (EIGHT + "test_a_partition_that_does_not_exist_refuses_to_start_and_leaves_nothing_running",),
    ),
)
