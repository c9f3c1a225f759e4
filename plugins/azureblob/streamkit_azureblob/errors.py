"""Turns what the Azure SDK raises into streamkit's errors; the only place that knows the service's codes.

Codes: https://learn.microsoft.com/rest/api/storageservices/blob-service-error-codes and
https://learn.microsoft.com/rest/api/storageservices/common-rest-api-error-codes
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Iterator
from contextlib import contextmanager

from azure.core.exceptions import AzureError, ClientAuthenticationError, HttpResponseError

from streamkit.errors import (
    AccessDeniedError,
    CheckpointError,
    ConfigurationError,
    StoreNotReadyError,
    StoreThrottledError,
    StoreUnavailableError,
    StreamkitError,
)
from streamkit_azureblob.login import NoLoginError, NotNowError

__all__ = ["ACCOUNT_URL", "CA_FILE", "CONNECTION_STRING", "CONTAINER", "STORE", "code_of", "container_gone", "translated", "translation"]

STORE = "azureblob"
CONTAINER = "STREAMKIT_AZUREBLOB__CONTAINER"
CONNECTION_STRING = "STREAMKIT_AZUREBLOB__CONNECTION_STRING"
ACCOUNT_URL = "STREAMKIT_AZUREBLOB__ACCOUNT_URL"
CA_FILE = "STREAMKIT_AZUREBLOB__CA_FILE"
ROLE = "Storage Blob Data Contributor"

_LOGIN_FIX = (
    "give this machine an identity (managed, workload, or AZURE_TENANT_ID, AZURE_CLIENT_ID and AZURE_CLIENT_SECRET; AZURE_CLIENT_ID also "
    f"chooses among several), log in with `az login`, or set {CONNECTION_STRING} in place of {ACCOUNT_URL}"
)
_SIGNATURE = re.compile(r"\?\S*\bsig=\S*", re.IGNORECASE)
_BUSY = {"ServerBusy", "TooManyRequests", "AccountBeingThrottled"}
_LOGIN = {"AuthenticationFailed", "InvalidAuthenticationInfo", "NoAuthenticationInformation", "InvalidAuthentication"}
_RIGHTS = {"AuthorizationPermissionMismatch", "InsufficientAccountPermissions", "AuthorizationProtocolMismatch"}
_CLOSED = {
    "AccountIsDisabled",
    "AuthorizationFailure",
    "AuthorizationSourceIPMismatch",
    "KeyBasedAuthenticationNotPermitted",
    "PublicAccessNotPermitted",
}
_NOT_READY = {"ContainerBeingDeleted", "ContainerDisabled"}
_WRONG_NAME = {"InvalidResourceName", "InvalidUri", "OutOfRangeInput"}
_HELD_FAST = {
    "BlobImmutableDueToLegalHold",
    "BlobImmutableDueToPolicy",
    "ContainerImmutableDueToPolicy",
    "InvalidBlobType",
    "LeaseIdMissing",
    "LeaseIdMismatchWithBlobOperation",
}


def code_of(error: Exception) -> str:
    """The service's own code, or nothing: an answer without one did not come from it."""
    if not isinstance(error, HttpResponseError):
        return ""
    headers = getattr(error.response, "headers", {})
    code = headers.get("x-ms-error-code") or getattr(error, "error_code", None)
    return str(getattr(code, "value", code) or "")


def container_gone(container: str) -> ConfigurationError:
    """Nothing goes on after this: what would be made anew knows no checkpoint."""
    return ConfigurationError(
        f"there is no container {container!r}",
        setting=CONTAINER,
        fix="make it, or set STREAMKIT_AZUREBLOB__CREATE_CONTAINER=true; if it was deleted while this worker ran, its checkpoints are gone",
    )


