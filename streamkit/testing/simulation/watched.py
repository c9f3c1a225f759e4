"""The user's code in a simulated life: the same code, with mishaps around its calls, and the ledger told of each of them.

What happens to a call is decided by `trouble.py`. A worker that has died calls nothing any more, and its coroutines stay where they are.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import inspect
import types
from collections.abc import Awaitable, Callable, Coroutine, Generator, Mapping, Sequence
from typing import TypeVar, cast

from streamkit.engine.delivery.call import Code
from streamkit.engine.runtime import Promise
from streamkit.model import Batch, Position, Record
from streamkit.outcome import Outcome, Reject, Retry
from streamkit.processing import CheckpointFuture, Context, LostContext, PreparedFuture, Processor
from streamkit.testing.simulation.ledger import Ledger, main_of
from streamkit.testing.simulation.trouble import Mishap, Trouble

__all__ = ["Watched"]

T = TypeVar("T")
Hook = Callable[..., object]

HOOKS = ("initialize", "process", "flush", "partition_ended", "partition_revoked", "partition_lost", "close")
DAWDLE_SECONDS = 0.01
"""An `async def` call takes up to so long, so that others come between."""


class Watched:
    """One worker's code, from its start to its end or death."""

    def __init__(self, worker: str, ledger: Ledger, trouble: Trouble, chance: Callable[[], float], *, by_key: bool) -> None:
        self.dead = False
        self.worker = worker
        self.ledger = ledger
        self.trouble = trouble
        self.chance = chance
        self.by_key = by_key
        self.manual = self.flushes = self.reentrant = False
        self._contexts: dict[int, SimulatedContext] = {}
        self.calls: dict[str, list[Context]] = {}
        """The assignments whose calls run, by partition."""

    def of(self, code: Code) -> Code:
        """The same code, watched."""
        facts = code.facts
        self.manual, self.reentrant = facts.checkpoint == "manual", facts.reentrant
        if code.function is not None:
            return Code(facts, function=self._handler(code.function), name=code.name)
        factory = code.factory
        assert factory is not None
        shape = code.processor_type or (factory if isinstance(factory, type) else None)
        self.flushes = getattr(shape, "flush", Processor.flush) is not Processor.flush
        return Code(facts, factory=lambda: self._processor(factory()), name=code.name, processor_type=shape)

    # -- calls with records ---------------------------------------------------------------------------------------

    def _handler(self, function: Hook) -> Hook:
        if inspect.iscoroutinefunction(function):

            @functools.wraps(function)
            async def handle_async(item: Record | Batch, context: Context) -> object:
                if self.dead:
                    return None
                call = _Call(self, item, context)
                try:
                    await asyncio.sleep(call.hangs_before or self.chance() * DAWDLE_SECONDS)
                    call.before()
                    outcome = call.early or await mortal(function(item, call.context), self.is_dead)
                    if call.hangs_after:
                        await asyncio.sleep(call.hangs_after)
                    return call.after(outcome)
                finally:
                    call.over()

            return handle_async

        @functools.wraps(function)
        def handle(item: Record | Batch, context: Context) -> object:
            if self.dead:
                return None
            call = _Call(self, item, context)
            try:
                _wait(call.hangs_before)
                call.before()
                if self.is_dead():  # meanwhile
                    return None
                outcome = call.early or function(item, call.context)
                _wait(call.hangs_after)
                return call.after(outcome)
            finally:
                call.over()

        return handle

    def is_dead(self) -> bool:
        return self.dead

    def context(self, context: Context) -> SimulatedContext:
        """The one that the user's code gets in place of this."""
        known = self._contexts.get(id(context))
        if known is None:
            known = self._contexts[id(context)] = SimulatedContext(self, context)
        return known

    # -- objects with hooks ---------------------------------------------------------------------------------------

    def _processor(self, processor: Processor) -> Processor:
        inside: list[str] = []
        for name in HOOKS:
            hook = getattr(processor, name)
            setattr(processor, name, self._alone(name, self._handler(hook) if name == "process" else self._hook(name, hook), inside))
        return processor

    def _hook(self, name: str, hook: Hook) -> Hook:
        if inspect.iscoroutinefunction(hook):

            @functools.wraps(hook)
            async def hooked_async(*args: object) -> object:
                await asyncio.sleep(self.chance() * DAWDLE_SECONDS)
                if self.dead:
                    return None
                upto = self._begin_hook(name, args)
                await mortal(hook(*self._given(args)), self.is_dead)
                self._end_hook(name, args, upto)
                return None

            return hooked_async

        @functools.wraps(hook)
        def hooked(*args: object) -> object:
            if self.dead:
                return None
            upto = self._begin_hook(name, args)
            hook(*self._given(args))
            self._end_hook(name, args, upto)
            return None

        return hooked

    def _begin_hook(self, name: str, args: Sequence[object]) -> int:
        if self.trouble.hook_fails(name, self.worker):
            raise Mishap(name)
        if name == "flush" and args and isinstance(args[-1], Context):
            return self.ledger.next_of(self.worker, args[-1])
        return 0

    def _end_hook(self, name: str, args: Sequence[object], upto: int) -> None:
        if name == "flush" and not self.dead and args and isinstance(args[-1], Context):
            self.ledger.flushed(self.worker, args[-1], upto)

    def _given(self, args: Sequence[object]) -> Sequence[object]:
        return [self.context(arg) if isinstance(arg, Context) else arg for arg in args]

    def _alone(self, name: str, hook: Hook, inside: list[str]) -> Hook:
        """No hook beside another of the same object; none after close."""

        def enter(args: Sequence[object]) -> None:
            if not self.dead and inside and (inside[-1] == "close" or not (self.reentrant and inside[-1] == name == "process")):
                about = args[-1].partition if args and isinstance(args[-1], Context | LostContext) else "a partition"
                self.ledger.fail("hooks", f"{self.worker}: {name} of {about} was called beside or after {inside[-1]}")
            inside.append(name)

        def leave() -> None:
            if name != "close":
                inside.remove(name)

        if inspect.iscoroutinefunction(hook):

            @functools.wraps(hook)
            async def alone_async(*args: object) -> object:
                enter(args)
                try:
                    return await cast("Awaitable[object]", hook(*args))
                finally:
                    leave()

            return alone_async

        @functools.wraps(hook)
        def alone(*args: object) -> object:
            enter(args)
            try:
                return hook(*args)
            finally:
                leave()

        return alone


