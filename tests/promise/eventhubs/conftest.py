"""The promises on the emulator of Event Hubs and on Azurite, with real processes where a promise is about processes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from secrets import token_hex

import pytest
from azure.storage.blob import ContainerClient
from streamkit_sandbox.azurite import AzuriteServer
from streamkit_sandbox.eventhubs.server import EventHubsServer

from tests.promise.eventhubs.running import EventHubsPlace
from tests.promise.workers.running import MakePlace


@pytest.fixture
def store_url(azurite_server: AzuriteServer) -> str:
    return azurite_server.endpoint_url


@pytest.fixture
def place(
    eventhubs_server: EventHubsServer, azurite_server: AzuriteServer, blob_container: str, store_url: str, tmp_path: Path
) -> Iterator[MakePlace]:
    """`place(partitions)`: a new hub, its consumer group, and a new container. `store_url`: a proxy's."""
    made: list[EventHubsPlace] = []
    seen = ContainerClient.from_connection_string(azurite_server.connection_string, blob_container)

    def make(partitions: int = 1, *, store_url: str = store_url) -> EventHubsPlace:
        hub = eventhubs_server.create_hub(f"hub-{token_hex(4)}", partitions)
        store = azurite_server.settings() | {
            "STREAMKIT_AZUREBLOB__CONNECTION_STRING": azurite_server.connection_string.replace(azurite_server.endpoint_url, store_url),
            "STREAMKIT_AZUREBLOB__CONTAINER": blob_container,
        }
        made.append(EventHubsPlace(eventhubs_server, store, hub, tmp_path, seen))
        return made[-1]

    yield make
    for one in made:
        one.end()
    seen.close()
