"""What brings the events of one partition: the seam between the reader and the SDK, and the way over it that is public in the SDK.

A link knows nothing of batches, budgets and checkpoints, and translates no errors. The reader makes one for each time that it
opens a partition, calls it from one task, and closes it after its first error.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from azure.eventhub import EventData
from azure.eventhub.aio import EventHubConsumerClient, PartitionContext

from streamkit.model import StartPosition
from streamkit_eventhubs.starts import for_sdk

__all__ = ["PartitionLink", "PublicLink", "Received", "owner_level"]

WAIT_SECONDS = 1.0
CLOSE_SECONDS = 1.9


@dataclass(slots=True)
class Received:
    """What has come: at least one event, in order."""

    messages: Sequence[Any]
    """Of whatever type the link has; `record.py` knows each. Each link has one type only."""
    bytes: int
    """About what they take of memory."""
    tip: int | None = None
    """Sequence number of the event written last, as the service said with the newest of these."""
    tip_time: float | None = None
    """When that one was written, unix seconds."""


class PartitionLink(ABC):
    """Reads one partition from one start on. One task uses it."""

    _error: Exception | None = None

    @property
    def error(self) -> Exception | None:
        """What has ended it, as far as that is known without `receive`, which raises it in its turn."""
        return self._error

    @abstractmethod
    async def open(self, start: StartPosition, epoch: int) -> None:
        """Ask for the events from `start` on, as the owner with this epoch; once. `receive` may be the first to say that it was refused."""

    @abstractmethod
    async def receive(self, max_events: int, max_bytes: int) -> Received | None:
        """What has come, at most about so much, but an event at least; None: nothing within about a second.

        As long as this is not called the service is asked for no more than is on its way already. Raises what the SDK raises;
        then everything that had come before has been returned, and the link is to be closed.
        """

    @abstractmethod
    async def close(self) -> None:
        """Detach and disconnect, in less than two seconds. May be called at any time, and again; raises nothing."""


def owner_level(epoch: int) -> int | None:
    """An epoch as the service knows it; none has the level of readers that share a partition."""
    return epoch if epoch > 0 else None


class PublicLink(PartitionLink):
    """Over `receive_batch`. The SDK reads in turns of 50 ms, and hands on the next events when those before have been received."""

    def __init__(self, client: EventHubConsumerClient, partition_id: str, prefetch: int) -> None:
        """The client is this link's alone, and is closed with it."""
        self._client = client
        self._partition_id = partition_id
        self._prefetch = prefetch
        self._events: list[EventData] = []
        self._context: PartitionContext | None = None
        self._changed = asyncio.Event()
        """Something has come, or will not come any more."""
        self._taken = asyncio.Event()
        """All of it has been received."""
        self._error = None
        self._task: asyncio.Task[None] | None = None

    async def open(self, start: StartPosition, epoch: int) -> None:
        position, is_inclusive = for_sdk(start)
        receiving = self._client.receive_batch(
            self._arrived,
            max_batch_size=self._prefetch,
            partition_id=self._partition_id,
            owner_level=owner_level(epoch),
            prefetch=self._prefetch,
            track_last_enqueued_event_properties=True,
            starting_position=position,
            starting_position_inclusive=is_inclusive,
            on_error=self._failed,
        )
        self._task = asyncio.create_task(receiving, name=f"receiving {self._partition_id}")
        self._task.add_done_callback(self._ended)

    async def _arrived(self, context: PartitionContext, events: list[EventData]) -> None:
        """Called by the SDK, which hands on nothing more before this has returned, and stops asking when its own buffer is full."""
        if not events:
            return
        self._events, self._context = events, context
        self._taken.clear()
        self._changed.set()
        await self._taken.wait()

    async def _failed(self, context: PartitionContext | None, error: Exception) -> None:
        """Called by the SDK, which would begin again later, at the start that it was given, with events that have been received."""
        self._give_up(error)
        assert self._task is not None
        self._task.cancel()

    def _ended(self, task: asyncio.Task[None]) -> None:
        error = None if task.cancelled() else task.exception()
        self._give_up(error if isinstance(error, Exception) else ConnectionError("the SDK has stopped receiving"))

    def _give_up(self, error: Exception) -> None:
        self._error = self._error or error
        self._changed.set()

    async def receive(self, max_events: int, max_bytes: int) -> Received | None:
        if not self._changed.is_set():
            try:
                async with asyncio.timeout(WAIT_SECONDS):
                    await self._changed.wait()
            except TimeoutError:
                return None
        if self._events:
            return self._take(max_events, max_bytes)
        assert self._error is not None
        raise self._error

    def _take(self, max_events: int, max_bytes: int) -> Received:
        count = taken = 0
        for event in self._events[:max_events]:
            size = _size_of(event)
            if count and taken + size > max_bytes:
                break
            count, taken = count + 1, taken + size
        messages, self._events = self._events[:count], self._events[count:]
        known = (self._context.last_enqueued_event_properties if self._context is not None else None) or {}
        time = known.get("enqueued_time")
        if not self._events:
            if self._error is None:
                self._changed.clear()
            self._taken.set()
        return Received(messages, taken, known.get("sequence_number"), None if time is None else time.timestamp())

    async def close(self) -> None:
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task], timeout=CLOSE_SECONDS)
        await self._client.close()


def _size_of(event: EventData) -> int:
    body = event.raw_amqp_message.body
    if isinstance(body, bytes):
        return len(body)
    return sum(len(part) if isinstance(part, bytes) else 64 for part in body)
