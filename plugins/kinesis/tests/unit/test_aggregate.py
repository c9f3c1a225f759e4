"""KPL aggregates taken apart: everything that is sound, nothing that is not, and never an exception."""

from __future__ import annotations

from hashlib import md5

import pytest
from aws_kinesis_agg.aggregator import RecordAggregator
from hypothesis import given, settings
from hypothesis import strategies as st
from streamkit_kinesis.aggregate import MAGIC, Aggregate, hash_of, read_aggregate

from plugins.kinesis.tests.aggregates import User, aggregate_of, bytes_field, framed, message_of, number_field, varint

FULL = (0, 2**128 - 1)
hash_keys = st.none() | st.integers(*FULL).map(lambda number: str(number).encode())
users = st.builds(User, st.text(max_size=6).map(str.encode), st.binary(max_size=200), hash_keys)
named = users.filter(lambda user: bool(user.key))


def users_of(aggregate: Aggregate | None) -> list[User]:
    assert aggregate is not None
    return [
        User(aggregate.table[index], value, str(aggregate.hashes[number]).encode() if number in aggregate.hashes else None)
        for number, (index, value) in enumerate(zip(aggregate.indices, aggregate.values, strict=True))
    ]


@given(st.lists(users, min_size=1, max_size=20))
@settings(deadline=None, max_examples=50)
def test_what_was_packed_comes_out_in_order(packed: list[User]) -> None:
    assert users_of(read_aggregate(aggregate_of(packed))) == packed


@given(st.lists(named, min_size=1, max_size=30))
@settings(deadline=None)
def test_what_the_aggregator_of_aws_packs_comes_out(packed: list[User]) -> None:
    aggregator = RecordAggregator()
    for user in packed:
        explicit = None if user.hash_key is None else user.hash_key.decode()
        assert aggregator.add_user_record(user.key.decode(), user.value, explicit) is None
    assert users_of(read_aggregate(aggregator.clear_and_get().get_contents()[2])) == packed


def test_many_records_of_many_keys() -> None:
    packed = [User(b"key-%d" % (n % 300), b"v" * (n % 400), b"%d" % n if n % 200 == 7 else None) for n in range(3000)]
    assert users_of(read_aggregate(aggregate_of(packed))) == packed


def test_keys_alone_are_no_records() -> None:
    aggregate = read_aggregate(framed(bytes_field(1, b"key") + bytes_field(2, b"7")))
    assert aggregate is not None
    assert aggregate.values == []


TABLE = bytes_field(1, b"a") + bytes_field(1, b"b")
RECORD = number_field(1, 0) + bytes_field(3, b"v")
HASHED = number_field(1, 0) + number_field(2, 0) + bytes_field(3, b"w")
SECOND = number_field(1, 1) + bytes_field(3, b"v")


@pytest.mark.parametrize(
    "message",
    [
        bytes_field(3, bytes_field(3, b"v") + number_field(1, 1)) + TABLE,
        TABLE + bytes_field(3, number_field(1, 0) + bytes_field(3, b"old") + SECOND),
        TABLE + bytes_field(3, b"\x08\x81\x80\x00" + b"\x1a\x81\x00v"),
        TABLE + bytes_field(3, SECOND + bytes_field(4, bytes_field(1, b"tag"))),
        bytes_field(9, b"new") + number_field(8, 300) + TABLE + varint(31 << 3 | 1) + bytes(8)
        + bytes_field(3, number_field(7, 1 << 63) + SECOND + varint(6 << 3 | 5) + bytes(4)) + bytes_field(400, b"x"),
    ],
    ids=["records before keys", "the last of a field counts", "numbers longer than need be", "tags", "unknown fields"],
)  # fmt: skip
def test_protobuf_of_another_producer_is_read_too(message: bytes) -> None:
    assert users_of(read_aggregate(framed(message))) == [User(b"b", b"v")]


