"""What a rule about brokers works with: fresh streams, records in them, opened adapters, and everything closed behind it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Any, Self, TypeVar

import pytest

from streamkit.errors import BrokerError
from streamkit.model import Capabilities, Partition, Position, StartPosition
from streamkit.plugin import Broker, NewRecord, Producer
from streamkit.testing.conformance.aside import Aside
from streamkit.testing.conformance.context import KitContext
from streamkit.testing.conformance.kit import BrokerKit
from streamkit.testing.conformance.lane import Lane

__all__ = ["BrokerBench", "numbered"]

T = TypeVar("T")

_RETRY_SECONDS = 0.05


class BrokerBench:
    """One for each rule. Use it as an asynchronous context manager."""

    def __init__(self, kit: BrokerKit) -> None:
        self.kit = kit
        self._aside = Aside("kit")
        self._stack = AsyncExitStack()
        self._broker: Broker[Any] | None = None
        self._producer: Producer[Any] | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        try:
            async with asyncio.timeout(self.kit.patience_seconds) as limit:
                await self._stack.aclose()
        except TimeoutError as late:
            assert not limit.expired(), f"what the rule had opened could not be closed within {self.kit.patience_seconds:g} s"
            raise late
        finally:
            self._aside.end()

    # -- adapters -------------------------------------------------------------------------------------------------------

    def context(self, *, group: str = "g", worker: str = "w", streams: Sequence[str] = ()) -> KitContext:
        context = KitContext(broker=self.kit.name, group=group, worker=worker, streams=streams)
        self._stack.callback(context.end)
        return context

    async def made(self, context: KitContext | None = None) -> Broker[Any]:
        """A new broker that nobody opens or closes but the rule."""
        return await self._aside.call(self.kit.broker, context or self.context())

    async def unreachable(self) -> Broker[Any]:
        """The same, where nobody answers."""
        return await self._aside.call(self.kit.unreachable, self.context())

    async def opened(self, context: KitContext | None = None) -> Broker[Any]:
        """A new broker, open until the rule has ended."""
        broker = await self.made(context)
        self._stack.push_async_callback(broker.close)
        await self.patiently(broker.open)
        return broker

    async def broker(self) -> Broker[Any]:
        """The one broker that most rules need."""
        if self._broker is None:
            self._broker = await self.opened()
        return self._broker

    async def capabilities(self) -> Capabilities:
        return (await self.broker()).capabilities

    async def producer(self) -> Producer[Any]:
        """An opened producer."""
        if self._producer is None:
            producer = await self._aside.call(self.kit.producer, self.context())
            self._stack.push_async_callback(producer.close)
            await self.patiently(producer.open)
            self._producer = producer
        return self._producer

    async def lane(self, broker: Broker[Any] | None = None) -> Lane:
        """A new reader with nothing added; closed when the rule has ended."""
        chosen = broker or await self.broker()
        lane = Lane(chosen.reader(), "reader", self.kit.patience_seconds)
        self._stack.push_async_callback(lane.close)
        return lane

    async def reading(self, *partitions: Partition, start: StartPosition = StartPosition.EARLIEST) -> Lane:
        """A new reader to which these have been added."""
        lane = await self.lane()
        for partition in partitions:
            await lane.add(partition, start)
        return lane

    def at_end(self, close: Callable[[], Awaitable[object]]) -> None:
        """Have something closed when the rule has ended, before what was there earlier."""
        self._stack.push_async_callback(close)

    # -- streams --------------------------------------------------------------------------------------------------------

    async def create(self, partitions: int = 1) -> str:
        """The name of a new stream."""
        if partitions > 1 and self.kit.one_partition:
            pytest.skip("the kit says that a stream has one partition")
        return await self._aside.call(self.kit.create, partitions)

    async def stream(self, partitions: int = 1) -> Sequence[Partition]:
        """The partitions of a new stream, as the broker lists them."""
        name = await self.create(partitions)
        return await self.discovered(name)

    async def partitions(self, count: int) -> Sequence[Partition]:
        """So many partitions to read: of one new stream, or each of its own if a stream has only one."""
        if not self.kit.one_partition:
            return await self.stream(count)
        return [await self.partition() for _ in range(count)]

    async def partition(self) -> Partition:
        """The one partition of a new stream."""
        (partition,) = await self.stream()
        return partition

    async def discovered(self, *names: str, start: StartPosition = StartPosition.EARLIEST) -> Sequence[Partition]:
        broker = await self.broker()
        return await self.patiently(lambda: broker.discover(names, start))

    async def resolved(self, partition: Partition, start: StartPosition) -> StartPosition:
        broker = await self.broker()
        return await self.patiently(lambda: broker.resolve(partition, start))

    async def tip(self, partition: Partition) -> Position | None:
        broker = await self.broker()
        (tip,) = await self.patiently(lambda: broker.tips([partition]))
        return tip

    async def end(self, partition: Partition) -> None:
        await self._aside.call(self.kit.end, partition.stream, partition.id)

    async def delete(self, stream: str) -> None:
        await self._aside.call(self.kit.delete, stream)

    async def write(self, partition: Partition, values: Iterable[bytes | None]) -> list[bytes | None]:
        """Write these values to a partition, one after the other; the values."""
        chosen = list(values)
        await self.write_records(partition, [NewRecord(value) for value in chosen])
        return chosen

    async def write_records(self, partition: Partition, records: Sequence[NewRecord]) -> None:
        """Write whole records to a partition."""
        named = [NewRecord(one.value, one.key, one.headers, partition.id) for one in records]
        if type(self.kit).write is not BrokerKit.write:
            await self._aside.call(self.kit.write, partition.stream, named)
            return
        producer = await self.producer()
        answers = await producer.send(partition.stream, named)
        assert list(answers) == [None] * len(named), f"the producer could not write: {answers!r}"

    # -- patience -------------------------------------------------------------------------------------------------------

    async def patiently(self, call: Callable[[], Awaitable[T]]) -> T:
        """Call it again while it says that it may succeed later, as the engine does."""
        deadline = time.monotonic() + self.kit.patience_seconds
        while True:
            try:
                return await call()
            except BrokerError as error:
                if not error.retryable or time.monotonic() > deadline:
                    raise
                await asyncio.sleep(_RETRY_SECONDS)

    async def eventually(self, condition: Callable[[], Awaitable[object]], what: str) -> None:
        """Ask until that holds. Raises AssertionError."""
        deadline = time.monotonic() + self.kit.patience_seconds
        while not await condition():
            assert time.monotonic() < deadline, f"{what}: not within {self.kit.patience_seconds:g} s"
            await asyncio.sleep(_RETRY_SECONDS)


def numbered(count: int, first: int = 0) -> list[bytes]:
    """Values that say which they are."""
    return [b"value-%d" % number for number in range(first, first + count)]
