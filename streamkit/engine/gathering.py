"""Asking once for many: what is asked while a call is under way goes with the next one. Runs on the control thread.

A group that gives a worker three hundred partitions would have the store listed three hundred times, and each time all of them.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from streamkit.engine.runtime import Promise, Runtime

__all__ = ["Gathering"]

T = TypeVar("T")
R = TypeVar("R")


class Gathering(Generic[T, R]):
    """One kind of question. An answer is never older than the question: nobody joins a call that has begun."""

    def __init__(self, runtime: Runtime, name: str, call: Callable[[Sequence[T]], Awaitable[Sequence[R]]]) -> None:
        """`call` answers each of what it is given, in order; what it raises, all of them get."""
        self._runtime = runtime
        self._name = name
        self._call = call
        self._waiting: list[tuple[T, Promise[R]]] = []
        self._is_calling = False

    def ask(self, question: T) -> Promise[R]:
        answer: Promise[R] = Promise()
        self._waiting.append((question, answer))
        if not self._is_calling:
            self._is_calling = True
            self._runtime.control.spawn(self._name, self._run(), lambda _: None)
        return answer

    async def _run(self) -> None:
        """Until nobody waits. Whatever ends it, nobody is left without an answer."""
        try:
            while self._waiting:
                asked, self._waiting = self._waiting, []
                try:
                    answers = await self._call([question for question, _ in asked])
                    for (_, promise), answer in zip(asked, answers, strict=True):
                        promise.resolve(answer)
                except BaseException as error:
                    for _, promise in asked:
                        promise.fail(error)
                    if not isinstance(error, Exception):
                        raise
        finally:
            self._is_calling = False
