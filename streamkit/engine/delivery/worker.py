"""One assignment of one partition, from its first hook to its last: initialize, deliver, end or revoke or lose, close.

The worker is one coroutine on a carrier of its own (a thread for `def` code, the user's loop for `async def` code), and calls
every hook. Others talk to it in three ways only: the reader offers batches, the control thread calls `end`, and everybody
may look at its counters, each of which has one writer. How records reach the user's code is its delivery's business.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Coroutine, Mapping, Sequence
from datetime import datetime
from types import MappingProxyType

from streamkit.engine.delivery.call import Caller, Exited
from streamkit.engine.delivery.care import Suspicion
from streamkit.engine.delivery.failures import Failures, Trouble
from streamkit.engine.delivery.flushing import Flushing
from streamkit.engine.delivery.in_order import InOrder
from streamkit.engine.delivery.intake import CaughtUpMark, EndMark, Intake
from streamkit.engine.delivery.life import Life
from streamkit.engine.delivery.messages import Delivery, Ending, Limits, Progress, RunningCall, WorkerEvents
from streamkit.engine.delivery.overdue import Overdue
from streamkit.engine.delivery.parking import Parking
from streamkit.engine.delivery.retry import UNBOUNDED_SECONDS
from streamkit.engine.delivery.turn import Turn
from streamkit.engine.runtime import Carrier, Promise, Runtime
from streamkit.errors import ConfigurationError, RetriesExhaustedError
from streamkit.model import Batch, ParkedKey, Partition, Position, StartPosition
from streamkit.processing import Context, LostContext

__all__ = ["Worker"]


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
        suspicion: Suspicion | None = None,
        turn: Turn | None = None,
        parked: Mapping[bytes, ParkedKey] = MappingProxyType({}),
    ) -> None:
        """`suspicion`: owners before this one have died; `parked`: keys that they have parked. `turn`: as in `Life`."""
        self.partition = context.partition
        self.context = context
        self.ready: Promise[bool] = Promise()
        """Resolved when `initialize` has returned: True, or False if the assignment ended before."""
        self.at_end = False
        """Every record has been delivered; `partition_ended` is under way."""
        self._caller = caller
        self._events = events
        self._life = Life(context, carrier, runtime, limits, events, turn)
        if caller.instrumentation is not None:
            self._life.called = caller.instrumentation.called
        self._intake = Intake(self._life.signal, events.checkpoint_due, make_room, is_manual=caller.is_manual)
        self.parking = Parking(self._life.signal, parked)
        self._failures = Failures(self._life, caller.reject_on, self.parking)
        self._flushing = Flushing(self._life, caller, self._intake, self._failures)
        self._delivery: Delivery
        if limits.by_key and suspicion is None:
            self._delivery = self._by_key()
        else:
            self._delivery = InOrder(
                self._life, caller, self._intake, self._failures, self._flushing, suspicion, only_with_care=limits.by_key
            )
        self._trouble = Trouble()
        """Of the hooks."""
        if caller.flushes:
            self._life.meanwhile = self._flushing.attend_in_passing

    # -- looked at by others --------------------------------------------------------------------------------------

    @property
    def queued_records(self) -> int:
        """Offered and not yet finished."""
        return self._intake.queued_records

    @property
    def resting_records(self) -> int:
        """Those of the queued that wait for the retry of their key, and keep no others waiting."""
        return self._delivery.resting_records

    @property
    def goes_on(self) -> bool:
        """Whether records of other keys are called, though one has halted."""
        return self._delivery.goes_on

    @property
    def held_bytes(self) -> int:
        return self._intake.held_bytes

    @property
    def bytes_done(self) -> int:
        """Keys and values of what is done, as far as the adapter counts them."""
        return self._intake.bytes_done

    @property
    def in_flight(self) -> int:
        """Above the saved checkpoint, finished or not."""
        return self._intake.in_flight

    @property
    def newest(self) -> Position | None:
        """The last position that was offered; the reader begins with where it was told to start."""
        return self._intake.newest

    @property
    def where_to_go_on(self) -> StartPosition:
        """From where a reader that is opened again has to read: our own position, not where it believes to be."""
        intake = self._intake
        if intake.begins is not None:
            return intake.begins
        return self.context.start if intake.newest is None else StartPosition.after(intake.newest)

    @property
    def offers(self) -> int:
        """How often the reader has offered anything."""
        return self._intake.offers

    @property
    def written(self) -> datetime | None:
        """When the record of `where_to_go_on` was written, where that is known."""
        return self._intake.written

    def go_on_from(self, start: StartPosition, written: datetime | None = None) -> None:
        """The reader is told to begin there, at a record that was written then. Called by the reader."""
        self._intake.go_on_from(start, written)

    @property
    def progress(self) -> Progress:
        """Every record up to here is done."""
        return self._intake.progress

    @property
    def own(self) -> Position | None:
        """The last record that the code itself has finished."""
        return self._intake.own

    @property
    def flushed(self) -> Progress:
        """What the last successful `flush` made durable; only looked at for processors that have one."""
        return self._flushing.flushed

    @property
    def flushes(self) -> bool:
        return self._caller.flushes

    @property
    def ending(self) -> Ending | None:
        return self._life.ending

    @property
    def call_started(self) -> float | None:
        """When the running call of the user's code began (monotonic), or None."""
        return self._life.call_started

    @property
    def is_careful(self) -> bool:
        """Owners before this one have died or lost it again and again: records are delivered with care."""
        return self._delivery.is_careful

    @property
    def trouble(self) -> Trouble | None:
        """What has failed and is tried again: attempt, error, when; None: nothing."""
        return self._failures.last

    def lag(self) -> tuple[int | None, float | None]:
        """Records and seconds between what is done and the tip; None where the broker does not say."""
        progress = self._intake.progress  # looked at first: `done` can be too large by what ends in between, never negative
        done = self.snapshot().count - progress.count
        return self._intake.lag(done, self._life.runtime.unix_time())

    def calls(self) -> Sequence[RunningCall]:
        """The calls of the user's code that run now, hooks included. From any thread."""
        started = self._life.hook_started
        return self._delivery.calls() if started is None else (RunningCall(started, 0, self._life.carrier.stack),)

    def calls_made(self) -> tuple[int, float, int]:
        """Calls of `process` that have returned, the seconds that they took, and how many attempts were made again."""
        return self._life.calls_made, self._life.calls_seconds, self._failures.retries

    def snapshot(self) -> Progress:
        """What may be checkpointed now, with what a running call has done."""
        return self._delivery.snapshot()

    # -- called by the reader -------------------------------------------------------------------------------------

    def offer(self, batch: Batch) -> bool:
        """Take a batch. False if it does not rise above what came before: the reader must be opened again."""
        return self._intake.offer(batch)

    def offer_end(self, children: tuple[Partition, ...]) -> None:
        """No record will follow."""
        self._intake.offer_mark(EndMark(children))

    def offer_caught_up(self) -> None:
        """Everything that was there has been offered."""
        self._intake.offer_mark(CaughtUpMark())

    # -- called by the control thread -----------------------------------------------------------------------------

    def end(self, ending: Ending) -> None:
        """Begin no further call. A later ending may replace an earlier one: revoked by lost, never the other way round."""
        self._life.end(ending)

    def count_at(self, position: Position) -> int:
        """How many records at or before `position` are done, as far as is known. `position` must not go back."""
        return self._intake.count_at(position)

    def ask_flush(self) -> None:
        """Have `flush` called before the next batch, for a checkpoint."""
        self._flushing.ask()

    @property
    def valid_until(self) -> float:
        """No call is begun at or after this (monotonic)."""
        return self._life.valid_until

    @valid_until.setter
    def valid_until(self, at: float) -> None:
        self._life.valid_until = at

    @property
    def saved_count(self) -> int:
        """How many records of this assignment lie at or below the saved checkpoint."""
        return self._intake.saved_count

    @saved_count.setter
    def saved_count(self, count: int) -> None:
        self._intake.saved_count = count

    @property
    def checkpoint_at(self) -> int:
        """The count of done records at which a checkpoint is asked for before its interval."""
        return self._intake.checkpoint_at

    @checkpoint_at.setter
    def checkpoint_at(self, count: int) -> None:
        self._intake.checkpoint_at = count

    @property
    def submitted(self) -> Position | None:
        """The last position that `context.checkpoint` was told. Written on the thread that tells it."""
        return self._intake.submitted

    @submitted.setter
    def submitted(self, position: Position) -> None:
        self._intake.submitted = position
        self._intake.note_submitted(position, self.context.running)

    @property
    def is_manual(self) -> bool:
        """Only what the code submits is checkpointed."""
        return self._caller.is_manual

    # -- the assignment, in order ---------------------------------------------------------------------------------

    async def run(self) -> None:
        """From `initialize` to `close`."""
        overdue = self._overdue()
        if overdue is not None:
            self._life.runtime.control.spawn(f"overdue-{self.partition}", overdue.watch(), lambda _: None)
        try:
            await self._run()
        finally:
            self._life.turn.leave(self._life)
            if overdue is not None:
                overdue.stop()

    def _overdue(self) -> Overdue | None:
        limit = self._life.limits.process_timeout_seconds
        if limit is None:
            return None
        tell = functools.partial(self._events.hook_failed, "process")
        return Overdue(self._life.runtime, lambda: self._delivery.calls(), limit, tell, is_cut=self._caller.is_async)

    async def _run(self) -> None:
        initialized = await self._initialize()
        self.ready.resolve(initialized)
        told = not initialized  # a processor that never was initialized only hears `close`
        if initialized:
            children = await self._delivery.run()
            if children is None and self._life.ending is None:  # it was careful, and that is over
                self._delivery = self._by_key()
                children = await self._delivery.run()
            if children is not None:
                told = await self._end(children)
        if not told and self._life.ends_by("revoked"):
            told = await self._revoke()
        if not told and self._life.ends_by("lost"):
            await self._lose()
        if not self._life.ends_by("abandoned"):
            await self._hook("close", self._caller.close(self._life.carrier))
        self._life.carrier.release()

    def _by_key(self) -> Delivery:
        from streamkit.engine.delivery.keyed import Keyed  # imported late: most workers start without it

        return Keyed(self._life, self._caller, self._intake, self._failures)

    async def _initialize(self) -> bool:
        """True when it has returned; it is retried like a batch."""
        life, trouble = self._life, self._trouble
        while life.ending is None:
            self.context.attempt = trouble.attempt + 1
            try:
                await life.hook(self._caller.make(life.carrier))
                await life.hook(self._caller.initialize(life.carrier, self.context))
            except ConfigurationError as error:
                await self._failures.sit_out(trouble, self._failures.stop(trouble, error))  # no attempt can mend that
            except Exception as error:
                await self._failures.sit_out(trouble, self._failures.after(trouble, error, "initialize"))
            else:
                self._failures.passed(trouble)
                return True
        return False

    async def _revoke(self) -> bool:
        """Still the owner: flush, save, tell, save what that submitted. False if the partition was lost on the way."""
        life = self._life
        assert life.ending is not None
        self.context.reason = life.ending.reason
        if self.flushes:
            await self._flushing.flush()
        if not life.ends_by("revoked") or not await life.carrier.wait(self._events.settle("revoke")):
            return False
        await self._hook("partition_revoked", self._caller.revoked(life.carrier, self.context))
        await life.carrier.wait(self._events.settle("revoke"))
        return True

    async def _end(self, children: tuple[Partition, ...]) -> bool:
        """Everything is delivered: flush, tell, save END. Asked again with back-off until END is saved; False if it never was."""
        life, trouble, retry = self._life, self._trouble, self._life.limits.retry
        self.context.children = children
        refusals = 0
        while life.ending is None:
            self.context.attempt = trouble.attempt + refusals + 1
            self.at_end = False  # in `flush` a checkpoint without a position is not END yet
            try:
                if self.flushes:
                    await life.hook(self._caller.flush(life.carrier, self.context))
                    self._flushing.flushed = self.progress
                self.at_end = True
                await life.hook(self._caller.ended(life.carrier, self.context))
            except Exception as error:
                await self._failures.sit_out(trouble, self._failures.after(trouble, error, "partition_ended"))
                continue
            if not refusals:
                self._failures.passed(trouble)
            if await life.carrier.wait(self._events.settle("end")):
                self._failures.passed(trouble)
                self._events.ended()
                return True
            refusals += 1
            if retry.exhausted(refusals) and not self._failures.is_halted and life.ending is None:
                self._refused_end(refusals)
            await life.wait(max(UNBOUNDED_SECONDS, retry.delay(refusals, life.runtime.random())))
        self.at_end = False  # a checkpoint in `partition_revoked` is not END: `partition_ended` has not returned
        return False

    def _refused_end(self, times: int) -> None:
        """It is asked again for as long as it takes, but health says why children wait."""
        by_hook = self._caller.hears_end
        missing = "partition_ended has not checkpointed END" if by_hook else "its last record has not been checkpointed"
        error = RetriesExhaustedError(
            f"{self.partition} has ended, but {missing} ({times} times asked)",
            attempts=times,
            fix=f"call context.checkpoint() {'in partition_ended ' if by_hook else ''}when everything is done",
        )
        self._trouble.error = error
        self._failures.halt(self._trouble, error)

    async def _lose(self) -> None:
        life = self._life
        assert life.ending is not None
        lost = LostContext(self.partition, self.context.epoch, life.ending.reason)
        await self._hook("partition_lost", self._caller.lost(life.carrier, lost))

    async def _hook(self, name: str, call: Coroutine[object, object, None]) -> None:
        """A hook that must not hold up the release: what it raises is reported."""
        try:
            await self._life.hook(call)
        except Exception as error:
            self._events.hook_failed(name, error)
            if isinstance(error, Exited):
                self._events.stop_asked(error)
