"""What the SDK raises, as errors of streamkit: the kind, whether it may be tried again, the fix, and no keys."""

from __future__ import annotations

import asyncio
import ssl

import pytest
from azure.eventhub._pyamqp.error import AMQPConnectionError, AMQPLinkError, AuthenticationException, ErrorCondition
from azure.eventhub.exceptions import AuthenticationError, ConnectError, ConnectionLostError, EventDataSendError, EventHubError
from streamkit_eventhubs.errors import StolenError, UnclearDenialError, condition_of, translated, translation

from streamkit.errors import (
    AccessDeniedError,
    BrokerError,
    BrokerUnavailableError,
    ConfigurationError,
    PositionInvalidError,
    StreamGoneError,
    StreamkitError,
    ThrottledError,
)

CASES: list[tuple[bytes, str, type[StreamkitError], bool]] = [
    (b"amqp:link:stolen", "New receiver 'b' with higher epoch of '5' is created", StolenError, False),
    (b"amqp:not-found", "The messaging entity could not be found", StreamGoneError, False),
    (b"com.microsoft:entity-disabled", "disabled", StreamGoneError, False),
    (b"amqp:unauthorized-access", "no", AccessDeniedError, False),
    (b"com.microsoft:auth-failed", "InvalidSignature", AccessDeniedError, False),
    (b"com.microsoft:server-busy", "The request was terminated. Please wait 4 seconds and try again.", ThrottledError, True),
    (b"amqp:resource-limit-exceeded", "exceeded the maximum number of allowed receivers, which is 5", BrokerUnavailableError, True),
    (b"com.microsoft:argument-out-of-range", "The specified partition is invalid", BrokerError, False),
    (
        b"com.microsoft:argument-error",
        "The supplied offset '9' is invalid. The last offset in the system is '3'",
        PositionInvalidError,
        False,
    ),
    (b"amqp:link:message-size-exceeded", "too large", BrokerError, False),
    (b"amqp:link:detach-forced", "The link was force detached", BrokerUnavailableError, True),
    (b"amqp:connection:forced", "Connection was closed", BrokerUnavailableError, True),
    (b"com.microsoft:timeout", "slow", BrokerUnavailableError, True),
    (b"amqp:internal-error", "who knows", BrokerUnavailableError, True),
    (b"com.microsoft:something-new", "who knows", BrokerUnavailableError, True),
]


@pytest.mark.parametrize(("condition", "said", "kind", "retryable"), CASES, ids=[case[0].decode() for case in CASES])
@pytest.mark.parametrize("public", [True, False], ids=["public error", "AMQP error"])
def test_each_condition_has_its_error(condition: bytes, said: str, kind: type[StreamkitError], retryable: bool, public: bool) -> None:
    lower: Exception = AMQPLinkError(condition=condition, description=said)
    error = ConnectionLostError(str(lower), lower) if public else lower  # type: ignore[arg-type]
    known = translation(error, "receiving", "orders/0")
    assert type(known) is kind
    assert isinstance(known, BrokerError)
    assert (known.retryable, known.partition, known.broker) == (retryable, "orders/0", "eventhubs")
    assert known.__cause__ is error
    assert said.rstrip(".") in str(known)
    assert "\n" not in str(known)


def test_a_condition_is_read_from_the_sdks_errors_and_from_its_amqp_layer() -> None:
    lower = AMQPLinkError(condition=ErrorCondition.LinkStolen, description="x")
    assert condition_of(lower) == condition_of(ConnectionLostError("x", lower)) == "link:stolen"  # type: ignore[arg-type]
    assert condition_of(ValueError("x")) == condition_of(EventHubError("x")) == ""


def test_throttling_says_how_long_to_wait_if_the_service_does() -> None:
    known = translation(
        AMQPLinkError(condition=b"com.microsoft:server-busy", description="Please wait 4 seconds and try again"), "receiving"
    )
    assert isinstance(known, ThrottledError)
    assert known.retry_after == 4.0
    silent = translation(AMQPLinkError(condition=b"com.microsoft:server-busy", description="busy"), "receiving")
    assert isinstance(silent, ThrottledError)
    assert silent.retry_after is None


@pytest.mark.parametrize(
    ("status", "kind"),
    [(401, AccessDeniedError), (404, StreamGoneError), (400, BrokerError), (503, ThrottledError), (500, BrokerUnavailableError)],
)
def test_the_answers_about_hubs_are_told_by_their_status(status: int, kind: type[StreamkitError]) -> None:
    error = ConnectError(f"Management request error. Status code: {status}, Description: None")
    assert type(translation(error, "asking")) is kind


def test_wrong_keys_and_expired_logins_are_denied() -> None:
    lower = AuthenticationException(ErrorCondition.ClientError, description="CBS Token authentication failed. Status code: 401")
    assert isinstance(translation(lower, "opening"), AccessDeniedError)
    assert isinstance(translation(AuthenticationError("Authorization timeout."), "opening"), AccessDeniedError)


@pytest.mark.parametrize(
    ("said", "kind", "is_retryable"),
    [
        ("CBS Token authentication failed.\nStatus code: None", UnclearDenialError, True),
        ("Authorization timeout.", UnclearDenialError, True),
        ("CBS Token authentication failed.\nStatus code: 503", ThrottledError, True),
        ("CBS Token authentication failed.\nStatus code: 401", AccessDeniedError, False),
    ],
)
def test_a_token_that_was_not_taken_is_a_wrong_key_for_ever_only_if_somebody_says_so(said: str, kind: type, is_retryable: bool) -> None:
    error = translation(AuthenticationError(said), "opening")
    assert type(error) is kind
    assert getattr(error, "retryable", False) is is_retryable


