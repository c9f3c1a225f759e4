"""The fast link on the emulator: it brings what the SDK brings, holds no more than it may, and says how it ended."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
from azure.eventhub import EventData
from azure.eventhub.aio import EventHubConsumerClient, EventHubProducerClient
from azure.eventhub.amqp import AmqpAnnotatedMessage
from streamkit_eventhubs import fast_link, sdk_shape
from streamkit_eventhubs.choice import new_link, why_not_fast
from streamkit_eventhubs.errors import condition_of
from streamkit_eventhubs.fast_link import FastLink
from streamkit_eventhubs.link import PartitionLink, PublicLink
from streamkit_eventhubs.record import batch_of
from streamkit_eventhubs.settings import EventHubsSettings

from streamkit.model import Partition, Record, StartPosition

pytestmark = pytest.mark.integration

MIB = 1 << 20
PATIENCE_SECONDS = 60.0
IDLE_SECONDS = 5.0
"""After this the emulator closes a connection on which nothing came; a heartbeat comes after a quarter of it."""
Kind = Callable[[EventHubConsumerClient, str, int], PartitionLink]


class Here:
    """A hub on the emulator."""

    def __init__(self, server: Any, hub: str) -> None:
        self.server = server
        self.hub = hub
        self.partition = Partition(hub, "0")

    @asynccontextmanager
    async def link(self, kind: Kind = FastLink, *, prefetch: int = 1000, epoch: int = 1) -> AsyncIterator[Any]:
        client = EventHubConsumerClient.from_connection_string(self.server.connection_string(self.hub), "$Default", retry_total=0)
        link = kind(client, "0", prefetch)
        try:
            await link.open(StartPosition.EARLIEST, epoch)
            yield link
        finally:
            await link.close()

    async def records(
        self, link: PartitionLink, count: int, max_events: int = 5000, max_bytes: int = 64 * MIB, found: list[Record] | None = None
    ) -> list[Record]:
        """Until so many have been found."""
        found = [] if found is None else found
        async with asyncio.timeout(PATIENCE_SECONDS):
            while len(found) < count:
                received = await link.receive(max_events, max_bytes)
                if received is not None:
                    found += batch_of(self.partition, received, time.time())
        return found


@pytest.fixture
def run(eventhubs_server: Any, event_hub: str) -> Callable[[Callable[[Here], Awaitable[None]]], None]:
    def work(test: Callable[[Here], Awaitable[None]]) -> None:
        async def body() -> None:
            await test(Here(eventhubs_server, event_hub))
            assert [task for task in asyncio.all_tasks() if task is not asyncio.current_task()] == []

        asyncio.run(body())

    return work


def _everything() -> list[EventData | AmqpAnnotatedMessage]:
    """One event of each kind that there is."""
    full = EventData(b"body")
    full.properties = {"text": "é", "number": 7, "yes": True, "ratio": 0.25, "none": None, b"raw": b"\xff\x00"}
    full.message_id, full.content_type, full.correlation_id = "m-1", "text/plain", "c-1"
    return [
        full,
        EventData(b""),
        EventData([b"two ", b"parts"]),
        EventData("x" * 700_000),
        AmqpAnnotatedMessage(value_body={"a": [1, None, "b"]}),
        AmqpAnnotatedMessage(value_body="text"),
        AmqpAnnotatedMessage(sequence_body=[1, "a", [2.5]]),
        AmqpAnnotatedMessage(data_body=b"annotated", annotations={"x-opt-mine": "yes"}, application_properties={"a": "b"}),
    ]


def _seen(records: Sequence[Record]) -> list[tuple[object, ...]]:
    return [(r.id, r.position.token, r.key, r.value, list(r.headers), r.timestamp) for r in records]


def test_both_links_bring_the_same_records_of_every_kind_of_event(run: Callable[..., None]) -> None:
    async def test(here: Here) -> None:
        async with EventHubProducerClient.from_connection_string(here.server.connection_string(here.hub)) as producer:
            for event in _everything():
                await producer.send_batch([event], partition_id="0")
            await producer.send_batch([EventData(b"%d" % n) for n in range(50)], partition_id="0")
        expected = len(_everything()) + 50
        async with here.link() as fast:
            ours = _seen(await here.records(fast, expected))
        async with here.link(PublicLink) as slow:
            theirs = _seen(await here.records(slow, expected))
        assert ours == theirs
        assert [row[3] for row in ours[:7]] == [
            b"body",
            b"",
            b"two parts",
            b"x" * 700_000,
            b'{"a":[1,null,"b"]}',
            b"text",
            b'[1,"a",[2.5]]',
        ]

    run(test)


def test_more_than_a_window_of_events_comes_through_and_nothing_of_it_is_kept(run: Callable[..., None]) -> None:
    async def test(here: Here) -> None:
        count = 70_000  # the session's window is 65,536
        here.server.append(here.hub, (b"%d" % n for n in range(count)), "0")
        async with here.link() as link:
            assert [r.value for r in await here.records(link, count)] == [b"%d" % n for n in range(count)]
            assert not link._link._received_delivery_tags
            assert link._session.next_incoming_id >= count
            assert link._frames.bytes == 0

    run(test)


def test_who_does_not_receive_gets_no_more_than_the_prefetch(run: Callable[..., None]) -> None:
    async def test(here: Here) -> None:
        here.server.append(here.hub, (b"%d" % n for n in range(5000)), "0")
        async with here.link(prefetch=100) as link:
            first = await here.records(link, 1, max_events=1)
            async with asyncio.timeout(PATIENCE_SECONDS):
                while link._link.current_link_credit:
                    await asyncio.sleep(0.01)
            assert len(link._frames.messages) <= 100
            rest = await here.records(link, 4999, max_events=7)
            assert [r.value for r in first + rest] == [b"%d" % n for n in range(5000)]

    run(test)


def test_large_events_are_held_to_the_bytes_that_there_is_room_for(run: Callable[..., None]) -> None:
    async def test(here: Here) -> None:
        size, count, room = 100_000, 200, 500_000
        here.server.append(here.hub, (b"%06d" % n + bytes(size) for n in range(count)), "0")
        async with here.link() as link:
            found: list[Record] = []
            most = 0
            async with asyncio.timeout(PATIENCE_SECONDS):
                while len(found) < count:
                    received = await link.receive(5000, room)
                    await asyncio.sleep(0.002)  # the connection brings what it may meanwhile
                    most = max(most, link._frames.bytes)
                    if received is not None:
                        assert received.bytes <= room
                        found += batch_of(here.partition, received, 0.0)
            assert [(r.value or b"")[:6] for r in found] == [b"%06d" % n for n in range(count)]
            assert most <= room + (256 << 10) + size, "what was there, and a piece that was just being read"

    run(test)


def test_an_event_larger_than_the_room_is_admitted(run: Callable[..., None]) -> None:
    async def test(here: Here) -> None:
        here.server.append(here.hub, [bytes(600_000), b"small"], "0")
        async with here.link() as link:
            assert [len(r.value or b"") for r in await here.records(link, 2, max_bytes=1000)] == [600_000, 5]

    run(test)


def test_a_receive_that_is_cancelled_loses_nothing(run: Callable[..., None]) -> None:
    async def test(here: Here) -> None:
        async with here.link() as link:
            found: list[Record] = []
            for number in range(40):
                waiting = asyncio.create_task(link.receive(100, MIB))
                await asyncio.sleep(0)
                here.server.append(here.hub, [b"%d" % number], "0")
                if number % 3:
                    await asyncio.sleep(0.002 * (number % 5))
                if waiting.cancel():
                    await asyncio.wait([waiting])
                if not waiting.cancelled() and (received := waiting.result()) is not None:
                    found += batch_of(here.partition, received, 0.0)
            found += await here.records(link, 40 - len(found))
            assert [r.value for r in found] == [b"%d" % n for n in range(40)]

    run(test)


def test_a_receive_that_is_cancelled_while_it_gives_credit_loses_nothing(run: Callable[..., None]) -> None:
    async def test(here: Here) -> None:
        here.server.append(here.hub, (b"%d" % n for n in range(9)), "0")
        async with here.link(prefetch=2) as link:
            found = await here.records(link, 1)
            flow, asked = link._link.flow, asyncio.Event()

            async def stuck(**fields: Any) -> None:
                asked.set()
                await asyncio.Event().wait()

            link._link.flow = stuck
            receiving = asyncio.create_task(here.records(link, 9, max_events=1, found=found))
            async with asyncio.timeout(PATIENCE_SECONDS):
                await asked.wait()
            receiving.cancel()
            await asyncio.wait([receiving])
            link._link.flow = flow
            await here.records(link, 9, found=found)
            assert [r.value for r in found] == [b"%d" % n for n in range(9)]

    run(test)


def test_what_came_before_a_detach_is_received_and_then_it_is_said(run: Callable[..., None]) -> None:
    async def test(here: Here) -> None:
        here.server.append(here.hub, (b"%d" % n for n in range(50)), "0")
        async with here.link() as link:
            found = await here.records(link, 1, max_events=1)
            async with asyncio.timeout(PATIENCE_SECONDS):
                while len(link._frames.messages) < 49:
                    await asyncio.sleep(0.01)
                assert here.server.detach(here.hub, "0") == 1
                while link._error is None:
                    await asyncio.sleep(0.01)
            found += await here.records(link, 49, max_events=10)
            with pytest.raises(Exception, match="detach-forced") as caught:
                await link.receive(10, MIB)
            assert len(found) == 50
            assert condition_of(caught.value) == "link:detach-forced"

    run(test)


def test_a_stolen_link_is_said_at_once_whatever_has_come_before(run: Callable[..., None]) -> None:
    async def test(here: Here) -> None:
        here.server.append(here.hub, (b"%d" % n for n in range(50)), "0")
        async with here.link(epoch=1) as loser:
            await here.records(loser, 1, max_events=1)
            async with here.link(epoch=2) as winner:
                assert len(await here.records(winner, 50)) == 50
                async with asyncio.timeout(PATIENCE_SECONDS):
                    while loser._error is None:
                        await asyncio.sleep(0.01)
                assert loser._frames.messages, "they are the winner's now"
                with pytest.raises(Exception, match="stolen") as caught:
                    await loser.receive(50, MIB)
                assert condition_of(caught.value) == "link:stolen"

    run(test)


def test_what_ends_a_link_is_known_while_nothing_is_received(run: Callable[..., None]) -> None:
    async def test(here: Here) -> None:
        here.server.append(here.hub, [bytes(1000)] * 5, "0")
        async with here.link(prefetch=100) as link:
            await here.records(link, 5)
            assert await link.receive(100, MIB) is None  # credit for a hundred more
            here.server.append(here.hub, [bytes(1000)] * 5, "0")
            await here.records(link, 1, max_events=1, max_bytes=1)  # from here on there is no room, and what is on its way comes
            here.server.append(here.hub, [bytes(1000)] * 5, "0")
            async with asyncio.timeout(PATIENCE_SECONDS):
                while len(link._frames.messages) < 9:
                    await asyncio.sleep(0.01)
                here.server.detach(here.hub, "0", "amqp:link:stolen")
                while link.error is None:
                    await asyncio.sleep(0.01)
            assert condition_of(link.error) == "link:stolen"

    run(test)


def test_a_link_that_is_refused_says_so_and_can_be_closed(run: Callable[..., None]) -> None:
    async def test(here: Here) -> None:
        async with here.link(epoch=5):
            with pytest.raises(Exception, match="stolen") as caught:
                async with here.link(epoch=4):
                    pass
            assert condition_of(caught.value) == "link:stolen"
        async with asyncio.timeout(PATIENCE_SECONDS):
            while here.server.connection_count:
                await asyncio.sleep(0.01)

    run(test)


def test_an_opening_that_is_given_up_leaves_no_connection(run: Callable[..., None]) -> None:
    async def test(here: Here) -> None:
        here.server.hold()
        try:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.5), here.link():
                    pass
        finally:
            here.server.release()
        gc.collect()  # a socket that nobody has closed would be a warning now
        async with here.link():
            pass

    run(test)


def test_a_connection_that_is_gone_is_said_and_closing_is_quick(run: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fast_link, "CLOSE_SECONDS", 120.0)  # half of it, if anybody waits for an answer of who is gone

    async def test(here: Here) -> None:
        here.server.append(here.hub, [b"x"], "0")
        async with here.link() as link:
            await here.records(link, 1)
            here.server.drop_connections()
            with pytest.raises(OSError, match=r"reset|closed the connection"):
                await here.records(link, 1)
            began = time.monotonic()
        assert time.monotonic() - began < 20
        del link
        gc.collect()  # a socket that nobody has closed would be a warning now

    run(test)


def test_a_new_token_is_put_while_events_come(run: Callable[..., None]) -> None:
    async def test(here: Here) -> None:
        async with here.link() as link:
            handler = link._consumer._handler
            tokens = handler._cbs_authenticator
            tokens._expires_on, tokens._refresh_window = int(time.time()) + 50, 100
            await link._attend_once(handler)
            assert tokens.auth_state.name == "IN_PROGRESS"
            here.server.append(here.hub, (b"%d" % n for n in range(3000)), "0")
            assert len(await here.records(link, 3000)) == 3000
            await link._attend_once(handler)
            assert tokens.auth_state.name == "OK"
            assert tokens._expires_on > time.time() + 1000

    run(test)


def test_a_silent_connection_is_kept_alive() -> None:
    from streamkit_sandbox.eventhubs.server import EventHubsServer

    async def test() -> None:
        here = Here(server, "quiet")
        async with here.link() as link:
            until = time.monotonic() + 2 * IDLE_SECONDS
            while time.monotonic() < until:
                assert await link.receive(10, MIB) is None
            server.append("quiet", [b"x"], "0")
            assert len(await here.records(link, 1)) == 1

    with EventHubsServer({"quiet": 1}, idle_seconds=IDLE_SECONDS) as server:
        asyncio.run(test())


def test_over_tls(tmp_path: Any) -> None:
    from streamkit_sandbox.eventhubs.server import EventHubsServer

    async def test() -> None:
        client = EventHubConsumerClient.from_connection_string(
            server.connection_string("orders").replace("UseDevelopmentEmulator=true;", ""),
            "$Default",
            custom_endpoint_address=f"sb://127.0.0.1:{server.port}",
            transport_type=_amqp(),
            connection_verify=str(server.ca_file),
        )
        link = FastLink(client, "0", 1000)
        await link.open(StartPosition.EARLIEST, 1)
        found = await Here(server, "orders").records(link, 20_000)
        assert [r.value for r in found] == [b"%d" % n for n in range(20_000)]
        await link.close()

    with EventHubsServer({"orders": 1}, tls=True) as server:
        server.append("orders", (b"%d" % n for n in range(20_000)), "0")
        asyncio.run(test())


def _amqp() -> Any:
    from azure.eventhub import TransportType

    return TransportType.Amqp


def test_the_fast_way_is_taken_only_with_an_sdk_that_is_known(run: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    settings = EventHubsSettings(connection_string="Endpoint=sb://h/;SharedAccessKeyName=n;SharedAccessKey=k")
    assert why_not_fast(settings) == "", "if this SDK is fit: add what is named here to sdk_shape.KNOWN, once all tests of this file pass"
    assert why_not_fast(settings.model_copy(update={"receive": "sdk"})) == "STREAMKIT_EVENTHUBS__RECEIVE=sdk"
    assert why_not_fast(settings.model_copy(update={"transport": "websocket"})) == "STREAMKIT_EVENTHUBS__TRANSPORT=websocket"

    async def test(here: Here) -> None:
        def link(fields: dict[str, Any]) -> PartitionLink:
            client = EventHubConsumerClient.from_connection_string(here.server.connection_string(here.hub), "$Default")
            return new_link(settings.model_copy(update=fields), client, "0")

        links = [link({}), link({"receive": "sdk"})]
        with monkeypatch.context() as patch:
            patch.setattr(sdk_shape, "KNOWN", dict.fromkeys(sdk_shape.KNOWN, frozenset({"another"})))
            sdk_shape.difference.cache_clear()
            links.append(link({}))
        sdk_shape.difference.cache_clear()
        assert [type(one) for one in links] == [FastLink, PublicLink, PublicLink]
        for one in links:
            await one.close()

    run(test)
    for known, found in (
        ({"streamkit:nothing": frozenset()}, "not to be found"),
        ({"streamkit_eventhubs.frames:Frames.feed": frozenset({"x"})}, "not as known"),
    ):
        assert found in sdk_shape._difference(known, sdk_shape._source)
