"""The SDK's client: made without I/O, bounded in time, and closed with what stands behind it."""

from __future__ import annotations

import ssl
import sys
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import trustme
from azure.core.pipeline.transport import AioHttpTransport
from pydantic import SecretStr
from streamkit_azureblob import client
from streamkit_azureblob.client import call_seconds, make_client
from streamkit_azureblob.settings import AzureBlobSettings

from plugins.azureblob.tests.lossy import in_loop
from streamkit.errors import ConfigurationError
from streamkit.settings import Settings

BY_IDENTITY = AzureBlobSettings(container="abc", account_url="https://name.blob.core.windows.net")
BY_KEY = AzureBlobSettings(container="abc", connection_string=SecretStr("AccountName=name;AccountKey=a2V5;EndpointSuffix=core.windows.net"))


@pytest.mark.parametrize("settings", [BY_IDENTITY, BY_KEY])
@in_loop
async def test_either_way_in_makes_a_client_of_the_container(settings: AzureBlobSettings) -> None:
    async with AsyncExitStack() as closing:
        made = await make_client(settings, closing)
        assert made.url == "https://name.blob.core.windows.net/abc"


@in_loop
async def test_without_azure_identity_the_extra_is_named() -> None:
    with pytest.MonkeyPatch.context() as patched:
        patched.setitem(sys.modules, "azure.identity.aio", None)
        async with AsyncExitStack() as closing:
            with pytest.raises(ConfigurationError) as raised:
                await make_client(BY_IDENTITY, closing)
    assert raised.value.setting == "STREAMKIT_AZUREBLOB__ACCOUNT_URL"
    assert "streamkit-azureblob[identity]" in raised.value.fix


@in_loop
async def test_an_authority_of_ones_own_is_read_once_and_is_the_only_one(tmp_path: Path) -> None:
    ca_file = tmp_path / "ours.pem"
    trustme.CA().cert_pem.write_to_path(ca_file)
    with pytest.MonkeyPatch.context() as patched:
        made: list[ssl.SSLContext] = []
        create = ssl.create_default_context
        patched.setattr(ssl, "create_default_context", lambda **options: made.append(create(**options)) or made[-1])
        async with AsyncExitStack() as closing:
            await make_client(BY_KEY.model_copy(update={"ca_file": ca_file}), closing)
        (trusted,) = made
    assert trusted.cert_store_stats()["x509_ca"] == 1
    assert (trusted.verify_mode, trusted.check_hostname) == (ssl.CERT_REQUIRED, True)


@in_loop
async def test_what_was_made_for_a_client_that_is_none_is_closed(tmp_path: Path) -> None:
    ca_file = tmp_path / "ours.pem"
    trustme.CA().cert_pem.write_to_path(ca_file)
    made: list[AioHttpTransport] = []
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(client, "_trusting", lambda *given, make=client._trusting: made.append(make(*given)) or made[-1])
        async with AsyncExitStack() as closing:
            with pytest.raises(ConfigurationError):
                await make_client(AzureBlobSettings(container="abc", connection_string=SecretStr("none"), ca_file=ca_file), closing)
            session = made[0].session
    assert session is not None
    assert session.closed


@pytest.mark.parametrize("text", [None, "no certificate"])
@in_loop
async def test_a_file_of_authorities_that_is_none_is_refused(text: str | None, tmp_path: Path) -> None:
    if text is not None:
        (tmp_path / "x.pem").write_text(text)
    async with AsyncExitStack() as closing:
        with pytest.raises(ConfigurationError, match=r"x\.pem") as raised:
            await make_client(BY_KEY.model_copy(update={"ca_file": tmp_path / "x.pem"}), closing)
    assert raised.value.setting == "STREAMKIT_AZUREBLOB__CA_FILE"


def test_with_the_defaults_a_renewal_has_failed_before_half_of_a_lease_is_over() -> None:
    assert call_seconds(BY_KEY) <= Settings.model_fields["lease_duration"].default.total_seconds() / 2
