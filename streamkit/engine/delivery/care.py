"""Finding a record that kills its process (out of memory, a segmentation fault): no exception tells of it, only dead owners do.

When owners of a partition have died again and again without progress, the next one delivers record by record. Before each
it has the record's position and a count written beside the checkpoint; if it dies, the next owner knows of which record, and
after it has happened twice the record is not called but goes to the failure policy. When a while has passed well, batches
grow again; a death in one of those brings the care back at once, nearer to the culprit. Used by `in_order.py` alone.
"""

from __future__ import annotations

from dataclasses import dataclass

from streamkit.engine.delivery.life import Life
from streamkit.errors import CheckpointError, PartitionLostError
from streamkit.model import Batch, Position

__all__ = ["FRUITLESS_CLAIMS", "Care", "Suspicion", "suspicion_of"]

FRUITLESS_CLAIMS = 3
"""So many owners in a row that made no progress, and the next one is careful."""
KILLS = 2
"""So often the process has died of a record that was delivered alone: no chance any more."""
ALONE_RECORDS = 100
"""So many pass one by one before batches grow, by doubling."""


@dataclass(frozen=True, slots=True)
class Suspicion:
    """Why to be careful: owners have died."""

    position: Position | None = None
    """The record that the last of them was at, if it had been careful itself."""
    times: int = 0
    """How often that record was delivered alone by now."""


def suspicion_of(fruitless: int, suspect: Position | None, suspected: int) -> Suspicion | None:
    """What a claim and its checkpoint say; None: no reason to be careful."""
    if suspect is None and fruitless < FRUITLESS_CLAIMS:
        return None
    return Suspicion(suspect, suspected)


class Care:
    """Of one assignment, until it is no longer needed."""

    def __init__(self, life: Life, suspicion: Suspicion) -> None:
        self.size = 1
        """How many records the next call may get."""
        self._life = life
        self._suspicion = suspicion
        self._passed = 0

    @property
    def is_over(self) -> bool:
        """Batches have grown to what they normally are."""
        return self.size >= self._life.limits.max_batch and self._passed > ALONE_RECORDS

    def kills(self, batch: Batch) -> int:
        """How often the process has died of the first record; 0 while it has another chance."""
        suspicion = self._suspicion
        return suspicion.times if suspicion.position == batch.first and suspicion.times >= KILLS else 0

    async def begin(self, batch: Batch) -> bool:
        """Have it written down what is about to be delivered. False if the partition was lost meanwhile."""
        position, times = self._suspicion.position, self._suspicion.times
        if position is not None and batch.first < position:
            return True  # delivered before without harm; the note of the record that did harm stays
        times = times + 1 if batch.first == position else 1
        try:
            return await self._life.arrives(self._life.events.note_suspect(batch.first, times if len(batch) == 1 else 0))
        except PartitionLostError:
            return False
        except CheckpointError as error:  # a store that cannot hold it; what it protects against is rare
            self._life.events.hook_failed("noting which record is delivered", error)
            return True

    def survived(self, batch: Batch) -> None:
        """It has failed, but the process lives: whatever ends it now, while the next attempt is waited for, was not this record."""
        self._suspicion = Suspicion(batch.first, 0)
        self._life.events.note_suspect(batch.first, 0)

    def passed(self, count: int) -> None:
        """They are done, or put aside."""
        self._passed += count
        if self._passed >= ALONE_RECORDS:
            self.size *= 2

    def leave(self) -> None:
        """Nobody is suspected any more: all is well, or the assignment ends in order."""
        if not self._life.context.lost:
            self._life.events.note_suspect(None, 0)
