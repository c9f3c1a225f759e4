"""Promises, signals, mailboxes and carriers, on real threads and in virtual time. Nothing here waits for time to pass."""

from __future__ import annotations

import asyncio
import random
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future

import pytest

from streamkit.engine.runtime import Carrier, Mailbox, Promise, ThreadRuntime, is_being_stopped
from streamkit.testing import VirtualRuntime

PATIENCE = 20.0
"""Seconds after which a test that should be over in milliseconds gives up."""


@pytest.fixture
def threads() -> Iterator[ThreadRuntime]:
    runtime = ThreadRuntime()
    yield runtime
    runtime.stop()


@pytest.fixture
def quick_switches() -> Iterator[None]:
    """Threads change as often as the interpreter can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


# -- promises -----------------------------------------------------------------------------------------------------------


def test_the_first_answer_of_a_promise_stands() -> None:
    promise: Promise[int] = Promise()
    promise.resolve(1)
    promise.resolve(2)
    promise.fail(ValueError())
    assert promise.result() == 1


def test_an_answer_that_comes_between_a_look_and_an_answer_troubles_nobody() -> None:
    class Overtaken(Future[int]):
        """Whoever looks whether it is done is overtaken by another thread's answer right after."""

        def done(self) -> bool:
            was_done = super().done()
            if not was_done:
                self.set_result(7)
            return was_done

    for answer in (lambda promise: promise.resolve(1), lambda promise: promise.fail(KeyError())):
        promise: Promise[int] = Promise()
        promise._future = Overtaken()
        answer(promise)
        assert promise._future.exception() is not None or promise.result() in (1, 7)


def test_a_failed_promise_raises_its_error() -> None:
    promise: Promise[int] = Promise()
    promise.fail(KeyError("x"))
    promise.resolve(1)
    with pytest.raises(KeyError):
        promise.result()


def test_result_gives_up_after_its_timeout() -> None:
    with pytest.raises(TimeoutError):
        Promise[int]().result(0)


def test_result_on_a_loops_thread_raises_instead_of_blocking_it(threads: ThreadRuntime) -> None:
    async def wait() -> int:
        return Promise[int]().result()

    with pytest.raises(RuntimeError, match="await it instead"):
        threads.control.call("wait", wait()).result(PATIENCE)


def test_a_promise_that_is_there_may_be_read_on_a_loop(threads: ThreadRuntime) -> None:
    done: Promise[int] = Promise()
    done.resolve(5)

    async def read() -> int:
        return done.result() + await done

    assert threads.control.call("read", read()).result(PATIENCE) == 10


def test_a_waiter_that_is_cancelled_does_not_cancel_the_promise() -> None:
    async def scene() -> list[object]:
        promise: Promise[int] = Promise()

        async def wait() -> int:
            return await promise

        first, second = asyncio.ensure_future(wait()), asyncio.ensure_future(wait())
        await asyncio.sleep(0)
        first.cancel()
        await asyncio.wait([first])
        assert not promise.done()
        promise.resolve(3)
        return [first.cancelled(), await second]

    assert asyncio.run(scene()) == [True, 3]


def test_a_promise_that_comes_after_its_waiters_loop_has_closed_troubles_nobody() -> None:
    promise: Promise[int] = Promise()

    async def scene() -> None:
        async def wait() -> int:
            return await promise

        task = asyncio.ensure_future(wait())
        await asyncio.sleep(0)
        task.cancel()

    asyncio.run(scene())
    promise.resolve(1)
    assert promise.result() == 1


def test_a_coroutine_that_never_began_is_closed_and_its_promise_fails() -> None:
    runtime = VirtualRuntime()

    async def body() -> int:
        return 1

    promise = runtime.control.call("never", body())
    runtime.stop()
    assert promise.done()


# -- carriers -----------------------------------------------------------------------------------------------------------


