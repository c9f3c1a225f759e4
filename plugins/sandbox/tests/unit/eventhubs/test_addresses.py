"""Addresses, as the clients write them."""

from __future__ import annotations

import pytest
from streamkit_sandbox.eventhubs.addresses import Address, parse


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("amqps://127.0.0.1:5672/orders", Address("orders")),
        ("sb://localhost:6000/orders/", Address("orders")),
        ("amqp://localhost/orders", Address("orders")),
        ("orders/Partitions/3", Address("orders", partition="3")),
        ("/orders/ConsumerGroups/$Default/Partitions/3", Address("orders", "$Default", "3")),
        ("Orders/consumergroups/g/partitions/3", Address("Orders", "g", "3")),
        ("orders/consumergroups/g", Address("orders", "g")),
        ("$cbs", Address(service="$cbs")),
        ("$management", Address(service="$management")),
        ("sb://h/orders/$management", Address("orders", service="$management")),
    ],
)
def test_scheme_host_and_case_do_not_count(text: str, address: Address) -> None:
    assert parse(text) == address


@pytest.mark.parametrize(
    "text",
    [
        "",
        "/",
        "sb://host",
        "a/b",
        "a/b/c",
        "a/Partitions",
        "a/Partitions/1/ConsumerGroups/g",
        "a/Partitions/1/Partitions/2",
        "a/ConsumerGroups/g/Partitions/1/x",
    ],
)
def test_what_is_no_address_is_none(text: str) -> None:
    assert parse(text) is None
