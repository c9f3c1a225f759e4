"""The life of an app: several in one `run`, the lifespan's limits, cancelling `serve`, and what may be run at all.

On real threads with events, or in virtual time; nothing here waits for time to pass.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager

import pytest

from streamkit import app as app_module
from streamkit.app import App, code_of, run
from streamkit.builtin.memory import MemoryBroker, MemoryLog
from streamkit.engine.runtime import Promise
from streamkit.errors import BrokerUnavailableError, ConfigurationError, DrainTimeoutError
from streamkit.model import Batch, Record
from streamkit.outcome import Stop
from streamkit.plugin import Observer
from streamkit.processing import Context, Processor, record_processor
from streamkit.testing import VirtualRuntime

PATIENCE = 20.0
"""Seconds after which a test that should be over in milliseconds gives up."""


@pytest.fixture(autouse=True)
def log(monkeypatch: pytest.MonkeyPatch) -> Iterator[MemoryLog]:
    for name in [name for name in os.environ if name.upper().startswith("STREAMKIT_")]:
        monkeypatch.delenv(name)
    MemoryLog.forget()
    log = MemoryLog.named()
    for stream in ("orders", "payments"):
        log.create(stream, 1)
        for number in range(3):
            log.append(stream, b"%d" % number, now=1e9)
    yield log
    MemoryLog.forget()


@pytest.fixture
def closed(monkeypatch: pytest.MonkeyPatch) -> list[MemoryBroker]:
    """Brokers that were closed."""
    seen: list[MemoryBroker] = []

    async def close(broker: MemoryBroker) -> None:
        await asyncio.sleep(0)
        seen.append(broker)

    monkeypatch.setattr(MemoryBroker, "close", close)
    return seen


class Noting(Observer):
    """Problems with the lifespan, as they are told."""

    def __init__(self) -> None:
        self.problems: list[str] = []

    def on_problem(self, subject: str, error: BaseException) -> None:
        if subject.endswith("lifespan"):
            self.problems.append(f"{subject}: {type(error).__name__}")


def app(target: object, stream: str = "orders", **more: object) -> App:
    return App(target, broker="memory", stream=stream, group=f"of-{stream}", **more)


def in_background(function: Callable[[], object]) -> Promise[object]:
    over: Promise[object] = Promise()

    def body() -> None:
        try:
            over.resolve(function())
        except BaseException as error:
            over.fail(error)

    threading.Thread(target=body, daemon=True).start()
    return over


def run_together(*apps: App) -> None:
    """`run`, in a thread: a test that would wait for ever fails, and leaves nothing running."""
    try:
        in_background(lambda: run(*apps)).result(PATIENCE)
    finally:
        for one in apps:
            one.stop()


class Steady(Processor):
    """Says that it was called, and how it ended."""

    began: threading.Event
    ended: list[str]

    def process(self, batch: Batch, context: Context) -> None:
        self.began.set()

    def partition_revoked(self, context: Context) -> None:
        self.ended.append(context.reason)


@pytest.fixture
def steady() -> type[Steady]:
    return type("Own", (Steady,), {"began": threading.Event(), "ended": []})


@record_processor
def handle(record: Record, context: Context) -> None:
    """Nothing to do."""


def raising(began: threading.Event, error: BaseException) -> Callable[[], object]:
    """A lifespan that raises when the other app runs."""

    @contextmanager
    def lifespan() -> Iterator[None]:
        assert began.wait(PATIENCE)
        raise error
        yield

    return lifespan


# -- several apps in one run ----------------------------------------------------------------------------------------------


def test_a_later_app_that_fails_is_shown_and_stops_the_one_before_it(steady: type[Steady], capsys: pytest.CaptureFixture[str]) -> None:
    failing = app(handle, "payments", lifespan=raising(steady.began, BrokerUnavailableError("no such host")))
    with pytest.raises(SystemExit) as end:
        run_together(app(steady), failing)
    assert end.value.code == 2, "it had not started"
    assert "streamkit: no such host\n" in capsys.readouterr().err
    assert steady.ended == ["another app failed"], "drained, not dropped"


def test_an_app_that_a_failure_policy_stops_stops_the_others(steady: type[Steady]) -> None:
    @record_processor
    def stops(record: Record, context: Context) -> Stop:
        steady.began.wait(PATIENCE)
        return Stop("enough")

    with pytest.raises(SystemExit) as end:
        run_together(app(steady), app(stops, "payments"))
    assert end.value.code == 1
    assert steady.ended == ["another app failed"]


def test_an_app_that_ends_well_leaves_the_others_running(steady: type[Steady]) -> None:
    over = threading.Event()

    @contextmanager
    def lifespan() -> Iterator[None]:
        yield
        over.set()

    first, second = app(steady), app(handle, "payments", stop="at_end", lifespan=lifespan)
    running = in_background(lambda: run(first, second))
    assert over.wait(PATIENCE)
    assert steady.began.wait(PATIENCE)
    assert not running.done()
    first.stop("by hand")
    running.result(PATIENCE)
    assert steady.ended == ["by hand"]


def test_an_error_that_is_not_ours_drains_the_others_and_is_raised(steady: type[Steady], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(OSError, match="no database"):
        run_together(app(steady), app(handle, "payments", lifespan=raising(steady.began, OSError("no database"))))
    assert steady.ended == ["another app failed"]
    assert "streamkit: OSError: no database\n" in capsys.readouterr().err, "shown at once"


def test_of_several_codes_the_highest_counts(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    began, release = threading.Event(), threading.Event()

    def leave(code: int) -> None:
        raise SystemExit(code)

    @record_processor
    def hangs(record: Record, context: Context) -> None:
        began.set()
        release.wait(PATIENCE)

    monkeypatch.setattr(app_module.os, "_exit", leave)
    failing = app(handle, "payments", lifespan=raising(began, OSError("no database")))
    with pytest.raises(SystemExit) as end:
        run_together(failing, app(hangs, drain_timeout="10ms"))
    release.set()
    assert end.value.code == 3
    err = capsys.readouterr().err
    assert "code was still running for orders/0" in err
    assert err.count("OSError: no database") == 2, "in a line at once, with its traceback in the end"


def test_a_run_without_an_app_is_a_named_error() -> None:
    with pytest.raises(ConfigurationError, match=r"run\(\) was given no app"):
        run()


# -- once -----------------------------------------------------------------------------------------------------------------


def test_an_app_runs_once() -> None:
    one = app(handle, stop="at_end")
    run_together(one)
    with pytest.raises(ConfigurationError, match="an App runs once"):
        asyncio.run(one.serve())
    with pytest.raises(ConfigurationError, match="an App runs once"):
        run(one)


def test_an_app_whose_settings_were_refused_has_not_run(monkeypatch: pytest.MonkeyPatch) -> None:
    one = App(handle, broker="memory", stream="orders", stop="at_end")
    with pytest.raises(ConfigurationError, match="STREAMKIT_GROUP"):
        asyncio.run(one.serve())
    monkeypatch.setenv("STREAMKIT_GROUP", "billing")
    asyncio.run(one.serve())


def test_a_stop_before_the_start_prevents_it() -> None:
    one = app(handle, lifespan=raising(threading.Event(), AssertionError("entered")))
    one.stop()
    asyncio.run(one.serve())


# -- the lifespan ---------------------------------------------------------------------------------------------------------


def live(one: App, runtime: VirtualRuntime) -> None:
    """A whole life in virtual time."""
    try:
        runtime.run(one.live(one.assemble(runtime), runtime))
    finally:
        runtime.stop()


def test_a_lifespan_that_does_not_let_go_is_given_up_and_the_drain_timeout_is_told() -> None:
    """As with a handler that blocks the user's loop: what has to run there never does."""
    noting = Noting()
    runtime = VirtualRuntime()

    @record_processor
    async def hangs(record: Record, context: Context) -> None:
        one.stop()
        await asyncio.Event().wait()

    @asynccontextmanager
    async def lifespan() -> AsyncIterator[None]:
        yield
        await asyncio.Event().wait()

    one = app(hangs, lifespan=lifespan, drain_timeout="1s")
    one.observe(noting)
    with pytest.raises(DrainTimeoutError):
        live(one, runtime)
    assert noting.problems == ["leaving the lifespan: TimeoutError"]
    assert 6 <= runtime.monotonic() < 8


