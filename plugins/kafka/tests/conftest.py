"""A tiny driver in place of the engine: one thread, coroutines that must never suspend, members polled in turns."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, TypeVar

import pytest
from streamkit_kafka.settings import KafkaSettings

from streamkit.errors import BrokerUnavailableError
from streamkit.model import Batch, Checkpoint, Partition, Position, StartPosition
from streamkit.plugin import AdapterContext, Assigned, Budget, Event, Grant, Lost, Revoked

if TYPE_CHECKING:
    from streamkit_kafka.broker import KafkaBroker
    from streamkit_sandbox.kafka import KafkaServer

T = TypeVar("T")
BUDGET = Budget(max_records=1000, max_bytes=1 << 20, max_wait_seconds=0.05)
DEADLINE_SECONDS = 90.0


class Context(AdapterContext):
    """Real clocks; blocking calls run in place."""

    broker = "kafka"
    worker = "w1"
    streams = ("orders",)

    def __init__(self, group: str = "") -> None:
        self.group = group

    def monotonic(self) -> float:
        return time.monotonic()

    def unix_time(self) -> float:
        return time.time()

    def noticed(self, partition: Partition, what: str, records: int = 1) -> None:
        raise AssertionError(f"{partition}: {what}")

    async def call_blocking(self, function: Callable[..., T], *args: object) -> T:
        return function(*args)


def drive(coroutine: Coroutine[Any, Any, T]) -> T:
    """Runs a coroutine that blocks instead of suspending."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]
    coroutine.close()
    raise AssertionError(f"{coroutine!r} suspended")


class Member:
    """What the engine does with a membership, at its plainest: claim, resolve, add; collect; save on revoke."""

    def __init__(self, broker: KafkaBroker, streams: Sequence[str], group: str, *, adds: bool = True) -> None:
        self.broker = broker
        self.adds = adds
        self.membership = broker.join(streams, group, self.serve)
        self.store = self.membership.checkpoints
        self.grants: dict[Partition, Grant] = {}
        self.starts: dict[Partition, StartPosition] = {}
        self.values: dict[Partition, list[bytes | None]] = {}
        self.done: dict[Partition, Position] = {}
        self.events: list[Event] = []
        self.revokes: list[Revoked] = []
        self.on_revoke: Callable[[Revoked], None] = self.save_revoked
        self.left = False

    def serve(self, revoked: Revoked) -> None:
        self.revokes.append(revoked)
        self.on_revoke(revoked)
        for partition in revoked.partitions:
            self.grants.pop(partition, None)

    def save_revoked(self, revoked: Revoked) -> None:
        drive(self.membership.remove(revoked.partitions))
        assert not [answer for answer in self.save(revoked.partitions) if isinstance(answer, Exception)]

    def save(self, partitions: Sequence[Partition] | None = None, **fields: Any) -> Sequence[Grant | Exception]:
        chosen = [p for p in (self.grants if partitions is None else partitions) if p in self.done]
        many = [(Checkpoint(p, StartPosition.after(self.done[p]), **fields), self.grants[p]) for p in chosen]
        return drive(self.store.save(many))

    def poll(self, budget: Budget = BUDGET) -> Sequence[Event]:
        events = drive(self.membership.poll(budget))
        self.events += events
        for event in events:
            if isinstance(event, Assigned):
                for partition in event.partitions:
                    self.claim(partition)
            elif isinstance(event, Lost):
                for partition in event.partitions:
                    self.grants.pop(partition, None)
            elif isinstance(event, Batch):
                self.values.setdefault(event.partition, []).extend(event.values())
                self.done[event.partition] = event.last
        return events

    def claim(self, partition: Partition) -> None:
        claim = drive(self.store.claim(partition, "w1", 0))
        self.grants[partition] = claim.grant
        start = claim.checkpoint.at if claim.checkpoint else self.resolved(partition)
        self.starts[partition] = start
        if self.adds:
            drive(self.membership.add(partition, start))

    def resolved(self, partition: Partition) -> StartPosition:
        while True:
            try:
                return drive(self.broker.resolve(partition, StartPosition.EARLIEST))
            except BrokerUnavailableError:  # a new partition has no leader yet
                time.sleep(0.05)

    def leave(self) -> None:
        if not self.left:
            self.left = True
            drive(self.membership.leave())
            drive(self.membership.close())


def poll_until(condition: Callable[[], object], *members: Member, seconds: float = DEADLINE_SECONDS) -> None:
    """Polls the members in turns until `condition` holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "nothing of the kind happened"
        for member in members:
            member.poll()


class Kafka:
    """What a test of the adapter needs of a cluster; closes what it made."""

    # Test files cannot import this one (importlib mode), so they find its functions here.
    budget = BUDGET
    drive = staticmethod(drive)
    until = staticmethod(poll_until)

    def __init__(self, server: KafkaServer, new_topic: Callable[..., str]) -> None:
        self.server = server
        self.topic = new_topic
        self.group = f"g-{uuid.uuid4().hex[:8]}"
        self._stack = ExitStack()

    def settings(self, **fields: Any) -> KafkaSettings:
        return KafkaSettings(**{"bootstrap_servers": self.server.bootstrap_servers, **fields})

    def broker(self, **fields: Any) -> KafkaBroker:
        from streamkit_kafka.broker import KafkaBroker

        broker = KafkaBroker(self.settings(**fields), Context(self.group))
        drive(broker.open())
        self._stack.callback(lambda: drive(broker.close()))
        return broker

    def member(self, streams: str | Sequence[str], *, adds: bool = True, **fields: Any) -> Member:
        names = [streams] if isinstance(streams, str) else streams
        member = Member(self.broker(**fields), names, self.group, adds=adds)
        self._stack.callback(member.leave)
        return member

    def produce(self, topic: str, values: Sequence[bytes | None], partition: int = 0, *, servers: str = "", **fields: Any) -> None:
        from confluent_kafka import Producer

        producer = Producer({"bootstrap.servers": servers or self.server.bootstrap_servers, "linger.ms": 0})
        for value in values:
            producer.produce(topic, value, partition=partition, **fields)
        assert producer.flush(20) == 0

    def close(self) -> None:
        self._stack.close()


@pytest.fixture
def kafka(kafka_server: KafkaServer, kafka_topic: Callable[..., str]) -> Iterator[Kafka]:
    cluster = Kafka(kafka_server, kafka_topic)
    yield cluster
    cluster.close()


@pytest.fixture(scope="session")
def secure_server() -> Iterator[KafkaServer]:
    """A Kafka with a listener for each way in. Sessions end with their tokens (`connections.max.reauth.ms`)."""
    from streamkit_sandbox.kafka import KafkaServer
    from streamkit_sandbox.pytest_plugin import needed

    server = KafkaServer(security=True, connections_max_reauth_ms=3_600_000)
    with needed():
        server.start()
    yield server
    server.close()


@pytest.fixture(params=["classic", "consumer"])
def protocol(request: pytest.FixtureRequest) -> str:
    return str(request.param)
