"""The rules of stores, in both layouts: that of Azure's SDKs, for event hubs, and ours, for any other broker."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import ClassVar

import pytest
from pydantic import SecretStr
from streamkit_azureblob.clock import Clock
from streamkit_azureblob.settings import AzureBlobSettings
from streamkit_azureblob.store import AzureBlobStore
from streamkit_sandbox.azurite import AzuriteServer

from streamkit.plugin import AdapterContext
from streamkit.testing.conformance import StoreKit, store_rules

pytestmark = pytest.mark.integration


class BlobKit(StoreKit):
    """One container on Azurite."""

    patience_seconds = 60.0  # a process that imports the SDK and finds the machine busy begins late
    rule_seconds = 110.0

    def __init__(self, connection_string: str, container: str) -> None:
        self.connection_string = connection_string
        self.container = container

    def store(self, context: AdapterContext) -> AzureBlobStore:
        return AzureBlobStore(self._settings(self.connection_string), context)

    def unreachable(self, context: AdapterContext) -> AzureBlobStore:
        nowhere = "DefaultEndpointsProtocol=http;AccountName=a;AccountKey=a2V5;BlobEndpoint=http://127.0.0.1:9/a;"
        return AzureBlobStore(self._settings(nowhere), context)

    def _settings(self, connection_string: str) -> AzureBlobSettings:
        patient = timedelta(seconds=20)  # a busy machine lets Azurite stand still for some
        return AzureBlobSettings(connection_string=SecretStr(connection_string), container=self.container, request_timeout=patient)


class In1970(Clock):
    """The rules count epochs from one, where this layout begins with the seconds since 1970."""

    def now(self) -> float:
        return 0.0


class HubStore(AzureBlobStore):
    """With that clock."""

    def _clock(self) -> Clock:
        return In1970(self.context.monotonic, self.context.unix_time)


class HubKit(BlobKit):
    """The same for partitions of event hubs."""

    excused: ClassVar[Mapping[str, str]] = {
        "S31": "groups and hubs of one name but for capitals are the same for the service, and other brokers' partitions lie elsewhere",
        "L08": "the same as S31",
    }

    def store(self, context: AdapterContext) -> AzureBlobStore:
        if context.broker == "kit":
            context.broker = "eventhubs"
            context.streams = ("^.*",)
        settings = self._settings(self.connection_string).model_copy(update={"namespace": "myns.servicebus.windows.net"})
        return HubStore(settings, context)


@pytest.fixture
def blobs(azurite_server: AzuriteServer, blob_container: str) -> BlobKit:
    return BlobKit(azurite_server.connection_string, blob_container)


@pytest.fixture
def hubs(azurite_server: AzuriteServer, blob_container: str) -> HubKit:
    return HubKit(azurite_server.connection_string, blob_container)


test_rules = store_rules("blobs")
test_rules_of_event_hubs = store_rules("hubs")
