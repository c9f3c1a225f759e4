"""The memory plugin for the rules; broken twins are made of these too."""

from __future__ import annotations

import time
import uuid
from collections.abc import Sequence
from datetime import timedelta

from streamkit.builtin.memory import MemoryBroker, MemoryLog, MemoryProducer, MemorySettings, MemoryStore
from streamkit.builtin.memory.topic import Shape
from streamkit.plugin import AdapterContext, NewRecord
from streamkit.testing.conformance import BrokerKit, StoreKit

__all__ = ["SESSION_SECONDS", "MemoryKit", "MemoryStoreKit", "SplittingKit"]

SESSION_SECONDS = 1.0
"""How long a member may be silent."""


class MemoryKit(BrokerKit):
    name = "memory"
    patience_seconds = 5.0
    leave_seconds = 0.5

    def __init__(self, shape: Shape) -> None:
        session = timedelta(seconds=SESSION_SECONDS)
        self.settings = MemorySettings(name=f"kit-{uuid.uuid4().hex}", shape=shape, auto_create=False, session_timeout=session)
        self.log = MemoryLog.named(self.settings.name)

    def broker(self, context: AdapterContext) -> MemoryBroker:
        return MemoryBroker(self.settings, context)

    def producer(self, context: AdapterContext) -> MemoryProducer:
        return MemoryProducer(self.settings, context)

    def create(self, partitions: int) -> str:
        name = f"s-{uuid.uuid4().hex[:8]}"
        self.log.create(name, partitions, self.settings.shape, now=time.time())
        return name

    def write(self, stream: str, records: Sequence[NewRecord]) -> None:
        for one in records:
            self.log.append(stream, one.value, key=one.key, headers=one.headers, partition=one.partition, now=time.time())

    def delete(self, stream: str) -> None:
        self.log.delete(stream)


class SplittingKit(MemoryKit):
    def end(self, stream: str, partition: str) -> None:
        self.log.split(stream, partition)


class MemoryStoreKit(StoreKit):
    def __init__(self) -> None:
        self.settings = MemorySettings(name=f"kit-{uuid.uuid4().hex}")

    def store(self, context: AdapterContext) -> MemoryStore:
        return MemoryStore(self.settings, context)
