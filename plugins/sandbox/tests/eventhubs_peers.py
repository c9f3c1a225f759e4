"""Azure's own clients of Event Hubs behind one small interface, so that one test body asks the emulator with each of them.

Three peers: azure-eventhub with threads, azure-eventhub with asyncio, and @azure/event-hubs in Node. None of them retries.
"""

from __future__ import annotations

import asyncio
import gc
import queue
import threading
import time
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine, Mapping, Sequence
from concurrent.futures import Future
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from datetime import datetime
from types import TracebackType
from typing import Any, Self, TypeVar

from azure.eventhub import EventData, EventHubConsumerClient, EventHubProducerClient
from azure.eventhub import aio as eventhub_aio
from azure.eventhub.amqp import AmqpAnnotatedMessage
from streamkit_sandbox.eventhubs_js import JavaScriptClient, JavaScriptError, body_of, event_of

__all__ = ["PEERS", "AioPeer", "Figures", "Got", "JavaScriptPeer", "Outgoing", "Peer", "PeerError", "Reading", "Start", "SyncPeer", "sweep"]

T = TypeVar("T")
GROUP = "$Default"
TAKE_SECONDS = 45.0
NO_RETRY: Mapping[str, Any] = {"retry_total": 0, "auth_timeout": 10, "logging_enable": False}


@dataclass(frozen=True)
class Outgoing:
    """An event to send."""

    body: bytes
    properties: Mapping[str, Any] = field(default_factory=dict)
    message_id: str | None = None
    content_type: str | None = None
    correlation_id: str | None = None


@dataclass(frozen=True)
class Got:
    """An event that came."""

    body: bytes
    partition: str
    sequence: int
    offset: str
    enqueued_ms: int
    key: str | None
    properties: Mapping[str, Any]
    message_id: str | None
    content_type: str | None
    correlation_id: str | None
    last_enqueued: tuple[int, str] | None = None
    """Sequence number and offset of the partition's last event as the event's own annotations tell them."""


@dataclass(frozen=True)
class Figures:
    """What a partition says of itself."""

    first: int
    last: int
    last_offset: str
    empty: bool


@dataclass(frozen=True)
class Start:
    """Where to begin: exactly one of the first three, or neither for the oldest event."""

    offset: str | None = None
    sequence: int | None = None
    time: datetime | None = None
    inclusive: bool = False


EARLIEST = Start()
LATEST = Start(offset="@latest")


class PeerError(Exception):
    """What a client raised or reported: the name of its class (for JavaScript its code), and its text."""

    def __init__(self, name: str, text: str) -> None:
        self.name, self.text = name, text
        super().__init__(f"{name}: {text}")


