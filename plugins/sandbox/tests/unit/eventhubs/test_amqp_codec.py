"""The codec: known bytes, the same value back, and nothing but DecodeError for anything else."""

from __future__ import annotations

import contextlib
import math
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from streamkit_sandbox.eventhubs.amqp_codec import decode, decode_exactly, encode, skip
from streamkit_sandbox.eventhubs.amqp_types import (
    Array,
    Byte,
    Char,
    Decimal,
    DecodeError,
    Described,
    Float32,
    Int,
    Long,
    Short,
    Symbol,
    Timestamp,
    Ubyte,
    Uint,
    Ulong,
    Ushort,
    Value,
)


@pytest.mark.parametrize(
    ("data", "value"),
    [
        ("40", None),
        ("41", True),
        ("5600", False),
        ("43", Uint(0)),
        ("44", Ulong(0)),
        ("45", []),
        ("5005", Ubyte(5)),
        ("51ff", Byte(-1)),
        ("6001ff", Ushort(511)),
        ("61fffe", Short(-2)),
        ("52ff", Uint(255)),
        ("7000000100", Uint(256)),
        ("5480", Int(-128)),
        ("7100000080", Int(128)),
        ("8000000000000001ff", Ulong(511)),
        ("55ff", Long(-1)),
        ("81ffffffffffffff7f", Long(-129)),
        ("830000000000000001", Timestamp(1)),
        ("7300000041", Char("A")),
        ("823ff0000000000000", 1.0),
        ("a10568656c6c6f", "hello"),
        ("b1000000026869", "hi"),
        ("a3046e616d65", Symbol("name")),
        ("a00201ff", b"\x01\xff"),
        ("9800112233445566778899aabbccddeeff", UUID("00112233-4455-6677-8899-aabbccddeeff")),
        ("c0060241a1026869", [True, "hi"]),
        ("d0000000090000000241a1026869", [True, "hi"]),
        ("c1050255015502", {Long(1): Long(2)}),
        ("e00602a301610162", Array((Symbol("a"), Symbol("b")), 0xA3)),
        ("00532445", Described(Ulong(0x24), [])),
    ],
)
def test_known_bytes_are_these_values(data: str, value: Value) -> None:
    found = decode_exactly(bytes.fromhex(data))
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("value", "data"),
    [
        (Uint(0), "43"),
        (Ulong(300), "80000000000000012c"),
        (Int(202), "71000000ca"),
        (Array(("0", "1")), "e00c02b100000001300000000131"),
        ({Symbol("a"): Long(-1)}, "c10602a3016155ff"),
        ([], "45"),
    ],
)
def test_values_are_written_in_the_shortest_form(value: Value, data: str) -> None:
    assert encode(value).hex() == data


def _ints(kind: Any, low: int, high: int) -> st.SearchStrategy[Any]:
    return st.integers(low, high).map(kind)


_SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    _ints(Ubyte, 0, 2**8 - 1),
    _ints(Ushort, 0, 2**16 - 1),
    _ints(Uint, 0, 2**32 - 1),
    _ints(Ulong, 0, 2**64 - 1),
    _ints(Byte, -(2**7), 2**7 - 1),
    _ints(Short, -(2**15), 2**15 - 1),
    _ints(Int, -(2**31), 2**31 - 1),
    _ints(Long, -(2**63), 2**63 - 1),
    _ints(Timestamp, -(2**63), 2**63 - 1),
    st.floats(allow_nan=False),
    st.floats(allow_nan=False, width=32).map(Float32),
    st.characters(exclude_categories=["Cs"]).map(Char),
    st.text(max_size=300),
    st.binary(max_size=300),
    st.text(st.characters(max_codepoint=127), max_size=300).map(Symbol),
    st.uuids(),
    st.sampled_from([4, 8, 16]).flatmap(lambda size: st.binary(min_size=size, max_size=size)).map(Decimal),
)
_ARRAYS = st.one_of(
    [
        st.lists(items, min_size=1, max_size=5).map(lambda found: Array(tuple(found)))
        for items in (st.text(), st.uuids(), _ints(Ulong, 0, 2**64 - 1), st.booleans(), st.binary(), _ints(Int, -9, 9))
    ]
)
_VALUES = st.recursive(
    _SCALARS | _ARRAYS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=5),
        st.dictionaries(_SCALARS, inner, max_size=5),
        st.builds(Described, st.integers(0, 255).map(Ulong) | st.just(Symbol("x:y")), inner),
    ),
    max_leaves=20,
)


