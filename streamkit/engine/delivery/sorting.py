"""What the reader has offered, sorted into lanes a little at a time: the first step of the delivery by key (`keyed.py`)."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from streamkit.engine.delivery.intake import EndMark, Intake
from streamkit.engine.delivery.lanes import Lane, Lanes
from streamkit.engine.delivery.parking import Parking
from streamkit.engine.delivery.pressure import weight_of
from streamkit.engine.delivery.tracker import Tracker
from streamkit.model import Batch

__all__ = ["Sorting"]

TAKE_RECORDS = 200
"""So many records are sorted into lanes between two looks at who is idle: it takes about a millisecond."""


class Sorting:
    """Of one assignment, on the worker's carrier."""

    def __init__(
        self,
        intake: Intake,
        lanes: Lanes,
        tracker: Tracker,
        caught_up: Callable[[], None],
        parking: Parking,
        put_behind: Callable[[Lane], None],
    ) -> None:
        """`put_behind`: what becomes of a new lane whose key is parked."""
        self.end: EndMark | None = None
        """No record will follow."""
        self._inbox = intake.inbox
        self._lanes = lanes
        self._tracker = tracker
        self._caught_up = caught_up
        self._parking = parking
        self._put_behind = put_behind
        self._caught_up_at: deque[int] = deque()
        self._half: tuple[Batch, int, int] | None = None
        """A batch that is not in the lanes as a whole, what it weighs, and how many of its records are."""

    @property
    def has_more(self) -> bool:
        """Whether something waits to be sorted."""
        return bool(self._inbox) or self._half is not None

    def take_in(self) -> None:
        """Some of it; meanwhile nobody gets a job."""
        inbox, left = self._inbox, TAKE_RECORDS
        while left > 0 and (self._half is not None or inbox):
            if self._half is not None:
                left -= self._take_part(*self._half, left)
                continue
            item = inbox.popleft()
            if isinstance(item, Batch):
                self._half = item, weight_of(item), 0
            elif isinstance(item, EndMark):
                self.end = item
            else:
                self._caught_up_at.append(self._tracker.progress.count + self._tracker.open_records)
        self.look_whether_caught_up()

    def _take_part(self, batch: Batch, weight: int, begin: int, most: int) -> int:
        """Up to `most` records of a batch, with their share of its weight. How many."""
        count = len(batch)
        end = min(count, begin + most)
        part = batch if end - begin == count else batch.slice(begin, end)
        items = self._tracker.offer(part, weight * end // count - weight * begin // count)
        for lane in self._lanes.offer(items, self._parking.heard()):
            self._put_behind(lane)
        self._half = (batch, weight, end) if end < count else None
        return end - begin

    def look_whether_caught_up(self) -> None:
        """Tell it when all is done that was there when the reader said so."""
        while self._caught_up_at and self._caught_up_at[0] <= self._tracker.progress.count:
            self._caught_up_at.popleft()
            self._caught_up()
