"""Loops: coroutines as tasks of an asyncio loop that somebody else runs."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Coroutine
from typing import TypeVar

from streamkit.engine.runtime.carriers import BlockingCalls, Carrier
from streamkit.engine.runtime.primitives import OnEnd, Promise, Signal, Task

__all__ = ["LoopCarrier"]

T = TypeVar("T")


class _LoopSignal(Signal):
    __slots__ = ("_flag", "_loop", "_waiter")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._flag = False
        self._waiter: asyncio.Future[None] | None = None

    def set(self) -> None:
        # The flag goes up before the waiter is looked for, and `wait` looks the other way round: no wake-up is lost.
        self._flag = True
        if self._waiter is not None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
                self._loop.call_soon_threadsafe(self._wake)

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def wait(self, timeout: float | None = None) -> None:
        self._waiter = self._loop.create_future()
        timer = None
        try:
            if not self._flag and (timeout is None or timeout > 0):
                if timeout is not None:
                    timer = self._loop.call_later(timeout, self._wake)
                await self._waiter
        finally:
            if timer is not None:
                timer.cancel()
            self._waiter = None
            self._flag = False


class _LoopTask(Task):
    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self.task: asyncio.Task[object] | None = None
        self._cancelled = False

    def cancel(self) -> None:
        self._cancelled = True
        with contextlib.suppress(RuntimeError):  # the loop is closed, and the task with it
            self._loop.call_soon_threadsafe(self._cancel)

    def _cancel(self) -> None:
        if self.task is not None:
            self.task.cancel()

    def start(self, name: str, coroutine: Coroutine[object, object, object], on_end: OnEnd) -> None:
        if self._cancelled:
            coroutine.close()
            on_end(asyncio.CancelledError())
            return
        self.task = self._loop.create_task(coroutine, name=name)

        def ended(task: asyncio.Task[object]) -> None:
            on_end(asyncio.CancelledError() if task.cancelled() else task.exception())

        self.task.add_done_callback(ended)


class LoopCarrier(Carrier):
    """Coroutines as tasks of one asyncio loop, which somebody else runs."""

    def __init__(self, loop: asyncio.AbstractEventLoop, calls: BlockingCalls) -> None:
        self.loop = loop
        self._calls = calls

    def signal(self) -> Signal:
        return _LoopSignal(self.loop)

    def spawn(self, name: str, coroutine: Coroutine[object, object, object], on_end: OnEnd) -> Task:
        task = _LoopTask(self.loop)
        self.loop.call_soon_threadsafe(task.start, name, coroutine, on_end)
        return task

    def post(self, function: Callable[..., None], *args: object) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody is left to be told
            self.loop.call_soon_threadsafe(function, *args)

    def run_here(self, coroutine: Coroutine[object, object, object]) -> None:
        coroutine.close()
        raise RuntimeError("a loop cannot be blocked: this reader must say `blocking = True`, or return what it has from poll")

    async def wait(self, promise: Promise[T]) -> T:
        return await promise

    async def give_way(self) -> None:
        await asyncio.sleep(0)

    async def call_def(self, function: Callable[..., T], *args: object) -> T:
        return await self._calls.call(function, *args)

    async def call_async(self, function: Callable[..., Awaitable[T]], *args: object) -> T:
        return await function(*args)

    def release(self) -> None:
        self._calls.stop()
