"""Turns what boto3 raises into streamkit's errors; the only place that knows DynamoDB's codes.

Codes: https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Programming.Errors.html, and for the statements of a
batch https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_BatchStatementError.html
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectTimeoutError,
    EndpointConnectionError,
    HTTPClientError,
    InvalidEndpointDiscoveryConfigurationError,
    NoCredentialsError,
    NoRegionError,
    PartialCredentialsError,
    ProfileNotFound,
)
from botocore.parsers import ResponseParserError

from streamkit.errors import (
    AccessDeniedError,
    CheckpointError,
    ConfigurationError,
    StoreNotReadyError,
    StoreThrottledError,
    StoreUnavailableError,
    StreamkitError,
)

__all__ = ["REGION", "STORE", "TABLE", "is_missing_table", "statement_error", "table_gone", "translated", "translation"]

STORE = "dynamodb"
TABLE = "STREAMKIT_DYNAMODB__TABLE"
REGION = "STREAMKIT_DYNAMODB__REGION"
ENDPOINT = "STREAMKIT_DYNAMODB__ENDPOINT_URL"
CREDENTIALS = "set AWS credentials as boto3 finds them (environment, profile, role); see that they are not expired, and the clock is right"

_THROTTLED = {
    "LimitExceededException",
    "ProvisionedThroughputExceeded",
    "ProvisionedThroughputExceededException",
    "RequestLimitExceeded",
    "ThrottledException",
    "Throttling",
    "ThrottlingError",
    "ThrottlingException",
    "TransactionConflict",
    "TransactionConflictException",
}
_GONE = {"ResourceNotFound", "ResourceNotFoundException", "TableNotFoundException"}
_DENIED = {"AccessDenied", "AccessDeniedException", "AccessDeniedError", "NotAuthorized", "OptInRequired"}
_LOGIN = {
    "ExpiredToken",
    "ExpiredTokenException",
    "IncompleteSignature",
    "IncompleteSignatureException",
    "InvalidClientTokenId",
    "InvalidSignatureException",
    "MissingAuthenticationToken",
    "MissingAuthenticationTokenException",
    "RequestExpired",
    "SignatureDoesNotMatch",
    "UnrecognizedClientException",
}
_NOT_READY = {"ResourceInUseException", "TableInUseException"}
_REFUSED = {"DuplicateItem", "ItemCollectionSizeLimitExceeded", "SerializationException", "ValidationError", "ValidationException"}
_ACTIONS = {"BatchExecuteStatement": "PartiQLUpdate, dynamodb:PartiQLInsert and dynamodb:PartiQLDelete"}


def is_missing_table(error: Exception) -> bool:
    return isinstance(error, ClientError) and _code(error) in _GONE


def table_gone(table: str) -> ConfigurationError:
    """The table was there when we began. Nothing goes on after this: what would be made anew knows no checkpoint."""
    return ConfigurationError(
        f"the table {table!r} is gone: it was deleted while this worker ran, and the checkpoints with it",
        setting=TABLE,
        fix="restore it from a backup, or start again and say where to begin (STREAMKIT_START)",
    )


def translation(error: Exception, doing: str, table: str) -> StreamkitError:
    """streamkit's error for whatever a call of the client has raised. `doing` is the operation."""
    if isinstance(error, ClientError):
        text = str(error.response.get("Error", {}).get("Message", ""))
        return _of_code(_code(error), text, doing, table)
    if isinstance(error, NoRegionError):
        return ConfigurationError(
            "boto3 finds no region", setting=REGION, fix="set it, or AWS_DEFAULT_REGION, or AWS_REGION, or a profile's region"
        )
    if isinstance(error, NoCredentialsError | PartialCredentialsError | ProfileNotFound):
        return AccessDeniedError(f"DynamoDB, {doing}: {error}", missing="AWS credentials", broker=STORE, fix=CREDENTIALS)
    is_about_endpoint = isinstance(error, ValueError) and not isinstance(error, ResponseParserError) and "endpoint" in str(error).lower()
    if is_about_endpoint or isinstance(error, InvalidEndpointDiscoveryConfigurationError):
        return ConfigurationError(f"boto3 does not take it: {error}", setting=ENDPOINT, fix="write it as http://host:port")
    kind = "no answer" if isinstance(error, HTTPClientError) else type(error).__name__
    fix = f"see that {REGION} and, if it is set, {ENDPOINT} are right and can be reached from here" if _is_unreachable(error) else ""
    return StoreUnavailableError(f"DynamoDB, {doing} {table!r}: {kind}: {error}", fix=fix)


def statement_error(error: Mapping[str, object], table: str) -> StreamkitError:
    """The same for one statement of a batch."""
    return _of_code(str(error.get("Code", "")), str(error.get("Message", "")), "BatchExecuteStatement", table)


@contextmanager
def translated(doing: str, table: str) -> Iterator[None]:
    """Raises `translation` of what the calls in it raise."""
    try:
        yield
    # RuntimeError: credentials have expired again as soon as they were renewed.
    except (ClientError, BotoCoreError, ResponseParserError, OSError, ValueError, RuntimeError) as error:
        if isinstance(error, StreamkitError):
            raise
        raise translation(error, doing, table) from error


def _is_unreachable(error: Exception) -> bool:
    return isinstance(error, EndpointConnectionError | ConnectTimeoutError)


def _code(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))


def _of_code(code: str, text: str, doing: str, table: str) -> StreamkitError:
    where = f"DynamoDB, {doing} {table!r}"
    if code in _THROTTLED:
        return StoreThrottledError(f"{where}: {code}", fix="give the table more capacity, or bill it on demand")
    if code in _GONE:
        return table_gone(table)
    if code in _LOGIN:  # without the service's own text: it may quote what was signed
        return AccessDeniedError(f"{where}: {code}", missing="valid AWS credentials", broker=STORE, fix=CREDENTIALS)
    if code in _DENIED:
        action = _action(text, doing)
        return AccessDeniedError(
            f"{where}: not allowed: {action}", missing=action, broker=STORE, fix=f"add it to the policy of this role, for table/{table}"
        )
    if code in _NOT_READY:
        return StoreNotReadyError(f"{where}: {code}: {text}")
    if code in _REFUSED and "size" in text.lower():
        return CheckpointError(
            f"{where}: the row would be larger than DynamoDB's 400 KB",
            fix="shorten the metadata or the state of prepared checkpoints, or release parked keys: streamkit dead-letters replay",
        )
    if code in _REFUSED:
        return CheckpointError(f"{where}: {code}: {text}")
    return StoreUnavailableError(f"{where}: {code or 'no answer'}: {text}")  # codes are added without notice


def _action(text: str, doing: str) -> str:
    """The right that is missing, as the service names it; else what the operation needs."""
    found = re.search(r"perform: (\w+:\w+)", text)
    return found[1] if found else f"dynamodb:{_ACTIONS.get(doing, doing)}"
