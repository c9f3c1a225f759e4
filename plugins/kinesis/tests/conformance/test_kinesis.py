"""Kinesis keeps the rules of brokers, on kinesis-local."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar

import pytest

from streamkit.plugin import AdapterContext, NewRecord
from streamkit.testing.conformance import BrokerKit, broker_rules

if TYPE_CHECKING:
    from streamkit_kinesis.broker import KinesisBroker
    from streamkit_kinesis.producer import KinesisProducer
    from streamkit_kinesis.settings import KinesisSettings
    from streamkit_sandbox.kinesis import KinesisServer

pytestmark = pytest.mark.integration


class KinesisKit(BrokerKit):
    name = "kinesis"
    patience_seconds = 30.0
    latest_seconds = 4.0
    keeps_headers = keeps_none = False
    oversize_bytes = 2 << 20
    excused: ClassVar = {"B49": "kinesis-local takes a sequence number that it never gave for a shard that it does not find"}

    def __init__(self, server: KinesisServer) -> None:
        self.server = server

    @property
    def client(self) -> Any:
        from plugins.kinesis.tests.live import client_of

        return client_of(self.server)

    def settings(self, endpoint_url: str, seconds: float = 10.0) -> KinesisSettings:
        from streamkit_kinesis.settings import KinesisSettings

        quick = timedelta(milliseconds=100)
        return KinesisSettings(
            endpoint_url=endpoint_url,
            region="us-east-1",
            reads_per_second=50,
            idle_wait=quick,
            request_timeout=timedelta(seconds=seconds),
        )

    def broker(self, context: AdapterContext) -> KinesisBroker:
        from streamkit_kinesis.broker import KinesisBroker

        return KinesisBroker(self.settings(self.server.endpoint_url), context)

    def producer(self, context: AdapterContext) -> KinesisProducer:
        from streamkit_kinesis.producer import KinesisProducer

        return KinesisProducer(self.settings(self.server.endpoint_url), context)

    def unreachable(self, context: AdapterContext) -> KinesisBroker:
        from streamkit_kinesis.broker import KinesisBroker

        return KinesisBroker(self.settings("http://127.0.0.1:1", 0.5), context)

    def create(self, partitions: int) -> str:
        return self.server.create_stream(partitions)

    def write(self, stream: str, records: Sequence[NewRecord]) -> None:
        client = self.client
        ranges = {shard["ShardId"]: shard["HashKeyRange"] for shard in client.list_shards(StreamName=stream)["Shards"]}
        for one in records:
            where = ranges[one.partition]["StartingHashKey"]
            key = (one.key or b"k").decode()
            client.put_record(StreamName=stream, Data=one.value, PartitionKey=key, ExplicitHashKey=where)

    def end(self, stream: str, partition: str) -> None:
        client = self.client
        (shard,) = [one for one in client.list_shards(StreamName=stream)["Shards"] if one["ShardId"] == partition]
        low, high = (int(shard["HashKeyRange"][name]) for name in ("StartingHashKey", "EndingHashKey"))
        client.split_shard(StreamName=stream, ShardToSplit=partition, NewStartingHashKey=str((low + high) // 2))
        while client.describe_stream_summary(StreamName=stream)["StreamDescriptionSummary"]["StreamStatus"] != "ACTIVE":
            time.sleep(0.02)

    def delete(self, stream: str) -> None:
        self.client.delete_stream(StreamName=stream)


@pytest.fixture
def kinesis(kinesis_server: KinesisServer, monkeypatch: pytest.MonkeyPatch) -> KinesisKit:
    for name, value in kinesis_server.settings().items():
        monkeypatch.setenv(name, value)
    return KinesisKit(kinesis_server)


test_rules = broker_rules("kinesis")
