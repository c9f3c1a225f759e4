"""Threads: a carrier whose waits block, and one thread for an adapter's blocking calls. All are daemons, joined by nobody at exit."""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from typing import TypeVar

from streamkit.engine.runtime.carriers import BlockingCalls, Carrier
from streamkit.engine.runtime.primitives import OnEnd, Promise, Signal, Task
from streamkit.engine.runtime.stacks import stack_of, this_thread

__all__ = ["ThreadCalls", "ThreadCarrier", "drive"]

T = TypeVar("T")


class _ThreadSignal(Signal):
    """A lock used as a binary semaphore: the cheapest wake-up that CPython has (an Event allocates a lock for each wait)."""

    __slots__ = ("_lock",)

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lock.acquire()

    def set(self) -> None:
        with contextlib.suppress(RuntimeError):  # already set
            self._lock.release()

    async def wait(self, timeout: float | None = None) -> None:
        self._lock.acquire(timeout=-1 if timeout is None else max(0.0, timeout))


class _Nothing(Task):
    def cancel(self) -> None:
        """A thread cannot be cancelled from outside; its coroutine watches its own flags."""


class ThreadCarrier(Carrier):
    def __init__(self, name: str) -> None:
        self._name = name
        self._ident: int | None = None

    def signal(self) -> Signal:
        return _ThreadSignal()

    def spawn(self, name: str, coroutine: Coroutine[object, object, object], on_end: OnEnd) -> Task:
        def body() -> None:
            error: BaseException | None = None
            self._ident = this_thread()
            try:
                drive(coroutine)
            except BaseException as caught:
                error = caught
            on_end(error)

        threading.Thread(target=body, name=f"streamkit-{name}", daemon=True).start()
        return _Nothing()

    def post(self, function: Callable[..., None], *args: object) -> None:
        raise RuntimeError(f"{self._name}: nothing can be posted to a thread carrier")

    def run_here(self, coroutine: Coroutine[object, object, object]) -> None:
        drive(coroutine)

    async def wait(self, promise: Promise[T]) -> T:
        return promise.result()

    async def give_way(self) -> None:
        return None

    async def call_def(self, function: Callable[..., T], *args: object) -> T:
        return function(*args)

    async def call_async(self, function: Callable[..., Awaitable[T]], *args: object) -> T:
        raise RuntimeError(f"{self._name}: a coroutine function was called on a thread carrier")

    def stack(self) -> str:
        return stack_of(self._ident)

    def release(self) -> None:
        """The thread ends with its coroutine."""


def drive(coroutine: Coroutine[object, object, object]) -> None:
    """Run a coroutine whose waits block: it must reach its end in one step."""
    try:
        coroutine.send(None)
    except StopIteration:
        return
    coroutine.close()
    raise RuntimeError(f"{coroutine!r} suspended on a thread: something on it awaits an asyncio object")


class ThreadCalls(BlockingCalls):
    def __init__(self, name: str) -> None:
        self._name = name
        self._signal = _ThreadSignal()
        self._jobs: deque[Callable[[], None] | None] = deque()
        self._thread: threading.Thread | None = None
        self._is_calling = False

    async def call(self, function: Callable[..., T], *args: object) -> T:
        promise: Promise[T] = Promise()

        def job() -> None:
            self._is_calling = True
            try:
                result = function(*args)
            except BaseException as error:
                self._is_calling = False
                promise.fail(error)
            else:
                self._is_calling = False
                promise.resolve(result)

        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name=f"streamkit-{self._name}", daemon=True)
            self._thread.start()
        self._jobs.append(job)
        self._signal.set()
        return await promise

    def _run(self) -> None:
        while True:
            while not self._jobs:
                self._signal._lock.acquire()
            job = self._jobs.popleft()
            if job is None:
                return
            job()

    def stack(self) -> str:
        thread = self._thread
        return stack_of(thread.ident) if thread is not None and self._is_calling else ""

    def stop(self) -> None:
        if (thread := self.let_go()) is not None:
            thread.join(1.0)

    def let_go(self) -> threading.Thread | None:
        """Let the thread end when its call returns, without waiting for it."""
        thread, self._thread = self._thread, None
        if thread is not None:
            self._jobs.append(None)
            self._signal.set()
        return thread
