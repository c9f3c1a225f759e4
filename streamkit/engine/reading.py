"""The reading loop: polls one reader, hands batches to workers, and pauses what is behind. Nobody else touches the reader.

It runs on the reader's own carrier (a thread if the reader blocks). Other threads post commands, which run between polls,
and inside a revoke callback (`serve`). Batches go straight from here to the workers, without a hop.
"""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Collection, Sequence
from datetime import datetime
from typing import Any, TypeVar

from streamkit.engine.delivery.pressure import Pressure, weight_of
from streamkit.engine.delivery.worker import Worker
from streamkit.engine.runtime import Carrier, Mailbox, Promise, Runtime
from streamkit.errors import BrokerError, BrokerUnavailableError, PositionInvalidError
from streamkit.model import Batch, Partition, StartPosition
from streamkit.plugin import Assigned, Budget, CaughtUp, Ended, Event, Failed, Idle, Lost, Membership, Reader, Revoked

__all__ = ["WENT_ON", "Reading"]

T = TypeVar("T")
Command = Callable[[], Awaitable[None]]

COMMANDS_SECONDS = 0.5
"""How long commands may keep the reader from being polled, once the one that runs has ended."""
POLL_WAIT_SECONDS = 0.05
"""The longest a poll waits for a first record: commands (saves, above all) wait no longer than this."""
PATIENCE_SECONDS = 0.05
"""How long a full partition may hold up the others before it is paused: a pause throws away what the client has prefetched."""
LONG_PATIENCE_SECONDS = 1.0
"""The same when all are full: resuming them all costs a Kafka client up to a second, so it must be worth it."""
WENT_ON = "records that were gone before they were read, reading went on behind them: NOT processed"
"""What is counted and logged then, once for each such place: nobody knows how many they were."""
MAX_REOPENINGS = 3
BACKOFF_SECONDS = 0.2
MAX_BACKOFF_SECONDS = 10.0


