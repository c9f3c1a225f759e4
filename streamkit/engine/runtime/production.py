"""The runtime of a real process: a thread each for control, adapters' I/O and the user's loop, and one for what may block."""

from __future__ import annotations

import asyncio
import contextlib
import random
import threading
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass

from streamkit.engine.runtime.carriers import BlockingCalls, Carrier, Runtime
from streamkit.engine.runtime.loops import LoopCarrier
from streamkit.engine.runtime.primitives import OnEnd, Promise, Task
from streamkit.engine.runtime.threads import ThreadCalls, ThreadCarrier

__all__ = ["LoopThread", "ThreadRuntime"]

VACATE_SECONDS = 1.0


def _now() -> float:
    """Seconds that only rise, also while the machine sleeps: a lease runs out meanwhile. `time.monotonic` stands still then on Linux."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()


class LoopThread:
    """An asyncio loop in a daemon thread of its own."""

    def __init__(self, name: str) -> None:
        self.loop = asyncio.new_event_loop()
        self.carrier = LoopCarrier(self.loop, ThreadCalls(name))
        self._thread = threading.Thread(target=self._run, name=f"streamkit-{name}", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        try:
            self.loop.run_forever()
        finally:
            tasks = asyncio.all_tasks(self.loop)
            for task in tasks:
                task.cancel()
            if tasks:
                self.loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
            self.loop.run_until_complete(self.loop.shutdown_asyncgens())
            self.loop.close()

    def stop(self, timeout: float) -> None:
        with contextlib.suppress(RuntimeError):  # closed already
            self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(timeout)


@dataclass(frozen=True, slots=True)
class _Lodger:
    """A task of ours in a loop that somebody else runs, and will go on to run."""

    task: Task
    over: Promise[None]
    calls: ThreadCalls


class _LentCarrier(LoopCarrier):
    """Remembers what it has begun: nobody ends the loop, so somebody has to end the tasks. Spawned to by the control thread alone."""

    def __init__(self, loop: asyncio.AbstractEventLoop, name: str, lodgers: list[_Lodger]) -> None:
        self._own_calls = ThreadCalls(name)
        super().__init__(loop, self._own_calls)
        self._lodgers = lodgers

    def spawn(self, name: str, coroutine: Coroutine[object, object, object], on_end: OnEnd) -> Task:
        over: Promise[None] = Promise()

        def ended(error: BaseException | None) -> None:
            on_end(error)
            over.resolve(None)

        task = super().spawn(name, coroutine, ended)
        self._lodgers[:] = [one for one in self._lodgers if not one.over.done()]
        self._lodgers.append(_Lodger(task, over, self._own_calls))
        return task


class ThreadRuntime(Runtime):
    """Production: a thread each for control, adapters' I/O and the user's loop, and one for each thing that may block."""

    def __init__(self, user_loop: asyncio.AbstractEventLoop | None = None) -> None:
        """`user_loop`: a loop that somebody else runs and that `async def` hooks shall run in; None: one of our own.

        Such a loop is for one app: `vacate` ends all that it has begun there.
        """
        self._control = LoopThread("control")
        self._io = LoopThread("io")
        self._chance = random.SystemRandom()  # the user's code may seed the one that all share
        self.control = self._control.carrier
        self.io = self._io.carrier
        self._user_thread: LoopThread | None = None
        self._lent_loop = user_loop
        self._lodgers: list[_Lodger] = []

    def monotonic(self) -> float:
        return _now()

    def unix_time(self) -> float:
        return time.time()

    def random(self) -> float:
        return self._chance.random()

    def user(self, name: str) -> Carrier:
        if self._lent_loop is not None:
            return _LentCarrier(self._lent_loop, name, self._lodgers)
        if self._user_thread is None:
            self._user_thread = LoopThread("user")
        return LoopCarrier(self._user_thread.loop, ThreadCalls(name))

    def thread(self, name: str) -> Carrier:
        return ThreadCarrier(name)

    def blocking(self, name: str) -> BlockingCalls:
        return ThreadCalls(name)

    def ask_user_loop(self, answer: Callable[[], None]) -> bool:
        loop = self._lent_loop or (self._user_thread.loop if self._user_thread is not None else None)
        if loop is None:
            return False
        with contextlib.suppress(RuntimeError):  # closed: nobody is kept waiting there
            loop.call_soon_threadsafe(answer)
        return True

    async def vacate(self) -> None:
        signal = self.control.signal()
        lodgers = [one for one in self._lodgers if not one.over.done()]
        for one in lodgers:
            one.task.cancel()
            one.over.on_done(signal.set)
        until = self.monotonic() + VACATE_SECONDS
        while not all(one.over.done() for one in lodgers) and (left := until - self.monotonic()) > 0:
            await signal.wait(left)
        for one in lodgers:
            one.calls.let_go()  # cancelled code does not release its carrier

    def stop(self) -> None:
        for thread in (self._user_thread, self._io, self._control):
            if thread is not None:
                thread.stop(1.0)
