"""A driver in place of the engine, for the emulator: adds partitions, polls, and collects what comes. Everything on one loop."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

from azure.eventhub import EventData
from azure.eventhub.aio import EventHubProducerClient
from streamkit_eventhubs.broker import EventHubsBroker
from streamkit_eventhubs.settings import EventHubsSettings
from streamkit_sandbox.eventhubs.server import EventHubsServer

from streamkit.model import Batch, Partition, Position, Record, StartPosition
from streamkit.plugin import AdapterContext, Budget, CaughtUp, Failed, Lost, Reader

T = TypeVar("T")
BUDGET = Budget(max_records=1000, max_bytes=8 << 20, max_wait_seconds=0.05)
SECONDS = 90.0


class LiveContext(AdapterContext):
    """Real clocks."""

    broker = "eventhubs"
    worker = "w"
    streams: Sequence[str] = ("orders",)

    def __init__(self, group: str = "$Default") -> None:
        self.group = group
        self.told: list[tuple[str, str, int]] = []

    def monotonic(self) -> float:
        return time.monotonic()

    def unix_time(self) -> float:
        return time.time()

    def noticed(self, partition: Partition, what: str, records: int = 1) -> None:
        self.told.append((partition.id, what, records))

    async def call_blocking(self, function: Callable[..., T], *args: object) -> T:
        return await asyncio.get_running_loop().run_in_executor(None, function, *args)


@dataclass
class Worker:
    """One reader, and what it has brought."""

    reader: Reader
    records: list[Record] = field(default_factory=list)
    failed: list[Failed] = field(default_factory=list)
    lost: list[Lost] = field(default_factory=list)
    caught_up: set[str] = field(default_factory=set)
    batches: list[Batch] = field(default_factory=list)

    @property
    def values(self) -> list[bytes]:
        return [record.value or b"" for record in self.records]

    def last_of(self, partition: Partition) -> Position:
        return [record.position for record in self.records if record.partition == partition][-1]

    async def poll(self, budget: Budget = BUDGET) -> None:
        for event in await self.reader.poll(budget):
            if isinstance(event, Batch):
                self.batches.append(event)
                self.records += event
            elif isinstance(event, CaughtUp):
                self.caught_up.add(event.partition.id)
            elif isinstance(event, Failed):
                self.failed.append(event)
            elif isinstance(event, Lost):
                self.lost.append(event)

    async def until(self, holds: Callable[[], object], seconds: float = SECONDS) -> None:
        """Polls until that holds. Raises AssertionError if it does not in time."""
        deadline = time.monotonic() + seconds
        while not holds():
            assert time.monotonic() < deadline, (len(self.records), self.failed, self.lost, self.caught_up)
            await self.poll()
            await asyncio.sleep(0.002)

    async def until_records_or_failure(self, count: int) -> None:
        await self.until(lambda: self.failed or len(self.records) >= count)


class Live:
    """A hub on the emulator, as one worker after another sees it."""

    def __init__(self, server: EventHubsServer, hub: str, **fields: Any) -> None:
        self.hub = hub
        self.server = server
        self.context = LiveContext()
        self.settings = EventHubsSettings(**{"connection_string": server.connection_string(), **fields})
        self.broker = EventHubsBroker(self.settings, self.context)
        self.partitions: Sequence[Partition] = ()

    async def discover(self) -> Sequence[Partition]:
        self.partitions = await self.broker.discover([self.hub], StartPosition.EARLIEST)
        return self.partitions

    @asynccontextmanager
    async def worker(self) -> AsyncIterator[Worker]:
        worker = Worker(self.broker.reader())
        try:
            yield worker
        finally:
            await worker.reader.close()

    def append(self, values: Sequence[bytes], partition: str = "0") -> None:
        """Without a client."""
        self.server.append(self.hub, values, partition)

    async def send(self, value: bytes, **properties: Any) -> None:
        """With the SDK, to partition 0."""
        async with EventHubProducerClient.from_connection_string(self.server.connection_string(), eventhub_name=self.hub) as producer:
            event = EventData(value)
            event.properties = dict(properties)
            await producer.send_batch([event], partition_id="0")


def on(server: EventHubsServer, hub: str, test: Callable[[Live], Awaitable[None]], **fields: Any) -> None:
    """Open a broker, let the test run, close it; nothing may be left running then."""

    async def body() -> None:
        live = Live(server, hub, **fields)
        await live.broker.open()
        try:
            await test(live)
        finally:
            await live.broker.close()
        left = {task for task in asyncio.all_tasks() if task is not asyncio.current_task()}
        if left:  # they may be about to end: an SDK waits for none of its own
            _, left = await asyncio.wait(left, timeout=SECONDS)
        assert left == set()

    asyncio.run(body())
    gc.collect()  # what the SDK has left behind is said now, and not in another test
