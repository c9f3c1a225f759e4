"""Hubs and partitions as the emulator holds them: events in memory, by sequence number, in the order in which they were sent.

Single-threaded, without I/O: the server's loop calls it. `persistence.py` writes down what is appended, `selector.py` says where
a reader begins.
"""

from __future__ import annotations

import time
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from streamkit_sandbox.errors import SandboxError
from streamkit_sandbox.eventhubs.hashing import partition_index
from streamkit_sandbox.eventhubs.offsets import Offsets
from streamkit_sandbox.eventhubs.refused import ARGUMENT_ERROR, Refused
from streamkit_sandbox.eventhubs.selector import EARLIEST, LATEST, Field, Selector

__all__ = ["DEFAULT_GROUP", "Event", "Hub", "PartitionLog", "machine_clock_ms"]

DEFAULT_GROUP = "$Default"
MAX_PARTITIONS = 2000
_EMPTY_OFFSET = "-1"


def machine_clock_ms() -> int:
    """Milliseconds since 1970, UTC."""
    return time.time_ns() // 1_000_000


@dataclass(slots=True)
class Event:
    """One stored event. Nobody changes it; it is not frozen only because a frozen one takes three times as long to make.

    `message` is the AMQP message as it was sent, without delivery annotations and without what the broker adds.
    """

    sequence: int
    offset: str
    enqueued_ms: int
    partition_key: str | None
    message: bytes


class PartitionLog:
    """The events of one partition.

    `retention_ms` and `max_events` take away from the front. `journal` is called with the events of each append before
    anybody can see them; what it raises ends the append, and nothing was appended.
    """

    def __init__(
        self,
        id: str,
        *,
        clock_ms: Callable[[], int] = machine_clock_ms,
        retention_ms: int | None = None,
        max_events: int | None = None,
        offsets: Offsets | None = None,
        journal: Callable[[Sequence[Event]], None] | None = None,
    ) -> None:
        self.id = id
        self.listeners: set[Callable[[], None]] = set()
        """Called after each append, on the caller's thread."""
        self.journal = journal
        self._clock_ms = clock_ms
        self._retention_ms = retention_ms
        self._max_events = max_events
        self._offsets = offsets or Offsets()
        self._events: list[Event] = []
        self._head = 0  # those before it are trimmed, and leave the list from time to time
        self._last: Event | None = None

    def append(self, messages: Sequence[bytes], partition_key: str | None = None) -> None:
        """Appends all of `messages`, or none: one enqueue, one time for all. Then tells the listeners."""
        if not messages:
            return
        # A clock that is set back must not break the order of enqueued times: readers start by them.
        now = max(self._clock_ms(), self.last_enqueued_ms)
        position = 0 if self._last is None else self._offsets.position(self._last.offset) + self._offsets.room(self._last.message)
        sequence = self.last_sequence
        events = []
        for message in messages:
            sequence += 1
            events.append(Event(sequence, self._offsets.text(position), now, partition_key, message))
            position += self._offsets.room(message)
        if self.journal is not None:
            self.journal(events)
        self._add(events)
        for told in tuple(self.listeners):
            told()

    def restore(self, events: Iterable[Event]) -> None:
        """Takes over what an earlier emulator has stored, in order; before the first append. No listener is told."""
        self._add(list(events))

    @property
    def is_empty(self) -> bool:
        """Whether no event is left; `last_sequence` may still be one that was trimmed."""
        self._trim()
        return self._head == len(self._events)

    @property
    def first_sequence(self) -> int:
        """The sequence number of the oldest event that is left; of the next one to come if none is."""
        return self.last_sequence + 1 if self.is_empty else self._events[self._head].sequence

    @property
    def last(self) -> Event | None:
        """The newest event, also if it was trimmed; None before the first."""
        return self._last

    @property
    def last_sequence(self) -> int:
        """-1 before the first event."""
        return -1 if self._last is None else self._last.sequence

    @property
    def last_offset(self) -> str:
        """ "-1" before the first event."""
        return _EMPTY_OFFSET if self._last is None else self._last.offset

    @property
    def last_enqueued_ms(self) -> int:
        """Milliseconds since 1970; 0 before the first event."""
        return 0 if self._last is None else self._last.enqueued_ms

    def read(self, from_sequence: int, max_events: int) -> Sequence[Event]:
        """Up to `max_events` events from `from_sequence` on; from the oldest that is left if that one was trimmed."""
        start = max(from_sequence - self.first_sequence, 0) + self._head
        return self._events[start : start + max_events]

    def where(self, selector: Selector) -> int:
        """The first sequence number that satisfies `selector`; it may be that of the next event to come.

        Raises Refused for an offset or a sequence number beyond the last event, as the service does.
        """
        first, value = self.first_sequence, selector.value
        if selector.field is Field.OFFSET:
            # The two sentinels mean the same with > and >=.
            return first if value == EARLIEST else self.last_sequence + 1 if value == LATEST else self._after_offset(selector)
        if selector.field is Field.SEQUENCE:
            if selector.number > self.last_sequence:
                raise Refused(
                    ARGUMENT_ERROR,
                    f"The supplied sequence number '{value}' is invalid. The last sequence number in the system is '{self.last_sequence}'",
                )
            return max(selector.number + (not selector.inclusive), first)
        return self._first_at(selector, selector.number, lambda event: event.enqueued_ms)

    def _after_offset(self, selector: Selector) -> int:
        position = self._offsets.position(selector.value)
        if position > self._offsets.position(self.last_offset):
            raise Refused(
                ARGUMENT_ERROR, f"The supplied offset '{selector.value}' is invalid. The last offset in the system is '{self.last_offset}'"
            )
        return self._first_at(selector, position, lambda event: self._offsets.position(event.offset))

    def _first_at(self, selector: Selector, value: int, key: Callable[[Event], int]) -> int:
        """The sequence number of the first event whose rising `key` is above `value` (or at it, if the selector is inclusive)."""
        first = self.first_sequence
        search = bisect_left if selector.inclusive else bisect_right
        return first + search(self._events, value, lo=self._head, key=key) - self._head

    def _add(self, events: list[Event]) -> None:
        if events:
            self._events += events
            self._last = events[-1]
            self._trim()

    def _trim(self) -> None:
        events, head = self._events, self._head
        if self._max_events is not None:
            head = max(head, len(events) - self._max_events)
        if self._retention_ms is not None:
            kept_from = self._clock_ms() - self._retention_ms
            while head < len(events) and events[head].enqueued_ms < kept_from:
                head += 1
        self._head = head
        # Taking from the front of a list moves all the rest: half of it at a time costs little for each event.
        if head * 2 > len(events):
            del events[:head]
            self._head = 0