@pytest.mark.parametrize("hangs", [True, False])
def test_what_the_exit_raises_never_hides_a_worse_error(hangs: bool) -> None:
    noting = Noting()

    @record_processor
    async def code(record: Record, context: Context) -> None:
        one.stop()
        if hangs:
            await asyncio.Event().wait()

    @asynccontextmanager
    async def lifespan() -> AsyncIterator[None]:
        yield
        raise OSError("not flushed")

    one = app(code, lifespan=lifespan, drain_timeout="1s")
    one.observe(noting)
    with pytest.raises(DrainTimeoutError if hangs else OSError):
        live(one, VirtualRuntime())
    assert noting.problems == (["leaving the lifespan: OSError"] if hangs else [])


def test_a_stop_interrupts_the_entry_of_an_async_lifespan() -> None:
    seen: list[str] = []
    runtime = VirtualRuntime()

    @asynccontextmanager
    async def lifespan() -> AsyncIterator[None]:
        try:
            seen.append("waits")
            runtime.loop.call_later(3.0, one.stop)
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            seen.append("cancelled")
            raise
        yield

    one = app(handle, lifespan=lifespan)
    live(one, runtime)
    assert seen == ["waits", "cancelled"]
    assert runtime.monotonic() < 4


def test_an_async_lifespan_that_does_not_listen_is_given_up() -> None:
    noting = Noting()
    runtime = VirtualRuntime()

    @asynccontextmanager
    async def lifespan() -> AsyncIterator[None]:
        runtime.loop.call_later(3.0, one.stop)
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            await asyncio.sleep(3600)
        yield

    one = app(handle, lifespan=lifespan)
    one.observe(noting)
    live(one, runtime)
    assert noting.problems == ["entering the lifespan: TimeoutError"]
    assert 8 <= runtime.monotonic() < 9


