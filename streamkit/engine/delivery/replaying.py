"""The user's code as it is called by a replay of dead letters: it sees each record as it was when it failed.

The engine around it knows nothing of that: it delivers, retries and checkpoints the letters themselves, whose positions the
originals keep. Called by the command line.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any, cast

from streamkit.engine.delivery.call import HOOKS, Code
from streamkit.engine.delivery.letter import original_of
from streamkit.model import Batch, Record
from streamkit.processing import Facts, Processor

__all__ = ["replaying"]


def replaying(code: Code) -> Code:
    """The same code, facts and hooks, but for what `process` is given."""
    if code.function is not None:
        return replace(code, function=_seeing_originals(code.function, code.facts.by))
    assert code.factory is not None
    shape = code.processor_type or code.factory
    assert isinstance(shape, type), "code with a factory says what it makes"
    delegate = _delegate_of(code.factory, shape)
    return replace(code, factory=delegate, processor_type=delegate)


def _seeing_originals(function: Callable[..., Any], by: str) -> Callable[..., Any]:
    """def stays def, and async def stays async def: the engine chooses a carrier by it."""
    view = cast("Callable[[object], object]", original_of if by == "record" else _originals)
    if inspect.iscoroutinefunction(function):

        async def later(subject: object, context: object) -> object:
            return await function(view(subject), context)

        return later

    def now(subject: object, context: object) -> object:
        return function(view(subject), context)

    return now


def _originals(batch: Batch) -> Batch:
    records: list[Record] = [original_of(record) for record in batch]
    seen = Batch.of(records, received=batch.received, lag_records=batch.lag_records)
    seen.delivered = batch.delivered
    return seen


def _delegate_of(factory: Callable[[], Processor], shape: type) -> type[Processor]:
    """A class with the hooks that `shape` has and no other: the engine looks at which there are, and which are `async def`."""

    def begin(self: Any) -> None:
        self.inner = factory()

    members: dict[str, object] = {"__init__": begin, "__doc__": shape.__doc__}
    for name in HOOKS:
        hook = getattr(shape, name)
        if hook is not getattr(Processor, name):
            members[name] = _forward(name, inspect.iscoroutinefunction(hook))
    for fact in (field.name for field in fields(Facts) if field.name != "by"):
        members[fact] = getattr(shape, fact)
    return type(shape.__name__, (Processor,), members)


def _forward(name: str, is_async: bool) -> Callable[..., Any]:
    def see(arguments: tuple[Any, ...]) -> tuple[Any, ...]:
        return (_originals(arguments[0]), *arguments[1:]) if name == "process" else arguments

    if is_async:

        async def later(self: Any, *arguments: Any) -> object:
            return await getattr(self.inner, name)(*see(arguments))

        later.__name__ = name
        return later

    def now(self: Any, *arguments: Any) -> object:
        return getattr(self.inner, name)(*see(arguments))

    now.__name__ = name
    return now
