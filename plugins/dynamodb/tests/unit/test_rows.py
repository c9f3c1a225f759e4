"""Items of the table: what the KCL wrote is understood, what we write it understands, and all of ours comes back."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from streamkit_dynamodb.keys import Names, names_of
from streamkit_dynamodb.rows import Rows, Stored, changed, everything, grant_text, moved

from streamkit.errors import ConfigurationError, StoreUnavailableError
from streamkit.model import Checkpoint, ParkedKey, Partition, Position, StartPosition
from streamkit.plugin import fencing

Item = dict[str, dict[str, Any]]

FIXTURES = sorted((Path(__file__).parents[1] / "lease_tables").glob("kcl-*.json"))
SHARD = "shardId-000000000000"
ARN = "arn:aws:kinesis:eu-west-1:123456789012:stream/orders"
ORDERS = Partition("orders", SHARD, incarnation=f"{ARN}@1700000000")
DONE = Checkpoint(ORDERS, StartPosition.after(Position(7, 2)), metadata="m", owner="w", epoch=3)


def names(streams: Sequence[str] = ("orders",), *, group: str = "g", keys: Literal["auto", "single", "multi"] = "auto") -> Names:
    return names_of(keys, "kinesis", group, streams)


def rows(of: Names | None = None, told: list[str] | None = None) -> Rows:
    return Rows(of or names(), "t", lambda partition, what: (told if told is not None else []).append(f"{partition}: {what}"))


def write(row: fencing.Row, before: Stored | None = None, *, checkpoint: bool = True, grant: str = "", of: Names | None = None) -> Item:
    made = rows(of)
    key = made.key_of(row.partition or ORDERS)
    assert key is not None
    return made.after(before or made.nothing(key, row.partition or ORDERS), row, grant=grant, switches=0, checkpoint=checkpoint).item


def read(item: Item, of: Names | None = None) -> fencing.Row:
    stored = rows(of).read(item)
    assert stored is not None
    return stored.row


def at(item: Item) -> StartPosition | None:
    checkpoint = read(item).checkpoint
    return checkpoint.at if checkpoint else None


# -- what the KCL wrote ---------------------------------------------------------------------------------------------------


def kcl_items(file: Path) -> list[Item]:
    return [item for table in json.loads(file.read_text())["tables"][:1] for item in table["Items"]]


@pytest.mark.parametrize("file", FIXTURES, ids=lambda file: file.stem)
def test_every_row_that_a_kcl_wrote_is_read(file: Path) -> None:
    for item in kcl_items(file):
        row = read(item)
        assert row.version == row.epoch == int(item["leaseCounter"]["N"]), "nobody of us has taken it"
        assert row.owner == item.get("leaseOwner", {"S": ""})["S"]
        assert row.checkpoint is not None
        name = item["checkpoint"]["S"]
        if name.isdigit():
            assert row.checkpoint.at == StartPosition.after(Position(int(name), int(item["checkpointSubSequenceNumber"]["N"])))
        else:
            assert row.checkpoint.at == {"TRIM_HORIZON": StartPosition.EARLIEST, "SHARD_END": StartPosition.END}[name]
        assert row.partition is not None
        assert row.partition.id == item["leaseKey"]["S"]
        assert row.partition.key_range == (int(item["startingHashKey"]["S"]), int(item["endingHashKey"]["S"]))
        assert sorted(row.partition.parents) == sorted(item.get("parentShardId", {"SS": []})["SS"])
        assert sorted(row.partition.children) == sorted(item.get("childShardIds", {"SS": []})["SS"])


@pytest.mark.parametrize("file", FIXTURES, ids=lambda file: file.stem)
def test_what_is_saved_in_a_row_of_the_kcl_leaves_its_columns_as_it_would(file: Path) -> None:
    """Taken, saved at the same place and released: but for the counter and what is ours, the KCL finds its own row."""
    ours = rows()
    for item in kcl_items(file):
        before = ours.read(item)
        assert before is not None
        row = replace(before.row, owner="w", epoch=9, version=9, partition=fencing.known(before.row.partition, before.partition))
        taken = ours.after(before, row, grant="9/w/x", switches=1, checkpoint=False)
        assert {name for name in taken.item if taken.item[name] != item.get(name)} == {
            *("leaseOwner", "leaseCounter", "ownerSwitchesSinceCheckpoint", "streamkitGrant", "streamkitRow")
        }
        saved = ours.after(taken, replace(taken.row, version=10), grant="9/w/x", switches=0, checkpoint=True)
        freed = ours.after(saved, replace(saved.row, owner="", version=11), grant="", switches=0, checkpoint=False)
        kcl = {name: value for name, value in freed.item.items() if not name.startswith("streamkit") and name != "leaseCounter"}
        expected = {name: value for name, value in item.items() if name not in ("leaseCounter", "leaseOwner")}
        assert kcl == expected | {"ownerSwitchesSinceCheckpoint": {"N": "0"}}
        again = rows().read(freed.item)
        assert again is not None
        assert again.row.checkpoint == before.row.checkpoint


@pytest.mark.parametrize("entity", ["WORKER_METRIC_STATS", "LEADER", "STREAM", "SOMETHING_NEW"])
def test_rows_that_are_no_leases_are_passed_over(entity: str) -> None:
    assert rows().read({"leaseKey": {"S": "worker-1"}, "entityType": {"S": entity}}) is None
    lease = write(fencing.Row(checkpoint=DONE, partition=ORDERS)) | {"entityType": {"S": "LEASE"}}
    assert rows().read(lease) is not None


@pytest.mark.parametrize(
    "broken",
    [
        {"leaseCounter": {"N": "x"}},
        {"leaseCounter": {"S": "1"}},
        {"checkpoint": {"S": "bogus"}},
        {"startingHashKey": {"S": "x"}},
        {"streamkitCheckpoint": {"S": "{"}},
        {"streamkitRow": {"S": "["}},
        {"streamkitRow": {"S": '{"v":7}'}},
    ],
)
def test_a_lease_that_cannot_be_read_raises_and_names_itself(broken: Item) -> None:
    item = write(fencing.Row(checkpoint=DONE, partition=replace(ORDERS, key_range=(0, 9)))) | broken
    with pytest.raises(StoreUnavailableError, match=SHARD):
        rows().read(item)
    for column in ("leaseCounter", "checkpoint"):
        with pytest.raises(StoreUnavailableError, match=SHARD):
            rows().read({name: value for name, value in write(fencing.Row(checkpoint=DONE)).items() if name != column})


def test_a_lease_that_is_being_handed_over_by_a_kcl_3_is_owned() -> None:
    item = write(fencing.Row(checkpoint=DONE, version=5))
    for columns in ({"leaseOwner": {"S": "new"}, "checkpointOwner": {"S": "old"}}, {"checkpointOwner": {"S": "old"}}):
        assert read(item | columns).owner


def test_a_start_at_a_time_that_only_the_kcl_knows_begins_at_the_earliest_record_and_says_so_once() -> None:
    told: list[str] = []
    ours = rows(told=told)
    item = write(fencing.Row(checkpoint=DONE)) | {"checkpoint": {"S": "AT_TIMESTAMP"}, "checkpointSubSequenceNumber": {"N": "0"}}
    for counter in "123":
        stored = ours.read(item | {"leaseCounter": {"N": counter}, "throughputKBps": {"N": counter}})
        assert stored is not None
        assert stored.row.checkpoint is not None
        assert stored.row.checkpoint.at == StartPosition.EARLIEST
    assert len(told) == 1


def test_that_another_program_has_a_lease_is_said_once() -> None:
    told: list[str] = []
    ours = rows(told=told)
    item = write(fencing.Row(5, "a", DONE, 8), grant="5/a/x")
    for owner, count in (("a", 0), ("kcl", 1), ("kcl", 1), ("a", 1), ("kcl", 1)):
        ours.read(item | {"leaseOwner": {"S": owner}, "throughputKBps": {"N": str(count)}})
        assert len(told) == count
    ours.read({name: value for name, value in item.items() if name != "leaseOwner"})
    assert len(told) == 1, "a free one is nobody's"


def test_a_number_that_the_kcl_writes_as_state_when_it_makes_a_row_is_no_state() -> None:
    item = write(fencing.Row(checkpoint=DONE)) | {"pendingCheckpoint": {"S": "9"}, "pendingCheckpointState": {"N": "0"}}
    checkpoint = read(item).checkpoint
    assert checkpoint is not None
    assert (checkpoint.pending, checkpoint.pending_state) == (Position(9), b"")


# -- who has written last -------------------------------------------------------------------------------------------------


def test_a_grant_counts_as_long_as_its_owner_is_the_owner() -> None:
    item = write(fencing.Row(5, "a/b", DONE, 8), grant=grant_text(5, "a/b", "c0ffee"))
    assert (read(item).epoch, read(item).version) == (5, 8)
    for other in ({"leaseOwner": {"S": "kcl"}}, {"leaseOwner": {"S": "a"}}, {"checkpointOwner": {"S": "a/b"}}):
        row = read(item | other | {"leaseCounter": {"N": "12"}})
        assert row.epoch == row.version == 12
    free = {name: value for name, value in item.items() if name != "leaseOwner"}
    assert read(free).epoch == 8, "a grant that was left behind is nobody's"


def test_where_the_kcl_went_on_its_columns_count_and_what_it_has_no_word_for_stays() -> None:
    started = datetime(2026, 1, 1, tzinfo=UTC)
    parked = {b"k": ParkedKey("orders/0/1", ("orders/0/3.1",))}
    rich = replace(
        *(DONE,), record_time=started, partitions_at_start=4, group_started=started, suspect=Position(8), suspected=2, parked=parked
    )
    item = write(fencing.Row(checkpoint=rich, partition=ORDERS))
    assert read(item).checkpoint == rich
    for place in ({"checkpoint": {"S": "8"}}, {"checkpointSubSequenceNumber": {"N": "3"}}, {"checkpoint": {"S": "SHARD_END"}}):
        found = read(item | place).checkpoint
        assert found is not None
        assert found.at != rich.at
        assert (found.metadata, found.record_time, found.suspect, found.suspected, found.owner) == ("", None, None, 0, "")
        assert (found.parked, found.group_started, found.partitions_at_start) == (parked, started, 4)
        assert found.partition.incarnation == ORDERS.incarnation


def test_a_checkpoint_that_the_kcl_wrote_ends_our_prepared_one_and_its_own_is_ours() -> None:
    prepared = replace(DONE, pending=Position(9, 1, "token"), pending_state=b"\0state")
    item = write(fencing.Row(checkpoint=prepared, partition=ORDERS))
    assert (item["pendingCheckpoint"], item["pendingCheckpointSubSequenceNumber"]) == ({"S": "9"}, {"N": "1"})
    assert item["pendingCheckpointState"] == {"B": b"\0state"}
    kept = read(item).checkpoint
    assert kept is not None
    assert kept.pending is not None
    assert (kept.pending.token, kept.pending_state) == ("token", b"\0state")
    as_json = item | {"pendingCheckpointState": {"B": base64.b64encode(b"\0state").decode()}}
    assert read(as_json).checkpoint == kept, "as the service writes it"
    gone = {name: value for name, value in item.items() if not name.startswith("pending")} | {"checkpoint": {"S": "8"}}
    found = read(gone).checkpoint
    assert found is not None
    assert (found.pending, found.pending_state) == (None, b"")
    theirs = read(item | {"pendingCheckpoint": {"S": "11"}}).checkpoint
    assert theirs is not None
    assert (theirs.at, theirs.metadata, theirs.pending, theirs.pending_state) == (DONE.at, "m", Position(11, 1), b"\0state")


def test_that_there_is_no_checkpoint_is_known_until_somebody_writes_one() -> None:
    item = write(fencing.Row(partition=ORDERS))
    assert read(item).checkpoint is None
    assert item["checkpoint"] == {"S": "TRIM_HORIZON"}, "for a KCL that goes on"
    assert at(item | {"checkpoint": {"S": "5"}}) == StartPosition.after(Position(5))
    foreign = {name: value for name, value in item.items() if not name.startswith("streamkit")}
    assert at(foreign) == StartPosition.EARLIEST, "a row that a KCL made has a checkpoint"


def test_a_row_of_the_kcl_that_was_taken_is_still_a_row_of_the_kcl_until_it_is_saved() -> None:
    ours = rows()
    fresh = ours.read(kcl_items(FIXTURES[0])[0])
    assert fresh is not None
    taken = ours.after(fresh, replace(fresh.row, owner="w", epoch=1, version=1), grant="1/w/x", switches=0, checkpoint=False)
    assert at(taken.item) == StartPosition.EARLIEST


# -- ours, and back -------------------------------------------------------------------------------------------------------

TEXT = st.text(max_size=8)
IDS = st.lists(st.text(min_size=1, max_size=5), max_size=3, unique=True).map(tuple)
POSITIONS = st.builds(Position, st.integers(0, 1 << 186) | st.none(), st.integers(0, 99), TEXT) | st.just(Position.END)
STARTS = st.one_of(
    st.sampled_from([StartPosition.EARLIEST, StartPosition.LATEST]),
    st.datetimes(timezones=st.just(UTC)).map(StartPosition.at_time),
    POSITIONS.map(StartPosition.after),
    POSITIONS.map(StartPosition.at),
)
PARTITIONS = st.builds(
    Partition,
    st.just("orders"),
    st.just(SHARD),
    incarnation=TEXT,
    parents=IDS,
    children=IDS,
    key_range=st.none() | st.tuples(st.integers(0, (1 << 128) - 1), st.integers(0, (1 << 128) - 1)),
    extra=st.dictionaries(TEXT, TEXT, max_size=2),
)


@st.composite
def checkpoints(draw: st.DrawFn, partition: Partition) -> Checkpoint:
    pending = draw(st.none() | POSITIONS)
    said = Partition("orders", SHARD, incarnation=draw(st.sampled_from(["", partition.incarnation])), extra=partition.extra)
    return Checkpoint(
        said,
        draw(STARTS),
        metadata=draw(TEXT),
        owner=draw(TEXT),
        epoch=draw(st.integers(0, 99)),
        pending=pending,
        pending_state=draw(st.binary(max_size=9)) if pending is not None else b"",
        parked=draw(st.dictionaries(st.binary(max_size=3), st.just(ParkedKey("f", ("l",))), max_size=2)),
    )


@st.composite
def stored_rows(draw: st.DrawFn) -> tuple[fencing.Row, str]:
    partition = draw(PARTITIONS)
    owner = draw(st.sampled_from(["", "w", "a/b#1", "/"]))
    version = draw(st.integers(0, 1 << 40))
    epoch = draw(st.integers(0, version)) if owner else version
    checkpoint = draw(st.none() | checkpoints(partition))
    row = fencing.Row(epoch, owner, checkpoint, version, fruitless_claims=draw(st.integers(0, 5)), partition=partition)
    return row, grant_text(epoch, owner, "0a") if owner else ""


def all_of(row: fencing.Row) -> object:
    """Partitions and checkpoints compare by less than they hold."""
    p = row.partition
    seen = p and (p.stream, p.id, p.incarnation, p.parents, p.children, p.key_range, dict(p.extra))
    return replace(row, partition=None, checkpoint=None), seen, row.checkpoint and row.checkpoint.to_text()


@given(stored_rows())
def test_all_of_a_row_comes_back(one: tuple[fencing.Row, str]) -> None:
    row, grant = one
    item = write(row, grant=grant)
    assert all_of(read(item)) == all_of(row)
    assert item["leaseKey"] == {"S": SHARD}
    assert ("leaseOwner" in item) == bool(row.owner), "the column of a free row is absent"
    assert {"leaseCounter", "checkpoint", "ownerSwitchesSinceCheckpoint", "checkpointSubSequenceNumber"} <= item.keys()
    assert "checkpointOwner" not in item
    assert all(value != {"SS": []} for value in item.values())


@given(stored_rows(), stored_rows())
def test_what_is_sent_of_a_change_makes_one_item_of_the_other(one: tuple[fencing.Row, str], two: tuple[fencing.Row, str]) -> None:
    foreign: Item = {"throughputKBps": {"N": "1"}, "streamkitHandover": {"S": "w"}, "streamkitRequest": {"S": "r"}}
    ours = rows()
    before = ours.read(write(one[0], grant=one[1]) | foreign)
    assert before is not None
    after = ours.after(before, two[0], grant=two[1], switches=3, checkpoint=True)
    for sets, removes in (changed(before.item, after.item), everything(after.item)):
        item = {name: value for name, value in (before.item | sets).items() if name not in removes}
        assert item == after.item
        assert not foreign.keys() & {*sets, *removes}, "others write these"
    assert foreign.items() <= after.item.items()


def test_a_write_that_is_no_checkpoint_leaves_those_columns_alone() -> None:
    ours = rows()
    before = ours.read(write(fencing.Row(checkpoint=DONE, partition=ORDERS)) | {"checkpoint": {"S": "99"}})
    assert before is not None
    sets, removes = changed(before.item, ours.after(before, before.row, grant="", switches=0, checkpoint=False).item)
    assert (sets, removes) == ({}, [])


def test_a_renewal_is_seen_as_what_it_is_without_reading_all_again() -> None:
    ours = rows()
    item = write(fencing.Row(5, "w", DONE, 8, partition=ORDERS), grant="5/w/x")
    first, second = ours.read(item), ours.read(item | {"leaseCounter": {"N": "9"}})
    assert first is not None
    assert second is not None
    assert (second.row.version, second.row.epoch) == (9, 5)
    assert second.row.checkpoint is first.row.checkpoint
    assert moved(first, second.row).item == second.item
    third = ours.read(item | {"leaseCounter": {"N": "9"}, "leaseOwner": {"S": "kcl"}})
    assert third is not None
    assert (third.row.owner, third.row.epoch) == ("kcl", 9)
    fourth = ours.read(item | {"leaseCounter": {"N": "12"}, "leaseOwner": {"S": "kcl"}})
    assert fourth is not None
    assert (fourth.row.version, fourth.row.epoch) == (12, 12)


# -- whose table --------------------------------------------------------------------------------------------------------


def test_a_table_of_another_group_or_stream_is_refused() -> None:
    item = write(fencing.Row(checkpoint=DONE, partition=ORDERS))
    for other, what in ((names(group="other"), "group 'g'"), (names(["payments"]), "stream 'orders'")):
        with pytest.raises(ConfigurationError, match=what) as caught:
            read(item, other)
        assert "another table" in caught.value.fix
    assert read(item, names([ARN])).checkpoint is not None, "the same stream by its ARN"
    found = read(item, names([ARN])).checkpoint
    assert found is not None
    assert found.partition.stream == ARN


def test_rows_of_several_streams_have_the_columns_of_the_kcl() -> None:
    several = names(["orders", "payments"])
    row = fencing.Row(checkpoint=DONE, partition=ORDERS)
    item = write(row, of=several)
    assert item["leaseKey"] == {"S": f"123456789012:orders:1700000000:{SHARD}"}
    assert (item["streamName"], item["shardId"]) == ({"S": "123456789012:orders:1700000000"}, {"S": SHARD})
    assert all_of(read(item, several)) == all_of(row)
    bare = {name: value for name, value in item.items() if not name.startswith("streamkit")}
    assert read(bare, several).checkpoint == replace(DONE, metadata="", owner="", epoch=0)


def test_a_row_costs_one_unit_to_renew() -> None:
    """1 KB: names and values, https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/CapacityUnitCalculations.html"""
    whole = replace(ORDERS, parents=("shardId-000000000001", "shardId-000000000002"), key_range=(1 << 127, (1 << 128) - 1))
    sequence = 49680421529287390267631575473143130109326425027839524866
    now = datetime(2026, 11, 21, 18, 56, 11, 257000, tzinfo=UTC)
    checkpoint = Checkpoint(
        replace(whole, parents=(), key_range=None),
        StartPosition.after(Position(sequence, 12)),
        record_time=now,
        owner="orders-worker-7f9c4d5b6-x2x9k#0a1b2c3d",
        epoch=123_456,
        partitions_at_start=1000,
        group_started=now,
    )
    row = fencing.Row(123_456, checkpoint.owner, checkpoint, 1_234_567, partition=whole)
    item = write(row, grant=grant_text(row.epoch, row.owner, "0a1b2c3d"))
    sizes = {name: len(name) + sum(len(str(part).encode()) for value in item[name].values() for part in _parts(value)) for name in item}
    assert sum(sizes.values()) <= 1024, sizes


def _parts(value: object) -> list[object]:
    return value if isinstance(value, list) else [value]
