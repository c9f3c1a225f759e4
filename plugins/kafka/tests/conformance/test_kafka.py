"""Kafka keeps the rules of brokers; those that have to do with its groups with both of their protocols."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from streamkit.testing.conformance import BROKER_RULES, Rule, broker_rules, check

if TYPE_CHECKING:
    from streamkit_sandbox.kafka import KafkaServer

    from plugins.kafka.tests.conformance.kits import KafkaKit

pytestmark = pytest.mark.integration

OF_MEMBERS = [rule for rule in BROKER_RULES if "group" in rule.declares or rule.id in ("B01", "B02", "B24")]
"""The others are about readers and producers, which no group knows; opening tries the settings of its members."""


@pytest.fixture
def kafka_kit(kafka_server: KafkaServer, kafka_topic: Callable[..., str]) -> KafkaKit:
    from plugins.kafka.tests.conformance.kits import KafkaKit

    return KafkaKit(kafka_server.bootstrap_servers, kafka_topic)


test_rules = broker_rules("kafka_kit")


@pytest.mark.parametrize("rule", OF_MEMBERS, ids=str)
def test_rules_of_members_with_kip_848(rule: Rule, kafka_kit: KafkaKit) -> None:
    kafka_kit.protocol = "consumer"
    check(rule, kafka_kit)
