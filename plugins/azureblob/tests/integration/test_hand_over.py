"""A hub goes from streamkit to Azure's own consumer for Python and back, on one container: nothing is lost, nothing done twice."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from azure.eventhub import EventData
from azure.eventhub.aio import EventHubConsumerClient, EventHubProducerClient
from azure.eventhub.extensions.checkpointstoreblobaio import BlobCheckpointStore
from azure.storage.blob.aio import ContainerClient
from streamkit_sandbox.azurite import AzuriteServer
from streamkit_sandbox.eventhubs.server import EventHubsServer

from streamkit import App, Context, Record, record_processor
from streamkit.errors import ConfigurationError

pytestmark = pytest.mark.integration

PARTITIONS = 4
ROUND = 40
PATIENCE_SECONDS = 90.0


class Peer:
    """Azure's consumer, which checkpoints each event."""

    def __init__(self, eventhubs: EventHubsServer, hub: str, azurite: AzuriteServer, container: str) -> None:
        self.seen: list[int] = []
        self.has_all = asyncio.Event()
        self._store = BlobCheckpointStore.from_connection_string(azurite.connection_string, container)
        self._client = EventHubConsumerClient.from_connection_string(
            eventhubs.connection_string(), "$Default", eventhub_name=hub, checkpoint_store=self._store, load_balancing_interval=1
        )

    async def __aenter__(self) -> Peer:
        self._task = asyncio.create_task(self._client.receive(self._on_event, on_error=self._on_error, starting_position="-1"))
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._client.close()
        await self._task
        await self._store.close()

    async def _on_event(self, context: Any, event: EventData) -> None:
        self.seen.append(int(event.body_as_str()))
        await context.update_checkpoint(event)
        if len(self.seen) == ROUND:
            self.has_all.set()

    async def _on_error(self, context: Any, error: Exception) -> None:
        raise AssertionError("the peer has failed") from error


async def send(eventhubs: EventHubsServer, hub: str, first: int) -> None:
    async with EventHubProducerClient.from_connection_string(eventhubs.connection_string(), eventhub_name=hub) as producer:
        for partition in range(PARTITIONS):
            batch = await producer.create_batch(partition_id=str(partition))
            for number in range(first + partition, first + ROUND, PARTITIONS):
                batch.add(EventData(str(number)))
            await producer.send_batch(batch)


async def ours(settings: dict[str, Any]) -> list[int]:
    """What a worker processes until it is at the end."""
    seen = []

    @record_processor
    def handle(record: Record, context: Context) -> None:
        seen.append(int(record.value or b""))

    await asyncio.wait_for(App(handle, **settings).serve(), PATIENCE_SECONDS)
    return seen


def settings_of(azurite: AzuriteServer, container: str, eventhubs: EventHubsServer, hub: str) -> dict[str, Any]:
    return {
        "broker": "eventhubs",
        "stream": hub,
        "group": "$Default",
        "start": "earliest",
        "stop": "at_end",
        "store": "azureblob",
        "lease_duration": "20s",  # a machine that stands still for some seconds loses none
        "eventhubs": {"connection_string": eventhubs.connection_string()},
        "azureblob": {
            "connection_string": azurite.connection_string,
            "container": container,
            "namespace": f"127.0.0.1:{eventhubs.port}",  # as the Python SDK writes it for a server with a port
        },
    }


def test_a_hub_goes_to_azures_consumer_and_back(
    azurite_server: AzuriteServer, blob_container: str, eventhubs_server: EventHubsServer, event_hub: str
) -> None:
    settings = settings_of(azurite_server, blob_container, eventhubs_server, event_hub)

    async def test() -> None:
        await send(eventhubs_server, event_hub, 0)
        assert sorted(await ours(settings)) == list(range(ROUND))
        await send(eventhubs_server, event_hub, ROUND)
        async with Peer(eventhubs_server, event_hub, azurite_server, blob_container) as peer:
            await asyncio.wait_for(peer.has_all.wait(), PATIENCE_SECONDS)
            with pytest.raises(ConfigurationError, match="another program reads with this group"):
                await ours(settings)
        assert sorted(peer.seen) == list(range(ROUND, 2 * ROUND))
        await send(eventhubs_server, event_hub, 2 * ROUND)
        assert sorted(await ours(settings)) == list(range(2 * ROUND, 3 * ROUND))

    asyncio.run(test())


def test_what_an_eventprocessor_left_of_another_namespace_is_not_gone_on_with(
    azurite_server: AzuriteServer, blob_container: str, eventhubs_server: EventHubsServer, event_hub: str
) -> None:
    """The container is the same, and so are the names of hub and group: its places mean nothing here, and would skip records."""
    settings = settings_of(azurite_server, blob_container, eventhubs_server, event_hub)
    del settings["azureblob"]["namespace"]

    async def test() -> None:
        await send(eventhubs_server, event_hub, 0)
        async with ContainerClient.from_connection_string(azurite_server.connection_string, blob_container) as client:
            for partition in range(PARTITIONS):
                name = f"another.servicebus.windows.net/{event_hub.lower()}/$default/checkpoint/{partition}"
                await client.upload_blob(name, b"", metadata={"offset": "4", "sequencenumber": "4"})
        assert sorted(await ours(settings)) == list(range(ROUND))

    asyncio.run(test())
