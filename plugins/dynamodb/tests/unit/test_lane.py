"""The second lane: in order, beside the first, and nothing of it is left behind."""

from __future__ import annotations

import asyncio
import threading

import pytest
from streamkit_dynamodb.lane import Lane

from streamkit.errors import StoreUnavailableError


def test_calls_run_in_order_on_one_thread_and_errors_come_back() -> None:
    async def test() -> None:
        lane = Lane("lane-under-test")
        ran: list[int] = []
        await asyncio.gather(*(lane.call(ran.append, number) for number in range(20)))
        assert ran == list(range(20))
        assert await lane.call(lambda: threading.current_thread().name) == "lane-under-test"
        with pytest.raises(ZeroDivisionError):
            await lane.call(lambda: 1 // 0)
        await lane.close()
        assert "lane-under-test" not in {thread.name for thread in threading.enumerate()}
        assert await lane.call(lambda: 1) == 1, "and it may be used again"
        await lane.close()
        await lane.close()

    asyncio.run(test())


def test_a_call_that_hangs_holds_up_nobody_else_and_is_not_waited_for_by_who_was_cancelled() -> None:
    async def test() -> None:
        lane, released = Lane("lane-under-test"), threading.Event()
        waiting = asyncio.create_task(lane.call(released.wait))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        released.set()
        assert await lane.call(lambda: "next") == "next"
        await lane.close()

    asyncio.run(test())


def test_what_is_asked_while_it_is_being_closed_begins_no_thread_that_nobody_ends() -> None:
    async def test() -> None:
        lane, released = Lane("lane-under-test"), threading.Event()
        waiting = asyncio.create_task(lane.call(released.wait))
        await asyncio.sleep(0)
        closing = asyncio.create_task(lane.close())
        await asyncio.sleep(0)
        with pytest.raises(StoreUnavailableError, match="being closed"):
            await lane.call(lambda: 1)
        released.set()
        await asyncio.gather(waiting, closing)
        assert "lane-under-test" not in {thread.name for thread in threading.enumerate()}

    asyncio.run(test())


def test_the_thread_keeps_no_process_alive() -> None:
    async def test() -> None:
        lane = Lane("lane-under-test")
        assert await lane.call(lambda: threading.current_thread().daemon)
        await lane.close()

    asyncio.run(test())
