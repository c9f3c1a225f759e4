"""One thread beside the loop, for what may block: a reader's calls, an adapter's blocking calls, the kit's own. Ends with the rule."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from queue import SimpleQueue
from typing import Any, TypeVar

__all__ = ["Aside", "drive"]

T = TypeVar("T")


class Aside:
    """Runs calls one after the other, in the order in which they were given. A daemon: what hangs in it holds nobody up at exit."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._jobs: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._thread: threading.Thread | None = None

    async def call(self, function: Callable[..., T], *args: object) -> T:
        """Call it there and wait for its result."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()

        def job() -> None:
            try:
                result = function(*args)
            except BaseException as error:
                _tell(loop, future, None, error)
            else:
                _tell(loop, future, result, None)

        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name=f"conformance-{self._name}", daemon=True)
            self._thread.start()
        self._jobs.put(job)
        return await future

    def end(self, timeout: float = 5.0) -> None:
        """Let the thread end when its last call has; do not wait longer than `timeout` seconds."""
        if self._thread is not None:
            self._jobs.put(None)
            self._thread.join(timeout)
            self._thread = None

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            job()


def _tell(loop: asyncio.AbstractEventLoop, future: asyncio.Future[T], result: T | None, error: BaseException | None) -> None:
    def tell() -> None:
        if future.cancelled():
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)  # type: ignore[arg-type]

    try:
        loop.call_soon_threadsafe(tell)
    except RuntimeError:
        """The rule has given up waiting, and its loop is closed."""


def drive(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine whose waits block. Raises AssertionError if it suspends: on a reader's thread there is no loop."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]
    coroutine.close()
    raise AssertionError(f"{coroutine!r} suspended: a reader with blocking = True has a thread without a loop, and must block instead")
