"""A client in bytes for tests of the emulator: a connection without a socket, a clock turned by hand, frames as they go both ways."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable
from typing import Any

from streamkit_sandbox.eventhubs.amqp_codec import decode, encode
from streamkit_sandbox.eventhubs.amqp_types import Described, Symbol, Ulong, Value
from streamkit_sandbox.eventhubs.cbs import Access
from streamkit_sandbox.eventhubs.connection import Connection
from streamkit_sandbox.eventhubs.frames import AMQP, AMQP_HEADER, SASL, SASL_HEADER, FrameSplitter, frame
from streamkit_sandbox.eventhubs.log import Hub
from streamkit_sandbox.eventhubs.messages import data_message, read_request
from streamkit_sandbox.eventhubs.performatives import (
    Attach,
    Begin,
    Composite,
    Disposition,
    Flow,
    Open,
    Properties,
    SaslInit,
    Source,
    Target,
    Transfer,
    decode_performative,
)
from streamkit_sandbox.eventhubs.service import Service

WINDOW = 65_536
START = 1_800_000_000_000  # ms
FILTER = "apache.org:selector-filter:string"


class Timer:
    def __init__(self, work: Callable[[], object]) -> None:
        self.work: Callable[[], object] | None = work

    def cancel(self) -> None:
        self.work = None


class Timers:
    """A clock that goes only when `advance` is called."""

    def __init__(self) -> None:
        self.now = 100.0
        self._calls: list[tuple[float, int, Timer]] = []
        self._count = 0

    def time(self) -> float:
        return self.now

    def call_later(self, delay: float, callback: Callable[..., object], *args: Any) -> Timer:
        timer = Timer(lambda: callback(*args))
        self._count += 1
        heapq.heappush(self._calls, (self.now + delay, self._count, timer))
        return timer

    def advance(self, seconds: float) -> None:
        end = self.now + seconds
        while self._calls and self._calls[0][0] <= end:
            self.now, _, timer = heapq.heappop(self._calls)
            if timer.work is not None:
                timer.work()
        self.now = end

    @property
    def waiting(self) -> int:
        return sum(timer.work is not None for _, _, timer in self._calls)


class Transport(asyncio.Transport):
    """Keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.data = b""
        self.unread = 0
        self.is_closed = self.is_aborted = self.is_reading_paused = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.data += bytes(data)

    def close(self) -> None:
        self.is_closed = True

    def abort(self) -> None:
        self.is_closed = self.is_aborted = True

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        assert high

    def get_write_buffer_size(self) -> int:
        return self.unread

    def pause_reading(self) -> None:
        self.is_reading_paused = True

    def resume_reading(self) -> None:
        self.is_reading_paused = False


class World:
    """A service with a hub `orders` of two partitions, and a clock."""

    def __init__(self, *, access: Access | None = None, **options: Any) -> None:
        self.timers = Timers()
        self.service = Service(self.timers, access=access, clock_ms=self.clock_ms, **options)
        self.hub = Hub("orders", 2, clock_ms=self.clock_ms)
        self.service.add(self.hub)

    def clock_ms(self) -> int:
        return START + int((self.timers.now - 100.0) * 1000)

    def append(self, count: int, partition: int = 0, size: int = 10) -> None:
        log = self.hub.partitions[partition]
        log.append([data_message(b"%0*d" % (size, log.last_sequence + 1 + number)) for number in range(count)], None)


