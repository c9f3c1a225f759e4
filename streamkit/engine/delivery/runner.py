"""One of the N calls that run at once for a partition: its carrier, its context, and the jobs that it is given one by one.

A runner decides nothing. It calls, and reports to the delivery by key (`keyed.py`), which is the only one that knows lanes,
tracker and failures. `RunnerLink` is what stands behind `context.checkpoint` while a runner's call runs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from streamkit.engine.delivery.call import Caller, Result
from streamkit.engine.delivery.lanes import Job, Lane
from streamkit.engine.delivery.life import Life
from streamkit.engine.delivery.messages import RunningCall
from streamkit.engine.delivery.tracker import Item
from streamkit.engine.runtime import Carrier, Mailbox, Promise
from streamkit.errors import CheckpointPositionError, UnsupportedError
from streamkit.model import Batch, Position
from streamkit.processing import CheckpointFuture, CheckpointLink, Context, PreparedFuture

__all__ = ["Aside", "Awaits", "Report", "Runner", "RunnerContext", "Said"]


QUICK_SECONDS = 0.001


@dataclass(slots=True, eq=False)
class Report:
    """A runner's call is over. `error`: the runner itself is, and that was not foreseen."""

    runner: Runner
    result: Result
    error: BaseException | None = None


@dataclass(frozen=True, slots=True)
class Said:
    """The user's code has said by `context.checkpoint` that these are done, while their call still runs."""

    items: Sequence[Item]


@dataclass(frozen=True, slots=True)
class Awaits:
    """The user's code waits until this position is saved, while its call runs, or later."""

    runner: Runner
    position: Position
    index: int | None
    """Of its record; None if everything up to it is done already."""


@dataclass(frozen=True, slots=True)
class Aside:
    """What has come of records that were to be put aside."""

    lane: Lane | None
    """None: they were done before, by the word of the code."""
    items: Sequence[Item]
    written: Promise[int]
    """Resolved with how many of them were."""


class RunnerContext(Context):
    """What belongs to a call is a runner's own (`attempt`, `running`); everything else is looked up in the assignment's context,
    so that a loss or an end reaches all calls at once."""

    __slots__ = ("_main",)

    def __init__(self, main: Context, link: RunnerLink) -> None:
        self._main = main
        self._link = link
        self.attempt = 1
        self.running = None
        link.context = self

    def __getattr__(self, name: str) -> object:
        """Called for slots that were not filled here."""
        if name == "_main":  # of a copy that was not initialized
            raise AttributeError(name)
        return getattr(self._main, name)


class Runner:
    """Runs jobs on a carrier of its own: a thread for `def` code, a task of the user's loop for `async def` code."""

    def __init__(
        self,
        name: str,
        caller: Caller,
        life: Life,
        carrier: Carrier,
        report: Callable[[Report | Said | Awaits], None],
        finish: Callable[[Report], None],
        safe: Callable[[], Position | None],
    ) -> None:
        """`report`: from any thread. `finish`: what is told of a call that is over, on this runner's carrier."""
        self.name = name
        self.job: Job | None = None
        """What it has been given and has not reported yet. The delivery's."""
        self.began = 0.0
        """When it was given that (monotonic). The delivery's."""
        self.context = RunnerContext(life.context, RunnerLink(self, life.context._link, report, safe))
        self._caller = caller
        self._life = life
        self._runtime = life.runtime
        self._report = report
        self._finish = finish
        self.carrier = carrier
        self._inbox: Mailbox[tuple[Batch, int] | None] = Mailbox(carrier.signal())

    def start(self) -> None:
        """Begin, on its carrier. By the control thread, which is the one that may spawn onto a loop that was lent to us."""
        self._runtime.control.post(self._start)

    def _start(self) -> None:
        self.carrier.spawn(self.name, self._run(), self._over)

    def give(self, job: Job, batch: Batch, attempt: int, now: float) -> None:
        """The next call."""
        self.job, self.began = job, now
        self._inbox.put((batch, attempt))

    def call(self) -> RunningCall | None:
        """What runs here now. From any thread."""
        running = self.context.running
        return None if self.job is None or running is None else RunningCall(self.began, running.done, self.carrier.stack)

    def stop(self) -> None:
        """No job will follow."""
        self._inbox.put(None)

    async def _run(self) -> None:
        context = self.context
        while True:
            if not self._inbox.items:
                await self._inbox.signal.wait()
                continue
            given = self._inbox.items.popleft()
            if given is None:
                break
            result = Result(0)
            if not context.ending and self._runtime.monotonic() < self._life.valid_until:  # it may have been given long ago
                batch, context.attempt = given
                batch.delivered = self._runtime.unix_time()
                result = await self._caller.process(self.carrier, batch, context)
            is_quick = self._runtime.monotonic() - self.began < QUICK_SECONDS
            self._finish(Report(self, result))
            if is_quick:
                await self.carrier.give_way()  # it may not have waited at all: others of the loop want a turn
        self.carrier.release()

    def _over(self, error: BaseException | None) -> None:
        if error is not None:
            self._report(Report(self, Result(0), error))


class RunnerLink:
    """With order by key a checkpoint says «this record is done»; what is saved never passes the safe position."""

    context: Context

    def __init__(
        self, runner: Runner, link: CheckpointLink, report: Callable[[Report | Said | Awaits], None], safe: Callable[[], Position | None]
    ) -> None:
        self._runner = runner
        self._link = link
        self._report = report
        self._safe = safe

    def submit(self, position: Position | None, metadata: str) -> CheckpointFuture:
        """Raises `PartitionLostError`, CheckpointError for metadata that is too long, and `CheckpointPositionError` for a record
        that this call does not have and that is not known to be done."""
        items = self._own(position)
        safe = self._safe()
        if items:
            position = items[-1].record.position
        elif position is None:
            position = safe
        if not items and position is not None and (safe is None or safe < position):
            raise CheckpointPositionError(
                f"{self.context.partition}: position {position} is not a record of this call, and not everything up to it is done: "
                "with ordering=key a checkpoint says that one record is done, and only the call that has it may say so",
                position=position,
                low=safe,
                high=safe,
            )
        index = items[-1].index if items else None

        def on_wait() -> None:
            if position is not None:
                self._report(Awaits(self._runner, position, index))

        future = self._link.follow(position, metadata, on_wait)
        if items:
            self._report(Said(items))
        return future

    def _own(self, position: Position | None) -> Sequence[Item]:
        """What of the running call is said to be done; empty if it is not of this call."""
        job, running = self._runner.job, self.context.running
        if job is None or running is None:
            return ()
        if not running.by_record:
            return job.items if position is None else [item for item in job.items if item.record.position == position]
        # Those before the current record have returned: they are done, though the call has not been reported yet.
        index = min(running.done, len(job) - 1)  # asked from another thread, the last record may be done already
        while position is not None and index >= 0 and job.items[index].record.position != position:
            index -= 1
        return job.items[: index + 1]

    def follow(self, position: Position | None, metadata: str, on_wait: Callable[[], None]) -> CheckpointFuture:
        return self._link.follow(position, metadata, on_wait)

    def prepare(self, position: Position | None, state: bytes) -> PreparedFuture:
        raise UnsupportedError(
            "a prepared checkpoint needs one order for all records of its partition",
            setting="STREAMKIT_ORDERING",
            fix="set it to partition",
        )

    def remaining(self) -> float | None:
        return self._link.remaining()
