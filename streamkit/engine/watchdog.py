"""Looks after what cannot look after itself: calls that do not return, and whoever keeps the engine or the user's loop from running.

`StuckCalls` and `Beat` decide, and know nothing but times. `Watchdog` carries them: one coroutine on the control thread,
started by the supervisor, looked at by the status page.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from streamkit.engine.delivery.messages import RunningCall
from streamkit.engine.runtime import Runtime, stack_of, stacks, this_thread
from streamkit.model import Partition
from streamkit.plugin import Observer

__all__ = ["Beat", "Stuck", "StuckCalls", "Watchdog", "Watched"]

TICK_SECONDS = 0.25
HELD_SECONDS = 3.0
"""Without leases: how long the interpreter or the user's loop may be held before it is told."""
MAX_SUSPECTS = 5
QUIET_SECONDS = 60.0
"""At most one such report in so long."""
UNSEEN = (
    "no call of a handler was running: look at the program's other threads, or whether the process was suspended "
    "or had no processor to run on"
)

K = TypeVar("K")


@dataclass(frozen=True, slots=True)
class Stuck:
    """A call that has got nowhere for longer than STUCK_AFTER."""

    since: float
    """When it began, or finished its last record; monotonic."""
    stack: str
    """Where it was when that was noticed."""


@dataclass(slots=True)
class _Seen:
    """The oldest call of one assignment as it was last looked at."""

    started: float
    done: int
    since: float


class StuckCalls(Generic[K]):
    """Which calls get nowhere; each is named once. A handler of records gets on with every record, not with every call."""

    def __init__(self, after_seconds: float) -> None:
        self._after = after_seconds
        self._seen: dict[K, _Seen] = {}
        self.stuck: dict[K, Stuck] = {}

    def look(self, running: Mapping[K, Sequence[RunningCall]], now: float) -> tuple[list[K], list[K]]:
        """Those found stuck now, and those that were stuck and go on."""
        oldest = {key: min(calls, key=lambda call: (call.started, call.done)) for key, calls in running.items() if calls}
        self._seen = {key: self._see(key, call, now) for key, call in oldest.items()}
        late = {key for key, seen in self._seen.items() if now - seen.since >= self._after}
        going_on = [key for key in self.stuck if key not in late]
        for key in going_on:
            del self.stuck[key]
        found = [key for key in late if key not in self.stuck]
        for key in found:
            self.stuck[key] = Stuck(self._seen[key].since, oldest[key].stack())
        return found, going_on

    def _see(self, key: K, call: RunningCall, now: float) -> _Seen:
        before = self._seen.get(key)
        if before is None or before.started != call.started:
            return _Seen(call.started, call.done, call.started)
        return before if before.done == call.done else _Seen(call.started, call.done, now)


class Beat:
    """Whether what should happen now happens late, told once in a while."""

    def __init__(self, limit_seconds: float) -> None:
        self._limit = limit_seconds
        self._told_at = float("-inf")

    def is_worth_telling(self, late_seconds: float, now: float) -> bool:
        """Whether it was held for too long, and nothing was said about it of late."""
        if late_seconds < self._limit or now - self._told_at < QUIET_SECONDS:
            return False
        self._told_at = now
        return True


class Watched(Protocol):
    """What the watchdog wants of an assignment."""

    @property
    def partition(self) -> Partition: ...
    @property
    def ending(self) -> object | None:
        """None while it is ours and goes on."""


W = TypeVar("W", bound=Watched)


class Watchdog(Generic[W]):
    """One for each app, on the control thread."""

    def __init__(
        self,
        runtime: Runtime,
        observer: Observer,
        running: Callable[[], Mapping[W, Sequence[RunningCall]]],
        give_up: Callable[[W, str], None],
        *,
        stuck_after_seconds: float,
        held_seconds: float = HELD_SECONDS,
    ) -> None:
        """`running`: the calls of what is assigned, and of what was lost while its code still runs. `give_up`: this one is stuck."""
        self.ticked_at: float | None = None
        """When the control thread was last seen at work; monotonic."""
        self.control_thread = 0
        self._runtime = runtime
        self._observer = observer
        self._running = running
        self._give_up = give_up
        self._calls: StuckCalls[W] = StuckCalls(stuck_after_seconds)
        self._after = stuck_after_seconds
        self._control = Beat(held_seconds)
        self._user = Beat(held_seconds)
        self._asked_at: float | None = None
        """Since when the user's loop owes an answer."""
        self._user_thread: int | None = None
        self._signal = runtime.control.signal()
        self._stopped = False

    # -- looked at by others --------------------------------------------------------------------------------------

    @property
    def stuck(self) -> Mapping[W, Stuck]:
        """What is stuck now. Another thread may look at it: it takes a copy."""
        return dict(self._calls.stuck)

    def silent_seconds(self) -> float:
        """For how long the control thread has not been seen at work; 0 before its first tick and after the last."""
        if self.ticked_at is None or self._stopped:
            return 0.0
        return max(0.0, self._runtime.monotonic() - self.ticked_at - TICK_SECONDS)

    def stop(self) -> None:
        """The app is over."""
        self._stopped = True
        self._signal.set()

    # -- on the control thread ------------------------------------------------------------------------------------

    def run(self) -> Coroutine[object, object, None]:
        """Until `stop`. Silence counts from the call of this, in case the control thread hangs before it begins."""
        self.ticked_at = self._runtime.monotonic()
        self.control_thread = this_thread()
        return self._run()

    async def _run(self) -> None:
        while not self._stopped:
            before = self.ticked_at = self._runtime.monotonic()
            await self._signal.wait(TICK_SECONDS)
            if not self._stopped:
                self.tick(before, self._runtime.monotonic())

    def tick(self, before: float, now: float) -> None:
        """Look once; the last look was to be followed by this one after TICK_SECONDS."""
        running = self._running()
        late = now - before - TICK_SECONDS
        if self._control.is_worth_telling(late, now):
            self._observer.on_blocked("the engine's control thread", late, _suspects(running, before + TICK_SECONDS))
        self._ask_user_loop(now)
        found, going_on = self._calls.look(running, now)
        for one in found:
            stuck = self._calls.stuck[one]
            self._observer.on_stuck(one.partition, now - stuck.since, stuck.stack)
            self._give_up(one, f"a call of the processor has got nowhere for {self._after:g}s")
        for one in going_on:
            if one.ending is None:
                self._observer.on_recovered(one.partition)

    def _ask_user_loop(self, now: float) -> None:
        """The user's loop has to answer before it is asked again."""
        if self._asked_at is None:
            self._asked_at = now  # before the question: the answer may come at once, from another thread
            if not self._runtime.ask_user_loop(self._answered):
                self._asked_at = None
        elif self._user.is_worth_telling(now - self._asked_at, now):
            late = now - self._asked_at
            where = stack_of(self._user_thread) or "\n".join(f"{name}:\n{stack}" for name, stack in stacks().items())
            self._observer.on_blocked("the loop of async def handlers", late, where)

    def _answered(self) -> None:
        """In the user's loop."""
        self._user_thread = this_thread()
        self._asked_at = None


def _suspects(running: Mapping[W, Sequence[RunningCall]], due: float) -> str:
    """Calls that ran when we should have: who holds the interpreter gives way only when it is over, so it is still near that place."""
    calls = [(one, call) for one, several in running.items() for call in several if call.started <= due]
    return "\n".join(f"{one.partition}:\n{call.stack()}" for one, call in calls[:MAX_SUSPECTS]) or UNSEEN
