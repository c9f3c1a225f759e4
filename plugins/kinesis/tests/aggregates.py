"""Writes KPL aggregates, sound ones and others: an encoder for tests, made from the published format alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import md5

MAGIC = bytes.fromhex("f3899ac2")


@dataclass(frozen=True)
class User:
    """A user record."""

    key: bytes
    value: bytes
    hash_key: bytes | None = None


def varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def number_field(number: int, value: int) -> bytes:
    return varint(number << 3) + varint(value)


def bytes_field(number: int, value: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(value)) + value


def framed(message: bytes) -> bytes:
    return MAGIC + message + md5(message, usedforsecurity=False).digest()


def message_of(users: Sequence[User]) -> bytes:
    """Tables first, then records, as the producers write it."""
    keys = list(dict.fromkeys(user.key for user in users))
    hash_keys = list(dict.fromkeys(user.hash_key for user in users if user.hash_key is not None))
    message = b"".join(bytes_field(1, key) for key in keys) + b"".join(bytes_field(2, key) for key in hash_keys)
    for user in users:
        record = number_field(1, keys.index(user.key))
        if user.hash_key is not None:
            record += number_field(2, hash_keys.index(user.hash_key))
        message += bytes_field(3, record + bytes_field(3, user.value))
    return message


def aggregate_of(users: Sequence[User]) -> bytes:
    return framed(message_of(users))
