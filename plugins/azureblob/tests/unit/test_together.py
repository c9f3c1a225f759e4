"""Several requests at once: none is left behind, whatever becomes of the others."""

from __future__ import annotations

import asyncio

import pytest
from streamkit_azureblob.together import all_of

from plugins.azureblob.tests.lossy import in_loop


@in_loop
async def test_an_answer_may_be_an_exception() -> None:
    async def answer(value: object) -> object:
        return value

    error = ValueError("an answer")
    assert await all_of(answer(value) for value in (1, error, None)) == [1, error, None]
    assert await all_of([]) == []


@in_loop
async def test_who_raises_is_heard_when_all_have_ended() -> None:
    ended = []

    async def raises() -> None:
        raise ValueError("first")

    async def slow() -> None:
        for _ in range(5):
            await asyncio.sleep(0)
        ended.append("slow")

    with pytest.raises(ValueError, match="first"):
        await all_of([slow(), raises(), slow()])
    assert ended == ["slow", "slow"]


@in_loop
async def test_who_is_cancelled_takes_all_along() -> None:
    ended = []

    async def forever() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("ended")

    task = asyncio.create_task(all_of([forever(), forever()]))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended == ["ended", "ended"]
