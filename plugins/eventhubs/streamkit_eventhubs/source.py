"""What feeds are made of: links, and questions about partitions. The seam between reading and the service."""

from __future__ import annotations

from abc import ABC, abstractmethod

from streamkit.model import Partition
from streamkit.plugin import AdapterContext
from streamkit_eventhubs.choice import new_link
from streamkit_eventhubs.hubs import Ends, Hubs
from streamkit_eventhubs.link import PartitionLink
from streamkit_eventhubs.settings import EventHubsSettings

__all__ = ["HubSource", "Source"]


class Source(ABC):
    """Asked by feeds, on the loop of the reader."""

    def __init__(self, settings: EventHubsSettings, context: AdapterContext) -> None:
        self.settings = settings
        self.context = context

    @abstractmethod
    def link(self, partition: Partition) -> PartitionLink:
        """A new one, not yet open. Raises ConfigurationError."""

    @abstractmethod
    async def ends(self, partition: Partition) -> Ends:
        """What the partition holds. Raises BrokerError."""


class HubSource(Source):
    """The service."""

    def __init__(self, settings: EventHubsSettings, context: AdapterContext, hubs: Hubs) -> None:
        super().__init__(settings, context)
        self._hubs = hubs

    def link(self, partition: Partition) -> PartitionLink:
        return new_link(self.settings, self._hubs.connecting.consumer(partition.stream, self._hubs.group), partition.id)

    async def ends(self, partition: Partition) -> Ends:
        return await self._hubs.ends(partition)
