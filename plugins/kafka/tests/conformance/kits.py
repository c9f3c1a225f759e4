"""Kafka for the rules: a real one, and librdkafka's mock, which knows neither admin requests nor times nor deletion of topics."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import ClassVar

from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from streamkit_kafka.broker import KafkaBroker
from streamkit_kafka.cluster import EARLIEST, LATEST, Cluster, Spec
from streamkit_kafka.consumer import Key
from streamkit_kafka.producer import KafkaProducer
from streamkit_kafka.settings import KafkaSettings

from streamkit.errors import StreamGoneError, UnsupportedError
from streamkit.model import Partition
from streamkit.plugin import AdapterContext, NewRecord
from streamkit.testing.conformance import BrokerKit

__all__ = ["KafkaKit", "MockKit"]

_QUICK = {"topic.metadata.refresh.interval.ms": 300, "topic.metadata.propagation.max.ms": 100}
_BYTES = {"B59": "librdkafka hands over so many records; the adapter asks for as many as the sizes seen so far allow"}

_SLOW = "the mock takes ten seconds and more to rebalance; shown on a real cluster"


class _Kit(BrokerKit):
    name = "kafka"
    patience_seconds = 30.0
    rule_seconds = 100.0

    def __init__(self, bootstrap_servers: str, new_topic: Callable[[int], str], protocol: str = "classic") -> None:
        self.bootstrap_servers = bootstrap_servers
        self.create = new_topic  # type: ignore[method-assign]
        self.protocol = protocol

    def settings(self, bootstrap_servers: str, request_seconds: float = 10.0) -> KafkaSettings:
        return KafkaSettings(
            bootstrap_servers=bootstrap_servers,
            options=_QUICK,
            group_protocol=self.protocol,
            session_timeout=timedelta(seconds=6) if self.protocol == "classic" else None,
            max_poll_interval=timedelta(seconds=6),
            request_timeout=timedelta(seconds=request_seconds),
        )

    def broker(self, context: AdapterContext) -> KafkaBroker:
        return KafkaBroker(self.settings(self.bootstrap_servers), context)

    def unreachable(self, context: AdapterContext) -> KafkaBroker:
        return KafkaBroker(self.settings("127.0.0.1:1", 0.5), context)

    def create(self, partitions: int) -> str:
        raise AssertionError("given when the kit is made")

    def write(self, stream: str, records: Sequence[NewRecord]) -> None:
        producer = Producer({"bootstrap.servers": self.bootstrap_servers, "linger.ms": 0})
        for one in records:
            headers = list(one.headers)
            producer.produce(stream, one.value, one.key, partition=int(one.partition or 0), headers=headers)  # type: ignore[arg-type]
        assert producer.flush(20) == 0


class KafkaKit(_Kit):
    """A real cluster."""

    oversize_bytes = 2 << 20
    excused: ClassVar = _BYTES | {"B74": "at the tip of a topic that is deleted librdkafka says nothing; only `discover` does"}

    def producer(self, context: AdapterContext) -> KafkaProducer:
        return KafkaProducer(self.settings(self.bootstrap_servers), context)

    def delete(self, stream: str) -> None:
        admin = AdminClient({"bootstrap.servers": self.bootstrap_servers})
        for answer in admin.delete_topics([stream]).values():
            answer.result(60)


class MockKit(_Kit):
    """Reader, membership and offsets are the adapter's own; what it asks through the AdminClient is answered here by a consumer."""

    excused: ClassVar = (
        _BYTES
        | dict.fromkeys(("B08", "B09", "B10", "B11", "B12", "B13", "B14", "B15"), _SLOW)
        | {
            "B02": "the adapter's first contact is an admin request",
            "B45": "the mock cannot look up a time",
        }
    )

    def broker(self, context: AdapterContext) -> KafkaBroker:
        return _MockBroker(self.settings(self.bootstrap_servers), context)


class _MockBroker(KafkaBroker):
    def _connect(self) -> Cluster:
        return _MockCluster(self.settings, self.context)


class _MockCluster(Cluster):
    def __init__(self, settings: KafkaSettings, context: AdapterContext) -> None:
        super().__init__(settings, context)
        self._consumer = Consumer({"bootstrap.servers": settings.bootstrap_servers, "group.id": "asks", "log_level": 0})

    def partitions(self, streams: Sequence[str]) -> list[Partition]:
        topics = self._consumer.list_topics(timeout=30).topics  # asked for all, so that none is made by asking for it
        if missing := [stream for stream in streams if stream not in topics and not stream.startswith("^")]:
            raise StreamGoneError(f"there is no topic {missing[0]!r}", broker="kafka")
        if any(stream.startswith("^") for stream in streams):
            raise UnsupportedError("patterns are the real cluster's")
        return [Partition(name, str(n), incarnation="mock") for name in dict.fromkeys(streams) for n in sorted(topics[name].partitions)]

    def offsets(self, keys: Sequence[Key], spec: Spec, *, committed_only: bool) -> dict[Key, int]:
        assert spec in (EARLIEST, LATEST)
        found = {}
        for key in keys:
            low, high = self._consumer.get_watermark_offsets(TopicPartition(*key), timeout=30)
            found[key] = low if spec is EARLIEST else high
        return found
