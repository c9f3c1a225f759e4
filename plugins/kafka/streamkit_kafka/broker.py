"""Topics and their partitions, positions and tips; makes the group's members and static readers."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from streamkit.errors import ConfigurationError, PositionInvalidError
from streamkit.model import Capabilities, Partition, Position, StartPosition
from streamkit.plugin import AdapterContext, GroupBroker, Revoked
from streamkit_kafka.client import ErrorWatch, consumer_config, group_config, new_consumer
from streamkit_kafka.cluster import EARLIEST, LATEST, Cluster, Spec, at_time
from streamkit_kafka.consumer import Key, key_of, offset_of
from streamkit_kafka.errors import BROKER
from streamkit_kafka.membership import KafkaMembership
from streamkit_kafka.reader import KafkaReader
from streamkit_kafka.settings import KafkaSettings

__all__ = ["KafkaBroker"]


class KafkaBroker(GroupBroker[KafkaSettings]):
    """Answers through one AdminClient, whose calls block and so go through `self.blocking`."""

    capabilities = Capabilities(group=True, static=True, start_time=True, fencing=True, scope="cluster")

    def __init__(self, settings: KafkaSettings, context: AdapterContext) -> None:
        super().__init__(settings, context)
        self._opened: Cluster | None = None
        # Written on the I/O loop, read on readers' threads: single operations on a dict.
        self._known: dict[Key, Partition] = {}

    @property
    def _cluster(self) -> Cluster:
        assert self._opened is not None, "open() comes first"
        return self._opened

    def terms(self) -> Sequence[tuple[str, str]]:
        """What gives up records, if it is set."""
        if self.settings.on_expired == "halt":
            return ()
        return (("expired", "a partition whose checkpoint Kafka does not keep any more goes on at its oldest record; logged and counted"),)

    async def open(self) -> None:
        """As the contract says. A misspelt librdkafka setting is found here, before anything joins a group."""
        self._opened = await self.blocking(self._connect)

    def _connect(self) -> Cluster:
        new_consumer(group_config(self.settings, self.context.worker, self.context.group), ErrorWatch()).close()
        cluster = Cluster(self.settings, self.context)
        cluster.connect()
        return cluster

    async def close(self) -> None:
        self._opened = None

    async def discover(self, streams: Sequence[str], start: StartPosition) -> Sequence[Partition]:
        """Kafka has no lineage: `start` does not matter. The incarnation is `<cluster id>/<topic id>`."""
        partitions = await self.blocking(self._cluster.partitions, streams)
        self._known.update({key_of(partition): partition for partition in partitions})
        return partitions

    async def tips(self, partitions: Sequence[Partition]) -> Sequence[Position | None]:
        """One before the end: the last stable offset under read_committed. It may be a transaction's marker."""
        keys = [key_of(partition) for partition in partitions]
        lows = await self._offsets(keys, EARLIEST)
        ends = await self._offsets(keys, LATEST)
        return [Position(ends[key] - 1) if ends[key] > lows[key] else None for key in keys]

    async def resolve(self, partition: Partition, start: StartPosition) -> StartPosition:
        """Every start becomes the offset of the next record to be read."""
        key = key_of(partition)
        if start.kind == "earliest":
            return StartPosition.at(Position((await self._offsets([key], EARLIEST))[key]))
        if start.kind == "latest":
            return StartPosition.at(Position((await self._offsets([key], LATEST))[key]))
        if start.kind == "time":
            assert start.time is not None
            found = (await self._offsets([key], at_time(int(start.time.timestamp() * 1000))))[key]
            return StartPosition.at(Position(found)) if found >= 0 else await self.resolve(partition, StartPosition.LATEST)
        end = (await self._offsets([key], LATEST, committed_only=False))[key]
        if offset_of(partition, start).offset > end:
            text = f"{partition}: {start} lies beyond the end of the log ({end})"
            raise PositionInvalidError(text, broker=BROKER, partition=str(partition))
        return start

    async def _offsets(self, keys: Sequence[Key], spec: Spec, *, committed_only: bool | None = None) -> dict[Key, int]:
        if committed_only is None:
            committed_only = self.settings.isolation_level == "read_committed"
        return await self.blocking(lambda: self._cluster.offsets(keys, spec, committed_only=committed_only))

    def reader(self) -> KafkaReader:
        config = consumer_config(self.settings, self.context.worker, self.context.group)
        return KafkaReader(self.settings, self.context, config)

    def join(self, streams: Sequence[str], group: str, serve: Callable[[Revoked], None]) -> KafkaMembership:
        if not group:
            raise ConfigurationError("a group needs a name", setting="STREAMKIT_GROUP")
        config = group_config(self.settings, self.context.worker, group)
        return KafkaMembership(self.settings, self.context, config, streams, serve, self._partition)

    def _partition(self, topic: str, number: int) -> Partition:
        return self._known.get((topic, number)) or Partition(topic, str(number))
