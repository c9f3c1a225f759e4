"""Several requests at once, of which none goes on behind the back of who has asked."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, NoReturn, TypeVar

__all__ = ["all_of"]

T = TypeVar("T")


async def all_of(asked: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """What each has answered, in their order; an answer may be an exception. Raises the first that was raised, when all have ended."""

    async def outcome(one: Coroutine[Any, Any, T]) -> Callable[[], T]:
        try:
            answer = await one
        except Exception as error:
            return functools.partial(_raise, error)
        return lambda: answer

    return [outcome() for outcome in await asyncio.gather(*map(outcome, asked))]


def _raise(error: Exception) -> NoReturn:
    raise error
