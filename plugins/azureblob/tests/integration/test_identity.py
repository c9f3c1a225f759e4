"""Without keys, over TLS: azure-identity's default chain, a managed identity on loopback, and Azurite that checks tokens."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from streamkit_azureblob.settings import AzureBlobSettings
from streamkit_azureblob.store import AzureBlobStore
from streamkit_sandbox.errors import ServerUnavailableError
from streamkit_sandbox.pytest_plugin import missing

from plugins.azureblob.tests.lossy import after, context_of, hub, in_loop
from plugins.sandbox.tests.identity import ManagedIdentity, logged_in, no_identity
from plugins.sandbox.tests.secure_azurite import SecureAzurite
from streamkit.errors import AccessDeniedError, StoreUnavailableError, StreamkitError

pytestmark = pytest.mark.integration

RESOURCE = "https://storage.azure.com"


@pytest.fixture(scope="module")
def azurite() -> Iterator[SecureAzurite]:
    server = SecureAzurite()
    try:
        server.start()
    except ServerUnavailableError as error:
        missing(str(error))
    with server:
        yield server


@pytest.fixture
def identity(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[ManagedIdentity]:
    with ManagedIdentity() as identity:
        logged_in(monkeypatch, identity, str(tmp_path))
        yield identity


def store_of(azurite: SecureAzurite, **changed: Any) -> AzureBlobStore:
    where = {"account_url": azurite.account_url, "ca_file": azurite.ca_file, "container": "checkpoints"}
    fields = where | {"request_timeout": "20s", **changed}
    return AzureBlobStore(AzureBlobSettings(**fields), context_of())


async def said_by(store: AzureBlobStore) -> StreamkitError:
    """Why it cannot be opened."""
    try:
        with pytest.raises(StreamkitError) as caught:
            await store.open()
        return caught.value
    finally:
        await store.close()


@in_loop
async def test_an_identity_claims_saves_and_lists_over_tls(azurite: SecureAzurite, identity: ManagedIdentity) -> None:
    store = store_of(azurite, container="by-identity")
    await store.open()  # makes the container
    claim = await store.claim(hub(), "w", 0)
    (grant,) = await store.save([(after(5), claim.grant)])
    assert not isinstance(grant, Exception)
    assert [checkpoint.at for checkpoint in await store.list()] == [after(5).at]
    await store.close()
    assert {resource.rstrip("/") for resource in identity.resources} == {RESOURCE}
    assert len(identity.resources) == 1  # the SDK keeps it


@pytest.mark.parametrize("wrong", ["authority", "name"])
@in_loop
async def test_a_certificate_that_is_not_trusted_is_denied_and_names_the_setting(
    azurite: SecureAzurite, identity: ManagedIdentity, wrong: str
) -> None:
    changed = {"ca_file": None} if wrong == "authority" else {"account_url": azurite.account_url.replace("127.0.0.1", "localhost")}
    error = await said_by(store_of(azurite, **changed))
    assert isinstance(error, AccessDeniedError)
    assert "STREAMKIT_AZUREBLOB__CA_FILE" in error.fix
    assert "CERTIFICATE_VERIFY_FAILED" in str(error)


@in_loop
async def test_a_token_that_the_account_does_not_take_is_a_denial(azurite: SecureAzurite, identity: ManagedIdentity) -> None:
    identity.life_seconds = -60
    error = await said_by(store_of(azurite))
    assert isinstance(error, AccessDeniedError)
    assert "STREAMKIT_AZUREBLOB__ACCOUNT_URL" in error.fix
    assert not any(token in str(error) for token in identity.tokens)


@pytest.mark.parametrize("how", ["none at all", "not this one"])
@in_loop
async def test_without_an_identity_it_is_said_at_once_what_to_set(
    azurite: SecureAzurite, identity: ManagedIdentity, how: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    identity.is_refusing = True
    if how == "none at all":
        no_identity(monkeypatch, str(tmp_path))
        monkeypatch.setenv("AZURE_TOKEN_CREDENTIALS", "dev")  # what is on this machine: the rest would ask a network
    began = time.monotonic()
    error = await said_by(store_of(azurite))
    assert time.monotonic() - began < 20.0, "it asked a network, or again and again"
    assert isinstance(error, AccessDeniedError)
    assert error.missing == "a login"
    assert "STREAMKIT_AZUREBLOB__CONNECTION_STRING" in error.fix
    assert "AZURE_CLIENT_ID" in error.fix


@in_loop
async def test_who_could_log_in_once_and_cannot_now_has_no_store_for_a_while(azurite: SecureAzurite, identity: ManagedIdentity) -> None:
    identity.life_seconds = 12
    store = store_of(azurite, container="for-a-while")
    try:
        await store.open()
        identity.is_refusing = True
        until = time.monotonic() + 60.0
        while not identity.refusals:
            assert list(await store.list()) == []
            assert time.monotonic() < until
        with pytest.raises(StoreUnavailableError) as caught:
            while time.monotonic() < until:  # the last token is still good for a while
                assert list(await store.list()) == []
        assert "AZURE_CLIENT_ID" in caught.value.fix
        identity.is_refusing, identity.life_seconds = False, 3600
        assert list(await store.list()) == []
    finally:
        await store.close()
