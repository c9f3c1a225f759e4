"""Event hubs, partitions and where to begin in them; makes the reader. Partitions have no lineage, and never end."""

from __future__ import annotations

from collections.abc import Sequence

from streamkit.model import Capabilities, Partition, Position, StartPosition
from streamkit.plugin import AdapterContext, Broker
from streamkit_eventhubs.client import Connecting
from streamkit_eventhubs.hubs import Hubs, together
from streamkit_eventhubs.reader import EventHubsReader
from streamkit_eventhubs.settings import EventHubsSettings
from streamkit_eventhubs.source import HubSource
from streamkit_eventhubs.starts import refuse_beyond

__all__ = ["EventHubsBroker"]


class EventHubsBroker(Broker[EventHubsSettings]):
    """Has no group: partitions are dealt out by leases in a store, or told (static ownership)."""

    capabilities = Capabilities(static=True, start_time=True)

    def __init__(self, settings: EventHubsSettings, context: AdapterContext) -> None:
        super().__init__(settings, context)
        self._opened: Hubs | None = None

    @property
    def hubs(self) -> Hubs:
        """Made by `open`."""
        assert self._opened is not None, "open() comes first"
        return self._opened

    def terms(self) -> Sequence[tuple[str, str]]:
        """What becomes of positions that have expired, and who may read beside us."""
        if self.settings.on_expired == "earliest":
            expired = "a partition whose next record is not kept any more goes on at its oldest record; logged and counted"
        else:
            expired = "a partition whose next record is not kept any more halts"
        readers = "the epoch is the link's owner level: the service cuts off whoever reads with a lower one, or without"
        return (("expired", expired), ("readers", readers))

    async def open(self) -> None:
        """As the contract says; connects with the first question."""
        group = self.settings.consumer_group or self.context.group
        self._opened = Hubs(Connecting(self.settings), group, self.settings.request_seconds)

    async def close(self) -> None:
        hubs, self._opened = self._opened, None
        if hubs is not None:
            await hubs.close()
            await hubs.connecting.close()

    async def discover(self, streams: Sequence[str], start: StartPosition) -> Sequence[Partition]:
        """All partitions, whatever `start` is. The incarnation is `<namespace>/<event hub>@<unix seconds of its creation>`."""
        found = await together([self.hubs.partitions(stream) for stream in dict.fromkeys(streams)])
        return [partition for partitions in found for partition in partitions]

    async def tips(self, partitions: Sequence[Partition]) -> Sequence[Position | None]:
        """The event written last, if any is kept."""
        ends = await together([self.hubs.ends(partition) for partition in partitions])
        return [None if end.is_empty else end.tip for end in ends]

    async def resolve(self, partition: Partition, start: StartPosition) -> StartPosition:
        """LATEST becomes `after` the event written last; a time and EARLIEST mean the same tomorrow as they are."""
        if start.kind in ("earliest", "time"):
            return start
        ends = await self.hubs.ends(partition)
        if start.kind == "latest":
            return StartPosition.after(ends.tip) if ends.newest >= 0 else StartPosition.EARLIEST
        if (invalid := refuse_beyond(partition, start, ends)) is not None:
            raise invalid
        return start

    def reader(self) -> EventHubsReader:
        return EventHubsReader(HubSource(self.settings, self.context, self.hubs))
