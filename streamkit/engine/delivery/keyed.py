"""Delivery in the order of keys: N calls at once, records of one key one after the other, and a key in trouble blocks only itself.

Lanes, tracker and failures have one dispatcher at a time, whoever holds the baton: the worker's coroutine, which takes in what the
reader offers, gives jobs to idle runners and hears from them by mailbox; or a runner whose call is over. So that one begins
its next call without a hand-over to another thread and back.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from streamkit.engine.delivery.call import Caller, Result
from streamkit.engine.delivery.failures import Failures, Trouble, as_error
from streamkit.engine.delivery.intake import Intake
from streamkit.engine.delivery.lanes import Job, Lane, Lanes
from streamkit.engine.delivery.life import Life
from streamkit.engine.delivery.messages import Progress, RunningCall
from streamkit.engine.delivery.pace import Pace
from streamkit.engine.delivery.runner import Aside, Awaits, Report, Runner, Said
from streamkit.engine.delivery.sorting import Sorting
from streamkit.engine.delivery.tracker import Item, Tracker, batch_of
from streamkit.engine.runtime import Lock, Mailbox, Promise
from streamkit.model import Partition, Position
from streamkit.outcome import Reject, Retry, Stop

__all__ = ["Keyed"]

TELL_RECORDS = 100
"""The reader is told of so many finished records at once, unless too few are left: waking it costs a system call."""
BEHIND_RECORDS = 200
"""So many records of one parked key are put aside at once."""
LOOK_AGAIN_SECONDS = 0.05
"""How often the validity of the lease is looked at once it has run out."""


class Keyed:
    """`Delivery` of one assignment with `ordering=key`."""

    def __init__(self, life: Life, caller: Caller, intake: Intake, failures: Failures) -> None:
        self._life = life
        self._caller = caller
        self._intake = intake
        self._failures = failures
        self._baton = Lock()
        """Guards all that follows but the mailbox; held for a moment, never over a wait."""
        self._lanes = Lanes()
        self._tracker = Tracker(intake.progress)
        self._reports: Mailbox[Report | Said | Awaits | Aside] = Mailbox(life.signal)
        self._runners: list[Runner] = []
        self._idle: list[Runner] = []
        self._running: dict[Runner, None] = {}
        """In the order of their calls' beginning."""
        self._troubles: dict[Lane, Trouble] = {}
        self._hunts: dict[Lane, int] = {}
        """How many records at the head of a lane hold a bad one (BISECT)."""
        self._asides = 0
        """Records are being put aside: so many writes are under way."""
        self._awaited: set[Position] = set()
        """Somebody waits until these are saved."""
        self._waiting: dict[Runner, int] = {}
        """Calls that wait so, and for the record with which index."""
        self._is_over = False
        self._freed = 0
        """So many records were finished since the reader was told."""
        self._sorting = Sorting(intake, self._lanes, self._tracker, life.events.caught_up, failures.parking, self._put_behind)
        self._pace = Pace(life.limits, self._lanes, by_record=caller.by == "record")

    @property
    def resting_records(self) -> int:
        """Records that wait for the retry of their key: they keep nobody else from being read and called."""
        return self._lanes.resting_records

    @property
    def goes_on(self) -> bool:
        """Whether something is called or could be, whatever has halted."""
        return bool(self._running) or self._lanes.waiting_records > 0 or self._sorting.has_more

    @property
    def is_careful(self) -> bool:
        return False

    def snapshot(self) -> Progress:
        """What may be checkpointed now: the safe position."""
        return self._intake.progress

    def calls(self) -> Sequence[RunningCall]:
        """The calls that run now. From any thread."""
        return [call for runner in list(self._runners) if (call := runner.call()) is not None]

    # -- the dispatcher -------------------------------------------------------------------------------------------

    async def run(self) -> tuple[Partition, ...] | None:
        """Until the assignment ends and no call runs. The children if the partition has ended, else None."""
        life = self._life
        try:
            while life.ending is None:
                with self._baton:
                    if self._sorting.end is not None and not self._lanes:
                        return self._sorting.end.children
                    again = self._dispatch()
                await self._pause(again)
                with self._baton:
                    self._hear()
                    self._sorting.take_in()
            while self._is_busy():
                await self._pause(None)
                with self._baton:
                    self._hear()
            return None
        finally:
            with self._baton:
                self._is_over = True
            for runner in self._runners:
                runner.stop()

    async def _pause(self, seconds: float | None) -> None:
        """Until there is something to look at. The user's loop always gets its turn."""
        if self._reports.items or (self._life.ending is None and self._sorting.has_more):
            await self._life.carrier.give_way()
        else:
            await self._life.signal.wait(seconds)

    def _is_busy(self) -> bool:
        """Whether a call or a write has to be waited for. A runner that is about to give itself a job has the baton meanwhile."""
        with self._baton:
            return bool(self._running) or (self._asides > 0 and not self._life.context.lost)

    def _take_turn(self, report: Report) -> None:
        """On a runner's carrier, when its call is over: it does our work at once, and most often gives itself the next job. So calls
        that have ended together do not begin together. If somebody is at it, the worker is woken: they may have looked already."""
        self._reports.items.append(report)
        if not self._baton.acquire(blocking=False):
            self._life.signal.set()
            return
        try:
            if not self._is_over:
                self._hear()
                if self._life.ending is not None or self._dispatch() is not None or self._sorting.end is not None:
                    self._life.signal.set()
        finally:
            self._baton.release()

    def _dispatch(self) -> float | None:
        """Give jobs to whoever is idle. In how many seconds to look again, or None: when something happens."""
        life, lanes = self._life, self._lanes
        now = life.runtime.monotonic()
        for lane in lanes.wake_due(now, self._failures.parking.heard()):
            self._put_behind(lane)
        if lanes.waiting_records:
            if now >= life.valid_until or life.turn.keeps_out(life):
                return LOOK_AGAIN_SECONDS
            if (left := self._pace.patience(now, at_end=self._sorting.end is not None)) > 0:
                return left if lanes.next_due is None else min(left, max(0.0, lanes.next_due - now))
        free = life.limits.concurrency - len(self._running)
        while lanes.waiting_records and (free > 0 or self._is_waited_for(free)) and (job := lanes.take(self._pace.share(free))) is not None:
            self._give(job, now)
            free -= 1
        return None if lanes.next_due is None else max(0.0, lanes.next_due - now)

    def _is_waited_for(self, free: int) -> bool:
        """All are busy, but calls that wait for their checkpoint wait for an older record, which nobody would ever begin: it gets one
        call beyond CONCURRENCY, and another only if that waits as well."""
        oldest = self._lanes.oldest
        if not self._waiting or oldest is None or oldest >= max(self._waiting.values()):
            return False
        return free == 0 or len(self._waiting) == len(self._running)

    def _give(self, job: Job, now: float) -> None:
        runner = self._idle.pop() if self._idle else self._new_runner()
        self._running[runner] = None
        if self._life.call_started is None:
            self._life.call_started = now
        trouble = self._troubles.get(job.lanes[0]) if len(job.lanes) == 1 else None
        runner.give(job, batch_of(job.items), trouble.attempt + 1 if trouble is not None else 1, now)

    def _new_runner(self) -> Runner:
        life = self._life
        name = f"worker-{life.partition}-{len(self._runners) + 1}"
        carrier = life.runtime.user(name) if self._caller.is_async else life.runtime.thread(name)
        runner = Runner(name, self._caller, life, carrier, self._reports.put, self._take_turn, lambda: self._intake.progress.position)
        self._runners.append(runner)
        runner.start()
        return runner

    # -- what was done --------------------------------------------------------------------------------------------

    def _hear(self) -> None:
        """What runners have reported, and what has come of records that were put aside."""
        reports = self._reports.items
        while reports:
            report = reports.popleft()
            if isinstance(report, Report):
                self._called(report)
            elif isinstance(report, Said):
                if not self._life.context.lost:
                    self._done(report.items)
            elif isinstance(report, Awaits):
                self._awaited.add(report.position)
                if report.index is not None and report.runner.job is not None:
                    self._waiting[report.runner] = report.index
            else:
                self._written(report)
        self._advance()
        if self._freed >= TELL_RECORDS or (self._freed and self._lanes.waiting_records < self._life.limits.concurrency):
            self._freed = 0
            self._intake.tell_room()
        self._life.call_started = next((runner.began for runner in self._running), None)

    def _called(self, report: Report) -> None:
        """A call is over."""
        runner, result = report.runner, report.result
        if report.error is not None:
            raise report.error
        job, runner.job = runner.job, None
        del self._running[runner]
        self._waiting.pop(runner, None)
        self._idle.append(runner)
        assert job is not None
        took = self._life.runtime.monotonic() - runner.began
        self._life.count_call(took, result.failure)
        if self._life.context.lost:
            return  # what it has done counts no more
        self._pace.learn(result.count, took)
        self._done(job.items[: result.count])
        if result.count:
            self._failures.succeeded()
        unfinished = self._lanes.over(job)
        self._recover(job, unfinished)
        blamed = self._settle(job, unfinished, result) if unfinished else False
        if result.failure is not None and not blamed:
            self._failed_after_it_was_done(job, result)

    def _recover(self, job: Job, unfinished: Sequence[Lane]) -> None:
        """A lane in trouble is called alone: if its first record is done now, what fails next fails for the first time."""
        lane = job.lanes[0]
        if len(job.lanes) > 1 or not job.items[0].is_done:
            return
        if (trouble := self._troubles.pop(lane, None)) is not None:
            self._failures.passed(trouble)
        if (suspects := self._hunts.pop(lane, 0) - len(job)) > 0 and not unfinished:
            self._hunt(lane, suspects)  # those before were good, so it is among these

    def _done(self, items: Sequence[Item]) -> None:
        """These are done, in whatever order: their memory is free."""
        count = freed = 0
        for item in items:
            if (weight := self._tracker.mark(item)) is not None:
                count += 1
                freed += weight
        self._intake.free(count, freed)
        self._freed += count

    def _advance(self) -> None:
        """Tell how far everything is done."""
        if not self._tracker.advance():
            return
        progress = self._tracker.progress
        self._intake.advance(progress)
        self._sorting.look_whether_caught_up()
        if self._life.ending is not None:
            self._life.events.checkpoint_due()  # there may be no other time: a call that hangs holds up the last save of all
        if self._awaited and progress.position is not None and min(self._awaited) <= progress.position:
            self._awaited = {position for position in self._awaited if progress.position < position}
            self._life.events.checkpoint_due()

    # -- failures -------------------------------------------------------------------------------------------------

    def _settle(self, job: Job, unfinished: Sequence[Lane], result: Result) -> bool:
        """What becomes of the lanes of a call that has not done everything. Whether one of them has failed."""
        failed = self._at_fault(job, unfinished, result)
        for lane in unfinished:
            if lane not in failed:
                self._lanes.wake(lane)
        if len(failed) > 1:
            self._part(list(failed), result.failure)
        for lane in failed if len(failed) == 1 else ():
            culprits = [item for item in job.items if not item.is_done]
            if self._caller.by == "record" or result.is_named:
                del culprits[1:]
            self._fail(lane, culprits, result.failure)
        return bool(failed)

    def _failed_after_it_was_done(self, job: Job, result: Result) -> None:
        """The code has said by `context.checkpoint` that it was done with the record at which it failed. Nothing is called again, but the
        failure is told; `Stop` stops; and a record that is rejected by name goes to the policy, where that can put it aside."""
        failure = result.failure
        subject = batch_of([job.items[result.count]])
        is_rejected = isinstance(failure, Reject) and (result.is_named or self._caller.by == "record")
        passes = is_rejected and self._life.limits.on_failure != "halt"
        if not passes and not isinstance(failure, Stop):
            self._life.events.attempt_failed(as_error(failure), 1)
            return
        trouble = Trouble()
        verdict = self._failures.after(trouble, failure, subject)
        if verdict.do == "skip":
            self._life.events.skipped(verdict.failed)
        elif verdict.do == "put_aside":
            alone = [replace(one, alone=True) for one in verdict.failed]  # later ones of its key are called already, perhaps
            self._await(None, job.items, self._life.events.put_aside(alone))
        if verdict.do != "stop":
            self._failures.passed(trouble)

    def _at_fault(self, job: Job, unfinished: Sequence[Lane], result: Result) -> set[Lane]:
        """The lane of the record that failed; all of them if the code has not said which record it was."""
        if result.failure is None:
            return set()  # its end was in sight
        if self._caller.by == "batch" and not result.is_named:
            return set(unfinished)
        if job.items[result.count].is_done:
            return set()  # it has failed after it had said that it was done
        return {lane for lane in unfinished if lane.items[0] is job.items[result.count]}

    def _part(self, lanes: Sequence[Lane], failure: object) -> None:
        """A batch of several keys has failed as a whole: from now on each key alone, with attempts of its own."""
        if isinstance(failure, Stop):
            self._failures.after(Trouble(), failure, batch_of([lanes[0].items[0]]))
            return
        self._life.events.attempt_failed(as_error(failure), 1)
        for lane in lanes:
            lane.alone = True
        self._go_on(lanes, failure)

    def _go_on(self, lanes: Sequence[Lane], failure: object) -> None:
        """No attempt is used up; but what the code has asked for is waited for."""
        for lane in lanes:
            self._rest(lane, Trouble(), (failure.after if isinstance(failure, Retry) else None) or 0.0)

    def _rest(self, lane: Lane, trouble: Trouble, seconds: float) -> None:
        trouble.retry_at = self._life.runtime.monotonic() + seconds
        self._lanes.rest(lane, trouble.retry_at)

    def _fail(self, lane: Lane, culprits: Sequence[Item], failure: object) -> None:
        """One key has failed by itself: it waits for its retry, or its records are put aside. All others go on."""
        if len(culprits) > 1 and self._life.limits.bisect and not isinstance(failure, Stop):
            self._life.events.attempt_failed(as_error(failure), 1)
            self._hunt(lane, len(culprits))
            self._go_on([lane], failure)
            return
        trouble = self._troubles.setdefault(lane, Trouble())
        verdict = self._failures.after(trouble, failure, batch_of(culprits))
        lane.alone = True
        if self._caller.by == "record":
            lane.limit = 1  # a record that is tried again is tried alone: those behind it are first attempts
        if verdict.do in ("retry", "halt"):
            self._rest(lane, trouble, verdict.wait_seconds)
        elif verdict.do == "skip":
            self._life.events.skipped(verdict.failed)
            self._put_aside(lane, culprits)
        elif verdict.do == "put_aside":
            self._await(lane, culprits, self._life.events.put_aside(verdict.failed))

    def _await(self, lane: Lane | None, items: Sequence[Item], written: Promise[int]) -> None:
        """Hear when these have been put aside."""
        self._asides += 1
        written.on_done(lambda: self._reports.put(Aside(lane, items, written)))

    def _put_behind(self, lane: Lane) -> None:
        """A lane that rests, of a parked key: its records go to the dead letters, behind those before them."""
        if self._life.ending is None:  # else they come again
            items = lane.head(BEHIND_RECORDS)
            records = self._failures.behind(self._troubles.get(lane) or Trouble(), [item.record for item in items])
            self._await(lane, items, self._life.events.put_behind(records))

    def _hunt(self, lane: Lane, suspects: int) -> None:
        """One of so many records at the head is bad: try the first half of them."""
        self._hunts[lane] = suspects
        lane.alone, lane.limit = True, max(1, suspects // 2)

    def _written(self, aside: Aside) -> None:
        """The dead letters are written, or cannot be: then the partition halts, and the record is tried again later."""
        self._asides -= 1
        if self._life.context.lost:
            return
        lane, items = aside.lane, aside.items
        try:
            count = aside.written.result()
        except Exception as error:
            if lane is None:  # it was done by its own word, and cannot be held up any more
                self._life.events.hook_failed("putting aside a record that was checkpointed before", error)
                return
            trouble = self._troubles.setdefault(lane, Trouble())
            self._rest(lane, trouble, self._failures.halt_behind(trouble, batch_of(items), error).wait_seconds)
        else:
            if lane is None:
                return
            if count < len(items):
                self._failures.parking.forget(items[count].record)
            self._put_aside(lane, items[:count])

    def _put_aside(self, lane: Lane, items: Sequence[Item]) -> None:
        """They can be found again elsewhere, so they are done. What is behind them goes on."""
        if items:
            self._done(items)
            if (trouble := self._troubles.pop(lane, None)) is not None:
                self._failures.passed(trouble)
            self._hunts.pop(lane, None)
        lane.alone, lane.limit = False, None
        if not self._lanes.shed(lane):
            return
        if lane.key is not None and lane.key in self._failures.parking.heard():
            self._put_behind(lane)
        else:
            self._lanes.wake(lane)
