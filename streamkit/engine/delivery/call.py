"""Calling the user's code: def or async def, by record or by batch, and what came of it.

One `Caller` per assignment. It knows how to call; it does not know retries, policies or checkpoints.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

from streamkit.engine.instrumentation import CallInstrumentation
from streamkit.engine.runtime import Carrier, is_being_stopped
from streamkit.model import Batch, Position, Record
from streamkit.outcome import Outcome, Reject, Retry, Stop
from streamkit.processing import Context, Facts, LostContext, Processor, Running

__all__ = ["Caller", "Code", "Exited", "Result"]


@dataclass(frozen=True, slots=True)
class Result:
    """What one call did: the first `count` records are done; then `failure`, or None if nothing went wrong.

    Without a failure `count` may still be less than the batch: the assignment is ending and no further record was begun.
    """

    count: int
    failure: Outcome | BaseException | None = None
    is_named: bool = False
    """A handler of batches has said which record it is that failed: the one after the first `count`."""


@dataclass(frozen=True, slots=True)
class Code:
    """A target that is ready to be called: a function, or a factory of processors."""

    facts: Facts
    function: Callable[..., object] | None = None
    factory: Callable[[], Processor] | None = None
    name: str = ""
    processor_type: type[Processor] | None = None
    """What the factory makes, if that is known beforehand: its hooks say on which carrier it has to be made."""


class Exited(Exception):
    """A hook raised SystemExit or KeyboardInterrupt: the process is to end, in order."""

    def __init__(self, hook: str, stop: Stop) -> None:
        super().__init__(f"{hook}: {stop.reason}")
        self.stop = stop


class Caller:
    """Calls the hooks of one assignment."""

    def __init__(self, code: Code, limit_seconds: float | None = None, instrumentation: CallInstrumentation | None = None) -> None:
        """`limit_seconds`: an `async def` record (or batch) that takes longer is cancelled, and has failed."""
        self.instrumentation = instrumentation
        """What measures and traces the calls; None: nothing does."""
        self._limit = limit_seconds
        self._facts = code.facts
        self._factory = code.factory
        self._processor: Processor | None = None
        shape: object = code.processor_type or (code.factory if isinstance(code.factory, type) else None)
        if shape is None and code.factory is not None:
            shape = self._processor = code.factory()
        self._function: Callable[..., Any] | None = self._instrumented(code.function if shape is None else getattr(shape, "process", None))
        self.is_async = inspect.iscoroutinefunction(self._function)
        hooks = [self._function] if shape is None else [getattr(shape, name) for name in HOOKS]
        self.on_loop = any(inspect.iscoroutinefunction(hook) for hook in hooks)
        """True if any hook is `async def`: then this assignment lives on the user's loop, else on a thread of its own."""
        self.reject_on = code.facts.reject_on
        self.by = code.facts.by
        self.is_manual = code.facts.checkpoint == "manual"
        self.flushes = shape is not None and _defines(shape, "flush")
        self.hears_end = shape is not None and _defines(shape, "partition_ended")

    def _instrumented(self, function: Callable[..., Any] | None) -> Callable[..., Any] | None:
        if self.instrumentation is None or function is None:
            return function
        return self.instrumentation.around(function, self._facts.by)

    async def make(self, carrier: Carrier) -> None:
        """Make the processor, on the carrier that will call it. Raises what its constructor raises; tried again like `initialize`."""
        if self._processor is None and self._factory is not None:
            self._processor = self._factory() if self.on_loop else await carrier.call_def(self._factory)
            self._function = self._instrumented(self._processor.process)

    async def initialize(self, carrier: Carrier, context: Context) -> None:
        if self._processor is not None:
            await _call(carrier, self._processor.initialize, context)

    async def flush(self, carrier: Carrier, context: Context) -> None:
        if self._processor is not None:
            await _call(carrier, self._processor.flush, context)

    async def ended(self, carrier: Carrier, context: Context) -> None:
        if self._processor is not None:
            await _call(carrier, self._processor.partition_ended, context)

    async def revoked(self, carrier: Carrier, context: Context) -> None:
        if self._processor is not None:
            await _call(carrier, self._processor.partition_revoked, context)

    async def lost(self, carrier: Carrier, context: LostContext) -> None:
        if self._processor is not None:
            await _call(carrier, self._processor.partition_lost, context)

    async def close(self, carrier: Carrier) -> None:
        if self._processor is not None:
            await _call(carrier, self._processor.close)

    async def process(self, carrier: Carrier, batch: Batch, context: Context) -> Result:
        """Call the user's code with a batch, or with each of its records. Never raises what the code raised."""
        function = self._function
        assert function is not None
        running = context.running = Running(batch, self._facts.by == "record")
        if self.is_async and self._limit is not None:
            function = functools.partial(carrier.call_within, self._limit, function)
        try:
            if not self.is_async:
                return await carrier.call_def(_records if running.by_record else _batch, function, running, context)
            if running.by_record:
                return await _records_async(function, running, context)
            return _judge(batch, await carrier.call_async(function, batch, context))
        except BaseException as error:
            return Result(0, _failure_on_loop(error))
        finally:
            context.delivered = _delivered(running)  # before `running` goes: another thread may be checkpointing just now
            context.running = None


