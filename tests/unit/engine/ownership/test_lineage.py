"""Which leases are made from a listing: the generation of a first start, and what is missing later.

The tables are the scenarios of the Kinesis Client Library's hierarchical shard sync.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from streamkit.engine.ownership.lineage import to_create
from streamkit.errors import BrokerError, BrokerUnavailableError
from streamkit.model import Lease, Partition, Position, StartPosition
from tests.unit.engine.ownership.families import (
    EARLIEST,
    GRAPH_A,
    GRAPH_B,
    GRAPH_C,
    LATEST,
    STARTED,
    Graph,
    all_of,
    ids,
    lease,
    open_of,
    some_of,
)

LONG_AGO = StartPosition.at_time(STARTED - timedelta(days=365))
END = StartPosition.END

# graph, partitions that have a lease, what LATEST adds, what EARLIEST and a time before everything add
TABLE: list[tuple[Graph, str, str, str]] = [
    (GRAPH_A, "", "4 8 9 10", "0 1 2 3 4 5"),
    (GRAPH_A, "3 4 5", "2 6", "0 1 2"),
    (GRAPH_A, "4 5 7", "6", "0 1"),
    (GRAPH_A, "2 6", "3 4 9 10", "3 4 5"),
    (GRAPH_A, "4 9 10", "8", "0 1 2 3"),
    (GRAPH_A, "4 5 6 7", "", ""),
    (GRAPH_A, "0 1 2 3 4 5 6 7", "", ""),
    (GRAPH_A, "0 1 4 7 9 10", "", ""),
    (GRAPH_B, "", "9 10", "0 1"),
    (GRAPH_B, "9", "10", "10"),
    (GRAPH_B, "6", "7", "7"),
    (GRAPH_B, "5", "", ""),
    (GRAPH_B, "0", "1", "1"),
    (GRAPH_B, "4", "3", "3"),
    (GRAPH_B, "6 7", "", ""),
    (GRAPH_C, "", "2 4 5 6", "0"),
    (GRAPH_C, "2", "4 5 6", "1"),
    (GRAPH_C, "1", "2", "2"),
    (GRAPH_C, "2 4", "5 6", "3"),
    (GRAPH_C, "5", "2 4 6", "2 4 6"),
    (GRAPH_C, "0", "", ""),
    (GRAPH_C, "2 3 4", "", ""),
]


def names(leases: list[Lease]) -> set[str]:
    return {row.partition.id for row in leases}


@pytest.mark.parametrize(("graph", "leased", "expected"), [(g, leased, latest) for g, leased, latest, _ in TABLE])
def test_under_latest_the_open_partitions_are_leased_unless_they_descend_from_a_lease(graph: Graph, leased: str, expected: str) -> None:
    rows = [lease(partition) for partition in some_of(graph, leased)]
    assert names(to_create(LATEST, open_of(graph), all_of(graph), rows)) == set(expected.split())


@pytest.mark.parametrize("start", [EARLIEST, LONG_AGO])
@pytest.mark.parametrize(("graph", "leased", "expected"), [(g, leased, earliest) for g, leased, _, earliest in TABLE])
def test_from_the_beginning_the_oldest_are_leased_unless_they_lie_behind_a_lease(
    start: StartPosition, graph: Graph, leased: str, expected: str
) -> None:
    rows = [lease(partition) for partition in some_of(graph, leased)]
    assert names(to_create(start, all_of(graph), all_of(graph), rows)) == set(expected.split())


@pytest.mark.parametrize(("start", "shown"), [(LATEST, open_of), (EARLIEST, all_of), (LONG_AGO, all_of)])
@pytest.mark.parametrize(("graph", "leased"), [(graph, leased) for graph, leased, _, _ in TABLE])
def test_what_was_created_is_not_created_again_and_what_is_beside_a_lease_begins_at_the_configured_start(
    start: StartPosition, shown: Callable[[Graph], list[Partition]], graph: Graph, leased: str
) -> None:
    rows = [lease(partition) for partition in some_of(graph, leased)]
    new = to_create(start, shown(graph), all_of(graph), rows)
    assert to_create(start, shown(graph), all_of(graph), [*rows, *new]) == []
    assert all(row.checkpoint is None for row in new)


# What a broker lists for a time: partitions that have a record after it, and open ones.
@pytest.mark.parametrize(
    ("graph", "listed", "expected"),
    [
        (GRAPH_A, "4 5 6 7 8 9 10", "4 5 6 7"),
        (GRAPH_A, "4 6 8 9 10", "4 6 7 9 10"),  # nothing after it in 7, but 7 closed when 6 did
        (GRAPH_A, "0 4 5 8 9 10", "0 1 4 5 7"),  # nothing after it in 6, between 0 and 8; 7 closed with 6
        (GRAPH_A, "1 3 4 8 9 10", "0 1 2 3 4 9 10"),
        (GRAPH_B, "3 9 10", "3 4"),
        (GRAPH_C, "3 2 4 5 6", "2 3 4"),
        (GRAPH_C, "0 2 4 5 6", "0"),
    ],
)
def test_from_a_time_the_generation_of_that_time_is_leased(graph: Graph, listed: str, expected: str) -> None:
    new = to_create(LONG_AGO, some_of(graph, listed), all_of(graph), [])
    assert names(new) == set(expected.split())
    assert to_create(LONG_AGO, some_of(graph, listed), all_of(graph), new) == []


def test_what_descends_from_a_lease_begins_at_earliest_and_knows_when_the_group_started() -> None:
    ended = [lease(partition, END) for partition in some_of(GRAPH_A, "6 7")]
    others = [lease(partition, 7) for partition in some_of(GRAPH_A, "4 9 10")]
    (new,) = to_create(LATEST, open_of(GRAPH_A), all_of(GRAPH_A), [*ended, *others])
    assert new.partition.id == "8"
    assert new.partition.parents == ("6", "7")
    assert new.partition.key_range == some_of(GRAPH_A, "8")[0].key_range
    assert new.checkpoint is not None
    assert (new.checkpoint.at, new.checkpoint.group_started, new.checkpoint.partitions_at_start) == (EARLIEST, STARTED, 2)


def test_a_child_of_an_ended_lease_is_not_created_before_its_other_parent_has_ended() -> None:
    rows = [lease(p, END) for p in some_of(GRAPH_A, "6")] + [lease(p, 7) for p in some_of(GRAPH_A, "2 3 4 5")]
    assert to_create(EARLIEST, all_of(GRAPH_A), all_of(GRAPH_A), rows) == []


def test_where_one_parent_of_a_merge_has_ended_the_other_one_is_read_as_well() -> None:
    rows = [lease(p, END) for p in some_of(GRAPH_A, "6")] + [lease(p, 7) for p in some_of(GRAPH_A, "4 5")]
    assert ids(to_create(LATEST, open_of(GRAPH_A), all_of(GRAPH_A), rows)) == "7"


@pytest.mark.parametrize(("ended", "expected"), [("6 7", "8"), ("0 1", "2"), ("5", "6 7")])
def test_under_latest_a_child_of_what_has_ended_is_leased_although_it_has_ended_itself(ended: str, expected: str) -> None:
    rows = [lease(partition, END) for partition in some_of(GRAPH_B, ended)]
    new = to_create(LATEST, open_of(GRAPH_B), all_of(GRAPH_B), rows)
    assert names(new) == set(expected.split())
    assert {row.checkpoint.at for row in new if row.checkpoint is not None} == {EARLIEST}


@pytest.mark.parametrize("start", [EARLIEST, LATEST])
@pytest.mark.parametrize(("leased", "between"), [("2 5", "3 4"), ("2 9 10", "3 4 5 6 7 8"), ("6 9", "8")])
def test_what_lies_between_two_leases_has_one_too_or_nothing_would_hold_up_the_younger(
    start: StartPosition, leased: str, between: str
) -> None:
    rows = [lease(partition) for partition in some_of(GRAPH_B, leased)]
    at_start = all_of(GRAPH_B) if start == EARLIEST else open_of(GRAPH_B)
    new = to_create(start, at_start, all_of(GRAPH_B), rows)
    assert names(new) == set(between.split())
    assert [row.checkpoint.at for row in new if row.checkpoint is not None] == [EARLIEST] * len(new)
    assert to_create(start, at_start, all_of(GRAPH_B), [*rows, *new]) == []


def test_what_lies_between_a_lease_that_has_ended_and_a_younger_one_is_behind_that() -> None:
    rows = [lease(p, END) for p in some_of(GRAPH_B, "0 1")] + [lease(p, 7) for p in some_of(GRAPH_B, "5")]
    assert to_create(EARLIEST, all_of(GRAPH_B), all_of(GRAPH_B), rows) == []


def test_a_parent_that_is_not_listed_any_more_holds_nobody_up() -> None:
    left = some_of(GRAPH_A, "4 6 7 8 9 10")
    assert ids(to_create(EARLIEST, left, left, [])) == "4 6 7 9 10"
    rows = [lease(p, END) for p in some_of(GRAPH_A, "6")] + [lease(p, 7) for p in some_of(GRAPH_A, "4 9 10")]
    without_seven = some_of(GRAPH_A, "4 6 8 9 10")
    assert ids(to_create(EARLIEST, without_seven, without_seven, rows)) == "8"


def test_a_lease_whose_partition_is_not_listed_any_more_still_counts_for_its_descendants() -> None:
    rows = [lease(partition, 7) for partition in some_of(GRAPH_A, "0 1 2 3 4 5")]
    left = some_of(GRAPH_A, "4 6 7 8 9 10")
    assert to_create(EARLIEST, left, left, rows) == []


def test_what_lies_behind_a_lease_is_never_created_again_however_long_the_broker_lists_it() -> None:
    rows = [lease(partition, 7) for partition in some_of(GRAPH_B, "9 10")]
    for start, at_start in ((EARLIEST, all_of(GRAPH_B)), (LONG_AGO, some_of(GRAPH_B, "1 5 9 10")), (LATEST, open_of(GRAPH_B))):
        assert to_create(start, at_start, all_of(GRAPH_B), rows) == []


def test_a_listing_that_was_taken_while_a_partition_split_gives_its_parent_once() -> None:
    before = [replace(p, ended=False, children=()) for p in some_of(GRAPH_A, "4 5 8")]
    after = all_of(GRAPH_A)
    assert ids(to_create(LATEST, before, after, [])) == "4 5 8"
    rows = [lease(p, 7) for p in some_of(GRAPH_A, "4 5 8")]
    assert to_create(LATEST, before, after, rows) == []


# -- streams ---------------------------------------------------------------------------------------------------------


def test_ids_of_two_streams_are_not_mixed_up() -> None:
    everything = all_of(GRAPH_A, "a") + all_of(GRAPH_B, "b")
    rows = [lease(partition, 7) for partition in some_of(GRAPH_A, "4 5 6 7", "a")] + [lease(p) for p in some_of(GRAPH_B, "6", "b")]
    new = to_create(EARLIEST, everything, everything, rows)
    assert [str(row.partition) for row in new] == ["b/7"]


def test_each_stream_of_a_first_start_has_its_generation() -> None:
    new = to_create(LATEST, open_of(GRAPH_A, "a") + open_of(GRAPH_C, "b"), all_of(GRAPH_A, "a") + all_of(GRAPH_C, "b"), [])
    assert {str(row.partition) for row in new} == {"a/4", "a/8", "a/9", "a/10", "b/2", "b/4", "b/5", "b/6"}
    assert {row.checkpoint for row in new} == {None}


def test_a_stream_that_a_running_group_finds_later_is_read_from_its_beginning() -> None:
    rows = [lease(partition, 7) for partition in open_of(GRAPH_A, "a")]
    at_start, everything = open_of(GRAPH_A, "a") + open_of(GRAPH_C, "b"), all_of(GRAPH_A, "a") + all_of(GRAPH_C, "b")
    (new,) = to_create(LATEST, at_start, everything, rows)
    assert str(new.partition) == "b/0"
    assert new.checkpoint is not None
    assert (new.checkpoint.at, new.checkpoint.group_started) == (EARLIEST, STARTED)


def test_a_later_stream_whose_creation_died_half_way_goes_on_with_the_same_generation() -> None:
    rows = [lease(partition, 7) for partition in open_of(GRAPH_C, "b")]
    at_start, everything = open_of(GRAPH_B, "a") + open_of(GRAPH_C, "b"), all_of(GRAPH_B, "a") + all_of(GRAPH_C, "b")
    first, second = to_create(LATEST, at_start, everything, rows)
    assert to_create(LATEST, at_start, everything, [*rows, first]) == [second]


@pytest.mark.parametrize("at", [None, StartPosition.at(Position(7)), LONG_AGO])
def test_a_first_start_of_two_streams_that_died_half_way_is_completed_with_the_same_generation(at: StartPosition | None) -> None:
    rows = [lease(partition, at) for partition in open_of(GRAPH_A, "a")]
    new = to_create(LATEST, open_of(GRAPH_A, "a") + open_of(GRAPH_C, "b"), all_of(GRAPH_A, "a") + all_of(GRAPH_C, "b"), rows)
    assert {(str(row.partition), row.checkpoint) for row in new} == {("b/2", None), ("b/4", None), ("b/5", None), ("b/6", None)}


def test_a_lease_that_was_taken_shows_that_the_group_has_begun_even_before_it_has_a_checkpoint() -> None:
    rows = [replace(lease(partition), epoch=1) for partition in open_of(GRAPH_A, "a")]
    (new,) = to_create(LATEST, open_of(GRAPH_A, "a") + open_of(GRAPH_C, "b"), all_of(GRAPH_A, "a") + all_of(GRAPH_C, "b"), rows)
    assert str(new.partition) == "b/0"


def test_a_stream_that_is_not_listed_keeps_its_leases_to_itself() -> None:
    rows = [lease(partition, 7) for partition in open_of(GRAPH_C, "gone")]
    assert to_create(EARLIEST, all_of(GRAPH_A), all_of(GRAPH_A), [*rows, *(lease(p, 7) for p in open_of(GRAPH_A))]) == []


# -- partitions without lineage ----------------------------------------------------------------------------------------


def plain(*names: str) -> list[Partition]:
    return [Partition("s", name) for name in names]


@pytest.mark.parametrize("start", [EARLIEST, LATEST, LONG_AGO])
def test_partitions_without_lineage_are_all_leased_at_the_configured_start(start: StartPosition) -> None:
    listed = plain("0", "1", "2")
    new = to_create(start, listed, listed, [])
    assert new == [Lease(partition) for partition in listed]
    assert to_create(start, listed, listed, new[:1]) == new[1:], "a first start that died half way is completed"


@pytest.mark.parametrize("start", [EARLIEST, LATEST, LONG_AGO])
def test_one_without_lineage_that_is_found_later_begins_at_earliest(start: StartPosition) -> None:
    rows = [lease(partition, 7) for partition in plain("0", "1")]
    listed = plain("0", "1", "2")
    (new,) = to_create(start, listed, listed, rows)
    assert new.checkpoint is not None
    assert (new.partition.id, new.checkpoint.at, new.checkpoint.partitions_at_start) == ("2", EARLIEST, 2)


def test_one_without_lineage_that_was_there_at_the_groups_first_start_begins_where_that_began() -> None:
    listed = plain("0", "1")
    (new,) = to_create(LATEST, listed, listed, [lease(listed[0], 7, count=2)])
    assert (new.partition.id, new.checkpoint) == ("1", None)


def test_one_without_lineage_and_without_a_number_cannot_be_proved_old_and_is_not_skipped() -> None:
    listed = plain("north", "south")
    (new,) = to_create(LATEST, listed, listed, [lease(listed[0], 7)])
    assert new.checkpoint is not None
    assert new.checkpoint.at == EARLIEST


# -- what is refused ---------------------------------------------------------------------------------------------------


def refused(start: StartPosition, at_start: list[Partition], everything: list[Partition], rows: list[Lease], why: str) -> None:
    with pytest.raises(BrokerUnavailableError, match=why) as caught:
        to_create(start, at_start, everything, rows)
    assert isinstance(caught.value, BrokerError)
    assert caught.value.retryable


@pytest.mark.parametrize("absent", ["0", "1", "2", "3", "4"])
def test_a_first_start_refuses_a_listing_without_one_of_the_oldest(absent: str) -> None:
    listed = [partition for partition in all_of(GRAPH_A) if partition.id != absent]
    low, high = some_of(GRAPH_A, absent)[0].key_range or (0, 0)
    refused(EARLIEST, listed, listed, [], f"no partition is listed for the hash keys {low} to {high}")


def test_without_a_partition_that_has_expired_its_children_are_the_oldest() -> None:
    listed = [partition for partition in all_of(GRAPH_A) if partition.id != "5"]
    assert ids(to_create(EARLIEST, listed, listed, [])) == "0 1 2 3 4 9 10"


@pytest.mark.parametrize("start", [EARLIEST, LATEST])
@pytest.mark.parametrize("rows", [[], [lease(partition) for partition in some_of(GRAPH_A, "0 1 2 3")]])
@pytest.mark.parametrize("absent", ["4", "6", "7", "8", "9", "10"])
def test_a_listing_without_one_that_others_lead_to_or_that_is_open_is_refused(start: StartPosition, rows: list[Lease], absent: str) -> None:
    listed = [replace(partition, children=()) for partition in all_of(GRAPH_A) if partition.id != absent]
    at_start = [partition for partition in listed if start == EARLIEST or not partition.ended]
    refused(start, at_start, listed, rows, "hash keys")


def test_a_child_that_its_parent_names_and_the_listing_does_not_show_is_refused_without_ranges_too() -> None:
    listed = [Partition("s", "0", children=("1", "2"), ended=True), Partition("s", "1", parents=("0",))]
    refused(EARLIEST, listed, listed, [], "0 has ended, and its child 2 is not listed")


def test_a_child_of_a_parent_that_has_not_ended_is_refused() -> None:
    listed = [replace(p, ended=p.ended and p.id != "5") for p in all_of(GRAPH_A)]
    refused(LATEST, [p for p in listed if not p.ended], listed, [], "9 is listed beside 5, its parent, which has not ended")


def test_an_old_listing_that_shows_what_was_finished_and_removed_is_refused() -> None:
    old = [replace(p, ended=False, children=()) for p in some_of(GRAPH_C, "0")]
    rows = [lease(partition, 7) for partition in some_of(GRAPH_C, "2 4 5 6")]
    assert to_create(EARLIEST, old, old, rows) == [], "2 says that it descends from 0"
    rows = [lease(partition, 7) for partition in some_of(GRAPH_C, "4 5 6")]
    refused(EARLIEST, old, old, rows, "0 is listed with hash keys of .*, and nothing that connects them")


def test_no_partitions_at_all_are_no_answer() -> None:
    refused(LATEST, [], [], [], "no partitions")


def test_a_lease_carries_what_its_row_has_to_keep_and_no_children_before_its_end() -> None:
    listed = [replace(p, incarnation="arn", extra={"shard": p.id}) for p in all_of(GRAPH_C)]
    (new,) = to_create(EARLIEST, listed, listed, [])
    assert (new.partition.incarnation, new.partition.extra, new.partition.children) == ("arn", {"shard": "0"}, ())
    assert (new.owner, new.epoch, new.version) == ("", 0, 0)


def test_a_position_as_start_is_one_generation_as_well() -> None:
    start = StartPosition.at(Position(4))
    assert ids(to_create(start, all_of(GRAPH_B), all_of(GRAPH_B), [])) == "0 1"
