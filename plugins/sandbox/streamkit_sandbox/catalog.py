"""The servers that `streamkit sandbox NAME` can start: one entry each, nothing imported or fetched before `start`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from streamkit_sandbox.kafka import KafkaServer
    from streamkit_sandbox.kafka_mock import MockKafka
    from streamkit_sandbox.kinesalite import KinesaliteServer
    from streamkit_sandbox.kinesis import KinesisServer
    from streamkit_sandbox.local_server import LocalServer

__all__ = ["SERVERS", "RunningServer", "SandboxServer"]


class RunningServer(Protocol):
    """What the context manager of an entry yields."""

    def settings(self) -> dict[str, str]:
        """Environment variables, ready to paste, that point streamkit at the server."""


@dataclass(frozen=True, slots=True)
class SandboxServer:
    """One entry.

    `start()` returns a context manager that has not started anything; entering it blocks until the server is ready and
    raises ServerUnavailableError or ServerStartError, leaving it ends the server and removes its data. The first entry on
    a machine may fetch files for a minute, told by INFO messages of the logger `streamkit_sandbox`.
    """

    name: str
    description: str
    start: Callable[[], AbstractContextManager[RunningServer]]
    create_stream: Callable[[Any, str, int], object] | None = None
    """Makes a stream by name with a number of partitions on what `start()` yields; None: it holds none. Raises SandboxError."""
    store: Callable[[Any], Mapping[str, str]] | None = None
    """For a broker that keeps no checkpoints: variables of a store that ends with the server."""


def _kafka() -> AbstractContextManager[RunningServer]:
    from streamkit_sandbox.kafka import KafkaServer

    return KafkaServer()


def _kafka_cluster() -> AbstractContextManager[RunningServer]:
    from streamkit_sandbox.kafka import KafkaServer

    return KafkaServer(brokers=3)


def _topic(server: KafkaServer, name: str, partitions: int) -> None:
    from streamkit_sandbox.kafka_topics import create_topic

    create_topic(server.bootstrap_servers, partitions, {}, name)


def _mock_topic(server: MockKafka, name: str, partitions: int) -> None:
    server.create_topic(name, partitions)


def _stream(server: KinesisServer | KinesaliteServer, name: str, partitions: int) -> None:
    server.create_stream(partitions, name)


def _leases(server: LocalServer) -> Mapping[str, str]:
    return {"STREAMKIT_STORE": "sqlite", "STREAMKIT_SQLITE__PATH": str(server.folder / "leases.sqlite")}


def _kafka_mock() -> AbstractContextManager[RunningServer]:
    from streamkit_sandbox.kafka_mock import MockKafka

    return MockKafka()


def _kinesis() -> AbstractContextManager[RunningServer]:
    from streamkit_sandbox.kinesis import KinesisServer

    return KinesisServer()


def _kinesalite() -> AbstractContextManager[RunningServer]:
    from streamkit_sandbox.kinesalite import KinesaliteServer

    return KinesaliteServer()


def _dynamodb() -> AbstractContextManager[RunningServer]:
    from streamkit_sandbox.dynamodb import DynamoDBServer

    return DynamoDBServer()


SERVERS: Mapping[str, SandboxServer] = {
    entry.name: entry
    for entry in (
        SandboxServer("kafka", "Apache Kafka 4.1.0, one node (KRaft)", _kafka, _topic),
        SandboxServer("kafka-cluster", "Apache Kafka 4.1.0, three nodes", _kafka_cluster, _topic),
        SandboxServer("kafka-mock", "librdkafka's mock cluster: instant, incomplete, topics make themselves", _kafka_mock, _mock_topic),
        SandboxServer("kinesis", "Kinesis as kinesis-local 0.6.2 imitates it: faithful, for little data", _kinesis, _stream, _leases),
        SandboxServer("kinesis-fast", "Kinesis as kinesalite 3.3.3 imitates it: fast, incomplete", _kinesalite, _stream, _leases),
        SandboxServer("dynamodb", "AWS's own DynamoDB Local 2.6.1, a store for any broker", _dynamodb),
    )
}
