"""The reader on real servers: everything once, in the order of keys, through splits and merges, faults and the service's limits."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from streamkit_kinesis.fetching import THROTTLED
from streamkit_sandbox.fault_proxy import FaultProxy, ShardLimits, every_fault

from plugins.kinesis.tests.aggregates import User, aggregate_of
from plugins.kinesis.tests.live import Following, Live, Server, client_of
from streamkit.errors import PositionInvalidError, StreamGoneError
from streamkit.model import StartPosition

pytestmark = pytest.mark.integration

ON_KINESALITE = pytest.mark.parametrize("server", ["kinesalite"], indirect=True)
"""What the rules of brokers show on kinesis-local."""


@pytest.fixture(params=["kinesis", "kinesalite"])
def server(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Any:
    found = request.getfixturevalue(f"{request.param}_server")
    for name, value in found.settings().items():
        monkeypatch.setenv(name, value)
    return found


@pytest.fixture
def stream(server: Any) -> str:
    return str(server.create_stream(2))


def put(server: Server, stream: str, values: Sequence[bytes]) -> None:
    """Under four keys."""
    client = client_of(server)
    for begin in range(0, len(values), 100):
        part = values[begin : begin + 100]
        answer = client.put_records(StreamName=stream, Records=[{"Data": value, "PartitionKey": f"key-{value[-1] % 4}"} for value in part])
        assert answer["FailedRecordCount"] == 0


def numbered(count: int, begin: int = 0) -> list[bytes]:
    return [b"%06d" % number for number in range(begin, begin + count)]


def check_order(found: Following) -> None:
    by_key = defaultdict(list)
    for record in found.records:
        by_key[record.key].append(record.value)
    for key, values in by_key.items():
        assert values == sorted(values), key
    assert len({record.id for record in found.records}) == len(found.records)


@pytest.mark.parametrize(("server", "parser"), [("kinesis", "boto3"), ("kinesalite", "fast"), ("kinesalite", "boto3")], indirect=["server"])
def test_everything_is_read_once_in_order_with_either_parser(server: Any, stream: str, parser: str) -> None:
    values = numbered(300)
    put(server, stream, values)
    live = Live(server.endpoint_url, stream, parser=parser, read_records=40)
    found = live.follow(lambda found: len(found.caught_up) == 2)
    assert sorted(found.values) == values
    check_order(found)
    assert live.context.told == []
    assert all(record.timestamp.timestamp() == pytest.approx(time.time(), abs=60) for record in found.records)


@ON_KINESALITE
def test_reading_goes_on_after_each_position(server: Any, stream: str) -> None:
    values = numbered(40)
    put(server, stream, values)
    live = Live(server.endpoint_url, stream)
    whole = live.follow(lambda found: len(found.values) == 40)
    for count in (1, 7, 39):
        first = Following(whole.records[:count])
        starts = {
            partition: StartPosition.after(first.last_of(partition))
            if any(record.partition == partition for record in first.records)
            else StartPosition.EARLIEST
            for partition in live.partitions()
        }
        rest = live.follow(lambda found: len(found.caught_up) == 2, starts)
        assert sorted(first.values + rest.values) == values


def test_splits_and_merges_are_followed_while_records_are_written(server: Any, stream: str) -> None:
    client = client_of(server)
    acknowledged: list[bytes] = []
    stop = threading.Event()

    def produce() -> None:
        number = 0
        while not stop.is_set():
            value = b"%06d" % number
            client.put_record(StreamName=stream, Data=value, PartitionKey=f"key-{number % 17}")
            acknowledged.append(value)
            number += 1

    thread = threading.Thread(target=produce)
    thread.start()
    try:
        for change in ("split", "split", "merge", "split", "merge"):
            reshard(client, stream, change)
    finally:
        stop.set()
        thread.join()
    live = Live(server.endpoint_url, stream)
    found = live.follow(lambda found: len(found.values) == len(acknowledged))
    assert sorted(found.values) == acknowledged
    check_order(found)
    assert found.failed == []
    closed = {partition.id for partition in live.partitions() if partition.ended}
    found = live.follow(lambda found: set(found.ended) == closed)
    assert set(found.ended) == closed


def reshard(client: Any, stream: str, change: str) -> None:
    """Split the first open shard, or merge the first two; back when the stream is whole again."""
    shards = [one for one in client.list_shards(StreamName=stream)["Shards"] if "EndingSequenceNumber" not in one["SequenceNumberRange"]]
    shards.sort(key=lambda one: int(one["HashKeyRange"]["StartingHashKey"]))
    low, high = (int(shards[0]["HashKeyRange"][f"{end}HashKey"]) for end in ("Starting", "Ending"))
    if change == "split":
        client.split_shard(StreamName=stream, ShardToSplit=shards[0]["ShardId"], NewStartingHashKey=str((low + high) // 2))
    else:
        client.merge_shards(StreamName=stream, ShardToMerge=shards[0]["ShardId"], AdjacentShardToMerge=shards[1]["ShardId"])
    until = time.monotonic() + 60
    while client.describe_stream_summary(StreamName=stream)["StreamDescriptionSummary"]["StreamStatus"] != "ACTIVE":
        assert time.monotonic() < until
        time.sleep(0.1)


def test_children_begin_at_their_oldest_record_and_behind_both_parents(server: Any, stream: str) -> None:
    client = client_of(server)
    put(server, stream, numbered(20))
    reshard(client, stream, "merge")
    put(server, stream, numbered(20, 20))
    found = Live(server.endpoint_url, stream).follow(lambda found: len(found.values) == 40)
    assert sorted(found.ended) == ["shardId-000000000000", "shardId-000000000001"]
    check_order(found)
    child = [record.value for record in found.records if record.partition.id == "shardId-000000000002"]
    assert child == numbered(20, 20)
    assert found.values[20:] == child


def test_from_latest_nothing_is_lost_that_comes_after_it_was_resolved(server: Any, stream: str) -> None:
    client = client_of(server)
    put(server, stream, numbered(5))
    time.sleep(3.5)  # the service's clock is read in whole seconds, and two of them are allowed for
    live = Live(server.endpoint_url, stream)
    starts = live.resolve(StartPosition.LATEST)
    put(server, stream, numbered(5, 5))
    reshard(client, stream, "split")
    put(server, stream, numbered(5, 10))
    found = live.follow(lambda found: len(found.values) >= 10, starts)
    assert sorted(found.values) == numbered(10, 5)


def test_reading_goes_on_in_the_middle_of_an_aggregate(server: Any, stream: str) -> None:
    users = [User(b"key-%d" % number, b"user %d" % number, None) for number in range(4)]
    client_of(server).put_record(StreamName=stream, Data=aggregate_of(users), PartitionKey="a")
    live = Live(server.endpoint_url, stream, out_of_range="deliver")
    whole = live.follow(lambda found: len(found.values) == 4)
    assert [record.key for record in whole.records] == [user.key for user in users]
    starts = {whole.records[1].partition: StartPosition.after(whole.records[1].position)}
    rest = live.follow(lambda found: len(found.values) == 2, starts)
    assert rest.values == [b"user 2", b"user 3"]


@ON_KINESALITE
def test_a_deleted_stream_is_gone_and_never_an_end(server: Any, stream: str) -> None:
    put(server, stream, numbered(4))
    client = client_of(server)
    deleted = []

    def delete_once(found: Following) -> bool:
        if len(found.caught_up) == 2 and not deleted:
            deleted.append(client.delete_stream(StreamName=stream))
        return len(found.failed) == 2

    found = Live(server.endpoint_url, stream).follow(delete_once)
    assert found.ended == []
    assert {type(failed.error) for failed in found.failed} <= {StreamGoneError, PositionInvalidError}


def is_there(client: Any, stream: str) -> bool:
    """A list would have a hundred streams on a page, and all tests of a run share this server."""
    try:
        client.describe_stream_summary(StreamName=stream)
    except client.exceptions.ResourceNotFoundException:
        return False
    return True


def test_a_stream_of_that_name_that_was_made_anew_is_refused(server: Any, stream: str) -> None:
    put(server, stream, numbered(4))
    live = Live(server.endpoint_url, stream)
    whole = live.follow(lambda found: len(found.values) == 4)
    client = client_of(server)
    client.delete_stream(StreamName=stream)
    until = time.monotonic() + 60
    while is_there(client, stream):
        assert time.monotonic() < until
        time.sleep(0.1)
    time.sleep(1.1)  # identity is the second of its making
    server.create_stream(2, stream)
    partition = whole.records[0].partition
    found = live.follow(lambda found: bool(found.failed), {partition: StartPosition.after(whole.records[0].position)})
    assert isinstance(found.failed[0].error, PositionInvalidError)
    assert found.values == []


# -- faults ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def proxy(server: Any) -> Iterator[FaultProxy]:
    with FaultProxy(server.endpoint_url, seed=7) as found:
        yield found


def test_with_every_fault_in_a_tenth_of_all_calls_nothing_is_lost_or_repeated(server: Any, stream: str, proxy: FaultProxy) -> None:
    client = client_of(server)
    values = numbered(400)
    put(server, stream, values[:200])
    reshard(client, stream, "split")
    put(server, stream, values[200:])
    proxy.rules = every_fault(0.1)
    live = Live(proxy.url, stream, request_timeout="1s", read_records=10)
    found = live.follow(lambda found: len(found.values) >= 400 and len(found.caught_up) == 3)
    assert sorted(found.values) == values
    check_order(found)
    assert found.ended == ["shardId-000000000000"]
    assert found.failed == []
    assert sum(proxy.counts.values()) > 10


def test_the_limits_of_a_shard_are_kept_by_ourselves(server: Any, stream: str, proxy: FaultProxy) -> None:
    """At the default pace a service that enforces 5 reads a second has nothing to refuse."""
    put(server, stream, numbered(300))
    proxy.limits = ShardLimits()
    live = Live(proxy.url, stream, reads_per_second=4, read_records=10, idle_wait="1s")
    found = live.follow(lambda found: len(found.values) == 300)
    assert live.context.told == []
    check_order(found)


def test_a_pace_above_the_limits_is_slowed_down_and_nothing_is_lost(server: Any, stream: str, proxy: FaultProxy) -> None:
    put(server, stream, numbered(300))
    proxy.limits = ShardLimits()
    live = Live(proxy.url, stream, reads_per_second=50, read_records=10, idle_wait="10ms")
    found = live.follow(lambda found: len(found.values) == 300)
    assert found.failed == []
    assert {what for _, what, _ in live.context.told} == {THROTTLED}
    assert len(live.context.told) < proxy.requests["GetRecords"] / 2
    check_order(found)
