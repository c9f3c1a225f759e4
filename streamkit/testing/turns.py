"""`def` code in a virtual runtime: a thread of its own that runs only while the loop stands still, and the other way round.

So a `def` handler may wait (`context.checkpoint().result()`) as it may in production, and still nothing ever runs beside
anything else: a run is as repeatable as with one thread. Used by `virtual.py` alone.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import TypeVar

from streamkit.engine.runtime import BlockingCalls, Promise, taking_turns

__all__ = ["Turns"]

T = TypeVar("T")


class Turns(BlockingCalls):
    """The `def` hooks of one assignment, one after the other. The thread begins with the first call."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._thread: threading.Thread | None = None
        self._job: Callable[[], None] | None = None
        self._wish: tuple[Promise[object], float | None] | None = None
        """What the code waits for; None: nothing, its call is over."""
        self._abandoned = False
        self._code_may_run = threading.Semaphore(0)
        self._loop_may_run = threading.Semaphore(0)

    async def call(self, function: Callable[..., T], *args: object) -> T:
        answer: Promise[T] = Promise()

        def job() -> None:
            try:
                answer.resolve(function(*args))
            except BaseException as error:
                answer.fail(error)

        self._job = job
        self._let_run()
        while self._wish is not None:
            try:
                await _wait(*self._wish)
            except asyncio.CancelledError:
                self.stop()
                raise
            self._let_run()
        return answer.result()

    def stop(self) -> None:
        """End the thread. Code that still waits for something gets a RuntimeError from where it waits."""
        self._abandoned = True
        self._job = None
        while self._wish is not None:
            self._let_run()
        if self._thread is not None and self._thread.is_alive():
            self._code_may_run.release()
            self._thread.join()

    def _let_run(self) -> None:
        """The code's turn: the loop stands still until it is over, or waits for something."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name=f"virtual-{self._name}", daemon=True)
            self._thread.start()
        self._code_may_run.release()
        self._loop_may_run.acquire()

    # -- in the thread --------------------------------------------------------------------------------------------

    def _run(self) -> None:
        taking_turns.wait = self._wait_for
        while True:
            self._code_may_run.acquire()
            job, self._job = self._job, None
            if job is None:
                return
            job()
            self._loop_may_run.release()

    def _wait_for(self, promise: Promise[object], timeout: float | None) -> None:
        """The loop's turn, until `promise` is there or virtual time has reached the timeout."""
        self._wish = (promise, timeout)
        if not self._abandoned:
            self._loop_may_run.release()
            self._code_may_run.acquire()
        self._wish = None
        if self._abandoned:
            raise RuntimeError("the virtual runtime has stopped")


async def _wait(promise: Promise[object], timeout: float | None) -> None:
    over = asyncio.get_running_loop().create_future()
    timer = None if timeout is None else over.get_loop().call_later(timeout, _set, over)
    promise.on_done(lambda: _set(over))
    try:
        await over
    finally:
        if timer is not None:
            timer.cancel()


def _set(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
