"""Which shard is read next: the one that has been due for longest, and for whose answer there is room. Pure, under its owner's lock.

A shard is in the heap at most once that counts; older entries of it are passed over when they come to the top.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable

from streamkit_kinesis.cursor import Cursor
from streamkit_kinesis.room import Room

__all__ = ["Schedule"]


class Schedule:
    """Of one reader."""

    def __init__(self, room: Room, make_room: Callable[[], bool]) -> None:
        """`make_room`: gives bytes back that somebody can do without, and answers whether there were any."""
        self._room = room
        self._make_room = make_room
        self._heap: list[tuple[float, int, int, Cursor]] = []
        self._count = 0
        self.is_crowded = False
        """A shard was due and there was no room for its answer."""

    def put(self, cursor: Cursor) -> None:
        """It may be read again, if it wants to, when its pace says so."""
        cursor.stamp += 1
        if cursor.wants_more:
            self._count += 1
            heapq.heappush(self._heap, (cursor.pace.due, self._count, cursor.stamp, cursor))

    def take(self, now: float) -> tuple[Cursor, int] | None:
        """The next shard to be read, and the bytes that are reserved for its answer. It is put back when that has come."""
        self.is_crowded = False
        self._drop_old()
        if not self._heap or self._heap[0][0] > now:
            return None
        cursor = self._heap[0][3]
        granted = self._room.reserve(cursor.appetite.wanted)
        if not granted and self._make_room():
            granted = self._room.reserve(cursor.appetite.wanted)
        if not granted:
            self.is_crowded = True
            return None
        heapq.heappop(self._heap)
        cursor.stamp += 1
        cursor.reading = True
        return cursor, granted

    def seconds_to_next(self, now: float) -> float | None:
        """Until when nothing is due; None: nothing is due by itself, something has to happen first."""
        self._drop_old()
        if not self._heap or self.is_crowded:
            return None
        return max(0.0, self._heap[0][0] - now)

    def _drop_old(self) -> None:
        while self._heap and (self._heap[0][2] != self._heap[0][3].stamp or not self._heap[0][3].wants_more):
            heapq.heappop(self._heap)
