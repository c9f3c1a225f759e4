"""First contact: what an app needs is asked again for a while if it cannot be reached yet. Runs on the control thread.

A worker and its broker often start together, or the store is just being restarted; a process that ended at once would leave the waiting
to whoever starts it. What is wrong for good (a name, a right, a setting) ends the start at once all the same.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from streamkit.engine.delivery.dead_letter import DeadLetters
from streamkit.engine.discovery import Discovery
from streamkit.engine.parts import Parts
from streamkit.engine.runtime import Promise, Runtime, Signal
from streamkit.errors import BrokerError, StoreNotReadyError, StoreThrottledError, StoreUnavailableError, StreamkitError
from streamkit.model import Partition, Position

__all__ = ["NotStartedError", "Starting", "first_contact"]

T = TypeVar("T")

RETRY_SECONDS = 0.5
MAX_RETRY_SECONDS = 5.0
LOOK_SECONDS = 1.0


class NotStartedError(Exception):
    """Told to stop before everything had answered."""


class Starting:
    """Of one app; `seconds` for all its questions together, from now on. `signal` is set when `is_over` may have become true."""

    def __init__(
        self,
        runtime: Runtime,
        seconds: float,
        signal: Signal,
        is_over: Callable[[], bool],
        report: Callable[[str, BaseException], None],
    ) -> None:
        self._runtime = runtime
        self._until = runtime.monotonic() + seconds
        self._signal = signal
        self._is_over = is_over
        self._report = report

    async def reach(self, what: str, ask: Callable[[], Promise[T]]) -> T:
        """What `ask` answers. While it raises what may pass it is asked again, until START_TIMEOUT is over: then that is raised.

        Raises NotStartedError if the app is told to stop meanwhile: at once, also if a question is under way. What it opens is closed with
        the rest.
        """
        failures = 0
        while not self._is_over():
            try:
                return await self._answered(what, ask())
            except StreamkitError as error:
                if not _may_pass(error):
                    raise
                failures += 1
                if failures == 1 and self._left > 0:
                    self._report(f"cannot start yet, {what} is asked again for {self._left:.0f}s", error)
                delay = min(MAX_RETRY_SECONDS, RETRY_SECONDS * 2 ** min(failures - 1, 10)) * (0.5 + self._runtime.random() / 2)
                await self._signal.wait(max(0.0, min(delay, self._left)))
                if self._left <= 0 and not self._is_over():
                    raise
        raise NotStartedError(what)

    async def _answered(self, what: str, promise: Promise[T]) -> T:
        promise.on_done(self._signal.set)
        while not promise.done():
            if self._is_over():
                raise NotStartedError(what)
            await self._signal.wait(LOOK_SECONDS)
        if self._is_over():
            raise NotStartedError(what)
        return promise.result(0)

    @property
    def _left(self) -> float:
        return self._until - self._runtime.monotonic()


def _may_pass(error: StreamkitError) -> bool:
    """Whether the same question may be answered later without anybody's help."""
    if isinstance(error, BrokerError):
        return error.retryable
    return isinstance(error, StoreUnavailableError | StoreThrottledError | StoreNotReadyError)


async def first_contact(
    parts: Parts, runtime: Runtime, starting: Starting, discovery: Discovery, dead_letters: DeadLetters | None
) -> dict[Partition, Position | None]:
    """Open everything, and ask what there is. The newest position of each partition, if that is where to stop."""
    io, reach = runtime.io, starting.reach
    broker, store, target = parts.broker, parts.store_adapter, parts.dead_letter
    await reach("the broker", lambda: io.call("open-broker", broker.open()))
    if store is not None:
        await reach("the store", lambda: io.call("open-store", store.open()))
    if target is not None:
        await reach("the dead-letter target", lambda: io.call("open-dead-letter", target.open()))
    if dead_letters is not None:
        await reach("the dead-letter target", lambda: runtime.control.call("check-target", dead_letters.check()))
    await reach("the broker", lambda: runtime.control.call("first-discovery", discovery.refresh()))
    if parts.settings.stop.kind != "at_end":
        return {}
    known = list(discovery.known.values())
    return dict(zip(known, await reach("the broker", lambda: io.call("tips", broker.tips(known))), strict=True))