class Peer:
    """One client's connection to `world`."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.transport = Transport()
        self.connection = Connection(world.service)
        self.connection.connection_made(self.transport)
        self._splitter = FrameSplitter(1 << 24)

    def give(self, data: bytes) -> None:
        self.connection.data_received(data)

    def send(self, performative: Composite, payload: bytes = b"", channel: int = 0) -> None:
        self.give(frame(channel, performative.encode() + payload))

    def raw(self) -> bytes:
        """What came since it was asked for last."""
        data, self.transport.data = self.transport.data, b""
        return data

    def frames(self) -> list[tuple[int, int, bytes]]:
        """The frames that came: kind, channel and body."""
        self._splitter.feed(self.raw())
        return list(self._splitter.frames())

    def frames_after_header(self) -> list[tuple[int, int, bytes]]:
        """The frames that came behind a protocol header."""
        self.transport.data = self.transport.data[8:]
        return self.frames()

    def received(self) -> list[tuple[Any, bytes]]:
        """The performatives that came, and their payloads; heartbeats left out."""
        found = []
        for kind, _, body in self.frames():
            if body:
                assert kind == AMQP
                performative, at = decode_performative(body)
                found.append((performative, body[at:]))
        return found

    def of(self, kind: type) -> list[Any]:
        """The performatives of one kind that came; others are forgotten."""
        return [performative for performative, _ in self.received() if isinstance(performative, kind)]

    def messages(self) -> list[bytes]:
        """The whole messages that came."""
        found, parts = [], b""
        for performative, payload in self.received():
            if isinstance(performative, Transfer):
                parts += payload
                if not performative.more:
                    found.append(parts)
                    parts = b""
        return found

    def log_in(self) -> None:
        self.give(SASL_HEADER + frame(0, SaslInit("ANONYMOUS").encode(), SASL))
        self.give(AMQP_HEADER)
        assert self.raw().endswith(AMQP_HEADER)

    def open(self, *, max_frame: int = 65_536, idle_ms: int | None = None, window: int = WINDOW) -> Peer:
        """Logs in, opens the connection and a session."""
        self.log_in()
        self.send(Open("peer", max_frame_size=max_frame, idle_time_out=idle_ms))
        self.send(Begin(None, 0, window, window))
        self.raw()
        return self

    def attach_receiver(
        self,
        address: str = "orders/ConsumerGroups/$Default/Partitions/0",
        *,
        handle: int = 0,
        name: str = "",
        credit: int = 0,
        selector: str = "amqp.annotation.x-opt-offset > '-1'",
        epoch: Value = None,
        metrics: bool = False,
        target: str | None = "here",
    ) -> list[Any]:
        """Attaches a receiver, gives credit, and returns what came for the attach."""
        self.send(
            Attach(
                name or f"receiver-{handle}",
                handle,
                True,
                source=Source(address, filter={Symbol(FILTER): Described(Symbol(FILTER), selector)}),
                target=Target(target),
                properties={} if epoch is None else {Symbol("com.microsoft:epoch"): epoch},
                desired_capabilities=("com.microsoft:enable-receiver-runtime-metric",) if metrics else (),
            )
        )
        answers = [performative for performative, _ in self.received()]
        if credit:
            self.flow(handle, credit)
        return answers

    def attach_sender(self, address: str = "orders/Partitions/0", *, handle: int = 0, name: str = "") -> list[Any]:
        self.send(
            Attach(name or f"sender-{handle}", handle, False, source=Source("here"), target=Target(address), initial_delivery_count=0)
        )
        return [performative for performative, _ in self.received()]

    def flow(self, handle: int | None, credit: int | None, *, count: int = 0, window: int = WINDOW, seen: int = 0, **more: Any) -> None:
        self.send(Flow(seen, window, 0, WINDOW, handle, None if handle is None else count, credit, **more))

    def transfer(self, message: bytes, *, handle: int = 0, id: int | None = 0, format: int = 0, **more: Any) -> None:
        self.send(Transfer(handle, id, None if id is None else b"%d" % id, format, **more), message)

    def outcomes(self) -> list[tuple[int, Any]]:
        """What became of deliveries: id, and the outcome's code or error condition."""
        found = []
        for each in self.of(Disposition):
            state = each.state
            condition = state.descriptor if state.descriptor != 0x25 else state.value[0].value[0]
            found.append((each.first, condition))
        return found

    def ask(
        self, service: str, application: dict[Value, Value], body: Value = None, *, id: Value = "m1", reply_to: str | None = "here"
    ) -> Any:
        """A request on a pair of links that is made for it on handles 200 and 201; returns the answer's properties, values and body."""
        if 200 not in self.connection.sessions[0].links:
            self.attach_sender(service, handle=200)
            self.attach_receiver(service, handle=201, credit=50)
            self.raw()
        self.transfer(request(application, body, id=id, reply_to=reply_to), handle=200)
        (message,) = self.messages()
        return answer_of(message)


def request(application: dict[Value, Value], body: Value = None, *, id: Value = "m1", reply_to: str | None = "here") -> bytes:
    properties = Properties(message_id=id, reply_to=reply_to).encode()
    return properties + b"\x00\x53\x74" + encode(application) + encode(Described(Ulong(0x77), body))


def answer_of(message: bytes) -> tuple[Properties, dict[Value, Value], Any]:
    """Properties, application properties and body of an answer."""
    answer = read_request(message)
    return answer.properties, answer.application, answer.body


def fields(body: bytes) -> list[Value]:
    """The fields of a performative as they stand on the wire."""
    value, _ = decode(body)
    assert isinstance(value, Described)
    assert isinstance(value.value, list)
    return value.value
