"""Partition keys go where Azure's own code says that the service puts them."""

from __future__ import annotations

import random
import string

import pytest
from azure.eventhub._buffered_producer._partition_resolver import generate_hash_code
from streamkit_sandbox.eventhubs.hashing import hash_of, partition_index


def by_sdk(key: str) -> int:
    found: int = generate_hash_code(key)  # type: ignore[no-untyped-call]
    return found


def test_a_key_has_the_hash_that_the_sdk_gives_it() -> None:
    chance = random.Random(7)
    keys = ["".join(chance.choices(string.printable, k=length)) for length in range(200) for _ in range(25)]
    assert [hash_of(key) for key in keys] == [by_sdk(key) for key in keys]


def test_a_key_that_is_not_ascii_is_hashed_as_utf_8() -> None:
    assert hash_of("Grüße") == by_sdk("Grüße".encode().decode("latin-1"))


@pytest.mark.parametrize(
    ("key", "of_four", "of_seven"),
    [
        ("", 0, 0),
        ("a", 0, 1),
        ("order-1", 3, 0),
        ("order-2", 1, 0),
        ("order-3", 1, 5),
        ("order-4", 2, 4),
        ("Grüße", 0, 2),
        ("ein Schlüssel mit mehr als vierundzwanzig Byte", 0, 3),
        ("日本", 0, 4),
    ],
)
def test_a_key_goes_where_the_sdk_for_javascript_puts_it(key: str, of_four: int, of_seven: int) -> None:
    """As @azure/event-hubs 6.0.4 says. Half of these hashes are negative, and its remainder has their sign."""
    assert (partition_index(key, 4), partition_index(key, 7)) == (of_four, of_seven)


def test_keys_spread_over_all_partitions() -> None:
    counts = [0] * 32
    for number in range(3200):
        counts[partition_index(f"order-{number}", 32)] += 1
    assert min(counts) > 50
    assert max(counts) < 170
