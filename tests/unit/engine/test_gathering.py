"""Questions that come together are asked together, and nobody is given an answer that is older than the question."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence

import pytest

from streamkit.engine.gathering import Gathering
from streamkit.engine.runtime import Promise
from streamkit.errors import StoreUnavailableError
from streamkit.testing import Harness
from streamkit.testing.virtual import VirtualRuntime
from tests.unit.engine.rig import failing


def wanted() -> bool:
    return True


class Answers:
    """Takes a second for each call, and answers with the number of the call and the question."""

    def __init__(self, seconds: float = 0.7) -> None:
        self.seconds = seconds
        self.calls: list[list[str]] = []
        self.errors: list[Exception] = []

    async def __call__(self, questions: Sequence[str]) -> Sequence[tuple[int, str]]:
        self.calls.append(list(questions))
        number = len(self.calls)
        await asyncio.sleep(self.seconds)
        if self.errors:
            raise self.errors.pop()
        return [(number, question) for question in questions]


@pytest.fixture
def runtime() -> Iterator[VirtualRuntime]:
    runtime = VirtualRuntime()
    yield runtime
    runtime.stop()


def test_what_is_asked_during_a_call_goes_together_with_the_next_one(runtime: VirtualRuntime) -> None:
    answers = Answers()
    gathering = Gathering(runtime, "asking", answers)

    async def body() -> list[tuple[int, str]]:
        first = gathering.ask("a", wanted)
        await asyncio.sleep(0.5)
        late = [gathering.ask(question, wanted) for question in "bcd"]
        return [await promise for promise in (first, *late)]

    assert runtime.run(body()) == [(1, "a"), (2, "b"), (2, "c"), (2, "d")]
    assert answers.calls == [["a"], ["b", "c", "d"]]


def test_an_error_reaches_all_who_have_asked_and_nobody_after_them(runtime: VirtualRuntime) -> None:
    answers = Answers()
    answers.errors.append(StoreUnavailableError("not now"))
    gathering = Gathering(runtime, "asking", answers)

    async def body() -> tuple[int, str]:
        together = [gathering.ask(question, wanted) for question in "ab"]
        for promise in together:
            with pytest.raises(StoreUnavailableError):
                await promise
        return await gathering.ask("c", wanted)

    assert runtime.run(body()) == (2, "c")


def test_too_few_answers_leave_nobody_waiting(runtime: VirtualRuntime) -> None:
    async def forgetful(questions: Sequence[str]) -> Sequence[str]:
        return list(questions)[:-1]

    gathering = Gathering(runtime, "asking", forgetful)

    async def body() -> None:
        for promise in [gathering.ask(question, wanted) for question in "ab"]:
            await promise

    with pytest.raises(StoreUnavailableError, match="1 answers to 2 questions"):
        runtime.run(body())


def test_many_partitions_that_begin_together_cost_the_store_a_few_listings() -> None:
    h = Harness(failing({}), partitions=50, assigned=False)
    with h:
        h.assign()
        asked = [what for what, _ in h.script.journal]
    assert asked.count("claim") == 50
    assert asked.count("list") <= 3
    assert asked.count("save") <= 10
    assert len(h.checkpoints) == 50


def test_a_call_that_hangs_keeps_nobody_waiting_who_comes_later(runtime: VirtualRuntime) -> None:
    answers = Answers(seconds=1000.0)
    gathering = Gathering(runtime, "asking", answers)

    async def body() -> tuple[int, str]:
        gathering.ask("a", wanted)
        await asyncio.sleep(0.1)
        late = gathering.ask("b", wanted)
        await asyncio.sleep(0.1)
        answers.seconds = 0.1
        return await late

    assert runtime.run(body()) == (2, "b")
    assert runtime.monotonic() < 5


def test_what_nobody_wants_any_more_is_not_asked(runtime: VirtualRuntime) -> None:
    answers = Answers()
    gathering = Gathering(runtime, "asking", answers)
    still = {"b": True, "c": True}

    async def body() -> tuple[int, str]:
        gathering.ask("a", wanted)
        await asyncio.sleep(0.1)
        gathering.ask("b", lambda: still["b"])
        late = gathering.ask("c", lambda: still["c"])
        still["b"] = False
        return await late

    assert runtime.run(body()) == (2, "c")
    assert answers.calls == [["a"], ["c"]]


def test_a_call_that_is_broken_off_leaves_nobody_without_an_answer(runtime: VirtualRuntime) -> None:
    async def broken(questions: Sequence[str]) -> Sequence[str]:
        await asyncio.sleep(0.1)
        raise asyncio.CancelledError

    gathering = Gathering(runtime, "asking", broken)

    async def body() -> None:
        first = gathering.ask("a", wanted)
        await asyncio.sleep(0.05)
        for promise in (first, gathering.ask("b", wanted)):
            with pytest.raises(BaseException):  # noqa: B017, PT011 - whatever has ended it
                await asyncio.wait_for(promise_of(promise), 10)

    async def promise_of(promise: Promise[str]) -> str:
        return await promise

    runtime.run(body())
