"""The reader and the membership keep the rules on librdkafka's mock cluster too, which is ready in a tenth of a second."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

import pytest

from streamkit.testing.conformance import broker_rules

if TYPE_CHECKING:
    from streamkit_sandbox.kafka_mock import MockKafka

    from plugins.kafka.tests.conformance.kits import MockKit

pytestmark = pytest.mark.integration


@pytest.fixture
def mock(kafka_mock: MockKafka) -> MockKit:
    from plugins.kafka.tests.conformance.kits import MockKit

    def create(partitions: int) -> str:
        name = f"t-{uuid.uuid4().hex[:8]}"
        kafka_mock.create_topic(name, partitions)
        return name

    return MockKit(kafka_mock.bootstrap_servers, create)


test_rules = broker_rules("mock")
