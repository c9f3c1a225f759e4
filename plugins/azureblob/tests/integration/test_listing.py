"""Listings on Azurite: two at once, and what is listed that is no row."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from azure.storage.blob.aio import ContainerClient
from streamkit_sandbox.azurite import AzuriteServer

from plugins.azureblob.tests.lossy import Lossy, after, context_of, hub, in_loop, opened
from streamkit.model import Checkpoint, Lease, ParkedKey

pytestmark = pytest.mark.integration


class Between(Lossy):
    """Does something just before the next blob is read."""

    def __init__(self) -> None:
        super().__init__()
        self.before_read: Callable[[], Awaitable[object]] | None = None

    async def send(self, request: Any, **config: Any) -> Any:
        if request.method == "HEAD" and (do := self.before_read) is not None:
            self.before_read = None
            await do()
        return await super().send(request, **config)


@in_loop
async def test_of_two_listings_at_once_neither_forgets_what_the_other_has_read(azurite_server: AzuriteServer, blob_container: str) -> None:
    transport = Between()
    async with opened(azurite_server, blob_container, transport=transport) as store, opened(azurite_server, blob_container) as owner:
        grants = {name: (await owner.claim(hub(name), "w", 0)).grant for name in ("0", "1")}

        async def park(name: str, count: int) -> None:
            parked = {b"k": ParkedKey("orders/0/1", tuple(map(str, range(count))))}
            await owner.save([(Checkpoint(hub(name), after(count).at, parked=parked, owner="w"), grants[name])])

        async def meanwhile() -> None:
            await park("0", 2)
            assert len(await store.requests()) == 0

        await park("0", 1)
        await park("1", 1)
        assert len(await store.leases()) == 2
        await park("1", 2)
        transport.before_read = meanwhile
        assert len(await store.leases()) == 2


@in_loop
async def test_the_directories_of_a_data_lake_account_are_no_rows_of_another_broker(
    azurite_server: AzuriteServer, blob_container: str
) -> None:
    async with ContainerClient.from_connection_string(azurite_server.connection_string, blob_container) as client:
        for name in ("streamkit", "streamkit/kinesis", "streamkit/kinesis/g", "streamkit/kinesis/g/orders"):
            await client.upload_blob(name, b"", metadata={"hdi_isfolder": "true"})
    async with opened(azurite_server, blob_container, context_of(broker="kinesis", group="g")) as store:
        await store.create([Lease(hub())])
        assert [lease.partition.id for lease in await store.leases()] == ["0"]
