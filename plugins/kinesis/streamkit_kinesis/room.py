"""How many bytes may be read ahead, and how many records a read may ask for so that they fit. Pure.

Room is reserved before a read, by what the shard has brought lately, and settled by what it did bring. One read is always
admitted, however large, or a record of 10 MiB could never be read with READ_BYTES=1MiB.
"""

from __future__ import annotations

__all__ = ["LARGEST_BYTES", "Appetite", "Room"]

LARGEST_BYTES = 10 << 20
"""What the service puts into one answer at most."""
SMALLEST_BYTES = 64 << 10
"""Less room than this is not worth a read."""
FIRST_BYTES = 1 << 20
FIRST_RECORD_BYTES = 1 << 10
RECORD_OVERHEAD_BYTES = 200
"""What a record costs beside its data: its key, its numbers, and the objects that hold them."""
USER_RECORD_OVERHEAD_BYTES = 100
"""The same of a user record that was taken out of an aggregate: an object for its data, and its places in four lists."""


class Room:
    """The bytes of one reader."""

    def __init__(self, total: int) -> None:
        self._total = total
        self.held = 0

    def reserve(self, wanted: int) -> int:
        """So many bytes are granted, perhaps fewer than wanted; 0: there is no room, wait until something is given back."""
        free = self._total - self.held if self.held else max(self._total, SMALLEST_BYTES)
        if free < min(wanted, SMALLEST_BYTES):
            return 0
        granted = min(wanted, free)
        self.held += granted
        return granted

    def settle(self, granted: int, used: int) -> None:
        """A read has brought `used` bytes where `granted` were reserved."""
        self.held += used - granted

    def release(self, used: int) -> None:
        """They have been handed on."""
        self.held -= used


class Appetite:
    """Of one shard: what its next answer may weigh."""

    __slots__ = ("_is_known", "_most_records", "_record_bytes", "_wanted")

    def __init__(self, most_records: int) -> None:
        self._most_records = most_records
        self._record_bytes = float(FIRST_RECORD_BYTES)
        self._wanted = FIRST_BYTES
        self._is_known = False
        """How large its records are."""

    @property
    def wanted(self) -> int:
        """Bytes to reserve. Before its first answer a shard may hold anything."""
        return self._wanted if self._is_known else LARGEST_BYTES

    def limit(self, granted: int) -> int:
        """How many records to ask for, with so many bytes reserved."""
        size = granted if self._is_known else min(granted, FIRST_BYTES)
        return max(1, min(self._most_records, int(size / self._record_bytes)))

    def had(self, records: int, weight: int, limit: int, *, behind: bool) -> None:
        """An answer to a read of `limit` records."""
        self._is_known = True
        if records:
            self._record_bytes = max(1.0, 0.5 * self._record_bytes + 0.5 * weight / records)
        if behind or records >= limit:
            self._wanted = min(LARGEST_BYTES, max(self._wanted, 4 * weight, FIRST_BYTES))
        else:
            self._wanted = max(SMALLEST_BYTES, min(self._wanted, 4 * weight))