@pytest.mark.parametrize(
    "message",
    [
        bytes_field(1, b"a") + bytes_field(3, RECORD) + bytes_field(3, number_field(1, 1) + bytes_field(3, b"w")),
        bytes_field(1, b"a") + bytes_field(3, RECORD) + bytes_field(3, HASHED),
        bytes_field(1, b"a") + bytes_field(2, b"x") + bytes_field(3, HASHED),
        bytes_field(1, b"a") + bytes_field(2, b"") + bytes_field(3, HASHED),
        bytes_field(1, b"a") + bytes_field(2, b"%d" % 2**128) + bytes_field(3, HASHED),
        bytes_field(1, b"a") + bytes_field(2, b"9" * 5000) + bytes_field(3, HASHED),
        bytes_field(1, b"a") + bytes_field(3, bytes_field(3, b"v")),
        bytes_field(1, b"a") + bytes_field(3, number_field(1, 0)),
        bytes_field(1, b"a") + bytes_field(3, b""),
        bytes_field(1, b"a") + bytes_field(3, RECORD)[:-1],
        bytes_field(1, b"a") + bytes_field(3, number_field(1, 0) + b"\x1a\x09v") + b"padding",
        bytes_field(1, b"a") + b"\x1a\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
        bytes_field(1, b"a") + bytes_field(3, b"\x08" + b"\x80" * 10 + b"\x00" + bytes_field(3, b"v")),
        bytes_field(1, b"a") + varint(5 << 3 | 3) + varint(5 << 3 | 4),
        bytes_field(1, b"a") + varint(5 << 3 | 1) + b"abc",
        bytes_field(1, b"a") + b"\x00\x00",
        b"\x07",
        b"\xff",
    ],
    ids=[
        "a key that is not there, in the middle", "a hash key that is not there", "a hash key that is no number", "an empty hash key",
        "a hash key too large", "a hash key much too large", "no key", "no data", "an empty record", "cut", "a length beyond the record",
        "a length without end", "an index without end", "a group", "cut in an unknown field", "field 0", "no wire type", "half a tag",
    ],
)  # fmt: skip
def test_what_is_not_sound_to_the_last_byte_is_no_aggregate(message: bytes) -> None:
    assert read_aggregate(framed(message)) is None


def test_frames_that_are_none() -> None:
    whole = aggregate_of([User(b"a", b"v")])
    assert read_aggregate(whole) is not None
    assert read_aggregate(MAGIC) is None
    assert read_aggregate(framed(b"")) is None, "nothing between the magic number and the MD5"
    assert read_aggregate(MAGIC + bytes(16)) is None
    assert read_aggregate(whole[:-1] + bytes([whole[-1] ^ 1])) is None
    assert read_aggregate(whole + b"\0") is None


@given(st.lists(users, max_size=8), st.data())
@settings(deadline=None, max_examples=80)
def test_no_bytes_raise_and_what_is_accepted_has_a_key_for_each_record(packed: list[User], data: st.DataObject) -> None:
    """With an MD5 that fits, so that the message itself is what has to be looked through."""
    message = bytearray(message_of(packed)) + b"\0"
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(message) - 1))
        match data.draw(st.integers(0, 3)):
            case 0:
                message[at] = data.draw(st.integers(0, 255))
            case 1:
                del message[at:]
            case 2:
                message[at:at] = data.draw(st.binary(max_size=4))
            case _:
                message[at] ^= 1 << data.draw(st.integers(0, 7))
        message = message or bytearray(b"\0")
    read = read_aggregate(framed(bytes(message)))
    if read is not None:
        assert len(read.indices) == len(read.values)
        assert all(index < len(read.table) for index in read.indices)
        assert all(value in message for value in read.values)


@given(st.binary(max_size=60))
def test_any_bytes_behind_the_magic_number_raise_nothing(rest: bytes) -> None:
    read_aggregate(MAGIC + rest)
    read_aggregate(framed(rest))


@given(st.lists(users, min_size=1, max_size=12), st.tuples(st.integers(*FULL), st.integers(*FULL)).map(sorted).map(tuple))
def test_outside_a_range_is_the_explicit_hash_key_or_else_the_md5_of_the_key(packed: list[User], low_high: tuple[int, int]) -> None:
    low, high = low_high
    aggregate = read_aggregate(aggregate_of(packed))
    assert aggregate is not None
    effective = [int(user.hash_key) if user.hash_key is not None else int(md5(user.key).hexdigest(), 16) for user in packed]
    assert aggregate.outside(low, high) == [number for number, value in enumerate(effective) if not low <= value <= high]
    assert aggregate.outside(*FULL) == []


def test_both_ends_of_a_range_belong_to_it() -> None:
    aggregate = read_aggregate(aggregate_of([User(b"a", b"v", b"10"), User(b"a", b"w", b"20"), User(b"b", b"x")]))
    assert aggregate is not None
    assert aggregate.outside(10, 20) == [2]
    assert aggregate.outside(11, 20) == [0, 2]
    assert aggregate.outside(10, 19) == [1, 2]
    assert aggregate.outside(hash_of(b"b"), hash_of(b"b")) == [0, 1]


def test_an_explicit_hash_key_counts_where_all_keys_alone_would_be_inside() -> None:
    low, high = sorted((hash_of(b"a"), hash_of(b"b")))
    aggregate = read_aggregate(aggregate_of([User(b"a", b"v"), User(b"b", b"w", b"0"), User(b"b", b"x")]))
    assert aggregate is not None
    assert aggregate.outside(low, high) == [1]