class Reading(ABC):
    """One reader of one partition."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    @abstractmethod
    def take(self, count: int, seconds: float = TAKE_SECONDS) -> list[Got]:
        """`count` events, or fewer after `seconds`. Raises PeerError for what the client reported."""

    @abstractmethod
    def close(self) -> None:
        """Detaches."""


class Peer(ABC):
    """A client for one namespace, until `close()`."""

    name: str

    @abstractmethod
    def partitions(self, hub: str) -> list[str]:
        """Their ids."""

    @abstractmethod
    def figures(self, hub: str, partition: str) -> Figures:
        """What the partition says of itself."""

    @abstractmethod
    def send(self, hub: str, *events: Outgoing, key: str | None = None, partition: str | None = None) -> None:
        """One send. Raises PeerError."""

    @abstractmethod
    def fill(self, hub: str, body: bytes, partition: str) -> int:
        """Fills one batch with copies of `body`, sends it, and says how many it took."""

    @abstractmethod
    def read(self, hub: str, partition: str, start: Start = EARLIEST, *, epoch: int | None = None, group: str = GROUP) -> Reading:
        """Begins to read, in the background."""

    @abstractmethod
    def close(self) -> None:
        """Ends all connections."""

    def read_all(self, hub: str, partition: str, count: int) -> list[Got]:
        """The first `count` events of a partition."""
        with self.read(hub, partition) as reading:
            return reading.take(count)


class _Inbox:
    """What callbacks of the Python clients leave for `take`."""

    def __init__(self) -> None:
        self.queue: queue.Queue[Got | PeerError] = queue.Queue()

    def events(self, context: Any, events: Sequence[EventData]) -> None:
        for event in events:
            self.queue.put(_from_python(context.partition_id, context.last_enqueued_event_properties, event))

    def error(self, context: Any, error: Exception) -> None:
        self.queue.put(_told(error))

    def take(self, count: int, seconds: float) -> list[Got]:
        found: list[Got] = []
        deadline = time.monotonic() + seconds
        while len(found) < count:
            try:
                item = self.queue.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                break
            if isinstance(item, PeerError):
                raise item
            found.append(item)
        return found


class SyncPeer(Peer):
    """azure-eventhub with threads."""

    name = "python-sync"

    def __init__(self, connection_string: str) -> None:
        self._connection_string = connection_string
        self._open = ExitStack()
        self._producers: dict[str, EventHubProducerClient] = {}
        self._closing: list[threading.Thread] = []

    def partitions(self, hub: str) -> list[str]:
        with _named():
            return list(self._producer(hub).get_partition_ids())

    def figures(self, hub: str, partition: str) -> Figures:
        with _named():
            return _figures(self._producer(hub).get_partition_properties(partition))

    def send(self, hub: str, *events: Outgoing, key: str | None = None, partition: str | None = None) -> None:
        with _named():
            self._producer(hub).send_batch(_to_python(events), partition_id=partition, partition_key=key)

    def fill(self, hub: str, body: bytes, partition: str) -> int:
        batch = self._producer(hub).create_batch(partition_id=partition)
        count = _filled(batch, body)
        self._producer(hub).send_batch(batch)
        return count

    def read(self, hub: str, partition: str, start: Start = EARLIEST, *, epoch: int | None = None, group: str = GROUP) -> Reading:
        client = EventHubConsumerClient.from_connection_string(
            self._connection_string, group, eventhub_name=hub, socket_timeout=0.02, **NO_RETRY
        )
        return _SyncReading(self, client, partition, start, epoch)

    def close_aside(self, close: Callable[[], None]) -> None:
        """Closing takes a second, in which the client only waits."""
        self._closing.append(threading.Thread(target=close, daemon=True))
        self._closing[-1].start()

    def close(self) -> None:
        self._open.close()
        for thread in self._closing:
            thread.join(30)

    def _producer(self, hub: str) -> EventHubProducerClient:
        if hub not in self._producers:
            client = EventHubProducerClient.from_connection_string(self._connection_string, eventhub_name=hub, **NO_RETRY)
            self._producers[hub] = self._open.enter_context(client)
        return self._producers[hub]


class _SyncReading(Reading):
    def __init__(self, peer: SyncPeer, client: EventHubConsumerClient, partition: str, start: Start, epoch: int | None) -> None:
        self._inbox, self._client, self._peer = _Inbox(), client, peer
        given = {"partition_id": partition, "owner_level": epoch, **_python_start(start)}
        self._thread = threading.Thread(target=self._run, kwargs=given, daemon=True)
        self._thread.start()

    def _run(self, **given: Any) -> None:
        self._client.receive_batch(
            self._inbox.events, on_error=self._inbox.error, track_last_enqueued_event_properties=True, max_wait_time=0.05, **given
        )

    def take(self, count: int, seconds: float = TAKE_SECONDS) -> list[Got]:
        return self._inbox.take(count, seconds)

    def close(self) -> None:
        self._peer.close_aside(self._close)

    def _close(self) -> None:
        self._client.close()
        self._thread.join(30)


class AioPeer(Peer):
    """azure-eventhub with asyncio, on a loop in a thread."""

    name = "python-aio"

    def __init__(self, connection_string: str) -> None:
        self._connection_string = connection_string
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._producers: dict[str, eventhub_aio.EventHubProducerClient] = {}
        self._closing: list[Future[None]] = []

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Runs a coroutine on the peer's loop."""
        with _named():
            return asyncio.run_coroutine_threadsafe(work, self._loop).result(60)

    def partitions(self, hub: str) -> list[str]:
        return list(self.run(self._producer(hub).get_partition_ids()))

    def figures(self, hub: str, partition: str) -> Figures:
        return _figures(self.run(self._producer(hub).get_partition_properties(partition)))

    def send(self, hub: str, *events: Outgoing, key: str | None = None, partition: str | None = None) -> None:
        self.run(self._producer(hub).send_batch(_to_python(events), partition_id=partition, partition_key=key))

    def fill(self, hub: str, body: bytes, partition: str) -> int:
        batch = self.run(self._producer(hub).create_batch(partition_id=partition))
        count = _filled(batch, body)
        self.run(self._producer(hub).send_batch(batch))
        return count

    def read(self, hub: str, partition: str, start: Start = EARLIEST, *, epoch: int | None = None, group: str = GROUP) -> Reading:
        client = eventhub_aio.EventHubConsumerClient.from_connection_string(self._connection_string, group, eventhub_name=hub, **NO_RETRY)
        return _AioReading(self, client, partition, start, epoch)

    def close_aside(self, close: Coroutine[Any, Any, None]) -> None:
        """Closing takes a second, in which the client only waits."""
        self._closing.append(asyncio.run_coroutine_threadsafe(close, self._loop))

    def close(self) -> None:
        for client in self._producers.values():
            self.run(client.close())
        for closing in self._closing:
            closing.result(60)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(30)
        self._loop.close()

    def _producer(self, hub: str) -> eventhub_aio.EventHubProducerClient:
        if hub not in self._producers:
            self._producers[hub] = eventhub_aio.EventHubProducerClient.from_connection_string(
                self._connection_string, eventhub_name=hub, **NO_RETRY
            )
        return self._producers[hub]