def test_a_thread_carrier_runs_its_coroutine_in_a_daemon_thread_of_its_own(threads: ThreadRuntime) -> None:
    async def where() -> threading.Thread:
        return threading.current_thread()

    thread = threads.thread("t").call("one", where()).result(PATIENCE)
    assert thread is not threading.current_thread()
    assert thread.daemon
    assert thread.name == "streamkit-one"


def test_awaiting_an_asyncio_object_on_a_thread_is_a_named_error(threads: ThreadRuntime) -> None:
    async def wrong() -> None:
        await asyncio.sleep(0)

    with pytest.raises(RuntimeError):
        threads.thread("t").call("wrong", wrong()).result(PATIENCE)


def test_def_hooks_of_one_assignment_on_the_user_loop_share_one_thread(threads: ThreadRuntime) -> None:
    carrier, other = threads.user("one"), threads.user("two")

    async def where(which: object) -> tuple[object, object]:
        assert which in (carrier, other)
        chosen = carrier if which is carrier else other
        return await chosen.call_def(threading.get_ident), await chosen.call_def(threading.get_ident)

    first = carrier.call("a", where(carrier)).result(PATIENCE)
    second = carrier.call("b", where(other)).result(PATIENCE)
    assert first[0] == first[1] != second[0] == second[1]
    carrier.release()
    other.release()


def test_what_is_posted_arrives_in_order(threads: ThreadRuntime) -> None:
    seen: list[int] = []
    done: Promise[None] = Promise()
    for number in range(100):
        threads.control.post(seen.append, number)
    threads.control.post(done.resolve, None)
    done.result(PATIENCE)
    assert seen == list(range(100))


def test_posts_after_the_end_are_dropped_in_silence() -> None:
    runtime = ThreadRuntime()
    runtime.stop()
    runtime.control.post(print, "nobody hears this")


def test_stop_ends_every_thread_and_cancels_what_still_waits() -> None:
    before = threading.active_count()
    runtime = ThreadRuntime()
    ended: list[BaseException | None] = []
    begun: Promise[None] = Promise()

    async def wait() -> None:
        begun.resolve(None)
        await runtime.io.signal().wait()

    runtime.io.spawn("waits", wait(), ended.append)
    begun.result(PATIENCE)
    runtime.stop()
    assert threading.active_count() == before
    assert [type(error) for error in ended] == [asyncio.CancelledError]


def test_a_task_that_is_cancelled_before_it_began_never_runs(threads: ThreadRuntime) -> None:
    ran: list[bool] = []
    over: Promise[BaseException | None] = Promise()

    async def body() -> None:
        ran.append(True)

    async def scene() -> None:
        threads.control.spawn("never", body(), over.resolve).cancel()

    threads.control.call("scene", scene()).result(PATIENCE)
    assert isinstance(over.result(PATIENCE), asyncio.CancelledError)
    assert ran == []


# -- signals: no wake-up is lost ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["thread", "loop"])
def test_a_signal_that_was_set_before_the_wait_is_not_waited_for(threads: ThreadRuntime, kind: str) -> None:
    carrier = threads.thread("t") if kind == "thread" else threads.io
    signal = carrier.signal()
    signal.set()
    signal.set()

    async def wait() -> str:
        await signal.wait()
        await signal.wait(0)  # set twice is set once, and zero seconds do not block
        return "over"

    assert carrier.call("wait", wait()).result(PATIENCE) == "over"


@pytest.mark.parametrize("kind", ["thread", "loop"])
def test_no_item_is_lost_between_many_writers_and_one_reader(threads: ThreadRuntime, kind: str) -> None:
    carrier = threads.thread("t") if kind == "thread" else threads.io
    box: Mailbox[tuple[int, int]] = Mailbox(carrier.signal())
    writers, each = 4, 5000

    async def read() -> list[tuple[int, int]]:
        items: list[tuple[int, int]] = []
        while len(items) < writers * each:
            item = await box.get()
            if item is not None:
                items.append(item)
        return items

    def write(writer: int) -> None:
        for number in range(each):
            box.put((writer, number))

    answer = carrier.call("read", read())
    for writer in range(writers):
        threading.Thread(target=write, args=(writer,), daemon=True).start()
    items = answer.result(PATIENCE)
    for writer in range(writers):
        assert [number for who, number in items if who == writer] == list(range(each))


