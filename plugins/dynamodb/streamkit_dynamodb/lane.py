"""A thread of the store's own beside the one that the engine keeps for it: a slow listing must not hold up renewals."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable
from typing import TypeVar

from streamkit.errors import StoreUnavailableError

__all__ = ["Lane"]

T = TypeVar("T")
_Job = Callable[[], None]


class Lane:
    """Blocking calls, one after the other. The thread begins with the first one; it is a daemon, so a call that hangs keeps no
    process alive."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._is_closing = False

    async def call(self, function: Callable[..., T], *args: object) -> T:
        """Run it on the thread. Whoever waits may be cancelled; the call is not. Raises StoreUnavailableError while it is
        being closed: nobody would end the thread that it began."""
        if self._is_closing:
            raise StoreUnavailableError("the table is being closed")
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
            self._thread.start()
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[T] = loop.create_future()

        def job() -> None:
            try:
                result = function(*args)
            except BaseException as error:
                _tell(loop, answer, lambda error=error: answer.set_exception(error))  # type: ignore[misc]
            else:
                _tell(loop, answer, lambda: answer.set_result(result))

        self._jobs.put(job)
        return await answer

    async def close(self) -> None:
        """End the thread, after what was asked of it."""
        if self._thread is not None:
            thread, self._thread = self._thread, None
            loop = asyncio.get_running_loop()
            ended: asyncio.Future[None] = loop.create_future()
            self._is_closing = True
            try:
                self._jobs.put(lambda: _tell(loop, ended, lambda: ended.set_result(None)))
                self._jobs.put(None)
                await ended
                thread.join()
            finally:
                self._is_closing = False

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            job()


def _tell(loop: asyncio.AbstractEventLoop, answer: asyncio.Future[T], tell: Callable[[], None]) -> None:
    def if_awaited() -> None:
        if not answer.done():
            tell()

    try:
        loop.call_soon_threadsafe(if_awaited)
    except RuntimeError:  # the loop is closed: nobody waits any more
        return
