"""The producer on the emulator: what it writes, read back by our own link; and what it does when the service is busy or gone."""

from __future__ import annotations

import asyncio
import gc
import time
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from azure.eventhub.aio import EventHubConsumerClient
from streamkit_eventhubs.fast_link import FastLink
from streamkit_eventhubs.producer import EventHubsProducer
from streamkit_eventhubs.record import batch_of
from streamkit_eventhubs.settings import EventHubsSettings

from plugins.eventhubs.tests.live import LiveContext
from streamkit.errors import AccessDeniedError, BrokerError, BrokerUnavailableError, ThrottledError
from streamkit.model import Headers, Partition, Record, StartPosition
from streamkit.plugin import NewRecord

pytestmark = pytest.mark.integration


class Here:
    """A hub of four partitions on the emulator."""

    def __init__(self, server: Any, hub: str) -> None:
        self.server = server
        self.hub = hub

    @asynccontextmanager
    async def producer(self, connection_string: str = "", **fields: Any) -> AsyncIterator[EventHubsProducer]:
        settings = EventHubsSettings(connection_string=connection_string or self.server.connection_string(), **fields)
        producer = EventHubsProducer(settings, LiveContext())
        await producer.open()
        try:
            yield producer
        finally:
            await producer.close()

    async def read(self, count: int) -> list[Record]:
        """So many records, partition by partition."""
        found: list[Record] = []
        for name in ("0", "1", "2", "3"):
            here = len(self.server.events(self.hub, name))
            if here:
                found += await self._read(name, here)
        assert len(found) == count
        return found

    async def _read(self, name: str, count: int) -> list[Record]:
        link = FastLink(EventHubConsumerClient.from_connection_string(self.server.connection_string(self.hub), "$Default"), name, 1000)
        await link.open(StartPosition.EARLIEST, 0)
        found: list[Record] = []
        async with asyncio.timeout(20):
            while len(found) < count:
                received = await link.receive(1000, 64 << 20)
                found += batch_of(Partition(self.hub, name), received, 0.0) if received is not None else []
        await link.close()
        return found


@pytest.fixture
def run(eventhubs_server: Any, event_hub: str) -> Callable[[Callable[[Here], Awaitable[None]]], None]:
    def work(test: Callable[[Here], Awaitable[None]]) -> None:
        async def body() -> None:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ResourceWarning)  # the SDK leaves sockets of connections that broke to the collector
                await test(Here(eventhubs_server, event_hub))
                gc.collect()
                await asyncio.sleep(0)
            assert [task for task in asyncio.all_tasks() if task is not asyncio.current_task()] == []

        asyncio.run(body())

    return work


def numbered(count: int, keys: int) -> list[NewRecord]:
    return [NewRecord(b"%d" % n, b"key-%d" % (n % keys)) for n in range(count)]


def test_what_is_written_is_what_is_read(run: Callable[..., None]) -> None:
    async def test(here: Here) -> None:
        mixed = Headers([("a", b"1"), ("a", None), ("raw", b"\xff"), ("a", b"3"), ("streamkit-version", b"1")])
        records = [
            NewRecord(b"tea", b"ada", mixed, "1"),
            NewRecord(None, b"\xff\x00", Headers([("streamkit-version", b"1")]), "1"),
            NewRecord(b"", "é".encode() * 100, partition="1"),
            NewRecord(b"x" * 900_000, partition="1"),
        ]
        async with here.producer() as producer:
            assert await producer.send(here.hub, records) == [None] * 4
        found = await here.read(4)
        assert [(r.key, r.value) for r in found] == [(r.key, r.value) for r in records]
        assert found[0].headers == mixed
        assert {r.partition.id for r in found} == {"1"}

    run(test)


