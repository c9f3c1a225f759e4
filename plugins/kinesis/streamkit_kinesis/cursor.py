"""Where the reading of one shard stands: what to ask next, and what of an answer is taken. Pure, one object for each `add`.

An answer moves the cursor only when it is accepted. So a read whose answer is dropped is simply made again, and one that
comes after the shard was removed finds a cursor that nobody looks at any more.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from datetime import datetime

from streamkit.errors import PositionInvalidError
from streamkit.model import Batch, Partition, Position, StartPosition
from streamkit.plugin import CaughtUp, Ended, Event, Failed
from streamkit_kinesis.errors import BROKER
from streamkit_kinesis.pace import Pace
from streamkit_kinesis.room import Appetite

__all__ = ["SMALL_BYTES", "Cursor", "Fetched", "Item", "Request"]

MOST_SMALL = 16
SMALL_BYTES = 256 << 10
"""So many answers may wait of a shard while they hold less than this together."""
_WHOLE = (1 << 63) - 1
"""As a sub-sequence: all of an aggregate has been taken."""


@dataclass(frozen=True, slots=True)
class Request:
    """One read, as a thread is asked to make it."""

    partition: Partition
    iterator: str | None
    """None: get one by `opening`."""
    opening: dict[str, object]
    after: Position | None
    """What is not after this is not wanted."""
    own: int | None
    """The sequence number of the checkpoint's record, which must come first; None if that is known already."""
    written: datetime | None
    """When that record was written, where that is known."""
    not_before: float | None
    """Records at the beginning that arrived before this (unix time) are not wanted."""
    added: float
    """When the shard was added, unix time."""
    through: float | None
    """Everything that arrived before this (unix time) has been read; None: nothing has come since the start."""
    limit: int
    confirm_end: bool
    """It looks as if the shard had brought its last record: that is looked at once more, and its children are asked for."""


@dataclass(slots=True)
class Fetched:
    """What a read has brought."""

    next_iterator: str | None
    batch: Batch | None = None
    records: int = 0
    """As the service counts them: an aggregate is one."""
    data_bytes: int = 0
    """Of the service's records, also of those that are not delivered: what counts for the limits of the shard."""
    weight: int = 0
    """About what the answer takes of memory, taken apart."""
    held: int = 0
    """What the batch takes of READ_BYTES until it is handed on."""
    last: str = ""
    """The sequence number of the last of them."""
    through: float | None = None
    """Everything that arrived before this (unix time) has been read now; None: that cannot be said."""
    behind: bool = False
    """There is more."""
    at_tip: bool = False
    """There was nothing, and nothing is behind it."""
    past_tip: bool = False
    """All that was there when the shard was added has been read, and there is always something new."""
    past_start: bool = False
    """A record was there at or after the start time."""
    is_last: bool = False
    """The shard is closed, and this was the rest of it."""
    children: tuple[Partition, ...] | None = None
    """Of a shard that has ended; None: they have to be asked for."""


@dataclass(slots=True)
class Item:
    """Something for the engine, and the bytes that it holds until it is handed on."""

    event: Event
    held: int = 0