@pytest.mark.parametrize(("left", "right"), [("thread", "thread"), ("thread", "loop"), ("loop", "loop")])
def test_two_that_wait_for_each_other_never_both_sleep(threads: ThreadRuntime, left: str, right: str) -> None:
    """A ping-pong: one lost wake-up in 3000 turns would leave both waiting."""
    carriers = [threads.thread("a") if left == "thread" else threads.io, threads.thread("b") if right == "thread" else threads.control]
    boxes: list[Mailbox[int]] = [Mailbox(carrier.signal()) for carrier in carriers]
    turns = 3000

    async def play(mine: int) -> int:
        number = 0
        while number < turns:
            got = await boxes[mine].get()
            if got is not None:
                number = got
                boxes[1 - mine].put(number + 1)
        return number

    answers = [carrier.call("play", play(index)) for index, carrier in enumerate(carriers)]
    boxes[0].put(0)
    assert {answer.result(PATIENCE) >= turns for answer in answers} == {True}


def test_many_promises_resolved_from_threads_all_wake_their_waiters(threads: ThreadRuntime) -> None:
    count = 2000
    promises: list[Promise[int]] = [Promise() for _ in range(count)]

    async def total() -> int:
        return sum([await promise for promise in promises])

    answer = threads.control.call("total", total())

    def resolve(part: list[Promise[int]]) -> None:
        for promise in part:
            promise.resolve(1)

    for start in range(4):
        threading.Thread(target=resolve, args=(promises[start::4],), daemon=True).start()
    assert answer.result(PATIENCE) == count


def test_resolving_and_failing_at_once_from_two_threads_never_raises(quick_switches: None) -> None:
    errors: list[BaseException] = []
    promises: list[Promise[int]] = [Promise() for _ in range(4000)]
    barrier = threading.Barrier(2)

    def race(good: bool) -> None:
        barrier.wait()
        try:
            for promise in promises:
                if good:
                    promise.resolve(1)
                else:
                    promise.fail(KeyError())
        except BaseException as error:
            errors.append(error)

    racers = [threading.Thread(target=race, args=(good,), daemon=True) for good in (True, False)]
    for racer in racers:
        racer.start()
    for racer in racers:
        racer.join(PATIENCE)
    assert errors == []
    assert all(promise.done() for promise in promises)


def test_vacating_leaves_a_loop_of_our_own_alone(threads: ThreadRuntime) -> None:
    began: Promise[None] = Promise()
    ended: list[BaseException | None] = []
    carrier = threads.user("one")

    async def wait() -> None:
        began.resolve(None)
        await carrier.signal().wait()

    carrier.spawn("wait", wait(), ended.append)
    began.result(PATIENCE)
    threads.control.call("vacate", threads.vacate()).result(PATIENCE)
    assert ended == [], "other apps may run in it"


# -- time limits and stacks ----------------------------------------------------------------------------------------------


def test_a_call_within_a_time_is_cancelled_at_its_end() -> None:
    runtime = VirtualRuntime()

    async def slow() -> None:
        await asyncio.sleep(100)

    with pytest.raises(TimeoutError, match="not done within 2s, cancelled"):
        runtime.run(runtime.user("u").call_within(2.0, slow))
    assert runtime.monotonic() == pytest.approx(2.0, abs=0.01)
    runtime.stop()


