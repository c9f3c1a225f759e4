"""Notes every call of the user's code, and what it raised, without changing what the engine sees of it."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import cast

from streamkit.engine.delivery.call import Code
from streamkit.model import Batch, Partition, Record
from streamkit.processing import Context, LostContext, Processor

__all__ = ["HOOKS", "Call", "Recording"]

HOOKS = ("initialize", "process", "flush", "partition_ended", "partition_revoked", "partition_lost", "close")
Hook = Callable[..., object]


@dataclass(frozen=True, slots=True)
class Call:
    """One call of one hook. The call of a function is `process`."""

    hook: str
    partition: Partition | None
    """None: `close` of a processor that was never initialized."""
    records: tuple[Record, ...] = ()
    attempt: int = 1


class Recording:
    """Of one owner's life: nothing is noted after `over` is set."""

    def __init__(self, calls: list[Call], errors: list[BaseException]) -> None:
        self.over = False
        self.running = 0
        self._calls = calls
        self._errors = errors

    def of(self, code: Code) -> Code:
        """The same code, watched."""
        if code.function is not None:
            return Code(code.facts, function=self._watched("process", code.function, {}), name=code.name)
        factory = code.factory
        assert factory is not None
        shape = code.processor_type or (factory if isinstance(factory, type) else None)
        return Code(code.facts, factory=lambda: self._processor(factory()), name=code.name, processor_type=shape)

    def _processor(self, processor: Processor) -> Processor:
        known: dict[str, Partition] = {}
        for name in HOOKS:
            setattr(processor, name, self._watched(name, getattr(processor, name), known))
        return processor

    def _watched(self, name: str, hook: Hook, known: dict[str, Partition]) -> Hook:
        if inspect.iscoroutinefunction(hook):

            @functools.wraps(hook)
            async def watched_async(*args: object) -> object:
                self._begin(name, args, known)
                try:
                    return await cast("Awaitable[object]", hook(*args))
                except Exception as error:
                    self._raised(error)
                    raise
                finally:
                    self.running -= 1

            return watched_async

        @functools.wraps(hook)
        def watched(*args: object) -> object:
            self._begin(name, args, known)
            try:
                return hook(*args)
            except Exception as error:
                self._raised(error)
                raise
            finally:
                self.running -= 1

        return watched

    def _begin(self, name: str, args: tuple[object, ...], known: dict[str, Partition]) -> None:
        self.running += 1
        context = args[-1] if args else None
        if isinstance(context, Context | LostContext):
            known["partition"] = context.partition
        if not self.over:
            records = _records(args[0]) if len(args) > 1 else ()
            attempt = context.attempt if isinstance(context, Context) else 1
            self._calls.append(Call(name, known.get("partition"), records, attempt))

    def _raised(self, error: Exception) -> None:
        if not self.over:
            self._errors.append(error)


def _records(item: object) -> tuple[Record, ...]:
    if isinstance(item, Batch):
        return tuple(item)
    return (item,) if isinstance(item, Record) else ()
