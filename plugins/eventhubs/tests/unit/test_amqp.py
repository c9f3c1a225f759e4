"""Our decoder of AMQP messages beside the SDK's, on messages that the SDK itself has encoded."""

from __future__ import annotations

import struct
from typing import Any

import pytest
from azure.eventhub._pyamqp._decode import decode_payload
from azure.eventhub._pyamqp._encode import encode_payload
from azure.eventhub._pyamqp.message import Message, Properties
from hypothesis import example, given
from hypothesis import strategies as st
from streamkit_eventhubs.amqp import (
    ANNOTATIONS,
    APPLICATION_PROPERTIES,
    DATA,
    DELIVERY_ANNOTATIONS,
    PROPERTIES,
    SEQUENCE,
    VALUE,
    BadMessage,
    data_of,
    section,
    sections,
    value_at,
)

text = st.text(st.characters(codec="utf-8"), max_size=300)
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**31), 2**31 - 1),
    st.floats(allow_nan=False),
    st.binary(max_size=300),
    text,
    st.uuids(),
)
values = st.recursive(scalars, lambda inner: st.lists(inner, max_size=5) | st.dictionaries(text, inner, max_size=5), max_leaves=12)
maps = st.dictionaries(text, scalars, max_size=6)
bodies = st.one_of(
    st.fixed_dictionaries({"data": st.lists(st.binary(max_size=600), min_size=1, max_size=3)}),
    st.fixed_dictionaries({"sequence": st.lists(st.lists(values, max_size=4), min_size=1, max_size=3)}),
    st.fixed_dictionaries({"value": values}),
)


@st.composite
def messages(draw: st.DrawFn) -> bytes:
    parts: dict[str, Any] = dict(draw(bodies))
    for name in ("delivery_annotations", "message_annotations", "application_properties"):
        if draw(st.booleans()):
            parts[name] = draw(maps)
    if draw(st.booleans()):
        parts["properties"] = Properties(message_id=draw(text), subject=draw(text), group_sequence=draw(st.integers(0, 2**32 - 1)))
    return encoded(**parts)


def encoded(**parts: Any) -> bytes:
    return bytes(encode_payload(bytearray(), Message(**parts)))


@given(messages())
def test_every_section_is_what_the_sdk_makes_of_it(message: bytes) -> None:
    theirs = decode_payload(memoryview(message))
    assert (section(message, DELIVERY_ANNOTATIONS) or None) == (theirs.delivery_annotations or None)
    assert (section(message, ANNOTATIONS) or None) == (theirs.message_annotations or None)
    assert (section(message, APPLICATION_PROPERTIES) or None) == (theirs.application_properties or None)
    ours = section(message, PROPERTIES)
    assert (None if ours is None else Properties(*ours)) == theirs.properties
    found = [(kind, value_at(message, index)) for kind, index in sections(message)]
    assert [value for kind, value in found if kind == DATA] == list(theirs.data or [])
    assert [value for kind, value in found if kind == SEQUENCE] == list(theirs.sequence or [])
    assert [value for kind, value in found if kind == VALUE] in ([], [theirs.value])


@given(messages())
def test_the_short_way_to_a_body_gives_the_only_data_section_or_nothing(message: bytes) -> None:
    theirs = decode_payload(memoryview(message))
    kinds = [kind for kind, _ in sections(message)]
    is_simple = kinds.count(DATA) == 1 and kinds[-1] == DATA
    assert data_of(message) == (theirs.data[0] if theirs.data and is_simple else None)


@given(messages(), st.data())
@example(b"\x00\x53\x75\xb0\xff\xff\xff\xff", None)
def test_a_message_that_is_cut_is_said_to_be_bad(message: bytes, data: st.DataObject | None) -> None:
    cut = message if data is None else message[: data.draw(st.integers(0, max(0, len(message) - 1)))]
    try:
        whole = [(kind, index) for kind, index in sections(cut)]
    except BadMessage:
        assert data_of(cut) is None
        return
    assert whole == list(sections(message))[: len(whole)], "it can only be cut between two sections"
    assert data is not None


@given(st.binary(max_size=200))
def test_any_bytes_are_a_message_or_a_bad_one(junk: bytes) -> None:
    data_of(junk)
    try:
        for _, index in sections(junk):
            value_at(junk, index)
    except BadMessage:
        pass  # the one error that there is


@pytest.mark.parametrize(
    ("encoding", "value"),
    [
        (b"\x73\x00\x00\x00\x41", b"\x00\x00\x00\x41"),
        (b"\x83" + struct.pack(">q", -5), -5),
        (b"\xe0\x05\x03\xa1\x01a\x01b"[:8], None),
        (b"\xe0\x07\x02\xa1\x01a\x02bc", [b"a", b"bc"]),
        (b"\x00\xa3\x01x\x54\x07", 7),
        (b"\x45", []),
        (b"\xf0\x00\x00\x00\x05\xff\xff\xff\xff\x40", None),
        (b"\xc0\x04\x01\x54\x07\x40\x40", None),
        (b"\xc1\x05\x02\x54\x07\x40\x40", None),
        (b"\x94" + bytes(16), bytes(16)),
    ],
)
def test_values_that_the_sdk_does_not_write(encoding: bytes, value: object) -> None:
    if value is None:
        with pytest.raises(BadMessage):
            value_at(encoding, 0)
    else:
        assert value_at(encoding, 0) == value


def test_nesting_without_end_is_a_bad_message() -> None:
    with pytest.raises(BadMessage):
        section(b"\x00\x53\x77" + b"\x00\x53\x01" * 50_000 + b"\x40", VALUE)
