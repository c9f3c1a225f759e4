"""Calling the user's code: def or async def, by record or by batch, and what came of it.

One `Caller` per assignment. It knows how to call; it does not know retries, policies or checkpoints.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

from streamkit.engine.runtime import Carrier, is_being_stopped
from streamkit.model import Batch, Position, Record
from streamkit.outcome import Outcome, Reject, Retry, Stop
from streamkit.processing import Context, Facts, LostContext, Processor, Running

__all__ = ["Caller", "Code", "Result"]


@dataclass(frozen=True, slots=True)
class Result:
    """What one call did: the first `count` records are done; then `failure`, or None if nothing went wrong.

    Without a failure `count` may still be less than the batch: the assignment is ending and no further record was begun.
    """

    count: int
    failure: Outcome | BaseException | None = None


@dataclass(frozen=True, slots=True)
class Code:
    """A target that is ready to be called: a function, or a factory of processors."""

    facts: Facts
    function: Callable[..., object] | None = None
    factory: Callable[[], Processor] | None = None
    name: str = ""
    processor_type: type[Processor] | None = None
    """What the factory makes, if that is known beforehand: its hooks say on which carrier it has to be made."""


class Caller:
    """Calls the hooks of one assignment."""

    def __init__(self, code: Code) -> None:
        self._facts = code.facts
        self._factory = code.factory
        self._processor: Processor | None = None
        shape: object = code.processor_type or (code.factory if isinstance(code.factory, type) else None)
        if shape is None and code.factory is not None:
            shape = self._processor = code.factory()
        self._function: Callable[..., Any] | None = code.function if shape is None else getattr(shape, "process", None)
        self._is_async = inspect.iscoroutinefunction(self._function)
        hooks = [self._function] if shape is None else [getattr(shape, name) for name in HOOKS]
        self.on_loop = any(inspect.iscoroutinefunction(hook) for hook in hooks)
        """True if any hook is `async def`: then this assignment lives on the user's loop, else on a thread of its own."""
        self.reject_on = code.facts.reject_on
        self.by = code.facts.by
        self.is_manual = code.facts.checkpoint == "manual"
        self.flushes = shape is not None and _defines_flush(shape)

    async def make(self, carrier: Carrier) -> None:
        """Make the processor, on the carrier that will call it. Raises what its constructor raises; tried again like `initialize`."""
        if self._processor is None and self._factory is not None:
            self._processor = self._factory() if self.on_loop else await carrier.call_def(self._factory)
            self._function = self._processor.process

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
        assert self._function is not None
        running = context.running = Running(batch, self._facts.by == "record")
        try:
            if not running.by_record:
                call = carrier.call_async if self._is_async else carrier.call_def
                return _judge(batch, await call(self._function, batch, context))
            if self._is_async:
                return await _records_async(self._function, running, context)
            return await carrier.call_def(_records, self._function, running, context)
        except BaseException as error:
            return Result(0, _failure(error))
        finally:
            context.running = None


HOOKS = ("initialize", "process", "flush", "partition_ended", "partition_revoked", "partition_lost", "close")


def _defines_flush(shape: object) -> bool:
    kind = shape if isinstance(shape, type) else type(shape)
    return getattr(kind, "flush", None) is not Processor.flush


async def _call(carrier: Carrier, hook: Callable[..., object], *args: object) -> object:
    call = carrier.call_async if inspect.iscoroutinefunction(hook) else carrier.call_def
    try:
        return await call(cast("Callable[..., Any]", hook), *args)
    except Exception:
        raise
    except BaseException as error:
        raise RuntimeError(f"{hook.__name__} raised {_failure(error)!r}") from error  # its worker must outlive it


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
        return Result(count, _failure(error))
    return Result(count)


def _failure(error: BaseException) -> Outcome | BaseException:
    """What an exception of the user's code means. Raises it again if it is not the code's own: the engine itself is being stopped."""
    if isinstance(error, KeyboardInterrupt | SystemExit):
        return Stop(f"the processor raised {type(error).__name__}")
    if isinstance(error, GeneratorExit) or (not isinstance(error, Exception) and is_being_stopped()):
        raise error
    return error


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
            return Result(index, _outcome(named[first]))
    return Result(0, ValueError(f"the processor answered for position {first}, which is not in {batch!r}"))


def _position(key: object) -> Position:
    if isinstance(key, Record):
        return key.position
    raise TypeError(f"a processor of batches answers with a mapping of records, not of {type(key).__name__}")
