"""Names of rows: the KCL's own for Kinesis, and never one name for two partitions."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from streamkit_dynamodb.keys import MultiKey, names_of

from streamkit.errors import ConfigurationError
from streamkit.model import Partition

ARN = "arn:aws:kinesis:eu-west-1:123456789012:stream/orders"
SHARD = "shardId-000000000001"


def test_one_stream_has_the_kcls_keys_of_one_stream() -> None:
    for streams in (["orders"], [ARN]):
        names = names_of("auto", "kinesis", "g", streams)
        assert names.style == "single"
        assert names.key_of(Partition(streams[0], SHARD)) == SHARD
        assert names.partition_of(SHARD) == Partition(streams[0], SHARD)


@pytest.mark.parametrize("streams", [["orders", "payments"], ["^ord"]])
def test_several_streams_have_the_kcls_keys_of_several(streams: list[str]) -> None:
    names = names_of("auto", "kinesis", "g", streams)
    partition = Partition("orders", SHARD, incarnation=f"{ARN}@1700000000")
    key = names.key_of(partition)
    assert key == f"123456789012:orders:1700000000:{SHARD}"
    assert names.partition_of(key) == partition
    assert names.key_of(Partition("orders", SHARD)) is None, "not without account and creation"


def test_a_stream_that_is_named_by_its_arn_is_listed_so() -> None:
    names = names_of("multi", "kinesis", "g", [ARN, "payments"])
    assert names.partition_of(f"123456789012:orders:1:{SHARD}") == Partition(ARN, SHARD)
    assert names.partition_of(f"999999999999:orders:1:{SHARD}") == Partition("orders", SHARD), "of another account"
    assert names.partition_of(f"123456789012:payments:1:{SHARD}") == Partition("payments", SHARD)


def test_keys_can_be_forced_but_not_to_what_cannot_be() -> None:
    assert names_of("multi", "kinesis", "g", ["orders"]).style == "multi"
    for streams in (["a", "b"], ["^a"]):
        with pytest.raises(ConfigurationError, match="STREAMKIT_DYNAMODB__KEYS") as caught:
            names_of("single", "kinesis", "g", streams)
        assert "KEYS=multi" in caught.value.fix


def test_a_table_with_the_other_kind_of_keys_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="several streams") as caught:
        names_of("auto", "kinesis", "g", ["orders"]).partition_of(f"123456789012:orders:1700000000:{SHARD}")
    assert "KEYS=multi" in caught.value.fix
    with pytest.raises(ConfigurationError, match="one stream") as caught:
        names_of("auto", "kinesis", "g", ["a", "b"]).partition_of(SHARD)
    assert "KEYS=single" in caught.value.fix


ANY = st.text(alphabet=st.sampled_from("a:%253A/. é日"), max_size=6)


@given(st.tuples(ANY, ANY, ANY, ANY), st.tuples(ANY, ANY, ANY, ANY))
def test_rows_of_other_brokers_have_names_of_their_own_and_come_back(one: tuple[str, ...], two: tuple[str, ...]) -> None:
    keys = set()
    for broker, group, stream, partition in {one, two}:
        names = names_of("auto", broker, group, [stream])
        key = names.key_of(Partition(stream, partition))
        assert key is not None
        assert names.partition_of(key) == Partition(stream, partition)
        keys.add(key)
        other = names_of("auto", broker + "x", group, [stream])
        assert other.partition_of(key) is None, "another broker's rows are nobody else's business"
    assert len(keys) == len({one, two})
    assert all(MultiKey.parse(key) is None for key in keys)


def test_rows_of_other_brokers_beside_those_of_kinesis_are_passed_over() -> None:
    kafka = names_of("auto", "kafka", "g", ["orders"])
    key = kafka.key_of(Partition("orders", "0"))
    assert key == "streamkit:kafka:g:orders:0"
    assert names_of("auto", "kinesis", "g", ["orders"]).partition_of(key) is None
    assert kafka.partition_of(SHARD) is None
