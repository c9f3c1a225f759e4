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
PREPARED = "tests/promise/test_promise_5_prepared.py::"
OUTAGE = "tests/promise/test_promise_5_outage.py::"
CHECKPOINT = "tests/unit/engine/checkpoint/"
SIX = "tests/promise/test_promise_6_bounded.py::"
SEVEN = "tests/promise/test_promise_7_failures_stay_small.py::"
POLICIES = "tests/promise/test_promise_7_policies.py::"
CARE = "tests/unit/engine/delivery/test_care.py::"
EIGHT = "tests/promise/test_promise_8_contract.py::"

HEALTH = "tests/promise/test_promise_7_health.py::"
PAGE = "tests/unit/test_status.py::"
WATCHDOG = "tests/unit/engine/test_watchdog.py::"

KEYS = "tests/promise/test_promise_3_key_order.py::"
BY_KEY = "tests/unit/engine/delivery/test_keyed.py::"
BY_LANES = "tests/unit/engine/delivery/test_lanes.py::"

TRACES = "tests/unit/telemetry/test_tracing.py::"
EXPORT = "tests/unit/telemetry/test_export.py::"

AFTER = "tests/unit/engine/delivery/test_after_a_checkpoint.py::"
READING = "tests/unit/engine/test_reading.py::"
TAKEN_OVER = "tests/unit/engine/test_taken_over.py::"
STARTING = "tests/unit/engine/test_starting.py::"

