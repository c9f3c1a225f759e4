"""What may be set, and what would break a promise."""

import subprocess
import sys
from datetime import timedelta

import pytest
from pydantic import ValidationError
from streamkit_kafka.client import consumer_config, group_config, producer_config
from streamkit_kafka.settings import KafkaSettings
from streamkit_kafka.tokens import TokenSource


def settings(**fields):
    return KafkaSettings(**{"bootstrap_servers": "localhost:9092", **fields})


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("enable.auto.commit", True, "checkpoints by itself"),
        ("enable.auto.offset.store", False, "checkpoints by itself"),
        ("auto.offset.reset", "earliest", "ON_EXPIRED"),
        ("group.id", "g", "STREAMKIT_GROUP"),
        ("partition.assignment.strategy", "range", "cooperative-sticky"),
        ("enable.partition.eof", False, "caught up"),
        ("group.protocol", "consumer", "STREAMKIT_KAFKA__GROUP_PROTOCOL"),
        ("error_cb", "f", "callbacks"),
        ("stats_cb", "f", "callbacks"),
        ("oauth_cb", "f", "STREAMKIT_KAFKA__OAUTH_CALLBACK"),
        ("acks", "1", "replicas in sync"),
        ("sasl.password", "hunter2", "STREAMKIT_KAFKA__SASL_PASSWORD"),
    ],
)
def test_an_option_that_would_break_a_promise_is_refused_by_name_with_the_reason(name, value, reason):
    with pytest.raises(ValidationError, match=reason) as caught:
        settings(options={name: value})
    assert f"{name} cannot be set here" in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_other_options_win_over_our_defaults():
    options = {
        "fetch.queue.backoff.ms": 77,
        "partition.assignment.strategy": "cooperative-sticky",
        "client.id": "mine",
        "statistics.interval.ms": 5,
    }
    config = group_config(settings(options=options), "w1", "g")
    assert {name: config[name] for name in options} == options


def test_what_the_guarantees_hang_on_is_always_set():
    config = group_config(settings(), "w1", "g")
    wanted = {
        "group.id": "g",
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        "auto.offset.reset": "error",
        "enable.partition.eof": True,
        "isolation.level": "read_committed",
        "partition.assignment.strategy": "cooperative-sticky",
    }
    assert wanted.items() <= config.items()
    assert producer_config(settings(), "w1").items() >= {"acks": "all", "enable.idempotence": True}.items()


def test_a_kip_848_member_sets_nothing_that_belongs_to_the_broker():
    config = group_config(settings(group_protocol="consumer"), "w1", "g")
    assert not {"session.timeout.ms", "heartbeat.interval.ms", "partition.assignment.strategy"} & set(config)
    with pytest.raises(ValidationError, match="classic protocol"):
        settings(group_protocol="consumer", session_timeout="10s")


def test_the_heartbeat_stays_well_below_a_short_session():
    assert group_config(settings(session_timeout="1500ms"), "w1", "g")["heartbeat.interval.ms"] == 500
    assert group_config(settings(), "w1", "g")["heartbeat.interval.ms"] == 1000


def test_a_static_reader_is_no_member():
    assert "group.protocol" not in consumer_config(settings(group_protocol="consumer"), "w1", "")


@pytest.mark.parametrize(
    "fields",
    [
        {"sasl_mechanism": "PLAIN"},
        {"oauth_callback": "module:function"},
        {"oauth_callback": "no colon", "sasl_mechanism": "OAUTHBEARER", "security_protocol": "sasl_ssl"},
        {"revoke_timeout": "0"},
        {"bootstrap_servers": ""},
        {"unknown": 1},
    ],
)
def test_settings_that_do_not_fit_together_are_refused(fields):
    with pytest.raises(ValidationError):
        settings(**fields)


def test_credentials_reach_the_client_and_no_repr():
    secret = settings(
        security_protocol="SASL_SSL",
        sasl_mechanism="scram-sha-512",
        sasl_username="u",
        sasl_password="hunter2",
        options={"ssl.key.password": "hunter3"},
    )
    config = consumer_config(secret, "", "")
    assert (config["security.protocol"], config["sasl.mechanism"], config["sasl.password"]) == ("sasl_ssl", "SCRAM-SHA-512", "hunter2")
    assert "hunter" not in repr(secret)


SASL = {"security_protocol": "sasl_ssl"}
USER = {"sasl_username": "u", "sasl_password": "p"}


@pytest.mark.parametrize(
    ("fields", "missing"),
    [
        ({}, "SASL_MECHANISM"),
        (USER, "SASL_MECHANISM"),
        ({"sasl_mechanism": "PLAIN", "sasl_username": "u"}, "SASL_USERNAME and SASL_PASSWORD"),
        ({"sasl_mechanism": "SCRAM-SHA-512", "sasl_password": "p"}, "SASL_USERNAME and SASL_PASSWORD"),
        ({"sasl_mechanism": "OAUTHBEARER"}, "OAUTH_CALLBACK"),
        ({"sasl_mechanism": "OAUTHBEARER", "options": {"sasl.oauthbearer.method": "default"}}, "OAUTH_CALLBACK"),
    ],
)
def test_a_login_that_cannot_work_is_refused_before_anything_connects(fields, missing):
    with pytest.raises(ValidationError, match=missing):
        settings(**SASL, **fields)


@pytest.mark.parametrize(
    "fields",
    [
        {"sasl_mechanism": "plain", **USER},
        {"sasl_mechanism": "SCRAM-SHA-256", **USER},
        {"sasl_mechanism": "OAUTHBEARER", "oauth_callback": "time:time"},
        {"sasl_mechanism": "OAUTHBEARER", "options": {"sasl.oauthbearer.method": "oidc"}},
        {"sasl_mechanism": "OAUTHBEARER", "options": {"enable.sasl.oauthbearer.unsecure.jwt": True}},
        {"sasl_mechanism": "GSSAPI"},
    ],
)
def test_a_login_that_has_what_it_needs_is_taken(fields):
    assert consumer_config(settings(**SASL, **fields), "", "")["sasl.mechanism"] == fields["sasl_mechanism"].upper()


def test_an_oauth_callback_is_imported_by_its_path():
    fields = {"security_protocol": "sasl_ssl", "sasl_mechanism": "OAUTHBEARER"}
    assert isinstance(consumer_config(settings(oauth_callback="time:time", **fields), "", "")["oauth_cb"], TokenSource)
    for wrong in ("no.such.module:f", "time:no_such", "time:tzname"):
        with pytest.raises(ValueError, match="STREAMKIT_KAFKA__OAUTH_CALLBACK"):
            consumer_config(settings(oauth_callback=wrong, **fields), "", "")


def test_a_revoke_never_takes_more_than_half_of_the_poll_interval():
    assert settings().revoke_seconds == 25
    assert settings(max_poll_interval=timedelta(seconds=20)).revoke_seconds == 10


def test_every_field_is_described():
    assert not [name for name, field in KafkaSettings.model_fields.items() if not field.description]


def test_describing_the_plugin_imports_no_sdk():
    code = (
        "import sys, streamkit_kafka as k; p = k.streamkit_plugin(); assert p.name == 'kafka'; "
        "assert not [m for m in sys.modules if m.startswith('confluent_kafka')]"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=30)


def test_the_factories_of_the_plugin_exist():
    import importlib

    from streamkit_kafka import streamkit_plugin

    plugin = streamkit_plugin()
    for path in (plugin.broker, plugin.store, plugin.producer):
        module, name = path.split(":")
        assert callable(getattr(importlib.import_module(module), name))
