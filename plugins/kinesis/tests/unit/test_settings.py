"""What can be set, and what is refused with the name of the setting."""

from __future__ import annotations

import pytest

from streamkit.assembly.loader import load
from streamkit.assembly.registry import Registry
from streamkit.errors import ConfigurationError

CONTEXT = {"STREAMKIT_BROKER": "kinesis", "STREAMKIT_STREAM": "orders", "STREAMKIT_GROUP": "g", "STREAMKIT_STORE": "memory"}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("READS_PER_SECOND", "0"),
        ("READS_PER_SECOND", "2000"),
        ("BYTES_PER_SECOND", "10"),
        ("IDLE_WAIT", "0"),
        ("REQUEST_TIMEOUT", "-1s"),
        ("READ_THREADS", "0"),
        ("READ_BYTES", "1KiB"),
        ("READ_RECORDS", "10001"),
        ("ON_EXPIRED", "skip"),
        ("PARSER", "json"),
    ],
)
def test_a_value_that_makes_no_sense_is_refused_by_name(name: str, value: str) -> None:
    with pytest.raises(ConfigurationError, match=f"STREAMKIT_KINESIS__{name}"):
        load(Registry(), environment=CONTEXT | {f"STREAMKIT_KINESIS__{name}": value})


def test_nothing_has_to_be_set_because_boto3_has_its_own_chain() -> None:
    assert not load(Registry(), environment=CONTEXT).warnings
