"""What local servers really answer, read by boto3's parser and by ours: the same, record by record."""

from __future__ import annotations

import os
from typing import Any, Protocol

import botocore.session
import pytest
from aws_kinesis_agg.aggregator import RecordAggregator
from botocore.config import Config
from botocore.exceptions import ClientError
from streamkit_kinesis.parser import RawRecord, fast_parser_factory, records_of
from streamkit_kinesis.record import Unpacker

from plugins.kinesis.tests.canned import Canned
from streamkit.model import Partition

pytestmark = pytest.mark.integration


class Server(Protocol):
    endpoint_url: str

    def create_stream(self, shards: int, name: str | None = None) -> str: ...


class Recorder:
    """A boto3 client of a server, which keeps the bodies of all answers."""

    def __init__(self, server: Server, factory: object | None = None) -> None:
        session = botocore.session.Session()
        if factory is not None:
            session.register_component("response_parser_factory", factory)
        self.client: Any = session.create_client(
            "kinesis",
            region_name="us-east-1",
            endpoint_url=server.endpoint_url,
            aws_access_key_id="k",
            aws_secret_access_key="s",
            config=Config(retries={"total_max_attempts": 2, "mode": "standard"}),
        )
        self.bodies: list[tuple[int, bytes]] = []
        self.client.meta.events.register("before-parse.kinesis.GetRecords", self._keep)

    def _keep(self, response_dict: dict[str, Any], **_: object) -> None:
        self.bodies.append((response_dict["status_code"], response_dict["body"]))

    def iterator(self, stream: str, shard: str) -> str:
        answer = self.client.get_shard_iterator(StreamName=stream, ShardId=shard, ShardIteratorType="TRIM_HORIZON")
        return str(answer["ShardIterator"])

    def read(self, stream: str, shard: str) -> list[dict[str, Any]]:
        """Every answer from the oldest record on, until nothing more comes."""
        answers: list[dict[str, Any]] = []
        iterator: str | None = self.iterator(stream, shard)
        while iterator is not None and (not answers or answers[-1]["Records"]):
            answers.append(self.client.get_records(ShardIterator=iterator, Limit=7))
            iterator = answers[-1].get("NextShardIterator")
        return answers


@pytest.fixture(params=["kinesis_server", "kinesalite_server"])
def server(request: pytest.FixtureRequest) -> Server:
    found: Server = request.getfixturevalue(request.param)
    return found


def aggregate() -> bytes:
    aggregator = RecordAggregator()
    for number in range(5):
        aggregator.add_user_record(f"user-{number % 3}", b"in an aggregate %d" % number)
    contents: bytes = aggregator.clear_and_get().get_contents()[2]
    return contents


def test_recorded_answers_are_read_as_boto3_reads_them(server: Server, request: pytest.FixtureRequest) -> None:
    recorder = Recorder(server)
    stream = server.create_stream(1)
    put = recorder.client.put_record
    for key, data in [
        ("a", b"plain"),
        ('ключ "\\\n\u2028😀', bytes(range(256))),
        ("b", b""),
        ("a", aggregate()),
        ("c", os.urandom(50_000)),
    ]:
        put(StreamName=stream, PartitionKey=key, Data=data)
    for number in range(10):
        put(StreamName=stream, PartitionKey=f"k{number}", Data=b"%d" % number)
    shard = recorder.client.list_shards(StreamName=stream)["Shards"][0]
    recorder.client.split_shard(StreamName=stream, ShardToSplit=shard["ShardId"], NewStartingHashKey=str(2**127))
    recorder.client.get_waiter("stream_exists").wait(StreamName=stream, WaiterConfig={"Delay": 1, "MaxAttempts": 30})

    answers = recorder.read(stream, shard["ShardId"])
    with pytest.raises(ClientError):
        recorder.client.get_records(ShardIterator="AAAAno such iterator")
    assert sum(len(answer["Records"]) for answer in answers) == 15
    assert "NextShardIterator" not in answers[-1], "the shard is closed"
    if server is request.getfixturevalue("kinesis_server"):  # kinesalite names no children
        assert len(answers[-1]["ChildShards"]) == 2

    plain, fast = Canned(), Canned(fast_parser_factory())
    for status, body in recorder.bodies:
        results: list[Any] = []
        for canned in (plain, fast):
            canned.answer(body, status=status)
            try:
                results.append(canned.get_records())
            except ClientError as error:
                results.append((error.response, str(error)))
        if status >= 300:
            assert results[0] == results[1]
            continue
        theirs, ours = results
        assert records_of(ours) == records_of(theirs)
        assert {**ours, "Records": None} == {**theirs, "Records": None}
    assert [status for status, _ in recorder.bodies if status >= 300]


def test_a_client_with_our_parser_reads_the_same_stream(server: Server) -> None:
    plain, fast = Recorder(server), Recorder(server, fast_parser_factory())
    stream = server.create_stream(1)
    for number in range(20):
        plain.client.put_record(StreamName=stream, PartitionKey=f"k{number}", Data=b"v" * number)
    plain.client.put_record(StreamName=stream, PartitionKey="a", Data=aggregate())
    shard = fast.client.list_shards(StreamName=stream)["Shards"][0]
    assert shard == plain.client.list_shards(StreamName=stream)["Shards"][0]
    theirs = [record for answer in plain.read(stream, shard["ShardId"]) for record in records_of(answer)]
    ours = [record for answer in fast.read(stream, shard["ShardId"]) for record in answer["Records"]]
    assert all(type(record) is RawRecord for record in ours)
    assert ours == theirs
    ranges = shard["HashKeyRange"]
    partition = Partition(stream, shard["ShardId"], key_range=(int(ranges["StartingHashKey"]), int(ranges["EndingHashKey"])))
    noticed: list[tuple[str, int]] = []
    unpacker = Unpacker(partition, noticed=lambda what, records: noticed.append((what, records)))
    batch = unpacker.unpack(ours, after=None, received=0.0, lag_seconds=0.0)
    assert batch is not None
    assert batch.values() == [b"v" * number for number in range(20)] + [b"in an aggregate %d" % number for number in range(5)]
    assert [record.key for record in batch][-5:] == [b"user-0", b"user-1", b"user-2", b"user-0", b"user-1"]
    assert noticed == []
