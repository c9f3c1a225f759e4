"""Turns what boto3 raises into errors of streamkit; the only place that knows the service's codes.

Codes: https://docs.aws.amazon.com/kinesis/latest/APIReference/CommonErrors.html and the pages of each operation. The service
adds codes without notice, so an unknown one means «not now», unless its status is one of access.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from botocore import exceptions as sdk
from botocore.parsers import ResponseParserError

from streamkit.errors import (
    AccessDeniedError,
    BrokerError,
    BrokerUnavailableError,
    ConfigurationError,
    StreamGoneError,
    StreamkitError,
    ThrottledError,
)

__all__ = ["BROKER", "SDK_ERRORS", "broker_error", "code_of", "translated", "translation"]

BROKER = "kinesis"

SDK_ERRORS = (sdk.BotoCoreError, sdk.ClientError, ResponseParserError, RuntimeError, OSError)
"""Everything that a call of boto3 raises; RuntimeError where credentials have expired again as soon as they were renewed, OSError where
the file that they are in cannot be read for a moment."""

_THROTTLED = {
    "KMSThrottlingException",
    "LimitExceededException",
    "ProvisionedThroughputExceededException",
    "RequestLimitExceeded",
    "RequestThrottled",
    "RequestThrottledException",
    "SlowDown",
    "Throttling",
    "ThrottlingException",
    "TooManyRequestsException",
}
_LOGIN = {
    "ExpiredToken",
    "ExpiredTokenException",
    "IncompleteSignature",
    "IncompleteSignatureException",
    "InvalidAccessKeyId",
    "InvalidClientTokenId",
    "InvalidSignatureException",
    "MissingAuthenticationToken",
    "MissingAuthenticationTokenException",
    "NotAuthorized",
    "OptInRequired",
    "RequestExpired",
    "SignatureDoesNotMatch",
    "UnrecognizedClientException",
}
_KMS = {
    "KMSAccessDeniedException": "kms:Decrypt",
    "KMSDisabledException": "a KMS key that is enabled",
    "KMSInvalidStateException": "a KMS key that can be used",
    "KMSNotFoundException": "the stream's KMS key",
    "KMSOptInRequired": "a subscription to KMS",
}
_WRONG = {"InvalidArgumentException", "SerializationException", "UnknownOperationException", "ValidationException"}

_NO_CREDENTIALS = (
    sdk.CredentialRetrievalError,
    sdk.NoAuthTokenError,
    sdk.NoCredentialsError,
    sdk.PartialCredentialsError,
    sdk.SSOError,
    sdk.TokenRetrievalError,
)
_NO_ADDRESS = (
    sdk.EndpointProviderError,
    sdk.InvalidRegionError,
    sdk.NoRegionError,
    sdk.UnknownEndpointError,
)
_CREDENTIALS_FIX = "give credentials in one of boto3's ways (AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_PROFILE, a role)"


def code_of(error: BaseException) -> str:
    """The service's code for what went wrong, such as `ExpiredIteratorException`; empty if it has not answered."""
    if not isinstance(error, sdk.ClientError):
        return ""
    return str(error.response.get("Error", {}).get("Code", ""))


def _status_of(error: sdk.ClientError) -> int:
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    return int(status)


def broker_error(error: Exception, doing: str, partition: str = "") -> BrokerError:
    """What it means for records, whatever boto3 has raised; a setting that is at fault is still an error of the broker here."""
    known = translation(error, doing, partition)
    if isinstance(known, BrokerError):
        return known
    wrapped = BrokerError(str(known), broker=BROKER, partition=partition, fix=known.fix)
    wrapped.__cause__ = error
    return wrapped


def translation(error: Exception, doing: str, partition: str = "") -> StreamkitError:
    """streamkit's error for whatever a call of boto3 has raised."""
    known = _of_service(error, doing, partition) if isinstance(error, sdk.ClientError) else _of_client(error, doing, partition)
    known.__cause__ = error
    return known


def _of_service(error: sdk.ClientError, doing: str, partition: str) -> StreamkitError:
    code, status = code_of(error), _status_of(error)
    said = str(error.response.get("Error", {}).get("Message", "")).strip()
    text = f"Kinesis, {doing}: {said + ' ' if said else ''}({code or status})"
    if code in _THROTTLED:
        return ThrottledError(text, broker=BROKER, partition=partition)
    if code == "ResourceNotFoundException":
        fix = "make the stream, or correct STREAMKIT_STREAM and STREAMKIT_KINESIS__REGION"
        return StreamGoneError(text, broker=BROKER, partition=partition, fix=fix)
    if code in _LOGIN:
        return AccessDeniedError(text, missing="valid credentials", broker=BROKER, partition=partition, fix=_CREDENTIALS_FIX)
    if code in _KMS:
        fix = f"the stream is encrypted: the worker needs {_KMS[code]}"
        return AccessDeniedError(text, missing=_KMS[code], broker=BROKER, partition=partition, fix=fix)
    if "AccessDenied" in code or (status in (401, 403) and code not in _WRONG):
        action = _action(said, error.operation_name)
        return AccessDeniedError(text, missing=action, broker=BROKER, partition=partition, fix=f"allow {action} in the worker's IAM policy")
    if code in _WRONG:
        return BrokerError(text, broker=BROKER, partition=partition)
    return BrokerUnavailableError(text, broker=BROKER, partition=partition)


def _action(said: str, operation: str) -> str:
    """The right that is missing, as IAM names it: the service says it, as a rule."""
    found = re.search(r"perform: ([\w-]+:\w+)", said)
    return found[1] if found else f"kinesis:{operation}"


def _of_client(error: Exception, doing: str, partition: str) -> StreamkitError:
    """What boto3 says by itself: there was no answer, or nothing could be asked."""
    text = f"Kinesis, {doing}: {error}"
    if isinstance(error, _NO_ADDRESS):
        return ConfigurationError(
            text, setting="STREAMKIT_KINESIS__REGION", fix="set it, or AWS_DEFAULT_REGION, or AWS_REGION, or a profile's region"
        )
    if isinstance(error, _NO_CREDENTIALS) or (isinstance(error, RuntimeError) and "redentials" in str(error)):
        return AccessDeniedError(text, missing="credentials", broker=BROKER, partition=partition, fix=_CREDENTIALS_FIX)
    if isinstance(error, sdk.SSLError):
        fix = "AWS_CA_BUNDLE names the authorities that are trusted"
        return AccessDeniedError(text, missing="a TLS connection that both sides accept", broker=BROKER, partition=partition, fix=fix)
    if isinstance(error, sdk.ParamValidationError):
        return BrokerError(text, broker=BROKER, partition=partition)
    if isinstance(error, sdk.EndpointConnectionError | sdk.ConnectTimeoutError):
        fix = "see that STREAMKIT_KINESIS__REGION and, if it is set, STREAMKIT_KINESIS__ENDPOINT_URL are right and can be reached from here"
        return BrokerUnavailableError(text, broker=BROKER, partition=partition, fix=fix)
    if isinstance(error, ValueError) and "endpoint" in str(error).lower():  # it is no URL
        return ConfigurationError(text, setting="STREAMKIT_KINESIS__ENDPOINT_URL", fix="give it as http://host:port or https://host")
    return BrokerUnavailableError(text, broker=BROKER, partition=partition)


@contextmanager
def translated(doing: str, partition: str = "") -> Iterator[None]:
    """Raises `translation` of what the calls in it raise; `doing` tells people what was tried."""
    try:
        yield
    except (*SDK_ERRORS, ValueError) as error:
        if isinstance(error, StreamkitError):
            raise
        raise translation(error, doing, partition) from error
