"""From what an `App` is given to what the engine can call: the check that it is a processor, and its facts.

Called when an `App` is made, so nothing of the user's code runs here, but for a factory that does not say what it makes.
"""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable
from typing import cast

from streamkit.engine.delivery.call import HOOKS, Code
from streamkit.errors import ConfigurationError
from streamkit.processing import Processor, facts_of

__all__ = ["code_of"]


def code_of(target: object) -> Code:
    """What may be called: a decorated function, a `Processor` class, or a factory: a function without parameters.

    A factory whose return annotation is a `Processor` class of the user's own is not called before there is a partition. Any
    other one is called once here, and what it made is dropped: nothing else tells its facts. Annotate it if that costs much.
    A factory of `App`s is always called: an app's code is known only by making it.
    Raises `ConfigurationError` that says which decorator is missing.
    """
    name = getattr(target, "__qualname__", f"a value of type {type(target).__name__}")
    facts = facts_of(target)
    if isinstance(target, type) and facts is not None:
        _check_constructor(target, name)
        return Code(facts, factory=cast("Callable[[], Processor]", target), name=name)
    if facts is not None and callable(target) and not isinstance(target, Processor):
        _check_parameters(target, facts.by, name)
        return Code(facts, function=target, name=name)
    if inspect.isfunction(target) and not inspect.signature(target).parameters and (code := _code_of_factory(target, name)):
        return code
    if isinstance(target, Processor):
        raise ConfigurationError(
            f"{type(target).__name__} is given as one processor object, but every assignment needs its own",
            fix="give the class, or a factory",
        )
    raise ConfigurationError(
        f"{name} is not a processor",
        fix="put @record_processor (one record a call) or @processor (a batch a call) above it, or give a Processor class",
    )


def _code_of_factory(factory: Callable[[], object], name: str) -> Code | None:
    """None if it makes nothing that could be run."""
    shape: type[Processor] | Processor | None = _annotated(factory)
    if shape is None and not inspect.iscoroutinefunction(factory):
        made = factory()
        if isinstance(code := getattr(made, "code", None), Code):  # of an App, which this floor does not know
            return code
        shape = made if isinstance(made, Processor) else None
    if shape is None or (facts := facts_of(shape)) is None:
        return None
    kind = shape if isinstance(shape, type) else type(shape)
    return Code(facts, factory=_held_to(_traits(shape), kind, factory, name), name=name, processor_type=kind)


def _annotated(factory: Callable[[], object]) -> type[Processor] | None:
    """The class that it says it returns, if that tells the facts: one that can be made, and not `Processor` itself."""
    try:
        said = typing.get_type_hints(factory).get("return")
    except Exception:  # an annotation is only text, and may name what is not there
        return None
    known = isinstance(said, type) and issubclass(said, Processor) and said is not Processor and not inspect.isabstract(said)
    return cast("type[Processor]", said) if known else None


def _held_to(traits: object, kind: type, factory: Callable[[], object], name: str) -> Callable[[], Processor]:
    """The factory, held to what was known when the app was made: carriers and checkpoint policy have been chosen by it."""

    def make() -> Processor:
        made = factory()
        if not isinstance(made, Processor) or _traits(made) != traits:
            raise ConfigurationError(
                f"{name} made a {type(made).__name__}, which is not called or checkpointed as a {kind.__name__} would be",
                fix=f"let {name} always make the same class, and let its annotation name that class",
            )
        return made

    return make


def _traits(code: Processor | type[Processor]) -> tuple[object, ...]:
    """What the engine decides by: the facts, which hooks are `async def`, and whether there is a `flush`."""
    kind = code if isinstance(code, type) else type(code)
    return (facts_of(code), kind.flush is not Processor.flush, *(inspect.iscoroutinefunction(getattr(code, hook)) for hook in HOOKS))


def _check_constructor(factory: type, name: str) -> None:
    try:
        inspect.signature(factory).bind()
    except (TypeError, ValueError):
        raise ConfigurationError(
            f"{name} cannot be made without arguments, and every assignment makes one",
            fix=f"give a function without parameters that returns {name}(...)",
        ) from None


def _check_parameters(function: Callable[..., object], by: str, name: str) -> None:
    try:
        inspect.signature(function).bind(None, None)
    except (TypeError, ValueError):
        raise ConfigurationError(f"{name} cannot be called with ({by}, context)", fix=f"write def {name}({by}, context)") from None
