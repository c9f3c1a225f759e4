"""A runtime in virtual time: every carrier is one asyncio loop on one thread, whose clock jumps to the next timer.

The engine that runs here is the real one. The seed decides which of several coroutines that could go on does so first, as a
scheduler of threads would. `def` handlers take turns with the loop, one at a time. SDK clients cannot run here: they wait
for real time.
"""

from __future__ import annotations

import asyncio
import random
import selectors
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import TypeVar

from streamkit.engine.runtime import BlockingCalls, Carrier, LoopCarrier, Runtime
from streamkit.testing.turns import Turns

__all__ = ["Stalled", "VirtualLoop", "VirtualRuntime"]

T = TypeVar("T")
EPOCH = 1_750_000_000.0
"""Unix time at which virtual time begins."""
MAX_JITTER_SECONDS = 0.0005
"""By how much the seed may delay a wake-up from another carrier."""


class Stalled(RuntimeError):
    """Nothing is ready and no timer is set: what is waited for will never happen."""


class _NoFiles(selectors.BaseSelector):
    """Waits for nothing: instead of sleeping, it moves the clock."""

    def __init__(self, start: float) -> None:
        self.now = start
        self._keys: dict[object, selectors.SelectorKey] = {}

    def register(self, fileobj: object, events: int, data: object = None) -> selectors.SelectorKey:
        key = selectors.SelectorKey(fileobj, 0, events, data)  # type: ignore[arg-type]
        self._keys[fileobj] = key
        return key

    def unregister(self, fileobj: object) -> selectors.SelectorKey:
        return self._keys.pop(fileobj)

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise Stalled("nothing is ready and no timer is set")
        self.now += max(0.0, timeout)
        return []

    def get_map(self) -> Mapping[object, selectors.SelectorKey]:  # type: ignore[override]
        return self._keys


class VirtualLoop(asyncio.SelectorEventLoop):
    """An asyncio loop whose time is virtual."""

    def __init__(self, seed: int, start: float) -> None:
        self._files = _NoFiles(start)
        self.seed = random.Random(seed)
        super().__init__(self._files)

    def time(self) -> float:
        return self._files.now

    def _write_to_self(self) -> None:
        """No other thread exists that could have to wake this loop."""

    def call_soon_threadsafe(self, callback, *args, context=None):  # type: ignore[no-untyped-def,override]
        """In order, as on a real loop."""
        return self.call_soon(callback, *args, context=context)


class _InPlace(BlockingCalls):
    async def call(self, function: Callable[..., T], *args: object) -> T:
        return function(*args)

    def stop(self) -> None:
        """No thread was started."""


class _VirtualCarrier(LoopCarrier):
    def __init__(self, loop: VirtualLoop, name: str) -> None:
        super().__init__(loop, Turns(name))
        self._virtual = loop

    async def call_def(self, function: Callable[..., T], *args: object) -> T:
        # A turn of its own: others may run before it, as the seed wants, and virtual time may pass.
        await asyncio.sleep(self._virtual.seed.random() * MAX_JITTER_SECONDS)
        return await super().call_def(function, *args)

    async def give_way(self) -> None:
        await asyncio.sleep(self._virtual.seed.random() * MAX_JITTER_SECONDS)


class VirtualRuntime(Runtime):
    """Virtual time, one thing at a time, one seed."""

    def __init__(self, seed: int = 0, *, start: float = 0.0) -> None:
        """`start`: seconds that have passed already, for a second runtime that goes on after a first one."""
        self.loop = VirtualLoop(seed, start)
        self._carriers: list[Carrier] = []
        self.control: Carrier = self._carrier("control")
        self.io: Carrier = self._carrier("io")

    def _carrier(self, name: str) -> Carrier:
        carrier = _VirtualCarrier(self.loop, name)
        self._carriers.append(carrier)
        return carrier

    def monotonic(self) -> float:
        return self.loop.time()

    def unix_time(self) -> float:
        return EPOCH + self.loop.time()

    def random(self) -> float:
        return self.loop.seed.random()

    def user(self, name: str) -> Carrier:
        return self._carrier(name)

    def thread(self, name: str) -> Carrier:
        return self._carrier(name)

    def blocking(self, name: str) -> BlockingCalls:
        return _InPlace()

    def stop(self) -> None:
        """Cancel what still runs and close the loop."""
        if self.loop.is_closed():
            return
        for _ in range(10):  # again for those that others start while they end
            self.loop.run_until_complete(asyncio.sleep(0))  # what was spawned a moment ago becomes a task, and can be cancelled
            if not (tasks := asyncio.all_tasks(self.loop)):
                break
            for task in tasks:
                task.cancel()
            self.loop.run_until_complete(asyncio.wait(tasks, timeout=1.0))
        for carrier in self._carriers:
            carrier.release()
        self.loop.run_until_complete(self.loop.shutdown_asyncgens())
        self.loop.close()

    def run(self, work: Awaitable[T]) -> T:
        """Run the loop until `work` is done."""

        async def body() -> T:
            return await work

        coroutine: Coroutine[object, object, T] = body()
        return self.loop.run_until_complete(coroutine)
