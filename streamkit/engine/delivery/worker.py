"""One assignment of one partition, from its first hook to its last: take, call, retry, note what is done.

The worker is one coroutine on a carrier of its own (a thread for `def` code, the user's loop for `async def` code), and calls
every hook. Others talk to it in three ways only: the reader offers batches, the control thread calls `end`, and everybody
may look at its counters, each of which has one writer.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from streamkit.engine.delivery.call import Caller
from streamkit.engine.delivery.messages import Ending, Limits, Progress, WorkerEvents
from streamkit.engine.delivery.pressure import weight_of
from streamkit.engine.delivery.retry import halt_delay
from streamkit.engine.runtime import Carrier, Promise, Runtime
from streamkit.errors import RetriesExhaustedError
from streamkit.model import Batch, Partition, Position
from streamkit.outcome import Reject, Retry, Stop
from streamkit.processing import Context, LostContext

__all__ = ["Worker"]


@dataclass(frozen=True, slots=True)
class _EndMark:
    children: tuple[Partition, ...]


class _CaughtUpMark:
    pass


class Worker:
    """Runs one assignment."""

    def __init__(
        self,
        caller: Caller,
        context: Context,
        carrier: Carrier,
        runtime: Runtime,
        limits: Limits,
        events: WorkerEvents,
        make_room: Callable[[], None],
    ) -> None:
        self.partition = context.partition
        self.context = context
        self.ready: Promise[bool] = Promise()
        """Resolved when `initialize` has returned: True, or False if the assignment ended before."""
        self._caller = caller
        self._carrier = carrier
        self._runtime = runtime
        self._limits = limits
        self._events = events
        self._make_room = make_room
        self._inbox: deque[Batch | _EndMark | _CaughtUpMark] = deque()
        self._signal = carrier.signal()
        self._ending: Ending | None = None
        self.is_halted = False
        # Written by the reader alone.
        self.newest: Position | None = None
        self._offered = 0
        self._offered_bytes = 0
        # Written by the worker alone.
        self.progress = Progress(None, 0)
        self._finished_bytes = 0
        self.flushed = Progress(None, 0)
        """What the last successful `flush` made durable; only looked at for processors that have one."""
        self.flush_asked = False
        self._flush_failures = 0
        self._flush_error: Exception | None = None
        self._nudged_at = -1
        self.at_end = False
        self._marks: deque[Progress] = deque()
        # Written by the control thread alone.
        self.saved_count = 0
        self._counted = 0
        self.checkpoint_at = 0
        self.submitted: Position | None = None
        """The last position that `context.checkpoint` was told; a retry redelivers only what lies after it."""

    # -- looked at by others --------------------------------------------------------------------------------------

    @property
    def queued_records(self) -> int:
        return self._offered - self.progress.count

    @property
    def held_bytes(self) -> int:
        return self._offered_bytes - self._finished_bytes

    @property
    def in_flight(self) -> int:
        return self._offered - self.saved_count

    @property
    def ending(self) -> Ending | None:
        return self._ending

    @property
    def flushes(self) -> bool:
        return self._caller.flushes

    def snapshot(self) -> Progress:
        """What may be checkpointed now: `progress`, and what a running call of a record handler has done since."""
        progress = self.progress  # looked at first: a call that ends in between can make the count too small, never too large
        running = self.context.running
        done = running.done if running is not None else 0
        if running is None or not done:
            return progress
        return Progress(running.batch.slice(done - 1, done).last, progress.count + done)

    # -- called by the reader -------------------------------------------------------------------------------------

    def offer(self, batch: Batch) -> bool:
        """Take a batch. False if it does not rise above what came before: the reader must be opened again."""
        if self.newest is not None and not self.newest < batch.first:
            return False
        self.newest = batch.last
        self._offered += len(batch)
        self._offered_bytes += weight_of(batch)
        self._inbox.append(batch)
        self._signal.set()
        return True

    def offer_end(self, children: tuple[Partition, ...]) -> None:
        """No record will follow."""
        self._inbox.append(_EndMark(children))
        self._signal.set()

    def offer_caught_up(self) -> None:
        """Everything that was there has been offered."""
        self._inbox.append(_CaughtUpMark())
        self._signal.set()

    # -- called by the control thread -----------------------------------------------------------------------------

    def end(self, ending: Ending) -> None:
        """Begin no further call. A later ending may replace an earlier one: revoked by lost, never the other way round."""
        if self._ending is None or ending.kind != "revoked":
            self._ending = ending
        self.context.lost = self.context.lost or ending.kind != "revoked"
        self.context.ending = True
        self._signal.set()

    def count_at(self, position: Position) -> int:
        """How many records at or before `position` are done, as far as whole batches tell. `position` must not go back."""
        while self._marks and self._marks[0].position is not None and self._marks[0].position <= position:
            self._counted = self._marks.popleft().count  # kept: the save that asks may fail, and ask again
        return self._counted

    def ask_flush(self) -> None:
        """Have `flush` called before the next batch, for a checkpoint."""
        self.flush_asked = True
        self._signal.set()

    # -- the assignment, in order ---------------------------------------------------------------------------------

    async def run(self) -> None:
        """From `initialize` to `close`."""
        initialized = await self._initialize()
        self.ready.resolve(initialized)
        told = not initialized  # a processor that never was initialized only hears `close`
        if initialized:
            children = await self._deliver()
            if children is not None:
                told = await self._end(children)
        if not told and self._is("revoked"):
            told = await self._revoke()
        if not told and self._is("lost"):
            await self._lose()
        if not self._is("abandoned"):
            await self._hook("close", self._caller.close(self._carrier))
        self._carrier.release()

    async def _initialize(self) -> bool:
        """True when it has returned; it is retried like a batch."""
        attempt = 0
        halts = 0
        while self._ending is None:
            attempt += 1
            self.context.attempt = attempt
            try:
                await self._caller.make(self._carrier)
                await self._caller.initialize(self._carrier, self.context)
            except Exception as error:
                attempt, halts = await self._after_failure("initialize", error, attempt, halts)
            else:
                self._recover(halts)
                return True
        return False

    async def _deliver(self) -> tuple[Partition, ...] | None:
        """Call the processor until the assignment ends. The children if the partition has ended, else None."""
        inbox = self._inbox
        while self._ending is None:
            if self.flush_asked:
                await self._flush_or_give_up()
            if not inbox:
                await self._signal.wait()
                continue
            item = inbox.popleft()
            if isinstance(item, Batch):
                await self._process(await self._fill(item))
                await self._carrier.give_way()
            elif isinstance(item, _EndMark):
                return item.children
            else:
                self._events.caught_up()
        return None

    async def _fill(self, batch: Batch) -> Batch:
        """Join what waits behind it, up to MAX_BATCH; wait for more up to MAX_WAIT."""
        limit = self._limits.max_batch
        if len(batch) > limit:
            self._inbox.appendleft(batch.slice(limit, len(batch)))
            return batch.slice(0, limit)
        until = self._runtime.monotonic() + self._limits.max_wait_seconds if self._limits.max_wait_seconds else None
        parts = [batch]
        count = len(batch)
        caught_up: list[_CaughtUpMark] = []
        while count < limit and self._ending is None:
            while self._inbox and isinstance(self._inbox[0], _CaughtUpMark):  # it does not end a batch: more may follow
                self._inbox.popleft()
                caught_up = [_CaughtUpMark()]
            if self._inbox:
                following = self._inbox[0]
                if not isinstance(following, Batch) or count + len(following) > limit:
                    break
                parts.append(following)
                count += len(following)
                self._inbox.popleft()
                continue
            if until is None or (left := until - self._runtime.monotonic()) <= 0:
                break
            if self.flush_asked:
                await self._flush_or_give_up()
            await self._signal.wait(left)
        self._inbox.extendleft(caught_up)
        return Batch.join(parts)

    async def _process(self, batch: Batch) -> None:
        """One batch until it is done or the assignment ends."""
        attempt = halts = 0
        rest: Batch | None = batch
        while rest is not None and self._ending is None:
            attempt += 1
            self.context.attempt = attempt
            rest.delivered = self._runtime.unix_time()
            # A record that is tried again is tried alone: those behind it are first attempts.
            now = rest if attempt == 1 or self._caller.by == "batch" else rest.slice(0, 1)
            result = await self._caller.process(self._carrier, now, self.context)
            if self.context.lost:
                return
            if result.count:
                done, rest = _split(rest, result.count)
                self._finish(done)
                self._recover(halts)
                attempt, halts = int(result.failure is not None), 0  # what has failed now has failed for the first time
            if result.failure is None:
                continue
            rest = self._after_submitted(rest)
            if rest is None:
                self._recover(halts)
            else:
                attempt, halts = await self._after_failure(rest.first, result.failure, attempt, halts)

    def _finish(self, batch: Batch) -> None:
        """These records are done: they may be checkpointed, and their memory is free."""
        self.progress = Progress(batch.last, self.progress.count + len(batch))
        if self._caller.is_manual:
            self._marks.append(self.progress)
        self._finished_bytes += weight_of(batch)
        if self.progress.count >= self.checkpoint_at != self._nudged_at:
            self._nudged_at = self.checkpoint_at  # once for each save, not for each batch
            self._events.checkpoint_due()
        self._make_room()

    def _after_submitted(self, rest: Batch | None) -> Batch | None:
        """What a retry delivers: nothing at or before a position that the processor has checkpointed itself."""
        if rest is None or self.submitted is None or self.submitted < rest.first:
            return rest
        count = sum(1 for record in rest if record.position <= self.submitted)
        done, rest = _split(rest, count)
        self._finish(done)
        return rest

    # -- failures -------------------------------------------------------------------------------------------------

    async def _after_failure(self, where: object, failure: object, attempt: int, halts: int) -> tuple[int, int]:
        """Report, decide, wait. The attempt and the halts to go on from."""
        error = _as_error(failure)
        self._events.attempt_failed(error, attempt)
        policy = self._limits.retry
        rejected = isinstance(failure, (Reject, *self._caller.reject_on))
        if isinstance(failure, Stop) or rejected or policy.exhausted(attempt):
            return await self._give_up(where, error, failure, attempt, halts)
        asked = failure.after if isinstance(failure, Retry) else None
        await self._wait(policy.delay(attempt, self._runtime.random()) if asked is None else asked)
        return attempt, halts

    async def _give_up(self, where: object, error: BaseException, failure: object, attempt: int, halts: int) -> tuple[int, int]:
        """The failure policy: `halt` waits long and tries again, `stop` drains the process."""
        subject = where if isinstance(where, str) else f"record {self.partition}/{where}"
        final = RetriesExhaustedError(
            f"{subject} failed after {attempt} attempt{'s' if attempt > 1 else ''}: {type(error).__name__}: {error}",
            record=f"{self.partition}/{where}",
            attempts=attempt,
            fix="mend the processor; the record is delivered again, nothing was skipped",
        )
        final.__cause__ = error
        self.is_halted = True
        if isinstance(failure, Stop) or self._limits.on_failure == "stop":
            self._events.stop_asked(final)
            while self._ending is None:
                await self._signal.wait()
            return attempt, halts
        self._events.halt(final)
        await self._wait(halt_delay(halts + 1))
        return 0, halts + 1

    def _recover(self, halts: int) -> None:
        if halts:
            self.is_halted = False
            self._events.recovered()

    async def _wait(self, seconds: float) -> None:
        """Wait, but not longer than the assignment lasts. Flushes are not held up by a retry."""
        until = self._runtime.monotonic() + seconds
        while self._ending is None and (left := until - self._runtime.monotonic()) > 0:
            if self.flush_asked and not self.is_halted:
                await self._flush()
            await self._signal.wait(left)

    async def _flush_or_give_up(self) -> None:
        """A flush that fails is tried again at the next interval, and then goes to the failure policy."""
        halts = 0
        while not await self._flush() and self._limits.retry.exhausted(self._flush_failures) and self._ending is None:
            assert self._flush_error is not None
            _, halts = await self._give_up("flush", self._flush_error, self._flush_error, self._flush_failures, halts)
        self._recover(halts)

    # -- the end --------------------------------------------------------------------------------------------------

    async def _flush(self) -> bool:
        """Call `flush`; only what was finished before it may be checkpointed. Failing again and again, it is a failure like another."""
        self.flush_asked = False
        progress = self.progress
        try:
            await self._caller.flush(self._carrier, self.context)
        except Exception as error:
            self._events.hook_failed("flush", error)
            self._flush_error = error
            self._flush_failures += 1
            return False
        self.flushed = progress
        self._flush_failures = 0
        self._events.checkpoint_due()
        return True

    async def _revoke(self) -> bool:
        """Still the owner: flush, save, tell, save what that submitted. False if the partition was lost on the way."""
        assert self._ending is not None
        self.context.reason = self._ending.reason
        if self.flushes:
            await self._flush()
        if not self._is("revoked") or not await self._carrier.wait(self._events.settle("revoke")):
            return False
        await self._hook("partition_revoked", self._caller.revoked(self._carrier, self.context))
        await self._carrier.wait(self._events.settle("revoke"))
        return True

    async def _end(self, children: tuple[Partition, ...]) -> bool:
        """Everything is delivered: flush, tell, save END. Asked again with back-off until END is saved; False if it never was."""
        self.context.children = children
        self.at_end = True
        attempt = halts = refusals = 0
        while self._ending is None:
            attempt += 1
            self.context.attempt = attempt
            try:
                if self.flushes:
                    await self._caller.flush(self._carrier, self.context)
                    self.flushed = self.progress
                await self._caller.ended(self._carrier, self.context)
            except Exception as error:
                attempt, halts = await self._after_failure("partition_ended", error, attempt, halts)
                continue
            self._recover(halts)
            halts = 0
            if await self._carrier.wait(self._events.settle("end")):
                self._recover(int(self.is_halted))
                self._events.ended()
                return True
            refusals += 1
            if self._limits.retry.exhausted(refusals) and not self.is_halted and self._ending is None:
                self._refused_end(refusals)
            await self._wait(self._limits.retry.delay(attempt, self._runtime.random()))
        return False

    def _refused_end(self, times: int) -> None:
        """It is asked again for as long as it takes, but health says why children wait."""
        self.is_halted = True
        self._events.halt(
            RetriesExhaustedError(
                f"{self.partition} has ended, but partition_ended has not checkpointed END ({times} times asked)",
                attempts=times,
                fix="call context.checkpoint() in partition_ended when everything is done",
            )
        )

    async def _lose(self) -> None:
        assert self._ending is not None
        lost = LostContext(self.partition, self.context.epoch, self._ending.reason)
        await self._hook("partition_lost", self._caller.lost(self._carrier, lost))

    def _is(self, kind: str) -> bool:
        return self._ending is not None and self._ending.kind == kind

    async def _hook(self, name: str, call: object) -> bool:
        """A hook that must not hold up the release: what it raises is reported. True if it returned."""
        try:
            await call  # type: ignore[misc]
        except Exception as error:
            self._events.hook_failed(name, error)
            return False
        return True


def _split(batch: Batch, count: int) -> tuple[Batch, Batch | None]:
    if count >= len(batch):
        return batch, None
    return batch.slice(0, count), batch.slice(count, len(batch))


def _as_error(failure: object) -> BaseException:
    if isinstance(failure, BaseException):
        return failure
    return RuntimeError(str(failure))
