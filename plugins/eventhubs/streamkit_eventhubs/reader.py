"""Reads the partitions that a worker holds, on the engine's I/O loop. What one partition does is in `feed.py`."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime

from streamkit.model import Batch, Partition, StartPosition
from streamkit.plugin import Budget, Event, Idle, Reader
from streamkit_eventhubs.feed import Feed
from streamkit_eventhubs.source import Source

__all__ = ["EventHubsReader"]

IDLE_SECONDS = 0.01
"""How long the engine waits before it looks again: events come by themselves, so looking costs no question to the service."""
LEAST_SHARE_BYTES = 64 << 10
OUTAGE_SECONDS = 5.0
"""After how long without any link that could be opened the reader as a whole has failed, and not single partitions."""
CLOSE_SECONDS = 4.0


class EventHubsReader(Reader):
    """Made by `EventHubsBroker.reader`. Nothing here waits for the service; each partition has a task for that."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._context = source.context
        self._feeds: dict[Partition, Feed] = {}
        self._ending: set[asyncio.Task[None]] = set()
        self._turn = 0

    async def add(self, partition: Partition, start: StartPosition, *, written: datetime | None = None, epoch: int = 0) -> None:
        """Only begins to open a link: what is wrong with it is an event of a later poll."""
        self._stop([partition])
        self._feeds[partition] = Feed(partition, start, epoch, self._source, self._share, self._is_outage)

    async def remove(self, partitions: Sequence[Partition]) -> None:
        """Links are closed aside: the next owner need not wait for it, because its higher epoch closes them as well."""
        self._stop(partitions)

    async def pause(self, partitions: Sequence[Partition]) -> None:
        for partition in partitions:
            if (feed := self._feeds.get(partition)) is not None:
                feed.paused = True

    async def resume(self, partitions: Sequence[Partition]) -> None:
        for partition in partitions:
            if (feed := self._feeds.get(partition)) is not None:
                feed.paused = False

    async def poll(self, budget: Budget) -> Sequence[Event]:
        """From each partition in turn, so that one which is always full does not keep out the others."""
        events: list[Event] = []
        records, size = 0, 0
        feeds = [feed for feed in self._feeds.values() if feed.has_something]
        for index in range(len(feeds)):
            feed = feeds[(self._turn + index) % len(feeds)]
            for event in feed.take(budget.max_records - records, budget.max_bytes - size, at_least_one=not records):
                events.append(event)
                if not isinstance(event, Batch):
                    continue
                records, size = records + len(event), size + event.bytes
        self._turn += 1
        if not events:
            self._complain()
        return events or [Idle(IDLE_SECONDS)]

    def _complain(self) -> None:
        """Raises what keeps every link from being opened, once it has done so for a while."""
        if (longest := self._longest_in_trouble()) is not None and longest.trouble is not None:
            raise longest.trouble

    def _is_outage(self) -> bool:
        return self._longest_in_trouble() is not None

    def _longest_in_trouble(self) -> Feed | None:
        """None: not all are, or not for long yet."""
        feeds = [feed for feed in self._feeds.values() if not feed.task.done()]  # one that has halted knows nothing of the service
        if not feeds or any(feed.trouble is None for feed in feeds):
            return None
        longest = min(feeds, key=lambda feed: feed.troubled_since)
        return longest if self._context.monotonic() - longest.troubled_since >= OUTAGE_SECONDS else None

    async def close(self) -> None:
        """Closes all links at once."""
        self._stop(list(self._feeds))
        if self._ending:
            await asyncio.wait(self._ending, timeout=CLOSE_SECONDS)

    def _share(self) -> int:
        """Even shares: what a paused partition holds is then not missing elsewhere."""
        return max(LEAST_SHARE_BYTES, self._source.settings.read_bytes // max(1, len(self._feeds)))

    def _stop(self, partitions: Sequence[Partition]) -> None:
        for partition in partitions:
            if (feed := self._feeds.pop(partition, None)) is not None:
                task = feed.stop()
                self._ending.add(task)
                task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._ending.discard(task)