class Hub:
    """One event hub. `retention_ms`, `max_events` and `offsets` are those of each of its partitions."""

    def __init__(
        self,
        name: str,
        partition_count: int,
        *,
        clock_ms: Callable[[], int] = machine_clock_ms,
        created_ms: int | None = None,
        retention_ms: int | None = None,
        max_events: int | None = None,
        offsets: Offsets | None = None,
    ) -> None:
        self.name = name
        self.created_ms = clock_ms() if created_ms is None else created_ms
        self.consumer_groups: set[str] = {DEFAULT_GROUP}
        self.partitions: list[PartitionLog] = []
        self._clock_ms, self._retention_ms, self._max_events, self._offsets = clock_ms, retention_ms, max_events, offsets
        self._round_robin = -1
        self.grow(partition_count)

    def partition(self, id: str) -> PartitionLog | None:
        """The partition with that id, None if there is none."""
        return next((partition for partition in self.partitions if partition.id == id), None)

    def partition_of(self, key: str) -> PartitionLog:
        """Where events with partition key `key` go. It changes for most keys when the hub grows, as in the service."""
        return self.partitions[partition_index(key, len(self.partitions))]

    def next_partition(self) -> PartitionLog:
        """Where the next event without a key goes: one after the other."""
        self._round_robin = (self._round_robin + 1) % len(self.partitions)
        return self.partitions[self._round_robin]

    def has_group(self, group: str) -> bool:
        """Whether the hub has that consumer group; case does not count."""
        return group.casefold() in {known.casefold() for known in self.consumer_groups}

    def grow(self, count: int) -> None:
        """Gives the hub `count` partitions in all. Raises SandboxError for fewer than it has, and beyond 2,000."""
        if not max(len(self.partitions), 1) <= count <= MAX_PARTITIONS:
            raise SandboxError(
                f"hub {self.name!r} has {len(self.partitions)} partitions and cannot have {count}; "
                f"a hub only grows, to at most {MAX_PARTITIONS}"
            )
        self.partitions += [self._new_partition(str(number)) for number in range(len(self.partitions), count)]

    def _new_partition(self, id: str) -> PartitionLog:
        return PartitionLog(
            id, clock_ms=self._clock_ms, retention_ms=self._retention_ms, max_events=self._max_events, offsets=self._offsets
        )
