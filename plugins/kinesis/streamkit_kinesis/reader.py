"""Reads the shards that a worker holds. What it does with the service is in `fetching.py`; this is the engine's side of it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import ClassVar

from streamkit.model import Partition, StartPosition
from streamkit.plugin import AdapterContext, Budget, Event, Reader
from streamkit_kinesis.client import Clients
from streamkit_kinesis.cursor import Cursor
from streamkit_kinesis.ends import Ends
from streamkit_kinesis.fetch import MARGIN_SECONDS, Fetch
from streamkit_kinesis.fetching import Fetching
from streamkit_kinesis.pace import Pace
from streamkit_kinesis.room import Appetite
from streamkit_kinesis.settings import KinesisSettings
from streamkit_kinesis.streams import StreamBook

__all__ = ["KinesisReader"]


class KinesisReader(Reader):
    """Made by `KinesisBroker.reader`."""

    blocking: ClassVar[bool] = True

    def __init__(self, settings: KinesisSettings, context: AdapterContext, clients: Clients, book: StreamBook) -> None:
        self._context = context
        fetch = Fetch(clients.reading, Ends(clients.control, book), book, context, settings.out_of_range)
        self._fetching = Fetching(settings, context, fetch)

    async def add(self, partition: Partition, start: StartPosition, *, written: datetime | None = None, epoch: int = 0) -> None:
        """Asks nothing yet: what is wrong with the start is a `Failed` of a later poll."""
        added = self._context.unix_time()
        if start.kind == "latest":  # never from the engine, which has LATEST resolved; an iterator of it cannot be had again
            start = StartPosition.at_time(datetime.fromtimestamp(added - MARGIN_SECONDS, UTC))

        def cursor_of(pace: Pace, appetite: Appetite) -> Cursor:
            return Cursor(partition, start, written, added, pace, appetite)

        self._fetching.add(cursor_of)

    async def remove(self, partitions: Sequence[Partition]) -> None:
        self._fetching.remove(partitions)

    async def pause(self, partitions: Sequence[Partition]) -> None:
        self._fetching.pause(partitions, True)

    async def resume(self, partitions: Sequence[Partition]) -> None:
        self._fetching.pause(partitions, False)

    async def poll(self, budget: Budget) -> Sequence[Event]:
        return self._fetching.collect(budget)

    async def close(self) -> None:
        self._fetching.close()
