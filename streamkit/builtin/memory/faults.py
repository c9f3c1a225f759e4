"""Failures on request, for tests of whatever runs above the memory plugin. Says nothing unless asked to; adds nothing random.

log.faults.fail("poll", BrokerUnavailableError("gone for lunch"), times=3)
log.faults.fail("claim", StoreUnavailableError("no"), worker="b")        # one worker only
log.faults.fail("save_after_write", StoreUnavailableError("lost"))       # written, but the answer is lost
release = log.faults.hold("save"); ...; release()                        # a slow answer, without a clock
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Lock
from typing import Literal, get_args

__all__ = ["Faults", "Operation"]

Operation = Literal[
    "poll",
    "discover",
    "send",
    "list",
    "claim",
    "claim_after_write",
    "save",
    "save_after_write",
    "leases",
    "create",
    "create_after_write",
    "take",
    "take_after_write",
    "renew",
    "renew_after_write",
    "request_handover",
    "request_handover_after_write",
    "release",
    "release_after_write",
    "name_children",
    "name_children_after_write",
    "remove",
    "remove_after_write",
    "ask",
    "requests",
    "answered",
]
"""`…_after_write`: everything has been written, and the answer is lost or late."""


@dataclass(slots=True)
class _Fault:
    operation: Operation
    error: Exception
    times: int
    worker: str | None


@dataclass(slots=True, eq=False)
class _Hold:
    operation: Operation
    worker: str | None
    waiting: list[tuple[asyncio.AbstractEventLoop, asyncio.Future[None]]] = field(default_factory=list)


class Faults:
    """The failures that a `MemoryLog` has been asked for. Thread-safe."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._faults: list[_Fault] = []
        self._holds: list[_Hold] = []

    def fail(self, operation: Operation, error: Exception, times: int = 1, *, worker: str | None = None) -> None:
        """Let the next `times` calls of `operation` raise `error`; those of one worker only, if it is named.

        Each `strike` meets one fault at most, the oldest first. `save_after_write` strikes when everything has been written.
        """
        if operation not in get_args(Operation):
            raise ValueError(f"{operation!r} is none of {', '.join(get_args(Operation))}")
        with self._lock:
            self._faults.append(_Fault(operation, error, times, worker))

    def hold(self, operation: Operation, *, worker: str | None = None) -> Callable[[], None]:
        """Let calls of `operation` wait until the function that is returned here is called, from any thread."""
        hold = _Hold(operation, worker)
        with self._lock:
            self._holds.append(hold)

        def release() -> None:
            with self._lock:
                self._holds = [other for other in self._holds if other is not hold]
                waiting, hold.waiting = hold.waiting, []
            for loop, future in waiting:
                loop.call_soon_threadsafe(_wake, future)

        return release

    def clear(self) -> None:
        """Forget every failure that has not struck yet. Held calls stay held."""
        with self._lock:
            self._faults.clear()

    async def strike(self, operation: Operation, worker: str) -> None:
        """Called by the plugin at the start of each operation, and after its write: wait while held, then raise what was asked for."""
        while (future := self._wait(operation, worker)) is not None:
            await future
        if (error := self._take(operation, worker)) is not None:
            raise error

    def _wait(self, operation: Operation, worker: str) -> asyncio.Future[None] | None:
        with self._lock:
            for hold in self._holds:
                if hold.operation == operation and hold.worker in (None, worker):
                    loop = asyncio.get_running_loop()
                    hold.waiting.append((loop, future := loop.create_future()))
                    return future
        return None

    def _take(self, operation: Operation, worker: str) -> Exception | None:
        with self._lock:
            for fault in self._faults:
                if fault.operation == operation and fault.times > 0 and fault.worker in (None, worker):
                    fault.times -= 1
                    return fault.error
        return None


def _wake(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
