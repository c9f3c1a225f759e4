"""What the checkpointer knows of one assignment: what is in the store, what is to go there, and who waits for it.

An entry lives on the control thread. It decides nothing about time; `checkpointer` does, and asks it for drafts.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Literal, NamedTuple

from streamkit.engine.delivery.worker import Worker
from streamkit.engine.runtime import Promise
from streamkit.errors import CheckpointError, FencedError
from streamkit.model import Checkpoint, ParkedKey, Position, StartPosition
from streamkit.plugin import Grant

__all__ = ["Draft", "Entry", "Notes", "Wanted"]


MANY_FRUITLESS = 2
"""After so many owners without progress one that gives back in order says so, at the price of a save."""


@dataclass(frozen=True, slots=True)
class Notes:
    """What a checkpoint holds beside its position, and what later saves of a position keep."""

    pending: Position | None = None
    pending_state: bytes = b""
    suspect: Position | None = None
    suspected: int = 0
    parked: Mapping[bytes, ParkedKey] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Wanted:
    """The highest position that may be written, and how many records are done by it."""

    position: Position
    count: int
    written: datetime | None = None
    """When that record was written, where it is known."""


@dataclass(frozen=True, slots=True)
class Draft:
    """One save: what is written, and what is decided if it succeeds."""

    checkpoint: Checkpoint
    count: int
    number: int
    """The last submission that it covers."""
    notes: Notes | None


class Waiting(NamedTuple):
    """Somebody who was promised that a submission will be in the store."""

    number: int
    position: Position | None
    """None: it is not about a position."""
    promise: Promise[None]
    subject: str = ""
    """What it is about, if a later one of the same subject takes its place."""


@dataclass(slots=True, eq=False)
class Entry:
    """One assignment."""

    worker: Worker
    checkpoint: Checkpoint
    """The last one that is in the store."""
    grant: Grant
    is_manual: bool
    on_fenced: Callable[[FencedError], None]
    says_end: bool = True
    """A manual processor with a `partition_ended` of its own checkpoints END there; for another one END follows its last record."""
    before_end: Callable[[], Coroutine[object, object, None]] | None = None
    """What must have happened before END is saved: the partitions that go on must be known to the store. Called until it succeeds."""
    submitted: Position | None = None
    metadata: str = ""
    number: int = 0
    """How often anything was submitted: a save covers what came before it began."""
    notes: Notes | None = None
    """To be written; None: they are as in the store."""
    waiting: list[Waiting] = field(default_factory=list)
    due_at: float = 0.0
    urgent: bool = False
    final: Literal["", "revoke", "end"] = ""
    settled: Promise[bool] | None = None
    failures: int = 0
    suspended: bool = False
    """No saves: the grant is being replaced, or the partition is gone."""
    end_is_prepared: bool = False
    prepares_end: bool = False
    end_failures: int = 0
    end_at: float = 0.0
    """When it is prepared again."""
    fenced: FencedError | None = None
    """What the last save met, until one succeeds."""
    fruitless: int = 0
    """How many owners before this one made no progress; 0 as soon as this one has made some."""
    has_metadata: bool = False
    """Metadata was submitted that is not in the store yet."""

    def __post_init__(self) -> None:
        self.metadata = self.checkpoint.metadata

    @property
    def saved(self) -> Position | None:
        """None: nothing of which it is known whether it lies before or behind; another program may have left a token without a sequence."""
        at = self.checkpoint.at
        is_known = at.position is not None and (at.position.is_end or at.position.sequence is not None)
        return at.position if at.kind == "after" and is_known else None

    # -- what is asked for ----------------------------------------------------------------------------------------

    def submit(self, position: Position, metadata: str | None, promise: Promise[None]) -> None:
        """The processor is done with everything up to `position`. An equal position without metadata changes nothing; nor does
        `metadata` None touch that of before."""
        before = self.submitted if self.submitted is not None else self.saved
        if self.submitted is None or self.submitted < position:
            self.submitted = position
        if metadata is not None and (metadata or before is None or before < position):
            self.has_metadata = self.has_metadata or metadata != self.checkpoint.metadata
            self.metadata = metadata
        self.number += 1
        self.waiting.append(Waiting(self.number, position, promise))

    def follow(self, position: Position, metadata: str, promise: Promise[None]) -> None:
        """Somebody waits until `position` is saved, which it will be when everything up to it is done: this moves nothing."""
        if metadata:
            self.has_metadata = self.has_metadata or metadata != self.checkpoint.metadata
            self.metadata = metadata
        self.number += 1
        self.waiting.append(Waiting(self.number, position, promise))

    def note(self, subject: str, change: Callable[[Notes], Notes], promise: Promise[None]) -> None:
        """Change what stands beside the position; the promise is kept when that is in the store, and broken by a newer one of its
        subject that comes before."""
        notes = change(self.current_notes)
        if self.notes is not None or notes != self.stored_notes:
            self.notes = notes  # what is not written yet may be under way: then the same again is news as well
        for replaced in [one for one in self.waiting if one.subject == subject]:
            self.waiting.remove(replaced)
            why = f"{self.worker.partition}: what was to be written ({subject}) was replaced by a newer one before it was in the store"
            replaced.promise.fail(CheckpointError(why))
        self.number += 1
        self.waiting.append(Waiting(self.number, None, promise, subject))

    @property
    def has_suspect(self) -> bool:
        """Whether it is noted that a record is being called, or is about to be."""
        return self.stored_notes.suspect is not None or self.current_notes.suspect is not None

    @property
    def gives_back(self) -> bool:
        """It is given back in order, and the next owner should not take it for one that has died, or that may have written letters which
        no marker names. Told by an owner that is nobody."""
        if self.final != "revoke" or not self.checkpoint.owner:
            return False
        return self.fruitless >= MANY_FRUITLESS or any(not one.is_released for one in self.current_notes.parked.values())

    @property
    def stored_notes(self) -> Notes:
        stored = self.checkpoint
        return Notes(stored.pending, stored.pending_state, stored.suspect, stored.suspected, stored.parked)

    @property
    def current_notes(self) -> Notes:
        """As they are, or are about to be."""
        return self.notes if self.notes is not None else self.stored_notes

    # -- what may be written --------------------------------------------------------------------------------------

    def wanted(self) -> Wanted | None:
        """The highest position that may be written."""
        worker = self.worker
        progress = worker.flushed if worker.flushes else worker.snapshot()
        if self.is_manual:
            position = self.submitted
            written = progress.written if position == progress.position else None
            return None if position is None else Wanted(position, worker.count_at(position), written)
        if self.final == "end":
            return Wanted(Position.END, progress.count, progress.written)
        if self.submitted is not None and (progress.position is None or progress.position < self.submitted):
            return Wanted(self.submitted, progress.count)
        return None if progress.position is None else Wanted(progress.position, progress.count, progress.written)

    def done(self) -> Wanted | None:
        """What may be written while END may not yet be."""
        progress = self.worker.flushed if self.worker.flushes else self.worker.snapshot()
        return None if progress.position is None else Wanted(progress.position, progress.count, progress.written)

    def moves(self, wanted: Wanted | None) -> bool:
        """Whether that is further than what is in the store."""
        return wanted is not None and (self.saved is None or self.saved < wanted.position)

    def is_news(self, wanted: Wanted | None) -> bool:
        """Whether there is anything to write."""
        return self.moves(wanted) or self.notes is not None or self.has_metadata or self.gives_back

    def draft(self, wanted: Wanted | None, *, only_position: bool = False) -> Draft:
        """What a save that begins now writes. `only_position`: nothing else that was submitted, and no promise is kept by it but those
        that the position keeps."""
        checkpoint, count = (
            replace(self.checkpoint, metadata=self.checkpoint.metadata if only_position else self.metadata),
            self.worker.saved_count,
        )
        if wanted is not None and (self.saved is None or self.saved < wanted.position):
            count = wanted.count
            checkpoint = replace(checkpoint, at=StartPosition.after(wanted.position), record_time=wanted.written)
        elif self.gives_back:
            checkpoint = replace(checkpoint, owner="")
        notes = None if only_position else self.notes
        if notes is not None:
            checkpoint = replace(
                checkpoint,
                pending=notes.pending,
                pending_state=notes.pending_state,
                suspect=notes.suspect,
                suspected=notes.suspected,
                parked=notes.parked,
            )
        elif self.notes is not None:  # no checkpoint passes a record without the name of its letter
            checkpoint = replace(checkpoint, parked=self.notes.parked)
        is_less = only_position and (self.notes is not None or self.has_metadata)
        return Draft(checkpoint, count, 0 if is_less else self.number, notes)

    # -- what has become of it ------------------------------------------------------------------------------------

    def written(self, draft: Draft, grant: Grant) -> None:
        """The draft is in the store."""
        if draft.checkpoint.at != self.checkpoint.at:
            self.fruitless = 0
        self.checkpoint = draft.checkpoint
        self.grant = grant
        self.failures = 0
        self.fenced = None
        if self.notes is draft.notes:
            self.notes = None
        self.has_metadata = self.has_metadata and self.metadata != draft.checkpoint.metadata
        is_all = self.notes is None and not self.has_metadata
        self.keep_promises(self.number if is_all else draft.number)

    def keep_promises(self, number: int) -> None:
        """Those that were given until `number`, as far as the saved position reaches."""
        saved = self.saved
        waiting = []
        for one in self.waiting:
            if one.number <= number and (one.position is None or (saved is not None and one.position <= saved)):
                one.promise.resolve(None)
            else:
                waiting.append(one)
        self.waiting = waiting

    def refused(self, draft: Draft, error: Exception) -> None:
        """The store will never take it: whoever waits is told, and the next is written without what was submitted with it."""
        for one in self.waiting:
            if one.number <= draft.number:
                one.promise.fail(error)
        self.waiting = [one for one in self.waiting if one.number > draft.number]
        if self.notes is not None and self.notes is draft.notes:
            kept = replace(self.stored_notes, parked=self.notes.parked)  # letters of these names may be there
            self.notes = None if kept == self.stored_notes else kept
        if self.number == draft.number:
            self.metadata, self.has_metadata = self.checkpoint.metadata, False
            self.submitted = self.saved if self.is_manual else None

    def give_up(self, error: Exception) -> None:
        """The partition is gone: nothing more is written, and whoever waits is told why."""
        self.suspended = True
        for one in self.waiting:
            one.promise.fail(self.fenced or error)
        self.waiting = []
        if self.settled is not None:
            self.settled.resolve(False)
