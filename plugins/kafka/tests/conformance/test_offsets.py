"""Kafka's own offsets, as a store without a group's members, keep the rules of stores that do not fence."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from streamkit.plugin import AdapterContext
from streamkit.testing.conformance import StoreKit, store_rules

if TYPE_CHECKING:
    from streamkit_kafka.offsets import KafkaOffsets
    from streamkit_sandbox.kafka import KafkaServer

pytestmark = pytest.mark.integration


class OffsetsKit(StoreKit):
    """A group of its own for each test; the rules' one topic is there for all of them."""

    excused = dict.fromkeys(("S14", "S15"), "Kafka keeps an offset, whatever was there before, and nothing that is none")
    excused |= dict.fromkeys(("S03", "S19", "S30", "S38"), "beside an offset Kafka keeps a text, and no incarnation")
    excused |= {"S17": "a grant is nothing here, and so is an answer"}
    excused |= dict.fromkeys(("S31", "S33"), "a partition's name is a number, and Kafka keeps offsets of topics that are there")

    def __init__(self, bootstrap_servers: str) -> None:
        self.bootstrap_servers = bootstrap_servers
        self.apart = uuid.uuid4().hex[:8]

    def store(self, context: AdapterContext) -> KafkaOffsets:
        return self._at(self.bootstrap_servers, context)

    def unreachable(self, context: AdapterContext) -> KafkaOffsets:
        return self._at("127.0.0.1:1", context)

    def _at(self, bootstrap_servers: str, context: AdapterContext) -> KafkaOffsets:
        from streamkit_kafka.offsets import KafkaOffsets
        from streamkit_kafka.settings import KafkaSettings

        context.group = f"{context.group}-{self.apart}"
        return KafkaOffsets(KafkaSettings(bootstrap_servers=bootstrap_servers), context)


@pytest.fixture(scope="module")
def server() -> Iterator[KafkaServer]:
    """Of its own: the rules say how the topic is called, and so do examples, which make theirs themselves."""
    from streamkit_sandbox.kafka import KafkaServer
    from streamkit_sandbox.kafka_topics import create_topic
    from streamkit_sandbox.pytest_plugin import needed

    with contextlib.ExitStack() as stack:
        with needed():
            server = stack.enter_context(KafkaServer())
        create_topic(server.bootstrap_servers, 10, {}, "orders")
        yield server


@pytest.fixture
def offsets(server: KafkaServer) -> OffsetsKit:
    return OffsetsKit(server.bootstrap_servers)


test_rules = store_rules("offsets")
