"""Which partition an event with a partition key goes to: Bob Jenkins's lookup3, folded to 16 bits, as the service does it.

The hash itself is public domain (lookup3.c, hashlittle2). The fold and the remainder are those that Azure's SDKs for
.NET, Java and JavaScript use to foretell the service.
"""

from __future__ import annotations

import struct

__all__ = ["hash_of", "partition_index"]

_MASK = 0xFFFFFFFF
_SEED = 0xDEADBEEF
_THREE_WORDS = struct.Struct("<III")


def partition_index(key: str, partition_count: int) -> int:
    """The index of the partition for `key`, from 0 to `partition_count` - 1.

    The remainder is that of C, which has the sign of the hash: -1 with 4 partitions is partition 1. The buffered producer
    of Azure's SDK for Python takes Python's remainder and so foretells partition 3.
    """
    return abs(hash_of(key)) % partition_count  # |h rem n| of C is |h| mod n


def hash_of(key: str) -> int:
    """The hash of `key`'s UTF-8 bytes as a signed 16-bit number; 0 for an empty key."""
    if not key:
        return 0
    primary, secondary = _lookup3(key.encode())
    folded = (primary ^ secondary) & 0xFFFF
    return folded - 0x10000 if folded & 0x8000 else folded


def _lookup3(data: bytes) -> tuple[int, int]:
    """Both 32-bit words of hashlittle2 with seeds 0; `data` must not be empty."""
    a = b = c = (_SEED + len(data)) & _MASK
    # The last block (1 to 12 bytes) is mixed by other steps; missing bytes count as zeros.
    last = (len(data) - 1) // 12 * 12
    for start in range(0, last, 12):
        x, y, z = _THREE_WORDS.unpack_from(data, start)
        a, b, c = _mix((a + x) & _MASK, (b + y) & _MASK, (c + z) & _MASK)
    x, y, z = _THREE_WORDS.unpack(data[last:].ljust(12, b"\0"))
    return _final((a + x) & _MASK, (b + y) & _MASK, (c + z) & _MASK)


def _turned(word: int, bits: int) -> int:
    return ((word << bits) | (word >> (32 - bits))) & _MASK


def _mix(a: int, b: int, c: int) -> tuple[int, int, int]:
    for bits in (4, 6, 8, 16, 19, 4):
        a = ((a - c) & _MASK) ^ _turned(c, bits)
        c = (c + b) & _MASK
        a, b, c = b, c, a  # the next step does the same with the names moved on by one
    return a, b, c


def _final(a: int, b: int, c: int) -> tuple[int, int]:
    for bits in (14, 11, 25, 16, 4, 14, 24):
        c = ((c ^ b) - _turned(b, bits)) & _MASK
        a, b, c = b, c, a
    # Seven steps moved the names on by one: what the original calls c is b here, and its b is a.
    return b, a
