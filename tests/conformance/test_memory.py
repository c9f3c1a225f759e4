"""The memory plugin keeps the rules of brokers, in both of its shapes, and those of stores."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from streamkit.builtin.memory import MemoryLog
from streamkit.testing.conformance import broker_rules, store_rules
from tests.conformance.memory_kits import MemoryKit, MemoryStoreKit, SplittingKit


@pytest.fixture(params=["kafka", "kinesis"])
def memory(request: pytest.FixtureRequest) -> Iterator[MemoryKit]:
    kit = MemoryKit("kafka") if request.param == "kafka" else SplittingKit("kinesis")
    yield kit
    MemoryLog.forget(kit.settings.name)


@pytest.fixture
def memory_store() -> Iterator[MemoryStoreKit]:
    kit = MemoryStoreKit()
    yield kit
    MemoryLog.forget(kit.settings.name)


test_rules = broker_rules("memory")
test_store_rules = store_rules("memory_store")
