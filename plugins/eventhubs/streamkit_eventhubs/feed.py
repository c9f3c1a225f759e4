"""One partition from `add` to `remove`: its link, what has come through it, and what is wrong with it. One task for each.

A link that breaks after it has brought something is `Failed`: the engine opens the partition again, at its own position. One that
breaks before is opened again here, for half a minute, because that position is then still the start: otherwise a short
outage would use up the engine's few attempts, and halt every partition. As long as none can be opened, no partition gives up:
the reader says so.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress

from streamkit.errors import AccessDeniedError, BrokerError, BrokerUnavailableError, StreamkitError, ThrottledError
from streamkit.model import Batch, Partition, Position, StartPosition
from streamkit.plugin import CaughtUp, Event, Failed, Lost
from streamkit_eventhubs.errors import BROKER, StolenError, translated, translation
from streamkit_eventhubs.hubs import Ends
from streamkit_eventhubs.link import PartitionLink, Received
from streamkit_eventhubs.record import batch_of
from streamkit_eventhubs.source import Source
from streamkit_eventhubs.starts import expired, first_wanted, is_caught_up, refuse_beyond

__all__ = ["Feed"]

PATIENCE_SECONDS = 30.0
DENIED_PATIENCE_SECONDS = 5.0
"""If a token was refused, and it is not clear that nobody meant it."""
FIRST_PAUSE_SECONDS = 0.1
LONGEST_PAUSE_SECONDS = 5.0
HEALTHY_SECONDS = 5.0
"""How long a link must live, if it brings nothing, for its failure to be the first one again."""
LOOK_SECONDS = 1.0
"""How often a partition that is not read for want of room looks whether its link is still there."""
FIRST_SILENCE_SECONDS = 10.0
SILENCE_SECONDS = 300.0
"""After how long without an event it is asked whether there is none. Of some refusals the SDK says nothing, of some broken lines TCP."""


class _SilentError(BrokerUnavailableError):
    """The link is up, as far as the SDK says, and brings nothing."""


class Feed:
    """Made, looked at and stopped by the reader, on the loop where its task runs."""

    def __init__(
        self,
        partition: Partition,
        start: StartPosition,
        epoch: int,
        source: Source,
        share: Callable[[], int],
        is_outage: Callable[[], bool] = lambda: False,
    ) -> None:
        """`share`: how many bytes may lie here, at the moment. `is_outage`: whether no partition at all can be opened."""
        self.partition = partition
        self.paused = False
        self.trouble: BrokerError | None = None
        """Why it cannot be opened just now."""
        self.troubled_since = 0.0
        self._start = start
        self._epoch = epoch
        self._source = source
        self._share = share
        self._is_outage = is_outage
        self._items: deque[Event] = deque()
        self._room = asyncio.Event()
        self._wanted = first_wanted(start)
        """The sequence number that comes next, if none is missing; None before the first, where the start does not say it."""
        self._tip = -1
        """The newest event that there was, as far as we have heard: what comes along with events may have been found out before it."""
        self._has_received = False
        self.task = asyncio.create_task(self._run(), name=f"reading {partition}")

    # -- for the reader -------------------------------------------------------------------------------------------

    @property
    def held(self) -> int:
        """How many bytes lie here."""
        return sum(item.bytes for item in self._items if isinstance(item, Batch))

    @property
    def has_something(self) -> bool:
        """Whether `take` would give something. What is lost is said also while it is paused: its processor has to know it soon."""
        return bool(self._items) and (not self.paused or isinstance(self._items[0], Lost))

    def take(self, max_records: int, max_bytes: int, *, at_least_one: bool) -> Iterator[Event]:
        """What has come, as far as it fits, in order."""
        while self.has_something:
            item = self._items[0]
            if isinstance(item, Batch):
                count = _fitting(item, max_records, max_bytes, at_least_one=at_least_one)
                if not count:
                    break
                if count < len(item):
                    self._items[0] = item.slice(count, len(item))
                    item = item.slice(0, count)
                else:
                    self._items.popleft()
                max_records, max_bytes, at_least_one = max_records - count, max_bytes - item.bytes, False
            else:
                self._items.popleft()
            yield item
        if self.held < self._share():
            self._room.set()

    def stop(self) -> asyncio.Task[None]:
        """Nothing more comes of it. The task ends when the link is closed."""
        self._items.clear()
        self.paused = True
        self.task.cancel()
        return self.task

    # -- its task -------------------------------------------------------------------------------------------------

    async def _run(self) -> None:
        try:
            await self._keep_reading()
        except StolenError as stolen:
            self._items.clear()  # whoever has it now delivers these
            self._items.append(Lost((self.partition,), str(stolen)))
        except BrokerError as error:
            self._items.append(Failed(self.partition, error))
        except Exception as error:  # a setting that makes no sense, or a fault of ours: whatever it is, nothing more is read
            fix = error.fix if isinstance(error, StreamkitError) else ""
            wrong = BrokerError(f"reading {self.partition}: {error!r}", broker=BROKER, partition=str(self.partition), fix=fix)
            wrong.__cause__ = error
            self._items.append(Failed(self.partition, wrong))

    async def _keep_reading(self) -> None:
        pause = FIRST_PAUSE_SECONDS
        while True:
            link = self._source.link(self.partition)
            try:
                if not await self._open(link):
                    return
                await self._receive(link)
                return
            except BrokerError as error:
                if not self._may_try_again(error):
                    raise
                asked = error.retry_after if isinstance(error, ThrottledError) else None
            finally:
                await _closed(link)
            await asyncio.sleep(pause if asked is None else asked)
            pause = min(2 * pause, LONGEST_PAUSE_SECONDS)

    def _may_try_again(self, error: BrokerError) -> bool:
        """Only what is tried again is trouble that the reader may tell of: it would end with an error that no retry mends."""
        if isinstance(error, _SilentError) or self._has_received or not error.retryable:
            return False
        now = self._source.context.monotonic()
        if self.trouble is None:
            self.troubled_since = now
        self.trouble = error
        if isinstance(error, AccessDeniedError):
            return now - self.troubled_since < DENIED_PATIENCE_SECONDS
        return now - self.troubled_since < PATIENCE_SECONDS or self._is_outage()

    async def _open(self, link: PartitionLink) -> bool:
        """Whether there is anything to be received. The link comes first: it cuts off the owner before us."""
        with translated("opening a link", str(self.partition)):
            async with asyncio.timeout(self._source.settings.request_seconds):
                await link.open(self._start, self._epoch)
        ends = await self._source.ends(self.partition)
        if (invalid := refuse_beyond(self.partition, self._start, ends)) is not None:
            raise invalid
        if self._wanted is not None and self._wanted < ends.oldest and self._start.kind in ("at", "after"):
            self._expire(self._wanted, ends.oldest, StartPosition.EARLIEST)
            return False
        self._tip = ends.newest
        if is_caught_up(self._start, ends):
            self._items.append(CaughtUp(self.partition))
        return True

    async def _receive(self, link: PartitionLink) -> None:
        """Until it fails, or events are missing."""
        opened = self._source.context.monotonic()
        ask_at = opened + FIRST_SILENCE_SECONDS
        while True:
            await self._wait_for_room(link)
            received = await self._next(link)
            now = self._source.context.monotonic()
            if received is None and now >= ask_at:
                ends = await self._source.ends(self.partition)
                received = await self._next(link)
                if received is None and not self._is_right_to_be_silent(ends):
                    return
                ask_at = now + SILENCE_SECONDS
            if received is not None:
                self._has_received = True
                ask_at = now + SILENCE_SECONDS
                if not await self._accept(received):
                    return
            if self._has_received or now - opened >= HEALTHY_SECONDS:
                self.trouble = None

    async def _wait_for_room(self, link: PartitionLink) -> None:
        """Raises what has ended the link meanwhile: that it was stolen cannot wait for a slow processor."""
        while self.held >= self._share():
            self._room.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_SECONDS):
                    await self._room.wait()
            if link.error is not None:
                raise translation(link.error, "receiving", str(self.partition))

    async def _next(self, link: PartitionLink) -> Received | None:
        with translated("receiving", str(self.partition)):
            return await link.receive(self._source.settings.prefetch, max(1, self._share() - self.held))

    def _is_right_to_be_silent(self, ends: Ends) -> bool:
        """Whether there is nothing to come; False: what was to come has expired. Raises _SilentError if it is still there."""
        start = self._start if self._wanted is None else StartPosition.at(Position(self._wanted))
        if self._wanted is not None and self._wanted < ends.oldest:
            self._expire(self._wanted, ends.oldest, StartPosition.EARLIEST)
            return False
        # Behind an offset alone stands for sure only what was written after the link was opened.
        is_known = self._wanted is not None or start.position is None
        if not is_caught_up(start, ends) and (is_known or ends.newest > self._tip):
            text = f"Event Hubs, receiving: no event has come for a while, though event {ends.newest} is there"
            fix = "see that the consumer group exists (STREAMKIT_EVENTHUBS__CONSUMER_GROUP; unset, it is STREAMKIT_GROUP)"
            raise _SilentError(text, broker=BROKER, partition=str(self.partition), fix=fix)
        return True

    async def _accept(self, received: Received) -> bool:
        """Whether to go on; False: events are missing, and what comes after them is not taken."""
        batch = batch_of(self.partition, received, self._source.context.unix_time())
        if (missing := self._missing(batch)) is not None:
            index, wanted = missing
            oldest = (await self._source.ends(self.partition)).oldest
            if wanted < oldest:  # else the service has numbered them so
                if index:
                    self._put(batch.slice(0, index), received.tip)
                self._expire(wanted, oldest, StartPosition.at(batch.slice(index, len(batch)).first))
                return False
        self._put(batch, received.tip)
        return True

    def _missing(self, batch: Batch) -> tuple[int, int] | None:
        """Before which event of the batch numbers are missing, and the first of them. Looked for one by one only if there are some."""
        first, last = batch.first.sequence, batch.last.sequence
        wanted = self._wanted if self._wanted is not None else first
        assert first is not None
        assert last is not None
        assert wanted is not None
        if last - wanted + 1 == len(batch):
            return None
        for index, record in enumerate(batch):
            sequence = record.position.sequence
            assert sequence is not None
            if sequence > wanted:
                return index, wanted
            wanted = sequence + 1
        return None

    def _put(self, batch: Batch, tip: int | None) -> None:
        last = batch.last.sequence
        assert last is not None
        self._wanted = last + 1
        self._items.append(batch)
        self._tip = max(self._tip, -1 if tip is None else tip)
        if tip is not None and last >= self._tip:
            self._items.append(CaughtUp(self.partition))

    def _expire(self, wanted: int, oldest: int, resume: StartPosition) -> None:
        error = expired(self.partition, wanted, oldest)
        self._items.append(Failed(self.partition, error, resume if self._source.settings.on_expired == "earliest" else None))


async def _closed(link: PartitionLink) -> None:
    """Closes it to the end, also if we are stopped just then."""
    closing = asyncio.ensure_future(link.close())
    try:
        await asyncio.shield(closing)
    except asyncio.CancelledError:
        await closing
        raise


def _fitting(batch: Batch, max_records: int, max_bytes: int, *, at_least_one: bool) -> int:
    """How many records of it may be handed over."""
    count = min(len(batch), max_records)
    if count > 0 and batch.bytes > max_bytes:
        count = min(count, max_bytes * len(batch) // batch.bytes)
        while count > 0 and batch.slice(0, count).bytes > max_bytes:
            count //= 2
    return max(count, 1) if at_least_one else max(count, 0)