class Reading:
    """One reader and the workers that it feeds."""

    def __init__(
        self,
        reader: Reader,
        carrier: Carrier,
        runtime: Runtime,
        pressure: Pressure,
        max_batch: int,
        post: Callable[[Event], None],
        report: Callable[[str, BaseException], None],
        noticed: Callable[[Partition, str, int], None],
    ) -> None:
        self.records = 0
        """Records handed to workers so far."""
        self._reader = reader
        self._carrier = carrier
        self._runtime = runtime
        self._pressure = pressure
        self._max_batch = max_batch
        self._post = post
        self._report = report
        self._noticed = noticed
        self._commands: Mailbox[tuple[Command, Promise[Any]]] = Mailbox(carrier.signal())
        self._workers: dict[Partition, Worker] = {}
        self._gone: set[Partition] = set()
        """Revoked or lost since they were last assigned."""
        self._paused: set[Partition] = set()
        self._reopenings: dict[Partition, int] = {}
        self._reopen_at: dict[Partition, float] = {}
        self._crowded: set[Partition] = set()
        """Found full when they were last offered something, and not paused."""
        self._bytes_left = 0
        """At most so many bytes may be read; looked up again when half of them are used."""
        self._full_since: float | None = None
        self._waits_for_room = False
        self._failures = 0
        self._closing = False
        self._leave = True
        self._closed: Promise[None] = Promise()
        self._over = False

    # -- called from other threads --------------------------------------------------------------------------------

    def call(self, make: Callable[[], Awaitable[T]]) -> Promise[T]:
        """Run a coroutine on the reader's thread, between two polls."""
        promise: Promise[T] = Promise()

        async def command() -> None:
            try:
                promise.resolve(await make())
            except BaseException as error:
                promise.fail(error)

        self._commands.put((command, promise))
        if self._over:  # looked at after the put, as `run` looks at the commands after it has said so
            self._refuse_commands()
        return promise

    @property
    def waits_for_room(self) -> Collection[Partition]:
        """Those of which nothing is read now, because too much of them is under way."""
        return {*tuple(self._paused), *tuple(self._crowded)}

    @property
    def is_failing(self) -> bool:
        """Whether the last poll failed."""
        return self._failures > 0

    def _refuse_commands(self) -> None:
        """Nobody runs them any more, but somebody may wait for them."""
        with contextlib.suppress(IndexError):  # two threads may be here
            while True:
                self._commands.items.popleft()[1].fail(BrokerUnavailableError("the reader has ended"))

    def add(self, worker: Worker, start: StartPosition, written: datetime | None = None) -> Promise[None]:
        """Begin to read for this worker. `written`: when the record of `start` was written, where that is known."""

        async def add() -> None:
            if worker.partition in self._gone:
                return  # given back while this command was on its way
            self._workers[worker.partition] = worker
            self._reopenings.pop(worker.partition, None)
            worker.go_on_from(start, written)
            await self._open(worker, start, written)

        return self.call(add)

    def remove(self, partitions: Sequence[Partition]) -> Promise[None]:
        """Stop reading for these."""

        async def remove() -> None:
            self._forget(partitions)
            await self._reader.remove(partitions)

        return self.call(remove)

    def make_room(self) -> None:
        """A worker has finished something: look again if everything was full."""
        if self._waits_for_room:
            self._commands.signal.set()

    def close(self, leave: bool) -> Promise[None]:
        """End the loop; then leave the group if there is one and `leave`, and give back connections.

        Not a command: a client must not be closed inside a callback of its own poll, where commands run too.
        """
        self._leave = leave
        self._closing = True
        self._commands.signal.set()
        return self._closed

    # -- on the reader's thread -----------------------------------------------------------------------------------

    def serve(self, revoked: Revoked) -> None:
        """Stay inside a client's revoke callback until the engine is done or the deadline has passed; commands go on."""
        state = {"done": False}

        def done() -> None:
            state["done"] = True
            self._commands.signal.set()

        async def body() -> None:
            until = self._runtime.monotonic() + revoked.deadline_seconds
            while not state["done"] and not self._closing and (left := until - self._runtime.monotonic()) > 0:
                if (item := await self._commands.get(left)) is not None:
                    await item[0]()

        self._give_back(revoked.partitions)
        self._post(Revoked(revoked.partitions, revoked.deadline_seconds, done))
        self._carrier.run_here(body())

    async def run(self) -> None:
        """Until `close`, or until the reader cannot go on. Whatever ends it, the group is left and the reader is closed."""
        try:
            await self._run()
        finally:
            self._over = True
            self._refuse_commands()
            try:
                if self._leave:
                    await self._give_up_reader()
            except Exception as error:
                self._report("leaving", error)
            finally:
                self._closed.resolve(None)

    async def _give_up_reader(self) -> None:
        try:
            if isinstance(self._reader, Membership):
                await self._reader.leave()
        finally:
            await self._reader.close()

    async def _run(self) -> None:
        while not self._closing:
            if self._commands.items:
                await self._run_commands(0.0)
            await self._carrier.give_way()
            if self._reopen_at:
                await self._reopen_due()
            if self._closing or ((self._crowded or self._paused) and not await self._ready()):
                continue
            if self._bytes_left < self._pressure.max_bytes // 2:
                self._bytes_left = self._pressure.bytes_left(self._workers.values())
            try:
                wait = 0.0 if self._commands.items else POLL_WAIT_SECONDS
                events = await self._reader.poll(Budget(self._max_batch, self._bytes_left, wait))
            except BrokerError as error:
                await self._poll_failed(error)
                continue
            self._failures = 0
            for event in events:
                if isinstance(event, Batch):
                    await self._dispatch(event)
                else:
                    await self._handle(event)

    async def _run_commands(self, wait_seconds: float) -> None:
        """What waits, but not for long: whatever the commands cost, the reader must be polled."""
        until = self._runtime.monotonic() + wait_seconds + COMMANDS_SECONDS
        item = await self._commands.get(wait_seconds)
        while item is not None:
            await item[0]()
            more = self._commands.items and self._runtime.monotonic() < until
            item = self._commands.items.popleft() if more else None

    async def _dispatch(self, batch: Batch) -> None:
        worker = self._workers.get(batch.partition)
        if worker is None or batch.partition in self._reopen_at:
            return  # revoked a moment ago, or about to be read again from our own position
        if worker.offer(batch):
            self.records += len(batch)
            self._bytes_left -= weight_of(batch)
            if self._pressure.is_full(worker, len(self._workers)):
                self._crowded.add(batch.partition)
            if self._reopenings:
                self._reopenings.pop(batch.partition, None)
            return
        error = PositionInvalidError(f"{batch.partition}: the reader went back to {batch.first} after {worker.newest}")
        await self._reopen(worker, error)

    async def _handle(self, event: Event) -> None:
        if isinstance(event, Idle):
            await self._commands.signal.wait(event.seconds)
        elif isinstance(event, Ended | CaughtUp) and event.partition in self._reopen_at:
            return  # said after what was dropped: it will be said again when that has been read
        elif isinstance(event, Ended):
            worker = self._workers.get(event.partition)
            self._forget([event.partition])
            if worker is not None:
                worker.offer_end(event.children)
        elif isinstance(event, CaughtUp):
            if (worker := self._workers.get(event.partition)) is not None:
                worker.offer_caught_up()
        elif isinstance(event, Failed):
            await self._failed(event)
        else:
            if isinstance(event, Lost) and not isinstance(self._reader, Membership):
                # Nobody but the engine says what is assigned. What it has taken back meanwhile is not this reader's to lose.
                event = Lost(tuple(p for p in event.partitions if p in self._workers), event.reason)
                self._forget(event.partitions)
            elif isinstance(event, Revoked | Lost):
                self._give_back(event.partitions)
            elif isinstance(event, Assigned):
                self._gone.difference_update(event.partitions)
            self._post(event)

    def _give_back(self, partitions: Sequence[Partition]) -> None:
        self._forget(partitions)
        self._gone.update(partitions)

    def _forget(self, partitions: Sequence[Partition]) -> None:
        for partition in partitions:
            self._workers.pop(partition, None)
            self._paused.discard(partition)
            self._crowded.discard(partition)
            self._reopen_at.pop(partition, None)

    # -- room -----------------------------------------------------------------------------------------------------

    async def _ready(self) -> bool:
        """Resume what has room, pause what has been full for too long. False: wait, do not poll yet."""
        count = len(self._workers)
        if self._paused:
            roomy = [p for p in self._paused if self._pressure.has_room(self._workers[p], count)]
            if roomy:
                self._paused.difference_update(roomy)
                await self._reader.resume(roomy)
        # Only what was offered something can have become full: with many partitions, looking at all would cost more than reading.
        self._crowded = {p for p in self._crowded if self._pressure.is_full(self._workers[p], count)}
        full = list(self._crowded)
        if not full:
            self._full_since = None
            return True
        now = self._runtime.monotonic()
        if self._full_since is None:
            self._full_since = now
        patience = LONG_PATIENCE_SECONDS if len(full) + len(self._paused) == count else PATIENCE_SECONDS
        left = self._full_since + patience - now
        if left <= 0:
            self._full_since = None
            self._paused.update(full)
            self._crowded.clear()
            await self._reader.pause(full)
            return True
        self._waits_for_room = True
        if not any(self._pressure.has_room(self._workers[p], count) for p in full):  # else it was made before we said so
            await self._commands.signal.wait(left)
        self._waits_for_room = False
        return all(not self._pressure.is_full(self._workers[p], count) for p in full if p in self._workers)

    # -- failures -------------------------------------------------------------------------------------------------

    async def _open(self, worker: Worker, start: StartPosition, written: datetime | None = None) -> None:
        try:
            await self._reader.add(worker.partition, start, written=written, epoch=worker.context.epoch)
        except BrokerError as error:
            await self._failed(Failed(worker.partition, error))

    async def _reopen(self, worker: Worker, error: BrokerError) -> None:
        """Close it, and open it again soon from our own position, not from where the reader believes to be."""
        partition = worker.partition
        times = self._reopenings[partition] = self._reopenings.get(partition, 0) + 1
        self._report(f"reading {partition}", error)
        await self._reader.remove([partition])
        if times > MAX_REOPENINGS:
            self._forget([partition])
            self._post(Failed(partition, error))
        else:
            self._reopen_at[partition] = self._runtime.monotonic() + BACKOFF_SECONDS * (times - 1)

    async def _reopen_due(self) -> None:
        now = self._runtime.monotonic()
        for partition in [p for p, at in self._reopen_at.items() if at <= now]:
            del self._reopen_at[partition]
            worker = self._workers[partition]
            await self._open(worker, worker.where_to_go_on, worker.written)

    async def _failed(self, event: Failed) -> None:
        worker = self._workers.get(event.partition)
        if worker is None:
            return
        if event.resume is not None:
            self._report(f"{event.partition} goes on from {event.resume}: records in between were NOT processed", event.error)
            self._noticed(event.partition, WENT_ON, 1)
            worker.go_on_from(event.resume)
            await self._open(worker, event.resume)
        elif event.error.retryable:
            await self._reopen(worker, event.error)
        else:
            self._forget([event.partition])
            self._post(event)

    async def _poll_failed(self, error: BrokerError) -> None:
        if not error.retryable:
            raise error
        self._failures += 1
        if self._failures == 1:
            self._report("reading", error)
        wait = min(MAX_BACKOFF_SECONDS, BACKOFF_SECONDS * 2 ** min(self._failures, 10)) * (0.5 + self._runtime.random() / 2)
        await self._run_commands(wait)
