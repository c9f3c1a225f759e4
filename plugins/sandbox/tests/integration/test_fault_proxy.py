"""Each fault of the proxy as boto3 sees it, in front of real local servers."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from secrets import token_hex
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError, ConnectionClosedError, EndpointConnectionError, ReadTimeoutError
from streamkit_sandbox.dynamodb import DynamoDBServer
from streamkit_sandbox.errors import SandboxError
from streamkit_sandbox.fault_proxy import Fault, FaultProxy, Kind, ShardLimits, every_fault
from streamkit_sandbox.kinesalite import KinesaliteServer
from streamkit_sandbox.kinesis import KinesisServer

pytestmark = pytest.mark.integration


def client(service: str, url: str, attempts: int = 1, **config: Any) -> Any:
    return boto3.client(
        service,
        endpoint_url=url,
        region_name="us-east-1",
        aws_access_key_id="sandbox",
        aws_secret_access_key="sandbox",
        config=Config(retries={"mode": "standard", "total_max_attempts": attempts}, **config),
    )


@pytest.fixture
def proxy(kinesalite_server: KinesaliteServer) -> Iterator[FaultProxy]:
    with FaultProxy(kinesalite_server.endpoint_url, seed=1) as proxy:
        yield proxy


@pytest.fixture
def stream(kinesalite_server: KinesaliteServer) -> str:
    return kinesalite_server.create_stream(1)


def iterator(kinesis: Any, stream: str) -> str:
    shard = kinesis.list_shards(StreamName=stream)["Shards"][0]["ShardId"]
    answer = kinesis.get_shard_iterator(StreamName=stream, ShardId=shard, ShardIteratorType="TRIM_HORIZON")
    return str(answer["ShardIterator"])


def error_of(call: Callable[[], object]) -> tuple[int, str]:
    with pytest.raises(ClientError) as caught:
        call()
    return caught.value.response["ResponseMetadata"]["HTTPStatusCode"], caught.value.response["Error"]["Code"]


def test_without_rules_everything_passes_as_it_is(proxy: FaultProxy, stream: str) -> None:
    kinesis = client("kinesis", proxy.url)
    for _ in range(3):
        kinesis.put_record(StreamName=stream, Data=b"x" * 1000, PartitionKey="k")
    answer = kinesis.get_records(ShardIterator=iterator(kinesis, stream))
    assert [record["Data"] for record in answer["Records"]] == [b"x" * 1000] * 3
    assert proxy.counts == {}
    assert proxy.requests == {"PutRecord": 3, "ListShards": 1, "GetShardIterator": 1, "GetRecords": 1}
    assert error_of(lambda: kinesis.describe_stream(StreamName="none")) == (400, "ResourceNotFoundException")


def test_the_faithful_server_behind_it_answers_the_same(kinesis_server: KinesisServer, kinesis_stream: Callable[..., str]) -> None:
    stream = kinesis_stream(2)
    with FaultProxy(kinesis_server.endpoint_url, limits=ShardLimits(written_records=1000)) as proxy:
        direct, through = client("kinesis", kinesis_server.endpoint_url), client("kinesis", proxy.url)
        through.put_records(StreamName=stream, Records=[{"Data": b"x" * 500, "PartitionKey": str(number)} for number in range(50)])
        for call, asked in (
            ("list_shards", {"StreamName": stream}),
            ("describe_stream_summary", {"StreamName": stream}),
            ("get_records", {"ShardIterator": iterator(direct, stream)}),
        ):
            answers = [getattr(kinesis, call)(**asked) for kinesis in (direct, through)]
            for answer in answers:
                del answer["ResponseMetadata"]
                answer.pop("NextShardIterator", None)  # differs each time
            assert answers[0] == answers[1]
        assert proxy.counts == {}


def test_throttling_has_the_services_name_and_is_retried_by_the_sdk(proxy: FaultProxy, stream: str) -> None:
    proxy.rules = [Fault(Kind.THROTTLE, operations=("PutRecord", "ListShards"))]
    kinesis = client("kinesis", proxy.url)
    put = {"StreamName": stream, "Data": b"x", "PartitionKey": "k"}
    assert error_of(lambda: kinesis.put_record(**put)) == (400, "ProvisionedThroughputExceededException")
    assert error_of(lambda: kinesis.list_shards(StreamName=stream)) == (400, "LimitExceededException")
    proxy.rules = [Fault(Kind.THROTTLE, times=2)]
    answer = client("kinesis", proxy.url, attempts=3).put_record(**put)
    assert answer["ResponseMetadata"]["RetryAttempts"] == 2
    assert proxy.counts == {("PutRecord", Kind.THROTTLE): 3, ("ListShards", Kind.THROTTLE): 1}


def test_errors_of_the_service_before_and_after_it_acted(proxy: FaultProxy, stream: str) -> None:
    kinesis = client("kinesis", proxy.url)
    put = {"StreamName": stream, "Data": b"x", "PartitionKey": "k"}
    for rule, seen in (
        (Fault(Kind.ERROR, times=1), (500, "InternalFailure")),
        (Fault(Kind.ERROR, times=1, acted=True), (500, "InternalFailure")),
        (Fault(Kind.ERROR, times=1, status=503), (503, "503")),
    ):
        proxy.rules = [rule]
        assert error_of(lambda: kinesis.put_record(**put)) == seen
    assert len(kinesis.get_records(ShardIterator=iterator(kinesis, stream))["Records"]) == 1  # of the one that acted


def test_a_reset_before_the_server_acted_and_after(proxy: FaultProxy, stream: str) -> None:
    kinesis = client("kinesis", proxy.url)
    for acted in (False, True):
        proxy.rules = [Fault(Kind.RESET, times=1, acted=acted)]
        with pytest.raises((ConnectionClosedError, EndpointConnectionError)):
            kinesis.put_record(StreamName=stream, Data=b"acted" if acted else b"not", PartitionKey="k")
    assert [record["Data"] for record in kinesis.get_records(ShardIterator=iterator(kinesis, stream))["Records"]] == [b"acted"]


def test_a_delay_is_at_least_as_long_as_it_says(proxy: FaultProxy, stream: str) -> None:
    kinesis = client("kinesis", proxy.url)
    proxy.rules = [Fault(Kind.DELAY, seconds=0.3)]
    begun = time.monotonic()
    kinesis.list_shards(StreamName=stream)
    assert time.monotonic() - begun >= 0.3


def test_a_black_hole_ends_with_the_clients_patience_and_stops_nobody_else(proxy: FaultProxy, stream: str) -> None:
    proxy.rules = [Fault(Kind.BLACK_HOLE, operations="PutRecord")]
    kinesis = client("kinesis", proxy.url, read_timeout=0.5)
    seen: list[BaseException] = []

    def waits() -> None:
        try:
            kinesis.put_record(StreamName=stream, Data=b"x", PartitionKey="k")
        except ReadTimeoutError as error:
            seen.append(error)

    waiting = threading.Thread(target=waits)
    waiting.start()
    while proxy.counts["PutRecord", Kind.BLACK_HOLE] == 0:
        time.sleep(0.01)
    assert client("kinesis", proxy.url).list_shards(StreamName=stream)["Shards"]
    waiting.join()
    assert len(seen) == 1


@pytest.mark.parametrize("kind", [Kind.CUT, Kind.CUT_QUIETLY])
def test_boto3_takes_a_cut_answer_for_an_empty_one(proxy: FaultProxy, stream: str, kind: Kind) -> None:
    """The trap that an adapter has to see by itself; if boto3 mends it, this fails, and the adapter's check can go."""
    kinesis = client("kinesis", proxy.url)
    start = iterator(kinesis, stream)
    proxy.rules = [Fault(kind, operations="GetRecords")]
    answer = kinesis.get_records(ShardIterator=start)
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 200
    assert "NextShardIterator" not in answer
    assert proxy.counts == {("GetRecords", kind): 1}


