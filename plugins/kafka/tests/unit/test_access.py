"""Refusals by their words, and tokens by their shape. The words are librdkafka's own; a real broker says them in integration."""

import time

import pytest
from confluent_kafka import KafkaError
from streamkit_kafka.client import ErrorWatch, new_consumer
from streamkit_kafka.errors import access_error, broker_error
from streamkit_kafka.tokens import TokenSource

from streamkit.errors import AccessDeniedError, ConfigurationError

ALERT = "ssl://h:1/bootstrap: Receive failed: error:0A000412:SSL routines::ssl/tls alert bad certificate: SSL alert number 42"


@pytest.mark.parametrize(
    ("said", "named"),
    [
        ("SASL authentication error: Authentication failed: Invalid username or password", "SASL_PASSWORD"),
        ("SASL authentication error: Authentication failed due to invalid credentials with SASL mechanism SCRAM-SHA-256", "SASL_PASSWORD"),
        ('SASL authentication error: {"status":"invalid_token"}', "OAUTH_CALLBACK"),
        ("Failed to acquire SASL OAUTHBEARER token: timed out", "sasl.oauthbearer."),
        ("SASL X mechanism handshake failed: Broker: Unsupported SASL mechanism: broker's supported mechanisms: PLAIN", "SASL_MECHANISM"),
        ("SASL PLAIN mechanism handshake failed: Broker: Request not valid in current SASL state", "SECURITY_PROTOCOL"),
        (ALERT, "ssl.certificate.location"),
        ("SSL handshake failed: certificate verify failed: broker certificate could not be verified", "SSL_CA_LOCATION"),
        ("something new", "SECURITY_PROTOCOL"),
    ],
)
def test_a_refusal_names_the_setting_to_look_at(said, named):
    error = broker_error(KafkaError(KafkaError._AUTHENTICATION, said), "connecting")
    assert isinstance(error, AccessDeniedError)
    assert named in error.fix
    assert "\n" not in f"{error}{error.fix}"


@pytest.mark.parametrize(
    ("said", "setting"),
    [
        ("ssl.ca.location failed: error:05880020:x509 certificate routines::BIO lib", "SSL_CA_LOCATION"),
        ("ssl.key.location failed: error:05800074:x509 certificate routines::key values mismatch", "OPTIONS"),
        ("No provider for SASL mechanism GSSAPI: recompile librdkafka", "SASL_MECHANISM"),
        ("`sasl.oauthbearer.client.id` is mandatory when `sasl.oauthbearer.method=oidc` is set", "OPTIONS"),
    ],
)
def test_what_librdkafka_will_not_begin_with_is_told_by_our_variable(said, setting):
    error = broker_error(KafkaError(KafkaError._INVALID_ARG, said), "configuring")
    assert isinstance(error, ConfigurationError)
    assert error.setting == f"STREAMKIT_KAFKA__{setting}"
    assert error.fix


def test_a_certificate_that_is_refused_counts_as_denied_though_its_code_is_that_of_a_lost_connection():
    watch = ErrorWatch()
    watch(KafkaError(KafkaError._TRANSPORT, "Disconnected"))
    assert watch.denied is None
    watch(KafkaError(KafkaError._TRANSPORT, ALERT))
    assert watch.denied is not None
    assert access_error(watch.denied, "connecting").missing


def test_a_login_that_broke_with_its_connection_is_no_refusal():
    watch = ErrorWatch()
    watch(KafkaError(KafkaError._AUTHENTICATION, "SASL PLAIN mechanism handshake failed: Local: Broker transport failure"))
    assert watch.denied is None


def test_a_refusal_explains_the_connections_that_break_after_it_and_not_the_next_outage():
    watch = ErrorWatch()
    for code, text in (
        (KafkaError._AUTHENTICATION, "Invalid username or password"),
        (KafkaError._TRANSPORT, "Disconnected"),
        (KafkaError._ALL_BROKERS_DOWN, "1/1 brokers are down"),
    ):
        watch(KafkaError(code, text))
    assert watch.reason() == "Invalid username or password"
    watch.clear()
    watch(KafkaError(KafkaError._TRANSPORT, "Disconnected"))
    assert watch.reason() == "Disconnected"


def test_why_a_later_token_was_not_given_is_kept_until_one_is():
    answers = [("t1", 4e9), None, ("t2", 4e9)]
    source = TokenSource(lambda text: answers.pop(0), "m:f", "")
    source(None)
    with pytest.raises(AccessDeniedError):
        source(None)
    assert "m:f returned NoneType" in source.failure
    source(None)
    assert source.failure == ""


def test_a_token_is_asked_for_with_the_text_of_its_setting_and_the_first_is_not_asked_for_twice():
    asked = []
    source = TokenSource(lambda text: (asked.append(text), (f"t{len(asked)}", time.time() + 60))[1], "m:f", "where")
    source.fetch()
    assert [source("ignored")[0], source(None)[0]] == ["t1", "t2"]
    assert asked == ["where", "where"]


@pytest.mark.parametrize("answer", [None, "token", ("token",), ("", 4e9), (b"token", 4e9), ("token", "4e9"), ("token", 0)])
def test_what_is_no_token_is_refused_and_not_repeated(answer):
    with pytest.raises(AccessDeniedError, match="m:f returned") as caught:
        TokenSource(lambda text: answer, "m:f", "").fetch()
    assert "STREAMKIT_KAFKA__OAUTH_CALLBACK" in caught.value.fix
    assert "4e9" not in str(caught.value)


def test_a_callback_that_raises_is_named_before_a_client_is_made_and_what_it_raised_is_kept_as_the_cause():
    def broken(text):
        raise RuntimeError("hunter2")

    began = time.monotonic()
    with pytest.raises(AccessDeniedError, match="m:f raised RuntimeError") as caught:
        new_consumer({"group.id": "g", "oauth_cb": TokenSource(broken, "m:f", "")}, ErrorWatch())
    assert time.monotonic() - began < 5  # librdkafka would have waited for ten
    assert "hunter2" not in f"{caught.value}{caught.value.fix}"
    assert isinstance(caught.value.__cause__, RuntimeError)
