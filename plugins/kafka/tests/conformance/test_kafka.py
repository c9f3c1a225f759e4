"""Kafka keeps the rules of brokers, with both protocols of its groups."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from streamkit.testing.conformance import broker_rules

if TYPE_CHECKING:
    from streamkit_sandbox.kafka import KafkaServer

    from plugins.kafka.tests.conformance.kits import KafkaKit

pytestmark = pytest.mark.integration


@pytest.fixture(params=["classic", "consumer"])
def kafka_kit(kafka_server: KafkaServer, kafka_topic: Callable[..., str], request: pytest.FixtureRequest) -> KafkaKit:
    from plugins.kafka.tests.conformance.kits import KafkaKit

    return KafkaKit(kafka_server.bootstrap_servers, kafka_topic, request.param)


test_rules = broker_rules("kafka_kit")
