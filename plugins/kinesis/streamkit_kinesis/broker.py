"""Streams, shards and where to begin in them; makes the reader. The calls block, and so go through `self.blocking`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from streamkit.model import Capabilities, Partition, Position, StartPosition
from streamkit.plugin import AdapterContext, Broker
from streamkit_kinesis.client import Clients
from streamkit_kinesis.reader import KinesisReader
from streamkit_kinesis.settings import KinesisSettings
from streamkit_kinesis.shards import list_shards, reachable
from streamkit_kinesis.streams import StreamBook

__all__ = ["KinesisBroker"]

RECENT_SECONDS = 2.0
"""How old an answer about a stream may be that says what time it is: many shards are resolved at once, with one answer."""
SERVICE_MARGIN_SECONDS = 2.0
"""How far the clocks of the service's own machines may differ."""
OWN_MARGIN_SECONDS = 60.0
"""How far our clock may differ from the service's, as everywhere in streamkit."""


class KinesisBroker(Broker[KinesisSettings]):
    """Has no group: partitions are dealt out by leases in a store, or told (static ownership)."""

    capabilities = Capabilities(static=True, lineage=True, start_time=True)

    def __init__(self, settings: KinesisSettings, context: AdapterContext) -> None:
        super().__init__(settings, context)
        self._clients: Clients | None = None
        self._book: StreamBook | None = None

    @property
    def clients(self) -> Clients:
        """Made by `open`."""
        assert self._clients is not None, "open() comes first"
        return self._clients

    @property
    def book(self) -> StreamBook:
        """What is known of streams; made by `open`."""
        assert self._book is not None, "open() comes first"
        return self._book

    def terms(self) -> Sequence[tuple[str, str]]:
        """What becomes of positions that have expired, and of records that an aggregate has for other shards."""
        if self.settings.on_expired == "earliest":
            expired = "a shard whose checkpoint's record is not kept any more goes on at its oldest record; logged and counted"
        else:
            expired = "a shard whose checkpoint's record is not kept any more halts"
        if self.settings.out_of_range == "drop":
            aggregates = "taken apart; records in them whose keys belong to another shard are DROPPED there, logged and counted"
        else:
            aggregates = "taken apart; records in them whose keys belong to another shard are delivered as well"
        return (("expired", expired), ("aggregates", aggregates))

    async def open(self) -> None:
        """As the contract says; connects with the first question."""
        self._clients = await self.blocking(Clients, self.settings)
        self._book = StreamBook(self._clients.control, self.context)

    async def close(self) -> None:
        if self._clients is not None:
            self._clients.close()
        self._clients = self._book = None

    async def discover(self, streams: Sequence[str], start: StartPosition) -> Sequence[Partition]:
        """The incarnation is `<stream ARN>@<unix seconds of its creation>`."""
        return await self.blocking(self._discover, streams, start)

    def _discover(self, streams: Sequence[str], start: StartPosition) -> list[Partition]:
        infos = self.book.matching(streams)
        return [shard for info in infos for shard in reachable(list_shards(self.clients.control, info, start), start)]

    async def tips(self, partitions: Sequence[Partition]) -> Sequence[Position | None]:
        """The service does not tell them: each is a position without a number."""
        return [Position(None) for _ in partitions]

    async def resolve(self, partition: Partition, start: StartPosition) -> StartPosition:
        """LATEST becomes a time, because nothing else of it can be kept: iterators live for five minutes.

        The time is the service's own, which it also gives records: by our clock, fast by a minute, a minute of records would be
        passed over. So a few records of the last seconds before may come as well.
        """
        if start.kind != "latest":
            return start
        info = await self.blocking(self.book.look_up, partition.stream, RECENT_SECONDS)
        if info.service_time is not None:
            now = info.service_time - SERVICE_MARGIN_SECONDS
        else:
            now = self.context.unix_time() - RECENT_SECONDS - OWN_MARGIN_SECONDS
        return StartPosition.at_time(datetime.fromtimestamp(now, UTC))

    def reader(self) -> KinesisReader:
        return KinesisReader(self.settings, self.context, self.clients, self.book)