def test_a_call_within_a_time_that_swallows_its_cancellation_is_waited_for() -> None:
    runtime = VirtualRuntime()

    async def stubborn() -> str:
        try:
            await asyncio.sleep(100)
        except asyncio.CancelledError:
            await asyncio.sleep(5)
        return "done"

    async def call() -> str:
        answer = await runtime.user("u").call_within(2.0, stubborn)
        assert not is_being_stopped(), "its cancellation is forgotten"
        return answer

    assert runtime.run(call()) == "done"
    assert runtime.monotonic() == pytest.approx(7.0, abs=0.01)
    runtime.stop()


def test_a_call_within_a_time_that_is_stopped_from_outside_is_no_time_out() -> None:
    runtime = VirtualRuntime()
    ends: list[BaseException | None] = []

    async def slow() -> None:
        await asyncio.sleep(100)

    async def work() -> None:
        task = runtime.control.spawn("t", runtime.user("u").call_within(50.0, slow), ends.append)
        await asyncio.sleep(1)
        task.cancel()
        await asyncio.sleep(1)

    runtime.run(work())
    assert isinstance(ends[0], asyncio.CancelledError)
    runtime.stop()


def test_a_time_out_of_the_functions_own_stays_its_own() -> None:
    runtime = VirtualRuntime()

    async def own() -> None:
        raise TimeoutError("the database")

    with pytest.raises(TimeoutError, match="the database"):
        runtime.run(runtime.user("u").call_within(2.0, own))
    runtime.stop()


def stack_while_it_waits(carrier: Carrier, coroutine: object, began: threading.Event, go_on: threading.Event) -> str:
    over: Promise[None] = Promise()
    carrier.spawn("w", coroutine, lambda error: over.fail(error) if error is not None else over.resolve(None))  # type: ignore[arg-type]
    assert began.wait(PATIENCE)
    stack = carrier.stack()
    go_on.set()
    over.result(PATIENCE)
    carrier.release()
    return stack


def test_the_stack_of_a_def_call_is_known_on_a_thread_and_beside_a_loop(threads: ThreadRuntime) -> None:
    for carrier in (threads.thread("t"), threads.user("u")):
        began, go_on = threading.Event(), threading.Event()

        def hangs_here(began: threading.Event = began, go_on: threading.Event = go_on) -> None:
            began.set()
            go_on.wait(PATIENCE)

        async def work(carrier: Carrier = carrier, function: object = hangs_here) -> None:
            await carrier.call_def(function)  # type: ignore[arg-type]

        assert "in hangs_here" in stack_while_it_waits(carrier, work(), began, go_on)


def test_the_stack_of_a_coroutine_that_waits_is_known() -> None:
    runtime = VirtualRuntime()
    carrier = runtime.user("u")

    async def inner() -> None:
        await asyncio.sleep(10)

    async def outer() -> None:
        await inner()

    async def look() -> str:
        carrier.spawn("w", outer(), lambda error: None)
        await asyncio.sleep(1)
        return carrier.stack()

    stack = runtime.run(look())
    assert stack.index("in outer") < stack.index("in inner") < stack.index("in sleep")
    runtime.stop()


@pytest.mark.skipif(not hasattr(time, "CLOCK_BOOTTIME"), reason="this system has no clock that goes on while it sleeps")
def test_code_that_seeds_randomness_for_itself_makes_no_two_processes_alike(threads: ThreadRuntime) -> None:
    """Owners of leases are told apart by it: one that comes back must not take itself for its predecessor."""
    before = random.getstate()
    try:
        drawn = set()
        for _ in range(2):
            random.seed(42)
            drawn.add(threads.random())
    finally:
        random.setstate(before)
    assert len(drawn) == 2


def test_the_clock_goes_on_while_the_machine_sleeps(threads: ThreadRuntime, monkeypatch: pytest.MonkeyPatch) -> None:
    times = {time.CLOCK_BOOTTIME: 3600.0, time.CLOCK_MONOTONIC: 1.0}
    with monkeypatch.context() as patched:
        patched.setattr(time, "clock_gettime", times.__getitem__)
        assert threads.monotonic() == 3600.0
