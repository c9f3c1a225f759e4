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
    if inspect.isfunction(target) and not inspect.signature(target).parameters:
        made = _annotated(target) or target()
        if isinstance(code := getattr(made, "code", None), Code):  # of an App, which this floor does not know
            return code
        if isinstance(made, Processor | _Promised):
            return _made_by(target, made, name)
    if isinstance(target, Processor):
        raise ConfigurationError(
            f"{type(target).__name__} is given as one processor object, but every assignment needs its own",
            fix="give the class, or a factory",
        )
    raise ConfigurationError(
        f"{name} is not a processor",
        fix="put @record_processor (one record a call) or @processor (a batch a call) above it, or give a Processor class",
    )
