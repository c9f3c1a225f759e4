"""AMQP inside web sockets, as on port 443 of the service: reading, writing and asking, what breaks on the way, and what is said of it."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from streamkit_eventhubs.choice import why_not_fast
from streamkit_eventhubs.producer import EventHubsProducer
from streamkit_sandbox.eventhubs.security import Security
from streamkit_sandbox.eventhubs.server import DEFAULT_KEY, DEFAULT_USER, EventHubsServer

from plugins.eventhubs.tests.live import Live, on
from plugins.sandbox.tests.websocket_relay import PROTOCOL, WebSocketRelay
from streamkit.errors import AccessDeniedError, BrokerUnavailableError, StreamkitError
from streamkit.model import StartPosition
from streamkit.plugin import NewRecord

pytestmark = pytest.mark.integration

OF_AZURE = f"Endpoint=sb://127.0.0.1/;SharedAccessKeyName={DEFAULT_USER};SharedAccessKey={DEFAULT_KEY}"
"""Without a word about an emulator, so the SDK wants TLS."""
SOON = timedelta(seconds=6)


@pytest.fixture(scope="module")
def security() -> Security:
    return Security()


@pytest.fixture
def server() -> Iterator[EventHubsServer]:
    with EventHubsServer({"orders": 2}) as server:
        yield server


@pytest.fixture
def relay(server: EventHubsServer, security: Security) -> Iterator[WebSocketRelay]:
    with WebSocketRelay(("127.0.0.1", server.port), tls=security.server_context, chunk_bytes=1000) as relay:
        yield relay


@pytest.fixture
def fields(relay: WebSocketRelay, security: Security) -> dict[str, Any]:
    """Settings that lead through the relay."""
    trusting = {"connection_string": OF_AZURE, "ca_file": security.ca_file}
    return {"transport": "websocket", "custom_endpoint": relay.endpoint, **trusting}


def test_reading_writing_and_asking_go_over_web_sockets_whatever_way_to_receive_is_set(
    server: EventHubsServer, relay: WebSocketRelay, fields: dict[str, Any]
) -> None:
    async def test(here: Live) -> None:
        partitions = await here.discover()
        here.append([b"%d" % n for n in range(500)])
        producer = EventHubsProducer(here.settings, here.context)
        await producer.open()
        await producer.check("orders")
        assert await producer.send("orders", [NewRecord(b"written", partition="0")]) == [None]
        await producer.close()
        tips = await here.broker.tips(partitions)
        assert [None if tip is None else tip.sequence for tip in tips] == [500, None]
        async with here.worker() as worker:
            for partition in partitions:
                await worker.reader.add(partition, StartPosition.EARLIEST, epoch=7)
            await worker.until(lambda: len(worker.records) == 501 and worker.caught_up == {"0", "1"})
            assert worker.values == [*(b"%d" % n for n in range(500)), b"written"]
            assert worker.failed == []
            assert {reader.epoch for reader in server.readers("orders")} == {7}
        assert here.settings.receive == "fast"
        assert why_not_fast(here.settings) == "STREAMKIT_EVENTHUBS__TRANSPORT=websocket"  # it reads a socket, and here is none

    on(server, "orders", test, **fields)
    assert set(relay.protocols) == {PROTOCOL}
    assert relay.open_count == server.connection_count == 0


def test_without_tls_only_to_the_emulator(server: EventHubsServer) -> None:
    async def test(here: Live) -> None:
        assert len(await here.discover()) == 2

    with WebSocketRelay(("127.0.0.1", server.port)) as relay:
        with pytest.warns(DeprecationWarning, match="ssl=None"):  # how the SDK calls aiohttp then
            on(server, "orders", test, transport="websocket", custom_endpoint=relay.endpoint)
        assert relay.protocols


def test_a_web_socket_that_breaks_is_a_failure_that_may_pass_and_nothing_is_lost(
    server: EventHubsServer, relay: WebSocketRelay, fields: dict[str, Any]
) -> None:
    async def test(here: Live) -> None:
        partition = (await here.discover())[0]
        here.append([b"0", b"1", b"2"])
        async with here.worker() as worker:
            await worker.reader.add(partition, StartPosition.EARLIEST, epoch=1)
            await worker.until(lambda: len(worker.records) == 3)
            relay.drop()
            await worker.until(lambda: worker.failed)
            assert worker.failed[0].error.retryable
            here.append([b"3"])
            await worker.reader.add(partition, StartPosition.after(worker.last_of(partition)), epoch=1)
            await worker.until(lambda: len(worker.records) == 4)
            assert worker.values == [b"0", b"1", b"2", b"3"]

    on(server, "orders", test, **fields)


def test_a_newer_owner_cuts_off_the_older_one(server: EventHubsServer, fields: dict[str, Any]) -> None:
    async def test(here: Live) -> None:
        partition = (await here.discover())[0]
        async with here.worker() as older, here.worker() as newer:
            await older.reader.add(partition, StartPosition.EARLIEST, epoch=1)
            await older.until(lambda: older.caught_up)
            await newer.reader.add(partition, StartPosition.EARLIEST, epoch=2)
            await older.until(lambda: older.lost)
            assert older.lost[0].partitions == (partition,)
            here.append([b"for the newer one"])
            await newer.until(lambda: newer.values == [b"for the newer one"])
            assert older.records == []

    on(server, "orders", test, **fields)


def test_a_gateway_that_says_nothing_is_waited_for_in_bounded_time(
    server: EventHubsServer, relay: WebSocketRelay, fields: dict[str, Any]
) -> None:
    async def test(here: Live) -> None:
        relay.hold()
        with pytest.raises(BrokerUnavailableError):
            await here.discover()
        relay.release()
        assert len(await here.discover()) == 2

    on(server, "orders", test, **fields, request_timeout=SOON)


async def _both_say(here: Live) -> list[StreamkitError]:
    """What reader and writer are told."""
    said: list[StreamkitError] = []
    with pytest.raises(StreamkitError) as caught:
        await here.discover()
    said.append(caught.value)
    producer = EventHubsProducer(here.settings, here.context)
    await producer.open()
    with pytest.raises(StreamkitError) as caught:
        await producer.check("orders")
    said.append(caught.value)
    await producer.close()
    return said


@pytest.mark.parametrize("status", [403, 502])
def test_a_gateway_with_nobody_behind_it_is_no_answer(
    server: EventHubsServer, relay: WebSocketRelay, fields: dict[str, Any], status: int
) -> None:
    async def test(here: Live) -> None:
        relay.refuse_with = status
        for error in await _both_say(here):
            assert isinstance(error, BrokerUnavailableError)
            assert str(status) in str(error)
            assert "STREAMKIT_EVENTHUBS__CUSTOM_ENDPOINT" in error.fix

    on(server, "orders", test, **fields)


def test_an_endpoint_where_nobody_listens_is_no_denial(server: EventHubsServer, fields: dict[str, Any]) -> None:
    async def test(here: Live) -> None:
        for error in await _both_say(here):
            assert isinstance(error, BrokerUnavailableError)
            assert "Cannot connect to host 127.0.0.1" in str(error)
            assert " object at " not in str(error)
            assert "STREAMKIT_EVENTHUBS__CUSTOM_ENDPOINT" in error.fix

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and nobody else can listen there
        on(server, "orders", test, **{**fields, "custom_endpoint": f"127.0.0.1:{taken.getsockname()[1]}"})


@pytest.mark.parametrize("wrong", ["authority", "name", "no TLS"])
def test_a_certificate_that_is_not_trusted_is_denied_and_names_the_setting(
    server: EventHubsServer, relay: WebSocketRelay, fields: dict[str, Any], wrong: str
) -> None:
    async def test(here: Live) -> None:
        for error in await _both_say(here):
            assert isinstance(error, AccessDeniedError)
            assert not error.retryable
            assert "STREAMKIT_EVENTHUBS__CA_FILE" in error.fix

    with WebSocketRelay(("127.0.0.1", server.port)) as plain:
        changed: dict[str, dict[str, Any]] = {
            "authority": {"ca_file": None},
            "name": {"custom_endpoint": f"localhost:{relay.port}"},
            "no TLS": {"custom_endpoint": plain.endpoint},
        }
        on(server, "orders", test, **{**fields, **changed[wrong]})
        assert plain.protocols == relay.protocols == []
