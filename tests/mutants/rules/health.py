"""Rules of what health, status and metrics say, and of the watchdog."""

from tests.mutants.mutant import Mutant
from tests.mutants.rules.places import INTAKE, SUPERVISOR

__all__ = ["MUTANTS"]

HEALTH = "tests/promise/test_promise_7_health.py::"
PAGE = "tests/unit/test_status.py::"
WATCHDOG = "tests/unit/engine/test_watchdog.py::"

MUTANTS: tuple[Mutant, ...] = (
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
        "bytes are those of records, and not what they take in memory",
        INTAKE,
        "self.bytes_done += weight_bytes - records * RECORD_OVERHEAD_BYTES",
        "self.bytes_done += weight_bytes",
        (PAGE + "test_metrics_hold_every_name_and_what_was_done",),
    ),
)
