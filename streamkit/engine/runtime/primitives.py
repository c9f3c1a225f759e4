"""What the engine's coroutines wait for: signals, mailboxes, promises. Used from any thread."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Generator
from concurrent.futures import Future, InvalidStateError
from threading import Lock
from typing import Generic, TypeVar

__all__ = ["Lock", "Mailbox", "OnEnd", "Promise", "Signal", "Task", "is_being_stopped", "taking_turns"]

T = TypeVar("T")
OnEnd = Callable[[BaseException | None], None]


class Signal(ABC):
    """Wakes one waiting coroutine. Set from any thread; setting it twice before the wait is setting it once."""

    @abstractmethod
    def set(self) -> None: ...

    @abstractmethod
    async def wait(self, timeout: float | None = None) -> None:
        """Return when set, or after `timeout` seconds; the waiter looks for itself what has changed."""


class Promise(Generic[T]):
    """A result that another thread will bring, once."""

    __slots__ = ("_future",)

    def __init__(self) -> None:
        self._future: Future[T] = Future()

    def done(self) -> bool:
        return self._future.done()

    def resolve(self, value: T) -> None:
        """The first answer stands; later ones are dropped."""
        with contextlib.suppress(InvalidStateError):
            self._future.set_result(value)

    def fail(self, error: BaseException) -> None:
        """The first answer stands; later ones are dropped."""
        with contextlib.suppress(InvalidStateError):
            self._future.set_exception(error)

    def on_done(self, then: Callable[[], None]) -> None:
        """Call `then` when it is there, on the thread that brings it; at once if it is."""
        self._future.add_done_callback(lambda _: then())

    def result(self, timeout: float | None = None) -> T:
        """Block this thread until it is there; TimeoutError after `timeout` seconds; RuntimeError on a loop's thread."""
        if not self._future.done():
            if _on_a_loop():
                raise RuntimeError("waiting with .result() on a loop's own thread would block what it waits for; await it instead")
            if (wait := getattr(taking_turns, "wait", None)) is not None:
                wait(self, timeout)
                timeout = 0
        return self._future.result(timeout)

    def __await__(self) -> Generator[object, None, T]:
        # Not asyncio.wrap_future: a waiter that is cancelled would cancel the promise, and take it from the others.
        if not self._future.done():
            loop = asyncio.get_running_loop()
            waiter = loop.create_future()

            def wake() -> None:
                with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
                    loop.call_soon_threadsafe(_set, waiter)

            self.on_done(wake)
            yield from waiter
        return self._future.result()


taking_turns = threading.local()
"""`wait(promise, timeout)`: how a thread that takes turns with a virtual loop waits. Unset on every other thread."""


def _set(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)


def is_being_stopped() -> bool:
    """Whether the task that runs is cancelled from outside: a CancelledError is then the engine's, else the code's own."""
    if not _on_a_loop():
        return False
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _on_a_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


class Mailbox(Generic[T]):
    """A queue with one reader. `put` from any thread."""

    __slots__ = ("items", "signal")

    def __init__(self, signal: Signal) -> None:
        self.items: deque[T] = deque()
        self.signal = signal

    def put(self, item: T) -> None:
        self.items.append(item)
        self.signal.set()

    async def get(self, timeout: float | None = None) -> T | None:
        """The next item, or None: look again (after `timeout` seconds, or earlier if the signal was set for something else)."""
        if not self.items:
            await self.signal.wait(timeout)
        return self.items.popleft() if self.items else None


class Task(ABC):
    """A coroutine that runs."""

    @abstractmethod
    def cancel(self) -> None:
        """Stop it at its next wait. A thread cannot be stopped: there this does nothing."""
