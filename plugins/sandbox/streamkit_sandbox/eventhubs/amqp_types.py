"""The types of AMQP 1.0 that Python does not tell apart, as small classes: so that what was decoded is encoded as the same again.

Plain values stand for themselves: None, bool, float (double), str, bytes (binary), uuid.UUID, list, dict (map).
Source: AMQP 1.0, part 1 (types).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias
from uuid import UUID

__all__ = [
    "Array",
    "Byte",
    "Char",
    "Decimal",
    "DecodeError",
    "Described",
    "Float32",
    "Int",
    "Long",
    "Short",
    "Symbol",
    "Timestamp",
    "Ubyte",
    "Uint",
    "Ulong",
    "Ushort",
    "Value",
]


class DecodeError(ValueError):
    """These bytes are no AMQP value; the text says where and why."""


class Ubyte(int):
    """8 bits, unsigned."""


class Ushort(int):
    """16 bits, unsigned."""


class Uint(int):
    """32 bits, unsigned."""


class Ulong(int):
    """64 bits, unsigned."""


class Byte(int):
    """8 bits, signed."""


class Short(int):
    """16 bits, signed."""


class Int(int):
    """32 bits, signed."""


class Long(int):
    """64 bits, signed."""


class Timestamp(int):
    """Milliseconds since 1970, UTC."""


class Float32(float):
    """A float of 32 bits; a plain float has 64."""


class Char(str):
    """One character."""


class Symbol(str):
    """A name, in ASCII."""


class Decimal(bytes):
    """A decimal number of 4, 8 or 16 bytes, as it came: nobody here computes with it."""


@dataclass(frozen=True, slots=True)
class Array:
    """Items of one type; `constructor` is the code of that type as it came, 0 to have it chosen by the first item.

    `raw` is the whole array as it came: there are more kinds of arrays than `encode` makes by itself.
    """

    items: tuple[Value, ...]
    constructor: int = 0
    raw: bytes = field(default=b"", compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Described:
    """A value with a descriptor, which is a Ulong or a Symbol."""

    descriptor: Value
    value: Value


Value: TypeAlias = "bool | int | float | str | bytes | UUID | list[Value] | dict[Value, Value] | Array | Described | None"
"""What `decode` gives and `encode` takes; an int is one of the classes above."""
