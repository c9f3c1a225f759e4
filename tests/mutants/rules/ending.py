"""Rules of how a run and a drain end: when nothing is left to wait for, and what is given back."""

from tests.mutants.mutant import Mutant
from tests.mutants.rules.places import BY_LEASE, FOUR, HANGING, LEASE, SIX, STOP, SUPERVISOR

__all__ = ["MUTANTS"]

STOPPING = "engine/stopping.py"

MUTANTS: tuple[Mutant, ...] = (
    Mutant(
        "a run does not end while a partition is about to begin again",
        SUPERVISOR,
        "if not self._stopping and not self._again and await",
        "if not self._stopping and await",
        (FOUR + "test_a_run_does_not_end_while_a_partition_is_about_to_begin_again",),
    ),
    Mutant(
        "a lease is released as soon as its assignment is over",
        SUPERVISOR,
        "        if not self._abandoned:\n            self._ownership.over(assignment.partition)\n",
        "",
        (BY_LEASE + "test_a_drain_releases_each_partition_as_soon_as_it_is_over",),
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
        "a drain ends by its deadline",
        SUPERVISOR,
        "await assignment.wait_over(max(0.0, until - self._runtime.monotonic()))",
        "await assignment.wait_over()",
        (SIX + "test_a_drain_does_not_wait_for_an_async_handler_either",),
    ),
)
