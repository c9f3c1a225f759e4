"""Reads many shards with few threads, ahead of the engine but within bounds.

The reader's thread adds and removes shards and collects what has arrived; a few daemon threads make the reads, one shard each
at a time. All that they share is under one lock, which nobody holds while the service is asked or an aggregate is taken apart.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Sequence

from streamkit.errors import BrokerError, PositionExpiredError, ThrottledError
from streamkit.model import Batch, Partition, StartPosition
from streamkit.plugin import AdapterContext, Budget, Event, Failed
from streamkit_kinesis.cursor import SMALL_BYTES, Cursor, Fetched, Item
from streamkit_kinesis.ends import FalseEndError, ShardExpiredError
from streamkit_kinesis.errors import BROKER
from streamkit_kinesis.fetch import Fetch, IteratorExpired, LeftBehindError
from streamkit_kinesis.outage import Outage
from streamkit_kinesis.pace import Limits, Pace
from streamkit_kinesis.portion import portion_of
from streamkit_kinesis.room import Appetite, Room
from streamkit_kinesis.schedule import Schedule
from streamkit_kinesis.settings import KinesisSettings

__all__ = ["FALSE_END", "SHARD_EXPIRED", "THROTTLED", "Fetching"]

THROTTLED = "reads refused by the service: the shard's limits, or those of its KMS key"
FALSE_END = "an answer looked like the end of a shard that has not ended, read again"
SHARD_EXPIRED = "a shard had expired before it was read to its end, going on with those that follow"

CLOSE_SECONDS = 2.0
"""How long `close` waits for threads whose call has not been answered. They end with their call."""
GATHER_SECONDS = 0.02
"""How soon little is handed out after little: each time wakes two threads, which costs more than the records. What comes after a
longer silence is handed out at once."""
PATIENCE_SECONDS = 30.0
FAILURES = 5
"""A shard that fails so often and for so long, while others are answered, is said to have failed."""


class Fetching:
    """What the reader reads with."""

    def __init__(
        self,
        settings: KinesisSettings,
        context: AdapterContext,
        fetch: Fetch,
        *,
        chance: Callable[[], float] | None = None,
        threads: bool = True,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """`threads=False`: nothing is read but by `step`, for tests. `chance`: from 0 to 1. `sleep`: on the reader's thread."""
        self._settings = settings
        self._context = context
        self._fetch = fetch
        self._chance = chance or random.Random().random
        self._sleep = sleep
        self._limits = Limits(settings.reads_per_second, settings.bytes_per_second, settings.idle_wait.total_seconds())
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        """Something may be due, or the end has come: threads wait for it."""
        self._arrived = threading.Condition(self._lock)
        """Something can be handed out: the reader waits for it."""
        self._cursors: dict[Partition, Cursor] = {}
        self._ready: dict[Partition, Cursor] = {}
        """Those that have something to be handed out; who was served last comes last."""
        self._room = Room(settings.read_bytes)
        self._schedule = Schedule(self._room, self._make_room)
        self._outage = Outage()
        self._watched: float | None = None
        """Until when the one thread sleeps that looks at the clock for all."""
        self._gather_until = 0.0
        """Little was handed out a moment ago: until when (monotonic) what comes next is left to become more."""
        self._closing = False
        self._most_threads = settings.read_threads if threads else 0
        self._threads: list[threading.Thread] = []

    # -- on the reader's thread -----------------------------------------------------------------------------------

    def add(self, cursor_of: Callable[[Pace, Appetite], Cursor]) -> None:
        """Begin to read a shard; what was read of it before is forgotten."""
        with self._lock:
            pace = Pace(self._limits, self._chance, self._context.monotonic(), len(self._cursors) + 1)
            cursor = cursor_of(pace, Appetite(self._settings.read_records))
            self._drop(cursor.partition)
            self._cursors[cursor.partition] = cursor
            self._schedule.put(cursor)
            self._changed.notify()
        self._start_threads()

    def remove(self, partitions: Sequence[Partition]) -> None:
        """Forget these. An answer that comes later is dropped."""
        with self._lock:
            for partition in partitions:
                self._drop(partition)
            if not self._cursors:
                self._outage.answered()  # nobody is asked any more, so nobody would say that it is over
            self._changed.notify()

    def _drop(self, partition: Partition) -> None:
        self._ready.pop(partition, None)
        if (cursor := self._cursors.pop(partition, None)) is not None:
            cursor.over = True
            self._room.release(sum(item.held for item in cursor.items))
            cursor.items.clear()

    def pause(self, partitions: Sequence[Partition], paused: bool) -> None:
        """Hold these back, or go on with them. What has been read of them is kept, unless others need the bytes."""
        with self._lock:
            for partition in partitions:
                if (cursor := self._cursors.get(partition)) is not None:
                    cursor.paused = paused
                    self._schedule.put(cursor)
                    self._show(cursor)
            self._changed.notify()

    def _show(self, cursor: Cursor) -> None:
        if cursor.items and not cursor.paused:
            self._ready[cursor.partition] = cursor
            self._arrived.notify()
        else:
            self._ready.pop(cursor.partition, None)

    def collect(self, budget: Budget) -> list[Event]:
        """What has arrived, within the budget; waits for the first of it. Raises BrokerError while the service does not answer."""
        if (seconds := min(self._gather_until - self._context.monotonic(), budget.max_wait_seconds)) > 0:
            self._sleep(seconds)
        with self._lock:
            if not self._ready and budget.max_wait_seconds > 0:
                self._arrived.wait(budget.max_wait_seconds)
            events = self._hand_out(budget)
            if events:
                size = sum(event.bytes for event in events if isinstance(event, Batch))
                self._gather_until = self._context.monotonic() + GATHER_SECONDS if size < SMALL_BYTES else 0.0
            error = self._outage.error(self._context.monotonic()) if not events else None
        if error is not None:
            raise error.with_traceback(None)  # it is raised by each poll until there is an answer
        return events

    def _hand_out(self, budget: Budget) -> list[Event]:
        """Whole turns: each shard gives what fits before the next one is asked, and comes last then."""
        events: list[Event] = []
        records, size = budget.max_records, budget.max_bytes
        for partition, cursor in list(self._ready.items()):
            if records < 1 or size < 1:
                break
            before = len(events)
            while cursor.items and records > 0:
                item = cursor.items[0]
                if not isinstance(item.event, Batch):
                    events.append(cursor.items.popleft().event)
                    continue
                # One record is always admitted, to the first shard that has any.
                part = portion_of(item.event, records, size, at_least_one=size == budget.max_bytes)
                if part is None:
                    break
                records -= len(part)
                size -= part.bytes
                events.append(part)
                cursor.hand_out(part)
                self._pass_on(cursor, item, len(part))
            if len(events) > before:
                del self._ready[partition]
                self._show(cursor)
                self._schedule.put(cursor)
                if cursor.over and not cursor.items:
                    self._cursors.pop(partition, None)
        if events:
            self._changed.notify()
        return events

    def _pass_on(self, cursor: Cursor, item: Item, taken: int) -> None:
        assert isinstance(item.event, Batch)
        if taken == len(item.event):
            cursor.items.popleft()
            self._room.release(item.held)
        else:
            item.event = item.event.slice(taken, len(item.event))

    def close(self) -> None:
        """End the threads; those whose call is not answered end with it, and touch nothing any more."""
        with self._lock:
            self._closing = True
            for partition in list(self._cursors):
                self._drop(partition)
            self._changed.notify_all()
        until = time.monotonic() + CLOSE_SECONDS
        for thread in self._threads:
            thread.join(max(0.0, until - time.monotonic()))

    # -- on the threads that read ---------------------------------------------------------------------------------

    def _start_threads(self) -> None:
        """As many as there are shards, and not more than allowed. Only the reader's thread starts any."""
        while len(self._threads) < min(self._most_threads, len(self._cursors)):
            thread = threading.Thread(target=self._run, name=f"kinesis-read-{len(self._threads)}", daemon=True)
            self._threads.append(thread)
            thread.start()

    def _run(self) -> None:
        while (taken := self._next()) is not None:
            self._read(*taken)

    def _next(self) -> tuple[Cursor, int] | None:
        """The next shard to be read, when it is due; None: the end has come. Only one thread looks at the clock."""
        with self._lock:
            while not self._closing:
                now = self._context.monotonic()
                if (taken := self._schedule.take(now)) is not None:
                    self._changed.notify()  # somebody else looks at the clock now
                    return taken
                seconds = self._schedule.seconds_to_next(now)
                until = None if seconds is None else now + seconds
                if until is None or (self._watched is not None and self._watched <= until):
                    self._changed.wait()
                    continue
                self._watched = until
                self._changed.wait(seconds)
                if self._watched == until:
                    self._watched = None
            self._changed.notify()
            return None

    def step(self) -> bool:
        """Make one read, if one is due; whether one was. For tests: what a thread does, without one."""
        with self._lock:
            taken = self._schedule.take(self._context.monotonic())
        if taken is not None:
            self._read(*taken)
        return taken is not None

    def _read(self, cursor: Cursor, granted: int) -> None:
        limit = 1
        began = self._context.monotonic()
        answer: Fetched | Exception
        try:
            request = cursor.request(granted)
            limit = request.limit
            answer = self._fetch.read(request, cursor.opened)
        except ShardExpiredError as error:
            answer = error
            if self._settings.on_expired == "earliest":
                answer = Fetched(None, is_last=True, children=error.children)
                self._context.noticed(cursor.partition, SHARD_EXPIRED)
        except Exception as error:
            answer = error
            if isinstance(error, ThrottledError | FalseEndError):
                self._context.noticed(cursor.partition, THROTTLED if isinstance(error, ThrottledError) else FALSE_END)
        with self._lock:
            cursor.reading = False
            if cursor.over:
                self._room.release(granted)  # it was removed meanwhile
            elif isinstance(answer, Fetched):
                self._outage.answered()
                self._accept(cursor, granted, limit, began, answer)
            else:
                self._room.release(granted)
                self._refused(cursor, answer)
            if not cursor.over:
                self._schedule.put(cursor)
            if self._cursors.get(cursor.partition) is cursor:
                self._show(cursor)
            self._changed.notify()

    def _accept(self, cursor: Cursor, granted: int, limit: int, began: float, fetched: Fetched) -> None:
        try:
            self._take(cursor, granted, limit, began, fetched)
        except Exception as error:  # a bug; without this the thread would die, and the shard stand still without a word
            self._room.release(granted)
            cursor.fail(self._failed(cursor, error))

    def _take(self, cursor: Cursor, granted: int, limit: int, began: float, fetched: Fetched) -> None:
        now = self._context.monotonic()
        fetched.held = fetched.weight if fetched.batch is not None else 0
        cursor.pace.read(began, now, fetched.data_bytes, fetched.records, behind=fetched.behind or fetched.is_last)
        cursor.appetite.had(fetched.records, fetched.weight, limit, behind=fetched.behind)
        cursor.accept(fetched)
        self._room.settle(granted, fetched.held)

    def _refused(self, cursor: Cursor, error: Exception) -> None:
        """What a read that brought nothing means for its shard."""
        now = self._context.monotonic()
        pace = cursor.pace
        if isinstance(error, IteratorExpired):
            cursor.lost_iterator()
            pace.again(now)
        elif isinstance(error, ThrottledError):
            self._outage.answered()
            pace.throttled(now)
        elif isinstance(error, BrokerError) and error.retryable:
            pace.failed(now)
            if isinstance(error, FalseEndError):
                cursor.not_ended(now)
                self._outage.answered()
            else:
                self._outage.failed(now, error)
            if self._is_lasting(cursor, now) and self._outage.error(now) is None:
                cursor.fail(Failed(cursor.partition, error))
        else:
            cursor.fail(self._failed(cursor, error))

    def _is_lasting(self, cursor: Cursor, now: float) -> bool:
        """Whether it has failed for so long that the engine should know. What cannot end is answered, but not to the point."""
        pace = cursor.pace
        if cursor.doubtful_since is not None and now - cursor.doubtful_since >= PATIENCE_SECONDS:
            return True
        return pace.failing_since is not None and pace.failures >= FAILURES and now - pace.failing_since >= PATIENCE_SECONDS

    def _failed(self, cursor: Cursor, error: Exception) -> Failed:
        partition = cursor.partition
        if not isinstance(error, BrokerError):
            wrapped = BrokerError(f"reading {partition}: {error!r}", broker=BROKER, partition=str(partition))
            wrapped.__cause__ = error
            error = wrapped
        goes_on = isinstance(error, PositionExpiredError) and self._settings.on_expired == "earliest"
        if goes_on and isinstance(error, LeftBehindError):
            return Failed(partition, error, cursor.start if cursor.stands_at is None else StartPosition.after(cursor.stands_at))
        return Failed(partition, error, StartPosition.EARLIEST if goes_on else None)

    def _make_room(self) -> bool:
        """Forget what was read of shards that are held back: it is read again when they go on. The largest goes first."""
        held = [
            (sum(item.held for item in cursor.items), partition)
            for partition, cursor in self._cursors.items()
            if cursor.paused and cursor.items and not cursor.reading
        ]
        most, partition = max(held, default=(0, None), key=lambda one: one[0])
        if not most or partition is None:
            return False
        self._room.release(self._cursors[partition].rewind())
        return True
