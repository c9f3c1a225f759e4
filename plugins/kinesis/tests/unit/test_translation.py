"""What boto3 raises, in streamkit's words: the kind, whether it may succeed later, and the fix."""

from __future__ import annotations

import subprocess
import sys
from collections import deque
from pathlib import Path

import pytest
from botocore import exceptions as sdk
from botocore.exceptions import ClientError
from botocore.parsers import ResponseParserError
from streamkit_kinesis.client import CONTROL_ATTEMPTS, AskingAgain, Clients
from streamkit_kinesis.errors import broker_error, translated, translation
from streamkit_kinesis.parser import UnusableAnswerError
from streamkit_kinesis.settings import KinesisSettings

from plugins.kinesis.tests.service import Context, Service, refusal
from streamkit.errors import (
    AccessDeniedError,
    BrokerError,
    BrokerUnavailableError,
    ConfigurationError,
    StreamGoneError,
    StreamkitError,
    ThrottledError,
)


@pytest.mark.parametrize(
    ("code", "status", "kind"),
    [
        ("ProvisionedThroughputExceededException", 400, ThrottledError),
        ("KMSThrottlingException", 400, ThrottledError),
        ("LimitExceededException", 400, ThrottledError),
        ("ThrottlingException", 400, ThrottledError),
        ("ResourceNotFoundException", 400, StreamGoneError),
        ("ResourceInUseException", 400, BrokerUnavailableError),
        ("InternalFailure", 500, BrokerUnavailableError),
        ("ServiceUnavailable", 503, BrokerUnavailableError),
        ("SomethingThatWasAddedYesterday", 400, BrokerUnavailableError),
        ("SomethingThatWasAddedYesterday", 403, AccessDeniedError),
        ("AccessDeniedException", 400, AccessDeniedError),
        ("UnrecognizedClientException", 400, AccessDeniedError),
        ("ExpiredTokenException", 400, AccessDeniedError),
        ("KMSAccessDeniedException", 400, AccessDeniedError),
        ("KMSDisabledException", 400, AccessDeniedError),
        ("InvalidArgumentException", 400, BrokerError),
        ("ValidationException", 400, BrokerError),
    ],
)
def test_each_code_is_one_of_our_errors(code: str, status: int, kind: type[StreamkitError]) -> None:
    cause = refusal(code, "the service's words", status)
    found = translation(cause, "reading orders/0", "orders/0")
    assert type(found) is kind
    assert isinstance(found, BrokerError)
    assert (found.broker, found.partition) == ("kinesis", "orders/0")
    assert found.__cause__ is cause
    assert str(found) == f"Kinesis, reading orders/0: the service's words ({code})"
    assert found.retryable == issubclass(kind, BrokerUnavailableError | ThrottledError)


def test_a_missing_right_is_named_as_the_policy_names_it() -> None:
    said = "User: arn:aws:sts::1:assumed-role/w is not authorized to perform: kinesis:DescribeStreamSummary on resource: arn:x because no"
    found = translation(refusal("AccessDeniedException", said, operation="ListShards"), "listing")
    assert isinstance(found, AccessDeniedError)
    assert found.missing == "kinesis:DescribeStreamSummary"
    assert "kinesis:DescribeStreamSummary" in found.fix
    silent = translation(refusal("AccessDeniedException", "", operation="ListShards"), "listing")
    assert isinstance(silent, AccessDeniedError)
    assert silent.missing == "kinesis:ListShards"
    key = translation(refusal("KMSAccessDeniedException"), "reading")
    assert isinstance(key, AccessDeniedError)
    assert key.missing == "kms:Decrypt"


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (sdk.EndpointConnectionError(endpoint_url="http://x"), BrokerUnavailableError),
        (sdk.ConnectTimeoutError(endpoint_url="http://x"), BrokerUnavailableError),
        (sdk.ReadTimeoutError(endpoint_url="http://x"), BrokerUnavailableError),
        (sdk.ConnectionClosedError(endpoint_url="http://x"), BrokerUnavailableError),
        (UnusableAnswerError(error="cut"), BrokerUnavailableError),
        (ResponseParserError("no JSON"), BrokerUnavailableError),
        (sdk.NoCredentialsError(), AccessDeniedError),
        (sdk.PartialCredentialsError(provider="env", cred_var="x"), AccessDeniedError),
        (RuntimeError("Credentials were refreshed, but the refreshed credentials are still expired."), AccessDeniedError),
        (RuntimeError("can't start new thread"), BrokerUnavailableError),
        (FileNotFoundError(2, "no such file", "/var/run/secrets/token"), BrokerUnavailableError),
        (ValueError("Invalid timestamp"), BrokerUnavailableError),
        (sdk.SSLError(endpoint_url="https://x", error="self-signed"), AccessDeniedError),
        (sdk.ParamValidationError(report="x"), BrokerError),
        (sdk.NoRegionError(), ConfigurationError),
        (ValueError("Invalid endpoint: x"), ConfigurationError),
    ],
)
def test_what_the_client_says_by_itself(error: Exception, kind: type[StreamkitError]) -> None:
    assert type(translation(error, "reading")) is kind
    with pytest.raises(kind), translated("reading"):
        raise error


