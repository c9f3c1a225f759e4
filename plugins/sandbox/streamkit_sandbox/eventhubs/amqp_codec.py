"""The types of AMQP 1.0 as bytes: `encode` a value, `decode` one; no frames, no performatives, no sockets.

What was decoded is encoded as the same type again (see `amqp_types.py`): clients compare the type of a correlation id. A plain
int has no type here and is refused. Whatever the bytes, `decode` raises nothing but DecodeError. Source: AMQP 1.0, part 1 (types).
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable
from typing import TypeAlias
from uuid import UUID

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

__all__ = ["decode", "decode_exactly", "encode", "skip"]

_MAX_DEPTH = 32  # of lists in lists: deeper than any client's, shallower than Python's stack
_MAX_EMPTY_ITEMS = 256  # of an array whose items take no byte each: its count is bounded by nothing else

_U8, _U16, _U32, _U64 = struct.Struct(">B"), struct.Struct(">H"), struct.Struct(">I"), struct.Struct(">Q")
_I8, _I16, _I32, _I64 = struct.Struct(">b"), struct.Struct(">h"), struct.Struct(">i"), struct.Struct(">q")
_F32, _F64 = struct.Struct(">f"), struct.Struct(">d")
_SIZES = {0x4: 0, 0x5: 1, 0x6: 2, 0x7: 4, 0x8: 8, 0x9: 16}  # bytes of a value, by the upper half of its code

_Decoder: TypeAlias = "Callable[[bytes, int, int], tuple[Value, int]]"


def decode(data: bytes, position: int = 0) -> tuple[Value, int]:
    """The value at `position`, and the position after it. Raises DecodeError."""
    try:
        return _value(data, position, 0)
    except (struct.error, IndexError):
        raise DecodeError(f"a value at byte {position} goes on behind the end of {len(data)} bytes") from None
    except UnicodeDecodeError as error:
        raise DecodeError(f"a value at byte {position} holds text that is not {error.encoding}") from None


def decode_exactly(data: bytes) -> Value:
    """The one value that `data` is. Raises DecodeError, also for bytes behind it."""
    value, end = decode(data)
    if end != len(data):
        raise DecodeError(f"{len(data) - end} bytes follow a value of {end}")
    return value


def skip(data: bytes, position: int) -> int:
    """The position after the value at `position`, whose inside is not looked at. Raises DecodeError."""
    try:
        code = data[position]
        if code == 0x00:
            return skip(data, skip(data, position + 1)) if data[position + 1] else _no_nesting(position)
        kind = code >> 4
        if kind in _SIZES:
            end = position + 1 + _SIZES[kind]
        elif kind in (0xA, 0xC, 0xE):
            end = position + 2 + data[position + 1]
        elif kind in (0xB, 0xD, 0xF):
            end = position + 5 + int(_U32.unpack_from(data, position + 1)[0])
        else:
            raise DecodeError(f"byte {position} is {code:#04x}, which is no type")
    except (struct.error, IndexError):
        end = len(data) + 1
    if end > len(data):
        raise DecodeError(f"a value at byte {position} goes on behind the end of {len(data)} bytes")
    return end


def _no_nesting(position: int) -> int:
    raise DecodeError(f"the descriptor at byte {position + 1} is itself described")


def _value(data: bytes, position: int, depth: int) -> tuple[Value, int]:
    code = data[position]
    decoder = _DECODERS[code]
    if decoder is None:
        raise DecodeError(f"byte {position} is {code:#04x}, which is no type")
    return decoder(data, position + 1, depth)


def _fixed(layout: struct.Struct, kind: Callable[[int], Value] | Callable[[float], Value]) -> _Decoder:
    def decoder(data: bytes, position: int, _depth: int) -> tuple[Value, int]:
        return kind(layout.unpack_from(data, position)[0]), position + layout.size

    return decoder


def _constant(value: Value) -> _Decoder:
    return lambda _data, position, _depth: (value, position)


def _part(data: bytes, position: int, size: int) -> bytes:
    if position + size > len(data):
        raise DecodeError(f"{size} bytes at byte {position} go on behind the end of {len(data)} bytes")
    return data[position : position + size]


def _variable(width: struct.Struct, kind: Callable[[bytes], Value]) -> _Decoder:
    def decoder(data: bytes, position: int, _depth: int) -> tuple[Value, int]:
        size = width.unpack_from(data, position)[0]
        start = position + width.size
        return kind(_part(data, start, size)), start + size

    return decoder


def _bytes_of(size: int, kind: Callable[[bytes], Value]) -> _Decoder:
    return lambda data, position, _depth: (kind(_part(data, position, size)), position + size)


def _text(data: bytes) -> str:
    return data.decode()


def _symbol(data: bytes) -> Symbol:
    return Symbol(data.decode("ascii"))


def _uuid(data: bytes) -> UUID:
    return UUID(bytes=data)


def _char(data: bytes) -> Char:
    return Char(data.decode("utf-32-be"))


def _boolean(data: bytes, position: int, _depth: int) -> tuple[Value, int]:
    if data[position] > 1:
        raise DecodeError(f"byte {position} is {data[position]:#04x}, which is no boolean")
    return data[position] == 1, position + 1


def _bounds(data: bytes, position: int, width: struct.Struct) -> tuple[int, int, int]:
    """Count, start of the items and end of a compound, which lies inside the data."""
    size = width.unpack_from(data, position)[0]
    end = position + width.size + size
    if size < width.size or end > len(data):
        raise DecodeError(f"a compound of {size} bytes at byte {position} does not fit into {len(data)}")
    return width.unpack_from(data, position + width.size)[0], position + 2 * width.size, end


def _deeper(depth: int) -> int:
    if depth >= _MAX_DEPTH:
        raise DecodeError(f"values lie more than {_MAX_DEPTH} deep in each other")
    return depth + 1


def _items(data: bytes, start: int, end: int, count: int, depth: int) -> list[Value]:
    if count > end - start:  # each takes a byte at least
        raise DecodeError(f"{count} items cannot lie in {end - start} bytes")
    found: list[Value] = []
    position = start
    for _ in range(count):
        decoder = _DECODERS[data[position]]
        if decoder is None:
            raise DecodeError(f"byte {position} is {data[position]:#04x}, which is no type")
        value, position = decoder(data, position + 1, depth)
        found.append(value)
    if position != end:
        raise DecodeError(f"the items of a compound end at byte {position}, and it itself at {end}")
    return found


def _list(width: struct.Struct) -> _Decoder:
    def decoder(data: bytes, position: int, depth: int) -> tuple[Value, int]:
        count, start, end = _bounds(data, position, width)
        return _items(data, start, end, count, _deeper(depth)), end

    return decoder


def _map(width: struct.Struct) -> _Decoder:
    def decoder(data: bytes, position: int, depth: int) -> tuple[Value, int]:
        count, start, end = _bounds(data, position, width)
        flat = _items(data, start, end, count, _deeper(depth))
        if count % 2:
            raise DecodeError(f"a map at byte {position} has a key without a value")
        try:
            return dict(zip(flat[::2], flat[1::2], strict=True)), end
        except TypeError:
            raise DecodeError(f"a map at byte {position} has a list or a map as a key") from None

    return decoder


def _array(width: struct.Struct, own: bytes) -> _Decoder:
    def decoder(data: bytes, position: int, depth: int) -> tuple[Value, int]:
        begin = position
        count, position, end = _bounds(data, position, width)
        depth = _deeper(depth)
        descriptor: Value = None
        if described := data[position] == 0x00:
            descriptor, position = _value(data, position + 1, depth)
        code = data[position]
        decoder = _DECODERS[code]
        if decoder is None or code == 0x00:
            raise DecodeError(f"byte {position} is {code:#04x}, which is no type of an array")
        if count > max(end - position, _MAX_EMPTY_ITEMS):
            raise DecodeError(f"an array of {count} items cannot lie in {end - position} bytes")
        position += 1
        found: list[Value] = []
        for _ in range(count):
            value, position = decoder(data, position, depth)
            found.append(Described(descriptor, value) if described else value)
        if position != end:
            raise DecodeError(f"the items of an array end at byte {position}, and it itself at {end}")
        return Array(tuple(found), code, own + data[begin:end]), end

    return decoder


def _described(data: bytes, position: int, depth: int) -> tuple[Value, int]:
    depth = _deeper(depth)
    descriptor, position = _value(data, position, depth)
    value, position = _value(data, position, depth)
    return Described(descriptor, value), position


_DECODERS: list[_Decoder | None] = [None] * 256
for _code, _decoder in {
    0x00: _described,
    0x40: _constant(None),
    0x41: _constant(True),
    0x42: _constant(False),
    0x43: _constant(Uint(0)),
    0x44: _constant(Ulong(0)),
    0x45: lambda _data, position, _depth: ([], position),
    0x50: _fixed(_U8, Ubyte),
    0x51: _fixed(_I8, Byte),
    0x52: _fixed(_U8, Uint),
    0x53: _fixed(_U8, Ulong),
    0x54: _fixed(_I8, Int),
    0x55: _fixed(_I8, Long),
    0x56: _boolean,
    0x60: _fixed(_U16, Ushort),
    0x61: _fixed(_I16, Short),
    0x70: _fixed(_U32, Uint),
    0x71: _fixed(_I32, Int),
    0x72: _fixed(_F32, Float32),
    0x73: _bytes_of(4, _char),
    0x74: _bytes_of(4, Decimal),
    0x80: _fixed(_U64, Ulong),
    0x81: _fixed(_I64, Long),
    0x82: _fixed(_F64, float),
    0x83: _fixed(_I64, Timestamp),
    0x84: _bytes_of(8, Decimal),
    0x94: _bytes_of(16, Decimal),
    0x98: _bytes_of(16, _uuid),
    0xA0: _variable(_U8, bytes),
    0xA1: _variable(_U8, _text),
    0xA3: _variable(_U8, _symbol),
    0xB0: _variable(_U32, bytes),
    0xB1: _variable(_U32, _text),
    0xB3: _variable(_U32, _symbol),
    0xC0: _list(_U8),
    0xC1: _map(_U8),
    0xD0: _list(_U32),
    0xD1: _map(_U32),
    0xE0: _array(_U8, b"\xe0"),
    0xF0: _array(_U32, b"\xf0"),
}.items():
    _DECODERS[_code] = _decoder


def encode(value: Value) -> bytes:
    """`value` in the shortest form of its type. Raises TypeError for what has no AMQP type, struct.error for what does not fit."""
    encoder = _ENCODERS.get(type(value))
    if encoder is None:
        raise TypeError(f"{value!r} has no AMQP type: {type(value).__name__}")
    return encoder(value)


def _sized(short: int, long: int, data: bytes) -> bytes:
    if len(data) <= 255:
        return bytes((short, len(data))) + data
    return bytes((long,)) + _U32.pack(len(data)) + data


def _compound(short: int, long: int, count: int, body: bytes) -> bytes:
    if len(body) < 255 and count <= 255:
        return bytes((short, len(body) + 1, count)) + body
    return bytes((long,)) + _U32.pack(len(body) + 4) + _U32.pack(count) + body


def _encode_list(items: Iterable[Value]) -> bytes:
    parts = [encode(item) for item in items]
    return _compound(0xC0, 0xD0, len(parts), b"".join(parts)) if parts else b"\x45"


def _encode_map(pairs: dict[Value, Value]) -> bytes:
    parts = [encode(part) for pair in pairs.items() for part in pair]
    return _compound(0xC1, 0xD1, len(parts), b"".join(parts))


def _tagged(code: int, data: bytes) -> bytes:
    return bytes((code,)) + data


def _small(value: int, zero: bytes, small: int, large: int, width: struct.Struct) -> bytes:
    if value == 0 and zero:
        return zero
    return bytes((small, value)) if 0 <= value <= 255 else _tagged(large, width.pack(value))


def _signed(value: int, small: int, large: int, width: struct.Struct) -> bytes:
    return _tagged(small, _I8.pack(value)) if -128 <= value <= 127 else _tagged(large, width.pack(value))


def _encode_array(array: Array) -> bytes:
    # Items of an array have no code of their own, so all take the widest form, whose code comes first.
    if array.raw:
        return array.raw
    if not array.items:
        return _compound(0xE0, 0xF0, 0, bytes((array.constructor or 0x40,)))
    code, layout = _ARRAY_ITEMS.get(type(array.items[0]), (0, None))
    if layout is None or any(type(item) is not type(array.items[0]) for item in array.items):
        raise TypeError(f"an array of {array.items[:2]!r} … is not supported")
    return _compound(0xE0, 0xF0, len(array.items), bytes((code,)) + b"".join(map(layout, array.items)))


def _wide(data: bytes) -> bytes:
    return _U32.pack(len(data)) + data


_ENCODERS: dict[type, Callable[..., bytes]] = {
    type(None): lambda _: b"\x40",
    bool: lambda value: b"\x41" if value else b"\x42",
    Ubyte: lambda value: _tagged(0x50, _U8.pack(value)),
    Byte: lambda value: _tagged(0x51, _I8.pack(value)),
    Ushort: lambda value: _tagged(0x60, _U16.pack(value)),
    Short: lambda value: _tagged(0x61, _I16.pack(value)),
    Uint: lambda value: _small(value, b"\x43", 0x52, 0x70, _U32),
    Ulong: lambda value: _small(value, b"\x44", 0x53, 0x80, _U64),
    Int: lambda value: _signed(value, 0x54, 0x71, _I32),
    Long: lambda value: _signed(value, 0x55, 0x81, _I64),
    Timestamp: lambda value: _tagged(0x83, _I64.pack(value)),
    Float32: lambda value: _tagged(0x72, _F32.pack(value)),
    float: lambda value: _tagged(0x82, _F64.pack(value)),
    Char: lambda value: _tagged(0x73, _U32.pack(ord(value))),
    Decimal: lambda value: _tagged({4: 0x74, 8: 0x84, 16: 0x94}[len(value)], value),
    UUID: lambda value: _tagged(0x98, value.bytes),
    bytes: lambda value: _sized(0xA0, 0xB0, value),
    str: lambda value: _sized(0xA1, 0xB1, value.encode()),
    Symbol: lambda value: _sized(0xA3, 0xB3, value.encode("ascii")),
    list: _encode_list,
    dict: _encode_map,
    Array: _encode_array,
    Described: lambda value: b"\x00" + encode(value.descriptor) + encode(value.value),
}

_ARRAY_ITEMS: dict[type, tuple[int, Callable[..., bytes]]] = {
    bool: (0x56, _U8.pack),
    Ubyte: (0x50, _U8.pack),
    Byte: (0x51, _I8.pack),
    Ushort: (0x60, _U16.pack),
    Short: (0x61, _I16.pack),
    Uint: (0x70, _U32.pack),
    Ulong: (0x80, _U64.pack),
    Int: (0x71, _I32.pack),
    Long: (0x81, _I64.pack),
    Timestamp: (0x83, _I64.pack),
    float: (0x82, _F64.pack),
    UUID: (0x98, lambda value: value.bytes),
    bytes: (0xB0, _wide),
    str: (0xB1, lambda value: _wide(value.encode())),
    Symbol: (0xB3, lambda value: _wide(value.encode("ascii"))),
}