@dataclass(slots=True, eq=False)
class Cursor:
    """One shard."""

    partition: Partition
    start: StartPosition
    written: datetime | None
    added: float
    pace: Pace
    appetite: Appetite
    items: deque[Item] = field(default_factory=deque)
    """Read and not yet handed on."""
    paused: bool = False
    reading: bool = False
    """A thread is at it."""
    over: bool = False
    """Removed, ended or failed: nothing follows."""
    doubtful_since: float | None = None
    """Since when it looks as if it had ended, and has not (monotonic)."""
    stamp: int = 0
    """Which of its entries in the schedule counts."""
    _iterator: str | None = None
    _accepted: str = ""
    """The sequence number of the last record that was accepted."""
    _through: float | None = None
    _handed: Position | None = None
    """The last position that the engine has been given."""
    _handed_through: float | None = None
    _newest: Position | None = None
    _own_seen: bool = False
    _past_start: bool = False
    _confirm_end: bool = False
    _caught_up: bool = False
    """CaughtUp has been said, and nothing has come since."""
    _was_caught_up: bool = False

    def __post_init__(self) -> None:
        position = self.start.position
        if position is not None and position.sequence is None and not position.is_end:
            text = f"{self.partition}: there is no record at {self.start}"
            raise PositionInvalidError(text, broker=BROKER, partition=str(self.partition))
        self._confirm_end = self.start.is_end

    @property
    def wants_more(self) -> bool:
        """Whether another read is of use: at most one answer waits while the next one is fetched, or a few small ones."""
        if self.over or self.paused or self.reading:
            return False
        return len(self.items) < 2 or (len(self.items) < MOST_SMALL and sum(item.held for item in self.items) < SMALL_BYTES)

    # -- what to ask ----------------------------------------------------------------------------------------------

    def request(self, granted: int) -> Request:
        """The next read, with so many bytes reserved for it."""
        position = self.start.position
        is_first = not self._accepted and self._handed is None
        own = position.sequence if is_first and self.start.kind == "after" and not self._own_seen and position is not None else None
        time = self.start.time.timestamp() if is_first and self.start.time is not None and not self._past_start else None
        return Request(
            self.partition,
            self._iterator,
            self._opening(),
            self._after(),
            own,
            self.written,
            time,
            self.added,
            self._through,
            self.appetite.limit(granted),
            self._confirm_end,
        )

    def _opening(self) -> dict[str, object]:
        """Where a new iterator has to stand: behind what was accepted, else where the engine stands, else at the start."""
        if self._accepted:
            return {"ShardIteratorType": "AFTER_SEQUENCE_NUMBER", "StartingSequenceNumber": self._accepted}
        position = self._handed or self.start.position
        if position is not None and position.sequence is not None:
            # At, not after: the position may be inside an aggregate, and that its record is there shows that it has not expired.
            return {"ShardIteratorType": "AT_SEQUENCE_NUMBER", "StartingSequenceNumber": str(position.sequence)}
        if self.start.time is not None:
            return {"ShardIteratorType": "AT_TIMESTAMP", "Timestamp": self.start.time}
        return {"ShardIteratorType": "TRIM_HORIZON"}

    def _after(self) -> Position | None:
        if self._accepted:
            return Position(int(self._accepted), _WHOLE)
        if self._handed is not None:
            return self._handed
        position = self.start.position
        if position is None or position.sequence is None or self.start.kind == "after":
            return position
        return Position(position.sequence, position.sub_sequence - 1) if position.sub_sequence else Position(position.sequence - 1, _WHOLE)

    # -- what of it is taken --------------------------------------------------------------------------------------

    def accept(self, fetched: Fetched) -> None:
        """Take an answer: the cursor stands behind it now."""
        self._iterator = fetched.next_iterator
        if not fetched.is_last:
            self.doubtful_since = None
        if fetched.records:
            self._confirm_end = False  # else it may be looking for the end still: a server may need more than one answer to say it
            self._accepted = fetched.last
            self._own_seen = True
        if fetched.through is not None and (self._accepted or self._handed is not None):
            self._through = fetched.through
        self._past_start = self._past_start or fetched.past_start
        if fetched.batch is not None:
            self.items.append(Item(fetched.batch, fetched.held))
            self._caught_up = False
            self._newest = fetched.batch.last
        if fetched.is_last:
            if fetched.children is None:
                self._confirm_end = True
            else:
                self.items.append(Item(Ended(self.partition, fetched.children)))
                self.over = True
        elif (fetched.at_tip and not self._caught_up) or (fetched.past_tip and not self._was_caught_up):
            self._caught_up = fetched.at_tip
            self._was_caught_up = True
            self.items.append(Item(CaughtUp(self.partition)))

    @property
    def stands_at(self) -> Position | None:
        """The last record that was accepted, or the last one that the engine has, if what came behind it was thrown away."""
        return self._newest

    def opened(self, iterator: str | None) -> None:
        """An iterator was had, though the read with it has failed; None: it was of no use."""
        self._iterator = iterator

    def lost_iterator(self) -> None:
        """It has expired: the next read gets another one."""
        self._iterator = None

    def not_ended(self, now: float) -> None:
        """What looked like its end was none, or not yet: it is opened again behind what was accepted."""
        if self.doubtful_since is None:
            self.doubtful_since = now
        self._iterator = None
        self._confirm_end = self.start.is_end  # then there is nothing to be read, whatever the service says

    def fail(self, failed: Failed) -> None:
        """Nothing follows, until the partition is added again."""
        self.items.append(Item(failed))
        self.over = True

    def hand_out(self, batch: Batch) -> None:
        """The engine has been given this."""
        self._handed = batch.last
        written = batch.last_timestamp
        self._handed_through = written.timestamp() if written is not None else None

    def rewind(self) -> int:
        """Forget what has been read and not handed on, because the bytes are needed. How many they were. Nothing may be under way.

        It is read again from where the engine stands.
        """
        freed = sum(item.held for item in self.items)
        if any(isinstance(item.event, CaughtUp) for item in self.items):
            self._was_caught_up = False
        if self._handed is None:
            self._own_seen = False  # it is opened there once more, and may have expired meanwhile
        self.items.clear()
        self._iterator = None
        self._accepted = ""
        self._through = self._handed_through
        self._newest = self._handed
        self._caught_up = self._past_start = self.over = False
        self._confirm_end = self.start.is_end
        return freed
