"""Which link the reader is given: the fast one where it is possible, else the one that is public in the SDK."""

from __future__ import annotations

from azure.eventhub.aio import EventHubConsumerClient

from streamkit_eventhubs.fast_link import FastLink
from streamkit_eventhubs.link import PartitionLink, PublicLink
from streamkit_eventhubs.sdk_shape import difference
from streamkit_eventhubs.settings import EventHubsSettings

__all__ = ["new_link", "why_not_fast"]


def new_link(settings: EventHubsSettings, client: EventHubConsumerClient, partition_id: str) -> PartitionLink:
    """A link that has not been opened. The client is the link's alone, and is closed with it."""
    if why_not_fast(settings):
        return PublicLink(client, partition_id, settings.prefetch)
    return FastLink(client, partition_id, settings.prefetch)


def why_not_fast(settings: EventHubsSettings) -> str:
    """Why the public way is taken; empty: it is not."""
    if settings.receive == "sdk":
        return "STREAMKIT_EVENTHUBS__RECEIVE=sdk"
    if settings.transport == "websocket":
        return "STREAMKIT_EVENTHUBS__TRANSPORT=websocket"
    return difference()