def translation(error: Exception, doing: str, container: str) -> StreamkitError:
    """streamkit's error for whatever a call of the SDK has raised. `doing` is the operation."""
    where = f"Blob Storage, {doing} in {container!r}"
    code = code_of(error)
    status = error.status_code if isinstance(error, HttpResponseError) else None
    if code:
        return _of_code(code, where, doing, container)
    if isinstance(error, NoLoginError):
        return AccessDeniedError(f"{where}: {_line(error, 800)}", missing="a login", broker=STORE, fix=_LOGIN_FIX)
    if isinstance(error, ClientAuthenticationError):  # the SDK's own, before anything was sent; it may quote what was tried
        return _not_known(where, type(error).__name__)
    if isinstance(error, NotNowError):
        return StoreUnavailableError(f"{where}: {_line(error)}", fix=_LOGIN_FIX)
    if any(isinstance(cause, ssl.SSLCertVerificationError) for cause in _causes(error)):
        missing = "a TLS connection that both sides accept"
        fix = f"{CA_FILE} names the authorities that are trusted; the certificate must be for the host that is connected to"
        return AccessDeniedError(f"{where}: {_line(error)}", missing=missing, broker=STORE, fix=fix)
    if status is not None:
        return StoreUnavailableError(f"{where}: {status} without a code of the service: something between us and it has answered")
    fix = f"see that {ACCOUNT_URL} or the endpoint in {CONNECTION_STRING} is right, and can be reached from here"
    return StoreUnavailableError(f"{where}: no whole answer: {type(error).__name__}: {_line(error)}", fix=fix)


@contextmanager
def translated(doing: str, container: str) -> Iterator[None]:
    """Raises `translation` of what the calls in it raise."""
    try:
        yield
    except StreamkitError:
        raise
    # The others are what the SDK lets through of aiohttp, and of answers that are cut: XML without an end is a ValueError or a KeyError.
    except (AzureError, OSError, TimeoutError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise translation(error, doing, container) from (None if _SIGNATURE.search(str(error)) else error)


def _of_code(code: str, where: str, doing: str, container: str) -> StreamkitError:
    if code in _BUSY:
        return StoreThrottledError(f"{where}: {code}", fix="let the storage account serve fewer others, or checkpoint less often")
    if code == "ContainerNotFound":
        return container_gone(container)
    if code in _LOGIN:
        return _not_known(where, code)
    if code in _RIGHTS:
        return AccessDeniedError(
            f"{where}: {code}",
            missing=f"the right to {doing}",
            broker=STORE,
            fix=f"give this identity the role {ROLE!r} on the container, or the signature the rights racwdl",
        )
    if code in _CLOSED:
        return AccessDeniedError(
            f"{where}: {code}",
            missing="access to the storage account",
            broker=STORE,
            fix=f"see its network rules, whether it lets in keys or identities only, and that the key in {CONNECTION_STRING} is its own",
        )
    if code in _NOT_READY:
        return StoreNotReadyError(f"{where}: {code}")
    if code in _WRONG_NAME:
        return ConfigurationError(f"{where}: {code}", setting=CONTAINER, fix="see the rules for names of containers and blobs")
    if code in _HELD_FAST:
        fix = "let no lease, policy or other program hold checkpoints"
        return CheckpointError(f"{where}: {code}: something else holds the blob", fix=fix)
    return StoreUnavailableError(f"{where}: {code}")  # codes are added without notice


def _not_known(where: str, why: str) -> AccessDeniedError:
    return AccessDeniedError(
        f"{where}: {why}",
        missing="valid credentials",
        broker=STORE,
        fix=f"see that the key or signature in {CONNECTION_STRING} is the account's and has not expired, or that the identity behind "
        f"{ACCOUNT_URL} can log in; and that the clock is right",
    )


def _causes(error: BaseException) -> Iterator[BaseException]:
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        inner = getattr(cause, "inner_exception", None)  # the SDK's
        cause = cause.__cause__ or (inner if isinstance(inner, BaseException) else None)


def _line(error: Exception, most: int = 200) -> str:
    """Of an address, which the SDK quotes if it is none, only what stands before the signature."""
    return _SIGNATURE.sub("?…", str(error)).split("\n", 1)[0][:most]