def test_no_answer_says_what_to_look_at() -> None:
    refused = AMQPConnectionError(ErrorCondition.SocketError, description="refused", error=ConnectionRefusedError(111, "refused"))
    for error in (refused, ConnectError("x", refused), TimeoutError(), OSError("gone")):  # type: ignore[arg-type]
        known = translation(error, "asking")
        assert isinstance(known, BrokerUnavailableError)
        assert "5671" in known.fix
        assert "TRANSPORT=websocket" in known.fix


def test_over_web_sockets_no_way_there_is_no_denial() -> None:
    """The SDK says so where another endpoint is set; a denial would be given up after seconds."""
    said = "Failed to authenticate the connection due to exception: Cannot connect to host h:1 ssl:<ssl.SSLContext object at 0x7f> [%s]"
    for trouble in ("Connect call failed ('h', 1)", "Name or service not known"):
        lower = AuthenticationException(ErrorCondition.ClientError, description=said % trouble)
        known = translation(AuthenticationError(str(lower), lower), "asking")  # type: ignore[arg-type]
        assert type(known) is BrokerUnavailableError
        assert "CUSTOM_ENDPOINT" in known.fix
        assert "0x7f" not in str(known)
    lower = AuthenticationException(ErrorCondition.ClientError, description=said % "CERTIFICATE_VERIFY_FAILED")
    known = translation(AuthenticationError(str(lower), lower), "asking")  # type: ignore[arg-type]
    assert type(known) is AccessDeniedError
    assert "CA_FILE" in known.fix


@pytest.mark.parametrize("said", ["ExpiredToken: The token is expired.", "CBS Authentication Expired."])
def test_a_token_that_has_ended_is_no_wrong_key(said: str) -> None:
    known = translation(AMQPLinkError(condition=b"amqp:unauthorized-access", description=said), "receiving")
    assert type(known) is UnclearDenialError
    assert "clock" in known.fix


def test_a_refused_token_is_the_same_from_the_sdks_errors_and_from_its_amqp_layer() -> None:
    lower = AuthenticationException(ErrorCondition.ClientError, description="CBS Token authentication failed.")
    assert type(translation(lower, "opening")) is type(translation(AuthenticationError("x", lower), "opening")) is UnclearDenialError  # type: ignore[arg-type]


def test_who_hangs_up_during_a_handshake_says_nothing_of_certificates() -> None:
    gone = AMQPConnectionError(ErrorCondition.SocketError, description="x", error=ssl.SSLEOFError(8, "EOF occurred"))
    assert type(translation(gone, "asking")) is BrokerUnavailableError


def test_who_could_not_look_for_a_hub_to_write_to_is_told_of_the_right_to_send() -> None:
    known = translation(AMQPLinkError(condition=b"amqp:unauthorized-access", description="no"), "looking for event hub orders")
    assert isinstance(known, AccessDeniedError)
    assert known.missing == "Send"


def test_a_certificate_that_is_not_trusted_is_denied_and_names_the_setting() -> None:
    bad = ssl.SSLCertVerificationError("self-signed certificate")
    known = translation(AMQPConnectionError(ErrorCondition.SocketError, description="x", error=bad), "asking")
    assert isinstance(known, AccessDeniedError)
    assert "CA_FILE" in known.fix


def test_a_file_of_authorities_that_is_not_there_is_a_wrong_setting() -> None:
    known = translation(FileNotFoundError(2, "no such file", "/x.pem"), "asking")
    assert isinstance(known, ConfigurationError)
    assert known.setting == "STREAMKIT_EVENTHUBS__CA_FILE"


def test_a_missing_package_of_web_sockets_says_what_to_install() -> None:
    known = translation(ImportError("Please install aiohttp library to use async websocket transport."), "asking")
    assert isinstance(known, ConfigurationError)
    assert "pip install aiohttp" in known.fix


def test_a_send_that_was_refused_keeps_its_condition() -> None:
    lower = AMQPLinkError(condition=b"com.microsoft:server-busy", description="busy")
    assert isinstance(translation(EventDataSendError("x", lower), "sending"), ThrottledError)  # type: ignore[arg-type]


def test_keys_and_signatures_are_masked_wherever_they_come_from() -> None:
    for text in ("bad SharedAccessKey=c2VjcmV0 there", "SharedAccessSignature sr=x&sig=c2VjcmV0&se=1", "SharedAccessSignature=c2VjcmV0;"):
        assert "c2VjcmV0" not in str(translation(ValueError(text), "opening"))


def test_what_the_sdk_says_several_times_is_said_once() -> None:
    text = "Management connection failed. Status code: 404, Description: None"
    gone = translation(ConnectError(text, AMQPConnectionError(ErrorCondition.NotFound, description=text)), "asking")  # type: ignore[arg-type]
    assert str(gone) == "Event Hubs, asking: Management connection failed. Status code: 404 (not-found)"
    refused = AuthenticationException(ErrorCondition.ClientError, description="CBS Token authentication failed.\nStatus code: None")
    denied = translation(AuthenticationError(str(refused), refused), "asking")  # type: ignore[arg-type]
    assert str(denied) == "Event Hubs, asking: CBS Token authentication failed (client-error)"
    assert str(translation(TimeoutError(), "asking")) == "Event Hubs, asking: TimeoutError"


def test_errors_of_streamkit_and_cancellation_pass_as_they_are() -> None:
    mine = StreamGoneError("mine")
    with pytest.raises(StreamGoneError) as caught, translated("asking"):
        raise mine
    assert caught.value is mine
    with pytest.raises(asyncio.CancelledError), translated("asking"):
        raise asyncio.CancelledError
