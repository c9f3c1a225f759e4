"""The service's codes become errors that name the right, the setting and the fix; what has no code proves nothing."""

from __future__ import annotations

import asyncio
import traceback
from contextlib import AsyncExitStack
from typing import Any

import pytest
from azure.core.exceptions import ClientAuthenticationError, HttpResponseError, ServiceRequestError
from pydantic import SecretStr
from streamkit_azureblob.client import make_client
from streamkit_azureblob.errors import translated, translation
from streamkit_azureblob.settings import AzureBlobSettings

from streamkit.errors import (
    AccessDeniedError,
    CheckpointError,
    ConfigurationError,
    StoreNotReadyError,
    StoreThrottledError,
    StoreUnavailableError,
    StreamkitError,
)


class Answer:
    """As much of a response as an error of the SDK looks at."""

    def __init__(self, status: int, code: str | None) -> None:
        self.status_code = status
        self.reason = "why"
        self.headers = {} if code is None else {"x-ms-error-code": code}

    def text(self, encoding: str | None = None) -> str:
        return "<html>secret</html>"


def error(status: int, code: str | None) -> HttpResponseError:
    response: Any = Answer(status, code)
    return HttpResponseError(message="quoted: secret", response=response)


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (503, "ServerBusy", StoreThrottledError),
        (500, "InternalError", StoreUnavailableError),
        (500, "OperationTimedOut", StoreUnavailableError),
        (403, "AuthenticationFailed", AccessDeniedError),
        (403, "AuthorizationPermissionMismatch", AccessDeniedError),
        (403, "AuthorizationFailure", AccessDeniedError),
        (404, "ContainerNotFound", ConfigurationError),
        (409, "ContainerBeingDeleted", StoreNotReadyError),
        (400, "InvalidResourceName", ConfigurationError),
        (412, "LeaseIdMissing", CheckpointError),
        (409, "SomethingNew", StoreUnavailableError),
        (404, None, StoreUnavailableError),
        (403, None, StoreUnavailableError),
    ],
)
def test_each_code_has_its_error(status: int, code: str | None, kind: type[StreamkitError]) -> None:
    found = translation(error(status, code), "write blobs", "abc")
    assert type(found) is kind
    assert "secret" not in str(found), "an answer may quote what was signed"
    assert code is None or code in str(found) or kind is ConfigurationError


def test_a_missing_right_names_the_role() -> None:
    found = translation(error(403, "AuthorizationPermissionMismatch"), "write blobs", "abc")
    assert isinstance(found, AccessDeniedError)
    assert found.missing == "the right to write blobs"
    assert "Storage Blob Data Contributor" in found.fix


def test_credentials_that_are_refused_before_anything_is_sent_name_the_setting() -> None:
    found = translation(ClientAuthenticationError("token: secret"), "list blobs", "abc")
    assert isinstance(found, AccessDeniedError)
    assert "secret" not in str(found)
    assert "STREAMKIT_AZUREBLOB__ACCOUNT_URL" in found.fix


@pytest.mark.parametrize("cut", [ServiceRequestError("cannot connect"), TimeoutError(), ValueError("no element found"), KeyError("Blobs")])
def test_an_answer_that_is_missing_or_cut_is_in_doubt(cut: Exception) -> None:
    with pytest.raises(StoreUnavailableError), translated("list blobs", "abc"):
        raise cut


def test_a_signature_in_an_address_that_is_none_is_not_quoted() -> None:
    """A port that no host can have, say."""
    signed = SecretStr("BlobEndpoint=http://127.0.0.1:99999/x;SharedAccessSignature=sv=2024&sig=secret%2B")

    async def test() -> None:
        async with AsyncExitStack() as closing:
            client = await make_client(AzureBlobSettings(container="abc", connection_string=signed, retries=0), closing)
            with translated("list blobs", "abc"):
                await client.get_container_properties()

    with pytest.raises(StoreUnavailableError) as raised:
        asyncio.run(test())
    assert "127.0.0.1:99999" in str(raised.value)
    told = "".join(traceback.format_exception(raised.value))
    assert "sig=" not in told


def test_a_connection_string_that_is_none_is_not_quoted() -> None:
    async def test() -> None:
        settings = AzureBlobSettings(container="abc", connection_string=SecretStr("AccountKey secret"))
        async with AsyncExitStack() as closing:
            await make_client(settings, closing)

    with pytest.raises(ConfigurationError) as raised:
        asyncio.run(test())
    assert raised.value.setting == "STREAMKIT_AZUREBLOB__CONNECTION_STRING"
    assert "secret" not in str(raised.value)
    assert raised.value.__cause__ is None
