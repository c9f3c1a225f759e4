"""Frames of AMQP 1.0: bytes of a connection cut into frames, and frames made; what is in them is not looked at.

Source: AMQP 1.0, part 2 (transport), 2.2 and 2.3.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

__all__ = ["AMQP", "AMQP_HEADER", "EMPTY", "MIN_MAX_FRAME", "SASL", "SASL_HEADER", "FrameSplitter", "FramingError", "frame"]

AMQP_HEADER, SASL_HEADER = b"AMQP\x00\x01\x00\x00", b"AMQP\x03\x01\x00\x00"
AMQP, SASL = 0, 1
"""Types of a frame."""
MIN_MAX_FRAME = 512
"""The least size of a frame, in bytes, that a peer must take."""
_HEADER = struct.Struct(">IBBH")


class FramingError(ValueError):
    """What came is no frame; nothing behind it can be read."""


def frame(channel: int, body: bytes, kind: int = AMQP) -> bytes:
    """One frame."""
    return _HEADER.pack(8 + len(body), 2, kind, channel) + body


EMPTY = frame(0, b"")
"""The frame of a heartbeat."""


class FrameSplitter:
    """Takes bytes as they come and gives whole frames; holds at most one incomplete frame and what came with it."""

    __slots__ = ("_data", "_position", "max_frame")

    def __init__(self, max_frame: int) -> None:
        self.max_frame = max_frame
        self._data = b""
        self._position = 0

    def feed(self, data: bytes) -> None:
        """Adds what came."""
        self._data = self._data[self._position :] + data
        self._position = 0

    def header(self) -> bytes | None:
        """The next 8 bytes as a protocol header, None while fewer are there."""
        if len(self._data) - self._position < 8:
            return None
        self._position += 8
        return self._data[self._position - 8 : self._position]

    def frames(self) -> Iterator[tuple[int, int, bytes]]:
        """Kind, channel and body of each whole frame. Raises FramingError; frames before the wrong one are given first."""
        while len(self._data) - self._position >= 8:
            size, offset, kind, channel = _HEADER.unpack_from(self._data, self._position)
            if not 8 <= size <= self.max_frame:
                raise FramingError(f"a frame of {size} bytes came; 8 to {self.max_frame} are allowed")
            if offset < 2 or offset * 4 > size:
                raise FramingError(f"the body of a frame of {size} bytes cannot begin at byte {offset * 4}")
            if kind not in (AMQP, SASL):
                raise FramingError(f"a frame of type {kind} came; there are only {AMQP} and {SASL}")
            if len(self._data) - self._position < size:
                return
            start = self._position
            self._position += size  # before the frame is given: who takes it may read a header next
            yield kind, channel, self._data[start + offset * 4 : start + size]
