"""Who may call the user's code now: all, but for a while one alone, when it has to be known whose record kills the process.

One for each app. State is written on the control thread; workers ask and look. While one has the turn the others begin no
call and no hook, but not for long: then the note that says «alone» is taken back, and they go on. Used by `care.py` and `life.py`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Protocol

from streamkit.engine.runtime import Promise, Runtime
from streamkit.model import Partition

__all__ = ["ALONE_SECONDS", "Caller", "Turn"]

ALONE_SECONDS = 30.0
"""So long one may keep the others waiting."""


class Caller(Protocol):
    """Whoever calls the user's code, for one assignment."""

    call_started: float | None
    hook_started: float | None


class Turn:
    """Kept by the house."""

    def __init__(self, runtime: Runtime) -> None:
        self.unproven: set[Partition] = set()
        """Lost while a note of ours stood that could not be taken back: this process lives, so the note is no evidence. Control thread."""
        self._runtime = runtime
        self._callers: set[Caller] = set()
        self._holder: Caller | None = None
        self._queue: deque[tuple[Caller, Promise[None]]] = deque()
        self._over = runtime.control.signal()
        """Set when the turn is given back."""
        self._number = 0
        """How often it was taken."""

    def add(self, caller: Caller) -> None:
        """It will call. On the control thread."""
        self._callers.add(caller)

    def leave(self, caller: Caller) -> None:
        """It calls nothing any more. From any thread."""
        self._callers.discard(caller)
        self.release(caller)

    def keeps_out(self, caller: Caller) -> bool:
        """Whether it may not begin a call now. It says first that it begins and asks then, as the holder takes the turn and looks then."""
        return self._holder is not None and self._holder is not caller

    def is_quiet(self, caller: Caller) -> bool:
        """Whether nobody else's call or hook runs."""
        return not any(
            other is not caller and (other.call_started is not None or other.hook_started is not None) for other in list(self._callers)
        )

    def has_others(self, caller: Caller) -> bool:
        """Whether anybody else could call."""
        return any(other is not caller for other in list(self._callers))

    def ask(self, caller: Caller) -> Promise[None]:
        """Resolved when nobody else has the turn; from then on nobody else begins a call. From any thread."""
        promise: Promise[None] = Promise()
        self._runtime.control.post(self._ask, caller, promise)
        return promise

    def release(self, caller: Caller) -> None:
        """The others go on. It may not have had it yet. From any thread."""
        self._runtime.control.post(self._release, caller)

    def limit(self, caller: Caller, late: Callable[[], Promise[None]]) -> None:
        """If it still has the turn after a while `late` is called, and when that has come true the others go on. From any thread."""
        self._runtime.control.post(self._limit, caller, late)

    # -- on the control thread ------------------------------------------------------------------------------------

    def _ask(self, caller: Caller, promise: Promise[None]) -> None:
        if self._holder is None:
            self._holder = caller
            self._number += 1
        if self._holder is caller:
            promise.resolve(None)
        else:
            self._queue.append((caller, promise))

    def _release(self, caller: Caller) -> None:
        self._queue = deque(item for item in self._queue if item[0] is not caller)
        if self._holder is not caller:
            return
        self._holder = None
        self._over.set()
        if self._queue:
            self._ask(*self._queue.popleft())

    def _limit(self, caller: Caller, late: Callable[[], Promise[None]]) -> None:
        self._runtime.control.spawn("turn", self._wait(caller, late), lambda _: None)

    async def _wait(self, caller: Caller, late: Callable[[], Promise[None]]) -> None:
        mine, until = self._number, self._runtime.monotonic() + ALONE_SECONDS
        while self._holder is caller and self._number == mine and (left := until - self._runtime.monotonic()) > 0:
            await self._over.wait(left)
        if self._holder is caller and self._number == mine:
            late().on_done(lambda: self.release(caller))
