"""Which of the offered records are done, and up to where all of them are: the safe position, the only one that is checkpointed.

Pure. It counts in the order of offering, so gaps in positions (compacted and transactional topics) and sub-sequences need no
thought. It keeps positions and flags, never the records: a finished record's memory is free though one before it is not done.
Called by the delivery by key (`keyed.py`) alone, on the worker's carrier.
"""

from __future__ import annotations

from array import array
from collections import deque
from collections.abc import Sequence
from datetime import UTC, datetime

from streamkit.engine.delivery.messages import Progress
from streamkit.engine.delivery.pressure import weight_of
from streamkit.model import Batch, Position, Record

__all__ = ["Item", "Tracker", "batch_of"]


class Item:
    """One record under way."""

    __slots__ = ("offset", "record", "segment")

    def __init__(self, record: Record, segment: Segment, offset: int) -> None:
        self.record = record
        self.segment = segment
        self.offset = offset
        """Where it stands in its segment."""

    @property
    def index(self) -> int:
        """The place in the order of offering, from 0."""
        return self.segment.start + self.offset

    @property
    def is_done(self) -> bool:
        return bool(self.segment.flags[self.offset])


class Segment:
    """One batch as it was offered, without its records."""

    __slots__ = (
        "done",
        "flags",
        "freed_bytes",
        "lag_records",
        "last",
        "left",
        "positions",
        "received",
        "size",
        "sized",
        "start",
        "times",
        "weight_bytes",
        "written",
    )

    def __init__(self, batch: Batch, records: Sequence[Record], start: int, weight_bytes: int) -> None:
        self.start = start
        positions = [record.position for record in records]
        self.positions: list[Position] | None = positions
        """None as soon as all are done: then only the last one is still of use."""
        self.last = positions[-1]
        self.written = batch.last_timestamp
        self.times = None if self.written is None else array("d", [record.timestamp.timestamp() for record in records])
        """When each was written, in unix seconds; None where that is not known, and as soon as all are done."""
        self.flags = bytearray(len(positions))
        self.left = len(positions)
        self.done = 0
        """How many from the first on are done without a gap."""
        self.received = batch.received
        self.lag_records = batch.lag_records
        self.size = sum(map(_size, records))
        self.sized = 0
        self.weight_bytes = weight_bytes
        self.freed_bytes = 0


class Tracker:
    """The records of one assignment, from the first that is not done on."""

    def __init__(self, begin: Progress = Progress(None, 0)) -> None:  # noqa: B008 - frozen
        """`begin`: what was done before it."""
        self.progress = begin
        """The safe position, and how many records lie at or before it; one object, replaced whole, so that others may look."""
        self._segments: deque[Segment] = deque()
        self._offered = begin.count

    @property
    def open_records(self) -> int:
        """Records above the safe position, done or not."""
        return self._offered - self.progress.count

    def offer(self, batch: Batch, weight_bytes: int | None = None) -> list[Item]:
        """The records of a batch that follows all that came before. `weight_bytes`: what it holds, if that is not its own weight."""
        records = list(batch)
        weight = weight_of(batch) if weight_bytes is None else weight_bytes
        segment = Segment(batch, records, self._offered, weight)
        self._segments.append(segment)
        self._offered += len(records)
        return [Item(record, segment, offset) for offset, record in enumerate(records)]

    def mark(self, item: Item) -> int | None:
        """This record is done. How many bytes of its batch's weight are free with it; None if it was done before.

        Shares go by the sizes of the records, and add up to the weight exactly, however the adapter has counted it.
        """
        segment = item.segment
        if segment.flags[item.offset]:
            return None
        segment.flags[item.offset] = 1
        segment.left -= 1
        segment.sized += _size(item.record)
        share = segment.weight_bytes * segment.sized // segment.size
        freed, segment.freed_bytes = share - segment.freed_bytes, share
        if not segment.left:
            segment.positions = segment.times = None
        return freed

    def advance(self) -> bool:
        """Move the safe position over everything that is done without a gap. Whether it has moved."""
        position, count, written = self.progress.position, self.progress.count, self.progress.written
        before = count
        while self._segments:
            segment = self._segments[0]
            if segment.left:
                gap = segment.flags.find(0, segment.done)
                if gap > segment.done:
                    assert segment.positions is not None
                    position, count, segment.done = segment.positions[gap - 1], segment.start + gap, gap
                    written = None if segment.times is None else datetime.fromtimestamp(segment.times[gap - 1], UTC)
                break
            position, count, written = segment.last, segment.start + len(segment.flags), segment.written
            self._segments.popleft()
        if count == before:
            return False
        self.progress = Progress(position, count, written)
        return True


def _size(record: Record) -> int:
    """At least one, so that empty records have a share too."""
    return len(record.value or b"") + 1


def batch_of(items: Sequence[Item]) -> Batch:
    """What a call gets; its lag is that of its last record."""
    last = items[-1]
    segment = last.segment
    lag = None if segment.lag_records is None else segment.lag_records + len(segment.flags) - 1 - last.offset
    return Batch.of([item.record for item in items], received=items[0].segment.received, lag_records=lag)
