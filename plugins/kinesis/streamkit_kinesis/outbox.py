"""What is waiting to be sent to one stream, and what the next call may hold. Pure: no clock, no chance, no I/O.

PutRecords does not keep the order of what is in one call: one record may fail while a later one succeeds. So of those that keep
their order (one lane) only the oldest is in a call, and the next one waits until it is answered.
Called by `producer.py`, on one loop.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Iterable

from streamkit_kinesis.outgoing import MAX_CALL_BYTES, MAX_CALL_RECORDS, Entry

__all__ = ["Outbox"]


class Outbox:
    """Of one stream. Whatever `take` gave is to be answered by `done`, `again` or `failed`."""

    def __init__(self) -> None:
        self._lanes: dict[bytes, deque[Entry]] = {}
        """Those that keep their order; the first of each lane is ready, resting, or under way."""
        self._ready: list[tuple[int, Entry]] = []
        self._resting: list[tuple[float, int, Entry]] = []
        self._count = 0

    def add(self, entries: Iterable[Entry]) -> None:
        for entry in entries:
            self._count += 1
            entry.number = self._count
            if entry.lane is not None:
                lane = self._lanes.setdefault(entry.lane, deque())
                lane.append(entry)
                if len(lane) > 1:
                    continue
            self._offer(entry)

    def take(self, now: float) -> list[Entry]:
        """For one call, the oldest first; empty if nothing may be sent now."""
        while self._resting and self._resting[0][0] <= now:
            self._offer(heapq.heappop(self._resting)[2])
        taken: list[Entry] = []
        size = 0
        while self._ready and len(taken) < MAX_CALL_RECORDS:
            size += self._ready[0][1].bytes
            if taken and size > MAX_CALL_BYTES:
                break
            taken.append(heapq.heappop(self._ready)[1])
        return taken

    def next_at(self) -> float | None:
        """When something may be sent that may not be sent now; None: nothing rests."""
        return self._resting[0][0] if self._resting else None

    def done(self, entry: Entry) -> None:
        """It is in the stream: the next one of its lane may be sent."""
        lane = self._lane_of(entry)
        if lane is None:
            return
        lane.popleft()
        if lane:
            self._offer(lane[0])
        else:
            del self._lanes[entry.lane or b""]

    def again(self, entry: Entry, at: float) -> None:
        """It is to be sent again, not before `at`; its lane waits for it."""
        heapq.heappush(self._resting, (at, entry.number, entry))

    def failed(self, entry: Entry) -> list[Entry]:
        """It is given up. What stands behind it in its lane is not sent any more, or would overtake it when it is sent again: this."""
        lane = self._lane_of(entry)
        if lane is None:
            return []
        del self._lanes[entry.lane or b""]
        lane.popleft()
        return list(lane)

    def empty(self) -> list[Entry]:
        """Everything that is not under way, which is forgotten."""
        waiting = [entry for _, entry in self._ready] + [entry for _, _, entry in self._resting]
        waiting += [entry for lane in self._lanes.values() for entry in list(lane)[1:]]
        self._lanes.clear()
        self._ready.clear()
        self._resting.clear()
        return waiting

    def _offer(self, entry: Entry) -> None:
        heapq.heappush(self._ready, (entry.number, entry))

    def _lane_of(self, entry: Entry) -> deque[Entry] | None:
        lane = self._lanes.get(entry.lane) if entry.lane is not None else None
        return lane if lane and lane[0] is entry else None
