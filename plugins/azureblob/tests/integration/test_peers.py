"""Azure's own checkpoint stores on the same container: each goes on with what the other has left."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from azure.eventhub.extensions.checkpointstoreblobaio import BlobCheckpointStore
from streamkit_sandbox.azurite import AzuriteServer
from streamkit_sandbox.errors import ServerUnavailableError
from streamkit_sandbox.node import node, npm_package
from streamkit_sandbox.pytest_plugin import missing

from plugins.azureblob.tests.lossy import NAMESPACE, after, hub, in_loop, opened
from streamkit.errors import ConfigurationError
from streamkit.model import Checkpoint, Lease, ParkedKey, Position, StartPosition
from streamkit.plugin import Claim

pytestmark = pytest.mark.integration

WHERE = (NAMESPACE, "orders", "$Default")
JS_STORE = "@azure/eventhubs-checkpointstore-blob@2.0.0"
SCRIPT = Path(__file__).with_name("peer.js")


def python(server: AzuriteServer, container: str) -> BlobCheckpointStore:
    return BlobCheckpointStore.from_connection_string(server.connection_string, container)


def checkpoint(partition_id: str, offset: str, sequence: int) -> dict[str, Any]:
    names = ("fully_qualified_namespace", "eventhub_name", "consumer_group")
    return {**dict(zip(names, WHERE, strict=True)), "partition_id": partition_id, "offset": offset, "sequence_number": sequence}


def owned(partition_id: str, owner: str, etag: str | None = None) -> dict[str, Any]:
    return {**checkpoint(partition_id, "", 0), "owner_id": owner, **({"etag": etag} if etag else {})}


@in_loop
async def test_python_reads_every_row_that_we_write(azurite_server: AzuriteServer, blob_container: str) -> None:
    async with opened(azurite_server, blob_container) as store, python(azurite_server, blob_container) as peer:
        await store.create([Lease(hub("0")), Lease(hub("1"), checkpoint=Checkpoint(hub("1"), StartPosition.EARLIEST)), Lease(hub("2"))])
        claim = await store.claim(hub("2"), "w", 0)
        parked = {b"k": ParkedKey("orders/2/1", ("letter",))}
        await store.save([(Checkpoint(hub("2"), after(7, token="geo:7").at, metadata="ä" * 4096, owner="w", parked=parked), claim.grant)])
        found = {one["partition_id"]: (one["offset"], one["sequence_number"]) for one in await peer.list_checkpoints(*WHERE)}
        assert found == {"0": ("-1", -1), "1": ("-1", -1), "2": ("geo:7", 7)}
        owners = {one["partition_id"]: one["owner_id"] for one in await peer.list_ownership(*WHERE)}
        assert owners == {"2": "streamkit:w"}


@in_loop
async def test_a_hub_goes_to_python_and_back(azurite_server: AzuriteServer, blob_container: str) -> None:
    async with python(azurite_server, blob_container) as peer:
        (mine,) = await peer.claim_ownership([owned("0", "processor")])
        await peer.update_checkpoint(checkpoint("0", "4200", 42))
        async with opened(azurite_server, blob_container) as store:
            with pytest.raises(ConfigurationError, match="processor"):
                await store.check_start()
            await peer.claim_ownership([owned("0", "", mine["etag"])])  # what it does when it is closed
            await store.check_start()
            (row,) = await store.leases()
            (claim,) = await store.take([row], "w#00000001")
            assert isinstance(claim, Claim)
            assert claim.checkpoint is not None
            assert claim.checkpoint.at == StartPosition.after(Position(42))
            assert claim.checkpoint.at.position is not None
            assert claim.checkpoint.at.position.token == "4200"
            await store.save([(after(50, row.partition), claim.grant)])
            (ours,) = await peer.list_ownership(*WHERE)
            assert ours["owner_id"] == "streamkit:w#00000001", "a processor that starts sees that somebody is at work"
            assert list(await store.release([(row.partition, claim.grant)])) == [None]
        (free,) = await peer.list_ownership(*WHERE)
        assert not free["owner_id"]
        assert await peer.claim_ownership([owned("0", "processor", free["etag"])])
        (found,) = await peer.list_checkpoints(*WHERE)
        assert (found["offset"], found["sequence_number"]) == ("5000", 50)
        await peer.update_checkpoint(checkpoint("0", "6000", 60))
        async with opened(azurite_server, blob_container) as store:
            (again,) = await store.list()
            assert again.at.position == Position(60)


@in_loop
async def test_a_claim_of_python_with_an_old_etag_is_refused(azurite_server: AzuriteServer, blob_container: str) -> None:
    async with opened(azurite_server, blob_container) as store, python(azurite_server, blob_container) as peer:
        (mine,) = await peer.claim_ownership([owned("0", "")])
        await store.create([Lease(hub())])
        (row,) = await store.leases()
        (claim,) = await store.take([row], "w#00000001")
        assert isinstance(claim, Claim)
        assert await peer.claim_ownership([owned("0", "processor", mine["etag"])]) == []


def javascript(server: AzuriteServer, container: str, work: list[Mapping[str, object]]) -> dict[str, Any]:
    """What its checkpoint store lists after it has written these."""
    try:
        package, launcher = npm_package("eventhubs-js", JS_STORE), node("eventhubs-js").launcher
    except ServerUnavailableError as error:
        missing(str(error))
    given = [str(package), server.connection_string, container, NAMESPACE, json.dumps(work)]
    done = subprocess.run([str(launcher), str(SCRIPT), *given], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    listed: dict[str, Any] = json.loads(done.stdout)
    return listed


@in_loop
async def test_javascript_goes_on_with_ours_and_we_with_its(azurite_server: AzuriteServer, blob_container: str) -> None:
    async with opened(azurite_server, blob_container) as store:
        await store.create([Lease(hub("0")), Lease(hub("1"))])
        claim = await store.claim(hub("0"), "w", 0)
        await store.save([(after(7, hub("0")), claim.grant)])
    names = {"fullyQualifiedNamespace": NAMESPACE, "eventHubName": "orders", "consumerGroup": "$Default"}
    work = [{**names, "partitionId": "1", "offset": "900", "sequenceNumber": 9}]
    listed = javascript(azurite_server, blob_container, work)
    assert {one["partitionId"]: (one["offset"], one["sequenceNumber"]) for one in listed["checkpoints"]} == {
        "0": ("700", 7),
        "1": ("900", 9),
    }
    assert [one["ownerId"] for one in listed["owned"]] == ["streamkit:w"]
    async with opened(azurite_server, blob_container) as store:
        assert {one.partition.id: one.at.position for one in await store.list()} == {"0": Position(7), "1": Position(9)}
