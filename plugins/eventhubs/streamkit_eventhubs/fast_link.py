"""A link that reads the connection itself, and keeps messages as the bytes that they are. About a tenth of the SDK's work for an event.

The SDK connects, logs in, attaches and detaches, gives credit and renews tokens. In between it would read each frame in two timed
reads, each a task of its own, take it apart whole, and sleep 50 ms a turn; here whatever has come is cut into messages at once. All
that is no transfer of ours goes to the SDK as before. Its inner parts are used only if they are as known: see `sdk_shape.py`.

Two tasks: one reads, one keeps the connection alive. `receive` gives credit; who does not call it gets no more than it has asked for.
"""

from __future__ import annotations

import asyncio
import math
import socket
import struct
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import Any, cast

from azure.eventhub.aio import EventHubConsumerClient

from streamkit.model import StartPosition
from streamkit_eventhubs.encoded import ENCODED
from streamkit_eventhubs.errors import condition_of
from streamkit_eventhubs.frames import BadFrame, Frame, Frames
from streamkit_eventhubs.link import CLOSE_SECONDS, WAIT_SECONDS, PartitionLink, Received, owner_level
from streamkit_eventhubs.starts import for_sdk

__all__ = ["FastLink"]

_CHUNK_BYTES = 256 << 10
_MAX_FRAME_BYTES = 1 << 20
"""What the SDK says in `open`."""
_FIRST_MEAN_BYTES = 1 << 20
"""How large a message is taken to be before one has come. Too little here, and more is on its way than there is room for."""
_ATTEND_SECONDS = 5.0
_SILENT_SECONDS = 30
_SERIAL = 0xFFFFFFFF
"""Ids and counts on the wire have 32 bits, and begin again at 0."""


