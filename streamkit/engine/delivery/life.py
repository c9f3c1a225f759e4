"""What the parts of one assignment's delivery share: where it runs, by which limits, whom it tells, and whether it ends.

One object for each worker. `end` is the control thread's; everything else is used on the worker's carrier, or only looked at.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Coroutine
from typing import Literal, TypeVar

from streamkit.engine.delivery.messages import Ending, Limits, WorkerEvents
from streamkit.engine.delivery.turn import Turn
from streamkit.engine.runtime import Carrier, Promise, Runtime
from streamkit.outcome import Outcome
from streamkit.processing import Context

__all__ = ["Life"]

T = TypeVar("T")

LOOK_AGAIN_SECONDS = 0.05


async def _nothing() -> float | None:
    return None


class Life:
    """From the claim to the last hook."""

    def __init__(
        self, context: Context, carrier: Carrier, runtime: Runtime, limits: Limits, events: WorkerEvents, turn: Turn | None = None
    ) -> None:
        """`turn`: that of the app; without one this is the only assignment."""
        self.partition = context.partition
        self.context = context
        self.carrier = carrier
        self.runtime = runtime
        self.limits = limits
        self.events = events
        self.turn = Turn(runtime) if turn is None else turn
        self.turn.add(self)
        self.signal = carrier.signal()
        """Set when there is something to look at: a batch, an end, a wish for a flush."""
        self.ending: Ending | None = None
        self.valid_until = math.inf
        """No call is begun at or after this (monotonic): the lease may have passed on. Moved by the control thread."""
        self.call_started: float | None = None
        """When the call of the user's code began that runs now (monotonic); once for each call, not for each record."""
        self.hook_started: float | None = None
        """The same of any other hook."""
        self.calls_made = 0
        self.calls_seconds = 0.0
        """Calls of `process` that have returned, and how long they took in all."""
        self.called: Callable[[float, Outcome | BaseException | None], None] | None = None
        """Told of each of those calls: how long it took, and what failed. None: nobody measures them."""
        self.meanwhile: Callable[[], Awaitable[float | None]] = _nothing
        """What goes on during a wait; answers in how many seconds it wants to be called again, or None."""

    def end(self, ending: Ending) -> None:
        """Begin no further call. A later ending may replace an earlier one: revoked by lost, never the other way round."""
        if self.ending is None or ending.kind != "revoked":
            self.ending = ending
        self.context.lost = self.context.lost or ending.kind != "revoked"
        self.context.ending = True
        self.signal.set()

    def ends_by(self, kind: Literal["revoked", "lost", "abandoned"]) -> bool:
        return self.ending is not None and self.ending.kind == kind

    def begin_call(self) -> bool:
        """Note the beginning of a call of `process`. False if none may be begun now."""
        now = self.runtime.monotonic()
        if now >= self.valid_until:
            return False
        self.call_started = now
        if self.turn.keeps_out(self):
            self.call_started = None
        return self.call_started is not None

    async def begin_call_later(self) -> bool:
        """The same, as soon as the control thread has renewed the lease, and nobody is called alone. False if the assignment ends."""
        while self.ending is None:
            if self.begin_call():
                return True
            await self.signal.wait(LOOK_AGAIN_SECONDS)
        return False

    def end_call(self, failure: Outcome | BaseException | None = None) -> None:
        """Note that it has returned."""
        if self.call_started is not None:
            self.count_call(self.runtime.monotonic() - self.call_started, failure)
            self.call_started = None

    def count_call(self, seconds: float, failure: Outcome | BaseException | None) -> None:
        """A call of `process` has returned."""
        self.calls_seconds += seconds
        self.calls_made += 1
        if self.called is not None:
            self.called(seconds, failure)

    async def hook(self, call: Coroutine[object, object, None]) -> None:
        """Call any other hook; raises what it raises."""
        self.hook_started = self.runtime.monotonic()
        had_to_wait = False
        try:
            while self.turn.keeps_out(self) and self.ending is None:
                self.hook_started, had_to_wait = None, True
                await self.signal.wait(LOOK_AGAIN_SECONDS)
                self.hook_started = self.runtime.monotonic()
            await call
        finally:
            self.hook_started = None
            if had_to_wait:  # what woke us meanwhile was for those who called this: the end of the assignment, above all
                self.signal.set()

    async def wait(self, seconds: float) -> None:
        """Wait, but not longer than the assignment lasts."""
        until = self.runtime.monotonic() + seconds
        while self.ending is None and (left := until - self.runtime.monotonic()) > 0:
            again = await self.meanwhile()
            await self.signal.wait(left if again is None else min(left, again))

    async def wait_for_end(self) -> None:
        """Wait until the assignment ends: nothing else is left to do."""
        while self.ending is None:
            again = await self.meanwhile()
            await self.signal.wait(again)

    async def arrives(self, promise: Promise[T]) -> bool:
        """Wait for what another carrier does; during a revoke too, but not after a loss: False then. Raises what it fails with."""
        promise.on_done(self.signal.set)
        while not promise.done():
            if self.context.lost:
                return False
            again = await self.meanwhile()
            if not promise.done():
                await self.signal.wait(again)
        await self.carrier.wait(promise)
        return True
