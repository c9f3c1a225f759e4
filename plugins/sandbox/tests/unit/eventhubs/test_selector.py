"""The filters that clients send, and those that the service refuses."""

from __future__ import annotations

import pytest
from streamkit_sandbox.eventhubs.selector import BadSelector, Field, Selector, parse


@pytest.mark.parametrize(
    ("text", "selector"),
    [
        ("amqp.annotation.x-opt-offset > '-1'", Selector(Field.OFFSET, "-1", False)),
        ("amqp.annotation.x-opt-offset >= '@latest'", Selector(Field.OFFSET, "@latest", True)),
        ("amqp.annotation.x-opt-offset > 'g1:00ff'", Selector(Field.OFFSET, "g1:00ff", False)),
        ("amqp.annotation.x-opt-sequence-number >= '12'", Selector(Field.SEQUENCE, "12", True)),
        ("amqp.annotation.x-opt-sequence-number > '-1'", Selector(Field.SEQUENCE, "-1", False)),
        (" amqp.annotation.x-opt-enqueued-time>'1700000000000' ", Selector(Field.ENQUEUED, "1700000000000", False)),
    ],
)
def test_what_clients_send_is_understood(text: str, selector: Selector) -> None:
    assert parse(text) == selector


@pytest.mark.parametrize(
    "text",
    [
        "",
        "amqp.annotation.x-opt-offset > no offset",
        "amqp.annotation.x-opt-offset > ''",
        "amqp.annotation.x-opt-offset < '5'",
        "amqp.annotation.x-opt-publisher > '5'",
        "amqp.annotation.x-opt-sequence-number > 'five'",
        "amqp.annotation.x-opt-enqueued-time > '2026-01-01'",
        "amqp.annotation.x-opt-offset > '1' AND amqp.annotation.x-opt-offset > '2'",
    ],
)
def test_anything_else_is_refused_in_the_words_of_the_service(text: str) -> None:
    with pytest.raises(BadSelector) as caught:
        parse(text)
    assert caught.value.condition == "com.microsoft:argument-error"
    assert caught.value.description == f"The filter '{text}' is not a valid amqp filter for EventHub entities"