class FastLink(PartitionLink):
    """Messages are `bytes`. Private names of the SDK are used in `open`, `_count`, `_other`, `_attend` and `close` only."""

    def __init__(self, client: EventHubConsumerClient, partition_id: str, prefetch: int) -> None:
        """The client is this link's alone, and is closed with it."""
        self._client = client
        self._partition_id = partition_id
        self._prefetch = prefetch
        self._max_bytes = 0
        self._granted_bytes = 0
        """The room for which credit was given last: so much is read whether it is received or not, and a detach behind it with it."""
        self._mean_bytes: float | None = None
        self._consumer: Any = None
        self._connection: Any = None
        self._session: Any = None
        self._link: Any = None
        self._frames = Frames(0, 0, max_frame_bytes=_MAX_FRAME_BYTES)
        self._room = asyncio.Event()
        """There is; else the connection is not read, and the service cannot send. For messages that are larger than those before."""
        self._waiting: asyncio.Future[None] | None = None
        self._error: Exception | None = None
        self._tasks: list[asyncio.Task[None]] = []

    async def open(self, start: StartPosition, epoch: int) -> None:
        position, is_inclusive = for_sdk(start)
        client: Any = self._client
        self._consumer = consumer = client._create_consumer(
            client._consumer_group,
            self._partition_id,
            position,
            None,  # whom it would call: nobody
            event_position_inclusive=is_inclusive,
            owner_level=owner_level(epoch),
            prefetch=self._prefetch,
            track_last_enqueued_event_properties=True,
        )
        consumer._keep_alive = None  # it would read the connection beside us
        await consumer._open()
        handler = consumer._handler
        self._connection, self._session, self._link = handler._connection, handler._session, handler._link
        channel = next(number for number, session in self._connection._incoming_endpoints.items() if session is self._session)
        self._frames = Frames(channel, self._link.remote_handle, max_frame_bytes=_MAX_FRAME_BYTES)
        transport = self._connection._transport
        _watch(transport.writer.get_extra_info("socket"))
        begun = transport._read_buffer.read()  # what an interrupted read of the SDK has left
        self._room.set()
        self._tasks = [
            asyncio.create_task(self._run(partial(self._read, transport.reader, begun)), name=f"reading {self._partition_id}"),
            asyncio.create_task(self._run(partial(self._attend, handler)), name=f"attending {self._partition_id}"),
        ]

    async def receive(self, max_events: int, max_bytes: int) -> Received | None:
        frames = self._frames
        self._max_bytes = max_bytes
        if self._error is None:
            await self._ask()
            await self._wait()
        # Nothing is waited for from here on: what has been taken out would be lost with a cancellation.
        if self._error is not None and (not frames.messages or condition_of(self._error) == "link:stolen"):
            raise self._error  # a stolen link has nothing more to say: what has come is the other one's by now
        return self._take(max_events, max_bytes) if frames.messages else None

    def _take(self, max_events: int, max_bytes: int) -> Received:
        frames = self._frames
        messages, size = frames.messages, sum(map(len, frames.messages))
        if len(messages) > max_events or size > max_bytes:
            count = size = 0
            for message in messages[:max_events]:
                if count and size + len(message) > max_bytes:
                    break
                count, size = count + 1, size + len(message)
            frames.messages, messages = messages[count:], messages[:count]
        else:
            frames.messages = []
        frames.bytes -= size
        if self._has_room or not frames.messages:
            self._room.set()
        mean, before = size / len(messages), self._mean_bytes
        self._mean_bytes = mean if before is None or mean > before else (3 * before + mean) / 4
        said = ENCODED.delivery(messages[-1])
        tip, written = said.get(b"last_enqueued_sequence_number"), said.get(b"last_enqueued_time_utc")
        is_known = isinstance(tip, int)
        return Received(
            messages, size, cast("int", tip) if is_known else None, written / 1000 if is_known and isinstance(written, int) else None
        )

    @property
    def _has_room(self) -> bool:
        return self._frames.bytes < max(self._max_bytes, self._granted_bytes)

    async def _ask(self) -> None:
        """Gives credit for as much as there is room for, once half of it is used up."""
        frames, credit = self._frames, int(self._link.current_link_credit)
        if credit > self._prefetch // 2:
            return
        room = min(self._prefetch - len(frames.messages), int((self._max_bytes - frames.bytes) / (self._mean_bytes or _FIRST_MEAN_BYTES)))
        if room <= 0 and not frames.messages:
            room = 1  # one event is always admitted, however large
        if room > credit:
            self._granted_bytes = self._max_bytes
            try:
                await self._link.flow(link_credit=room)
            except Exception as error:  # said when everything that has come has been received
                self._fail(error)

    async def _wait(self) -> None:
        """Until something has come or the link is dead, for about a second at most."""
        if self._frames.messages or self._error is not None:
            return
        loop = asyncio.get_running_loop()
        self._waiting = waiting = loop.create_future()
        timer = loop.call_later(WAIT_SECONDS, self._wake)
        try:
            await waiting
        finally:
            timer.cancel()
            self._waiting = None

    def _wake(self) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)

    async def _run(self, work: Callable[[], Awaitable[None]]) -> None:
        """Whatever ends one of the tasks ends the link."""
        try:
            await work()
        except (BadFrame, IndexError, KeyError, TypeError, struct.error) as error:
            self._fail(ConnectionAbortedError(f"the connection was given up: the service has sent what is no AMQP ({error})"))
        except Exception as error:
            self._fail(error)

    def _fail(self, error: Exception) -> None:
        self._error = self._error or error
        self._wake()

    async def _read(self, reader: asyncio.StreamReader, begun: bytes) -> None:
        chunk = begun
        while True:
            others = self._frames.feed(chunk)
            await self._count()
            while others:
                for frame in others:
                    await self._other(frame)
                others = self._frames.feed(b"")
                await self._count()
            if self._frames.messages:
                self._wake()
                if not self._has_room:
                    self._room.clear()
            await self._room.wait()
            chunk = await reader.read(_CHUNK_BYTES)
            if not chunk:
                raise ConnectionResetError("the service has closed the connection")

    async def _count(self) -> None:
        """Says to the SDK's session and link what has come past them, so that what they tell the service is true."""
        frames, session, link = self._frames, self._session, self._link
        transfers, deliveries = frames.transfers, frames.deliveries
        frames.transfers = frames.deliveries = 0
        self._connection._last_frame_received_time = time.time()
        if not transfers:
            return
        session.next_incoming_id = (session.next_incoming_id + transfers) & _SERIAL
        session.remote_outgoing_window -= transfers
        session.incoming_window -= transfers
        link.delivery_count = (link.delivery_count + deliveries) & _SERIAL
        link.current_link_credit -= deliveries
        if session.incoming_window <= session.target_incoming_window // 2:
            session.incoming_window = session.target_incoming_window
            await session._outgoing_flow()

    async def _other(self, frame: Frame) -> None:
        """What is no transfer of ours, as the SDK would deal with it: answers to tokens, detaches, the end of the connection."""
        from azure.eventhub._pyamqp._decode import decode_frame  # not before it is known to be as expected

        if not frame.body:
            return
        await self._connection._process_incoming_frame(frame.channel, decode_frame(frame.body))
        self._check()

    def _check(self) -> None:
        """Raises the error of the link or the connection, if one of them is over."""
        state = self._link.get_state()  # raises it
        if self._connection._error is not None:
            raise self._connection._error
        if state.name != "ATTACHED" or self._session.state.name != "MAPPED" or self._connection.state.name == "END":
            raise ConnectionResetError("the service has ended the link")

    async def _attend(self, handler: Any) -> None:
        """Keeps the connection alive, for as long as there is one."""
        patience = self._connection._remote_idle_timeout or math.inf
        while True:
            await asyncio.sleep(min(_ATTEND_SECONDS, patience / 4))
            await self._attend_once(handler)

    async def _attend_once(self, handler: Any) -> None:
        """A heartbeat, and a new token, if they are due. No token while there is no room: the answer to it would not be read."""
        await self._connection._get_remote_timeout(time.time())
        if handler._cbs_authenticator is not None and self._room.is_set():
            await handler._cbs_authenticator.handle_token()
        self._check()

    async def close(self) -> None:
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=CLOSE_SECONDS / 4)
        consumer, self._consumer = self._consumer, None
        if consumer is None:
            return
        connection = None if consumer._handler is None else consumer._handler._connection
        with suppress(Exception):  # whatever is wrong with it: it is over
            async with asyncio.timeout(CLOSE_SECONDS / 2):
                await consumer.close()
        if connection is not None and (writer := connection._transport.writer) is not None:
            writer.transport.abort()
        await self._client.close()


def _watch(found: socket.socket) -> None:
    """A peer that is gone without a word is noticed within about two minutes, as far as the system can be told so."""
    for name, value in (("TCP_KEEPIDLE", _SILENT_SECONDS), ("TCP_KEEPINTVL", _SILENT_SECONDS), ("TCP_KEEPCNT", 3)):
        if (option := getattr(socket, name, None)) is not None:
            found.setsockopt(socket.IPPROTO_TCP, option, value)