def test_a_def_lifespan_that_was_being_entered_at_the_stop_is_left_again() -> None:
    entering, go_on = threading.Event(), threading.Event()
    left: list[bool] = []

    @contextmanager
    def lifespan() -> Iterator[None]:
        entering.set()
        go_on.wait(PATIENCE)
        yield
        left.append(True)

    one = app(handle, lifespan=lifespan)
    running = in_background(lambda: run(one))
    assert entering.wait(PATIENCE)
    one.stop()
    go_on.set()
    running.result(PATIENCE)
    assert left == [True]
    assert not one.is_started


def test_a_lifespan_that_exits_is_an_error_and_not_the_end_of_the_loop() -> None:
    @asynccontextmanager
    async def lifespan() -> AsyncIterator[None]:
        raise SystemExit(7)
        yield

    with pytest.raises(RuntimeError, match="the lifespan raised SystemExit"):
        run_together(app(handle, lifespan=lifespan))


def test_the_function_that_makes_a_lifespan_is_called_in_the_users_loop() -> None:
    where: list[object] = []

    def lifespan(given: App) -> object:
        where.extend([given, asyncio.get_running_loop()])
        return asynccontextmanager(nothing)()

    async def nothing() -> AsyncIterator[None]:
        yield

    async def scene() -> list[object]:
        one = app(handle, stop="at_end", lifespan=lifespan)
        await one.serve()
        return [one, asyncio.get_running_loop()]

    assert asyncio.run(scene()) == where


# -- serve ----------------------------------------------------------------------------------------------------------------


def hanging(began: asyncio.Event, seen: list[str]) -> object:
    """Async code that hangs until it is cancelled."""

    @record_processor
    async def hangs(record: Record, context: Context) -> None:
        began.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            seen.append("cancelled")
            raise

    return hangs


async def cancel_twice(one: App, serving: asyncio.Task[None]) -> None:
    """The second time when the drain has begun."""
    serving.cancel()
    while not any(status.state == "ending" for status in one.snapshot()):
        await asyncio.sleep(0)
    serving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(asyncio.shield(serving), PATIENCE)


def test_a_second_cancellation_ends_serve_at_once_and_leaves_nothing_behind(closed: list[MemoryBroker]) -> None:
    seen: list[str] = []

    @asynccontextmanager
    async def lifespan() -> AsyncIterator[None]:
        yield
        seen.append("left")

    async def scene() -> None:
        began = asyncio.Event()
        one = app(hanging(began, seen), lifespan=lifespan, drain_timeout="1h")
        serving = asyncio.create_task(one.serve())
        await began.wait()
        await cancel_twice(one, serving)
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(scene())
    assert len(closed) == 1
    assert seen == ["cancelled", "left"], "the code first: it may use what the lifespan closes"


