"""Event Hubs keeps the rules of brokers and of producers, on the emulator; those about reading once for each way to receive."""

from __future__ import annotations

import uuid
from datetime import timedelta
from typing import Literal

import pytest
from streamkit_eventhubs.broker import EventHubsBroker
from streamkit_eventhubs.producer import EventHubsProducer
from streamkit_eventhubs.settings import EventHubsSettings
from streamkit_sandbox.eventhubs.server import EventHubsServer

from streamkit.plugin import AdapterContext
from streamkit.testing.conformance import BROKER_RULES, BrokerKit, Rule, broker_rules, check

# The SDK leaves the sockets of connections that the service has closed to the garbage collector, which says so.
pytestmark = [pytest.mark.integration, pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")]

NOWHERE = "Endpoint=sb://127.0.0.1:1;SharedAccessKeyName=k;SharedAccessKey=a2V5;UseDevelopmentEmulator=true"


class EventHubsKit(BrokerKit):
    name = "eventhubs"
    patience_seconds = 30.0
    rule_seconds = 100.0
    oversize_bytes = 2 << 20

    def __init__(self, server: EventHubsServer, receive: Literal["fast", "sdk"]) -> None:
        self._server = server
        self._receive = receive

    def _settings(self, connection_string: str = "") -> EventHubsSettings:
        return EventHubsSettings.model_validate(
            {
                "connection_string": connection_string or self._server.connection_string(),
                "consumer_group": "$Default",
                "receive": self._receive,
                "request_timeout": timedelta(seconds=2) if connection_string else timedelta(seconds=30),
            }
        )

    def broker(self, context: AdapterContext) -> EventHubsBroker:
        return EventHubsBroker(self._settings(), context)

    def producer(self, context: AdapterContext) -> EventHubsProducer:
        return EventHubsProducer(self._settings(), context)

    def unreachable(self, context: AdapterContext) -> EventHubsBroker:
        return EventHubsBroker(self._settings(NOWHERE), context)

    def create(self, partitions: int) -> str:
        return self._server.create_hub(f"hub-{uuid.uuid4().hex[:8]}", partitions)

    def delete(self, stream: str) -> None:
        self._server.delete_hub(stream)


OF_READERS = [rule for rule in BROKER_RULES if "static" in rule.declares or rule.id in ("B05", "B06")]
"""The others are about discovery and producers, which do not receive."""


@pytest.fixture
def eventhubs(eventhubs_server: EventHubsServer) -> EventHubsKit:
    return EventHubsKit(eventhubs_server, "fast")


test_rules = broker_rules("eventhubs")


@pytest.mark.parametrize("rule", OF_READERS, ids=str)
def test_rules_of_readers_by_the_sdks_own_way(rule: Rule, eventhubs_server: EventHubsServer) -> None:
    check(rule, EventHubsKit(eventhubs_server, "sdk"))
