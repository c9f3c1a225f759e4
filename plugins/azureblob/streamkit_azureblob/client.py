"""Makes the SDK's client of a container. Nothing is sent."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from contextlib import AsyncExitStack
from typing import Any

import aiohttp
from azure.core.pipeline.transport import AioHttpTransport
from azure.storage.blob.aio import ContainerClient, ExponentialRetry

from streamkit import __version__
from streamkit.errors import ConfigurationError
from streamkit_azureblob.errors import ACCOUNT_URL, CA_FILE, CONNECTION_STRING
from streamkit_azureblob.login import Login
from streamkit_azureblob.settings import AzureBlobSettings

__all__ = ["call_seconds", "make_client"]

CONNECT_SECONDS = 1.0
FIRST_PAUSE_SECONDS, JITTER_SECONDS = 0.2, 0.15
PAUSE_BASE = 0.5
"""Pauses of the SDK are the first one and a power of this: they do not grow, because the engine waits, and has a back-off of its own."""


def call_seconds(settings: AzureBlobSettings) -> float:
    """How long a call may take, with all its retries."""
    return settings.request_timeout.total_seconds() * (settings.retries + 1) + settings.retries * 1.0


async def make_client(settings: AzureBlobSettings, closing: AsyncExitStack, **more: Any) -> ContainerClient:
    """`closing` is given what is to be closed; `more` goes to the SDK, such as a transport. Raises ConfigurationError."""
    seconds = settings.request_timeout.total_seconds()
    options: dict[str, Any] = {
        "retry_policy": ExponentialRetry(
            initial_backoff=FIRST_PAUSE_SECONDS,  # type: ignore[arg-type]  # any number of seconds is taken
            increment_base=PAUSE_BASE,  # type: ignore[arg-type]
            random_jitter_range=JITTER_SECONDS,  # type: ignore[arg-type]
            retry_total=settings.retries,
        ),
        "connection_timeout": min(CONNECT_SECONDS, seconds),
        "read_timeout": seconds,
        "user_agent": f"streamkit/{__version__}",
        **more,
    }
    if settings.ca_file is not None:
        trusting = _trusting(settings, options)
        closing.push_async_callback(trusting.close)  # the client may turn out to be none
        options = {"transport": trusting, **options}
    client = _by_text(settings, options) if settings.connection_string is not None else await _by_identity(settings, closing, options)
    closing.push_async_callback(client.close)
    return client


def _trusting(settings: AzureBlobSettings, options: Mapping[str, Any]) -> AioHttpTransport:
    """Verifies certificates and host names. The SDK's own option reads the file for each request, on a connection of its own then."""
    try:
        trusted = ssl.create_default_context(cafile=str(settings.ca_file))
    except (OSError, ssl.SSLError) as error:
        fix = "it must be a PEM file that can be read"
        raise ConfigurationError(f"{settings.ca_file}: {error}", setting=CA_FILE, fix=fix) from error
    session = aiohttp.ClientSession(  # but for the first, as the SDK makes it
        connector=aiohttp.TCPConnector(ssl=trusted), cookie_jar=aiohttp.DummyCookieJar(), auto_decompress=False, trust_env=True
    )
    seconds = {name: options[name] for name in ("connection_timeout", "read_timeout")}
    return AioHttpTransport(session=session, **seconds)


def _by_text(settings: AzureBlobSettings, options: Mapping[str, Any]) -> ContainerClient:
    assert settings.connection_string is not None
    try:
        return ContainerClient.from_connection_string(settings.connection_string.get_secret_value(), settings.container, **options)
    except (ValueError, KeyError):  # their text may quote it
        fix = "copy it from the portal: DefaultEndpointsProtocol=https;AccountName=…;AccountKey=…"
        raise ConfigurationError("it is no connection string of a storage account", setting=CONNECTION_STRING, fix=fix) from None


async def _by_identity(settings: AzureBlobSettings, closing: AsyncExitStack, options: Mapping[str, Any]) -> ContainerClient:
    try:
        from azure.identity.aio import DefaultAzureCredential

        credential = Login(DefaultAzureCredential())
    except ImportError as error:
        fix = "pip install 'streamkit-azureblob[identity]', or set STREAMKIT_AZUREBLOB__CONNECTION_STRING"
        raise ConfigurationError("it needs azure-identity, which is not installed", setting=ACCOUNT_URL, fix=fix) from error
    except ValueError as error:  # what a variable of its own says
        raise ConfigurationError(f"azure-identity: {error}", setting=ACCOUNT_URL, fix="correct its AZURE_… variables") from error
    assert settings.account_url is not None
    closing.push_async_callback(credential.close)
    return ContainerClient(settings.account_url, settings.container, credential=credential, **options)
