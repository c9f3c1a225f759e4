"""The local Kinesis and DynamoDB servers: on loopback, with their data, through kills and pauses, and as their SDK sees them."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from secrets import token_hex
from typing import Any

import boto3
import pytest
from botocore.config import Config
from streamkit_sandbox.aws_http import answers, ask
from streamkit_sandbox.dynamodb import DynamoDBServer
from streamkit_sandbox.errors import SandboxError, ServerStartError
from streamkit_sandbox.kinesalite import KinesaliteServer
from streamkit_sandbox.kinesis import KinesisServer
from streamkit_sandbox.kinesis_streams import LIST_STREAMS
from streamkit_sandbox.local_server import LocalServer
from streamkit_sandbox.node import ON_LOOPBACK, node

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("fetched")]
SERVERS = [KinesisServer, KinesaliteServer, DynamoDBServer]
LOOPBACK = {"0100007F", "0000000000000000FFFF00000100007F", "00000000000000000000000001000000"}


@pytest.fixture(scope="module")
def fetched(kinesis_server: KinesisServer, kinesalite_server: KinesaliteServer, dynamodb_server: DynamoDBServer) -> None:
    """What the servers need is fetched, or their absence said, before a test begins that starts one of its own."""


def client(service: str, url: str, **config: Any) -> Any:
    return boto3.client(
        service,
        endpoint_url=url,
        region_name="us-east-1",
        aws_access_key_id="sandbox",
        aws_secret_access_key="sandbox",
        config=Config(retries={"total_max_attempts": 1}, **config),
    )


def put_something(server: LocalServer) -> None:
    if isinstance(server, DynamoDBServer):
        table = {"TableName": "kept", "BillingMode": "PAY_PER_REQUEST", "KeySchema": [{"AttributeName": "k", "KeyType": "HASH"}]}
        ask(
            server.endpoint_url,
            "DynamoDB_20120810.CreateTable",
            table | {"AttributeDefinitions": [{"AttributeName": "k", "AttributeType": "S"}]},
        )
    elif isinstance(server, KinesisServer | KinesaliteServer):
        server.create_stream(1, "kept")


def what_is_there(server: LocalServer) -> list[str]:
    answer = ask(server.endpoint_url, lists(server), {})
    return list(answer["TableNames" if isinstance(server, DynamoDBServer) else "StreamNames"])


def lists(server: LocalServer) -> str:
    return "DynamoDB_20120810.ListTables" if isinstance(server, DynamoDBServer) else LIST_STREAMS


def listening(pid: int) -> set[str]:
    """The addresses (hexadecimal, as Linux writes them) on which a process listens."""
    inodes = set()
    for handle in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(OSError):
            inodes.add(os.readlink(handle))
    found = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and f"socket:[{fields[9]}]" in inodes:
                found.add(fields[1].partition(":")[0])
    return found


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("kind", SERVERS)
def test_a_server_listens_on_loopback_alone_and_leaves_nothing(kind: type[LocalServer]) -> None:
    with kind() as server:
        pid, folder = server.pid, server.log.parent
        assert pid is not None
        hosts = listening(pid)
        assert hosts
        assert hosts <= LOOPBACK
    assert not Path(f"/proc/{pid}").exists()
    assert not folder.exists()
    with pytest.raises(SandboxError, match="is not started; use `with"):
        _ = server.endpoint_url


@pytest.mark.parametrize("kind", SERVERS)
def test_a_server_in_memory_comes_back_empty_at_its_port(kind: type[LocalServer]) -> None:
    with kind() as server:
        url = server.endpoint_url
        put_something(server)
        assert what_is_there(server) == ["kept"]
        server.kill()
        assert (server.pid, answers(server.endpoint_url, lists(server))) == (None, False)
        server.restart()
        assert (server.endpoint_url, what_is_there(server)) == (url, [])


@pytest.mark.parametrize("kind", SERVERS)
def test_what_persists_outlives_an_orderly_stop_and_in_a_folder_its_server(kind: type[LocalServer], tmp_path: Path) -> None:
    with kind(tmp_path / "kept") as server:
        put_something(server)
        server.stop()
        server.restart()
        assert what_is_there(server) == ["kept"]
    with kind(tmp_path / "kept") as server:
        assert what_is_there(server) == ["kept"]


@pytest.mark.parametrize("kind", [KinesaliteServer, DynamoDBServer])
def test_what_persists_outlives_a_kill(kind: type[LocalServer]) -> None:
    with kind(persist=True) as server:
        put_something(server)
        server.kill()
        server.restart()
        assert what_is_there(server) == ["kept"]


@pytest.mark.parametrize("kind", SERVERS)
def test_a_paused_server_answers_nobody_until_it_is_resumed(kind: type[LocalServer]) -> None:
    with kind() as server:
        server.pause()
        with pytest.raises(TimeoutError):
            ask(server.endpoint_url, lists(server), {}, timeout_seconds=0.3)
        server.resume()
        assert what_is_there(server) == []


def test_a_server_that_refuses_its_settings_is_an_error_with_the_end_of_its_log() -> None:
    with pytest.raises(ServerStartError, match=r"kinesis did not start: ended with exit code \d+; the end of its log:\n  \|") as caught:
        KinesisServer(kinesis_mock_plain_port="nonsense").start()
    assert "nonsense" in caught.value.log_tail


def test_a_server_that_is_not_ready_in_time_is_ended() -> None:
    with pytest.raises(ServerStartError, match=r"was not ready after 0\.01 s"):
        DynamoDBServer(start_timeout_seconds=0.01).start()


@pytest.mark.parametrize("fixture", ["kinesis_server", "kinesalite_server"])
def test_shards_split_and_merge_soon_and_a_closed_one_ends(fixture: str, request: pytest.FixtureRequest) -> None:
    server: KinesisServer | KinesaliteServer = request.getfixturevalue(fixture)
    stream, kinesis = server.create_stream(1), client("kinesis", server.endpoint_url)
    (parent,) = kinesis.list_shards(StreamName=stream)["Shards"]
    for number in range(10):
        kinesis.put_record(StreamName=stream, Data=str(number).encode(), PartitionKey=str(number))
    kinesis.split_shard(StreamName=stream, ShardToSplit=parent["ShardId"], NewStartingHashKey=str(2**127))
    kinesis.get_waiter("stream_exists").wait(StreamName=stream, WaiterConfig={"Delay": 0.02, "MaxAttempts": 500})
    children = [shard for shard in kinesis.list_shards(StreamName=stream)["Shards"] if shard.get("ParentShardId") == parent["ShardId"]]
    assert len(children) == 2
    at = kinesis.get_shard_iterator(StreamName=stream, ShardId=parent["ShardId"], ShardIteratorType="TRIM_HORIZON")["ShardIterator"]
    data = []
    while at:
        answer = kinesis.get_records(ShardIterator=at)
        data += [int(record["Data"]) for record in answer["Records"]]
        at = answer.get("NextShardIterator")
    assert data == list(range(10))


@pytest.mark.parametrize("server", [KinesisServer(split_shard_duration="60s"), KinesaliteServer(options={"updateStreamMs": "60000"})])
def test_a_server_takes_settings_of_its_own(server: KinesisServer | KinesaliteServer) -> None:
    with server:
        stream, kinesis = server.create_stream(1), client("kinesis", server.endpoint_url)
        kinesis.split_shard(StreamName=stream, ShardToSplit="shardId-000000000000", NewStartingHashKey=str(2**127))
        assert kinesis.describe_stream_summary(StreamName=stream)["StreamDescriptionSummary"]["StreamStatus"] == "UPDATING"


@pytest.mark.parametrize("fixture", [KinesisServer, KinesaliteServer])
def test_a_clock_that_is_moved_ends_iterators_and_stamps_records(fixture: type[KinesisServer | KinesaliteServer]) -> None:
    with fixture() as server:
        stream, kinesis = server.create_stream(1), client("kinesis", server.endpoint_url)
        asked = {"StreamName": stream, "ShardId": "shardId-000000000000", "ShardIteratorType": "TRIM_HORIZON"}
        at = kinesis.get_shard_iterator(**asked)["ShardIterator"]
        server.set_clock_ahead(301)
        with pytest.raises(kinesis.exceptions.ExpiredIteratorException):
            kinesis.get_records(ShardIterator=at)
        kinesis.put_record(StreamName=stream, Data=b"x", PartitionKey="k")
        (record,) = kinesis.get_records(ShardIterator=kinesis.get_shard_iterator(**asked)["ShardIterator"])["Records"]
        assert 240 < record["ApproximateArrivalTimestamp"].timestamp() - time.time() < 305
        server.set_clock_ahead(0)
        kinesis.get_records(ShardIterator=at)


def test_kinesalite_trims_what_is_older_than_a_day_by_its_clock() -> None:
    with KinesaliteServer() as server:
        stream, kinesis = server.create_stream(1), client("kinesis", server.endpoint_url)
        kinesis.put_record(StreamName=stream, Data=b"old", PartitionKey="k")
        server.set_clock_ahead(25 * 3600)
        kinesis.put_record(StreamName=stream, Data=b"new", PartitionKey="k")
        asked = {"StreamName": stream, "ShardId": "shardId-000000000000", "ShardIteratorType": "TRIM_HORIZON"}
        answer = kinesis.get_records(ShardIterator=kinesis.get_shard_iterator(**asked)["ShardIterator"])
        assert [record["Data"] for record in answer["Records"]] == [b"new"]


def test_every_region_and_key_sees_the_same_tables(dynamodb_server: DynamoDBServer) -> None:
    name = f"everywhere-{token_hex(4)}"  # others have tables there too, more than a list has on its first page
    table = {"TableName": name, "BillingMode": "PAY_PER_REQUEST", "KeySchema": [{"AttributeName": "k", "KeyType": "HASH"}]}
    client("dynamodb", dynamodb_server.endpoint_url).create_table(
        **table, AttributeDefinitions=[{"AttributeName": "k", "AttributeType": "S"}]
    )
    url, elsewhere = dynamodb_server.endpoint_url, {"aws_access_key_id": "another", "aws_secret_access_key": "secret"}
    other = boto3.client("dynamodb", endpoint_url=url, region_name="eu-west-1", **elsewhere)
    assert other.describe_table(TableName=name)["Table"]["TableName"] == name


def test_a_stream_by_fixture_is_ready_and_has_a_name_of_its_own(kinesis_server: KinesisServer, kinesis_stream: Callable[..., str]) -> None:
    first, second = kinesis_stream(3), kinesis_stream()
    kinesis = client("kinesis", kinesis_server.endpoint_url)
    assert first != second
    assert len(kinesis.list_shards(StreamName=first)["Shards"]) == 3
    with pytest.raises(SandboxError, match=r"CreateStream was refused with 400: .*ResourceInUseException"):
        kinesis_stream(1, first)


LISTENERS = """
const net = require("node:net");
const ways = [
  (server, done) => server.listen(0, done),
  (server, done) => server.listen("0", done),
  (server, done) => server.listen(0, "0.0.0.0", done),
  (server, done) => server.listen(0, "0.0.0.0", 100, done),
  (server, done) => server.listen({ port: 0, host: "0.0.0.0" }, done),
  (server, done) => server.listen(done),
];
for (const way of ways) {
  const server = net.createServer();
  way(server, () => { console.log(server.address().address); server.close(); });
}
"""


def test_however_a_program_listens_it_is_on_loopback() -> None:
    launcher = node("node").launcher
    done = subprocess.run([launcher, "-r", ON_LOOPBACK, "-e", LISTENERS], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.split() == ["127.0.0.1"] * 6