class _AioReading(Reading):
    def __init__(self, peer: AioPeer, client: eventhub_aio.EventHubConsumerClient, partition: str, start: Start, epoch: int | None) -> None:
        self._inbox, self._client, self._peer = _Inbox(), client, peer
        self._task = peer.run(self._begin(partition_id=partition, owner_level=epoch, **_python_start(start)))

    async def _begin(self, **given: Any) -> asyncio.Task[None]:
        async def events(context: Any, found: list[EventData]) -> None:
            self._inbox.events(context, found)

        async def error(context: Any, found: Exception) -> None:
            self._inbox.error(context, found)

        return asyncio.create_task(self._client.receive_batch(events, on_error=error, track_last_enqueued_event_properties=True, **given))

    def take(self, count: int, seconds: float = TAKE_SECONDS) -> list[Got]:
        return self._inbox.take(count, seconds)

    def close(self) -> None:
        self._peer.close_aside(self._end())

    async def _end(self) -> None:
        self._task.cancel()  # else it goes on until its next balancing of partitions, 30 s later
        with suppress(asyncio.CancelledError):
            await self._task
        await self._client.close()


class JavaScriptPeer(Peer):
    """@azure/event-hubs in Node."""

    name = "javascript"

    def __init__(self, connection_string: str) -> None:
        self._client = JavaScriptClient(connection_string)
        self._client.start()

    def ask(self, command: str, **given: Any) -> Any:
        """A command of the client; see eventhubs_js.js."""
        try:
            return self._client.ask(command, **given)
        except JavaScriptError as error:
            raise PeerError(str(error.code), error.message) from error

    def partitions(self, hub: str) -> list[str]:
        return list(self.ask("hub", hub=hub)["partitionIds"])

    def figures(self, hub: str, partition: str) -> Figures:
        told = self.ask("partition", hub=hub, partition=partition)
        return Figures(told["beginningSequenceNumber"], told["lastEnqueuedSequenceNumber"], told["lastEnqueuedOffset"], told["isEmpty"])

    def send(self, hub: str, *events: Outgoing, key: str | None = None, partition: str | None = None) -> None:
        where = {name: value for name, value in (("partitionKey", key), ("partitionId", partition)) if value is not None}
        self.ask("send", hub=hub, events=[_to_javascript(event) for event in events], **where)

    def fill(self, hub: str, body: bytes, partition: str) -> int:
        fitted: int = self.ask("batch", hub=hub, events=[event_of(body)] * 20, partitionId=partition)["fitted"]
        return fitted

    def read(self, hub: str, partition: str, start: Start = EARLIEST, *, epoch: int | None = None, group: str = GROUP) -> Reading:
        given: dict[str, Any] = {} if epoch is None else {"ownerLevel": epoch}
        given["start"] = _javascript_start(start)
        number = self.ask("subscribe", hub=hub, partition=partition, group=group, trackLastEnqueuedEventProperties=True, **given)
        return _JavaScriptReading(self, number)

    def close(self) -> None:
        self._client.close()