def _delivered(running: Running) -> Position:
    """The highest position that the code has been given in this call."""
    batch = running.batch
    index = running.done  # the one that it failed at, or did not begin
    return batch.last if not running.by_record or index >= len(batch) else batch.slice(index, index + 1).last


HOOKS = ("initialize", "process", "flush", "partition_ended", "partition_revoked", "partition_lost", "close")


def _defines(shape: object, hook: str) -> bool:
    kind = shape if isinstance(shape, type) else type(shape)
    return getattr(kind, hook, None) is not getattr(Processor, hook)


async def _call(carrier: Carrier, hook: Callable[..., object], *args: object) -> object:
    call = carrier.call_async if inspect.iscoroutinefunction(hook) else carrier.call_def
    try:
        return await call(cast("Callable[..., Any]", hook), *args)
    except Exception:
        raise
    except BaseException as error:
        failure = _failure_on_loop(error)  # its worker must outlive it
        if isinstance(failure, Stop):
            raise Exited(hook.__name__, failure) from error
        raise RuntimeError(f"{hook.__name__} raised {failure!r}") from error


def _records(function: Callable[..., object], running: Running, context: Context) -> Result:
    """The hot loop of `def` record handlers: nothing in it but the call and what must be known when it fails."""
    count = 0
    try:
        for record in running.batch:
            outcome = function(record, context)
            if outcome is not None:
                return Result(count, _outcome(outcome))
            count += 1
            running.done = count
            if context.ending:
                break
    except BaseException as error:
        return Result(count, _failure(error))
    return Result(count)


def _batch(function: Callable[..., object], running: Running, context: Context) -> Result:
    """The same for `def` handlers of batches."""
    try:
        return _judge(running.batch, function(running.batch, context))
    except BaseException as error:
        return Result(0, _failure(error))


async def _records_async(function: Callable[..., Awaitable[object]], running: Running, context: Context) -> Result:
    """The same for `async def`: awaiting a coroutine that does not suspend costs about a tenth of a microsecond."""
    count = 0
    try:
        for record in running.batch:
            outcome = await function(record, context)
            if outcome is not None:
                return Result(count, _outcome(outcome))
            count += 1
            running.done = count
            if context.ending:
                break
    except BaseException as error:
        return Result(count, _failure_on_loop(error))
    return Result(count)


def _failure(error: BaseException) -> Outcome | BaseException:
    """What an exception of the user's code means."""
    if isinstance(error, KeyboardInterrupt | SystemExit):
        return Stop(f"the processor raised {type(error).__name__}")
    return error


def _failure_on_loop(error: BaseException) -> Outcome | BaseException:
    """The same where the engine may be stopped at an `await`. Raises again what is not the code's own."""
    if isinstance(error, GeneratorExit) or (not isinstance(error, Exception) and is_being_stopped()):
        raise error
    return _failure(error)


def _outcome(value: object) -> Outcome | BaseException:
    if isinstance(value, Retry | Reject | Stop):
        return value
    return TypeError(f"a processor returns None, Retry, Reject or Stop, not {type(value).__name__}: is a `return` one too many?")


def _judge(batch: Batch, value: object) -> Result:
    """What a batch handler's answer means: in order, the first record that is not done ends the batch."""
    if value is None:
        return Result(len(batch))
    if not isinstance(value, Mapping):
        return Result(0, _outcome(value))
    named = {_position(key): outcome for key, outcome in value.items() if outcome is not None}
    if not named:
        return Result(len(batch))
    first = min(named)
    for index, record in enumerate(batch):
        if record.position == first:
            return Result(index, _outcome(named[first]), is_named=True)
    return Result(0, ValueError(f"the processor answered for position {first}, which is not in {batch!r}"))


def _position(key: object) -> Position:
    if isinstance(key, Record):
        return key.position
    raise TypeError(f"a processor of batches answers with a mapping of records, not of {type(key).__name__}")
