"""The same input gives the same trace on every broker: in each partition the same records and hooks in the same order.

Batches are taken as one, because how many records come at once is each broker's affair; so are positions, and what a broker or store
says that it can do.
"""

from __future__ import annotations

import asyncio
import json
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from secrets import token_hex
from typing import TYPE_CHECKING

import pytest

from streamkit import App, Batch, Context, LostContext, Processor, Reject, Retry, Stop
from streamkit.builtin.memory import MemoryLog
from streamkit.model import Record

if TYPE_CHECKING:
    from streamkit_sandbox.eventhubs.server import EventHubsServer

LIMIT_SECONDS = 90.0
LEASE = {"lease_duration": "30s"}
"""Longer than any machine stands still: who loses a lease meanwhile is given records again."""
PARTITIONS = 2
FIRST = (
    ("0", "ada", "tea"),
    ("1", "bob", "jam"),
    ("0", "cyd", "flaky"),
    ("0", "ada", "milk"),
    ("1", "bob", "poison"),
    ("1", "dan", "bread"),
    ("0", "cyd", "poison"),
    ("0", "ada", "salt"),
    ("1", "bob", "flaky"),
)
"""Partition, key, value."""
LATER = (("0", "ada", "eggs"), ("1", "bob", "poison"), ("0", "cyd", "rice"))

Step = tuple[str, ...]
EXPECTED: dict[str, list[Step]] = {
    "0": [
        ("initialize",),
        ("ada", "tea"),
        ("cyd", "flaky", "attempt 1"),
        ("cyd", "flaky", "attempt 2"),
        ("ada", "milk"),
        ("cyd", "poison"),
        ("ada", "salt"),
        ("flush",),
        ("partition_revoked", "at_end"),
        ("close",),
        ("initialize",),
        ("ada", "eggs"),
        ("cyd", "rice"),
        ("flush",),
        ("partition_revoked", "at_end"),
        ("close",),
    ],
    "1": [
        ("initialize",),
        ("bob", "jam"),
        ("bob", "poison"),
        ("dan", "bread"),
        ("bob", "flaky", "attempt 1"),
        ("bob", "flaky", "attempt 2"),
        ("flush",),
        ("partition_revoked", "at_end"),
        ("close",),
        ("initialize",),
        ("bob", "poison"),
        ("flush",),
        ("partition_revoked", "at_end"),
        ("close",),
    ],
}
LETTERS = [("bob", "poison"), ("bob", "poison"), ("cyd", "poison")]


class Stage(ABC):
    """One broker with a stream of two partitions."""

    @abstractmethod
    def write(self, partition: str, key: str, value: str) -> None: ...

    @abstractmethod
    def settings(self) -> dict[str, object]: ...

    def number(self, partition: str) -> str:
        """`0` or `1`, of a partition's id."""
        return partition


class MemoryStage(Stage):
    def __init__(self) -> None:
        self.name = f"trace-{token_hex(4)}"
        self._log = MemoryLog.named(self.name)
        self._log.create("orders", PARTITIONS)

    def write(self, partition: str, key: str, value: str) -> None:
        self._log.append("orders", value.encode(), key=key.encode(), partition=partition)

    def settings(self) -> dict[str, object]:
        return {"broker": "memory", "stream": "orders", "memory": {"name": self.name}}


class KafkaStage(Stage):
    def __init__(self, servers: str, topic: str) -> None:
        self._servers, self._topic = servers, topic

    def write(self, partition: str, key: str, value: str) -> None:
        from confluent_kafka import Producer

        producer = Producer({"bootstrap.servers": self._servers, "linger.ms": 0})
        producer.produce(self._topic, value.encode(), key.encode(), partition=int(partition))
        assert producer.flush(20) == 0

    def settings(self) -> dict[str, object]:
        return {"broker": "kafka", "stream": self._topic, "kafka": {"bootstrap_servers": self._servers}}


class KinesisStage(Stage):
    def __init__(self, kinesis_url: str, dynamodb_url: str, stream: str) -> None:
        from tests.promise.aws import client

        self._client = client("kinesis", kinesis_url)
        self._urls, self._stream = (kinesis_url, dynamodb_url), stream

    def write(self, partition: str, key: str, value: str) -> None:
        place = str(((1 << 127) * int(partition)) + 1)
        self._client.put_record(StreamName=self._stream, PartitionKey=key, ExplicitHashKey=place, Data=value.encode())

    def settings(self) -> dict[str, object]:
        from tests.promise.aws import REGION

        kinesis, dynamodb = ({"endpoint_url": url, "region": REGION} for url in self._urls)
        return {"broker": "kinesis", "stream": self._stream, "kinesis": kinesis, "store": "dynamodb", "dynamodb": dynamodb, **LEASE}

    def number(self, partition: str) -> str:
        return str(int(partition.removeprefix("shardId-")))


