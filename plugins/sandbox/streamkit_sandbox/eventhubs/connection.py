"""A connection: protocol headers, login, sessions, heartbeats and its end. What is wrong with it ends it and hurts no other.

An asyncio protocol, so that what came is handled at once, without a task for each connection.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from uuid import uuid4

from streamkit_sandbox.eventhubs.amqp_types import DecodeError
from streamkit_sandbox.eventhubs.cbs import UNAUTHORIZED, Claims
from streamkit_sandbox.eventhubs.frames import (
    AMQP,
    AMQP_HEADER,
    EMPTY,
    MIN_MAX_FRAME,
    SASL,
    SASL_HEADER,
    FrameSplitter,
    FramingError,
    frame,
)
from streamkit_sandbox.eventhubs.performatives import (
    Begin,
    Close,
    Composite,
    End,
    Error,
    Open,
    Performative,
    SaslInit,
    SaslMechanisms,
    SaslOutcome,
    decode_performative,
)
from streamkit_sandbox.eventhubs.refused import Refused
from streamkit_sandbox.eventhubs.service import Cancellable, Service
from streamkit_sandbox.eventhubs.session import Session, SessionEnded

__all__ = ["CHANNEL_MAX", "MAX_FRAME", "Connection"]

MAX_FRAME = 65_536
CHANNEL_MAX = 4999
"""Both are the service's figures."""
_MAX_OUT = 1_048_576
_MECHANISMS = ("ANONYMOUS", "PLAIN", "MSSBCBS", "EXTERNAL")
_OUTPUT_BYTES = 1_048_576  # that may wait for a client that does not read, before events stop
_MAX_OUTPUT_BYTES = 16 * _OUTPUT_BYTES
_MAX_PARTIAL_BYTES = 64 * 1_048_576
_CLOSE_SECONDS = 5.0
_SHORTEST_HEARTBEAT = 0.05  # seconds, whatever a client asks for
_GRACE = 1.25  # of the idle time-out that clients were told


