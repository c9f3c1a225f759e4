"""Azure's EventProcessors for Python and JavaScript, each in a process that can be stopped or killed, and the blobs as they see them."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from azure.storage.blob import ContainerClient
from streamkit_sandbox.eventhubs.server import EventHubsServer
from streamkit_sandbox.eventhubs_js import JavaScriptClient, body_of

from tests.promise.kcl.hand_over import Delivery, Place

__all__ = ["PEERS", "Place", "Processor", "Row", "Site", "rows_of"]

INTERVAL_SECONDS = 0.5
PATIENCE_SECONDS = 60.0
SCRIPT = Path(__file__).with_name("processor.py")


@dataclass(frozen=True)
class Site:
    """What both sides read, and where both keep what they have done."""

    server: EventHubsServer
    hub: str
    group: str
    storage: str
    """Connection string of the storage account."""
    container: str
    expiry_seconds: float
    """For how long an owner that says nothing counts as alive."""


@dataclass(frozen=True, slots=True)
class Row:
    """Two blobs of a partition, in the words of Azure's SDKs."""

    offset: str
    sequence: int
    owner: str
    shown: float
    """The owner's last sign of life: unix seconds, by the service's clock."""

    def has_done(self, place: Place) -> bool:
        """Whether who goes on here leaves this event out."""
        return place.sequence <= self.sequence


def rows_of(site: Site) -> dict[str, Row]:
    """By partition. Those that have no checkpoint yet are left out, as a processor would begin at its own start position."""
    with ContainerClient.from_connection_string(site.storage, site.container) as client:
        blobs = {blob.name: blob for blob in client.list_blobs(include=["metadata"])}
    folder = f"127.0.0.1/{site.hub.lower()}/{site.group.lower()}"
    found = {}
    for name, blob in blobs.items():
        assert name.startswith(f"{folder}/"), f"{name} is of another hub, group or namespace: the two would not find each other's"
        if name.startswith(f"{folder}/checkpoint/"):
            owner = blobs[name.replace("/checkpoint/", "/ownership/")]
            found[name.rpartition("/")[2]] = Row(
                blob.metadata["offset"],
                int(blob.metadata["sequencenumber"]),
                owner.metadata["ownerid"] or "",
                owner.last_modified.timestamp(),
            )
    return found


class Processor(ABC):
    """One process with an EventProcessor of all partitions. `checkpoints`: of each partition it checkpoints only so many events."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.kill()

    @abstractmethod
    def deliveries(self) -> list[Delivery]:
        """What it was given up to now, in this order."""

    @abstractmethod
    def stop(self) -> None:
        """Ends it in order."""

    @abstractmethod
    def kill(self) -> None:
        """Ends it with SIGKILL; may be called again."""

    @abstractmethod
    def said(self) -> str:
        """Its errors."""


class PythonProcessor(Processor):
    """azure-eventhub 5.15.1 and azure-eventhub-checkpointstoreblob-aio 1.2.0."""

    def __init__(self, site: Site, folder: Path, name: str, checkpoints: int | None) -> None:
        self._log, self._errors = folder / f"{name}.log", folder / f"{name}.err"
        told = {
            "connection_string": site.server.connection_string().replace(f":{site.server.port}", ""),
            "address": f"sb://127.0.0.1:{site.server.port}",
            "hub": site.hub,
            "group": site.group,
            "storage": site.storage,
            "container": site.container,
            "interval_seconds": INTERVAL_SECONDS,
            "expiry_seconds": site.expiry_seconds,
            "checkpoints": checkpoints,
        }
        environment = os.environ | {"PROCESSOR": json.dumps(told), "PROCESSOR_LOG": str(self._log)}
        with self._errors.open("wb") as errors:
            self._process = subprocess.Popen([sys.executable, str(SCRIPT)], env=environment, stdout=errors, stderr=errors)

    def deliveries(self) -> list[Delivery]:
        text = self._log.read_text() if self._log.exists() else ""
        lines = [line.split() for line in text[: text.rfind("\n") + 1].splitlines()]
        return [
            Delivery(int(moment), partition, Place(int(sequence), int(sub_sequence)), key, int(number))
            for moment, what, partition, sequence, sub_sequence, key, number in lines
            if what == "record"
        ]

    def stop(self) -> None:
        self._process.send_signal(signal.SIGTERM)
        assert self._process.wait(PATIENCE_SECONDS) == 0, self.said()

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        self._process.wait(PATIENCE_SECONDS)

    def said(self) -> str:
        return self._errors.read_text()[-6000:]


class JavaScriptProcessor(Processor):
    """@azure/event-hubs 6.0.4 and @azure/eventhubs-checkpointstore-blob 2.0.0."""

    def __init__(self, site: Site, folder: Path, name: str, checkpoints: int | None) -> None:
        self._deliveries: list[Delivery] = []
        self._errors: list[Any] = []
        self._client = JavaScriptClient(site.server.connection_string())
        self._client.start()
        self._number = self._client.subscribe(
            site.hub,
            group=site.group,
            start="earliest",
            storage=site.storage,
            container=site.container,
            checkpoint=True if checkpoints is None else checkpoints,
            balancing={
                "updateIntervalInMs": INTERVAL_SECONDS * 1000,
                "partitionOwnershipExpirationIntervalInMs": site.expiry_seconds * 1000,
                "strategy": "greedy",
            },
        )

    def deliveries(self) -> list[Delivery]:
        if self._client.pid is not None:
            taken = self._client.take(self._number, 1, 0.0)
            self._errors += taken["errors"]
            for event in taken["events"]:
                key, number = body_of(event).decode().split()[:2]
                place = Place(event["sequenceNumber"], 0)
                self._deliveries.append(Delivery(len(self._deliveries), event["partition"], place, key, int(number)))
        return list(self._deliveries)

    def stop(self) -> None:
        self._client.unsubscribe(self._number)
        self.deliveries()
        self._client.close()

    def kill(self) -> None:
        self._client.close()

    def said(self) -> str:
        return "\n".join(map(str, self._errors))


PEERS: Mapping[str, Callable[[Site, Path, str, int | None], Processor]] = {"python": PythonProcessor, "javascript": JavaScriptProcessor}
