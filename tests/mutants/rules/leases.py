"""Rules of ownership by leases: who takes, asks for and gives which one, and until when it counts."""

from tests.mutants.mutant import Mutant
from tests.mutants.rules.places import ASSIGNMENT, BY_LEASE, HANGING, LEASE, LIFE, STOP

__all__ = ["MUTANTS"]

BALANCE = "engine/ownership/balance.py"
NAMING = "engine/ownership/naming.py"
LEASED_CALLS = "engine/checkpoint/leased_calls.py"
ROSTER = "engine/ownership/roster.py"
TENURE = "engine/ownership/tenure.py"

LEVEL = "tests/unit/engine/ownership/test_balance.py::"
ONE_GROUP = "tests/promise/test_promise_4_one_group.py::"

MUTANTS: tuple[Mutant, ...] = (
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
    Mutant(
        "a call that was handed over is not begun with a lease that may have passed on",
        "engine/delivery/runner.py",
        "if not context.ending and self._runtime.monotonic() < self._life.valid_until:",
        "if not context.ending:",
        ("tests/unit/engine/delivery/test_runner.py::test_a_call_that_was_handed_over_is_not_begun_when_the_lease_has_run_out_meanwhile",),
    ),
    Mutant(
        "no call is begun with a lease that may have passed on",
        LIFE,
        "if now >= self.valid_until:",
        "if False:",
        ("tests/unit/engine/delivery/test_life.py::test_no_call_is_begun_once_its_time_is_over",),
    ),
)
