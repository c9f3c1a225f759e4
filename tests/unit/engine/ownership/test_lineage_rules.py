"""Who waits for whom, which leases an end makes, when an ended lease is removed, and what a hole is."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import pytest

from streamkit.engine.ownership.lineage import children_of, holes, is_gated, to_remove
from streamkit.errors import BrokerUnavailableError
from streamkit.model import Checkpoint, Lease, Partition, StartPosition
from tests.unit.engine.ownership.families import EARLIEST, GRAPH_A, GRAPH_B, GRAPH_C, STARTED, all_of, ids, lease, open_of, some_of

END = StartPosition.END


def only(graph_row: list[Partition], at: StartPosition | int | None = None, children: str = "") -> Lease:
    (partition,) = graph_row
    return lease(partition, at, children=children)


def by_partition(rows: Iterable[Lease]) -> dict[Partition, Lease]:
    return {row.partition: row for row in rows}


# -- the gate ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("six", "seven", "gates"),
    [
        (7, 7, ("6", "7")),
        (END, 7, ("7",)),
        (7, END, ("6",)),
        (END, END, ()),
        (EARLIEST, END, ("6",)),
        (None, None, ("6", "7")),
    ],
)
def test_a_merged_child_waits_for_both_parents(
    six: StartPosition | int | None, seven: StartPosition | int | None, gates: tuple[str, ...]
) -> None:
    child = only(some_of(GRAPH_A, "8"), EARLIEST)
    rows = [child, only(some_of(GRAPH_A, "6"), six), only(some_of(GRAPH_A, "7"), seven)]
    assert is_gated(child, by_partition(rows)) == gates


def test_a_parent_without_a_lease_does_not_gate() -> None:
    child = only(some_of(GRAPH_A, "8"), EARLIEST)
    assert is_gated(child, by_partition([child, only(some_of(GRAPH_A, "6"), 7)])) == ("6",)
    assert is_gated(child, by_partition([child])) == ()


def test_a_partition_of_another_stream_with_the_parents_id_does_not_gate() -> None:
    child = only(some_of(GRAPH_C, "1"), EARLIEST)
    other = only(some_of(GRAPH_C, "0", "other"), 7)
    assert is_gated(child, by_partition([child, other])) == ()


# -- an end ------------------------------------------------------------------------------------------------------------


def test_at_an_end_each_child_begins_at_earliest_and_knows_when_the_group_started() -> None:
    parent = only(some_of(GRAPH_A, "5"), 7)
    new = children_of(parent, some_of(GRAPH_A, "9 10"), [parent])
    assert ids(new) == "9 10"
    for row in new:
        assert row.checkpoint is not None
        assert row.checkpoint.partition == row.partition
        assert (row.checkpoint.at, row.checkpoint.group_started, row.checkpoint.partitions_at_start) == (EARLIEST, STARTED, 2)
        assert (row.partition.parents, row.partition.children, row.owner, row.epoch) == (("5",), (), "", 0)


def test_a_child_that_has_a_lease_is_not_made_again() -> None:
    parent = only(some_of(GRAPH_A, "5"), 7)
    assert ids(children_of(parent, some_of(GRAPH_A, "9 10"), [parent, only(some_of(GRAPH_A, "10"), 9)])) == "9"


def test_a_merged_child_is_made_at_either_end_while_the_other_parent_has_a_lease() -> None:
    six, seven = only(some_of(GRAPH_A, "6"), 7), only(some_of(GRAPH_A, "7"), 7)
    assert ids(children_of(six, some_of(GRAPH_A, "8"), [six, seven])) == "8"
    assert ids(children_of(seven, some_of(GRAPH_A, "8"), [only(some_of(GRAPH_A, "6"), END), seven])) == "8"


def test_a_merged_child_is_left_to_the_parent_that_has_no_lease_yet() -> None:
    six = only(some_of(GRAPH_A, "6"), 7)
    assert children_of(six, some_of(GRAPH_A, "8"), [six, *(lease(p, 7) for p in some_of(GRAPH_A, "2 3"))]) == []


def test_another_stream_with_the_same_ids_is_no_parent_and_no_lease() -> None:
    six = only(some_of(GRAPH_A, "6"), 7)
    others = [lease(partition, 7) for partition in some_of(GRAPH_A, "7 8", "other")]
    assert children_of(six, some_of(GRAPH_A, "8"), [six, *others]) == []
    assert ids(children_of(six, some_of(GRAPH_A, "8"), [six, only(some_of(GRAPH_A, "7"), 7), *others])) == "8"


def test_children_without_a_word_of_their_parents_are_gated_by_the_one_that_ended() -> None:
    parent = lease(Partition("s", "0"), 7)
    (new,) = children_of(parent, [Partition("s", "1")], [parent])
    assert new.partition.parents == ("0",)
    assert is_gated(new, by_partition([parent, new])) == ("0",)


@pytest.mark.parametrize("shown", ["", "9", "10"])
def test_an_end_without_all_its_children_is_refused(shown: str) -> None:
    parent = only(some_of(GRAPH_A, "5"), 7)
    with pytest.raises(BrokerUnavailableError, match="s/5 has ended without a child for its hash keys") as caught:
        children_of(parent, some_of(GRAPH_A, shown), [parent])
    assert caught.value.retryable


def test_an_end_without_ranges_may_have_no_children() -> None:
    parent = lease(Partition("s", "0"), 7)
    assert children_of(parent, [], [parent]) == []


# -- removal -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("nine", "removed"),
    [
        (None, ""),  # nobody has resolved where it begins
        (EARLIEST, ""),
        (StartPosition.at_time(STARTED), ""),
        (1, "5"),
        (END, "5"),
    ],
)
def test_an_ended_lease_is_removed_when_all_its_children_have_begun(nine: StartPosition | int | None, removed: str) -> None:
    rows = [only(some_of(GRAPH_A, "5"), END, "9 10"), only(some_of(GRAPH_A, "9"), nine), only(some_of(GRAPH_A, "10"), 1)]
    assert ids(to_remove(rows)) == removed


def test_an_ended_lease_stays_while_one_of_its_children_has_no_lease() -> None:
    assert to_remove([only(some_of(GRAPH_A, "5"), END, "9 10"), only(some_of(GRAPH_A, "10"), 1)]) == []


def test_a_lease_that_has_not_ended_stays() -> None:
    assert to_remove([only(some_of(GRAPH_A, "5"), 7, "9 10"), *(lease(p, 1) for p in some_of(GRAPH_A, "9 10"))]) == []


def test_an_ended_lease_stays_until_its_own_parents_are_gone() -> None:
    two, others = only(some_of(GRAPH_B, "2"), END, "3 4"), [lease(p, 1) for p in some_of(GRAPH_B, "3 4")]
    parents = [lease(p, END, children="2") for p in some_of(GRAPH_B, "0 1")]
    assert ids(to_remove([*parents, two, *others])) == "0 1"
    assert to_remove([two, lease(some_of(GRAPH_B, "1")[0], 7), *others]) == []
    assert ids(to_remove([two, *others])) == "2"


def test_an_ended_lease_whose_children_were_never_named_stays_or_a_listing_would_bring_it_back() -> None:
    assert to_remove([only(some_of(GRAPH_A, "5"), END), *(lease(p, 1) for p in some_of(GRAPH_A, "9 10"))]) == []


def test_leases_of_another_stream_are_neither_children_nor_parents() -> None:
    five = only(some_of(GRAPH_A, "5"), END, "9 10")
    assert to_remove([five, *(lease(p, 1) for p in some_of(GRAPH_A, "9 10", "other"))]) == []
    two, others = only(some_of(GRAPH_B, "2"), END, "3 4"), [lease(p, 1) for p in some_of(GRAPH_B, "3 4")]
    assert ids(to_remove([two, *others, *(lease(p, 7) for p in some_of(GRAPH_B, "0 1", "other"))])) == "2"


def test_what_is_removed_is_the_row_that_was_listed() -> None:
    five = replace(only(some_of(GRAPH_A, "5"), END, "9 10"), version=41)
    assert to_remove([five, *(lease(p, 1) for p in some_of(GRAPH_A, "9 10"))]) == [five]


# -- holes -------------------------------------------------------------------------------------------------------------


def test_a_whole_generation_has_no_hole() -> None:
    assert holes(open_of(GRAPH_A)) == []
    assert holes(all_of(GRAPH_A)) == []
    assert holes(replace(p, ended=False) for p in some_of(GRAPH_A, "0 1 7 4 5")) == []


@pytest.mark.parametrize("absent", ["4", "8", "9", "10"])
def test_a_missing_partition_is_a_hole_of_its_keys(absent: str) -> None:
    assert holes(p for p in all_of(GRAPH_A) if p.id != absent) == [some_of(GRAPH_A, absent)[0].key_range]


def test_the_first_and_the_last_key_count() -> None:
    top = (1 << 128) - 1
    assert holes([Partition("s", "0", key_range=(1, top - 1))]) == [(0, 0), (top, top)]
    assert holes([Partition("s", "0", key_range=(0, top))]) == []


def test_a_partition_inside_another_does_not_open_a_hole_behind_itself() -> None:
    top = (1 << 128) - 1
    inside = Partition("s", "1", key_range=(5, 9))
    assert holes([Partition("s", "0", key_range=(0, top)), inside]) == []


def test_streams_do_not_fill_each_others_holes() -> None:
    halves = [*some_of(GRAPH_B, "9", "a"), *some_of(GRAPH_B, "10", "b")]
    assert holes(halves) == [(1 << 127, (1 << 128) - 1), (0, (1 << 127) - 1)]


def test_without_ranges_there_are_no_holes_to_see() -> None:
    assert holes([Partition("s", "0"), Partition("s", "1")]) == []
    assert holes([Partition("s", "0"), *some_of(GRAPH_B, "9")]) == [], "a range that is not known may fill it"
    assert holes([]) == []


def test_the_checkpoint_of_a_lease_survives_its_text() -> None:
    parent = only(some_of(GRAPH_A, "5"), 7)
    for row in children_of(parent, some_of(GRAPH_A, "9 10"), [parent]):
        assert row.checkpoint is not None
        assert Checkpoint.from_text(row.checkpoint.to_text()) == row.checkpoint
