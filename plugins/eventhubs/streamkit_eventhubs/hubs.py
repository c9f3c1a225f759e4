"""Asks the service about event hubs and their partitions, for the broker and the reader. Makes the one client of each hub that asks.

The SDK connects anew for each question, so only a few are under way at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from azure.eventhub.aio import EventHubConsumerClient

from streamkit.errors import BrokerError, BrokerUnavailableError, ThrottledError, UnsupportedError
from streamkit.model import Partition, Position
from streamkit_eventhubs.client import Connecting
from streamkit_eventhubs.errors import BROKER, translated

__all__ = ["Ends", "Hubs", "together"]

MAX_QUESTIONS = 16
ATTEMPTS = 3
PAUSE_SECONDS = 0.2

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Ends:
    """What a partition holds, at the moment of the answer."""

    oldest: int
    """Sequence number of the oldest event that is kept; if there is none, of the next one to be written."""
    newest: int
    """Sequence number of the event written last, kept or not; -1 if none was ever written."""
    offset: str
    """Of that one."""
    written: float
    """When that one was written, unix seconds."""

    @property
    def is_empty(self) -> bool:
        return self.oldest > self.newest

    @property
    def tip(self) -> Position:
        """The position of the event written last."""
        return Position(self.newest, token=self.offset if self.newest >= 0 else "")


class Hubs:
    """Opened with the first question; `close` gives the connections back. Lives on one loop."""

    def __init__(self, connecting: Connecting, group: str, request_seconds: float) -> None:
        """`group`: the event hub's consumer group."""
        self.connecting = connecting
        self.group = group
        self._request_seconds = request_seconds
        self._clients: dict[str, EventHubConsumerClient] = {}
        self._sizes: dict[str, int] = {}
        """By incarnation, how many partitions there were."""
        self._questions = asyncio.Semaphore(MAX_QUESTIONS)

    async def partitions(self, hub: str) -> list[Partition]:
        """All of them. Raises StreamGoneError; an answer that is empty, cut or of another hub is BrokerUnavailableError."""
        doing = f"asking about event hub {hub!r}"
        found = await self._ask(doing, "", self._client(hub).get_eventhub_properties)
        with translated(doing):
            created, ids = int(found["created_at"].timestamp()), [str(one) for one in found["partition_ids"]]
        incarnation = f"{self.connecting.address.host}/{hub.lower()}@{created}"
        known = self._sizes.get(incarnation, 0)
        if not ids or len(set(ids)) < len(ids) or len(ids) < known or not _is_whole(ids):
            text = f"Event Hubs, {doing}: the answer names the partitions {ids}"
            raise BrokerUnavailableError(f"{text}, which cannot be all: there were {known}" if known else text, broker=BROKER)
        self._sizes[incarnation] = len(ids)
        return [Partition(hub, one, incarnation) for one in ids]

    async def ends(self, partition: Partition) -> Ends:
        """What the partition holds now. Raises BrokerError."""
        doing = "asking about a partition"
        client = self._client(partition.stream)
        found = await self._ask(doing, str(partition), lambda: client.get_partition_properties(partition.id))
        with translated(doing, str(partition)):
            newest = int(found["last_enqueued_sequence_number"])
            oldest = newest + 1 if found["is_empty"] else int(found["beginning_sequence_number"])
            return Ends(oldest, newest, str(found["last_enqueued_offset"]), found["last_enqueued_time_utc"].timestamp())

    def _client(self, hub: str) -> EventHubConsumerClient:
        if hub.startswith("^"):
            text = f"{hub!r} is a regular expression, and Event Hubs does not say over AMQP which event hubs a namespace has"
            raise UnsupportedError(text, setting="STREAMKIT_STREAM", fix="name the event hubs, separated by commas")
        if hub not in self._clients:
            self._clients[hub] = self.connecting.consumer(hub, self.group)
        return self._clients[hub]

    async def _ask(self, doing: str, partition: str, question: Callable[[], Awaitable[T]]) -> T:
        """Asks again if a connection breaks or an answer stays out, as the SDK would: who starts asks once, and ends without an answer."""
        async with self._questions:
            time = asyncio.get_running_loop().time
            until = time() + self._request_seconds
            attempt = 0
            said: BrokerError | None = None
            while True:
                attempt += 1
                left = until - time()
                try:
                    with translated(doing, partition):
                        # The rest of the time is for asking again.
                        async with asyncio.timeout(left if attempt == ATTEMPTS else left / 2):
                            return await question()
                except BrokerError as error:
                    asked = error.retry_after if isinstance(error, ThrottledError) else None
                    pause = PAUSE_SECONDS if asked is None else asked
                    if said is None or not isinstance(error.__cause__, TimeoutError):
                        said = error  # an attempt for which no time was left says less than the one before
                    if attempt == ATTEMPTS or not error.retryable or time() + pause >= until:
                        raise said from said.__cause__
                await asyncio.sleep(pause)

    async def close(self) -> None:
        """Give back what the clients hold."""
        clients, self._clients = list(self._clients.values()), {}
        for client in clients:
            await client.close()


def _is_whole(ids: Sequence[str]) -> bool:
    """The service counts partitions from 0, and never takes one away."""
    return not all(one.isdecimal() for one in ids) or {int(one) for one in ids} == set(range(len(ids)))


async def together(asked: Sequence[Awaitable[T]]) -> list[T]:
    """All answers, in this order. The first error is raised when the other questions have been called off."""
    tasks = [asyncio.ensure_future(one) for one in asked]
    try:
        return list(await asyncio.gather(*tasks))
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
