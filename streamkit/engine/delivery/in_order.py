"""Delivery in the order of the partition: one call at a time, and nothing behind a record before that record is done.

Joins what the reader has offered to batches, calls the user's code, finishes what is done, and does what the failure policy
says about the rest. Runs on the worker's carrier, as a part of the worker's coroutine.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from streamkit.engine.delivery.call import Caller
from streamkit.engine.delivery.care import Care, Suspicion
from streamkit.engine.delivery.failures import Failures, Trouble, as_error
from streamkit.engine.delivery.flushing import Flushing
from streamkit.engine.delivery.intake import CaughtUpMark, EndMark, Intake
from streamkit.engine.delivery.life import Life
from streamkit.engine.delivery.messages import Progress, RunningCall
from streamkit.model import Batch, Partition
from streamkit.outcome import Outcome, Reject, Retry, Stop

__all__ = ["InOrder"]


class InOrder:
    """`Delivery` of one assignment with `ordering=partition`."""

    def __init__(
        self,
        life: Life,
        caller: Caller,
        intake: Intake,
        failures: Failures,
        flushing: Flushing,
        suspicion: Suspicion | None = None,
        *,
        only_with_care: bool = False,
    ) -> None:
        """`suspicion`: owners before this one have died, perhaps of a record. `only_with_care`: another delivery goes on after that."""
        self._only_with_care = only_with_care
        self._care = None if suspicion is None else Care(life, suspicion)
        """How records are delivered until that is over; None: as always."""
        self._life = life
        self._caller = caller
        self._intake = intake
        self._failures = failures
        self._flushing = flushing
        self._trouble = Trouble()
        self._suspects = 0
        """So many records at the head of the batch have failed as one; with BISECT one of them at least is bad."""

    @property
    def resting_records(self) -> int:
        """None: what waits for a retry keeps all others waiting."""
        return 0

    @property
    def goes_on(self) -> bool:
        return False

    @property
    def is_careful(self) -> bool:
        return self._care is not None

    def snapshot(self) -> Progress:
        """What may be checkpointed now: `progress`, and what a running call of a record handler has done since."""
        progress = self._intake.progress  # looked at first: a call that ends in between can make the count too small, never too large
        running = self._life.context.running
        done = running.done if running is not None else 0
        if running is None or not done:
            return progress
        tail = running.batch.slice(done - 1, done)
        return Progress(tail.last, progress.count + done, tail.last_timestamp)

    def calls(self) -> Sequence[RunningCall]:
        """One, or none."""
        started, running = self._life.call_started, self._life.context.running
        return () if started is None or running is None else (RunningCall(started, running.done, self._life.carrier.stack),)

    async def run(self) -> tuple[Partition, ...] | None:
        """Call the processor until the assignment ends. The children if the partition has ended, else None."""
        life, inbox = self._life, self._intake.inbox
        while life.ending is None and not (self._only_with_care and self._care is None):
            again = await self._flushing.attend() if self._flushing.asked else None
            if not inbox:
                await life.signal.wait(again)
                continue
            item = inbox.popleft()
            if isinstance(item, Batch):
                if self._care is None:
                    await self._process(await self._fill(item))
                else:
                    await self._process_with_care(item, self._care)
                await life.carrier.give_way()
            elif isinstance(item, EndMark):
                self._leave_care()
                return item.children
            else:
                life.events.caught_up()
        self._leave_care()
        return None

    def _leave_care(self) -> None:
        """All is well, or the assignment ends."""
        if self._care is not None:
            self._care.leave()
            self._care = None

    async def _process_with_care(self, item: Batch, care: Care) -> None:
        """Only so many, and written down before; what is behind them comes next."""
        batch, rest = _split(item, care.size)
        if rest is not None:
            self._intake.inbox.appendleft(rest)
        if times := care.kills(batch):
            await self._condemn(batch, times, care)
        elif await care.begin(batch):
            await self._process(batch)
            await care.ended()
        while self._caller.flushes and self._flushing.flushed.count < self._intake.progress.count and self._life.ending is None:
            self._flushing.asked = True
            await self._life.signal.wait(await self._flushing.attend() or 0.0)
        if self._life.ending is None:
            care.passed(len(batch))
        if care.is_over:
            self._leave_care()

    async def _condemn(self, batch: Batch, times: int, care: Care) -> None:
        """The one record of this batch has killed its process so often, or seems to have: it is not called."""
        while self._life.ending is None:
            verdict = self._failures.condemn(self._trouble, batch, times, is_proven=care.is_proven(batch))
            if await self._failures.carry_out(self._trouble, verdict):
                self._intake.finish(batch, put_aside=True)
                return

    async def _fill(self, batch: Batch) -> Batch:
        """Join what waits behind it, up to MAX_BATCH; wait for more up to MAX_WAIT."""
        life, inbox = self._life, self._intake.inbox
        limit, wait_seconds = life.limits.max_batch, life.limits.max_wait_seconds
        if len(batch) > limit:
            first, *others = [batch.slice(at, at + limit) for at in range(0, len(batch), limit)]  # at once: each record is copied once
            inbox.extendleft(reversed(others))
            return first
        until = life.runtime.monotonic() + wait_seconds if wait_seconds else None
        parts = [batch]
        count = len(batch)
        caught_up: list[CaughtUpMark] = []
        while count < limit and life.ending is None:
            while inbox and isinstance(inbox[0], CaughtUpMark):  # it does not end a batch: more may follow
                inbox.popleft()
                caught_up = [CaughtUpMark()]
            if inbox:
                following = inbox[0]
                if not isinstance(following, Batch) or count + len(following) > limit:
                    break
                parts.append(following)
                count += len(following)
                inbox.popleft()
                continue
            if until is None or (left := until - life.runtime.monotonic()) <= 0:
                break
            again = await self._flushing.attend() if self._flushing.asked else None
            await life.signal.wait(left if again is None else min(left, again))
        inbox.extendleft(caught_up)
        return Batch.join(parts)

    async def _process(self, batch: Batch) -> None:
        """One batch until it is done or the assignment ends."""
        life, context, trouble, parking = self._life, self._life.context, self._trouble, self._failures.parking
        self._suspects = 0
        rest: Batch | None = batch
        while rest is not None and life.ending is None:
            limit = len(rest)
            if parking.keys or parking.news:
                parking.hear()
                if count := parking.parked_at_head(rest):
                    rest = await self._put_behind(rest, count)
                    continue
                limit = parking.free_at_head(rest)
            now = rest if trouble.error is None and not self._suspects else self._again(rest)
            if len(now) > limit:
                now = now.slice(0, limit)
            context.attempt = trouble.attempt + 1
            if not life.begin_call() and not await life.begin_call_later():
                return
            now.delivered = life.runtime.unix_time()
            result = await self._caller.process(life.carrier, now, context)
            life.end_call(result.failure)
            if context.lost:
                return  # what it has done counts no more
            if result.count:
                done, rest = _split(rest, result.count)
                self._intake.finish(done)
                self._failures.succeeded()
                if trouble.error is not None:
                    self._failures.passed(trouble)  # what fails now fails for the first time
                if self._suspects:
                    self._suspects = max(0, self._suspects - result.count)
            if result.failure is not None and rest is not None:
                at_fault = 1 if self._caller.by == "record" or result.is_named else len(now) - result.count
                rest = await self._after_failure(rest, result.failure, at_fault, is_named=result.is_named)

    async def _put_behind(self, rest: Batch, count: int) -> Batch | None:
        """The first `count` records are of parked keys: they go to the dead letters, behind those before them. What is left."""
        self._suspects = 0
        parked, _ = _split(rest, count)
        if not (written := await self._failures.put_behind(self._trouble, parked)):
            return rest
        done, left = _split(rest, written)
        self._intake.finish(done)
        return left

    def _again(self, rest: Batch) -> Batch:
        """What the next call gets of a batch that has failed."""
        if self._caller.by == "record":
            return rest.slice(0, 1)  # a record that is tried again is tried alone: those behind it are first attempts
        return rest.slice(0, max(1, self._suspects // 2)) if self._suspects and self._life.limits.bisect else rest

    async def _after_failure(self, rest: Batch, failure: Outcome | BaseException, at_fault: int, *, is_named: bool) -> Batch | None:
        """The first `at_fault` records of `rest` have failed as one: report, decide, wait or put aside. What is left to be delivered."""
        is_named = at_fault == 1 and (self._caller.by == "record" or is_named)
        if not (isinstance(failure, Reject) and is_named):  # a record that is rejected by name goes to the policy, checkpointed or not
            submitted, left = self._without_submitted(rest)
            at_fault -= submitted
            if left is None or at_fault <= 0:
                return await self._after_it_was_done(rest, left, failure)
        else:
            left = rest
        self._suspects = at_fault
        if at_fault > 1 and self._life.limits.bisect and not isinstance(failure, Stop):
            await self._halve(failure)
            return left
        if self._care is not None:
            self._care.survived(left)
        verdict = self._failures.after(self._trouble, failure, left.slice(0, at_fault))
        if (submitted_to := self._intake.submitted) is not None and left.first <= submitted_to:  # it was done by its own word
            verdict = replace(verdict, failed=[replace(one, alone=True) for one in verdict.failed])
        if not await self._failures.carry_out(self._trouble, verdict):
            if self._care is not None and self._life.ending is None:
                await self._care.begin(left.slice(0, at_fault))
            return left
        self._suspects = 0
        done, left = _split(left, at_fault)
        self._intake.finish(done, put_aside=True)
        return None if left is None else self._without_submitted(left)[1]

    async def _after_it_was_done(self, rest: Batch, left: Batch | None, failure: Outcome | BaseException) -> Batch | None:
        """The code has said by `context.checkpoint` that it was done with what it then failed at. It is not called again, but the
        failure is told, and `Stop` stops."""
        self._suspects = 0
        if isinstance(failure, Stop):
            await self._failures.sit_out(self._trouble, self._failures.after(self._trouble, failure, rest.slice(0, 1)))
        else:
            self._life.events.attempt_failed(as_error(failure), self._trouble.attempt + 1)
            self._failures.passed(self._trouble)
        return left

    def _without_submitted(self, rest: Batch) -> tuple[int, Batch | None]:
        """What a retry delivers: nothing at or before a position that the processor has checkpointed itself."""
        submitted = self._intake.submitted
        if submitted is None or submitted < rest.first:
            return 0, rest
        count = sum(1 for record in rest if record.position <= submitted)
        done, left = _split(rest, count)
        self._intake.finish(done)
        return count, left

    async def _halve(self, failure: Outcome | BaseException) -> None:
        """BISECT: the first half of them is next. No attempt is used up: a record that is left alone has all of them."""
        self._life.events.attempt_failed(as_error(failure), 1)
        if isinstance(failure, Retry) and failure.after:
            await self._life.wait(failure.after)


def _split(batch: Batch, count: int) -> tuple[Batch, Batch | None]:
    if count >= len(batch):
        return batch, None
    return batch.slice(0, count), batch.slice(count, len(batch))
