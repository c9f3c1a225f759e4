"""What boto3 raises becomes an error of ours that says what to do."""

from __future__ import annotations

import pytest
from botocore.exceptions import (
    ConnectTimeoutError,
    EndpointConnectionError,
    NoCredentialsError,
    NoRegionError,
    PartialCredentialsError,
    ProfileNotFound,
)
from streamkit_dynamodb.answers import CutAnswerError
from streamkit_dynamodb.errors import is_missing_table, translated, translation

from plugins.dynamodb.tests.service import client_error, lost
from streamkit.errors import (
    AccessDeniedError,
    CheckpointError,
    ConfigurationError,
    FencedError,
    StoreNotReadyError,
    StoreThrottledError,
    StoreUnavailableError,
    StreamkitError,
)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (client_error("ProvisionedThroughputExceededException"), StoreThrottledError),
        (client_error("ThrottlingException"), StoreThrottledError),
        (client_error("RequestLimitExceeded"), StoreThrottledError),
        (client_error("LimitExceededException"), StoreThrottledError),
        (client_error("ResourceNotFoundException"), ConfigurationError),
        (client_error("ResourceInUseException"), StoreNotReadyError),
        (client_error("AccessDeniedException"), AccessDeniedError),
        (client_error("UnrecognizedClientException"), AccessDeniedError),
        (client_error("ExpiredTokenException"), AccessDeniedError),
        (client_error("ValidationException", text="bad"), CheckpointError),
        (client_error("InternalServerError", status=500), StoreUnavailableError),
        (client_error("ServiceUnavailable", status=503), StoreUnavailableError),
        (client_error("SomethingThatIsNew", status=400), StoreUnavailableError),
        (lost(), StoreUnavailableError),
        (ConnectTimeoutError(endpoint_url="http://x"), StoreUnavailableError),
        (EndpointConnectionError(endpoint_url="http://x"), StoreUnavailableError),
        (CutAnswerError("cut"), StoreUnavailableError),
        (ConnectionResetError(), StoreUnavailableError),
        (NoRegionError(), ConfigurationError),
        (ValueError("Invalid endpoint: x"), ConfigurationError),
        (ValueError("a date that cannot be read"), StoreUnavailableError),
        (RuntimeError("Credentials were refreshed, but the refreshed credentials are still expired."), StoreUnavailableError),
        (NoCredentialsError(), AccessDeniedError),
        (PartialCredentialsError(provider="env", cred_var="AWS_SECRET_ACCESS_KEY"), AccessDeniedError),
        (ProfileNotFound(profile="p"), AccessDeniedError),
    ],
    ids=repr,
)
def test_which_error_it_is(error: Exception, kind: type[StreamkitError]) -> None:
    with pytest.raises(kind) as caught, translated("Scan", "leases"):
        raise error
    assert type(caught.value) is kind
    assert caught.value.__cause__ is error


def test_an_address_that_cannot_be_reached_says_what_to_look_at() -> None:
    with pytest.raises(StoreUnavailableError) as caught, translated("Scan", "leases"):
        raise EndpointConnectionError(endpoint_url="http://x")
    assert "STREAMKIT_DYNAMODB__ENDPOINT_URL" in str(caught.value.fix)


def test_our_own_errors_pass() -> None:
    for error in (ConfigurationError("x"), FencedError("x")):
        with pytest.raises(type(error)) as caught, translated("Scan", "leases"):
            raise error
        assert caught.value is error


def test_a_missing_right_is_named_with_its_table() -> None:
    text = "User: arn:aws:sts::1:assumed-role/r/i is not authorized to perform: dynamodb:PartiQLUpdate on resource: arn:aws:dynamodb:…"
    error = translation(client_error("AccessDeniedException", text=text), "BatchExecuteStatement", "leases")
    assert isinstance(error, AccessDeniedError)
    assert error.missing == "dynamodb:PartiQLUpdate"
    assert "table/leases" in error.fix
    error = translation(client_error("AccessDeniedException"), "Scan", "leases")
    assert isinstance(error, AccessDeniedError)
    assert error.missing == "dynamodb:Scan"


def test_what_was_signed_is_not_told() -> None:
    text = "The Canonical String for this request should have been 'POST x-amz-security-token:SECRET'"
    error = translation(client_error("InvalidSignatureException", text=text), "Scan", "leases")
    assert "SECRET" not in str(error)
    assert "InvalidSignatureException" in str(error)


def test_a_table_that_is_gone_says_so_and_what_to_do() -> None:
    error = translation(client_error("ResourceNotFoundException"), "Scan", "leases")
    assert isinstance(error, ConfigurationError)
    assert "'leases' is gone" in str(error)
    assert error.setting == "STREAMKIT_DYNAMODB__TABLE"
    assert error.fix
    assert is_missing_table(client_error("ResourceNotFoundException"))
    assert not is_missing_table(client_error("ThrottlingException"))


def test_a_row_that_is_too_large_says_so() -> None:
    error = translation(client_error("ValidationException", text="Item size has exceeded the maximum allowed size"), "x", "t")
    assert "400 KB" in str(error)
    assert error.fix
