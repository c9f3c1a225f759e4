"""A driver in place of the engine, for real servers: follows shards from parents to children and collects what they hold."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol, TypeVar

import boto3
from streamkit_kinesis.broker import KinesisBroker
from streamkit_kinesis.settings import KinesisSettings

from streamkit.errors import BrokerError
from streamkit.model import Batch, Partition, Position, Record, StartPosition
from streamkit.plugin import AdapterContext, Budget, CaughtUp, Ended, Failed, Reader

T = TypeVar("T")
BUDGET = Budget(max_records=1000, max_bytes=8 << 20, max_wait_seconds=0.05)
REGION = "us-east-1"


class Server(Protocol):
    """One of the sandbox's."""

    endpoint_url: str

    def settings(self) -> Mapping[str, str]: ...


class LiveContext(AdapterContext):
    """Real clocks."""

    broker = "kinesis"
    group = "g"
    worker = "w"
    streams: Sequence[str] = ("orders",)

    def __init__(self) -> None:
        self.told: list[tuple[str, str, int]] = []

    def monotonic(self) -> float:
        return time.monotonic()

    def unix_time(self) -> float:
        return time.time()

    def noticed(self, partition: Partition, what: str, records: int = 1) -> None:
        self.told.append((partition.id, what, records))

    async def call_blocking(self, function: Callable[..., T], *args: object) -> T:
        return await asyncio.get_running_loop().run_in_executor(None, function, *args)


def client_of(server: Server) -> Any:
    """Plain boto3, for those who write."""
    return boto3.client("kinesis", endpoint_url=server.endpoint_url, region_name=REGION, aws_access_key_id="x", aws_secret_access_key="x")


@dataclass
class Following:
    """What was read, shard by shard, with children behind all of their parents."""

    records: list[Record] = field(default_factory=list)
    ended: list[str] = field(default_factory=list)
    failed: list[Failed] = field(default_factory=list)
    caught_up: set[str] = field(default_factory=set)

    @property
    def values(self) -> list[bytes]:
        return [record.value or b"" for record in self.records]

    def last_of(self, partition: Partition) -> Position:
        return [record.position for record in self.records if record.partition == partition][-1]


class Live:
    """One broker and one reader. Everything runs on the caller's thread but for the reads."""

    def __init__(self, url: str, stream: str = "orders", **fields: Any) -> None:
        self.context = LiveContext()
        self.stream = stream
        self.settings = KinesisSettings(endpoint_url=url, region=REGION, **({"reads_per_second": 50, "idle_wait": "100ms"} | fields))
        self.broker = KinesisBroker(self.settings, self.context)

    def run(self, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Open, do that, close."""

        async def body() -> T:
            await self.broker.open()
            try:
                return await work()
            finally:
                await self.broker.close()

        return asyncio.run(body())

    def partitions(self, start: StartPosition = StartPosition.EARLIEST) -> list[Partition]:
        async def work() -> list[Partition]:
            return list(await self.broker.discover([self.stream], start))

        return self.run(work)

    def resolve(self, start: StartPosition) -> dict[Partition, StartPosition]:
        async def work() -> dict[Partition, StartPosition]:
            found = await self.broker.discover([self.stream], start)
            return {partition: await self.broker.resolve(partition, start) for partition in found}

        return self.run(work)

    def follow(
        self,
        until: Callable[[Following], bool],
        starts: Mapping[Partition, StartPosition] | None = None,
        written: datetime | None = None,
        seconds: float = 60.0,
    ) -> Following:
        """Read from `starts` (all oldest shards from EARLIEST) until that holds. Raises AssertionError if it does not in time."""

        async def work() -> Following:
            listed = await self._discover()
            ids = {partition.id for partition in listed}
            begin = starts or {p: StartPosition.EARLIEST for p in listed if not any(parent in ids for parent in p.parents)}
            reader = self.broker.reader()
            try:
                return await self._follow(reader, begin, until, written, seconds)
            finally:
                await reader.close()

        return self.run(work)

    async def _discover(self) -> Sequence[Partition]:
        """As the engine does: what may succeed later is asked again."""
        while True:
            try:
                return await self.broker.discover([self.stream], StartPosition.EARLIEST)
            except BrokerError as error:
                if not error.retryable:
                    raise

    async def _follow(
        self,
        reader: Reader,
        starts: Mapping[Partition, StartPosition],
        until: Callable[[Following], bool],
        written: datetime | None,
        seconds: float,
    ) -> Following:
        found = Following()
        begun = set(starts)
        for partition, start in starts.items():
            await reader.add(partition, start, written=written)
        deadline = time.monotonic() + seconds
        while not until(found):
            assert time.monotonic() < deadline, (len(found.records), found.ended, found.failed, self.context.told)
            for event in await reader.poll(BUDGET):
                if isinstance(event, Batch):
                    found.records += event
                elif isinstance(event, CaughtUp):
                    found.caught_up.add(event.partition.id)
                elif isinstance(event, Failed):
                    found.failed.append(event)
                elif isinstance(event, Ended):
                    found.ended.append(event.partition.id)
                    for child in event.children:
                        if child not in begun and all(parent in found.ended for parent in child.parents):
                            begun.add(child)
                            await reader.add(child, StartPosition.EARLIEST)
        return found
