"""Workers on an event hub of the emulator, with their leases as blobs of Azurite."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from azure.storage.blob import ContainerClient
from streamkit_sandbox.eventhubs.server import EventHubsServer
from streamkit_sandbox.fault_proxy import Fault, Kind

from tests.promise.workers.running import Place, Row

__all__ = ["EventHubsPlace"]


class EventHubsPlace(Place):
    """One hub, one consumer group with its blobs."""

    refusal = Fault(Kind.ERROR, status=503)
    short_lease = "8s"

    def __init__(self, server: EventHubsServer, store: Mapping[str, str], hub: str, folder: Path, seen: ContainerClient) -> None:
        """`store`: what a worker is told of Blob Storage; `seen`: the same container, without what may stand in front of it."""
        super().__init__(folder, hub, {**server.settings(), **store})
        self._server, self._seen = server, seen
        server.create_consumer_group(hub, self.group)

    def partition(self, number: int) -> str:
        return str(number)

    def put(self, data: bytes, slice_of: tuple[int, int]) -> None:
        """The slices are the partitions."""
        self._server.append(self.stream, [data], str(slice_of[0]))

    def leases(self) -> dict[str, Row]:
        """The number that Azure's SDKs read, and from our own text whose it is."""
        found = {}
        for blob in self._seen.list_blobs(name_starts_with=f"127.0.0.1/{self.stream}/{self.group}/checkpoint/", include=["metadata"]):
            row = json.loads(blob.metadata["streamkitrow"])
            sequence = int(blob.metadata["sequencenumber"])
            owner = row.get("owner", "").split("#")[0]
            found[blob.name.rpartition("/")[2]] = Row(sequence if sequence >= 0 else None, owner, row.get("epoch", 0))
        return found
