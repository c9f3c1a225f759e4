"""Frames are cut wherever the stream of bytes is, and transfers become the messages that were sent."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from streamkit_eventhubs.frames import BadFrame, Frame, Frames

CHANNEL, HANDLE = 3, 1


def frame(body: bytes, channel: int = CHANNEL, kind: int = 0) -> bytes:
    return struct.pack(">IBBH", len(body) + 8, 2, kind, channel) + body


def uint(number: int) -> bytes:
    if number == 0:
        return b"\x43"
    return bytes((0x52, number)) if number < 256 else b"\x70" + number.to_bytes(4, "big")


def transfer(
    payload: bytes,
    *,
    number: int | None = 0,
    tag: bytes | None = b"tag",
    more: bool = False,
    aborted: bool = False,
    handle: int = HANDLE,
    channel: int = CHANNEL,
    wide: bool = False,
    width: int = 11,
) -> bytes:
    fields = [
        uint(handle),
        b"\x40" if number is None else uint(number),
        b"\x40" if tag is None else bytes((0xA0, len(tag))) + tag,
        b"\x43",
        b"\x41",
        b"\x41" if more else b"\x42",
        b"\x40",
        b"\x40",
        b"\x40",
        b"\x41" if aborted else b"\x42",
        b"\x42",
    ][:width]
    listed = b"".join(fields)
    narrow = bytes((0xC0, len(listed) + 1, len(fields)))
    head = b"\xd0" + struct.pack(">II", len(listed) + 4, len(fields)) if wide else narrow
    return frame(b"\x00\x53\x14" + head + listed + payload, channel)


def all_of(frames: Frames, chunk: bytes) -> list[Frame]:
    found: list[Frame] = []
    others = frames.feed(chunk)
    while others:
        found += others
        others = frames.feed(b"")
    return found


def ours(max_frame_bytes: int = 1 << 20) -> Frames:
    return Frames(CHANNEL, HANDLE, max_frame_bytes=max_frame_bytes)


payloads = st.lists(st.binary(min_size=1, max_size=40), min_size=1, max_size=6)


@given(payloads, st.lists(st.integers(1, 30), max_size=40), st.booleans(), st.integers(6, 11))
def test_wherever_the_stream_is_cut_the_same_messages_come_out(sent: list[bytes], cuts: list[int], wide: bool, width: int) -> None:
    stream = b""
    for number, payload in enumerate(sent):
        parts = [payload[:3], payload[3:]] if number % 2 else [payload]
        for index, part in enumerate(parts):
            more = index + 1 < len(parts)
            first = index == 0
            stream += transfer(
                part, number=number * 200 if first else None, tag=b"%d" % number if first else None, more=more, wide=wide, width=width
            )
        stream += frame(b"")  # a heartbeat
    frames = ours()
    others = 0
    for cut in cuts:
        others += len(all_of(frames, stream[:cut]))
        stream = stream[cut:]
    others += len(all_of(frames, stream))
    assert frames.messages == sent
    assert (frames.deliveries, others, frames.bytes) == (len(sent), len(sent), sum(map(len, sent)))
    assert frames.transfers == sum(2 if number % 2 else 1 for number in range(len(sent)))


def test_transfers_of_other_links_and_sessions_are_left_to_the_sdk_in_their_place() -> None:
    frames = ours()
    stream = transfer(b"a") + transfer(b"x", handle=2) + transfer(b"b") + transfer(b"y", channel=9) + transfer(b"c")
    first = frames.feed(stream)
    assert [bytes(other.body)[-1:] for other in first] == [b"x"]
    assert frames.messages == [b"a"], "nothing behind it has been looked at"
    second = frames.feed(b"")
    assert [(other.channel, bytes(other.body)[-1:]) for other in second] == [(9, b"y")]
    assert frames.feed(b"") == []
    assert frames.messages == [b"a", b"b", b"c"]


@pytest.mark.parametrize("encoding", [b"\x43", b"\x52\x00", b"\x70\x00\x00\x00\x00"])
def test_a_handle_is_known_in_each_of_its_encodings(encoding: bytes) -> None:
    frames = Frames(CHANNEL, 0, max_frame_bytes=1 << 20)
    listed = encoding + b"\x43\xa0\x01t\x43\x41\x42"
    assert frames.feed(frame(b"\x00\x53\x14" + bytes((0xC0, len(listed) + 1, 6)) + listed + b"body")) == []
    assert frames.messages == [b"body"]


@pytest.mark.parametrize("width", range(1, 6))
@pytest.mark.parametrize("rest", [b"rest", b"\x40 like a field", b"\x00\x53\x75\xa0\x01x", b""])
def test_fields_at_the_end_of_a_transfer_may_be_left_out(rest: bytes, width: int) -> None:
    frames = ours()
    assert all_of(frames, transfer(b"first ", more=True) + transfer(rest, number=None, tag=None, width=width)) == []
    assert (frames.messages, frames.deliveries, frames.transfers) == ([b"first " + rest], 1, 2)


def test_a_delivery_that_is_broken_off_is_no_message_but_counts() -> None:
    frames = ours()
    all_of(frames, transfer(b"half", more=True) + transfer(b"", number=None, tag=None, aborted=True) + transfer(b"next", number=1))
    assert frames.messages == [b"next"]
    assert (frames.transfers, frames.deliveries, frames.bytes) == (3, 2, 4)


def test_what_is_remembered_of_transfers_is_bounded() -> None:
    frames = ours()
    for number in range(200):
        listed = b"\x52\x01\x43\x40" + b"\x70" + number.to_bytes(4, "big") + b"\x41\x42"  # a message format that differs each time
        all_of(frames, frame(b"\x00\x53\x14" + bytes((0xC0, len(listed) + 1, 6)) + listed + b"%d" % number))
    assert frames.messages == [b"%d" % number for number in range(200)]
    assert len(frames._tails) <= 64


@pytest.mark.parametrize(
    "stream",
    [
        struct.pack(">IBBH", 7, 2, 0, CHANNEL),
        struct.pack(">IBBH", (1 << 20) + 1, 2, 0, CHANNEL),
        struct.pack(">IBBH", 8, 1, 0, CHANNEL),
        struct.pack(">IBBH", 8, 9, 0, CHANNEL),
        frame(b"", kind=1),
        frame(b"\x00\x53\x14\xa0"),
        frame(b"\x00\x53\x14\xc0\xff\x0b\x52\x01"),
        frame(b"\x00\x53\x14\xc0\x03\x02\x99\x01"),
    ],
)
def test_what_is_no_amqp_is_said_to_be_so(stream: bytes) -> None:
    with pytest.raises(BadFrame):
        ours().feed(stream)


@given(st.binary(max_size=120))
def test_any_bytes_are_frames_or_bad_ones(junk: bytes) -> None:
    frames = ours(100)
    try:
        all_of(frames, frame(b"\x00\x53\x14" + junk))
        all_of(frames, junk)
    except BadFrame:
        pass  # the one error that there is