def test_while_records_are_read_everything_is_an_error_of_the_broker() -> None:
    assert type(broker_error(sdk.NoRegionError(), "reading")) is BrokerError


def test_our_own_errors_pass_through() -> None:
    with pytest.raises(ConfigurationError, match="mine"), translated("reading"):
        raise ConfigurationError("mine")


def test_no_secret_of_a_request_is_in_an_error() -> None:
    error = ClientError({"Error": {"Code": "SignatureDoesNotMatch", "Message": "does not match"}}, "GetRecords")
    assert str(translation(error, "reading")) == "Kinesis, reading: does not match (SignatureDoesNotMatch)"


# -- clients --------------------------------------------------------------------------------------------------------


def test_without_a_region_the_start_ends_with_the_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nowhere")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with pytest.raises(ConfigurationError) as caught:
        Clients(KinesisSettings())
    assert caught.value.setting == "STREAMKIT_KINESIS__REGION"


@pytest.mark.parametrize(
    ("variables", "region"),
    [
        ({"AWS_REGION": "eu-west-1"}, "eu-west-1"),
        ({"AWS_DEFAULT_REGION": "eu-west-2"}, "eu-west-2"),
        ({"AWS_REGION": "eu-west-1", "AWS_DEFAULT_REGION": "eu-west-2"}, "eu-west-2"),
        ({}, "eu-west-3"),
    ],
)
def test_the_region_may_be_in_the_environment_or_in_the_profile(
    variables: dict[str, str], region: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    profile = tmp_path / "config"
    profile.write_text("[default]\nregion = eu-west-3\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(profile))
    assert Clients(KinesisSettings()).reading.meta.region_name == region  # type: ignore[attr-defined]
    assert Clients(KinesisSettings(region="us-east-1")).reading.meta.region_name == "us-east-1"  # type: ignore[attr-defined]


def test_an_address_that_is_none_ends_with_the_setting() -> None:
    with pytest.raises(ConfigurationError) as caught:
        Clients(KinesisSettings(region="us-east-1", endpoint_url="localhost"))
    assert caught.value.setting == "STREAMKIT_KINESIS__ENDPOINT_URL"


def test_reads_are_not_repeated_behind_our_back_and_questions_are() -> None:
    clients = Clients(KinesisSettings(region="us-east-1", read_threads=7, request_timeout="3s"))  # type: ignore[arg-type]
    reading, control = clients.reading.meta.config, clients.control._client.meta.config  # type: ignore[attr-defined]
    assert reading.retries["total_max_attempts"] == 1
    assert control.retries["total_max_attempts"] == CONTROL_ATTEMPTS
    assert reading.max_pool_connections == 7
    assert (reading.connect_timeout, reading.read_timeout) == (3.0, 3.0)
    assert "streamkit/" in reading.user_agent_extra
    clients.close()


def test_a_question_whose_answer_was_cut_is_asked_again_a_few_times() -> None:
    service = Service(Context())
    service.create("orders")
    asking = AskingAgain(service, 4)
    service.faults["list_shards"] = deque([UnusableAnswerError(error="cut")] * 3)
    assert len(asking.list_shards(StreamName="orders")["Shards"]) == 1
    service.faults["list_shards"] = deque([UnusableAnswerError(error="cut")] * 4)
    with pytest.raises(UnusableAnswerError):
        asking.list_shards(StreamName="orders")
    service.faults["list_shards"] = deque([refusal("LimitExceededException")])
    with pytest.raises(ClientError):
        asking.list_shards(StreamName="orders")


def test_the_package_imports_no_sdk() -> None:
    code = "import sys, streamkit_kinesis; sys.exit(any(n.split('.')[0] in ('boto3', 'botocore', 'msgspec') for n in sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
