"""Asking once for many: what is asked while a call is under way goes with the next one. Runs on the control thread.

A group that gives a worker three hundred partitions would have the store listed three hundred times, and each time all of them.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from streamkit.engine.runtime import Promise, Runtime
from streamkit.errors import StoreUnavailableError

__all__ = ["Gathering"]

T = TypeVar("T")
R = TypeVar("R")

PATIENCE_SECONDS = 1.0
"""So long a call keeps those waiting who came too late for it; then theirs begins beside it."""


class Gathering(Generic[T, R]):
    """One kind of question. An answer is never older than the question: nobody joins a call that has begun."""

    def __init__(self, runtime: Runtime, name: str, call: Callable[[Sequence[T]], Awaitable[Sequence[R]]]) -> None:
        """`call` answers each of what it is given, in order; what it raises, all of them get."""
        self._runtime = runtime
        self._name = name
        self._call = call
        self._signal = runtime.control.signal()
        self._waiting: list[tuple[T, Promise[R], Callable[[], bool]]] = []
        self._is_calling = False

    def ask(self, question: T, is_wanted: Callable[[], bool]) -> Promise[R]:
        """`is_wanted`: looked at when its call begins. Where it is not, nothing is asked, and nobody may wait for the answer any more."""
        answer: Promise[R] = Promise()
        self._join(question, answer, is_wanted)
        return answer

    def _join(self, question: T, answer: Promise[R], is_wanted: Callable[[], bool]) -> None:
        self._waiting.append((question, answer, is_wanted))
        if not self._is_calling:
            self._is_calling = True
            self._runtime.control.spawn(self._name, self._run(), self._ended)

    async def _run(self) -> None:
        """Until nobody waits."""
        while self._waiting:
            asked = [(question, answer) for question, answer, is_wanted in self._waiting if is_wanted()]
            self._waiting = []
            if asked:
                call = self._runtime.control.call(self._name, self._ask([question for question, _ in asked]))
                call.on_done(lambda call=call, asked=asked: self._answer(call, [answer for _, answer in asked]))  # type: ignore[misc]
                await self._signal.wait(PATIENCE_SECONDS)

    async def _ask(self, questions: Sequence[T]) -> Sequence[R]:
        answers = await self._call(questions)
        if len(answers) != len(questions):
            raise StoreUnavailableError(f"{self._name}: {len(answers)} answers to {len(questions)} questions")
        return answers

    def _answer(self, call: Promise[Sequence[R]], waiting: Sequence[Promise[R]]) -> None:
        try:
            for answer, promise in zip(call.result(0), waiting, strict=True):
                promise.resolve(answer)
        except BaseException as error:
            for promise in waiting:
                promise.fail(error)
        self._signal.set()

    def _ended(self, error: BaseException | None) -> None:
        """Who came after its last look is served by another one; if it was broken off, all are told."""
        self._is_calling = False
        left, self._waiting = self._waiting, []
        if error is None:
            for question, answer, is_wanted in left:
                self._join(question, answer, is_wanted)
            return
        for _, answer, _ in left:
            answer.fail(StoreUnavailableError(f"{self._name} was broken off"))
