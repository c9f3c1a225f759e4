"""Takes a KPL aggregate apart: several user records that a producer has packed into one Kinesis record.

The frame is a magic number, a protobuf message and the MD5 of that message; the message is a table of partition keys, one of
explicit hash keys, and records that point into them (the format is published with the Kinesis Producer Library). Read by hand,
because the format is four fields that have not changed in ten years, and a general protobuf reader would make an object for
each record. All or nothing: what is not sound to its last byte is no aggregate. `record.py` decides what becomes of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import md5

__all__ = ["ALL_HASHES", "MAGIC", "Aggregate", "hash_of", "read_aggregate"]

MAGIC = b"\xf3\x89\x9a\xc2"
_DIGEST = 16
ALL_HASHES = (0, (1 << 128) - 1)
"""The range of a stream with one shard."""

# Tags of protobuf fields: number << 3 | wire type.
_KEY, _EXPLICIT_HASH, _RECORD = 0x0A, 0x12, 0x1A
_OURS = frozenset((_KEY, _EXPLICIT_HASH, _RECORD))
_KEY_INDEX, _HASH_INDEX, _DATA = 0x08, 0x10, 0x1A


@dataclass(frozen=True, slots=True)
class Aggregate:
    """User records in their order: the number of one is its sub-sequence. Columns, so that there is no object for each."""

    table: list[bytes]
    """Partition keys, UTF-8, as they came."""
    indices: list[int]
    """For each record, which one of them is its own."""
    values: list[bytes]
    hashes: dict[int, int]
    """Explicit hash keys, by the number of the record; most aggregates have none."""

    def outside(self, low: int, high: int) -> list[int]:
        """Numbers of the records whose hash key is not in [low, high]. One hash for each key, however many records it has."""
        # Numbers of 16 bytes compare as their bytes do, highest first.
        first, last = low.to_bytes(_DIGEST, "big"), high.to_bytes(_DIGEST, "big")
        inside = [first <= md5(key, usedforsecurity=False).digest() <= last for key in self.table]
        if not self.hashes and all(inside):
            return []
        hashes = self.hashes
        return [
            number
            for number, index in enumerate(self.indices)
            if not (low <= hashes[number] <= high if number in hashes else inside[index])
        ]


class _DamagedError(Exception):
    """Not what the format says."""


def hash_of(key: bytes) -> int:
    """Where Kinesis puts a partition key (UTF-8) without an explicit hash key: its MD5, as a number."""
    return int.from_bytes(md5(key, usedforsecurity=False).digest(), "big")


def read_aggregate(data: bytes) -> Aggregate | None:
    """What `data`, which begins with MAGIC, holds; None if it is damaged, or something else that begins so. Raises nothing."""
    end = len(data) - _DIGEST
    if end <= len(MAGIC) or md5(memoryview(data)[len(MAGIC) : end], usedforsecurity=False).digest() != data[end:]:
        return None
    try:
        return _message(data, len(MAGIC), end)
    except (_DamagedError, IndexError):
        return None


def _message(data: bytes, at: int, end: int) -> Aggregate:
    table: list[bytes] = []
    explicit: list[bytes] = []
    indices: list[int] = []
    values: list[bytes] = []
    hash_indices: dict[int, int] = {}
    while at < end:
        tag = data[at]
        if tag not in _OURS:  # a newer format may know more
            at = _skip(data, at, end)
            continue
        length = data[at + 1]
        at += 2
        if length > 0x7F:
            if (high := data[at]) < 0x80:  # two bytes, as mostly
                length += (high - 1) << 7
                at += 1
            else:
                length, at = _varint(data, at - 1, end)
        stop = at + length
        if stop > end:
            raise _DamagedError
        if tag == _RECORD:
            # What producers write: an index of a key, perhaps one of a hash key, the data, nothing else. If the data ends
            # exactly where the record does, then all of it was read within its bounds.
            index = hash_index = -1
            start = at
            if data[start] == _KEY_INDEX:
                index = data[start + 1]
                start += 2
                if index > 0x7F:
                    index, start = _varint(data, start - 1, end)
            if data[start] == _HASH_INDEX:
                hash_index, start = _varint(data, start + 1, end)
            if index >= 0 and data[start] == _DATA:
                size = data[start + 1]
                start += 2
                if size > 0x7F:
                    if (high := data[start]) < 0x80:
                        size += (high - 1) << 7
                        start += 1
                    else:
                        size, start = _varint(data, start - 1, end)
            else:
                size = -1
            if size < 0 or start + size != stop:
                index, hash_index, value = _record(data, at, stop)
            else:
                value = data[start:stop]
            if hash_index >= 0:
                hash_indices[len(values)] = hash_index
            indices.append(index)
            values.append(value)
        elif tag == _KEY:
            table.append(data[at:stop])
        else:
            explicit.append(data[at:stop])
        at = stop
    if indices and max(indices) >= len(table):
        raise _DamagedError
    known = {index: _hash(explicit, index) for index in set(hash_indices.values())}
    return Aggregate(table, indices, values, {number: known[index] for number, index in hash_indices.items()})


def _record(data: bytes, at: int, end: int) -> tuple[int, int, bytes]:
    """A record whose fields stand in another order, or that has more of them: tags, and what is not known today."""
    index = hash_index = -1
    value: bytes | None = None
    while at < end:
        tag = data[at]
        if tag == _KEY_INDEX:
            index, at = _varint(data, at + 1, end)
        elif tag == _HASH_INDEX:
            hash_index, at = _varint(data, at + 1, end)
        elif tag == _DATA:
            length, at = _varint(data, at + 1, end)
            value = data[at : at + length]
            at += length
        else:
            at = _skip(data, at, end)
    if at != end or index < 0 or value is None:
        raise _DamagedError
    return index, hash_index, value


def _hash(explicit: list[bytes], index: int) -> int:
    if index >= len(explicit) or not explicit[index].isdigit() or len(explicit[index]) > 39:
        raise _DamagedError
    if (number := int(explicit[index])) > ALL_HASHES[1]:
        raise _DamagedError
    return number


def _skip(data: bytes, at: int, end: int) -> int:
    """Over one field, whatever it is."""
    tag, at = _varint(data, at, end)
    kind = tag & 7
    if kind == 0:
        _, at = _varint(data, at, end)
    elif kind == 1:
        at += 8
    elif kind == 2:
        length, at = _varint(data, at, end)
        at += length
    elif kind == 5:
        at += 4
    else:  # groups, which went out of use before this format came
        raise _DamagedError
    if at > end or tag < 8:
        raise _DamagedError
    return at


def _varint(data: bytes, at: int, end: int) -> tuple[int, int]:
    """A number of seven bits a byte, lowest first, and what comes after it."""
    number = shift = 0
    while at < end and shift < 70:
        byte = data[at]
        at += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number, at
        shift += 7
    raise _DamagedError
