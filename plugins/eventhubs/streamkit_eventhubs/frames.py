"""Cuts what comes over a connection into frames, and makes messages of the transfers of one link. Pure.

An AMQP frame begins with its size; a transfer is a short list of fields and then the message, or a part of it. Of the fields only
those that differ from one transfer to the next are looked at each time: the rest is the same bytes nearly always, and remembered.
Format: AMQP 1.0, part 2, sections 2.3 and 2.7.5. `fast_link.py` calls this.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from streamkit_eventhubs.amqp import BadMessage, Value, value_at

__all__ = ["BadFrame", "Frame", "Frames"]

_HEADER = struct.Struct(">IBBH").unpack_from
_HEADER_BYTES = 8
_TRANSFER = b"\x00\x53\x14"
_LIST8, _LIST32 = 0xC0, 0xD0
_WIDTHS = {0x43: 1, 0x44: 1, 0x52: 2, 0x53: 2, 0x70: 5, 0x80: 9, 0x40: 1}
_REMEMBERED = 64
_MORE, _ABORTED = 5, 9


class BadFrame(ValueError):
    """The peer does not speak AMQP, or not to the end."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One that is no transfer of our link: the SDK deals with it."""

    channel: int
    body: memoryview
    """Without the frame's header; empty: a heartbeat."""


class Frames:
    """Of one connection, from one transfer to the next."""

    def __init__(self, channel: int, handle: int, *, max_frame_bytes: int) -> None:
        """`channel` and `handle`: what the peer calls the session and the link. `max_frame_bytes`: what it was told."""
        self._channel = channel
        self._handles = frozenset(_encodings(handle))
        self._max_frame_bytes = max_frame_bytes
        self._rest = b""
        self._parts: list[bytes] = []
        self._tails: dict[bytes, tuple[bool, bool]] = {}
        self.messages: list[bytes] = []
        """Complete ones, in their order; who takes them puts a new list here."""
        self.bytes = 0
        """Of these, and of parts of one that is not complete."""
        self.transfers = 0
        """Since it was set to 0."""
        self.deliveries = 0
        """Likewise: complete messages, and those that were broken off."""

    def feed(self, chunk: bytes) -> list[Frame]:
        """What has come next. Returns the frames that are not ours, which stand behind what is in `messages` by then, in their order.

        Nothing after such a frame has been looked at: call again, with nothing, until it returns none. Raises BadFrame.
        """
        data = self._rest + chunk if self._rest else chunk
        index, end = 0, len(data)
        while end - index >= _HEADER_BYTES:
            size, offset, kind, channel = _HEADER(data, index)
            if size < _HEADER_BYTES or size > self._max_frame_bytes or offset < 2 or offset * 4 > size:
                raise BadFrame(f"a frame of {size} bytes whose body begins at {offset * 4}; {self._max_frame_bytes} were agreed upon")
            after = index + size
            if after > end:
                break
            body = index + offset * 4
            if kind != 0:
                raise BadFrame(f"a frame of kind {kind} in an open connection")
            if channel != self._channel or data[body : body + 3] != _TRANSFER or not self._transfer(data, body, after):
                self._rest = data[after:]
                return [Frame(channel, memoryview(data)[body:after])]
            index = after
        self._rest = data[index:] if index else data
        return []

    def _transfer(self, data: bytes, body: int, after: int) -> bool:
        """Takes the message, or a part of it; False: it is another link's."""
        constructor = data[body + 3] if body + 6 <= after else None
        if constructor == _LIST8:
            fields, begin = body + 6, body + 5 + data[body + 4]
        elif constructor == _LIST32:
            fields, begin = body + 12, body + 8 + int.from_bytes(data[body + 4 : body + 8], "big")
        else:
            raise BadFrame("a transfer whose fields are no list")
        if not fields < begin <= after:
            raise BadFrame("a transfer whose fields do not end where they should")
        try:
            second = fields + _WIDTHS[data[fields]]
            if data[fields:second] not in self._handles:
                return False
            third = second + _WIDTHS[data[second]] if second < begin else second  # whoever goes on with a delivery may say no more
            tail = third + (2 + data[third + 1] if data[third] == 0xA0 else 1) if third < begin else third
        except (KeyError, IndexError) as error:
            raise BadFrame("a transfer whose fields cannot be read") from error
        known = self._tails.get(data[tail:begin])
        more, aborted = self._flags(data, body, begin, tail) if known is None else known
        self._add(data[begin:after], more, aborted)
        return True

    def _flags(self, data: bytes, body: int, begin: int, tail: int) -> tuple[bool, bool]:
        try:
            fields: Value = value_at(data[:begin], body + 3)
        except BadMessage as error:
            raise BadFrame(f"a transfer whose fields cannot be read: {error}") from error
        if not isinstance(fields, list):
            raise BadFrame("a transfer whose fields are no list")
        flags = bool(len(fields) > _MORE and fields[_MORE]), bool(len(fields) > _ABORTED and fields[_ABORTED])
        if len(self._tails) < _REMEMBERED:
            self._tails[data[tail:begin]] = flags
        return flags

    def _add(self, part: bytes, more: bool, aborted: bool) -> None:
        self.transfers += 1
        if aborted:  # the sender has thought better of it: what has come of it counts as a delivery, and is no message
            self.bytes -= sum(map(len, self._parts))
            self._parts = []
            self.deliveries += 1
            return
        self.bytes += len(part)
        if more:
            self._parts.append(part)
            return
        self.deliveries += 1
        if self._parts:
            self.messages.append(b"".join((*self._parts, part)))
            self._parts = []
        else:
            self.messages.append(part)


def _encodings(number: int) -> list[bytes]:
    """All ways to write it as an unsigned number of 32 bits."""
    ways = [b"\x70" + number.to_bytes(4, "big")]
    if number < 256:
        ways.append(bytes((0x52, number)))
    return [*ways, b"\x43"] if number == 0 else ways
