"""Messages: what is stored of what was sent, and what is delivered of what was stored."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from streamkit_sandbox.eventhubs.amqp_codec import decode, decode_exactly, encode
from streamkit_sandbox.eventhubs.amqp_types import DecodeError, Described, Long, Symbol, Timestamp, Ulong, Value
from streamkit_sandbox.eventhubs.event_frames import event_frames
from streamkit_sandbox.eventhubs.frames import FrameSplitter, frame
from streamkit_sandbox.eventhubs.log import Event
from streamkit_sandbox.eventhubs.messages import BATCH_FORMAT, Incoming, data_message, delivered, incoming
from streamkit_sandbox.eventhubs.performatives import Transfer, decode_performative

HEADER = encode(Described(Ulong(0x70), [True]))
DELIVERY = encode(Described(Ulong(0x71), {Symbol("x-delivery"): Long(1)}))
PROPERTIES = encode(Described(Ulong(0x73), ["id"]))
APPLICATION = encode(Described(Ulong(0x74), {"colour": "red"}))
FOOTER = encode(Described(Ulong(0x78), {}))


def annotated(**values: Value) -> bytes:
    return encode(Described(Ulong(0x72), {Symbol(name.replace("_", "-")): value for name, value in values.items()}))


def sections(message: bytes) -> list[tuple[int, Value]]:
    """Code and value of each section, by the codec alone."""
    found, position = [], 0
    while position < len(message):
        value, position = decode(message, position)
        assert isinstance(value, Described)
        assert isinstance(value.descriptor, int)
        found.append((int(value.descriptor), value.value))
    return found


def test_a_plain_event_is_stored_as_it_was_sent() -> None:
    message = PROPERTIES + APPLICATION + data_message(b"body") + FOOTER
    assert incoming(message, 0) == Incoming((message,), None)


def test_the_brokers_annotations_and_delivery_annotations_are_not_stored_and_the_senders_own_are() -> None:
    message = HEADER + DELIVERY + annotated(x_opt_partition_key="k", x_opt_offset="9", mine=Long(3)) + data_message(b"b")
    stored = HEADER + annotated(mine=Long(3)) + data_message(b"b")
    assert incoming(message, 0) == Incoming((stored,), "k")
    assert incoming(annotated(x_opt_offset="9") + data_message(b"b"), 0) == Incoming((data_message(b"b"),), None)


def test_a_batch_is_an_event_for_each_data_section_and_the_key_is_on_the_envelope() -> None:
    inner = [PROPERTIES + data_message(b"%d" % number) for number in range(3)]
    batch = annotated(x_opt_partition_key="k") + APPLICATION + b"".join(map(data_message, inner))
    assert incoming(batch, BATCH_FORMAT) == Incoming(inner, "k")


@pytest.mark.parametrize(
    ("message", "format"),
    [
        (b"", 0),
        (b"\x00\x53", 0),
        (b"text", 0),
        (data_message(b"x")[:-1], 0),
        (data_message(b"x") + PROPERTIES, 0),
        (PROPERTIES + PROPERTIES, 0),
        (encode(Described(Ulong(0x79), "x")), 0),
        (encode(Described(Ulong(0x72), "no map")), 0),
        (annotated(x_opt_partition_key=Long(1)) + data_message(b""), 0),
        (APPLICATION, BATCH_FORMAT),
        (data_message(b"not a message"), BATCH_FORMAT),
        (encode(Described(Ulong(0x75), "text")), BATCH_FORMAT),
    ],
)
def test_what_is_no_message_is_a_decode_error(message: bytes, format: int) -> None:
    with pytest.raises(DecodeError):
        incoming(message, format)


@given(st.binary(max_size=120), st.sampled_from([0, BATCH_FORMAT]))
def test_random_bytes_raise_nothing_but_a_decode_error(message: bytes, format: int) -> None:
    with contextlib.suppress(DecodeError):
        incoming(message, format)


def test_sections_may_be_described_by_long_numbers_and_by_names_and_are_stored_in_the_usual_form() -> None:
    for descriptor in (b"\x80" + (0x75).to_bytes(8, "big"), encode(Symbol("amqp:data:binary"))):
        message = b"\x00" + descriptor + encode(b"body")
        assert incoming(message, 0).messages == (data_message(b"body"),)  # which every client reads


def test_an_event_is_delivered_with_sequence_offset_time_and_key_in_types_that_all_clients_take() -> None:
    found = sections(delivered(Event(7, "4096", 1_700_000_000_000, "k", PROPERTIES + data_message(b"b"))))
    assert [code for code, _ in found] == [0x72, 0x73, 0x75]
    annotations = found[0][1]
    assert isinstance(annotations, dict)
    assert [(type(name), str(name), type(value), value) for name, value in annotations.items()] == [
        (Symbol, "x-opt-sequence-number", Long, 7),
        (Symbol, "x-opt-offset", str, "4096"),
        (Symbol, "x-opt-enqueued-time", Timestamp, 1_700_000_000_000),
        (Symbol, "x-opt-partition-key", str, "k"),
    ]


def test_the_senders_header_and_annotations_come_back_in_their_place() -> None:
    (stored,) = incoming(HEADER + annotated(mine="x") + data_message(b"b"), 0).messages
    found = sections(delivered(Event(0, "0", 0, None, stored), DELIVERY))
    assert [code for code, _ in found] == [0x70, 0x71, 0x72, 0x75]
    annotations = found[2][1]
    assert isinstance(annotations, dict)
    assert annotations[Symbol("mine")] == "x"


_MESSAGES = st.builds(
    lambda *parts: b"".join(parts),
    st.sampled_from([b"", HEADER]),
    st.sampled_from([b"", annotated(mine="x")]),
    st.sampled_from([b"", PROPERTIES]),
    st.binary(max_size=400).map(data_message),
)


@given(
    st.lists(
        st.builds(Event, st.integers(0, 2**62), st.text(max_size=200), st.integers(0, 2**42), st.none() | st.text(max_size=200), _MESSAGES),
        min_size=1,
        max_size=4,
    ),
    st.integers(0, 2**32 - 1),
    st.sampled_from([b"", DELIVERY]),
)
def test_a_frame_made_from_bytes_is_a_transfer_with_the_delivered_message(events: list[Event], number: int, metrics: bytes) -> None:
    parts, sent = event_frames(events, 3, 9, number, max_frame=65_536, metrics=metrics)
    assert sent == len(events)
    expected = b""
    for event in events:
        transfer = Transfer(9, number, number.to_bytes(4, "big"), 0, True, False)
        # The codec writes short forms where the frame has long ones: compare what is read.
        expected += frame(3, transfer.encode() + delivered(event, metrics))
        number = (number + 1) & 0xFFFF_FFFF

    def read(data: bytes) -> list[object]:
        splitter = FrameSplitter(1 << 24)
        splitter.feed(data)
        found: list[object] = []
        for _, channel, body in splitter.frames():
            performative, at = decode_performative(body)
            found.append((channel, performative, body[at:]))
        return found

    assert read(b"".join(parts)) == read(expected)


def test_frames_stop_before_an_event_that_needs_several_and_after_a_good_helping() -> None:
    small, large = (Event(0, "0", 0, None, data_message(b"x" * size)) for size in (10, 2000))
    assert event_frames([small, small, large, small], 0, 0, 0, max_frame=1024)[1] == 2
    assert event_frames([large], 0, 0, 0, max_frame=1024) == ([], 0)
    assert event_frames([large] * 1000, 0, 0, 0, max_frame=65_536)[1] < 200


def test_a_data_message_is_a_message() -> None:
    assert decode_exactly(data_message(b"x" * 300)) == Described(Ulong(0x75), b"x" * 300)
