"""The broker and the producer of a `MemoryLog`. Their calls return at once: there is nothing to wait for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from streamkit.builtin.memory.log import MemoryLog
from streamkit.builtin.memory.membership import MemoryMembership
from streamkit.builtin.memory.reader import MemoryReader, topic_of
from streamkit.builtin.memory.settings import MemorySettings
from streamkit.errors import BrokerError, StreamGoneError, UnsupportedError
from streamkit.model import Capabilities, Partition, Position, StartPosition
from streamkit.plugin import AdapterContext, GroupBroker, Membership, NewRecord, Producer, Reader, Revoked

__all__ = ["MemoryBroker", "MemoryProducer"]


class MemoryBroker(GroupBroker[MemorySettings]):
    """Groups in the kafka shape, lineage in the kinesis shape; both can be read partition by partition."""

    capabilities = Capabilities(
        group=True,
        static=True,
        lineage=True,
        start_time=True,
        fencing=True,
        metadata_characters=4096,
        pending_bytes=1 << 20,
        parked_bytes=1 << 16,
    )

    def __init__(self, settings: MemorySettings, context: AdapterContext) -> None:
        super().__init__(settings, context)
        self._log = MemoryLog.named(settings.name)
        kafka = settings.shape == "kafka"
        self.capabilities = replace(self.capabilities, group=kafka, lineage=not kafka)

    async def discover(self, streams: Sequence[str], start: StartPosition) -> Sequence[Partition]:
        await self._log.faults.strike("discover", self.context.worker)
        with self._log.lock:
            names = dict.fromkeys(name for stream in streams for name in self._names(stream))
            return [partition for name in names for partition in self._log.topic(name).reachable(start)]

    def _names(self, stream: str) -> Sequence[str]:
        if stream.startswith("^"):
            if names := self._log.match(stream):
                return names
            raise StreamGoneError(f"no stream matches {stream!r}", broker="memory")
        if self.settings.auto_create:
            self._log.ensure(stream, self.settings.partitions, self.settings.shape, now=self.context.unix_time())
        return [stream]

    async def tips(self, partitions: Sequence[Partition]) -> Sequence[Position | None]:
        with self._log.lock:
            logs = [topic_of(self._log, partition).log(partition.id) for partition in partitions]
            return [log.records[-1].position if log.records else None for log in logs]

    async def resolve(self, partition: Partition, start: StartPosition) -> StartPosition:
        with self._log.lock:
            topic = topic_of(self._log, partition)
            log = topic.log(partition.id)
            sequence = topic.sequence(log, start)
            topic.check(log, sequence)
        return StartPosition.at(Position(sequence)) if start.kind in ("latest", "time") else start

    def reader(self) -> Reader:
        return MemoryReader(self._log, self.context)

    def join(self, streams: Sequence[str], group: str, serve: Callable[[Revoked], None]) -> Membership:
        if self.settings.shape != "kafka":
            raise UnsupportedError("groups need the kafka shape of the memory broker", setting="STREAMKIT_MEMORY__SHAPE")
        return MemoryMembership(self._log, self.settings, self.context, streams, group)


class MemoryProducer(Producer[MemorySettings]):
    """Appends, with the app's clock as the time of each record."""

    is_gapless = True  # all of a `send` or nothing, but for records that name a partition

    def __init__(self, settings: MemorySettings, context: AdapterContext) -> None:
        super().__init__(settings, context)
        self._log = MemoryLog.named(settings.name)

    async def check(self, stream: str) -> None:
        if not self.settings.auto_create:
            self._log.topic(stream)

    async def send(self, stream: str, records: Sequence[NewRecord]) -> Sequence[Exception | None]:
        await self._log.faults.strike("send", self.context.worker)
        now = self.context.unix_time()
        if self.settings.auto_create:
            self._log.ensure(stream, self.settings.partitions, self.settings.shape, now=now)
        return [self._append(stream, record, now) for record in records]

    def _append(self, stream: str, record: NewRecord, now: float) -> Exception | None:
        try:
            self._log.append(stream, record.value, key=record.key, headers=record.headers, partition=record.partition, now=now)
        except BrokerError as error:
            return error
        return None
