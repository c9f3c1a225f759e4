"""When a processor's `flush` is called: for a checkpoint that is due, and before the end; and again, with back-off, when it failed."""

from __future__ import annotations

from streamkit.engine.delivery.call import Caller
from streamkit.engine.delivery.failures import Failures, Trouble
from streamkit.engine.delivery.intake import Intake
from streamkit.engine.delivery.life import Life
from streamkit.engine.delivery.messages import Progress
from streamkit.engine.delivery.retry import UNBOUNDED_SECONDS

__all__ = ["Flushing"]


class Flushing:
    """Of one assignment. `ask` is called by the control thread, the rest on the worker's carrier and never beside `process`."""

    def __init__(self, life: Life, caller: Caller, intake: Intake, failures: Failures) -> None:
        self.flushed = Progress(None, 0)
        """What the last successful `flush` made durable; only looked at for processors that have one."""
        self.asked = False
        """A checkpoint waits for it, or it has failed and is tried again."""
        self._life = life
        self._caller = caller
        self._intake = intake
        self._failures = failures
        self._trouble = Trouble()

    def ask(self) -> None:
        """Have it called before the next batch."""
        self.asked = True
        self._life.signal.set()

    async def attend(self) -> float | None:
        """Call it if it is asked for and due. In how many seconds to call this again, or None. Halts if it has failed for good."""
        return await self._attend(may_halt=True)

    async def attend_in_passing(self) -> float | None:
        """The same while something else is waited for: a flush that fails for good is only tried again."""
        return await self._attend(may_halt=False)

    async def _attend(self, *, may_halt: bool) -> float | None:
        if not self.asked:
            return None
        retry_at = self._trouble.retry_at
        if retry_at is not None and (left := retry_at - self._life.runtime.monotonic()) > 0:
            return left
        error = await self.flush()
        if error is None:
            self._failures.passed(self._trouble)
            return None
        self.asked = True
        limits = self._life.limits.retry
        if may_halt or not limits.exhausted(self._trouble.attempt + 1):
            verdict = self._failures.judge(self._trouble, error, "flush")
            if verdict.do != "retry":
                await self._failures.sit_out(self._trouble, verdict)
                return 0.0
            seconds = verdict.wait_seconds
        else:
            seconds = max(UNBOUNDED_SECONDS, limits.delay(limits.attempts, self._life.runtime.random()))
        self._trouble.retry_at = self._life.runtime.monotonic() + seconds
        return seconds

    async def flush(self) -> BaseException | None:
        """Call it; only what was finished before it may be checkpointed. What it raised, or None."""
        self.asked = False
        progress = self._intake.progress
        try:
            await self._life.hook(self._caller.flush(self._life.carrier, self._life.context))
        except Exception as error:
            self._life.events.hook_failed("flush", error)
            return error
        self.flushed = progress
        self._life.events.checkpoint_due()
        return None
