"""Reads encoded AMQP messages: where a section begins, and the values in it. Pure, and nothing of streamkit in it.

A message stays the bytes that it came in, and only what is asked for is decoded. Values are those that the SDK makes of them: text,
symbols and binary are all bytes, a timestamp is milliseconds since 1970. What the SDK cannot decode (characters, decimals) is given
as its bytes. `encoded.py` calls this. Format: AMQP 1.0, part 1 (types) and part 3, section 3.2 (message format).
"""

from __future__ import annotations

import struct
import uuid
from collections.abc import Callable, Iterator

__all__ = [
    "ANNOTATIONS",
    "APPLICATION_PROPERTIES",
    "DATA",
    "DELIVERY_ANNOTATIONS",
    "PROPERTIES",
    "SEQUENCE",
    "VALUE",
    "BadMessage",
    "Value",
    "data_of",
    "section",
    "sections",
    "value_at",
]

HEADER, DELIVERY_ANNOTATIONS, ANNOTATIONS, PROPERTIES, APPLICATION_PROPERTIES, DATA, SEQUENCE, VALUE, FOOTER = range(0x70, 0x79)

Value = None | bool | int | float | bytes | uuid.UUID | list["Value"] | dict["Value", "Value"]

_NULL, _TRUE, _FALSE = 0x40, 0x41, 0x42
_SMALL_ULONG, _ULONG = 0x53, 0x80
_BINARY8, _BINARY32 = 0xA0, 0xB0
_LIST0, _LIST8, _MAP8, _LIST32, _MAP32 = 0x45, 0xC0, 0xC1, 0xD0, 0xD1


class BadMessage(ValueError):
    """These bytes are no AMQP message, or are cut."""


def data_of(message: bytes) -> bytes | None:
    """The body, where it is one data section at the very end, as nearly always; None: look more closely.

    Raises nothing: what is not as expected is not looked at here.
    """
    index, end = 0, len(message)
    while index + 5 <= end and message[index] == 0 and message[index + 1] == _SMALL_ULONG:
        descriptor, constructor = message[index + 2], message[index + 3]
        if constructor in (_MAP8, _LIST8, _BINARY8):
            index += 5
            after = index + message[index - 1]
        elif constructor in (_MAP32, _LIST32, _BINARY32):
            index += 8
            after = index + int.from_bytes(message[index - 4 : index], "big")
        elif constructor == _LIST0:
            after = index + 4
        else:
            return None
        if descriptor == DATA:
            return message[index:] if after == end and constructor in (_BINARY8, _BINARY32) else None
        index = after
    return None


def sections(message: bytes) -> Iterator[tuple[int, int]]:
    """Kind of each section, and where its value begins. Raises BadMessage."""
    index, end = 0, len(message)
    while index < end:
        kind, index = _descriptor(message, index)
        yield kind, index
        index = _skip(message, index)
    if index > end:
        raise BadMessage(f"a message of {end} bytes ends before its last section, at {index}")


def section(message: bytes, kind: int) -> Value:
    """The decoded value of the first section of that kind; None if there is none. Raises BadMessage."""
    for found, index in sections(message):
        if found == kind:  # all are looked at: writers do not keep to the order of their numbers
            return value_at(message, index)
    return None


def value_at(message: bytes, index: int) -> Value:
    """The value whose constructor stands at `index`. Raises BadMessage."""
    value, after = _decoded(message, index)
    if after > len(message):
        raise BadMessage(f"a value at {index} goes beyond the end of {len(message)} bytes")
    return value


def _decoded(message: bytes, index: int) -> tuple[Value, int]:
    try:
        return _DECODERS[message[index]](message, index + 1)
    except (IndexError, struct.error, TypeError, RecursionError) as error:
        raise BadMessage(f"a value at {index} cannot be read: {error}") from error


def _descriptor(message: bytes, index: int) -> tuple[int, int]:
    if message[index : index + 2] == b"\x00\x53" and index + 3 < len(message):
        return message[index + 2], index + 3
    if message[index : index + 2] == b"\x00\x80" and index + 10 < len(message):
        return int.from_bytes(message[index + 2 : index + 10], "big"), index + 10
    raise BadMessage(f"no section begins at {index}")


def _skip(message: bytes, index: int) -> int:
    """Where the value at `index` ends: the upper half of a constructor says how long it is. Raises BadMessage."""
    try:
        constructor = message[index]
        width = _WIDTHS.get(constructor >> 4)
        if width is not None:
            return index + 1 + width
        if constructor == 0:
            return _skip(message, _skip(message, index + 1))
        if constructor >> 4 in (0xA, 0xC, 0xE):
            return index + 2 + message[index + 1]
        if constructor >> 4 in (0xB, 0xD, 0xF):
            return index + 5 + _uint(message, index + 1)
    except (IndexError, struct.error, RecursionError) as error:
        raise BadMessage(f"a value at {index} is cut: {error}") from error
    raise BadMessage(f"there is no constructor {constructor:#04x}, at {index}")


_WIDTHS = {0x4: 0, 0x5: 1, 0x6: 2, 0x7: 4, 0x8: 8, 0x9: 16}
_UINT = struct.Struct(">I").unpack_from


