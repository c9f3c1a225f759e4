"""What carries the engine: clock, randomness, and the threads and loops on which its coroutines run.

The only file of the engine that may import threading, time, random or asyncio. The engine's parts are coroutines that wait
only for the primitives below. A *carrier* runs them: a loop carrier as tasks of an asyncio loop; a thread carrier in a thread of
its own, where every wait blocks that thread and the coroutine never suspends. So the same code runs on threads in
production and, with every carrier on one virtual loop, in a simulation.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import threading
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Generator
from concurrent.futures import Future, InvalidStateError
from typing import Generic, TypeVar

__all__ = ["Carrier", "LoopCarrier", "Mailbox", "Promise", "Runtime", "Signal", "Task", "ThreadRuntime", "is_being_stopped", "taking_turns"]

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


class Carrier(ABC):
    """Runs coroutines of the engine."""

    @abstractmethod
    def signal(self) -> Signal:
        """A signal that a coroutine on this carrier may wait for."""

    @abstractmethod
    def spawn(self, name: str, coroutine: Coroutine[object, object, object], on_end: OnEnd) -> Task:
        """Run it; `on_end` gets its error, or None, whatever happens."""

    @abstractmethod
    def post(self, function: Callable[..., None], *args: object) -> None:
        """Call it soon, from any thread, in the order of the posts. Only on loop carriers."""

    @abstractmethod
    def run_here(self, coroutine: Coroutine[object, object, object]) -> None:
        """Run a coroutine to its end inside the one that runs now. Only on thread carriers, where waits block."""

    def call(self, name: str, coroutine: Coroutine[object, object, T]) -> Promise[T]:
        """Run a coroutine here on behalf of another carrier; its result comes as a promise."""
        promise: Promise[T] = Promise()

        async def body() -> None:
            promise.resolve(await coroutine)

        def ended(error: BaseException | None) -> None:
            coroutine.close()  # it may never have begun
            if error is not None:
                promise.fail(error)

        self.spawn(name, body(), ended)
        return promise

    @abstractmethod
    async def wait(self, promise: Promise[T]) -> T:
        """Wait for a promise on this carrier."""

    @abstractmethod
    async def give_way(self) -> None:
        """Let others on the same loop have a turn; nothing to do on a thread."""

    @abstractmethod
    async def call_def(self, function: Callable[..., T], *args: object) -> T:
        """Call a user's `def` function: in place on a thread, in one helper thread on a loop."""

    @abstractmethod
    async def call_async(self, function: Callable[..., Awaitable[T]], *args: object) -> T:
        """Call a user's `async def` function. Only on loop carriers."""

    @abstractmethod
    def release(self) -> None:
        """Nothing more will be called here."""


class Runtime(ABC):
    """Clock, randomness and carriers for one process (or one simulation)."""

    control: Carrier
    """Decides; never blocks, never runs foreign code but observers."""
    io: Carrier
    """Brokers' and stores' own coroutines."""

    @abstractmethod
    def monotonic(self) -> float: ...

    @abstractmethod
    def unix_time(self) -> float: ...

    @abstractmethod
    def random(self) -> float:
        """In [0, 1)."""

    @abstractmethod
    def user(self, name: str) -> Carrier:
        """The loop of `async def` hooks, for one assignment: its `def` hooks share a thread beside it."""

    @abstractmethod
    def thread(self, name: str) -> Carrier:
        """A carrier for one coroutine that may block: a new thread."""

    @abstractmethod
    def blocking(self, name: str) -> BlockingCalls:
        """One thread for one adapter's blocking calls, started with the first call."""

    @abstractmethod
    def stop(self) -> None:
        """End loops and threads. Those that hang in foreign code are daemons and end with the process."""


class BlockingCalls(ABC):
    """Runs blocking calls one after the other, away from the loops."""

    @abstractmethod
    async def call(self, function: Callable[..., T], *args: object) -> T: ...

    @abstractmethod
    def stop(self) -> None: ...


# -- threads ----------------------------------------------------------------------------------------------------------


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


class _ThreadCarrier(Carrier):
    def __init__(self, name: str) -> None:
        self._name = name

    def signal(self) -> Signal:
        return _ThreadSignal()

    def spawn(self, name: str, coroutine: Coroutine[object, object, object], on_end: OnEnd) -> Task:
        def body() -> None:
            error: BaseException | None = None
            try:
                _drive(coroutine)
            except BaseException as caught:
                error = caught
            on_end(error)

        threading.Thread(target=body, name=f"streamkit-{name}", daemon=True).start()
        return _Nothing()

    def post(self, function: Callable[..., None], *args: object) -> None:
        raise RuntimeError(f"{self._name}: nothing can be posted to a thread carrier")

    def run_here(self, coroutine: Coroutine[object, object, object]) -> None:
        _drive(coroutine)

    async def wait(self, promise: Promise[T]) -> T:
        return promise.result()

    async def give_way(self) -> None:
        return None

    async def call_def(self, function: Callable[..., T], *args: object) -> T:
        return function(*args)

    async def call_async(self, function: Callable[..., Awaitable[T]], *args: object) -> T:
        raise RuntimeError(f"{self._name}: a coroutine function was called on a thread carrier")

    def release(self) -> None:
        """The thread ends with its coroutine."""


def _drive(coroutine: Coroutine[object, object, object]) -> None:
    """Run a coroutine whose waits block: it must reach its end in one step."""
    try:
        coroutine.send(None)
    except StopIteration:
        return
    coroutine.close()
    raise RuntimeError(f"{coroutine!r} suspended on a thread: something on it awaits an asyncio object")


class _ThreadCalls(BlockingCalls):
    def __init__(self, name: str) -> None:
        self._name = name
        self._signal = _ThreadSignal()
        self._jobs: deque[Callable[[], None] | None] = deque()
        self._thread: threading.Thread | None = None

    async def call(self, function: Callable[..., T], *args: object) -> T:
        promise: Promise[T] = Promise()

        def job() -> None:
            try:
                promise.resolve(function(*args))
            except BaseException as error:
                promise.fail(error)

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

    def stop(self) -> None:
        if self._thread is not None:
            self._jobs.append(None)
            self._signal.set()
            self._thread.join(1.0)
            self._thread = None


# -- loops ------------------------------------------------------------------------------------------------------------


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


class _LoopThread:
    """An asyncio loop in a daemon thread of its own."""

    def __init__(self, name: str) -> None:
        self.loop = asyncio.new_event_loop()
        self.carrier = LoopCarrier(self.loop, _ThreadCalls(name))
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
        return LoopCarrier(self._user_loop, _ThreadCalls(name))

    def thread(self, name: str) -> Carrier:
        return _ThreadCarrier(name)

    def blocking(self, name: str) -> BlockingCalls:
        return _ThreadCalls(name)

    def stop(self) -> None:
        for thread in (self._user_thread, self._io, self._control):
            if thread is not None:
                thread.stop(1.0)
