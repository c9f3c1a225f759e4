"""Partitions that the engine names itself (static ownership): the same consumer, outside of any group."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import ClassVar

from streamkit.model import Partition, StartPosition
from streamkit.plugin import AdapterContext, Budget, Event, Reader
from streamkit_kafka.client import Config
from streamkit_kafka.consumer import ConsumerCore, key_of
from streamkit_kafka.message_errors import MessageErrors
from streamkit_kafka.settings import KafkaSettings

__all__ = ["KafkaReader"]


class KafkaReader(Reader):
    """Made by `KafkaBroker.reader`. Nobody deals out partitions, so what is added is ours and removing really unassigns."""

    blocking: ClassVar[bool] = True

    def __init__(self, settings: KafkaSettings, context: AdapterContext, config: Config) -> None:
        self._core = ConsumerCore(config, context, only_topic=None, grouped=False)
        self._core.explain = MessageErrors(self._core, settings.on_expired).explain

    async def add(self, partition: Partition, start: StartPosition, *, written: datetime | None = None, epoch: int = 0) -> None:
        assignment = self._core.assignments.get(key_of(partition)) or self._core.own(partition)
        self._core.begin(assignment, start)

    async def remove(self, partitions: Sequence[Partition]) -> None:
        self._core.stop(partitions)

    async def pause(self, partitions: Sequence[Partition]) -> None:
        self._core.hold(partitions, True)

    async def resume(self, partitions: Sequence[Partition]) -> None:
        self._core.hold(partitions, False)

    async def poll(self, budget: Budget) -> Sequence[Event]:
        return self._core.poll(budget)

    async def close(self) -> None:
        self._core.close()