def _uint(message: bytes, index: int) -> int:
    number: int = _UINT(message, index)[0]
    return number


Decoder = Callable[[bytes, int], tuple[Value, int]]


def _constant(value: Value) -> Decoder:
    return lambda message, index: (value, index)


def _empty_list(message: bytes, index: int) -> tuple[Value, int]:
    return [], index


def _number(form: str) -> Decoder:
    unpack, size = struct.Struct(form).unpack_from, struct.calcsize(form)
    return lambda message, index: (unpack(message, index)[0], index + size)


def _boolean(message: bytes, index: int) -> tuple[Value, int]:
    return message[index] == 1, index + 1


def _uuid(message: bytes, index: int) -> tuple[Value, int]:
    return uuid.UUID(bytes=_exactly(message, index, 16)), index + 16


def _plain(size: int) -> Decoder:
    return lambda message, index: (_exactly(message, index, size), index + size)


def _bytes8(message: bytes, index: int) -> tuple[Value, int]:
    size = message[index]
    return _exactly(message, index + 1, size), index + 1 + size


def _bytes32(message: bytes, index: int) -> tuple[Value, int]:
    size = _uint(message, index)
    return _exactly(message, index + 4, size), index + 4 + size


def _exactly(message: bytes, index: int, size: int) -> bytes:
    part = message[index : index + size]
    if len(part) != size:
        raise BadMessage(f"{size} bytes at {index} go beyond the end of {len(message)}")
    return part


def _compound(message: bytes, index: int, wide: bool) -> tuple[int, int, int]:
    """How many values, where the first of them is, and where all end."""
    if wide:
        count, begin, end = _uint(message, index + 4), index + 8, index + 4 + _uint(message, index)
    else:
        count, begin, end = message[index + 1], index + 2, index + 1 + message[index]
    if end > len(message) or count > len(message):  # the latter: elements without a width, of which a count alone would fill the memory
        raise BadMessage(f"{count} values at {index} go beyond the end of {len(message)} bytes")
    return count, begin, end


def _list(wide: bool) -> Decoder:
    def decode(message: bytes, index: int) -> tuple[Value, int]:
        count, index, end = _compound(message, index, wide)
        values: list[Value] = []
        for _ in range(count):
            value, index = _DECODERS[message[index]](message, index + 1)
            values.append(value)
        return values, _ended(index, end)

    return decode


def _map(wide: bool) -> Decoder:
    def decode(message: bytes, index: int) -> tuple[Value, int]:
        count, index, end = _compound(message, index, wide)
        values: dict[Value, Value] = {}
        for _ in range(count // 2):
            key, index = _DECODERS[message[index]](message, index + 1)
            values[key], index = _DECODERS[message[index]](message, index + 1)
        return values, _ended(index, end)

    return decode


def _array(wide: bool) -> Decoder:
    def decode(message: bytes, index: int) -> tuple[Value, int]:
        count, index, end = _compound(message, index, wide)
        values: list[Value] = []
        if count:
            decoder = _DECODERS[message[index]]
            index += 1
            for _ in range(count):
                value, index = decoder(message, index)
                values.append(value)
        return values, end if not count else _ended(index, end)

    return decode


def _ended(index: int, end: int) -> int:
    if index != end:
        raise BadMessage(f"values end at {index}, not at {end} as they say")
    return end


def _described(message: bytes, index: int) -> tuple[Value, int]:
    """The descriptor says what the value means; to the value alone it makes no difference."""
    _, index = _DECODERS[message[index]](message, index + 1)
    return _DECODERS[message[index]](message, index + 1)


def _unknown(message: bytes, index: int) -> tuple[Value, int]:
    raise BadMessage(f"there is no constructor {message[index - 1]:#04x}, at {index - 1}")


def _decoders() -> list[Decoder]:
    known: dict[int, Decoder] = {
        0x00: _described,
        _NULL: _constant(None),
        _TRUE: _constant(True),
        _FALSE: _constant(False),
        0x43: _constant(0),
        0x44: _constant(0),
        _LIST0: _empty_list,
        0x56: _boolean,
        0x73: _plain(4),
        0x74: _plain(4),
        0x84: _plain(8),
        0x94: _plain(16),
        0x98: _uuid,
    }
    numbers = {
        ">B": (0x50, 0x52, 0x53),
        ">b": (0x51, 0x54, 0x55),
        ">H": (0x60,),
        ">h": (0x61,),
        ">I": (0x70,),
        ">i": (0x71,),
        ">f": (0x72,),
        ">Q": (0x80,),
        ">q": (0x81, 0x83),
        ">d": (0x82,),
    }
    known |= {constructor: _number(form) for form, constructors in numbers.items() for constructor in constructors}
    known |= dict.fromkeys((_BINARY8, 0xA1, 0xA3), _bytes8) | dict.fromkeys((_BINARY32, 0xB1, 0xB3), _bytes32)
    known |= {_LIST8: _list(False), _LIST32: _list(True), _MAP8: _map(False), _MAP32: _map(True), 0xE0: _array(False), 0xF0: _array(True)}
    return [known.get(constructor, _unknown) for constructor in range(256)]


_DECODERS = _decoders()