class _Call:
    """One call of the user's code with records."""

    def __init__(self, watched: Watched, item: Record | Batch, context: Context) -> None:
        self._watched = watched
        self._records = tuple(item) if isinstance(item, Batch) else (item,)
        self._by_record = isinstance(item, Record)
        self._main = main_of(context)
        self.context = watched.context(context)
        self.context.records = self._records
        self._calls = watched.calls.setdefault(self._main.partition.id, [])
        if any(other is not self._main for other in self._calls):
            message = f"{watched.worker} was given {self._main.partition} while a call of its own assignment before still runs"
            watched.ledger.fail("one owner", message)
        self._calls.append(self._main)
        watched.ledger.called(watched.worker, context, self._records)
        self._how, seconds = watched.trouble.mishap(watched.worker) or ("", 0.0)
        self.hangs_before = seconds if self._how == "hangs" else 0.0
        self.hangs_after = seconds if self._how == "hangs-after" else 0.0
        self.early: Outcome | None = None
        """What it says without having called the code."""

    def before(self) -> None:
        if self._how == "raises":
            raise Mishap("before the handler")
        if self._how == "retries":
            self.early = Retry(0.02)
        elif self._how == "rejects":
            self.early = Reject("rejected in the simulation")

    def after(self, outcome: object) -> object:
        watched = self._watched
        if watched.dead:
            return None
        if self._how == "raises-after":
            raise Mishap("after the handler")
        finished = self._finished(outcome)
        settle = watched.ledger.accepted if watched.manual or watched.flushes else watched.ledger.done
        settle(watched.worker, self._main, finished)
        return outcome

    def _finished(self, outcome: object) -> Sequence[Record]:
        """Those that are done, as the outcome says."""
        if outcome is None:
            return self._records
        if not isinstance(outcome, Mapping):
            return ()
        named = [record.position for record, said in outcome.items() if said is not None]
        return [record for record in self._records if not named or record.position < min(named)]

    def over(self) -> None:
        self._calls.remove(self._main)
        self._watched.ledger.over(self._watched.worker, self._main, self._records)


