"""What runs coroutines, without saying how: carriers, and the runtime that hands them out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Coroutine
from typing import TypeVar

from streamkit.engine.runtime.primitives import OnEnd, Promise, Signal, Task

__all__ = ["BlockingCalls", "Carrier", "Runtime"]

T = TypeVar("T")


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
        return self.begin(name, coroutine)[1]

    def begin(self, name: str, coroutine: Coroutine[object, object, T]) -> tuple[Task, Promise[T]]:
        """The same, with the task, so that it can be cancelled."""
        promise: Promise[T] = Promise()

        async def body() -> None:
            promise.resolve(await coroutine)

        def ended(error: BaseException | None) -> None:
            coroutine.close()  # it may never have begun
            if error is not None:
                promise.fail(error)

        return self.spawn(name, body(), ended), promise

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

    async def call_within(self, seconds: float, function: Callable[..., Awaitable[T]], *args: object) -> T:
        """The same, cancelled after `seconds`, with TimeoutError. What swallows the cancellation is waited for, and its result counts."""
        raise RuntimeError("a coroutine function was called on a carrier without a loop")

    def stack(self) -> str:
        """What runs here now, innermost frame last, as text; empty if that is not known. From any thread."""
        return ""

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

    def ask_user_loop(self, answer: Callable[[], None]) -> bool:
        """Have the user's loop call `answer` soon. False: no code of the user's runs in a loop of its own."""
        return False

    async def vacate(self) -> None:  # noqa: B027 - most runtimes were lent nothing
        """Cancel what of ours still runs in a loop that was lent to us, on the control carrier. Loops of our own end with `stop`."""

    @abstractmethod
    def stop(self) -> None:
        """End loops and threads. Those that hang in foreign code are daemons and end with the process."""


class BlockingCalls(ABC):
    """Runs blocking calls one after the other, away from the loops."""

    @abstractmethod
    async def call(self, function: Callable[..., T], *args: object) -> T: ...

    def stack(self) -> str:
        """Where the call is that runs now; empty if none does, or it is not known."""
        return ""

    @abstractmethod
    def stop(self) -> None: ...
