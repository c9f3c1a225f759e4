"""Observers that raise, are slow or hang: the others are told, the engine goes on, and the end is not held up for long."""

from __future__ import annotations

import inspect
import logging
import threading
from collections.abc import Iterator

import pytest

from streamkit.app import App
from streamkit.builtin.memory import MemoryLog
from streamkit.engine import observers
from streamkit.engine.observers import Observers, ObserversAside
from streamkit.engine.runtime import ThreadRuntime
from streamkit.model import Checkpoint, Partition, Position, Record
from streamkit.plugin import Observer
from streamkit.processing import Context, record_processor

P0 = Partition("orders", "0")
METHODS = [name for name in vars(Observer) if name.startswith("on_")]


class Noting(Observer):
    """Every event, by its name."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def __getattribute__(self, name: str) -> object:
        if name.startswith("on_"):
            return lambda *_: self.told.append(name)
        return super().__getattribute__(name)


class Raising(Observer):
    def on_recovered(self, partition: Partition) -> None:
        raise ValueError("no")


@pytest.fixture
def runtime() -> Iterator[ThreadRuntime]:
    made = ThreadRuntime()
    yield made
    made.stop()


def close(aside: ObserversAside, runtime: ThreadRuntime) -> None:
    runtime.control.call("close", aside.close()).result(30)


@pytest.mark.parametrize("method", METHODS)
def test_every_event_reaches_every_observer(method: str) -> None:
    first, second = Noting(), Noting()
    count = len(inspect.signature(getattr(Observer, method)).parameters) - 1
    getattr(Observers([first, second]), method)(*range(count))
    assert first.told == second.told == [method]


def test_one_that_raises_is_logged_and_the_others_are_told(caplog: pytest.LogCaptureFixture) -> None:
    other = Noting()
    Observers([Raising(), other]).on_recovered(P0)
    assert other.told == ["on_recovered"]
    assert "Raising.on_recovered raised" in caplog.text


def test_aside_they_are_told_in_order_and_all_before_the_end(runtime: ThreadRuntime) -> None:
    noting = Noting()
    aside = ObserversAside([Raising(), noting], runtime)
    for _ in range(100):
        aside.on_recovered(P0)
        aside.on_ended(P0, 1)
    close(aside, runtime)
    assert noting.told == ["on_recovered", "on_ended"] * 100


def test_one_that_hangs_holds_up_neither_whoever_tells_nor_the_end_for_ever(
    runtime: ThreadRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    hangs = threading.Event()

    class Hanging(Observer):
        def on_recovered(self, partition: Partition) -> None:
            hangs.wait(60)

    monkeypatch.setattr(observers, "CLOSE_SECONDS", 0.05)
    aside = ObserversAside([Hanging()], runtime)
    aside.on_recovered(P0)
    close(aside, runtime)
    hangs.set()


def test_what_one_does_not_keep_up_with_is_bounded_and_said(
    runtime: ThreadRuntime, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    begun, go = threading.Event(), threading.Event()
    told: list[int] = []

    class Slow(Observer):
        def on_ended(self, partition: Partition, epoch: int) -> None:
            begun.set()
            go.wait(30)
            told.append(epoch)

    monkeypatch.setattr(observers, "MAX_RARE_EVENTS", 3)
    aside = ObserversAside([Slow()], runtime)
    aside.on_ended(P0, 0)
    assert begun.wait(30)
    for number in range(1, 10):
        aside.on_ended(P0, number)
    with caplog.at_level(logging.WARNING):
        go.set()
        close(aside, runtime)
    assert told == [0, 1, 2, 3]
    assert "6 events were not told" in caplog.text


def test_a_record_put_aside_is_told_though_everyday_events_are_dropped(runtime: ThreadRuntime, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, go = threading.Event(), threading.Event()
    attempts: list[int] = []
    positions: list[int | None] = []

    class Slow(Observer):
        def on_attempt_failed(self, partition: Partition, error: BaseException, attempt: int) -> None:
            begun.set()
            go.wait(30)
            attempts.append(attempt)

        def on_put_aside(self, partition: Partition, position: Position, error: BaseException, how: str) -> None:
            positions.append(position.sequence)

    monkeypatch.setattr(observers, "MAX_EVENTS", 3)
    aside = ObserversAside([Slow()], runtime)
    aside.on_attempt_failed(P0, ValueError(), 0)
    assert begun.wait(30)
    for number in range(1, 10):
        aside.on_attempt_failed(P0, ValueError(), number)
        aside.on_put_aside(P0, Position(number), ValueError(), "skip")
    go.set()
    close(aside, runtime)
    assert len(attempts) < 4
    assert positions == list(range(1, 10))


def test_an_observer_of_checkpoints_that_hangs_stops_no_checkpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    """A whole app: everything is processed and saved while nobody reads what is told."""
    MemoryLog.forget()
    log = MemoryLog.named()
    log.create("orders")
    for number in range(100):
        log.append("orders", b"%d" % number)
    go = threading.Event()
    seen: list[bytes | None] = []

    class Hanging(Observer):
        def on_checkpointed(self, checkpoint: Checkpoint) -> None:
            go.wait(60)

    @record_processor
    def handle(record: Record, context: Context) -> None:
        seen.append(record.value)

    monkeypatch.setattr(observers, "CLOSE_SECONDS", 0.1)
    app = App(handle, broker="memory", stream="orders", group="g", stop="at_end", checkpoint_interval="20ms")
    app.observe(Hanging())
    runtime = ThreadRuntime()
    try:
        runtime.control.call("app", app.live(app.assemble(runtime), runtime)).result(30)
        with log.lock:
            (row,) = [row for row in log.rows("memory", "g").values() if row.checkpoint is not None and row.checkpoint.at.position]
        assert row.checkpoint is not None
        assert row.checkpoint.at.position is not None
        assert row.checkpoint.at.position.sequence == 99
        assert len(seen) == 100
    finally:
        go.set()
        runtime.stop()
        MemoryLog.forget()