def test_a_record_that_is_too_large_is_named_and_nothing_of_its_key_is_written_behind_it(run: Callable[..., None]) -> None:
    async def test(here: Here) -> None:
        records = [NewRecord(b"1", b"a"), NewRecord(bytes(2 << 20), b"a"), NewRecord(b"3", b"a"), NewRecord(b"4", b"b")]
        async with here.producer() as producer:
            answers = await producer.send(here.hub, records)
        assert "larger than the 1048576 bytes" in str(answers[1])
        assert "not sent, because an earlier record of its key" in str(answers[2])
        assert sorted(r.value or b"" for r in await here.read(2)) == [b"1", b"4"]

    run(test)


def test_a_header_that_cannot_be_kept_holds_back_its_key(run: Callable[..., None]) -> None:
    async def test(here: Here) -> None:
        records = [NewRecord(b"1", b"a", Headers([("a\0", b"")])), NewRecord(b"2", b"a"), NewRecord(b"3", b"b")]
        async with here.producer() as producer:
            answers = await producer.send(here.hub, records)
        assert [type(answer) for answer in answers] == [BrokerError, BrokerUnavailableError, type(None)]
        assert [r.value for r in await here.read(1)] == [b"3"]

    run(test)


def test_while_the_service_is_busy_records_are_sent_again(run: Callable[..., None]) -> None:
    async def test(here: Here) -> None:
        async with here.producer() as producer:
            await producer.send(here.hub, numbered(1, 1))
            here.server.throttle(0.5)
            assert await producer.send(here.hub, numbered(50, 5)) == [None] * 50
        assert len(await here.read(51)) == 51

    run(test)


def test_busy_for_longer_than_the_time_out_is_said(run: Callable[..., None]) -> None:
    async def test(here: Here) -> None:
        async with here.producer(send_timeout="200ms") as producer:
            await producer.send(here.hub, numbered(1, 1))
            here.server.throttle(30)
            try:
                assert [type(answer) for answer in await producer.send(here.hub, numbered(2, 2))] == [ThrottledError] * 2
            finally:
                here.server.throttle(0)
        assert len(await here.read(1)) == 1

    run(test)


def test_a_link_that_was_detached_and_a_connection_that_broke_are_made_anew(run: Callable[..., None]) -> None:
    async def test(here: Here) -> None:
        async with here.producer() as producer:
            for number in range(6):
                assert await producer.send(here.hub, [NewRecord(b"%d" % number, b"k")]) == [None]
                if number % 2:
                    here.server.drop_connections()
                else:
                    here.server.detach(here.hub)
        found = [int(r.value or b"") for name in "0123" for r in await here._read(name, len(here.server.events(here.hub, name)))]
        assert list(dict.fromkeys(found)) == list(range(6))

    run(test)


def test_a_wrong_key_is_said() -> None:
    from streamkit_sandbox.eventhubs.server import EventHubsServer

    async def test() -> None:
        here = Here(server, "orders")
        wrong = server.connection_string().replace("SharedAccessKey=", "SharedAccessKey=not")
        async with here.producer(wrong) as producer:
            with pytest.raises(AccessDeniedError) as caught:
                await producer.check("orders")
        assert "not" + server.connection_string().partition("SharedAccessKey=")[2][:6] not in str(caught.value)

    with EventHubsServer({"orders": 4}, users={"RootManageSharedAccessKey": "c2VjcmV0"}) as server:
        asyncio.run(test())


def test_a_service_that_hangs_holds_up_nobody_for_long(run: Callable[..., None]) -> None:
    async def test(here: Here) -> None:
        async with here.producer(request_timeout="3s", send_timeout="200ms") as producer:
            await producer.send(here.hub, numbered(1, 1))
            here.server.hold()
            began = time.monotonic()
            try:
                answers = await producer.send(here.hub, [NewRecord(bytes(1_000_000), b"key-0")])  # stays half sent
            finally:
                here.server.release()
            assert [type(answer) for answer in answers] == [BrokerUnavailableError]
            assert time.monotonic() - began < 15
            assert await producer.send(here.hub, [NewRecord(b"2", b"key-0")]) == [None]

    run(test)
