"""Sends what waits for one connection: one batch at a time, of one partition key or one partition, so nothing is overtaken.

What the service refuses for now, and what is in doubt because the connection broke, is sent again with full jitter, for a bounded
time: an event may then be there twice. When a batch is given up, events behind it of the same key and the same `send` are not sent.
Made and called by `producer.py`, on one loop.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from azure.eventhub import EventDataBatch
from azure.eventhub.aio import EventHubProducerClient

from streamkit.errors import BrokerError, BrokerUnavailableError, StreamGoneError, StreamkitError, ThrottledError
from streamkit_eventhubs.errors import BROKER, translated, translation
from streamkit_eventhubs.outgoing import Outgoing

__all__ = ["Entry", "Lane", "Sending"]

_FIRST_BACKOFF_SECONDS = 0.1
_MAX_BACKOFF_SECONDS = 4.0
_CLOSE_SECONDS = 2.0
_NO_PARTITION = "Invalid partition"
"""How the SDK says that a hub has no such partition."""


class Sending:
    """The records of one `send`, and what became of them."""

    def __init__(self, count: int) -> None:
        self.answers: list[Exception | None] = [None] * count
        self._left = count
        self._complete = asyncio.Event()

    def answer(self, index: int, answer: Exception | None) -> None:
        """Once for each."""
        self.answers[index] = answer
        self._left -= 1
        if self._left == 0:
            self._complete.set()

    async def wait(self) -> None:
        """Until all are answered."""
        if self._left:
            await self._complete.wait()


@dataclass(slots=True, eq=False)
class Entry:
    """One event, and who is told what became of it."""

    outgoing: Outgoing
    sending: Sending
    index: int

    def answer(self, answer: Exception | None) -> None:
        self.sending.answer(self.index, answer)


@dataclass(slots=True)
class _Batch:
    """What is sent at once; the same again if it has to be sent again."""

    entries: list[Entry]
    events: EventDataBatch | None = None


_Target = tuple[str | None, str | None]
"""Partition, and partition key."""


class Lane:
    """Of one event hub and one connection."""

    def __init__(
        self,
        hub: str,
        connect: Callable[[], EventHubProducerClient],
        monotonic: Callable[[], float],
        *,
        request_seconds: float,
        retry_seconds: float,
    ) -> None:
        """`connect` makes a client, which is this lane's alone: a new one when there was no answer. `request_seconds`: for
        one attempt. `retry_seconds`: for all of a batch."""
        self._hub = hub
        self._connect = connect
        self._client: EventHubProducerClient | None = None
        self._monotonic = monotonic
        self._request_seconds = request_seconds
        self._retry_seconds = retry_seconds
        self._waiting: dict[_Target, deque[Entry]] = {}
        self._failing_since: float | None = None
        """When the first of the failures was that no success has followed."""
        self._task: asyncio.Task[None] | None = None
        self._closing = asyncio.Event()

    def add(self, entry: Entry) -> None:
        if self._closing.is_set():
            entry.answer(_closed(self._hub))
            return
        outgoing = entry.outgoing
        target = (outgoing.partition, None if outgoing.partition is not None else outgoing.key)
        self._waiting.setdefault(target, deque()).append(entry)
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name=f"sending to {self._hub}")

    async def check(self) -> None:
        """Connects, and attaches as a sender. Raises StreamkitError."""
        with translated(f"looking for event hub {self._hub}"):
            async with asyncio.timeout(self._request_seconds):
                await self._connected().create_batch()

    async def close(self) -> None:
        """The batch under way is waited for, for as long as one attempt may take; what waits is answered as not sent."""
        self._closing.set()
        if self._task is not None:
            _, late = await asyncio.wait([self._task], timeout=self._request_seconds)
            for task in late:
                task.cancel()
                await asyncio.wait([task])
        await self._disconnect()

    def _connected(self) -> EventHubProducerClient:
        if self._client is None:
            self._client = self._connect()
        return self._client

    async def _disconnect(self) -> None:
        client, self._client = self._client, None
        if client is None:
            return
        with suppress(Exception):  # whatever is wrong with it: it is over
            async with asyncio.timeout(_CLOSE_SECONDS):
                await client.close()

    async def _run(self) -> None:
        try:
            while self._waiting and not self._closing.is_set():
                target, entries = next(iter(self._waiting.items()))
                await self._send_some(target, entries)
                self._waiting.pop(target)
                if entries:
                    self._waiting[target] = entries  # behind the others
        finally:  # closed, cancelled, or a mistake of ours: nobody may wait for ever
            for entries in self._waiting.values():
                for entry in entries:
                    entry.answer(_closed(self._hub))
            self._waiting.clear()
            self._task = None

    async def _send_some(self, target: _Target, entries: deque[Entry]) -> None:
        """The first of them, in one batch: `entries` are fewer afterwards."""
        batch = _Batch([])
        attempts = 0
        error: StreamkitError | None = _closed(self._hub)
        try:
            while True:
                attempts += 1
                error = await self._attempt(target, batch, entries)
                if error is None or not await self._again(error, attempts):
                    break
        finally:  # cancelled, too
            if error is None:
                self._failing_since = None
                for entry in batch.entries:
                    entry.answer(None)
            else:
                self._give_up(batch.entries or [entries.popleft()], entries, error)

    async def _attempt(self, target: _Target, batch: _Batch, entries: deque[Entry]) -> StreamkitError | None:
        """What is wrong; None: the batch is written."""
        try:
            async with asyncio.timeout(self._request_seconds):
                with translated(f"writing to {self._hub}"):
                    if batch.events is None:
                        batch.events = await self._batch(target)
                        batch.entries = self._fill(batch.events, entries)
                    if batch.entries:
                        await self._connected().send_batch(batch.events, timeout=self._request_seconds)
            return None
        except TimeoutError:
            failed: StreamkitError = BrokerUnavailableError(f"{self._hub}: no answer within {self._request_seconds:g} s", broker=BROKER)
            await self._disconnect()  # the SDK would go on with a connection whose other end is gone
        except StreamkitError as error:
            failed = error
        partition, _ = target
        return failed if partition is None or _NO_PARTITION not in str(failed) else _no_partition(self._hub, partition)

    async def _batch(self, target: _Target) -> EventDataBatch:
        partition, key = target
        client = self._connected()
        if partition is not None:
            return await client.create_batch(partition_id=partition)
        return await client.create_batch(partition_key=key) if key is not None else await client.create_batch()

    def _fill(self, batch: EventDataBatch, entries: deque[Entry]) -> list[Entry]:
        """Takes what fits. An event that is alone larger than a batch may be is answered as such."""
        taken: list[Entry] = []
        while entries:
            try:
                batch.add(entries[0].outgoing.event)
            except ValueError as error:  # it does not fit, or cannot be encoded at all
                if taken and _is_full(error):
                    break
                wrong = self._too_large(batch.max_size_in_bytes) if _is_full(error) else translation(error, f"writing to {self._hub}")
                self._give_up([entries.popleft()], entries, wrong)
                continue
            taken.append(entries.popleft())
        return taken

    def _too_large(self, most: int) -> BrokerError:
        text = f"{self._hub}: an event is larger than the {most} bytes that the event hub takes, its key and properties included"
        return BrokerError(text, broker=BROKER, fix="make the record smaller, or put it elsewhere and send where it is")

    async def _again(self, error: StreamkitError, attempts: int) -> bool:
        """Whether to try again; if so, it is time to."""
        if not (isinstance(error, BrokerError) and error.retryable):
            return False
        now = self._monotonic()
        self._failing_since = now if self._failing_since is None else self._failing_since
        pause = random.uniform(0, min(_MAX_BACKOFF_SECONDS, _FIRST_BACKOFF_SECONDS * 2.0 ** min(attempts, 16)))
        if isinstance(error, ThrottledError) and error.retry_after is not None:
            pause = max(pause, error.retry_after)
        if now + pause > self._failing_since + self._retry_seconds:
            return False
        with suppress(TimeoutError):
            await asyncio.wait_for(self._closing.wait(), pause)
        return not self._closing.is_set()

    def _give_up(self, given_up: list[Entry], entries: deque[Entry], error: StreamkitError) -> None:
        """These, and what stands behind them of the same key and `send`: it would else overtake them when they are sent again."""
        keys = {(id(entry.sending), entry.outgoing.key) for entry in given_up if entry.outgoing.key is not None}
        for entry in given_up:
            entry.answer(error)
        for entry in [one for one in entries if (id(one.sending), one.outgoing.key) in keys]:
            entries.remove(entry)
            entry.answer(behind(self._hub, error))


def _is_full(error: ValueError) -> bool:
    return "size limit" in str(error)


def behind(hub: str, error: Exception) -> BrokerUnavailableError:
    """For a record that was not sent because of one before it."""
    text = f"{hub}: not sent, because an earlier record of its key was not taken: {error}"
    return BrokerUnavailableError(text, broker=BROKER, fix="send both again, in their order")


def _no_partition(hub: str, partition: str) -> StreamGoneError:
    fix = "`streamkit partitions` lists them"
    return StreamGoneError(f"{hub} has no partition {partition!r}", broker=BROKER, partition=partition, fix=fix)


def _closed(hub: str) -> BrokerUnavailableError:
    return BrokerUnavailableError(f"{hub}: not sent, because the producer was closed", broker=BROKER)
