"""AMQP over web sockets in front of the emulator: what Azure's service does on port 443, for tests.

It answers on the path and with the sub-protocol that the SDKs ask for, and hands bytes on, in both directions, as they come: where a web
socket message ends says nothing of AMQP. It has a thread of its own. Not a part of the emulator: the SDK cannot tell them apart.
"""

from __future__ import annotations

import asyncio
import ssl
import threading
from types import TracebackType
from typing import Self

from aiohttp import WSMsgType, web

__all__ = ["PATH", "PROTOCOL", "WebSocketRelay"]

PATH = "/$servicebus/websocket"
PROTOCOL = "AMQPWSB10"
_SECONDS = 60.0


class WebSocketRelay:
    """Started by `with`, on a free port of 127.0.0.1. `tls` None: without TLS. `chunk_bytes`: the most that one message holds."""

    def __init__(self, target: tuple[str, int], *, tls: ssl.SSLContext | None = None, chunk_bytes: int = 1 << 16) -> None:
        self.protocols: list[str | None] = []
        """What was agreed upon with each client that came in."""
        self.refuse_with = 0
        """An HTTP status for those who come from now on, as of a gateway that has nobody behind it; 0: they are let in."""
        self._target = target
        self._tls = tls
        self._chunk_bytes = chunk_bytes
        self._sockets: set[web.WebSocketResponse] = set()
        self._flowing = asyncio.Event()
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._serve(),), name="web sockets", daemon=True)
        self.port = 0

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(_SECONDS), "the relay did not start"
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(_SECONDS)
        self._loop.close()

    @property
    def endpoint(self) -> str:
        """For `STREAMKIT_EVENTHUBS__CUSTOM_ENDPOINT`."""
        return f"127.0.0.1:{self.port}"

    @property
    def open_count(self) -> int:
        """How many web sockets there are now."""
        return len(self._sockets)

    def hold(self) -> None:
        """Nothing goes on in either direction, and nothing is closed; `release` ends it."""
        self._loop.call_soon_threadsafe(self._flowing.clear)

    def release(self) -> None:
        """Goes on after `hold`."""
        self._loop.call_soon_threadsafe(self._flowing.set)

    def drop(self) -> None:
        """Resets every connection."""
        self._loop.call_soon_threadsafe(self._reset)

    def _reset(self) -> None:
        for one in tuple(self._sockets):
            transport = one._req.transport if one._req is not None else None
            if transport is not None:
                transport.abort()

    async def _serve(self) -> None:
        self._flowing.set()
        application = web.Application()
        application.router.add_get(PATH, self._relay)
        runner = web.AppRunner(application, shutdown_timeout=0.5)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=self._tls)
        await site.start()
        self.port = runner.addresses[0][1]
        self._ready.set()
        await self._stop.wait()
        self._flowing.set()
        self._reset()
        await runner.cleanup()

    async def _relay(self, request: web.Request) -> web.StreamResponse:
        if self.refuse_with:
            return web.Response(status=self.refuse_with)
        near = web.WebSocketResponse(protocols=[PROTOCOL], max_msg_size=0)
        await near.prepare(request)
        self.protocols.append(near.ws_protocol)
        reader, writer = await asyncio.open_connection(*self._target)
        self._sockets.add(near)
        there = asyncio.create_task(self._outwards(near, writer))
        back = asyncio.create_task(self._inwards(reader, near))
        try:
            await asyncio.wait([there, back], return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._sockets.discard(near)
            for task in (there, back):
                task.cancel()
            await asyncio.gather(there, back, return_exceptions=True)
            writer.close()
            await near.close()
        return near

    async def _outwards(self, near: web.WebSocketResponse, writer: asyncio.StreamWriter) -> None:
        async for message in near:
            if message.type is not WSMsgType.BINARY:
                raise ValueError(f"a message of type {message.type} is no AMQP")
            await self._flowing.wait()
            writer.write(message.data)
            await writer.drain()

    async def _inwards(self, reader: asyncio.StreamReader, near: web.WebSocketResponse) -> None:
        while chunk := await reader.read(self._chunk_bytes):
            await self._flowing.wait()
            await near.send_bytes(chunk)