class SimulatedContext(Context):
    """The engine's own context, but the ledger hears of checkpoints, and a promise that is kept is checked."""

    __slots__ = ("_real", "_watched", "records")

    def __init__(self, watched: Watched, real: Context) -> None:
        self._real = real
        self._watched = watched
        self.records: Sequence[Record] = ()
        """Of the newest call."""

    def __getattr__(self, name: str) -> object:
        """Called for slots that were not filled here."""
        if name in ("_real", "_watched"):  # of a copy that was not initialized
            raise AttributeError(name)
        return getattr(self._real, name)

    def checkpoint(self, position: Position | None = None, metadata: str = "") -> CheckpointFuture:
        watched = self._watched
        if watched.dead:
            return _Never()
        future = self._real.checkpoint(position, metadata)  # raises for what it does not take
        self._say(position)
        return _Checked(future, self, position if position is not None else self._newest())

    def prepare_checkpoint(self, position: Position | None = None, state: bytes = b"") -> PreparedFuture:
        if not self._watched.dead:
            self._say(position)  # its commit may come later, from anywhere: then nobody would hear of it
        return self._real.prepare_checkpoint(position, state)

    def _newest(self) -> Position | None:
        running = self._real.running
        if running is None or not self.records:
            return None
        return self.records[-1].position

    def _say(self, position: Position | None) -> None:
        watched, ledger = self._watched, self._watched.ledger
        if watched.by_key:
            mine = self.records if self._real.running is not None else ()  # outside of a call it says nothing new
            ledger.done(watched.worker, self._real, [record for record in mine if position is None or record.position == position])
            return
        ledger.said(watched.worker, self._real, position if position is not None else self._newest())


class _Checked(CheckpointFuture):
    """When it has resolved, the position is in the store."""

    def __init__(self, future: CheckpointFuture, context: SimulatedContext, position: Position | None) -> None:
        self._future = future
        self._context = context
        self._position = position

    def done(self) -> bool:
        return self._future.done()

    def result(self, timeout: float | None = None) -> None:
        self._future.result(timeout)
        self._check()

    def __await__(self) -> Generator[object, None, None]:
        yield from self._future.__await__()
        self._check()

    def _check(self) -> None:
        watched = self._context._watched
        if watched.dead or self._position is None:
            return
        partition = self._context._real.partition
        saved = watched.ledger.saved(partition.id)
        if saved is None or saved.kind != "after" or saved.position is None or saved.position < self._position:
            watched.ledger.fail("no loss", f"the future of {partition}/{self._position} has resolved, but {saved} is stored")
        watched.ledger.counts["futures"] += 1


class _Never(CheckpointFuture):
    """Of a worker that has died."""

    def done(self) -> bool:
        return False

    def result(self, timeout: float | None = None) -> None:
        raise TimeoutError("this worker has died")

    def __await__(self) -> Generator[object, None, None]:
        yield from asyncio.get_running_loop().create_future()


def _wait(seconds: float) -> None:
    """Let virtual time pass in `def` code, as if it had waited for something."""
    if seconds:
        with contextlib.suppress(TimeoutError):
            Promise[None]().result(seconds)


async def mortal(work: object, is_dead: Callable[[], bool]) -> object:
    """Await the user's coroutine; once its worker is dead it goes no step further, as after kill -9."""
    coroutine = cast("Coroutine[object, object, object]", work)

    @types.coroutine
    def steps() -> Generator[object, object, object]:
        value: object = None
        error: BaseException | None = None
        while True:
            if is_dead():
                coroutine.close()
                yield from asyncio.get_running_loop().create_future()
            try:
                waited_for = coroutine.send(value) if error is None else coroutine.throw(error)
            except StopIteration as end:
                return cast("object", end.value)
            value, error = None, None
            try:
                value = yield waited_for
            except BaseException as thrown:
                error = thrown

    return await steps()
