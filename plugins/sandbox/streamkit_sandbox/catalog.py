"""The servers that `streamkit sandbox NAME` can start: one entry each, nothing imported or fetched before `start`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

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


def _kafka() -> AbstractContextManager[RunningServer]:
    from streamkit_sandbox.kafka import KafkaServer

    return KafkaServer()


def _kafka_cluster() -> AbstractContextManager[RunningServer]:
    from streamkit_sandbox.kafka import KafkaServer

    return KafkaServer(brokers=3)


def _kafka_mock() -> AbstractContextManager[RunningServer]:
    from streamkit_sandbox.kafka_mock import MockKafka

    return MockKafka()


SERVERS: Mapping[str, SandboxServer] = {
    entry.name: entry
    for entry in (
        SandboxServer("kafka", "Apache Kafka 4.1.0, one node (KRaft)", _kafka),
        SandboxServer("kafka-cluster", "Apache Kafka 4.1.0, three nodes", _kafka_cluster),
        SandboxServer("kafka-mock", "librdkafka's mock cluster: instant, incomplete, topics make themselves", _kafka_mock),
    )
}
