"""Azurite as the SDK of Azure Storage sees it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from azure.core import MatchConditions
from azure.core.exceptions import HttpResponseError, ResourceExistsError, ServiceRequestError, ServiceResponseError
from azure.storage.blob import ContainerClient
from streamkit_sandbox.azurite import AzuriteServer
from streamkit_sandbox.errors import SandboxError

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("azurite_server")]
COMMAND = [sys.executable, "-c", "from streamkit.cli import main; main()", "sandbox", "azurite", "--json"]


def container(server: AzuriteServer, name: str, seconds: float = 30) -> ContainerClient:
    """A client that asks once, and waits so long for the answer."""
    patience = {"connection_timeout": seconds, "read_timeout": seconds}
    return ContainerClient.from_connection_string(server.connection_string, name, retry_total=0, **patience)


@pytest.fixture
def blobs(azurite_server: AzuriteServer, blob_container: str) -> Iterator[ContainerClient]:
    with container(azurite_server, blob_container) as client:
        yield client


def names(client: ContainerClient) -> list[str]:
    return [blob.name for blob in client.list_blobs()]


def test_a_container_by_fixture_is_empty_and_has_a_name_of_its_own(
    azurite_server: AzuriteServer, blob_container: str, blobs: ContainerClient
) -> None:
    assert names(blobs) == []
    assert azurite_server.create_container() != blob_container
    assert azurite_server.create_container(blob_container) == blob_container


def test_metadata_and_conditions_are_as_in_azure(blobs: ContainerClient) -> None:
    blob = blobs.upload_blob("ownership/0", b"", metadata={"ownerid": "a"})
    first = blob.get_blob_properties()
    with pytest.raises(ResourceExistsError):
        blobs.upload_blob("ownership/0", b"", metadata={"ownerid": "b"})
    blob.set_blob_metadata({"ownerid": "b"}, etag=first.etag, match_condition=MatchConditions.IfNotModified)
    with pytest.raises(HttpResponseError) as caught:
        blob.set_blob_metadata({"ownerid": "c"}, etag=first.etag, match_condition=MatchConditions.IfNotModified)
    assert caught.value.status_code == 412
    assert blob.get_blob_properties().metadata == {"ownerid": "b"}


def test_a_wrong_key_is_refused(azurite_server: AzuriteServer, blob_container: str) -> None:
    wrong = azurite_server.connection_string.replace("AccountKey=Eby8", "AccountKey=Abc8")
    with ContainerClient.from_connection_string(wrong, blob_container, retry_total=0) as client, pytest.raises(HttpResponseError) as caught:
        names(client)
    assert caught.value.status_code == 403


def test_a_container_that_cannot_have_its_name_is_refused_with_the_reason(azurite_server: AzuriteServer) -> None:
    with pytest.raises(SandboxError, match=r"container 'A' was refused with 400: .*"):
        azurite_server.create_container("A")


def test_a_server_that_is_paused_fails_its_clients_and_goes_on_with_what_it_had() -> None:
    with AzuriteServer() as server, container(server, server.create_container()) as client:
        client.upload_blob("kept", b"x")
        server.pause()
        with container(server, client.container_name, seconds=1) as impatient, pytest.raises(ServiceResponseError):
            names(impatient)
        server.resume()
        assert names(client) == ["kept"]


def test_a_server_in_memory_comes_back_empty_at_its_port_and_one_that_persists_does_not(tmp_path: Path) -> None:
    for persist in (False, True):
        with AzuriteServer(persist=persist) as server, container(server, server.create_container()) as client:
            client.upload_blob("kept", b"x")
            url = server.endpoint_url
            server.stop()
            with pytest.raises(ServiceRequestError):
                names(client)
            server.restart()
            assert server.endpoint_url == url
            assert client.exists() == persist
            if persist:
                assert names(client) == ["kept"]


def test_the_command_prints_settings_that_are_enough_and_leaves_nothing() -> None:
    with subprocess.Popen(COMMAND, stdout=subprocess.PIPE) as running:
        try:
            assert running.stdout is not None
            lines: list[bytes] = []
            while not lines or lines[-1] not in (b"}\n", b""):
                lines.append(running.stdout.readline())
            settings = json.loads(b"".join(lines))
            name = settings["STREAMKIT_AZUREBLOB__CONTAINER"]
            with ContainerClient.from_connection_string(settings["STREAMKIT_AZUREBLOB__CONNECTION_STRING"], name, retry_total=0) as client:
                assert client.exists()
        finally:
            running.send_signal(signal.SIGTERM)
        assert running.wait(30) == 0
    assert settings["STREAMKIT_STORE"] == "azureblob"