class EventHubsStage(Stage):
    def __init__(self, server: EventHubsServer, hub: str, blobs: Mapping[str, str]) -> None:
        self._server, self._hub, self._blobs = server, hub, blobs

    def write(self, partition: str, key: str, value: str) -> None:
        self._server.append(self._hub, [value.encode()], partition, key)

    def settings(self) -> dict[str, object]:
        hubs = {"connection_string": self._server.connection_string(), "consumer_group": "$Default"}
        stored = {"store": "azureblob", "azureblob": dict(self._blobs)}
        return {"broker": "eventhubs", "stream": self._hub, "eventhubs": hubs, **stored, **LEASE}


@pytest.fixture
def memory() -> Iterator[MemoryStage]:
    stage = MemoryStage()
    yield stage
    MemoryLog.forget(stage.name)


@pytest.fixture
def kafka(request: pytest.FixtureRequest) -> KafkaStage:
    topic = request.getfixturevalue("kafka_topic")(PARTITIONS)
    return KafkaStage(request.getfixturevalue("kafka_server").bootstrap_servers, topic)


@pytest.fixture
def kinesis(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> KinesisStage:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    kinesis_url, dynamodb_url = (request.getfixturevalue(name).endpoint_url for name in ("kinesis_server", "dynamodb_server"))
    return KinesisStage(kinesis_url, dynamodb_url, request.getfixturevalue("kinesis_stream")(PARTITIONS))


@pytest.fixture
def eventhubs(request: pytest.FixtureRequest) -> EventHubsStage:
    server, azurite = (request.getfixturevalue(name) for name in ("eventhubs_server", "azurite_server"))
    hub = server.create_hub(f"hub-{token_hex(4)}", PARTITIONS)
    blobs = {"connection_string": azurite.connection_string, "container": request.getfixturevalue("blob_container")}
    return EventHubsStage(server, hub, blobs)


def noting(trace: dict[str, list[Step]], number: Callable[[str], str]) -> type[Processor]:
    """A class whose objects write down what happens to their partitions. A flaky record succeeds at its second attempt."""
    lock = threading.Lock()

    class Noting(Processor):
        def initialize(self, context: Context) -> None:
            self.partition = number(context.partition.id)
            self.note("initialize")

        def process(self, batch: Batch, context: Context) -> Mapping[Record, Retry | Reject | Stop] | None:
            for record in batch:
                key, value = (record.key or b"").decode(), (record.value or b"").decode()
                if value == "flaky":
                    self.note(key, value, f"attempt {context.attempt}")
                    if context.attempt == 1:
                        return {record: Retry()}  # what lies before it is done, and what follows comes again
                else:
                    self.note(key, value)
                if value == "poison":
                    return {record: Reject("poison")}
            return None

        def flush(self, context: Context) -> None:
            self.note("flush")

        def partition_ended(self, context: Context) -> None:
            self.note("partition_ended")

        def partition_revoked(self, context: Context) -> None:
            self.note("partition_revoked", context.reason)

        def partition_lost(self, context: LostContext) -> None:
            self.note("partition_lost", context.reason)

        def close(self) -> None:
            self.note("close")

        def note(self, *step: str) -> None:
            with lock:
                trace.setdefault(self.partition, []).append(step)

    return Noting


def traced(stage: Stage, letters: Path, inputs: Sequence[Sequence[tuple[str, str, str]]]) -> dict[str, list[Step]]:
    """Writes an input, runs to its end, writes the next one, and runs again as the same group."""
    trace: dict[str, list[Step]] = {}
    given: dict[str, object] = {
        "group": f"trace-{token_hex(4)}",
        "stop": "at_end",
        "on_failure": "dead_letter",
        "dead_letter": f"file:{letters}",
        "retry_backoff": "10ms",
        "retry_max_backoff": "10ms",
        "checkpoint_interval": "1h",  # so that `flush` comes at the end alone, and not when a clock says so
        **stage.settings(),
    }
    for records in inputs:
        for record in records:
            stage.write(*record)
        app = App(noting(trace, stage.number), **given)
        asyncio.run(asyncio.wait_for(app.serve(), LIMIT_SECONDS))
        assert app.exit_code == 0
    return trace


@pytest.mark.parametrize(
    "broker", ["memory", *(pytest.param(name, marks=pytest.mark.integration) for name in ("kafka", "kinesis", "eventhubs"))]
)
def test_the_same_input_gives_the_same_trace(broker: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    letters = tmp_path / "letters.jsonl"
    assert traced(request.getfixturevalue(broker), letters, [FIRST, LATER]) == EXPECTED
    written = [json.loads(line) for line in letters.read_text("utf-8").splitlines()]
    assert sorted((letter["key"], letter["value"]) for letter in written) == LETTERS
