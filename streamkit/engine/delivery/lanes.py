"""Queues by key: which records may be called next, without two calls of one key at a time and without one overtaking another.

Pure: knows no clock, no carriers, no failures; `keyed.py` drives it. A record without a key has a lane of its own. A lane's
records stay at its head until they are done, so one that waits for its retry keeps its place, and all other lanes go on.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Container, Sequence
from heapq import heappop, heappush
from itertools import islice

from streamkit.engine.delivery.tracker import Item

__all__ = ["Job", "Lane", "Lanes"]


class Lane:
    """The records of one key that are not done, oldest first."""

    __slots__ = ("alone", "items", "key", "limit", "resting", "running")

    def __init__(self, key: bytes | None) -> None:
        self.key = key
        self.items: deque[Item] = deque()
        self.running = 0
        """How many records at the head are in a job."""
        self.resting = False
        """It waits for a time, or for an end: it is not ready, whatever it holds."""
        self.alone = False
        """Its next job holds no other lane's records: it has failed, or a job with it has."""
        self.limit: int | None = None
        """So many records go into its next job, in place of its share: those of the one that failed."""

    def head(self, most: int) -> list[Item]:
        """Up to so many of the oldest."""
        return list(islice(self.items, most))


class Job:
    """What one call gets: records in the order of offering, and the lanes that they come from."""

    __slots__ = ("items", "lanes")

    def __init__(self, items: list[Item], lanes: list[Lane]) -> None:
        self.items = items
        self.lanes = lanes

    def __len__(self) -> int:
        return len(self.items)


class Lanes:
    """The waiting records of one assignment."""

    def __init__(self) -> None:
        self.waiting_records = 0
        """Records of ready lanes: a job could be made of them now."""
        self.resting_records = 0
        """Records behind a retry: they keep others from nothing but memory."""
        self._keyed: dict[bytes, Lane] = {}
        self._ready: list[tuple[int, Lane]] = []
        """A heap by the age of the first record. Ages differ, so lanes are never compared."""
        self._resting: list[tuple[float, int, Lane]] = []
        self._lanes = 0

    def __len__(self) -> int:
        """How many lanes hold records, running ones included."""
        return self._lanes

    @property
    def next_due(self) -> float | None:
        """When the next lane has rested; None if none waits for a time."""
        return self._resting[0][0] if self._resting else None

    @property
    def oldest(self) -> int | None:
        """The index of the first record that could be called now."""
        return self._ready[0][0] if self._ready else None

    @property
    def next_is_alone(self) -> bool:
        """Whether the next job is of one lane that is tried again."""
        return bool(self._ready) and self._ready[0][1].alone

    def offer(self, items: Sequence[Item], parked: Container[bytes] = ()) -> list[Lane]:
        """Records in the order of offering. The new lanes of keys that are `parked`: these rest until `wake` or `rest`."""
        keyed = self._keyed
        held: list[Lane] = []
        for item in items:
            key = item.record.key
            lane = None if key is None else keyed.get(key)
            if lane is None:
                lane = Lane(key)
                self._lanes += 1
                if key is not None:
                    keyed[key] = lane
                lane.items.append(item)
                if key is not None and key in parked:
                    lane.resting = True
                    self.resting_records += 1
                    held.append(lane)
                else:
                    self._make_ready(lane)
                continue
            lane.items.append(item)
            if lane.resting:
                self.resting_records += 1
            elif not lane.running:
                self.waiting_records += 1
        return held

    def take(self, limit: int) -> Job | None:
        """Up to `limit` records, those of the lanes whose first record is the oldest; None if nothing may be called."""
        items: list[Item] = []
        lanes: list[Lane] = []
        while self._ready and len(items) < limit:
            lane = self._ready[0][1]
            if lane.alone and lanes:
                break
            heappop(self._ready)
            self.waiting_records -= len(lane.items)
            count = min(len(lane.items), limit - len(items) if lane.limit is None else lane.limit)
            lane.running = count
            lanes.append(lane)
            if count == 1:
                items.append(lane.items[0])
            else:
                items.extend(islice(lane.items, count))
            if lane.alone:
                break
        if len(lanes) > 1:
            items.sort(key=_age)
        return Job(items, lanes) if items else None

    def over(self, job: Job) -> list[Lane]:
        """The call is over, and what it has done is marked. The lanes that still hold some of its records.

        Those rest until `wake` or `rest` says when they go on; lanes of which all is done go on by themselves.
        """
        unfinished = []
        for lane in job.lanes:
            kept = []
            for _ in range(lane.running):
                item = lane.items.popleft()
                if not item.is_done:
                    kept.append(item)
            lane.running = 0
            lane.items.extendleft(reversed(kept))
            if kept:
                lane.resting = True
                lane.limit = len(kept)
                self.resting_records += len(lane.items)
                unfinished.append(lane)
            elif lane.items:
                lane.alone, lane.limit = False, None
                self._make_ready(lane)
            else:
                self._remove(lane)
        return unfinished

    def rest(self, lane: Lane, until: float) -> None:
        """A lane of `over`'s goes on at `until`."""
        heappush(self._resting, (until, lane.items[0].index, lane))

    def wake(self, lane: Lane) -> None:
        """A lane of `over`'s goes on now."""
        self.resting_records -= len(lane.items)
        lane.resting = False
        if not lane.alone:
            lane.limit = None
        self._make_ready(lane)

    def wake_due(self, now: float, parked: Container[bytes] = ()) -> list[Lane]:
        """Those whose time has come go on, before younger ones. Those of keys that are `parked` are returned, and rest."""
        held: list[Lane] = []
        while self._resting and self._resting[0][0] <= now:
            lane = heappop(self._resting)[2]
            if lane.key is not None and lane.key in parked:
                held.append(lane)
            else:
                self.wake(lane)
        return held

    def shed(self, lane: Lane) -> bool:
        """Records at the head of a resting lane are marked without a call: they were put aside. Whether any are left."""
        while lane.items and lane.items[0].is_done:
            lane.items.popleft()
            self.resting_records -= 1
        if not lane.items:
            lane.resting = False
            self._remove(lane)
        return bool(lane.items)

    def _make_ready(self, lane: Lane) -> None:
        self.waiting_records += len(lane.items)
        heappush(self._ready, (lane.items[0].index, lane))

    def _remove(self, lane: Lane) -> None:
        self._lanes -= 1
        if lane.key is not None:
            del self._keyed[lane.key]


def _age(item: Item) -> int:
    return item.index
