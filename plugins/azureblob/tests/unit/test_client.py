"""The SDK's client: made without I/O, bounded in time, and closed with what stands behind it."""

from __future__ import annotations

import sys
from contextlib import AsyncExitStack

import pytest
from pydantic import SecretStr
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
        client = await make_client(settings, closing)
        assert client.url == "https://name.blob.core.windows.net/abc"


@in_loop
async def test_without_azure_identity_the_extra_is_named() -> None:
    with pytest.MonkeyPatch.context() as patched:
        patched.setitem(sys.modules, "azure.identity.aio", None)
        async with AsyncExitStack() as closing:
            with pytest.raises(ConfigurationError) as raised:
                await make_client(BY_IDENTITY, closing)
    assert raised.value.setting == "STREAMKIT_AZUREBLOB__ACCOUNT_URL"
    assert "streamkit-azureblob[identity]" in raised.value.fix


def test_with_the_defaults_a_renewal_has_failed_before_half_of_a_lease_is_over() -> None:
    assert call_seconds(BY_KEY) <= Settings.model_fields["lease_duration"].default.total_seconds() / 2