class Connection(asyncio.Protocol):
    """One client's connection."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.sessions: dict[int, Session] = {}
        self.claims = Claims(service.access, lambda: service.clock_ms() / 1000, self._watch_tokens)
        self.max_frame_out = MIN_MAX_FRAME
        self.container_id = ""
        self._partial_bytes = 0
        self._transport: asyncio.Transport | None = None
        self._splitter = FrameSplitter(MIN_MAX_FRAME)
        self._expected: bytes | None = SASL_HEADER  # None: frames are expected
        self._logged_in = self._opened = self._closing = False
        self._is_paused = False
        self._is_cutting = False
        self._late: deque[tuple[float, bytes]] = deque()  # what goes out later, and when
        self._late_bytes = 0
        self._timers: dict[str, Cancellable] = {}  # by what they are for; one of each
        self._last_heard = service.timers.time()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client is there."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.set_write_buffer_limits(high=_OUTPUT_BYTES)
        self.service.connections.add(self)
        if self.service.faults.is_holding:
            transport.pause_reading()
        self._later("silence", self.service.idle_seconds * _GRACE, self._look_for_silence)

    def connection_lost(self, exc: Exception | None) -> None:
        """It is gone, whoever ended it."""
        self._closing = True
        self._transport = None
        self.service.connections.discard(self)
        for timer in self._timers.values():
            timer.cancel()
        sessions, self.sessions = self.sessions, {}
        for session in sessions.values():
            session.ended()

    def pause_writing(self) -> None:
        """The client does not read as fast as we write."""
        self._is_paused = True

    def resume_writing(self) -> None:
        """It reads again."""
        self._is_paused = False
        for session in tuple(self.sessions.values()):
            session.resume()

    @property
    def is_blocked(self) -> bool:
        """Whether events must wait."""
        return self._is_paused or self._closing or self._late_bytes > _OUTPUT_BYTES

    def write(self, data: bytes) -> None:
        """Sends bytes, which are whole frames."""
        faults = self.service.faults
        if self._transport is None:
            return
        if self._is_cutting:
            self._late.append((0.0, data[: len(data) // 2]))
            self._hang_up()
        elif faults.latency_seconds or faults.is_holding or self._late:
            self._late.append((self.service.timers.time() + faults.latency_seconds, data))
            self._late_bytes += len(data)
            self._flush()
        else:
            self._transport.write(data)

    def keep(self, size: int) -> None:
        """Counts the bytes of messages that have come in part. Too many of them end the connection."""
        self._partial_bytes += size
        if self._partial_bytes > _MAX_PARTIAL_BYTES:
            self.close("amqp:resource-limit-exceeded", f"More than {_MAX_PARTIAL_BYTES} bytes of unfinished messages.")

    def hold(self) -> None:
        """Takes nothing in and gives nothing out, as a server that has stopped; `release` ends it."""
        if self._transport is not None:
            self._transport.pause_reading()

    def release(self) -> None:
        """Goes on."""
        if self._transport is not None:
            self._transport.resume_reading()
            self._flush()

    def _flush(self) -> None:
        """Sends what is due. What is late keeps its order, and so may wait for what is before it."""
        was_blocked, now = self.is_blocked, self.service.timers.time()
        while self._late and not self.service.faults.is_holding and self._transport is not None:
            due, data = self._late[0]
            if due > now:
                self._later("latency", due - now, self._flush)
                break
            self._late.popleft()
            self._late_bytes -= len(data)
            self._transport.write(data)
        if was_blocked and not self.is_blocked:
            self.resume_writing()

    def data_received(self, data: bytes) -> None:
        """Handles each whole frame."""
        self._last_heard = self.service.timers.time()
        if self._transport is None:
            return
        if self._transport.get_write_buffer_size() + self._late_bytes > _MAX_OUTPUT_BYTES:
            self.abort()  # it asks and asks, and never reads an answer
            return
        try:
            self._splitter.feed(data)
            while self._advance():
                pass
        except FramingError as error:
            self.close("amqp:connection:framing-error", str(error))
        except DecodeError as error:
            self.close("amqp:decode-error", str(error))
        except Refused as refused:
            self.close(refused.condition, refused.description)

    def close(self, condition: str, description: str) -> None:
        """Ends the connection with an error, which the client is told if it has come that far."""
        if self._closing:
            return
        self._closing = True
        if self._opened:
            self._send(Close(Error(condition, description)))
            # The client says the same, and is then let go; one that does not is let go as well.
            self._later("close", _CLOSE_SECONDS, self._hang_up)
        else:
            self._hang_up()

    def abort(self) -> None:
        """Ends it as a broken network does."""
        transport, self._transport, self._closing = self._transport, None, True
        if transport is not None:
            transport.abort()

    def cut(self) -> None:
        """Ends it in the middle of what is written next, which is a heartbeat if nothing else is."""
        self._is_cutting = True
        self._later("cut", 0.0, self.write, EMPTY)

    def _hang_up(self) -> None:
        transport, self._transport, self._closing = self._transport, None, True
        if transport is not None:
            transport.write(b"".join(late for _, late in self._late))
            transport.close()
            # It closes when all is written, which a client that does not read could put off for ever.
            self._later("gone", _CLOSE_SECONDS, transport.abort)

    def _send(self, performative: Composite, channel: int = 0, kind: int = AMQP) -> None:
        self.write(frame(channel, performative.encode(), kind))

    def _later(self, purpose: str, seconds: float, callback: Callable[..., None], *args: object) -> None:
        """Calls once; a timer for the same purpose is replaced. None outlives the connection."""
        before = self._timers.pop(purpose, None)
        if before is not None:
            before.cancel()
        self._timers[purpose] = self.service.timers.call_later(seconds, callback, *args)

    def _advance(self) -> bool:
        """Handles what is there up to the next change of what is expected; whether there may be more."""
        if self._expected is not None:
            header = self._splitter.header()
            if header is None:
                return False
            self._on_header(header)
            return True
        return any(self._on_frame(kind, channel, body) for kind, channel, body in self._splitter.frames())

    def _on_header(self, header: bytes) -> None:
        if header != self._expected:
            # The answer to any other header is the one that is wanted, and the end.
            self.write(self._expected or b"")
            raise FramingError(f"the header {header!r} came")
        self.write(header)
        self._expected = None
        if header == SASL_HEADER:
            self._send(SaslMechanisms(_MECHANISMS), kind=SASL)
        else:
            self._splitter.max_frame = MAX_FRAME

    def _on_frame(self, kind: int, channel: int, body: bytes) -> bool:
        """Whether a header is expected next."""
        if kind == SASL or not self._logged_in:
            if kind == AMQP or self._logged_in:
                raise FramingError(f"a frame of type {kind} came out of turn")
            self._on_sasl(body)
            return True
        if body:
            self._on_body(channel, body)
        return False

    def _on_body(self, channel: int, body: bytes) -> None:
        performative, payload_at = decode_performative(body)
        if self._closing:
            if isinstance(performative, Close):
                self._hang_up()
            return
        if isinstance(performative, Open):
            self._on_open(performative)
        elif not self._opened:
            raise Refused("amqp:not-allowed", "The connection is not open.")
        elif isinstance(performative, Begin):
            self._on_begin(channel, performative)
        elif isinstance(performative, Close):
            self._closing = True
            self._send(Close())
            self._hang_up()
        else:
            self._on_session_frame(channel, performative, body[payload_at:])

    def _on_sasl(self, body: bytes) -> None:
        init, _ = decode_performative(body)
        if not isinstance(init, SaslInit):
            raise FramingError("a login begins with sasl-init")
        good = init.mechanism in _MECHANISMS
        self._send(SaslOutcome(0 if good else 1), kind=SASL)
        if not good:
            raise FramingError(f"the mechanism {init.mechanism!r} is none of {_MECHANISMS}")
        self._logged_in = True
        self._expected = AMQP_HEADER

    def _on_open(self, opening: Open) -> None:
        if self._opened:
            raise Refused("amqp:not-allowed", "The connection is open already.")
        self._opened = True
        self.container_id = opening.container_id
        theirs = _MAX_OUT if opening.max_frame_size is None else opening.max_frame_size
        self.max_frame_out = min(max(theirs, MIN_MAX_FRAME), _MAX_OUT)
        self._send(
            Open(
                container_id=f"{uuid4().hex}_G0",
                max_frame_size=MAX_FRAME,
                channel_max=CHANNEL_MAX,
                idle_time_out=int(self.service.idle_seconds * 1000),
            )
        )
        if opening.idle_time_out:
            self._heartbeat(max(opening.idle_time_out / 2000, _SHORTEST_HEARTBEAT))

    def _on_begin(self, channel: int, begin: Begin) -> None:
        if channel > CHANNEL_MAX:
            raise Refused("amqp:not-allowed", f"Channel {channel} is beyond channel-max, which is {CHANNEL_MAX}.")
        if channel in self.sessions:
            raise Refused("amqp:not-allowed", f"A session is open on channel {channel} already.")
        session = self.sessions[channel] = Session(self, channel, begin)
        session.begin()

    def _on_session_frame(self, channel: int, performative: Performative, payload: bytes) -> None:
        session = self.sessions.get(channel)
        if session is None:
            raise Refused("amqp:not-allowed", f"No session is open on channel {channel}.")
        if isinstance(performative, End):
            del self.sessions[channel]
            if not session.is_ending:
                session.ended()
                self._send(End(), channel)
        elif not session.is_ending:
            try:
                session.handle(performative, payload)
            except SessionEnded as error:
                session.end(error)

    def _heartbeat(self, seconds: float) -> None:
        self.write(EMPTY)
        self._later("heartbeat", seconds, self._heartbeat, seconds)

    def _look_for_silence(self) -> None:
        allowed = self.service.idle_seconds * _GRACE
        silent = self.service.timers.time() - self._last_heard
        if silent >= allowed:
            self.close(
                "amqp:connection:forced", f"The connection was inactive for more than the allowed {int(allowed * 1000)} milliseconds."
            )
        else:
            self._later("silence", allowed - silent, self._look_for_silence)

    def _watch_tokens(self) -> None:
        left = self.claims.seconds_left()
        if left is not None:
            self._later("token", left, self._drop_unauthorized)

    def _drop_unauthorized(self) -> None:
        """A token has ended: links without another one end with it."""
        for session in tuple(self.sessions.values()):
            for link in tuple(session.links.values()):
                if link.hub and not self.claims.allows(link.hub):
                    session.detach(link, UNAUTHORIZED, f"ExpiredToken: The token for '{link.hub}' is expired.")
        self._watch_tokens()