def test_cut_answers_differ_in_what_their_content_length_says(proxy: FaultProxy, stream: str) -> None:
    import http.client

    start = iterator(client("kinesis", proxy.url), stream)
    headers = {
        "Content-Type": "application/x-amz-json-1.1",
        "X-Amz-Target": "Kinesis_20131202.GetRecords",
        "X-Amz-Date": "20260101T000000Z",
    }
    headers["Authorization"] = (
        "AWS4-HMAC-SHA256 Credential=sandbox/20260101/us-east-1/kinesis/aws4_request, SignedHeaders=host, Signature=00"
    )
    for kind, whole in ((Kind.CUT, False), (Kind.CUT_QUIETLY, True)):
        proxy.rules = [Fault(kind)]
        connection = http.client.HTTPConnection("127.0.0.1", int(proxy.url.rpartition(":")[2]), timeout=30)
        connection.request("POST", "/", f'{{"ShardIterator": "{start}"}}', headers)
        answer = connection.getresponse()
        if whole:
            assert not answer.read().endswith(b"}")
        else:
            with pytest.raises(http.client.IncompleteRead):
                answer.read()
        connection.close()


def test_put_records_fails_in_part_and_what_was_refused_was_not_written(proxy: FaultProxy, stream: str) -> None:
    kinesis = client("kinesis", proxy.url)
    proxy.rules = [Fault(Kind.PARTIAL, share=0.5)]
    records = [{"Data": str(number).encode(), "PartitionKey": "k"} for number in range(40)]
    answer = kinesis.put_records(StreamName=stream, Records=records)
    failed = [number for number, result in enumerate(answer["Records"]) if "ErrorCode" in result]
    assert 0 < answer["FailedRecordCount"] == len(failed) < 40
    written = [int(record["Data"]) for record in kinesis.get_records(ShardIterator=iterator(kinesis, stream))["Records"]]
    assert written == [number for number in range(40) if number not in failed]