ASSIGNMENT = "engine/assignment.py"
CLAIMING = "engine/claiming.py"
CHECKPOINTER = "engine/checkpoint/checkpointer.py"
ENTRY = "engine/checkpoint/entry.py"
KEYED = "engine/delivery/keyed.py"
LANES = "engine/delivery/lanes.py"
LINK = "engine/checkpoint/link.py"
PRESSURE = "engine/delivery/pressure.py"
LINEAGE = "engine/ownership/lineage.py"
LINEAGES = "tests/unit/engine/ownership/test_lineage.py::"
LINEAGE_RULES = "tests/unit/engine/ownership/test_lineage_rules.py::"
START = "engine/ownership/start.py"
STATIC = "engine/ownership/static.py"
SUPERVISOR = "engine/supervisor.py"
WORKER = "engine/delivery/worker.py"
IN_ORDER = "engine/delivery/in_order.py"
INTAKE = "engine/delivery/intake.py"
FAILURES = "engine/delivery/failures.py"
FLUSHING = "engine/delivery/flushing.py"
LIFE = "engine/delivery/life.py"
BALANCE = "engine/ownership/balance.py"
LEASE = "engine/ownership/lease.py"
NAMING = "engine/ownership/naming.py"
LEASED_CALLS = "engine/checkpoint/leased_calls.py"
ROSTER = "engine/ownership/roster.py"
TENURE = "engine/ownership/tenure.py"
LEVEL = "tests/unit/engine/ownership/test_balance.py::"
BY_LEASE = "tests/promise/test_promise_4_leases.py::"
HANGING = "tests/promise/test_promise_4_hanging.py::"
ANOTHER = "tests/promise/test_promise_4_another_program.py::"
ONE_GROUP = "tests/promise/test_promise_4_one_group.py::"
STOP = "tests/promise/test_promise_1_stop.py::"
STOPPING = "engine/stopping.py"
FENCING = "plugin/fencing.py"
LETTER = "engine/delivery/letter.py"
LETTERS = "tests/unit/engine/delivery/test_letter.py::"
REPLAY = "tests/unit/cli/test_dead_letters.py::"
LINES = "tests/unit/builtin/test_file_producer.py::"
LEASING = "plugin/leasing.py"
STORE_RULES = "tests/conformance/test_memory.py::test_store_rules["
SQLITE_RULES = "tests/conformance/test_sqlite.py::test_rules["
MARKERS = "engine/markers.py"
PARK = "tests/unit/engine/delivery/test_park.py::"
PARKED = "tests/promise/test_promise_3_parking.py::"
CRASHED = "tests/unit/engine/delivery/test_park_after_a_crash.py::"
ASKED = "tests/unit/engine/delivery/test_park_requests.py::"
WRITING = "tests/unit/engine/delivery/test_writing_letters.py::"


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
        IN_ORDER,
        "done = running.done if running is not None else 0",
        "done = len(running.batch) if running is not None else 0",
        (ONE + "test_nothing_is_saved_beyond_a_call_that_has_not_returned",),
    ),
    Mutant(
        "a checkpoint waits for flush",
        ENTRY,
        "progress = worker.flushed if worker.flushes else worker.snapshot()",
        "progress = worker.snapshot()",
        (ONE + "test_a_checkpoint_waits_for_flush",),
    ),
    Mutant(
        "a flush that failed made nothing durable",
        FLUSHING,
        '            self._life.events.hook_failed("flush", error)\n            return error\n',
        '            self._life.events.hook_failed("flush", error)\n            self.flushed = progress\n            return error\n',
        (ONE + "test_a_flush_that_fails_at_the_end_saves_nothing_new",),
    ),
    Mutant(
        "a retry delivers the record that failed",
        IN_ORDER,
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
        CLAIMING,
        '                await self._wait_after(f"claiming {one.partition}", error, failures)\n',
        "                claim = await self._house.store.claim(one.partition, self._house.worker_name, one.epoch)\n"
        "                return replace(claim, checkpoint=None)\n",
        (ONE + "test_a_claim_whose_answer_is_in_doubt_is_not_an_absent_checkpoint",),
    ),
    Mutant(
        "a row that cannot be read is not an absent checkpoint",
        "builtin/sqlite_rows.py",
        '            raise StoreUnavailableError(f"{self._path!r}: the checkpoint of {partition} cannot be read: {error}") from error\n',
        "            return None  # type: ignore[return-value]\n",
        ("tests/unit/builtin/test_sqlite_store.py::test_a_row_that_cannot_be_read_names_itself_and_holds_up_nobody_else",),
    ),
    # -- 2: start
    Mutant(
        "the start is saved before the first record",
        CLAIMING,
        "answer = await self._house.first_saves.ask((first, grant), self._may_begin)",
        "answer = grant",
        (TWO + "test_latest_and_a_kill_in_the_first_call_lose_nothing",),
    ),
    Mutant(
        "the start is resolved before it is saved",
        CLAIMING,
        'start = await house.runtime.io.call("resolve", house.broker.resolve(one.partition, first.wish))',
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
        "    return [partition for partition in everything if partition in kept]\n",
        "    return found\n",
        (TWO + "test_latest_does_not_forget_a_partition_that_was_begun_and_has_ended_since",),
    ),
    # -- 3: order
    Mutant(
        "within an assignment positions strictly rise",
        INTAKE,
        "        if self.newest is not None and not self.newest < batch.first:\n            return False\n",
        "",
        (THREE + "test_a_reader_that_goes_back_is_opened_again_from_our_own_position",),
    ),
    Mutant(
        "a reader that went back is opened from our own position",
        WORKER,
        "self.context.start if intake.newest is None else StartPosition.after(intake.newest)",
        "self.context.start",
        (THREE + "test_a_reader_that_goes_back_is_opened_again_from_our_own_position",),
    ),
    Mutant(
        "what a reader has gone on from is where it is opened again",
        WORKER,
        "        if intake.begins is not None:\n            return intake.begins\n",
        "",
        (READING + "test_after_a_resume_a_passing_error_goes_on_from_there_and_from_nowhere_else",),
    ),
    Mutant(
        "a resume forgets nothing of what was offered",
        INTAKE,
        "elif self.newest is not None and self.newest.sequence is not None and not self.newest < start.position:",
        "else:",
        (READING + "test_after_a_resume_positions_still_rise",),
    ),
    Mutant(
        "a partition has recovered when something was read of it",
        ASSIGNMENT,
        "while self.worker.offers == offers and",
        "while False and",
        (READING + "test_recovered_is_said_after_something_was_read",),
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
        'if final == "end" and entry.is_manual and not _says_that_it_ended(entry):\n            promise.resolve(False)',
        'if final == "end" and entry.is_manual and not _says_that_it_ended(entry):\n            promise.resolve(True)',
        (THREE + "test_children_wait_while_a_parent_may_not_end",),
    ),
    # -- 3: order by key
    Mutant(
        "what a batch of the broker is cut into keeps its order",
        "engine/delivery/in_order.py",
        "inbox.extendleft(reversed(others))",
        "inbox.extendleft(others)",
        ("tests/unit/engine/delivery/test_batches.py::test_a_large_batch_of_the_broker_is_sliced",),
    ),
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
    # -- 3: lineage
    Mutant(
        "both parents of a merge gate its child",
        LINEAGE,
        "for parent in lease.partition.parents)\n    return",
        "for parent in lease.partition.parents[:1])\n    return",
        (LINEAGE_RULES + "test_a_merged_child_waits_for_both_parents",),
    ),
    Mutant(
        "a merge's child has no lease before both its parents have one",
        LINEAGE,
        "any(Partition(own.stream, other) not in known for other in parents)",
        "False",
        (LINEAGE_RULES + "test_a_merged_child_is_left_to_the_parent_that_has_no_lease_yet",),
    ),
    Mutant(
        "a child begins at EARLIEST, whatever START is",
        LINEAGE,
        "            partition,\n            StartPosition.EARLIEST",
        "            partition,\n            StartPosition.LATEST",
        (LINEAGE_RULES + "test_at_an_end_each_child_begins_at_earliest_and_knows_when_the_group_started",),
    ),
    Mutant(
        "an end without all its children is no end",
        LINEAGE,
        "if own.key_range is not None and (gaps",
        "if False and (gaps",
        (LINEAGE_RULES + "test_an_end_without_all_its_children_is_refused",),
    ),
    Mutant(
        "what lies behind a lease is never created again",
        LINEAGE,
        "behind = ended | (family.ancestors(leased) - leased - between)",
        "behind = set(ended)",
        (LINEAGES + "test_what_lies_behind_a_lease_is_never_created_again_however_long_the_broker_lists_it",),
    ),
    Mutant(
        "what lies between two leases has one too",
        LINEAGE,
        "return (family.ancestors(leased) & below) - leased",
        "return set()",
        (LINEAGES + "test_what_lies_between_two_leases_has_one_too_or_nothing_would_hold_up_the_younger",),
    ),
    Mutant(
        "a first start with a hole is refused",
        LINEAGE,
        "_refuse_holes(family, ahead if ours else frontier)",
        "_refuse_holes(family, ahead)",
        (LINEAGES + "test_a_first_start_refuses_a_listing_without_one_of_the_oldest",),
    ),
    Mutant(
        "a child beside a parent that has not ended is refused",
        "engine/ownership/family.py",
        "if not partition.ended and child in self._listed",
        "if False",
        (LINEAGES + "test_a_child_of_a_parent_that_has_not_ended_is_refused",),
    ),
    Mutant(
        "an ended lease is removed only when its own parents are gone",
        LINEAGE,
        "            and not any(Partition(stream, parent) in known for parent in row.partition.parents)\n",
        "",
        (LINEAGE_RULES + "test_an_ended_lease_stays_until_its_own_parents_are_gone",),
    ),
    Mutant(
        "an ended lease is removed only when its children have begun",
        LINEAGE,
        "child is not None and _has_begun(child)",
        "child is not None",
        (LINEAGE_RULES + "test_an_ended_lease_is_removed_when_all_its_children_have_begun",),
    ),
    # -- 4: one owner
    Mutant(
        "an older owner's save is refused",
        FENCING,
        "if row is None or held != current or not row.owner:",
        "if row is None:",
        (FOUR + "test_the_save_of_an_old_owner_is_refused",),
    ),
    Mutant(
        "a hook that had to wait for its turn takes no wake-up from others",
        "engine/delivery/life.py",
        "            if had_to_wait:",
        "            if False:",
        ("tests/unit/engine/delivery/test_life.py",),
    ),
    Mutant(
        "who claims again what is its own is no further owner",
        FENCING,
        "fruitless_claims=row.fruitless_claims + (row.owner != owner or not row.fruitless_claims),",
        "fruitless_claims=row.fruitless_claims + 1,",
        (CARE + "test_a_process_that_claims_again_is_no_further_owner",),
    ),
    Mutant(
        "who claims is a process, not a name that another had before",
        "engine/supervisor.py",
        "claimant=owner_name(parts.worker_name, runtime.random()),",
        "claimant=parts.worker_name,",
        (CARE + "test_the_culprit_is_found_and_goes_to_the_policy",),
    ),
    Mutant(
        "every claim raises the epoch",
        FENCING,
        "epoch=max(epoch, row.epoch + 1),",
        "epoch=max(epoch, row.epoch),",
        ("tests/unit/plugin/test_fencing.py",),
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
        ENTRY,
        "        for one in self.waiting:\n            one.promise.fail(self.fenced or error)\n",
        "",
        (FOUR + "test_open_futures_fail_with_the_loss",),
    ),
    Mutant(
        "a handler can see that its partition is lost",
        LIFE,
        'self.context.lost = self.context.lost or ending.kind != "revoked"',
        "pass",
        (FOUR + "test_a_worker_that_lost_a_partition_cannot_move_its_checkpoint",),
    ),
    Mutant(
        "no call is begun after the end",
        IN_ORDER,
        "while rest is not None and life.ending is None:",
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
        "if is_lost and assignment.partition not in self._revoking and (wait := self._ownership.again_seconds) is not None:",
        "if (wait := None) is not None:",
        (FOUR + "test_an_operator_who_moves_a_checkpoint_is_obeyed",),
    ),
    Mutant(
        "a run does not end while a partition is about to begin again",
        SUPERVISOR,
        "if not self._stopping and not self._again and await",
        "if not self._stopping and await",
        (FOUR + "test_a_run_does_not_end_while_a_partition_is_about_to_begin_again",),
    ),
    # -- 4: ownership by leases
    Mutant(
        "who is fenced has lost at once",
        LEASED_CALLS,
        "            if isinstance(answer, FencedError):\n                self._fenced(held, answer)\n",
        "            if isinstance(answer, FencedError):\n                self.drop(held)\n",
        (BY_LEASE + "test_who_is_fenced_has_lost_at_once_and_does_not_claim_again",),
    ),
    Mutant(
        "a renewal waits for the save that is under way",
        LEASED_CALLS,
        "                if before is not None:\n                    await before\n",
        "",
        (BY_LEASE + "test_a_save_and_a_renewal_are_never_under_way_together",),
    ),
    Mutant(
        "the leases of another stream of that name are refused",
        LEASED_CALLS,
        "if stored and partition.incarnation and stored != partition.incarnation:",
        "if False:",
        (BY_LEASE + "test_the_leases_of_a_stream_that_was_made_anew_refuse_to_start",),
    ),
    Mutant(
        "what is not held any more is not saved",
        LEASED_CALLS,
        "if isinstance(grant, Held) and self._is_ours(grant)]",
        "if isinstance(grant, Held)]",
        (BY_LEASE + "test_a_save_of_what_is_not_held_any_more_does_not_even_reach_the_store",),
    ),
    Mutant(
        "a lease that could not be renewed in time is lost, whatever the store says",
        TENURE,
        "if now >= self.valid_until(held)]:",
        "if False]:",
        (BY_LEASE + "test_a_worker_that_cannot_renew_stops_before_another_can_begin",),
    ),
    Mutant(
        "an owner stops a margin before its lease can be another's",
        "engine/ownership/observation.py",
        "return lease_seconds * (1 - MARGIN_PART)",
        "return lease_seconds * (1 + MARGIN_PART)",
        (
            BY_LEASE + "test_a_worker_that_cannot_renew_stops_before_another_can_begin",
            LEVEL + "test_an_owner_stops_before_anybody_could_own_it",
        ),
    ),
    Mutant(
        "a call is not begun with a dead lease",
        LIFE,
        "        if now >= self.valid_until:\n            return False\n",
        "",
        (BY_LEASE + "test_a_suspended_process_begins_no_call_with_a_dead_lease",),
    ),
    Mutant(
        "off by one is not asked for",
        BALANCE,
        "if leases and load[worker] - mine >= 2]",
        "if leases and load[worker] - mine >= 1]",
        (LEVEL + "test_asked_for_is_what_makes_it_level_and_off_by_one_never_moves",),
    ),
    Mutant(
        "off by one is not given",
        BALANCE,
        "if mine - theirs[lease.handover_to] >= 2:",
        "if mine - theirs[lease.handover_to] >= 1:",
        (LEVEL + "test_an_owner_gives_while_that_evens_out_and_refuses_the_rest",),
    ),
    Mutant(
        "the first lease or request announces a worker, and is seen before it takes its share",
        BALANCE,
        "    if not view.is_known:\n",
        "    if not view.is_announced:\n",
        (LEVEL + "test_until_all_can_have_seen_it_nothing_more_is_taken",),
    ),
    Mutant(
        "no more than MAX_PARTITIONS",
        BALANCE,
        "return len(view.rows) if most is None else max(0, most - len(view.held))",
        "return len(view.rows)",
        (LEVEL + "test_never_more_than_max_partitions", BY_LEASE + "test_no_worker_takes_more_than_its_max_partitions"),
    ),
    Mutant(
        "a process that comes back is not its predecessor, whatever its code has seeded",
        "engine/runtime/production.py",
        "return self._chance.random()",
        "return random.random()",
        ("tests/unit/engine/test_runtime.py::test_code_that_seeds_randomness_for_itself_makes_no_two_processes_alike",),
    ),
    Mutant(
        "another program is asked for nothing",
        LEASE,
        "unaskable={row.owner for row in rows if is_another_program(row.owner)},",
        "",
        (ANOTHER + "test_workers_beside_another_program_level_what_they_have_among_themselves",),
    ),
    Mutant(
        "what another program has is told",
        "engine/health.py",
        "for lease in self._of_another_program():",
        "for lease in ():",
        (ANOTHER + "test_a_lease_of_another_program_is_told_by_health_and_makes_nothing_red",),
    ),
    Mutant(
        "a child is not taken before its parents have ended",
        LEASE,
        "gated={row.partition for row in rows if is_gated(row, by_partition)},",
        "gated=set(),",
        (BY_LEASE + "test_a_child_waits_for_both_parents_whoever_has_them",),
    ),
    Mutant(
        "the leases of children are made before their names and END are saved",
        ROSTER,
        "        if missing:\n            await self._calls.create(missing)\n        if children:\n",
        "        if children:\n",
        (BY_LEASE + "test_end_is_saved_after_the_childrens_leases_and_their_names",),
    ),
    Mutant(
        "where a group begins is resolved for all partitions when their leases are made",
        ROSTER,
        "await self._resolving.starts(plain, wish)",
        "[StartPosition.EARLIEST] * len(plain)",
        (BY_LEASE + "test_latest_is_the_groups_first_start_even_if_the_first_worker_died_before_it_read_anything",),
    ),
    Mutant(
        "a lease is released as soon as its assignment is over",
        SUPERVISOR,
        "        if not self._abandoned:\n            self._ownership.over(assignment.partition)\n",
        "",
        (BY_LEASE + "test_a_drain_releases_each_partition_as_soon_as_it_is_over",),
    ),
    Mutant(
        "time in which nobody could look does not count against an owner",
        LEASE,
        "unwatched = 0.0 if self._listed_at is None else max(0.0, now - self._listed_at - usual)",
        "unwatched = 0.0",
        (BY_LEASE + "test_after_a_long_outage_everybody_gets_back_what_was_its_own",),
    ),
    Mutant(
        "a process that comes back under its old name is another owner",
        NAMING,
        'return f"{worker}#{int(chance * 2**32):08x}"',
        'return f"{worker}#00000000"',
        (BY_LEASE + "test_a_worker_that_comes_back_under_its_old_name_holds_nothing_of_its_predecessor",),
    ),
    Mutant(
        "the leases of another app's streams are not seen",
        LEASED_CALLS,
        'for row in await self._ask("leases", self._store.leases()) if self._is_read(row.partition)]',
        'for row in await self._ask("leases", self._store.leases())]',
        (ONE_GROUP + "test_the_partitions_of_another_app_are_not_taken_although_nobody_reads_them",),
    ),
    Mutant(
        "who can neither renew nor save takes nothing",
        LEASE,
        "        await self._calls.settled()\n",
        "",
        (HANGING + "test_who_can_neither_renew_nor_save_takes_nothing_and_another_does",),
    ),
    Mutant(
        "a listing of the broker holds up nothing",
        LEASE,
        "if not self._looking.is_complete:",
        "if not self._looking.is_complete or self._looking._task is not None:",
        (HANGING + "test_a_listing_of_the_broker_that_hangs_holds_up_neither_take_over_nor_hand_over",),
    ),
    Mutant(
        "what was resolved for a first start is kept until its leases exist",
        "engine/ownership/resolving.py",
        "for partition in partitions if (partition, wish) not in self._found)",
        "for partition in partitions)",
        (STOP + "test_a_first_start_with_many_partitions_gets_further_with_each_try",),
    ),
    Mutant(
        "at the end nothing is left only when it is known what there is",
        STOPPING,
        "        if leases is None or not ownership.is_complete:\n",
        "        if leases is None:\n",
        (STOP + "test_who_ends_by_itself_waits_for_the_first_leases",),
    ),
    Mutant(
        "at the end the children of what is ours are still to come",
        STOPPING,
        "        if to_come:\n            return False\n",
        "",
        (STOP + "test_at_end_follows_children_although_the_last_record_comes_before_the_end",),
    ),
    Mutant(
        "at the end a dead worker's leases are not left to it",
        STOPPING,
        "all(lease.owner and lease.partition not in free for lease in left)",
        "all(lease.owner for lease in left)",
        (STOP + "test_at_end_does_not_leave_to_a_dead_worker_what_the_rows_say_is_its_own",),
    ),
    Mutant(
        "idle is not what a predecessor still seems to own",
        STOPPING,
        "return not self._is_full() and bool(ownership.unattended())",
        "return False",
        (STOP + "test_a_worker_that_ends_by_itself_first_waits_for_what_its_predecessor_has_left",),
    ),
    Mutant(
        "idle is not a store that does not answer",
        STOPPING,
        "        if not ownership.is_complete or ownership.problem is not None:\n            return True\n",
        "",
        (STOP + "test_idle_is_not_a_store_that_does_not_answer",),
    ),
    Mutant(
        "who drains wants no more what it has asked for",
        LEASE,
        "if self._has_asked and not self._is_abandoned:",
        "if False:",
        (HANGING + "test_a_worker_that_drains_withdraws_what_it_has_asked_for",),
    ),
    Mutant(
        "a partition that was lost meanwhile is not read again",
        ASSIGNMENT,
        "        if self.ending is not None or self.is_over:\n            return  # meanwhile",
        "        if False:\n            return  # meanwhile",
        (HANGING + "test_a_partition_that_is_lost_while_the_broker_is_asked_about_it_is_not_read_again",),
    ),
    Mutant(
        "what a renewal is answered for one lease is reported, and not repeated at once",
        LEASED_CALLS,
        "                    raise answer  # of one lease",
        "                    pass  # of one lease",
        (HANGING + "test_a_renewal_that_is_refused_for_one_lease_is_reported_and_not_repeated_at_once",),
    ),
    # -- 4: leases in a store
    Mutant(
        "a lease that has changed since it was listed is not taken",
        LEASING,
        "if row is None or not is_unchanged(row, lease):",
        "if row is None:",
        (STORE_RULES + "L12 of two that take it as listed one is refused, and changes nothing]",),
    ),
    Mutant(
        "a sign of life since the listing refuses a take",
        LEASING,
        "(row.version, row.owner, row.epoch) == (lease.version, lease.owner, lease.epoch)",
        "(row.owner, row.epoch) == (lease.owner, lease.epoch)",
        (STORE_RULES + "L13 every sign of life since the listing refuses a take]",),
    ),
    Mutant(
        "every take raises the epoch",
        LEASING,
        "        epoch=row.epoch + 1,\n        owner=owner,",
        "        owner=owner,",
        (STORE_RULES + "L15 a silent owner is replaced, and its grant is refused for ever]",),
    ),
    Mutant(
        "an older owner renews nothing",
        LEASING,
        "    row = checked(row, partition, grant)\n    return replace(row, version=row.version + 1)\n",
        "    assert row is not None\n    return replace(row, version=row.version + 1)\n",
        (STORE_RULES + "L22 each renewal has its own answer]",),
    ),
    Mutant(
        "a renewal is a sign of life",
        LEASING,
        "    return replace(row, version=row.version + 1)\n",
        "    return row\n",
        (STORE_RULES + "L20 a renewal raises the version, and nothing else]",),
    ),
    Mutant(
        "a save of what is there already is a sign of life",
        FENCING,
        "            return replace(row, version=row.version + 1)  # nothing new, but the owner lives",
        "            return row",
        (STORE_RULES + "L13 every sign of life since the listing refuses a take]",),
    ),
    Mutant(
        "a request for hand-over is no sign of life",
        LEASING,
        "return replace(row, handover_to=to)",
        "return replace(row, handover_to=to, version=row.version + 1)",
        (STORE_RULES + "L30 a request for hand-over is noted, and is no sign of life]",),
    ),
    Mutant(
        "a released lease accepts no grant of before",
        LEASING,
        'return replace(row, epoch=row.epoch + 1, owner="", version',
        "return replace(row, version",
        (STORE_RULES + "L36 a release frees, refuses the grant, and keeps for whom]",),
    ),
    Mutant(
        "a free lease accepts no grant at all",
        FENCING,
        "if row is None or held != current or not row.owner:",
        "if row is None or held != current:",
        (STORE_RULES + "L23 a grant that nobody gave is refused]",),
    ),
    Mutant(
        "leases that exist stay as they are",
        "builtin/sqlite.py",
        "            if self._lease(lease.partition) is None:\n",
        "            if True:\n",
        (SQLITE_RULES + "L04 leases that exist stay as they are]",),
    ),
    Mutant(
        "a lease that has changed is not removed",
        "builtin/sqlite.py",
        "if leasing.is_unchanged(self._lease(lease.partition), lease):",
        "if True:",
        (SQLITE_RULES + "L53 what has changed since it was listed is not removed]",),
    ),
    Mutant(
        "children that are named stay named",
        FENCING,
        "        children=stored.children,\n",
        "        children=found.children,\n",
        (STORE_RULES + "L50 children are named in the row of their parent, and stay there]",),
    ),
    Mutant(
        "owners without progress are counted",
        LEASING,
        "fruitless_claims=row.fruitless_claims + (row.owner != owner),",
        "fruitless_claims=row.fruitless_claims,",
        (STORE_RULES + "L40 owners without progress are counted]",),
    ),
    Mutant(
        "a start that was resolved is no progress",
        FENCING,
        'return checkpoint.at.kind == "after" and (',
        "return (",
        (STORE_RULES + "L42 a resolved start, a save of the same and a renewal are no progress]",),
    ),
    Mutant(
        "code of the first version still works in our file",
        "builtin/sqlite_rows.py",
        "_NEEDED = 1",
        "_NEEDED = 2",
        ("tests/unit/builtin/test_sqlite_leases.py::test_code_of_the_first_version_goes_on_working_in_our_file",),
    ),
    Mutant(
        "a row that cannot be read is not a missing lease",
        "builtin/sqlite_rows.py",
        "            yield from map(self._row, cursor.fetchall())",
        "            for columns in cursor.fetchall():\n                try:\n                    yield self._row(columns)\n"
        "                except StoreUnavailableError:\n                    continue",
        ("tests/unit/builtin/test_sqlite_leases.py::test_a_row_that_cannot_be_read_is_never_a_missing_lease",),
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
        "        _forward(stored.at, checkpoint)\n",
        "",
        ("tests/unit/plugin/test_fencing.py",),
    ),
    Mutant(
        "a checkpoint behind the last one is an error",
        LINK,
        "if high is not None and position <= high and (low is None or low <= position):",
        "if high is not None and position <= high:",
        (FIVE + "test_one_that_goes_back_is_a_named_error", FIVE + "test_one_behind_the_last_owners_is_a_named_error"),
    ),
    Mutant(
        "a checkpoint beyond what was delivered is an error",
        LINK,
        "if high is not None and position <= high and (low is None or low <= position):",
        "if low is None or low <= position:",
        (FIVE + "test_one_beyond_what_was_delivered_is_a_named_error",),
    ),
    Mutant(
        "the latest submission wins",
        ENTRY,
        "if self.submitted is None or self.submitted < position:",
        "if self.submitted is None or position < self.submitted:",
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
        INTAKE,
        "        return self._counted\n",
        "        counted, self._counted = self._counted, self.saved_count\n        return counted\n",
        (FIVE + "test_a_failed_save_does_not_use_up_the_window",),
    ),
    Mutant(
        "a save in the middle of a batch does not use up the window",
        CHECKPOINTER,
        "            self._count(entry.worker, wanted.count)\n        self._ask_flush(entry, now)",
        "            pass\n        self._ask_flush(entry, now)",
        (FIVE + "test_a_batch_that_is_saved_from_within_its_call_does_not_use_up_the_window",),
    ),
    Mutant(
        "a retry delivers only what lies after the last checkpoint",
        IN_ORDER,
        "        if submitted is None or submitted < rest.first:\n            return 0, rest\n",
        "        return 0, rest\n",
        (FIVE + "test_a_retry_delivers_only_what_lies_after_the_last_checkpoint",),
    ),
    Mutant(
        "a prepared checkpoint moves nothing before its commit",
        LINK,
        "        prepared = self._prepared = Prepared(checked, bytes(state), self._commit)\n",
        "        prepared = self._prepared = Prepared(checked, bytes(state), self._commit)\n        self._submit(worker, checked, None)\n",
        (PREPARED + "test_a_crash_between_the_phases_loses_no_effect_and_doubles_none",),
    ),
    Mutant(
        "a commit forgets what was pending",
        LINK,
        'lambda notes: replace(notes, pending=None, pending_state=b"")',
        "lambda notes: notes",
        (PREPARED + "test_prepared_and_then_committed",),
    ),
    Mutant(
        "only what was prepared last can be committed",
        LINK,
        "        if newest is not prepared:\n",
        "        if False:\n",
        (PREPARED + "test_one_that_was_replaced_cannot_be_committed",),
    ),
    Mutant(
        "what initialize commits is not read again",
        ASSIGNMENT,
        "self.start = self.worker.context.start = StartPosition.after(committed)",
        "pass",
        (CHECKPOINT + "test_prepared.py::test_a_pending_checkpoint_can_be_committed_in_initialize_and_reading_begins_behind_it",),
    ),
    Mutant(
        "code that prepares refuses a store that keeps none",
        "assembly/parts.py",
        "    if code.facts.prepares:\n",
        "    if False:\n",
        (PREPARED + "test_a_store_that_keeps_none_refuses_to_start",),
    ),
    Mutant(
        "a save covers only what came before it began",
        ENTRY,
        "if one.number <= number and (",
        "if (",
        (CHECKPOINT + "test_prepared.py::test_a_save_that_was_under_way_is_not_the_one_that_was_asked_for",),
    ),
    Mutant(
        "an end that the store refuses is not taken for saved",
        CHECKPOINTER,
        'settled.resolve(entry.final != "end" or (entry.saved is not None and entry.saved.is_end))',
        "settled.resolve(True)",
        (CHECKPOINT + "test_end.py::test_an_end_that_the_store_refuses_is_not_taken_for_saved",),
    ),
    Mutant(
        "END waits for what must come before it",
        CHECKPOINTER,
        "entry.before_end is None or entry.end_is_prepared:",
        "True:",
        (CHECKPOINT + "test_end.py::test_the_end_waits_for_what_must_come_before_it_even_when_somebody_waits_for_it",),
    ),
    Mutant(
        "the end of manual code waits for its last record",
        CHECKPOINTER,
        "(last is not None and (entry.submitted is None or entry.submitted < last))",
        "False",
        (CHECKPOINT + "test_end.py::test_the_end_of_a_manual_function_waits_for_its_last_record_and_health_says_so",),
    ),
    Mutant(
        "an outage is told once",
        "engine/checkpoint/outage.py",
        "if not was_failing and failed:",
        "if failed:",
        (OUTAGE + "test_a_store_that_is_down_for_a_minute_loses_nothing_and_is_told_once",),
    ),
    Mutant(
        "an outage is told once for each partition",
        CHECKPOINTER,
        "        if entry.failures == 1:\n            self._observer.on_checkpoint_failed(",
        "        if True:\n            self._observer.on_checkpoint_failed(",
        (OUTAGE + "test_a_store_that_is_down_for_a_minute_loses_nothing_and_is_told_once",),
    ),
    Mutant(
        "a checkpoint in the last flush is not END",
        WORKER,
        "            self.at_end = False  # in `flush` a checkpoint without a position is not END yet\n",
        "            self.at_end = True\n",
        (CHECKPOINT + "test_end.py::test_a_checkpoint_in_the_last_flush_is_not_the_end",),
    ),
    Mutant(
        "a first checkpoint in doubt is written again, so that its copy follows",
        CLAIMING,
        "                first = written or first or await self._resolve_start(stored, claim)\n",
        "                if written is not None:\n                    checkpoint = written\n                    break\n"
        "                first = first or await self._resolve_start(stored, claim)\n",
        (OUTAGE + "test_a_first_checkpoint_whose_answer_was_lost_is_copied_to_the_group_before_anything_is_read",),
    ),
    Mutant(
        "an observer that hangs holds up nobody who tells",
        "assembly/parts.py",
        "aside = ObserversAside(observers, runtime)",
        "aside = ObserversAside(observers, runtime)\n    from streamkit.engine.observers import Observers\n\n"
        "    aside._tell = Observers(observers)._tell  # type: ignore[method-assign]",
        ("tests/unit/engine/test_observers.py::test_an_observer_of_checkpoints_that_hangs_stops_no_checkpoint",),
    ),
    Mutant(
        "nothing is imported beside a living owner of a lease",
        "cli/owners.py",
        "if before is None or (before.owner, before.version) != (lease.owner, lease.version):",
        "if False:",
        ("tests/unit/cli/test_checkpoint_lines.py::test_the_owner_of_a_lease_is_watched_for_as_long_as_a_lease_lasts",),
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
        FAILURES,
        "        self._life.events.halt(error)\n",
        "        self._life.events.stop_asked(error)\n",
        (SEVEN + "test_a_partition_halts_alone_and_visibly",),
    ),
    Mutant(
        "a rejected record is not tried again at once",
        FAILURES,
        "if not isinstance(failure, self._reject) and not limits.retry.exhausted(trouble.attempt):",
        "if not limits.retry.exhausted(trouble.attempt):",
        (SEVEN + "test_a_rejected_record_is_not_tried_again_before_the_long_back_off",),
    ),
    Mutant(
        "what the target of dead letters did not take is not done",
        FAILURES,
        "            await self.sit_out(trouble, self.halt(trouble, error))\n            return False\n",
        "            self._life.events.halt(error)\n",
        (POLICIES + "test_a_dead_letter_that_cannot_be_written_loses_nothing",),
    ),
    Mutant(
        "a dead letter is written before its record is passed",
        FAILURES,
        "elif not await self._life.arrives(self._life.events.put_aside(verdict.failed)):",
        "elif not verdict.failed:",
        (POLICIES + "test_dead_letter_writes_the_record_and_goes_on",),
    ),
    Mutant(
        "a skipped record is told of",
        FAILURES,
        "                self._life.events.skipped(verdict.failed)\n",
        "                pass\n",
        (POLICIES + "test_skip_tells_of_each_record",),
    ),
    Mutant(
        "ON_FAILURE=stop drains the process",
        FAILURES,
        '        if limits.on_failure == "stop":\n            return self.stop(trouble, _final(trouble))\n',
        "",
        (SEVEN + "test_stop_drains_the_process",),
    ),
    Mutant(
        "only so many records in a row are put aside",
        FAILURES,
        "if self._in_a_row + len(batch) > limits.max_consecutive:",
        "if len(batch) > limits.max_consecutive:",
        (POLICIES + "test_a_bad_deploy_does_not_drain_the_stream",),
    ),
    Mutant(
        "a success ends the row of records put aside",
        FAILURES,
        "        self._in_a_row = 0\n\n",
        "        pass\n\n",
        ("tests/unit/engine/delivery/test_policies.py::test_a_success_ends_the_row",),
    ),
    Mutant(
        "a failing batch is halved",
        IN_ORDER,
        "if at_fault > 1 and self._life.limits.bisect and not isinstance(failure, Stop):",
        "if False:",
        (POLICIES + "test_bisect_loses_one_record_of_a_batch",),
    ),
    Mutant(
        "halving forgets what was found good",
        IN_ORDER,
        "self._suspects = max(0, self._suspects - result.count)",
        "pass",
        ("tests/unit/engine/delivery/test_bisect.py::test_the_poison_record_alone_has_all_attempts_and_the_rest_goes_on_whole",),
    ),
    Mutant(
        "an async attempt ends with its time",
        "engine/delivery/call.py",
        "if self.is_async and self._limit is not None:",
        "if False:",
        (POLICIES + "test_a_slow_async_attempt_is_cut_and_the_others_go_on",),
    ),
    Mutant(
        "a call that cannot be cut is told of",
        "engine/delivery/overdue.py",
        "if not known.is_told and now - known.since >= self._patience:",
        "if False:",
        (
            "tests/unit/engine/delivery/test_timeouts.py::test_a_def_call_that_takes_too_long_is_told_of_once_and_never_begun_again_beside_itself",
        ),
    ),
    Mutant(
        "a configuration error of the code is not tried again",
        WORKER,
        "self._failures.stop(trouble, error))  # no attempt",
        'self._failures.after(trouble, error, "initialize"))  # no attempt',
        ("tests/unit/engine/delivery/test_exceptions.py::test_a_configuration_error_of_the_code_ends_the_app_at_once",),
    ),
    Mutant(
        "a hook may end the process",
        FAILURES,
        "failure = failure.stop if isinstance(failure, Exited) else failure",
        "pass",
        ("tests/unit/engine/delivery/test_exceptions.py::test_a_hook_may_end_the_process",),
    ),
    Mutant(
        "a record that kills its process is written down before its call",
        "engine/delivery/care.py",
        "if not await life.arrives(life.events.note_suspect(batch.first, deaths + self._is_alone)):",
        "if life.events.note_suspect(batch.first, deaths + self._is_alone) is None:",
        (CARE + "test_the_note_is_durable_before_the_call",),
    ),
    Mutant(
        "a record that has killed its process twice is not called",
        "engine/delivery/care.py",
        "self._suspicion.deaths >= KILLS",
        "self._suspicion.deaths >= KILLS + 5",
        (CARE + "test_it_halts_the_partition_where_that_is_the_policy",),
    ),
    Mutant(
        "owners that die again and again make the next one careful",
        "engine/delivery/care.py",
        "suspect is None and fruitless < FRUITLESS_CLAIMS",
        "suspect is None",
        (CARE + "test_the_culprit_is_found_and_goes_to_the_policy",),
    ),
    Mutant(
        "a record that only fails is not taken for one that kills",
        "engine/delivery/care.py",
        "        noted = self._life.events.note_suspect(batch.first, 0)\n",
        "        noted = self._life.turn.ask(self._life)\n",
        (CARE + "test_a_record_that_only_fails_is_not_taken_for_one_that_kills",),
    ),
    Mutant(
        "an orderly end clears the suspicion",
        "engine/delivery/care.py",
        "            self._life.events.note_suspect(None, 0)\n",
        "            pass\n",
        (CARE + "test_a_record_that_waits_for_its_retry_when_the_partition_is_given_back_is_no_suspect",),
    ),
    Mutant(
        "a failure after a checkpoint of the same call is told",
        IN_ORDER,
        "            self._life.events.attempt_failed(as_error(failure), self._trouble.attempt + 1)\n            self._failures.passed",
        "            self._failures.passed",
        (AFTER + "test_a_failure_is_told_and_the_record_does_not_come_again",),
    ),
    Mutant(
        "a stop after a checkpoint of the same call stops",
        IN_ORDER,
        "        self._suspects = 0\n        if isinstance(failure, Stop):",
        "        self._suspects = 0\n        if False:",
        (AFTER + "test_a_stop_stops",),
    ),
    Mutant(
        "a record that is rejected by name goes to the policy, checkpointed or not",
        IN_ORDER,
        "if not (isinstance(failure, Reject) and is_named):",
        "if True:",
        (AFTER + "test_a_record_that_is_rejected_by_name_is_put_aside",),
    ),
    Mutant(
        "by key, a failure after a checkpoint of the same call is told",
        KEYED,
        "        if result.failure is not None and not blamed:\n",
        "        if False:\n",
        (AFTER + "test_a_failure_is_told_and_the_record_does_not_come_again",),
    ),
    Mutant(
        "one call is made beyond CONCURRENCY while one is waited for, however many wait",
        KEYED,
        "return free == 0 or len(self._waiting) == len(self._running)",
        "return True",
        ("tests/unit/engine/delivery/test_runner.py::test_however_many_wait_for_their_checkpoints_one_call_is_made_beyond_concurrency",),
    ),
    Mutant(
        "a call that was handed over is not begun with a lease that may have passed on",
        "engine/delivery/runner.py",
        "if not context.ending and self._runtime.monotonic() < self._life.valid_until:",
        "if not context.ending:",
        ("tests/unit/engine/delivery/test_runner.py::test_a_call_that_was_handed_over_is_not_begun_when_the_lease_has_run_out_meanwhile",),
    ),
    Mutant(
        "what was put aside need not be checkpointed by manual code",
        CHECKPOINTER,
        "    last = entry.worker.own\n",
        "    last = entry.worker.progress.position\n",
        (CHECKPOINT + "test_end.py::test_what_was_put_aside_need_not_be_checkpointed_by_the_code",),
    ),
    Mutant(
        "what is done is saved while END waits",
        CHECKPOINTER,
        "if held and entry.moves(done := entry.done()):",
        "if held and False and entry.moves(done := entry.done()):",
        (CHECKPOINT + "test_end.py::test_what_is_done_is_saved_while_the_end_waits_and_a_drain_does_not_wait_for_it",),
    ),
    Mutant(
        "a manual checkpoint in the middle of a call makes room",
        INTAKE,
        "            self._marks.append(Progress(position, begun + index + 1))\n",
        "            pass\n",
        (CHECKPOINT + "test_manual_window.py::test_a_checkpoint_in_the_middle_of_a_call_makes_room",),
    ),
    Mutant(
        "a save that is not answered is an outage",
        CHECKPOINTER,
        "                self.outage.look(dict.fromkeys(self._saving, error), set())\n",
        "                pass\n",
        ("tests/unit/engine/test_silence.py::test_a_save_that_is_not_answered_is_an_outage_after_half_a_minute",),
    ),
    Mutant(
        "only deaths in which a record was called alone are counted",
        "engine/delivery/care.py",
        "            self._is_alone = await self._take_turn()\n",
        "            pass\n        self._is_alone = len(batch) == 1\n",
        (CARE + "test_nobody_else_is_called_beside_a_suspect",),
    ),
    Mutant(
        "while one record is called alone, nobody else's call is begun",
        "engine/delivery/turn.py",
        "return self._holder is not None and self._holder is not caller",
        "return False",
        (CARE + "test_nobody_else_is_called_beside_a_suspect",),
    ),
    Mutant(
        "one that is called alone does not keep the others waiting for ever",
        "engine/delivery/turn.py",
        "            late().on_done(lambda: self.release(caller))\n",
        "            pass\n",
        (CARE + "test_nobody_else_is_called_beside_a_suspect",),
    ),
    Mutant(
        "a loss takes back what says that a record was being called",
        ASSIGNMENT,
        "                self._house.checkpointer.clear_suspect(self._entry)\n",
        "",
        (CARE + "test_a_loss_is_no_evidence_and_the_note_is_taken_back",),
    ),
    Mutant(
        "what may have been a loss is no evidence of a death",
        "engine/delivery/care.py",
        "if has_died or not suspected:",
        "if True:",
        (CARE + "test_where_it_may_have_been_a_loss_the_partition_halts_whatever_the_policy_is",),
    ),
    Mutant(
        "a note of a process that lives is no evidence of its death",
        ASSIGNMENT,
        " and self.partition not in house.turn.unproven",
        "",
        (CARE + "test_what_this_process_has_lost_and_not_taken_back_is_no_evidence_for_it",),
    ),
    Mutant(
        "an owner that gives back in order has not died",
        ENTRY,
        " or self.has_metadata or self.gives_back",
        " or self.has_metadata",
        (CARE + "test_idle_partitions_that_are_given_back_in_order_make_nobody_careful",),
    ),
    Mutant(
        "a failed flush is tried again with the back-off of retries",
        FLUSHING,
        "        self.asked = True\n        limits",
        "        limits",
        ("tests/unit/engine/test_hooks_table.py::test_flush__raises",),
    ),
    Mutant(
        "no call is begun with a lease that may have passed on",
        LIFE,
        "if now >= self.valid_until:",
        "if False:",
        ("tests/unit/engine/delivery/test_life.py::test_no_call_is_begun_once_its_time_is_over",),
    ),
    Mutant(
        "a hook that raises delays nothing",
        WORKER,
        "            self._events.hook_failed(name, error)\n",
        "            self._events.hook_failed(name, error)\n            raise\n",
        (SEVEN + "test_a_raising_hook_is_reported_and_delays_nothing",),
    ),
    # -- 7: dead letters
    Mutant(
        "headers of a record survive in its letter, repeated ones too",
        LETTER,
        "headers=Headers((*record.headers, *ours))",
        "headers=Headers((*dict(record.headers).items(), *ours))",
        (LETTERS + "test_a_record_comes_back_as_it_was",),
    ),
    Mutant(
        "a letter that fails again is not put into another one",
        LETTER,
        "    record = original_of(failed.record)\n",
        "    record = failed.record\n",
        (LETTERS + "test_a_letter_that_fails_again_is_still_a_letter_of_its_record",),
    ),
    Mutant(
        "a target without headers is given letters as one value",
        "engine/delivery/dead_letter.py",
        "if not self._producer.keeps_headers:",
        "if False:",
        ("tests/unit/engine/delivery/test_enclosed.py::test_a_target_without_headers_is_given_values_alone",),
    ),
    Mutant(
        "a letter that came as one value is opened",
        LETTER,
        "_letter_in(opened(record) or record)",
        "_letter_in(record)",
        ("tests/unit/engine/delivery/test_enclosed.py::test_a_record_comes_back_from_one_value_as_it_was",),
    ),
    Mutant(
        "nothing is taken over from a program whose worker moves a row",
        "cli/foreign.py",
        "        if before.get(row) != now.get(row):",
        "        if False:",
        ("tests/unit/cli/test_foreign.py::test_whoever_moves_while_we_watch_is_named_and_nothing_is_taken",),
    ),
    Mutant(
        "keys that are parked are not left behind by an export",
        "cli/foreign.py",
        "if checkpoint is not None and still_parked(checkpoint.parked) and not checkpoint.at.is_end:",
        "if False:",
        ("tests/unit/cli/test_foreign.py::test_parked_keys_are_not_left_behind",),
    ),
    Mutant(
        "an error in a letter is of bounded size",
        "engine/delivery/error_chain.py",
        "deque(walk_tb(trace), MAX_FRAMES)",
        "deque(walk_tb(trace))",
        (LETTERS + "test_causes_and_contexts_are_followed_and_frames_are_the_innermost",),
    ),
    Mutant(
        "a letter that the target did not acknowledge is not written",
        "engine/delivery/dead_letter.py",
        "            if answer is not None:",
        "            if False:",
        ("tests/unit/engine/delivery/test_writing_letters.py::test_one_answer_that_is_an_error_names_its_record_the_target_and_the_cause",),
    ),
    Mutant(
        "a target that cannot be written is found at the start",
        "engine/starting.py",
        '        await reach("the dead-letter target", lambda: runtime.control.call("check-target", dead_letters.check()))\n',
        "        pass\n",
        (REPLAY + "test_a_target_that_cannot_be_written_is_found_before_the_first_record",),
    ),
    Mutant(
        "an app does not write dead letters to what it reads",
        "assembly/dead_letter.py",
        "    if plugin == settings.broker and any(",
        "    if False and any(",
        ("tests/unit/assembly/test_dead_letter_target.py::test_an_app_does_not_feed_itself",),
    ),
    Mutant(
        "a line is on the disk before it is answered",
        "builtin/file/producer.py",
        "                os.fsync(descriptor)\n",
        "",
        (LINES + "test_it_is_on_the_disk_before_it_is_answered",),
    ),
    Mutant(
        "what a crash left of a line never becomes part of the next one",
        "builtin/file/producer.py",
        '    return b"\\n" if whole else TORN + b"\\n"',
        '    return b""',
        (LINES + "test_what_was_cut_off_is_marked_and_never_glued_to_the_next_line",),
    ),
    Mutant(
        "a line that is no record is not passed over",
        "builtin/file/reader.py",
        "        if is_torn(line):",
        "        if True:",
        ("tests/unit/builtin/test_file_broker.py::test_a_line_that_is_no_record_stops_its_file_and_is_named",),
    ),
    Mutant(
        "what fails again stops the replay, and waits for the next one",
        "cli/letters.py",
        '        "on_failure": "halt",\n',
        "",
        (REPLAY + "test_what_fails_again_stops_the_replay_and_the_next_one_goes_on_there",),
    ),
    Mutant(
        "a replay shows the records as they were",
        "cli/dead_letters.py",
        "    pipeline.code = replaying(pipeline.code)\n",
        "",
        (REPLAY + "test_a_replay_shows_any_code_the_records_as_they_were_in_order_and_once",),
    ),
    # -- 7: parking
    Mutant(
        "the marker of a parked key is in the store before its first letter",
        MARKERS,
        "        if new:\n            try:\n                await self._durable()",
        "        if new:\n            try:\n                self._note(Promise())",
        (PARK + "test_the_marker_is_in_the_store_before_the_first_letter",),
    ),
    Mutant(
        "later records of a parked key go behind the first",
        "engine/delivery/parking.py",
        "return record.key is not None and record.key in self.keys",
        "return False",
        (PARK + "test_later_records_of_the_key_go_behind_the_first_uncalled_and_others_go_on",),
    ),
    Mutant(
        "later records of a parked key go behind the first, with order by key",
        LANES,
        "if key is not None and key in parked:",
        "if False:",
        (PARK + "test_later_records_of_the_key_go_behind_the_first_uncalled_and_others_go_on",),
    ),
    Mutant(
        "a record whose own letter could not be written is not called again",
        MARKERS,
        "self._parking.hold(key, self._parked[key].first)",
        "pass",
        (PARK + "test_a_letter_that_cannot_be_written_halts_and_is_written_later_uncalled",),
    ),
    Mutant(
        "children go on with what their parents have parked",
        CLAIMING,
        "parked = inherited(parked, [row.parked for row in rows if row.partition in parents])",
        "pass",
        (PARKED + "test_children_of_a_split_go_on_with_what_their_parent_has_parked",),
    ),
    Mutant(
        "a key is released when its last letter has been replayed, and not before",
        "engine/parked.py",
        "return set(parked.letters) <= set(letters)",
        "return True",
        (PARK + "test_a_key_stays_parked_while_a_later_letter_has_not_been_replayed",),
    ),
    Mutant(
        "a key is not released while a letter of it is under way",
        MARKERS,
        " and key not in self._unwritten and ",
        " and ",
        (PARK + "test_a_letter_under_way_keeps_the_key_parked_though_a_copy_of_it_was_replayed",),
    ),
    Mutant(
        "a copy of a letter has a name of its own",
        "engine/parked.py",
        "/{epoch}.{number}-{salt}",
        "",
        (PARK + "test_a_crash_between_letter_and_checkpoint_writes_it_again_with_the_same_id",),
    ),
    Mutant(
        "the checkpoint that passes a record of a parked key names its letter",
        MARKERS,
        "named = self._named(records[:parked], ())\n            self._note(Promise())",
        "named = self._named(records[:parked], ())",
        (PARK + "test_the_checkpoint_that_passes_a_record_names_its_letter",),
    ),
    Mutant(
        "parked keys are bounded",
        MARKERS,
        "if new and (keys > MAX_KEYS or",
        "if new and (",
        (PARK + "test_over_the_bound_the_partition_halts",),
    ),
    Mutant(
        "what was asked of a partition that nobody owned comes before its first record",
        ASSIGNMENT,
        "            await house.requests.look_for(self)\n",
        "",
        (PARK + "test_what_was_asked_while_nobody_owned_it_comes_before_the_first_record",),
    ),
    Mutant(
        "who was fenced by an owner that has parked begins again from the store",
        ASSIGNMENT,
        "!= entry.checkpoint.parked:",
        "is None:",
        (PARK + "test_who_is_fenced_by_an_owner_that_has_parked_begins_again_from_the_store",),
    ),
    Mutant(
        "an owner that has died may have written letters that no marker names",
        CLAIMING,
        "return after_a_claim(parked, one.partition, checkpoint.epoch) if one.previous_owner else parked",
        "return parked",
        (CRASHED + "test_what_was_asked_before_a_crash_does_not_release_a_key_of_which_the_dead_owner_has_written_more",),
    ),
    Mutant(
        "who claims a partition with parked keys is known to whoever comes next",
        CLAIMING,
        "if parked or checkpoint.parked:",
        "if parked != checkpoint.parked:",
        (CRASHED + "test_an_owner_that_dies_before_its_first_checkpoint_leaves_doubt_behind_one_that_gave_back",),
    ),
    Mutant(
        "an owner that gives back in order leaves no doubt about its letters",
        ENTRY,
        "self.fruitless >= MANY_FRUITLESS or any(not one.is_released for one in self.current_notes.parked.values())",
        "self.fruitless >= MANY_FRUITLESS",
        (CRASHED + "test_an_owner_that_gives_back_in_order_leaves_no_doubt",),
    ),
    Mutant(
        "no release is asked for while a letter of the key waits",
        "engine/parked.py",
        "if last and not writers & self._waiting.get(key, set()):",
        "if last:",
        (CRASHED + "test_a_key_is_not_asked_for_while_one_of_its_letters_waits",),
    ),
    Mutant(
        "a release that fails calls nothing",
        MARKERS,
        "            await releasing  # not called before it is in the store, and not at all if that fails\n        parked = 0\n"
        "        while parked < len(records) and records[parked].record.key in self._parked:\n            parked += 1\n",
        "            return 0 if not await releasing else 0\n        parked = 0\n"
        "        while parked < len(records) and records[parked].record.key in self._parked:\n            parked += 1\n",
        (CRASHED + "test_a_release_that_the_store_refuses_leaves_the_key_parked",),
    ),
    Mutant(
        "no letter of a parked key is written after one that was not taken",
        "engine/delivery/dead_letter.py",
        "(failed,) if self._producer.is_gapless else _one_by_one(failed)",
        "(failed,)",
        (WRITING + "test_no_letter_of_a_parked_key_is_written_after_one_that_was_not_taken",),
    ),
    Mutant(
        "a position is not saved without the names of the letters that it passes",
        ENTRY,
        "checkpoint = replace(checkpoint, parked=self.notes.parked)",
        "pass",
        (PARKED + "test_a_partition_whose_end_is_held_up_is_not_saved_beyond_a_letter_that_no_marker_names",),
    ),
    Mutant(
        "a key that a child has released stays so",
        MARKERS,
        "        self._released |= released\n",
        "",
        (PARKED + "test_a_key_that_was_released_stays_so_though_the_row_of_the_parent_says_that_it_is_parked",),
    ),
    Mutant(
        "a request is not forgotten while its answer is being saved",
        MARKERS,
        "            await under_way\n",
        "            pass\n",
        (ASKED + "test_a_request_is_there_until_what_it_asks_for_is_in_the_store",),
    ),
    Mutant(
        "a partition that cannot be released holds up no other",
        "engine/requests.py",
        "                failed = error\n        if failed",
        "                failed = error\n                break\n        if failed",
        (ASKED + "test_a_partition_whose_store_refuses_holds_up_no_other",),
    ),
    Mutant(
        "parked keys are not called under another policy",
        CLAIMING,
        'if still_parked(parked) and house.settings.on_failure != "park":',
        "if False:",
        (PARK + "test_another_policy_does_not_begin_where_keys_are_parked",),
    ),
    # -- 7: health
    Mutant(
        "a call that gets nowhere is found",
        "engine/watchdog.py",
        "late = {key for key, seen in self._seen.items() if now - seen.since >= self._after}",
        "late = set[K]()",
        (WATCHDOG + "test_a_call_is_stuck_when_it_has_run_for_so_long_and_is_named_once",),
    ),
    Mutant(
        "a handler that finishes records is not stuck",
        "engine/watchdog.py",
        "return before if before.done == call.done else _Seen(call.started, call.done, now)",
        "return before",
        (WATCHDOG + "test_a_handler_of_records_that_finishes_one_now_and_then_is_not_stuck",),
    ),
    Mutant(
        "who holds the interpreter lock is named",
        "engine/watchdog.py",
        "if self._control.is_worth_telling(late, now):",
        "if False:",
        (WATCHDOG + "test_who_holds_the_interpreter_lock_is_named",),
    ),
    Mutant(
        "who blocks the users' loop is named",
        "engine/watchdog.py",
        "elif self._user.is_worth_telling(now - self._asked_at, now):",
        "elif False:",
        (WATCHDOG + "test_who_blocks_the_users_loop_is_named_while_it_does",),
    ),
    Mutant(
        "a stuck partition with a lease is given up",
        SUPERVISOR,
        "if self._ownership.deals_leases and self._assignments.get(assignment.partition) is assignment:",
        "if False:",
        (HEALTH + "test_a_stuck_partition_with_a_lease_is_given_up_for_others_to_take",),
    ),
    Mutant(
        "a stuck partition of a group stays",
        SUPERVISOR,
        "if self._ownership.deals_leases and self._assignments.get(assignment.partition) is assignment:",
        "if self._assignments.get(assignment.partition) is assignment:",
        (HEALTH + "test_a_stuck_partition_of_a_group_stays_and_is_ready_again_when_the_call_returns",),
    ),
    Mutant(
        "a stuck partition is not ready",
        "engine/status.py",
        'return reason.kind in ("halt", "stuck", "store", "dead_letter")',
        'return reason.kind in ("halt", "store", "dead_letter")',
        (HEALTH + "test_a_stuck_partition_of_a_group_stays_and_is_ready_again_when_the_call_returns",),
    ),
    Mutant(
        "a standby is ready",
        "engine/status.py",
        'reasons = [f"{name}: {problem}" for problem in status.problems]',
        'reasons = [] if status.partitions else [f"{name}: no partitions"]',
        (HEALTH + "test_a_standby_without_partitions_is_ready",),
    ),
    Mutant(
        "a store that takes no checkpoints is not ready",
        "engine/health.py",
        "unsaved=outage.partitions if outage is not None else (),",
        "unsaved=(),",
        (HEALTH + "test_a_store_that_is_down_is_red_until_it_is_back",),
    ),
    Mutant(
        "a gated partition is shown with its parents",
        "engine/health.py",
        "            lines.setdefault(partition, waiting_for(partition, parents))\n",
        "            pass\n",
        (HEALTH + "test_a_gated_partition_names_the_parents_that_it_waits_for",),
    ),
    Mutant(
        "a total goes on over assignments",
        "engine/tally.py",
        "(before + self._count(one), ",
        "(before, ",
        ("tests/unit/engine/test_tally.py::test_what_is_over_stays_counted_and_the_next_assignment_adds_to_it",),
    ),
    Mutant(
        "a process whose engine hangs is not live",
        "status.py",
        "if silent >= LIVE_SECONDS:",
        "if False:",
        (PAGE + "test_live_turns_red_when_the_control_thread_hangs_and_says_where",),
    ),
    Mutant(
        "no answer holds a secret",
        "status.py",
        "return scrub(str(masked(value)), set(self._secrets)) if isinstance(value, str) else value",
        "return value",
        (PAGE + "test_no_answer_holds_a_password_even_if_an_exception_does",),
    ),
    Mutant(
        "a reader is told how old the record of the checkpoint is",
        ASSIGNMENT,
        "checkpoint.record_time if start is checkpoint.at else None",
        "None",
        (READING + "test_the_reader_is_told_when_the_record_of_its_start_was_written",),
    ),
    Mutant(
        "a partition that is opened again is opened with the age of its own position",
        INTAKE,
        "self.newest, self.begins, self.written = batch.last, None, batch.last_timestamp",
        "self.newest, self.begins = batch.last, None",
        (READING + "test_the_reader_is_told_when_the_record_of_its_start_was_written",),
    ),
    Mutant(
        "what was gone before it was read is counted, not only logged",
        "engine/reading.py",
        "            self._noticed(event.partition, WENT_ON, 1)\n",
        "",
        (READING + "test_failed_with_a_place_to_resume_goes_on_there_and_says_so",),
    ),
    # -- a program that keeps its leases in the same store
    Mutant(
        "beside a program with which nothing settles a worker does not start",
        "engine/ownership/lease.py",
        "            await self._calls.check_start()\n",
        "",
        ("tests/promise/test_promise_4_another_program.py::test_beside_a_program_with_which_nothing_settles_a_worker_does_not_start",),
    ),
    Mutant(
        "rows that were listed before the store knew the cluster are not used",
        "engine/ownership/roster.py",
        "            return False  # the rows were perhaps of another cluster\n",
        "            pass\n",
        (
            "tests/promise/test_promise_4_another_program.py"
            "::test_a_store_that_knows_another_cluster_is_told_which_it_is_and_asked_again_before_anything_is_written",
        ),
    ),
    Mutant(
        "an ended lease rests before it is removed",
        "engine/ownership/roster.py",
        "REST_LEASES = 3\n",
        "REST_LEASES = 0\n",
        (
            "tests/promise/test_promise_4_leases.py"
            "::test_an_ended_lease_rests_before_it_is_removed_for_a_request_to_make_it_may_still_be_on_its_way",
        ),
    ),
    Mutant(
        "an ended lease that the broker does not list any more does not rest",
        "engine/ownership/roster.py",
        "row.partition not in listed or ",
        "",
        ("tests/promise/test_promise_4_leases.py::test_an_ended_lease_that_the_broker_does_not_list_any_more_is_removed_at_once",),
    ),
    # -- a plain reader whose broker has let in another owner
    Mutant(
        "what the broker gave to another is not taken back for a lease",
        "engine/ownership/lease.py",
        "if self._contested.get(partition, now) > now:",
        "if False:",
        (TAKEN_OVER + "test_with_leases_what_the_broker_gave_to_another_is_lost_and_not_taken_back_for_a_lease",),
    ),
    Mutant(
        "a lease that the broker has made useless is given back",
        "engine/ownership/lease.py",
        "            self._owner.lose(event.partitions, event.reason)\n",
        "",
        (TAKEN_OVER + "test_with_leases_another_worker_may_take_it_at_once",),
    ),
    Mutant(
        "with static ownership what the broker gave to another is begun again",
        SUPERVISOR,
        "                    taken.lose(event.reason)\n",
        "                    pass\n",
        (TAKEN_OVER + "test_static_ownership_begins_again_after_a_while",),
    ),
    Mutant(
        "a reader is told the epoch of its owner",
        "engine/reading.py",
        "written=written, epoch=worker.context.epoch)",
        "written=written)",
        (TAKEN_OVER + "test_a_reader_is_told_the_epoch_of_its_owner",),
    ),
    Mutant(
        "what a reader says late of what was taken back from it is nobody's loss",
        "engine/reading.py",
        "event = Lost(tuple(p for p in event.partitions if p in self._workers), event.reason)",
        "event = Lost(tuple(event.partitions), event.reason)",
        (TAKEN_OVER + "test_what_is_lost_after_it_was_given_back_is_nobody_elses_loss",),
    ),
    # -- telemetry
    Mutant(
        "the span of a record is current while the code runs",
        "telemetry/tracing.py",
        "        self._token = attach(self._surroundings)\n",
        "        self._token = attach(get_current())\n",
        (TRACES + "test_the_process_span_is_current_while_the_code_runs_and_not_afterwards",),
    ),
    Mutant(
        "and it is not current in other hooks",
        "telemetry/tracing.py",
        "        detach(self._token)\n",
        "",
        (TRACES + "test_no_span_is_current_in_other_hooks",),
    ),
    Mutant(
        "the parent of a record's span is in its headers",
        "telemetry/tracing.py",
        "self._tracer.start_span(self._name, carried, SpanKind.CONSUMER, attributes)",
        "self._tracer.start_span(self._name, Surroundings(), SpanKind.CONSUMER, attributes)",
        (TRACES + "test_a_record_has_a_span_whose_parent_is_in_its_headers",),
    ),
    Mutant(
        "a checkpoint names the records that it covers, and each of them once",
        "telemetry/unsaved.py",
        "if is_saved and found:",
        "if False:",
        (TRACES + "test_the_checkpoint_of_several_records_is_a_root_with_links_to_their_spans_and_no_link_comes_twice",),
    ),
    Mutant(
        "a new assignment does not name what an earlier one has done",
        "telemetry/unsaved.py",
        "            self._spans.pop(partition, None)\n            self._spans[partition] = deque(maxlen=MAX_SPANS)\n",
        "            self._spans.setdefault(partition, deque(maxlen=MAX_SPANS))\n",
        (TRACES + "test_a_new_assignment_does_not_name_what_an_earlier_one_has_done",),
    ),
    Mutant(
        "a dead letter keeps the trace context of its record",
        "telemetry/tracing.py",
        "        if carries_context(record.headers):\n            return ()\n",
        "",
        (TRACES + "test_a_dead_letter_carries_the_context_of_its_record_as_it_was",),
    ),
    Mutant(
        "telemetry that fails costs the span and not the record",
        "telemetry/tracing.py",
        "            return begin(subject, context)\n        except Exception:\n",
        "            return begin(subject, context)\n        except ZeroDivisionError:\n",
        (TRACES + "test_a_propagator_that_raises_costs_the_span_and_not_the_record",),
    ),
    Mutant(
        "without a provider nothing of OpenTelemetry is imported",
        "assembly/telemetry.py",
        "    if not _is_there() and not any(map(os.environ.get, PROVIDERS)):\n        return\n",
        "",
        (EXPORT + "test_without_a_wish_nothing_of_opentelemetry_is_imported_and_nothing_is_put_around_the_handler",),
    ),
    Mutant(
        "a collector that hangs does not hold the exit",
        "telemetry/export.py",
        "if not event.wait(max(0.0, until - time.monotonic())):",
        "if not event.wait():",
        (EXPORT + "test_a_collector_that_hangs_does_not_hold_the_exit",),
    ),
    Mutant(
        "bytes are those of records, and not what they take in memory",
        INTAKE,
        "self.bytes_done += weight_bytes - records * RECORD_OVERHEAD_BYTES",
        "self.bytes_done += weight_bytes",
        (PAGE + "test_metrics_hold_every_name_and_what_was_done",),
    ),
    # -- 8: what is printed, and refusals
    Mutant(
        "what a setting of an adapter means for the promise stands in the contract",
        "assembly/parts.py",
        "store_capabilities=capabilities, terms=terms)",
        "store_capabilities=capabilities)",
        (EIGHT + "test_a_setting_that_gives_up_records_has_its_line[earliest]",),
    ),
    Mutant(
        "a checkpoint of another incarnation is refused",
        FENCING,
        "if _differ(stored, partition.incarnation):",
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
    # -- starting
    Mutant(
        "a broker that comes late is waited for",
        "engine/starting.py",
        "if not _may_pass(error):",
        "if True:",
        (STARTING + "test_a_broker_that_comes_late_is_waited_for",),
    ),
    Mutant(
        "the waiting for a broker ends",
        "engine/starting.py",
        "if self._left <= 0 and not self._is_over():",
        "if False:",
        (STARTING + "test_the_waiting_ends_and_what_stood_in_the_way_is_raised",),
    ),
    Mutant(
        "what is wrong for good ends the start at once",
        "engine/starting.py",
        "if not _may_pass(error):",
        "if False:",
        (STARTING + "test_what_is_wrong_for_good_ends_the_start_at_once",),
    ),
    Mutant(
        "who is told to stop while it waits for a broker ends at once",
        "engine/starting.py",
        "            if self._is_over():\n                raise NotStartedError(what)\n            await",
        "            await",
        (STARTING + "test_who_is_told_to_stop_while_a_question_is_under_way_does_not_wait_for_its_answer",),
    ),
    Mutant(
        "a command outlasts a broker that stumbles",
        "cli/reading.py",
        "if not error.retryable or failed_at",
        "if True or failed_at",
        ("tests/unit/cli/test_reading.py::test_a_broker_that_comes_back_is_read_to_the_end",),
    ),
)
