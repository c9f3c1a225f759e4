"""Sends what is in the outbox of one stream, until it is empty: one call at a time, so what is added meanwhile shares the next one.

Records that were refused (throttling, internal failures of the service) are sent again with full jitter, for a bounded time. An
answer in doubt is an error, never success, and nothing of it is sent again here. Made and called by `producer.py`, on one loop.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress

from streamkit.errors import BrokerUnavailableError, StreamkitError, ThrottledError
from streamkit_kinesis.errors import BROKER
from streamkit_kinesis.outbox import Outbox
from streamkit_kinesis.outgoing import Entry

__all__ = ["Sender", "Sending"]

_FIRST_BACKOFF_SECONDS = 0.1
_MAX_BACKOFF_SECONDS = 2.0

Put = Callable[[Sequence[Entry]], Awaitable[Sequence[StreamkitError | None]]]


class Sending:
    """The records of one `send`, and what became of them."""

    def __init__(self, count: int) -> None:
        self.answers: list[Exception | None] = [None] * count
        self._left = count
        self._complete: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def answer(self, index: int, answer: Exception | None) -> None:
        """Once for each."""
        self.answers[index] = answer
        self._left -= 1
        if self._left == 0 and not self._complete.done():
            self._complete.set_result(None)

    async def wait(self) -> None:
        """Until all are answered."""
        if self._left:
            await self._complete


class Sender:
    """Of one stream."""

    def __init__(self, stream: str, put: Put, monotonic: Callable[[], float], timeout_seconds: float) -> None:
        """`put` writes the entries of one call; what it raises is of all of them."""
        self._stream = stream
        self._put = put
        self._monotonic = monotonic
        self._timeout_seconds = timeout_seconds
        self._outbox = Outbox()
        self._owners: dict[Entry, tuple[Sending, int]] = {}
        self._task: asyncio.Task[None] | None = None
        self._news = asyncio.Event()

    def add(self, entries: Sequence[tuple[Entry, int]], sending: Sending) -> None:
        """Each is answered to `sending`, under its index."""
        self._owners.update((entry, (sending, index)) for entry, index in entries)
        self._outbox.add(entry for entry, _ in entries)
        self._news.set()
        if self._task is None:
            self._task = asyncio.create_task(self._run())

    async def close(self) -> None:
        """What is under way is waited for; what waits is answered as not sent."""
        for entry in self._outbox.empty():
            self._answer(entry, BrokerUnavailableError(f"{self._stream}: not sent, because the producer was closed", broker=BROKER))
        self._news.set()
        if self._task is not None:
            await asyncio.wait([self._task])

    async def _run(self) -> None:
        try:
            while self._owners:
                if entries := self._outbox.take(self._monotonic()):
                    await self._send(entries)
                else:
                    await self._rest()
        except BaseException as error:  # cancelled, or a mistake of ours: nobody may wait for ever
            self._outbox.empty()
            for entry in list(self._owners):
                self._answer(entry, BrokerUnavailableError(f"{self._stream}: the sending has ended: {error!r}", broker=BROKER))
            raise
        finally:
            self._task = None

    async def _rest(self) -> None:
        """Until something may be sent again, or something is added."""
        at = self._outbox.next_at()
        self._news.clear()
        timeout = None if at is None else max(0.0, at - self._monotonic())
        with suppress(TimeoutError):
            await asyncio.wait_for(self._news.wait(), timeout)

    async def _send(self, entries: Sequence[Entry]) -> None:
        for entry in entries:
            entry.attempts += 1
            entry.first_sent = self._monotonic() if entry.first_sent is None else entry.first_sent
        answers: Sequence[StreamkitError | None]
        may_repeat = True
        try:
            answers = await self._put(entries)
        except ThrottledError as error:  # the whole call: nothing of it is in the stream
            answers = [error] * len(entries)
        except StreamkitError as error:  # it may be in the stream, or would be refused again
            answers = [error] * len(entries)
            may_repeat = False
        for entry, answer in zip(entries, answers, strict=True):
            if answer is None:
                self._outbox.done(entry)
                self._answer(entry, None)
            elif may_repeat and (at := self._again_at(entry)) is not None:
                self._outbox.again(entry, at)
            else:
                self._give_up(entry, answer)

    def _again_at(self, entry: Entry) -> float | None:
        """When to send it again: full jitter; None when its time is up."""
        now = self._monotonic()
        at = now + random.uniform(0, min(_MAX_BACKOFF_SECONDS, _FIRST_BACKOFF_SECONDS * 2.0 ** min(entry.attempts - 1, 16)))
        began = now if entry.first_sent is None else entry.first_sent
        return at if at < began + self._timeout_seconds else None

    def _give_up(self, entry: Entry, answer: StreamkitError) -> None:
        self._answer(entry, answer)
        for behind in self._outbox.failed(entry):
            text = f"{self._stream}: not sent, because an earlier record of its key was not taken: {answer}"
            self._answer(behind, BrokerUnavailableError(text, broker=BROKER, fix="send both again, in their order"))

    def _answer(self, entry: Entry, answer: Exception | None) -> None:
        sending, index = self._owners.pop(entry)
        sending.answer(index, answer)