def test_a_second_cancellation_does_not_wait_for_def_code(closed: list[MemoryBroker]) -> None:
    release = threading.Event()

    async def scene() -> None:
        loop, began = asyncio.get_running_loop(), asyncio.Event()

        @record_processor
        def hangs(record: Record, context: Context) -> None:
            loop.call_soon_threadsafe(began.set)
            release.wait(PATIENCE)

        one = app(hangs, drain_timeout="1h")
        serving = asyncio.create_task(one.serve())
        await began.wait()
        await cancel_twice(one, serving)

    asyncio.run(scene())
    release.set()
    assert len(closed) == 1


def test_many_cancellations_are_no_worse_than_two(closed: list[MemoryBroker]) -> None:
    """asyncio.run cancels every task there is, anyio cancels again in each turn of the loop."""
    seen: list[str] = []

    async def scene() -> None:
        began = asyncio.Event()
        serving = asyncio.create_task(app(hanging(began, seen), drain_timeout="1h").serve())
        await began.wait()
        while not serving.done():
            serving.cancel()
            await asyncio.sleep(0)
        assert serving.cancelled()
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(scene())
    assert (len(closed), seen) == (1, ["cancelled"])


def test_a_first_cancellation_drains(steady: type[Steady]) -> None:
    async def scene() -> None:
        serving = asyncio.create_task(app(steady).serve())
        await asyncio.to_thread(steady.began.wait, PATIENCE)
        serving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await serving

    asyncio.run(scene())
    assert steady.ended == ["cancelled"]


def test_code_that_outlives_the_drain_is_cancelled_in_the_callers_loop() -> None:
    seen: list[str] = []

    async def scene() -> None:
        began = asyncio.Event()
        one = app(hanging(began, seen), drain_timeout="10ms")
        serving = asyncio.create_task(one.serve())
        await began.wait()
        one.stop()
        with pytest.raises(DrainTimeoutError):
            await asyncio.wait_for(serving, PATIENCE)
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(scene())
    assert seen == ["cancelled"]


def test_serve_leaves_no_thread_behind() -> None:
    before = set(threading.enumerate())

    @contextmanager
    def lifespan() -> Iterator[None]:
        yield

    asyncio.run(app(handle, stop="at_end", lifespan=lifespan).serve())
    for thread in set(threading.enumerate()) - before:
        thread.join(PATIENCE)
        assert not thread.is_alive(), thread.name


# -- what may be run ------------------------------------------------------------------------------------------------------


class Plain(Processor):
    def process(self, batch: Batch, context: Context) -> None:
        """Nothing to do."""


class Manual(Plain):
    checkpoint = "manual"


class Flushing(Plain):
    def flush(self, context: Context) -> None:
        """Nothing to do."""


class Async(Processor):
    async def process(self, batch: Batch, context: Context) -> None:
        """Nothing to do."""


def annotated() -> Manual:
    raise AssertionError("called")


def base() -> Plain:
    return PRODUCT()


PRODUCT: type[Plain] = Plain


def test_a_factory_that_says_what_it_makes_is_not_called_for_its_facts() -> None:
    code = code_of(annotated)
    assert (code.facts.checkpoint, code.processor_type) == ("manual", Manual)


def test_a_factory_that_does_not_say_so_is_called_once() -> None:
    calls: list[int] = []

    def unannotated():  # type: ignore[no-untyped-def]
        calls.append(1)
        return Manual()

    def vague() -> Processor:
        calls.append(1)
        return Manual()

    def unknown() -> NotHere:  # type: ignore[name-defined]  # noqa: F821
        calls.append(1)
        return Manual()

    for factory in (unannotated, vague, unknown):
        calls.clear()
        code = code_of(factory)
        assert (code.facts.checkpoint, code.processor_type, len(calls)) == ("manual", Manual, 1)


@pytest.mark.parametrize("product", [Manual, Flushing, Async, object])
def test_a_factory_that_makes_something_else_is_a_named_error(product: type, monkeypatch: pytest.MonkeyPatch) -> None:
    factory = code_of(base).factory
    assert factory is not None
    assert type(factory()) is Plain
    monkeypatch.setitem(globals(), "PRODUCT", product)
    with pytest.raises(ConfigurationError, match=f"base made a {product.__name__}, which is not called or checkpointed as a Plain"):
        factory()


def test_a_factory_may_make_a_subclass_that_the_engine_treats_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    factory = code_of(base).factory
    assert factory is not None
    alike = type("Alike", (Plain,), {})
    monkeypatch.setitem(globals(), "PRODUCT", alike)
    assert type(factory()) is alike


def test_a_factory_of_apps_gives_the_apps_code() -> None:
    assert code_of(lambda: App(handle)).function is handle
