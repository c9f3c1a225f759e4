"""What is closed for the SDK, and that it is there to be closed: who changes the names that are used here shows up here."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from azure.eventhub.aio import EventHubConsumerClient, EventHubProducerClient
from streamkit_eventhubs import tidy
from streamkit_eventhubs.tidy import tidied

LOCAL = "Endpoint=sb://127.0.0.1:1;SharedAccessKeyName=k;SharedAccessKey=a2V5;UseDevelopmentEmulator=true"


def test_the_installed_sdk_has_the_names_that_are_used_and_its_clients_are_tidied() -> None:
    reader: Any = tidied(EventHubConsumerClient.from_connection_string(LOCAL, "g", eventhub_name="orders"))
    writer: Any = tidied(EventHubProducerClient.from_connection_string(LOCAL, eventhub_name="orders"))
    for one in (reader, writer, *writer._producers.values()):
        assert type(one._amqp_transport) is tidy._Tidy


def test_a_client_of_another_sdk_stays_as_it_is() -> None:
    class Other:
        _amqp_transport = object()

    other: Any = Other()
    assert tidied(other) is other
    assert other._amqp_transport is Other._amqp_transport


class WebSocket:
    """One whose other side does not answer."""

    def __init__(self) -> None:
        self.has_begun = False

    async def close(self) -> None:
        self.has_begun = True
        await asyncio.Event().wait()


class Session:
    def __init__(self, web_socket: WebSocket) -> None:
        self.closed = False
        self._web_socket = web_socket

    async def close(self) -> None:
        assert self._web_socket.has_begun  # else its connection is torn away below it, and says so in the log
        self.closed = True


class Transport:
    def __init__(self) -> None:
        self.sock = WebSocket()
        self.session = Session(self.sock)


class Handler:
    """As far as it is used."""

    def __init__(self, trouble: BaseException | None = None) -> None:
        self.trouble = trouble
        self._connection: Any = self
        self._transport = Transport()

    async def open_async(self, connection: object = None) -> None:
        if self.trouble is not None:
            raise self.trouble

    async def close_async(self) -> None:
        self._connection = None
        if self.trouble is not None:
            raise self.trouble


class Factory:
    """Makes one handler for whatever is asked for."""

    def __init__(self, handler: Handler) -> None:
        self.create_mgmt_client = self.create_receive_client = self.create_send_client = lambda *_, **__: handler


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tidy, "GOODBYE_SECONDS", 0.001)


@pytest.mark.parametrize("trouble", [ConnectionError("no"), asyncio.CancelledError()])
@pytest.mark.parametrize("what", ["open_async", "close_async"])
def test_what_is_not_opened_or_not_closed_to_the_end_is_closed_and_the_reason_stays(what: str, trouble: BaseException) -> None:
    handler = Handler(trouble)
    tidy_one: Any = tidy._Tidy(Factory(handler)).create_mgmt_client()  # type: ignore[attr-defined]

    async def body() -> None:
        with pytest.raises(type(trouble)):
            await getattr(tidy_one, what)()

    asyncio.run(asyncio.wait_for(body(), 1.0))  # however long the other side takes
    assert handler._transport.session.closed


def test_what_could_be_opened_stays_open_until_it_is_closed() -> None:
    handler = Handler()
    tidy_one: Any = tidy._Tidy(Factory(handler)).create_send_client()  # type: ignore[attr-defined]

    async def body() -> None:
        await tidy_one.open_async(connection=None)
        assert not handler._transport.session.closed
        await tidy_one.close_async()

    asyncio.run(asyncio.wait_for(body(), 1.0))  # however long the other side takes
    assert handler._transport.session.closed
