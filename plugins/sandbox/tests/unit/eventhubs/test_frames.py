"""Frames: cut as they come, in whatever pieces; what is none is a framing error."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from streamkit_sandbox.eventhubs.frames import AMQP_HEADER, EMPTY, SASL, FrameSplitter, FramingError, frame


def test_a_frame_begins_with_its_size_where_its_body_begins_its_type_and_its_channel() -> None:
    assert frame(7, b"abc").hex() == "0000000b02000007616263"
    assert frame(0, b"", SASL).hex() == "0000000802010000"
    assert EMPTY.hex() == "0000000802000000"


@given(st.lists(st.tuples(st.integers(0, 1), st.integers(0, 65_535), st.binary(max_size=40)), max_size=8), st.data())
def test_frames_are_the_same_in_whatever_pieces_they_come(frames: list[tuple[int, int, bytes]], data: st.DataObject) -> None:
    whole = b"".join(frame(channel, body, kind) for kind, channel, body in frames)
    splitter = FrameSplitter(512)
    found: list[tuple[int, int, bytes]] = []
    while whole:
        size = data.draw(st.integers(1, len(whole)))
        splitter.feed(whole[:size])
        found += splitter.frames()
        whole = whole[size:]
    assert found == frames


def test_a_header_may_follow_a_frame_in_the_same_piece() -> None:
    splitter = FrameSplitter(512)
    splitter.feed(frame(0, b"x", SASL) + AMQP_HEADER + frame(1, b"y")[:5])
    assert next(splitter.frames()) == (SASL, 0, b"x")
    assert splitter.header() == AMQP_HEADER
    assert list(splitter.frames()) == []
    splitter.feed(frame(1, b"y")[5:])
    assert list(splitter.frames()) == [(0, 1, b"y")]


def test_an_extended_header_is_skipped() -> None:
    splitter = FrameSplitter(512)
    splitter.feed(bytes.fromhex("0000000d03000001ffffffff61"))
    assert list(splitter.frames()) == [(0, 1, b"a")]


@pytest.mark.parametrize(
    ("data", "says"),
    [
        ("0000000702000000", "7 bytes"),
        ("0000020102000000", "513 bytes"),
        ("0000000801000000", "byte 4"),
        ("0000000803000000", "byte 12"),
        ("0000000802020000", "type 2"),
        ("414d515000010000", "allowed"),
    ],
)
def test_what_is_no_frame_is_refused_after_the_frames_before_it(data: str, says: str) -> None:
    splitter = FrameSplitter(512)
    splitter.feed(frame(3, b"good") + bytes.fromhex(data))
    frames = splitter.frames()
    assert next(frames) == (0, 3, b"good")
    with pytest.raises(FramingError, match=says):
        next(frames)


@given(st.lists(st.binary(max_size=60), max_size=6))
def test_random_bytes_raise_nothing_but_a_framing_error(pieces: list[bytes]) -> None:
    splitter = FrameSplitter(512)
    try:
        for piece in pieces:
            splitter.feed(piece)
            list(splitter.frames())
    except FramingError:
        pass
