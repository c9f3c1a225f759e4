"""Closes what the SDK leaves open when a connection is not opened, or not closed, to the end: a socket, or aiohttp's session.

The SDK forgets such a connection. During an outage that is one for each attempt, and aiohttp says of each in the log that it was never
closed. `client.py` calls this for each client that it makes. The names that are used here are not public in the SDK: if
they are not as known, clients stay as they are, and leave behind what they leave.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, TypeVar

from azure.eventhub.aio import EventHubConsumerClient, EventHubProducerClient

__all__ = ["tidied"]

GOODBYE_SECONDS = 0.1
_MAKERS = ("create_mgmt_client", "create_receive_client", "create_send_client")

ClientT = TypeVar("ClientT", EventHubConsumerClient, EventHubProducerClient)


def tidied(client: ClientT) -> ClientT:
    """The same client. Each connection that it makes from now on is closed if it cannot be opened, and when it is given up."""
    inner: Any = client
    transport = getattr(inner, "_amqp_transport", None)
    if transport is not None and all(callable(getattr(transport, name, None)) for name in _MAKERS):
        tidy = _Tidy(transport)
        # A producer has its first sender from the beginning.
        for one in (inner, *filter(None, getattr(inner, "_producers", {}).values())):
            one._amqp_transport = tidy
    return client


class _Tidy:
    """The SDK's factory of connections, and those that it makes."""

    def __init__(self, transport: Any) -> None:
        self._transport = transport
        for name in _MAKERS:
            setattr(self, name, _making(getattr(transport, name)))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


def _making(make: Callable[..., Any]) -> Callable[..., Any]:
    def made(*arguments: Any, **options: Any) -> Any:
        handler = make(*arguments, **options)
        handler.open_async = _opening(handler, handler.open_async)
        handler.close_async = _closing(handler, handler.close_async)
        return handler

    return made


def _opening(handler: Any, open_async: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
    async def open_or_close(*arguments: Any, **options: Any) -> None:
        try:
            await open_async(*arguments, **options)
        except BaseException:  # cancelled, too: that is how an attempt ends that nobody answers
            await _close(_transport_of(handler))
            raise

    return open_or_close


def _closing(handler: Any, close_async: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
    async def close_whatever_comes(*arguments: Any, **options: Any) -> None:
        transport = _transport_of(handler)  # afterwards the handler does not know it any more
        try:
            await close_async(*arguments, **options)
        finally:
            await _close(transport)

    return close_whatever_comes


def _transport_of(handler: Any) -> Any:
    return getattr(getattr(handler, "_connection", None), "_transport", None)


async def _close(transport: Any) -> None:
    """The other side is told, and not waited for. A second time does nothing."""
    if (writer := getattr(transport, "writer", None)) is not None:
        writer.transport.abort()
    session, web_socket = getattr(transport, "session", None), getattr(transport, "sock", None)
    if session is None or session.closed:
        return
    with suppress(Exception):  # what had gone wrong before is what is to be said
        if web_socket is not None:
            async with asyncio.timeout(GOODBYE_SECONDS):
                await web_socket.close()
    with suppress(Exception):
        await session.close()
