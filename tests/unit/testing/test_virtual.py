"""Virtual time: nothing is waited for, nothing runs beside anything else, and each run is like the one before."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest

from streamkit.engine.runtime import Promise
from streamkit.model import Record
from streamkit.processing import Context, record_processor
from streamkit.testing import Harness, VirtualRuntime
from streamkit.testing.virtual import Stalled


def test_a_day_takes_no_time() -> None:
    runtime = VirtualRuntime()
    before = time.monotonic()
    runtime.run(asyncio.sleep(86_400))
    assert runtime.monotonic() >= 86_400
    assert time.monotonic() - before < 60
    runtime.stop()


def test_waiting_for_what_cannot_happen_says_so() -> None:
    runtime = VirtualRuntime()
    with pytest.raises(Stalled):
        runtime.run(Promise[None]())
    runtime.stop()


def test_a_second_runtime_can_go_on_where_the_first_ended() -> None:
    runtime = VirtualRuntime(start=500.0)
    assert runtime.monotonic() == 500.0
    runtime.stop()


def test_a_def_call_may_wait_for_a_promise_and_others_go_on_meanwhile() -> None:
    runtime = VirtualRuntime()
    carrier = runtime.thread("t")
    promise: Promise[str] = Promise()
    order: list[str] = []

    def code() -> str:
        order.append("waits")
        answer = promise.result()
        order.append("goes on")
        return answer

    async def scene() -> str:
        call = asyncio.ensure_future(carrier.call_def(code))
        await asyncio.sleep(3)
        order.append("resolves")
        promise.resolve("there")
        return await call

    assert runtime.run(scene()) == "there"
    assert order == ["waits", "resolves", "goes on"]
    runtime.stop()


def test_a_def_call_that_waits_too_long_gets_a_timeout_in_virtual_time() -> None:
    runtime = VirtualRuntime()

    def code() -> None:
        Promise[None]().result(timeout=60)

    with pytest.raises(TimeoutError):
        runtime.run(runtime.thread("t").call_def(code))
    assert 60 <= runtime.monotonic() < 61
    runtime.stop()


def test_def_calls_of_one_assignment_share_a_thread_as_in_production() -> None:
    runtime = VirtualRuntime()
    carrier, other = runtime.thread("a"), runtime.thread("b")
    first = runtime.run(carrier.call_def(threading.get_ident))
    assert runtime.run(carrier.call_def(threading.get_ident)) == first
    assert runtime.run(other.call_def(threading.get_ident)) != first
    runtime.stop()


def test_stop_unwinds_code_that_waits_and_ends_its_thread() -> None:
    before = threading.active_count()
    runtime = VirtualRuntime()
    caught: list[BaseException] = []

    def code() -> None:
        for _ in range(3):
            try:
                Promise[None]().result()
            except RuntimeError as error:
                caught.append(error)

    async def scene() -> None:
        runtime.io.spawn("waits", runtime.thread("t").call_def(code), lambda error: None)
        await asyncio.sleep(1)

    runtime.run(scene())
    runtime.stop()
    assert len(caught) == 3
    assert threading.active_count() == before


def test_code_of_two_assignments_never_runs_at_once() -> None:
    running: list[int] = []
    overlaps: list[int] = []

    @record_processor(checkpoint="manual")
    def handle(record: Record, context: Context) -> None:
        running.append(1)
        overlaps.append(len(running))
        running.pop()
        context.checkpoint().result()

    with Harness(handle, partitions=4) as h:
        for _ in range(5):
            for partition in "0123":
                h.write(b"x", partition=partition)
            h.advance(0.2)
        h.settle()
    assert set(overlaps) == {1}
    assert len(overlaps) == 20


def test_the_same_seed_gives_the_same_run_and_another_one_a_different_one() -> None:
    def trace(seed: int) -> list[tuple[str, float]]:
        times: list[tuple[str, float]] = []

        @record_processor(checkpoint="manual")
        def handle(record: Record, context: Context) -> None:
            times.append((record.id, h.time))
            context.checkpoint().result()
            if context.attempt < 3:
                raise ValueError

        with Harness(handle, partitions=3, seed=seed) as h:
            for number in range(9):
                h.write(b"x", partition=str(number % 3))
            h.settle()
            assert h.errors is not None
        return times

    assert trace(1) == trace(1)
    assert trace(1) != trace(2)
