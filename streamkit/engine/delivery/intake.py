"""What the reader offers to one assignment, and the counters that others look at without a lock.

Each attribute has one writer: the reader, the delivery (on the worker's carrier), the control thread. No count ever falls.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from streamkit.engine.delivery.messages import Progress
from streamkit.engine.delivery.pressure import RECORD_OVERHEAD_BYTES, weight_of
from streamkit.engine.runtime import Signal
from streamkit.model import Batch, Partition, Position, StartPosition
from streamkit.processing import Running

__all__ = ["CaughtUpMark", "EndMark", "Intake"]


@dataclass(frozen=True, slots=True)
class EndMark:
    """No record will follow; these partitions go on."""

    children: tuple[Partition, ...]


class CaughtUpMark:
    """Everything that was there has been offered."""


class Intake:
    """The queue between the reader and a delivery, and how far the delivery is."""

    def __init__(self, signal: Signal, checkpoint_due: Callable[[], None], make_room: Callable[[], None], *, is_manual: bool) -> None:
        self.inbox: deque[Batch | EndMark | CaughtUpMark] = deque()
        self._signal = signal
        self._checkpoint_due = checkpoint_due
        self._make_room = make_room
        self._is_manual = is_manual
        # Written by the reader alone.
        self.newest: Position | None = None
        """The last position that was offered, or after which the reader was told to begin."""
        self.begins: StartPosition | None = None
        """Where the reader was last told to begin, until it has offered something since."""
        self.written: datetime | None = None
        """When the record of the one or the other was written; None where that is not known."""
        self.offers = 0
        """How often it has offered anything: records, or a mark."""
        self._offered = 0
        self._offered_bytes = 0
        self._tip: tuple[int | None, float | None, float] = (None, None, 0.0)
        """Of the newest batch: how far it was behind the tip, in records and seconds, and when it was received (unix time)."""
        # Written by the delivery alone.
        self.progress = Progress(None, 0)
        """Every record up to here is done, and so many of them."""
        self.own: Position | None = None
        """The last record that the code itself has finished: what was put aside it cannot checkpoint."""
        self._finished = 0
        self._finished_bytes = 0
        self.bytes_done = 0
        """Keys and values of the finished, as far as the adapter counts them."""
        self._nudged_at = -1
        self._marks: deque[Progress] = deque()
        # Written by the user's code, through its context.
        self._noted: Position | None = None
        self.submitted: Position | None = None
        """The last position that `context.checkpoint` was told; a retry redelivers only what lies after it."""
        # Written by the control thread alone.
        self.saved_count = 0
        self.checkpoint_at = 0
        self._counted = 0

    # -- looked at by others --------------------------------------------------------------------------------------

    @property
    def queued_records(self) -> int:
        """Offered and not yet finished."""
        return self._offered - self._finished

    @property
    def held_bytes(self) -> int:
        """What those weigh."""
        return self._offered_bytes - self._finished_bytes

    @property
    def in_flight(self) -> int:
        """Above the saved checkpoint, finished or not."""
        return self._offered - self.saved_count

    def lag(self, done: int, now: float) -> tuple[int | None, float | None]:
        """Records and seconds between what is done and the tip, as the newest batch saw it; None where unknown.

        `done`: how many are done and not finished yet, in a running call. `now`: unix time.
        """
        behind, seconds, received = self._tip
        queued = max(0, self.queued_records - done)
        if behind == 0 and not queued:
            return 0, 0.0
        records = None if behind is None else behind + queued
        return records, seconds + max(0.0, now - received) if seconds is not None and (behind or queued) else seconds

    # -- called by the reader -------------------------------------------------------------------------------------

    def offer(self, batch: Batch) -> bool:
        """Take a batch. False if it does not rise above what came before: the reader must be opened again."""
        if self.newest is not None and not self.newest < batch.first:
            return False
        self.newest, self.begins, self.written = batch.last, None, batch.last_timestamp
        self.offers += 1
        self._offered += len(batch)
        self._offered_bytes += weight_of(batch)
        self._tip = (batch.lag_records, batch.lag_seconds, batch.received)
        self.inbox.append(batch)
        self._signal.set()
        return True

    def go_on_from(self, start: StartPosition, written: datetime | None = None) -> None:
        """The reader was told to begin there. Positions go on to rise above the newest one, unless that is told to be read again."""
        self.begins, self.written = start, written
        if start.position is None or start.position.sequence is None:
            return
        if start.kind == "after":
            self.newest = start.position
        elif self.newest is not None and self.newest.sequence is not None and not self.newest < start.position:
            self.newest = None

    def offer_mark(self, mark: EndMark | CaughtUpMark) -> None:
        self.offers += 1
        self._tip = (0, 0.0, self._tip[2])
        self.inbox.append(mark)
        self._signal.set()

    # -- called by the delivery -----------------------------------------------------------------------------------

    def finish(self, batch: Batch, *, put_aside: bool = False) -> None:
        """These records are done, and all before them: they may be checkpointed, and their memory is free."""
        last, count = batch.last, len(batch)
        if not put_aside:
            self.own = last
        self.free(count, weight_of(batch))
        self.advance(Progress(last, self.progress.count + count, batch.last_timestamp))
        self._make_room()

    def free(self, records: int, weight_bytes: int) -> None:
        """So many records are done, in whatever order: their memory is free."""
        self._finished += records
        self._finished_bytes += weight_bytes
        self.bytes_done += weight_bytes - records * RECORD_OVERHEAD_BYTES

    def tell_room(self) -> None:
        """Have the reader look whether there is room. It costs a wake-up, so once for many that were freed."""
        self._make_room()

    def advance(self, progress: Progress) -> None:
        """Every record up to there is done: it may be checkpointed."""
        self.progress = progress
        if self._is_manual:
            self._marks.append(progress)
        if progress.count >= self.checkpoint_at != self._nudged_at:
            self._nudged_at = self.checkpoint_at  # once for each save, not for each batch
            self._checkpoint_due()

    # -- called by the user's code, through its context ---------------------------------------------------------------

    def note_submitted(self, position: Position, running: Running | None) -> None:
        """The code has said that it is done up to there, perhaps in the middle of a batch: how many records that are."""
        begun = self.progress.count  # looked at before `running`: too small is harmless
        if not self._is_manual or running is None or position.is_end or (self._noted is not None and position <= self._noted):
            return
        index = min(running.done, len(running.batch) - 1) if running.by_record else len(running.batch) - 1
        if running.batch.slice(index, index + 1).last != position:
            index = sum(1 for record in running.batch if record.position <= position) - 1
        if index >= 0:
            self._noted = position
            self._marks.append(Progress(position, begun + index + 1))

    # -- called by the control thread -----------------------------------------------------------------------------

    def count_at(self, position: Position) -> int:
        """How many records at or before `position` are done, as far as is known: of whole batches, and of what was submitted in the
        middle of one. `position` must not go back."""
        while self._marks and self._marks[0].position is not None and self._marks[0].position <= position:
            self._counted = max(self._counted, self._marks.popleft().count)  # kept: the save that asks may fail, and ask again
        return self._counted
