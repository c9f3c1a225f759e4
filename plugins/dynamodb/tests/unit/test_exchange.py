"""Foreign lease tables: every row of tables that the real libraries have made is understood, or named; nothing is passed over silently."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as profile
from hypothesis import strategies as st
from streamkit_dynamodb.exchange import KclExchange
from streamkit_dynamodb.settings import DynamoDBSettings

from streamkit.errors import ConfigurationError
from streamkit.model import Checkpoint, Lease, Partition, Position, StartPosition
from streamkit.plugin import Foreign
from tests.conformance.context import PlainContext

TABLES = Path(__file__).parents[1] / "lease_tables"
HALF = (1 << 127) - 1
ARN = "arn:aws:kinesis:eu-central-1:123456789012:stream/orders"
INCARNATION = f"{ARN}@1700000000"


def shard(number: int) -> str:
    return f"shardId-{number:012d}"


def listed(count: int = 2, stream: str = "orders") -> list[Partition]:
    arn = ARN.replace("orders", stream.rpartition("/")[2])
    return [Partition(stream, shard(number), incarnation=f"{arn}@1700000000") for number in range(count)]


def exchange(streams: tuple[str, ...] = ("orders",), now: float = 1_800_000_000.0, **fields: Any) -> KclExchange:
    context = PlainContext(broker="kinesis", group="billing", now=now)
    context.streams = streams
    return KclExchange(DynamoDBSettings(**fields), context)


def read(
    items: list[dict[str, Any]],
    there: list[Partition] | None = None,
    start: StartPosition = StartPosition.EARLIEST,
    now: float = 1_800_000_000.0,
    streams: tuple[str, ...] = ("orders",),
) -> Foreign:
    text = "".join(json.dumps(item) + "\n" for item in items)
    return exchange(streams, now).parse(text, listed(4) if there is None else there, start)


def fixture(name: str) -> tuple[list[dict[str, Any]], float]:
    body = json.loads((TABLES / f"{name}.json").read_text("utf-8"))
    return body["tables"][0]["Items"], body["taken_at_epoch"]


def places(found: Foreign) -> dict[str, str]:
    return {one.partition.id: str(one.at) for one in found.checkpoints}


def row(number: int = 0, checkpoint: str = "7", **columns: Any) -> dict[str, Any]:
    return {
        "leaseKey": {"S": shard(number)},
        "checkpoint": {"S": checkpoint},
        "checkpointSubSequenceNumber": {"N": "0"},
        "leaseCounter": {"N": "3"},
        "ownerSwitchesSinceCheckpoint": {"N": "0"},
    } | columns


def test_every_recorded_table_is_here() -> None:
    assert len(list(TABLES.glob("*.json"))) >= 10


@pytest.mark.parametrize("file", sorted(TABLES.glob("*.json")), ids=lambda file: file.stem)
def test_every_recorded_table_is_understood_whole(file: Path) -> None:
    """Each row has a checkpoint, and the place of each is the one that stands in it."""
    items, _ = fixture(file.stem)
    found = read(items)
    words = {"TRIM_HORIZON": "earliest", "SHARD_END": "after END"}
    for item in items:
        key = item.get("leaseKey", item.get("ShardID"))["S"]
        said = next((item[name]["S"] for name in ("checkpoint", "Checkpoint", "SequenceID") if name in item), "TRIM_HORIZON")
        is_closed = item.get("Closed", {}).get("BOOL", False)
        assert places(found)[key] == ("after END" if is_closed else words.get(said, f"after {said}"))
    assert len(found.checkpoints) == len(items)
    assert set(found.signs) == {shard(number) for number in range(len(items))}


@pytest.mark.parametrize("name", ["kcl-2.6.1-split-shard-end", "kcl-3.1.3-3x-split-shard-end"])
def test_lineage_and_hash_keys_come_along(name: str) -> None:
    items, _ = fixture(name)
    by_id = {one.partition.id: one.partition for one in read(items).checkpoints}
    assert by_id[shard(0)].children == (shard(2), shard(3))
    assert by_id[shard(2)].parents == by_id[shard(3)].parents == (shard(0),)
    assert by_id[shard(2)].key_range == (0, 85070591730234615865843651857942052862)
    assert {one.incarnation for one in by_id.values()} == {INCARNATION}


def test_a_child_without_a_place_of_its_own_begins_at_the_oldest_record_and_that_is_said() -> None:
    items, _ = fixture("vmware-go-kcl-v2-split-shard-end")
    found = read(items)
    assert places(found)[shard(2)] == "earliest"
    assert any(shard(2) in text and "never checkpointed" in text for text in found.remarks)
    assert next(one.partition for one in found.checkpoints if one.partition.id == shard(2)).parents == (shard(0),)


@pytest.mark.parametrize("name", ["vmware-go-kcl-v2-in-progress", "gokini-in-progress"])
def test_the_go_libraries_say_themselves_until_when_a_worker_lives(name: str) -> None:
    items, taken_at = fixture(name)
    alive = read(items, now=taken_at).alive
    assert len(alive) == 2
    assert items[0]["AssignedTo"]["S"] in alive[0]
    assert read(items, now=taken_at + 60).alive == ()


def test_a_sign_of_life_changes_with_each_renewal() -> None:
    assert read([row()]).signs != read([row(leaseCounter={"N": "4"})]).signs
    assert read([row(leaseOwner={"S": "a"})]).signs != read([row(leaseOwner={"S": "b"})]).signs
    items, _ = fixture("gokini-in-progress")
    later = [item | {"LeaseTimeout": {"S": "2026-11-21T06:59:19.657934646Z"}} for item in items]
    assert read(items).signs != read(later).signs


def test_what_is_no_lease_is_passed_over_with_a_remark_and_is_a_sign_of_life() -> None:
    metrics = {"leaseKey": {"S": "worker-A"}, "entityType": {"S": "WORKER_METRIC_STATS"}, "lut": {"N": "1"}}
    found = read([row(entityType={"S": "LEASE"}), metrics])
    assert places(found) == {shard(0): "after 7"}
    assert any("worker-A: no lease" in text for text in found.remarks)
    assert found.signs["worker-A"] != read([metrics | {"lut": {"N": "2"}}]).signs["worker-A"]


def test_sub_sequences_and_prepared_checkpoints_come_along() -> None:
    state = base64.b64encode(b"\x00tx").decode()
    prepared = {
        "pendingCheckpoint": {"S": "9"},
        "pendingCheckpointSubSequenceNumber": {"N": "2"},
        "pendingCheckpointState": {"B": state},
    }
    (one,) = read([row(checkpointSubSequenceNumber={"N": "4"}, **prepared)]).checkpoints
    assert one.at == StartPosition.after(Position(7, 4))
    assert (one.pending, one.pending_state) == (Position(9, 2), b"\x00tx")
    (lenient,) = read([row(pendingCheckpoint={"S": "9"}, pendingCheckpointState={"N": "1"})]).checkpoints
    assert (lenient.pending, lenient.pending_state) == (Position(9), b"")


def test_a_time_that_is_not_in_the_table_is_that_of_the_setting_or_else_the_oldest_record() -> None:
    item = row(checkpoint="AT_TIMESTAMP")
    time = StartPosition.at_time(datetime(2026, 1, 1, tzinfo=UTC))
    assert [one.at for one in read([item], start=time).checkpoints] == [time]
    for start in (StartPosition.EARLIEST, StartPosition.LATEST):
        found = read([item], start=start)
        assert places(found) == {shard(0): "earliest"}
        assert any("AT_TIMESTAMP" in text and shard(0) in text for text in found.remarks)


def test_latest_stays_and_is_remarked() -> None:
    found = read([row(checkpoint="LATEST")])
    assert places(found) == {shard(0): "latest"}
    assert any("nothing was ever checkpointed" in text for text in found.remarks)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"checkpoint": {"S": "SOMEWHERE"}}, "SOMEWHERE"),
        ({"checkpoint": {"S": ""}}, "no sequence number"),
        ({"checkpoint": {"N": "7"}}, "'S'"),
        ({"checkpoint": None}, "'checkpoint'"),
        ({"checkpointSubSequenceNumber": {"N": "-1"}}, "negative"),
        ({"checkpointSubSequenceNumber": {"N": "x"}}, "'x'"),
        ({"pendingCheckpoint": {"S": "?"}}, "'?'"),
        ({"pendingCheckpointState": {"B": "*"}}, "base64"),
        ({"startingHashKey": {"S": "low"}, "endingHashKey": {"S": "9"}}, "'low'"),
        ({"leaseKey": {"S": "orders-1"}}, "neither a shard's id"),
        ({"leaseKey": None}, "neither a shard's id"),
        ({"parentShardId": {"S": "shardId-0"}}, "'SS'"),
    ],
)
def test_a_row_that_cannot_be_understood_is_an_error_that_names_it(change: dict[str, Any], said: str) -> None:
    broken = {name: value for name, value in (row(1) | change).items() if value is not None}
    if "pendingCheckpointState" in change:
        broken["pendingCheckpoint"] = {"S": "9"}
    with pytest.raises(ConfigurationError) as raised:
        read([row(0), broken])
    assert "cannot be understood" in str(raised.value)
    assert broken.get("leaseKey", {"S": "''"})["S"] in str(raised.value)
    assert said.lower() in str(raised.value).lower()


@pytest.mark.parametrize(
    "change",
    [
        {"Checkpoint": {"S": "here"}},
        {"Checkpoint": {"S": "7"}, "SequenceID": {"S": "8"}},
        {"LeaseTimeout": {"S": "soon"}},
        {"LeaseTimeout": {"S": "2026-11-21T06:59:09"}},
        {"ShardID": {"S": "one"}},
    ],
)
def test_a_row_of_the_go_libraries_that_cannot_be_understood_is_an_error(change: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match="cannot be understood"):
        read([{"ShardID": {"S": shard(0)}} | change])


def test_unknown_columns_and_streamkits_own_are_remarked() -> None:
    found = read([row(colour={"S": "red"}, streamkitRow={"S": "{}"}, throughputKBps={"N": "1"})])
    assert any("colour" in text for text in found.remarks)
    assert any("streamkit has worked on it" in text for text in found.remarks)
    assert not any("throughputKBps" in text for text in found.remarks)
    assert read([row()]).remarks == ()


# -- which stream ----------------------------------------------------------------------------------------------------


def multi(stream: str = "orders", number: int = 0, *, account: str = "123456789012", creation: str = "1700000000") -> dict[str, Any]:
    return row(number) | {"leaseKey": {"S": f"{account}:{stream}:{creation}:{shard(number)}"}}


def test_rows_of_several_streams_find_theirs() -> None:
    there = [*listed(2), *listed(2, "arn:aws:kinesis:eu-central-1:123456789012:stream/payments")]
    found = read([multi(), multi("payments", 1)], there, streams=("orders", there[-1].stream))
    assert [one.partition for one in found.checkpoints] == [there[0], there[3]]


@pytest.mark.parametrize(
    ("item", "said"),
    [
        (multi("refunds"), "STREAMKIT_STREAM does not name"),
        (multi(account="000000000000"), "STREAMKIT_STREAM does not name"),
        (multi(creation="1600000000"), "was made at 1600000000"),
    ],
)
def test_a_row_of_another_stream_is_an_error_that_names_it(item: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said) as raised:
        read([item], listed(2))
    assert item["leaseKey"]["S"] in str(raised.value)


def test_a_row_of_one_stream_beside_several_is_an_error() -> None:
    with pytest.raises(ConfigurationError, match="does not say of which stream"):
        read([row()], [*listed(1), *listed(1, "payments")])


def test_two_rows_of_one_shard_are_an_error() -> None:
    with pytest.raises(ConfigurationError, match="a second one"):
        read([row(), multi()])


def test_a_shard_that_is_not_listed_any_more_is_of_the_same_stream() -> None:
    (one,) = read([row(9, "SHARD_END")]).checkpoints
    assert (one.partition, one.partition.incarnation) == (Partition("orders", shard(9)), INCARNATION)


# -- files -----------------------------------------------------------------------------------------------------------


def test_what_a_scan_has_written_is_read() -> None:
    text = json.dumps({"Items": [row(0), row(1)], "Count": 2, "ScannedCount": 2, "ConsumedCapacity": None}, indent=4)
    assert len(exchange().parse(text, listed(), StartPosition.EARLIEST).checkpoints) == 2


@pytest.mark.parametrize(
    "text",
    [
        json.dumps({"Items": [row()], "Count": 2}),
        json.dumps({"Items": [row()], "Count": 1, "NextToken": "x"}),
        json.dumps({"Items": [row()], "Count": 1, "LastEvaluatedKey": {"leaseKey": {"S": "x"}}}),
        "[]",
        "7",
        '{"a": 1}',
        json.dumps(row()) + "\n{",
    ],
)
def test_a_file_that_is_not_whole_is_an_error(text: str) -> None:
    with pytest.raises(ConfigurationError):
        exchange().parse(text, listed(), StartPosition.EARLIEST)


# -- export ----------------------------------------------------------------------------------------------------------

positions = st.builds(Position, st.integers(1, 2**186), st.integers(0, 50))


@st.composite
def leases(draw: st.DrawFn) -> list[Lease]:
    made = []
    for number in range(draw(st.integers(1, 4))):
        at = draw(st.one_of(st.just(StartPosition.EARLIEST), st.just(StartPosition.END), positions.map(StartPosition.after)))
        pending = draw(st.none() | positions)
        partition = Partition(
            "orders",
            shard(number),
            incarnation=INCARNATION,
            parents=tuple(draw(st.sampled_from([(), (shard(7),), (shard(7), shard(8))]))),
            children=(shard(5), shard(6)) if at.is_end else (),
            key_range=draw(st.sampled_from([None, (0, HALF)])),
        )
        state = draw(st.binary(max_size=20)) if pending else b""
        made.append(Lease(partition, checkpoint=Checkpoint(partition, at, pending=pending, pending_state=state)))
    return made


@profile(deadline=None)
@given(leases(), st.booleans())
def test_what_is_exported_is_read_as_it_was(given_leases: list[Lease], several: bool) -> None:
    streams = ("orders", "payments") if several else ("orders",)
    made = exchange(streams).export(given_leases)
    assert made.remarks == []
    found = exchange(streams).parse(made.text, listed(4), StartPosition.EARLIEST)
    assert [(one.at, one.pending, one.pending_state) for one in found.checkpoints] == [
        (lease.checkpoint.at, lease.checkpoint.pending, lease.checkpoint.pending_state) for lease in given_leases if lease.checkpoint
    ]
    for one, lease in zip(found.checkpoints, given_leases, strict=True):
        assert (one.partition.parents, one.partition.key_range) == (lease.partition.parents, lease.partition.key_range)
        assert one.partition.children == lease.partition.children
    for line in made.text.splitlines():
        assert {"leaseKey", "checkpoint", "checkpointSubSequenceNumber", "leaseCounter", "ownerSwitchesSinceCheckpoint"} <= set(
            json.loads(line)
        )
        assert "leaseOwner" not in json.loads(line)
        assert ("streamName" in json.loads(line)) is several


@pytest.mark.parametrize(
    "at", [StartPosition.at(Position(7)), StartPosition.at_time(datetime(2026, 1, 1, tzinfo=UTC)), StartPosition.LATEST]
)
def test_where_the_kcl_has_no_word_it_repeats_and_that_is_said(at: StartPosition) -> None:
    (partition, *_) = listed()
    made = exchange().export([Lease(partition, checkpoint=Checkpoint(partition, at, metadata="run 7"))])
    assert json.loads(made.text)["checkpoint"] == {"S": "TRIM_HORIZON"}
    assert any("has no word" in text and str(partition) in text for text in made.remarks)
    assert any("metadata" in text for text in made.remarks)


def test_single_keys_cannot_hold_two_streams_and_multi_keys_need_to_know_the_stream() -> None:
    both = [Lease(one[0], checkpoint=Checkpoint(one[0], StartPosition.EARLIEST)) for one in (listed(), listed(stream="payments"))]
    with pytest.raises(ConfigurationError, match="single keys"):
        exchange(keys="single").export(both)
    keys = [json.loads(line)["leaseKey"]["S"] for line in exchange(("orders", "payments")).export(both).text.splitlines()]
    assert keys == [f"123456789012:{stream}:1700000000:{shard(0)}" for stream in ("orders", "payments")]
    partition = Partition("orders", "0", incarnation="kafka-cluster/orders")
    with pytest.raises(ConfigurationError, match="which creation"):
        exchange(keys="multi").export([Lease(partition, checkpoint=Checkpoint(partition, StartPosition.EARLIEST))])
