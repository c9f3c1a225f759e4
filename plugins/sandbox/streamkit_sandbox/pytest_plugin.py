"""Fixtures that bring up servers: `kafka_server`, `kafka_mock`, `kafka_topic`, `kinesis_server`, `kinesalite_server`,
`kinesis_stream`, `dynamodb_server`, `eventhubs_server`, `event_hub`, `azurite_server` and `blob_container`.

A server that cannot be had skips the tests that need it, and the last lines of the run say what was not tested;
with STREAMKIT_TEST_REQUIRE=all it fails them instead. A server that is there and does not start is always a failure.
pytest imports this file in every run, so everything else is imported in the fixtures.
"""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from collections.abc import Callable, Generator, Iterator
from typing import TYPE_CHECKING, NoReturn

import pytest

if TYPE_CHECKING:
    from streamkit_sandbox.azurite import AzuriteServer
    from streamkit_sandbox.dynamodb import DynamoDBServer
    from streamkit_sandbox.eventhubs.server import EventHubsServer
    from streamkit_sandbox.kafka import KafkaServer
    from streamkit_sandbox.kafka_mock import MockKafka
    from streamkit_sandbox.kinesalite import KinesaliteServer
    from streamkit_sandbox.kinesis import KinesisServer
    from streamkit_sandbox.redis import RedisServer

__all__ = [
    "REQUIRE_VARIABLE",
    "azurite_server",
    "blob_container",
    "dynamodb_server",
    "event_hub",
    "eventhubs_server",
    "kafka_mock",
    "kafka_server",
    "kafka_topic",
    "kinesalite_server",
    "kinesis_server",
    "kinesis_stream",
    "missing",
    "needed",
    "redis_server",
]

REQUIRE_VARIABLE = "STREAMKIT_TEST_REQUIRE"
_NOT_TESTED = "not tested: "


def missing(reason: str) -> NoReturn:
    """Skips the test for want of a server, or fails it when STREAMKIT_TEST_REQUIRE=all. For fixtures of further servers."""
    if os.environ.get(REQUIRE_VARIABLE) == "all":
        pytest.fail(f"{reason} ({REQUIRE_VARIABLE}=all)", pytrace=False)
    pytest.skip(_NOT_TESTED + reason)


@contextlib.contextmanager
def needed() -> Iterator[None]:
    """`missing`, if a server that is started inside cannot be had."""
    from streamkit_sandbox.errors import ServerUnavailableError

    try:
        yield
    except ServerUnavailableError as error:
        missing(str(error))


@pytest.fixture(scope="session")
def kafka_server() -> Iterator[KafkaServer]:
    """Apache Kafka, one node, shared by the whole run: use names of your own, and a server of your own to kill."""
    from streamkit_sandbox.kafka import KafkaServer

    with contextlib.ExitStack() as stack:
        with needed():
            # Nobody kills it, so it need not be quick to be given up: on a busy machine a broker may be silent for seconds.
            server = stack.enter_context(KafkaServer(broker_session_timeout_ms=18000, broker_heartbeat_interval_ms=500))
        yield server


@pytest.fixture(scope="session")
def kafka_mock() -> Iterator[MockKafka]:
    """librdkafka's mock cluster in a child process, shared by the whole run; starts in a tenth of a second."""
    from streamkit_sandbox.kafka_mock import MockKafka

    with contextlib.ExitStack() as stack:
        with needed():
            mock = stack.enter_context(MockKafka())
        yield mock


@pytest.fixture
def kafka_topic(kafka_server: KafkaServer) -> Callable[..., str]:
    """`kafka_topic(partitions=1, **config) -> name`: a new topic on `kafka_server`, its leaders elected.

    Keywords are topic settings with underscores for dots: `kafka_topic(4, cleanup_policy="compact")`.
    """
    from streamkit_sandbox.kafka_topics import create_topic

    def create(partitions: int = 1, **config: str | int | bool) -> str:
        with needed():
            return create_topic(kafka_server.bootstrap_servers, partitions, config)

    return create


@pytest.fixture(scope="session")
def kinesis_server() -> Iterator[KinesisServer]:
    """kinesis-local, shared by the whole run: use streams of your own with few records, and a server of your own to kill."""
    from streamkit_sandbox.kinesis import KinesisServer

    with contextlib.ExitStack() as stack:
        with needed():
            server = stack.enter_context(KinesisServer())
        yield server


@pytest.fixture
def kinesis_stream(kinesis_server: KinesisServer) -> Callable[..., str]:
    """`kinesis_stream(shards=1, name=None) -> name`: a new stream on `kinesis_server`, ACTIVE."""
    return kinesis_server.create_stream


@pytest.fixture(scope="session")
def kinesalite_server() -> Iterator[KinesaliteServer]:
    """kinesalite, the Kinesis for volume, shared by the whole run; `kinesalite_server.create_stream(4)` makes a stream."""
    from streamkit_sandbox.kinesalite import KinesaliteServer

    with contextlib.ExitStack() as stack:
        with needed():
            server = stack.enter_context(KinesaliteServer())
        yield server


@pytest.fixture(scope="session")
def dynamodb_server() -> Iterator[DynamoDBServer]:
    """DynamoDB Local, shared by the whole run: use tables of your own."""
    from streamkit_sandbox.dynamodb import DynamoDBServer

    with contextlib.ExitStack() as stack:
        with needed():
            server = stack.enter_context(DynamoDBServer())
        yield server


@pytest.fixture(scope="session")
def eventhubs_server() -> Iterator[EventHubsServer]:
    """The emulator of Event Hubs, shared by the whole run: use hubs of your own, and a server of your own to do harm to."""
    from streamkit_sandbox.eventhubs.server import EventHubsServer

    with EventHubsServer() as server:
        yield server


@pytest.fixture
def event_hub(eventhubs_server: EventHubsServer) -> str:
    """The name of a new hub of four partitions on `eventhubs_server`."""
    from secrets import token_hex

    return eventhubs_server.create_hub(f"hub-{token_hex(4)}", 4)


@pytest.fixture(scope="session")
def azurite_server() -> Iterator[AzuriteServer]:
    """Azurite, shared by the whole run: use containers of your own, and a server of your own to pause or kill."""
    from streamkit_sandbox.azurite import AzuriteServer

    with contextlib.ExitStack() as stack:
        with needed():
            server = stack.enter_context(AzuriteServer())
        yield server


@pytest.fixture
def blob_container(azurite_server: AzuriteServer) -> str:
    """The name of a new, empty container on `azurite_server`."""
    return azurite_server.create_container()


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    """Redis, shared by the whole run: use keys of your own."""
    from streamkit_sandbox.redis import RedisServer

    with contextlib.ExitStack() as stack:
        with needed():
            server = stack.enter_context(RedisServer())
        yield server


@pytest.hookimpl(wrapper=True, tryfirst=True)  # outermost: what it writes after the others comes last
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> Generator[None, object, object]:
    """Lists what was not tested for want of a server, with the number of tests."""
    result = yield
    reasons = Counter(
        report.longrepr[2].split(_NOT_TESTED, 1)[1]
        for report in terminalreporter.stats.get("skipped", [])
        if isinstance(report.longrepr, tuple) and _NOT_TESTED in report.longrepr[2]
    )
    if reasons:
        terminalreporter.section("not tested", yellow=True)
    for reason, count in sorted(reasons.items()):
        terminalreporter.line(f"{count} {'test' if count == 1 else 'tests'}: {reason}", yellow=True)
    return result