def test_a_shards_limits_are_those_of_aws(proxy: FaultProxy, stream: str) -> None:
    proxy.limits = ShardLimits()
    kinesis = client("kinesis", proxy.url)
    at, accepted, refused, begun = iterator(kinesis, stream), 0, set(), time.monotonic()
    while accepted < 15:
        try:
            at = kinesis.get_records(ShardIterator=at)["NextShardIterator"]
            accepted += 1
        except ClientError as error:
            refused.add(error.response["Error"]["Code"])
    assert refused == {"ProvisionedThroughputExceededException"}
    assert 1.9 < time.monotonic() - begun < 10.0  # five at once, and five a second; at one a second it would take ten
    assert proxy.counts["GetRecords", Kind.LIMIT] > 10


def test_a_shard_refuses_what_is_written_beyond_its_limits_also_after_a_split(proxy: FaultProxy, stream: str) -> None:
    proxy.limits = ShardLimits(written_records=100)
    kinesis = client("kinesis", proxy.url)
    records = [{"Data": b"x", "PartitionKey": str(number)} for number in range(300)]
    refused = kinesis.put_records(StreamName=stream, Records=records)["FailedRecordCount"]
    assert 190 <= refused <= 200
    proxy.limits = ShardLimits(written_records=1)
    with pytest.raises(kinesis.exceptions.ProvisionedThroughputExceededException):
        for _ in range(20):
            kinesis.put_record(StreamName=stream, Data=b"x", PartitionKey="k")
    proxy.limits = ShardLimits(written_records=100)
    kinesis.put_record(StreamName=stream, Data=b"x", PartitionKey="k")
    (parent,) = kinesis.list_shards(StreamName=stream)["Shards"]
    kinesis.split_shard(StreamName=stream, ShardToSplit=parent["ShardId"], NewStartingHashKey=str(2**127))
    kinesis.get_waiter("stream_exists").wait(StreamName=stream, WaiterConfig={"Delay": 0.02, "MaxAttempts": 500})
    kinesis.put_record(StreamName=stream, Data=b"x", PartitionKey="k")
    refused = kinesis.put_records(StreamName=stream, Records=records)["FailedRecordCount"]
    assert 90 <= refused <= 101  # each of the two has limits of its own
    assert proxy.counts["PutRecords", Kind.LIMIT] == 2


