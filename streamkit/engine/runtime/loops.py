"""Loops: coroutines as tasks of an asyncio loop that somebody else runs."""

from __future__ import annotations

import asyncio
import contextlib
import traceback
import types
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
        if self._flag:
            return  # whoever set it has seen to the rest, and the waiter looks for what is new after it has woken
        # The flag goes up before the waiter is looked for, and `wait` looks the other way round: no wake-up is lost.
        self._flag = True
        if self._waiter is not None:
            # From its own thread the loop need not be woken, which costs a system call and the interpreter's lock.
            is_here = asyncio._get_running_loop() is self._loop
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
                (self._loop.call_soon if is_here else self._loop.call_soon_threadsafe)(self._wake)

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

    def stack(self) -> str:
        """Where it waits: the frames of the coroutines that await each other, innermost last. Empty while it runs."""
        lines: list[str] = []
        awaited = self.task.get_coro() if self.task is not None and not self.task.done() else None
        while isinstance(awaited, types.CoroutineType) and awaited.cr_frame is not None:
            lines += traceback.format_list(traceback.extract_stack(awaited.cr_frame, limit=1))
            awaited = awaited.cr_await
        return "".join(lines).rstrip()


class LoopCarrier(Carrier):
    """Coroutines as tasks of one asyncio loop, which somebody else runs."""

    def __init__(self, loop: asyncio.AbstractEventLoop, calls: BlockingCalls) -> None:
        self.loop = loop
        self._calls = calls
        self._last: _LoopTask | None = None
        """What was spawned last; a carrier of one assignment has only that."""

    def signal(self) -> Signal:
        return _LoopSignal(self.loop)

    def spawn(self, name: str, coroutine: Coroutine[object, object, object], on_end: OnEnd) -> Task:
        self._last = task = _LoopTask(self.loop)
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

    async def call_within(self, seconds: float, function: Callable[..., Awaitable[T]], *args: object) -> T:
        limit = asyncio.timeout(seconds)
        try:
            async with limit:
                return await function(*args)
        except TimeoutError as error:
            if limit.expired() and isinstance(error.__cause__, asyncio.CancelledError):
                raise TimeoutError(f"not done within {seconds:g}s, cancelled") from None
            raise  # the code's own

    def stack(self) -> str:
        return self._calls.stack() or (self._last.stack() if self._last is not None else "")

    def release(self) -> None:
        self._calls.stop()
