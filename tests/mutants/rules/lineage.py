"""Rules of splits and merges where there are leases: which partitions get one, where they begin, and when one is removed."""

from tests.mutants.mutant import Mutant

__all__ = ["MUTANTS"]

LINEAGE = "engine/ownership/lineage.py"

LINEAGES = "tests/unit/engine/ownership/test_lineage.py::"
LINEAGE_RULES = "tests/unit/engine/ownership/test_lineage_rules.py::"

MUTANTS: tuple[Mutant, ...] = (
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
)
