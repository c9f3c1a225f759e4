"""Finding a record that kills its process (out of memory, a segmentation fault): no exception tells of it, only dead owners do.

When owners of a partition have gone again and again without progress, the next one delivers record by record. Before each
it has the record's position written beside the checkpoint; if it dies, the next owner knows of which record. That one is called
with nothing else beside it in the process, and its deaths are counted: after two it is not called but goes to the failure policy.
Only what is certainly a death is counted; where it may have been a loss the partition halts instead. When a while has passed well,
batches grow again; a death in one of those brings the care back at once, nearer to the culprit. Used by `in_order.py` alone.
"""

from __future__ import annotations

from dataclasses import dataclass

from streamkit.engine.delivery.life import LOOK_AGAIN_SECONDS, Life
from streamkit.engine.delivery.turn import ALONE_SECONDS
from streamkit.errors import CheckpointError, PartitionLostError
from streamkit.model import Batch, Position

__all__ = ["FRUITLESS_CLAIMS", "KILLS", "Care", "CareNotice", "Suspicion", "suspicion_of"]

FRUITLESS_CLAIMS = 3
"""So many owners in a row that made no progress, and the next one is careful."""
KILLS = 2
"""So often the process has died of a record that was delivered alone: no chance any more."""
DOUBTFUL_OWNERS = FRUITLESS_CLAIMS + KILLS
"""So many owners have gone, the last at a record that was called alone, and nobody knows how: no chance, but no verdict either."""
ALONE_RECORDS = 100
"""So many pass one by one before batches grow, by doubling."""


class CareNotice(Exception):
    """Care begins, or is over."""


@dataclass(frozen=True, slots=True)
class Suspicion:
    """Why to be careful: owners have gone."""

    position: Position | None = None
    """The record that the last of them was at, if it had been careful itself."""
    deaths: int = 0
    """How often the process has certainly died while that record was called alone."""
    owners: int = 0
    """How many owners in a row have made no progress, if it cannot be told whether they died while it was called alone, or lost it."""


def suspicion_of(fruitless: int, suspect: Position | None, suspected: int, *, has_died: bool = True) -> Suspicion | None:
    """What a claim and its checkpoint say; None: no reason to be careful. `suspected`: the deaths and the last call of it alone.

    `has_died`: the owner that wrote this has certainly died; else it may live, and have lost the partition.
    """
    if suspect is None and fruitless < FRUITLESS_CLAIMS:
        return None
    if has_died or not suspected:
        return Suspicion(suspect, suspected)
    return Suspicion(suspect, suspected - 1, fruitless)


class Care:
    """Of one assignment, until it is no longer needed."""

    def __init__(self, life: Life, suspicion: Suspicion) -> None:
        self.size = 1
        """How many records the next call may get."""
        self._life = life
        self._suspicion = suspicion
        self._passed = 0
        self._is_alone = False
        """The turn is ours: nobody else calls anything until it is given back."""
        self._tell("owners of it have died or lost it without progress: records are delivered one by one, each noted before its call")

    @property
    def is_over(self) -> bool:
        """Batches have grown to what they normally are."""
        return self.size >= self._life.limits.max_batch and self._passed > ALONE_RECORDS

    def kills(self, batch: Batch) -> int:
        """How often the process has died of the first record, or how many owners have gone at it; 0 while it has another chance."""
        suspicion = self._suspicion
        if suspicion.position != batch.first:
            return 0
        if self.is_proven(batch):
            return suspicion.deaths
        return suspicion.owners if suspicion.owners >= DOUBTFUL_OWNERS else 0

    def is_proven(self, batch: Batch) -> bool:
        """Whether the process has certainly died of the first record, so often that it has no chance any more."""
        return self._suspicion.position == batch.first and self._suspicion.deaths >= KILLS

    async def begin(self, batch: Batch) -> bool:
        """Have it written down what is about to be delivered. False if the assignment ends meanwhile."""
        suspicion, life = self._suspicion, self._life
        if suspicion.position is not None and batch.first < suspicion.position:
            return True  # delivered before without harm; the note of the record that did harm stays
        is_suspect = batch.first == suspicion.position
        deaths = suspicion.deaths if is_suspect else 0
        if len(batch) == 1 and (is_suspect or not life.turn.has_others(life)):
            self._is_alone = await self._take_turn()
        if life.ending is not None:
            self._give_turn()
            return False
        try:
            if not await life.arrives(life.events.note_suspect(batch.first, deaths + self._is_alone)):
                return False
        except PartitionLostError:
            return False
        except CheckpointError as error:  # a store that cannot hold it; what it protects against is rare
            life.events.hook_failed("noting which record is delivered", error)
            self._give_turn()
            return True
        if self._is_alone:
            life.turn.limit(life, lambda: life.events.note_suspect(batch.first, deaths))
        return True

    async def ended(self) -> None:
        """The call is over. Others begin theirs only when no note says any more that this one was alone."""
        if not self._is_alone:
            return
        try:
            await self._life.arrives(self._life.events.note_suspect(None, 0))
        except CheckpointError as error:
            self._life.events.hook_failed("noting which record is delivered", error)
        self._give_turn()

    def survived(self, batch: Batch) -> None:
        """It has failed, but the process lives: whatever ends it now, while the next attempt is waited for, was not this record."""
        self._suspicion = Suspicion(batch.first, 0)
        noted = self._life.events.note_suspect(batch.first, 0)
        if self._is_alone:
            self._is_alone = False
            noted.on_done(lambda: self._life.turn.release(self._life))

    def passed(self, count: int) -> None:
        """They are done, or put aside."""
        self._passed += count
        if self._passed >= ALONE_RECORDS:
            self.size *= 2

    def leave(self) -> None:
        """Nobody is suspected any more: all is well, or the assignment ends in order."""
        if not self._life.context.lost:
            self._life.events.note_suspect(None, 0)
        self._give_turn()
        self._tell("over")

    def _tell(self, what: str) -> None:
        self._life.events.hook_failed("careful delivery", CareNotice(what))

    async def _take_turn(self) -> bool:
        """Keep all others of the process from calling anything. Whether nothing of theirs runs: False if they do not end."""
        life, turn = self._life, self._life.turn
        granted = turn.ask(life)
        granted.on_done(life.signal.set)
        while not granted.done() and life.ending is None:
            await life.signal.wait(await life.meanwhile())
        until = life.runtime.monotonic() + ALONE_SECONDS
        if turn.has_others(life) and life.ending is None:
            await life.signal.wait(LOOK_AGAIN_SECONDS)  # who has looked before we had the turn has said by now that it begins
        while not (is_quiet := turn.is_quiet(life)) and life.ending is None and life.runtime.monotonic() < until:
            await life.signal.wait(LOOK_AGAIN_SECONDS)
        if not is_quiet or life.ending is not None:
            turn.release(life)
            return False
        return True

    def _give_turn(self) -> None:
        if self._is_alone:
            self._is_alone = False
            self._life.turn.release(self._life)