def test_an_answer_of_ten_mebibytes_passes_whole(proxy: FaultProxy, stream: str) -> None:
    kinesis = client("kinesis", proxy.url)
    for _ in range(10):
        kinesis.put_record(StreamName=stream, Data=b"y" * 1024 * 1024, PartitionKey="k")
    answer = kinesis.get_records(ShardIterator=iterator(kinesis, stream))
    assert sum(len(record["Data"]) for record in answer["Records"]) == 10 * 1024 * 1024


def test_dynamodb_behind_it_has_dynamodbs_errors(dynamodb_server: DynamoDBServer) -> None:
    with FaultProxy(dynamodb_server.endpoint_url) as proxy:
        dynamodb, table = client("dynamodb", proxy.url), f"proxied-{token_hex(4)}"
        dynamodb.create_table(
            TableName=table,
            BillingMode="PAY_PER_REQUEST",
            KeySchema=[{"AttributeName": "k", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "k", "AttributeType": "S"}],
        )
        proxy.rules = [Fault(Kind.THROTTLE)]
        assert error_of(lambda: dynamodb.describe_table(TableName=table)) == (400, "ThrottlingException")
        item = {"TableName": table, "Item": {"k": {"S": "a"}}}
        assert error_of(lambda: dynamodb.put_item(**item)) == (400, "ProvisionedThroughputExceededException")
        proxy.rules = [Fault(Kind.ERROR)]
        assert error_of(lambda: dynamodb.put_item(**item)) == (500, "InternalServerError")
        proxy.rules = [Fault(Kind.PARTIAL)]
        statements = [{"Statement": f"INSERT INTO \"{table}\" VALUE {{'k': '{number}'}}"} for number in range(10)]
        answer = dynamodb.batch_execute_statement(Statements=statements)
        failed = [number for number, response in enumerate(answer["Responses"]) if "Error" in response]
        proxy.rules = []
        assert 0 < len(failed) < 10
        kept = sorted(int(item["k"]["S"]) for item in dynamodb.scan(TableName=table)["Items"])
        assert kept == [number for number in range(10) if number not in failed]


def test_many_clients_at_once_under_every_fault_meet_each_of_them(proxy: FaultProxy, stream: str) -> None:
    proxy.rules = every_fault(0.05, delay_seconds=0.01)
    done: list[int] = []

    def client_of(number: int) -> None:
        kinesis, good = client("kinesis", proxy.url, read_timeout=1.0), 0
        for _ in range(60):
            try:
                answer = kinesis.put_records(StreamName=stream, Records=[{"Data": b"x", "PartitionKey": str(number)}] * 4)
                good += answer.get("FailedRecordCount") == 0
            except (ClientError, ConnectionClosedError, EndpointConnectionError, ReadTimeoutError):
                pass
        done.append(good)

    threads = [threading.Thread(target=client_of, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(done) > 100
    assert {kind for _, kind in proxy.counts} == set(Kind) - {Kind.LIMIT}


def test_a_proxy_says_when_it_is_not_started_or_has_no_target(kinesalite_server: KinesaliteServer) -> None:
    with pytest.raises(SandboxError, match="is not started; use `with"):
        _ = FaultProxy(kinesalite_server.endpoint_url).url
    with pytest.raises(SandboxError, match="is not like http://127"):
        FaultProxy("https://kinesis.eu-west-1.amazonaws.com")


def test_closing_ends_its_thread_and_what_hangs(kinesalite_server: KinesaliteServer) -> None:
    proxy = FaultProxy(kinesalite_server.endpoint_url, rules=[Fault(Kind.BLACK_HOLE)])
    proxy.start()
    failed: list[BaseException] = []

    def waits() -> None:
        try:
            client("kinesis", url, read_timeout=60).list_streams()
        except ConnectionClosedError as error:
            failed.append(error)

    url = proxy.url
    waiting = threading.Thread(target=waits)
    waiting.start()
    while not proxy.counts:
        time.sleep(0.01)
    proxy.close()
    waiting.join(30)
    assert len(failed) == 1
    assert not [thread for thread in threading.enumerate() if thread.name == "fault-proxy"]