class _JavaScriptReading(Reading):
    def __init__(self, peer: JavaScriptPeer, number: int) -> None:
        self._peer, self._number = peer, number

    def take(self, count: int, seconds: float = TAKE_SECONDS) -> list[Got]:
        taken = self._peer.ask("take", timeout_seconds=seconds + 30, subscription=self._number, count=count, seconds=seconds)
        for error in taken["errors"]:
            raise PeerError(error["code"] or error["name"], error["message"])
        metrics = taken["metrics"]
        last = None if metrics is None else (metrics["sequenceNumber"], metrics["offset"])
        return [_from_javascript(event, last) for event in taken["events"]]

    def close(self) -> None:
        self._peer.ask("close", subscription=self._number)


PEERS: Mapping[str, Callable[[str], Peer]] = {peer.name: peer for peer in (SyncPeer, AioPeer, JavaScriptPeer)}


def sweep() -> None:
    """The client with asyncio leaves its connections to the garbage collector, which tells; not in somebody else's test."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


class _named:
    """Errors of the Python clients as PeerError."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if isinstance(error, Exception):
            raise _told(error) from error


def _told(error: Exception) -> PeerError:
    return PeerError(type(error).__name__, str(error))


def _filled(batch: Any, body: bytes) -> int:
    try:
        while len(batch) < 20:
            batch.add(EventData(body))
    except ValueError:  # it is full
        pass
    return len(batch)


def _figures(told: Mapping[str, Any]) -> Figures:
    return Figures(told["beginning_sequence_number"], told["last_enqueued_sequence_number"], told["last_enqueued_offset"], told["is_empty"])


def _to_python(events: Sequence[Outgoing]) -> list[EventData | AmqpAnnotatedMessage]:
    made: list[EventData | AmqpAnnotatedMessage] = []
    for event in events:
        data = EventData(event.body)
        data.properties = {name: value for name, value in event.properties.items()}  # noqa: C416 - whose keys may be bytes
        for name in ("message_id", "content_type", "correlation_id"):
            if (value := getattr(event, name)) is not None:
                setattr(data, name, value)
        made.append(data)
    return made


def _from_python(partition: str, last: Mapping[str, Any] | None, event: EventData) -> Got:
    assert event.sequence_number is not None
    assert event.offset is not None
    assert event.enqueued_time is not None
    key = event.partition_key
    return Got(
        body=b"".join(event.body),  # type: ignore[arg-type]
        partition=partition,
        sequence=event.sequence_number,
        offset=event.offset,
        enqueued_ms=round(event.enqueued_time.timestamp() * 1000),
        key=key.decode() if isinstance(key, bytes) else key,
        properties={_text(name): _text(value) for name, value in (event.properties or {}).items()},
        message_id=event.message_id,
        content_type=event.content_type,
        correlation_id=event.correlation_id,
        last_enqueued=(last["sequence_number"], _text(last["offset"])) if last else None,
    )


def _text(value: Any) -> Any:
    return value.decode() if isinstance(value, bytes) else value


def _python_start(start: Start) -> Mapping[str, Any]:
    value = start.time or (start.sequence if start.sequence is not None else start.offset or "-1")
    return {"starting_position": value, "starting_position_inclusive": start.inclusive}


def _javascript_start(start: Start) -> Mapping[str, Any]:
    if start.time is not None:  # this client always asks for what is later
        return {"enqueuedOn": round(start.time.timestamp() * 1000) - start.inclusive}
    if start.sequence is not None:
        return {"sequenceNumber": start.sequence, "isInclusive": start.inclusive}
    return {"offset": start.offset or "-1", "isInclusive": start.inclusive}


def _to_javascript(event: Outgoing) -> dict[str, object]:
    fields = {"messageId": event.message_id, "contentType": event.content_type, "correlationId": event.correlation_id}
    return event_of(event.body, properties=dict(event.properties), **{name: value for name, value in fields.items() if value is not None})


def _from_javascript(event: Mapping[str, Any], last: tuple[int, str] | None) -> Got:
    return Got(
        body=body_of(event),
        partition=event["partition"],
        sequence=event["sequenceNumber"],
        offset=event["offset"],
        enqueued_ms=event["enqueued"],
        key=event.get("partitionKey"),
        properties=event.get("properties") or {},
        message_id=event.get("messageId"),
        content_type=event.get("contentType"),
        correlation_id=event.get("correlationId"),
        last_enqueued=last,
    )