def _types(value: Any) -> Any:
    """The value with the type of each part, so that Uint(1) and Long(1) differ."""
    if isinstance(value, list):
        return [_types(item) for item in value]
    if isinstance(value, dict):
        return [(_types(key), _types(item)) for key, item in value.items()]
    if isinstance(value, Array):
        return "array", [_types(item) for item in value.items]
    if isinstance(value, Described):
        return "described", _types(value.descriptor), _types(value.value)
    return type(value), value


@given(_VALUES)
def test_what_is_written_is_read_as_the_same_value_of_the_same_types(value: Value) -> None:
    data = encode(value)
    assert _types(decode_exactly(data)) == _types(value)
    assert skip(data, 0) == len(data)


@given(_VALUES, st.data())
def test_a_value_that_is_cut_is_a_decode_error(value: Value, data: st.DataObject) -> None:
    whole = encode(value)
    with pytest.raises(DecodeError):
        decode_exactly(whole[: data.draw(st.integers(0, len(whole) - 1))])


@given(st.binary(max_size=200))
def test_random_bytes_raise_nothing_but_a_decode_error(data: bytes) -> None:
    for read in (decode, skip):
        with contextlib.suppress(DecodeError):
            read(data, 0)


@given(_VALUES, st.integers(0, 10_000), st.integers(0, 255))
def test_a_changed_byte_raises_nothing_but_a_decode_error(value: Value, place: int, byte: int) -> None:
    data = bytearray(encode(value))
    data[place % len(data)] = byte
    with contextlib.suppress(DecodeError):
        decode_exactly(bytes(data))


def test_values_nested_without_end_are_refused_before_the_stack_ends() -> None:
    data = b"\x40"
    for _ in range(200):
        data = b"\xd0" + (len(data) + 4).to_bytes(4, "big") + b"\x00\x00\x00\x01" + data
    with pytest.raises(DecodeError, match="deep"):
        decode(data)
    with pytest.raises(DecodeError, match="deep"):
        decode(b"\x00" * 5000)


def test_a_few_bytes_do_not_become_millions_of_items() -> None:
    for data in ("f000000005" + "ffffffff" + "40", "d000000005ffffffff40"):
        with pytest.raises(DecodeError, match="cannot lie"):
            decode(bytes.fromhex(data))


@pytest.mark.parametrize(
    "data",
    [
        "e00a02723f80000040000000",  # of short floats
        "e0080200a30178530102",  # of described numbers
        "e0020340",  # of nothing, three times
    ],
)
def test_arrays_that_are_not_made_here_are_written_as_they_came(data: str) -> None:
    assert encode(decode_exactly(bytes.fromhex(data))).hex() == data


def test_what_has_no_type_is_not_written() -> None:
    with pytest.raises(TypeError, match="5 has no AMQP type"):
        encode(5)
    with pytest.raises(TypeError):
        encode(Array(("a", b"b")))


def test_a_float_that_is_no_number_is_one_afterwards_too() -> None:
    found = decode_exactly(encode(math.nan))
    assert isinstance(found, float)
    assert math.isnan(found)


def test_a_list_that_announces_more_than_it_holds_is_refused() -> None:
    with pytest.raises(DecodeError, match="behind the end"):
        decode_exactly(bytes.fromhex("c00502a1026869"))


def test_a_map_with_a_list_as_a_key_and_one_with_a_lonely_key_are_refused() -> None:
    with pytest.raises(DecodeError, match="key"):
        decode(bytes.fromhex("c103024540"))
    with pytest.raises(DecodeError, match="without a value"):
        decode(bytes.fromhex("c1020140"))
