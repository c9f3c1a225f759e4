"""The runtime of a real process: a thread each for control, adapters' I/O and the user's loop, and one for what may block."""

from __future__ import annotations

import asyncio
import contextlib
import random
import threading
import time

from streamkit.engine.runtime.carriers import BlockingCalls, Carrier, Runtime
from streamkit.engine.runtime.loops import LoopCarrier
from streamkit.engine.runtime.threads import ThreadCalls, ThreadCarrier

__all__ = ["ThreadRuntime"]


class _LoopThread:
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


class ThreadRuntime(Runtime):
    """Production: a thread each for control, adapters' I/O and the user's loop, and one for each thing that may block."""

    def __init__(self, user_loop: asyncio.AbstractEventLoop | None = None) -> None:
        """`user_loop`: a loop that somebody else runs and that `async def` hooks shall run in; None: one of our own."""
        self._control = _LoopThread("control")
        self._io = _LoopThread("io")
        self.control = self._control.carrier
        self.io = self._io.carrier
        self._user_thread: _LoopThread | None = None
        self._user_loop = user_loop

    def monotonic(self) -> float:
        return time.monotonic()

    def unix_time(self) -> float:
        return time.time()

    def random(self) -> float:
        return random.random()

    def user(self, name: str) -> Carrier:
        if self._user_loop is None:
            self._user_thread = _LoopThread("user")
            self._user_loop = self._user_thread.loop
        return LoopCarrier(self._user_loop, ThreadCalls(name))

    def thread(self, name: str) -> Carrier:
        return ThreadCarrier(name)

    def blocking(self, name: str) -> BlockingCalls:
        return ThreadCalls(name)

    def stop(self) -> None:
        for thread in (self._user_thread, self._io, self._control):
            if thread is not None:
                thread.stop(1.0)
