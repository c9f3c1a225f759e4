"""What counts as stuck and as held up, by times alone; then the watchdog on a clock that a test moves, and on real threads."""

from __future__ import annotations

import ctypes
import threading
import time
from collections.abc import Callable, Mapping, Sequence

import pytest

from streamkit.engine import watchdog
from streamkit.engine.delivery.messages import RunningCall
from streamkit.engine.runtime import Promise, ThreadRuntime
from streamkit.engine.watchdog import QUIET_SECONDS, TICK_SECONDS, UNSEEN, Beat, StuckCalls, Watchdog
from streamkit.model import Partition
from streamkit.plugin import Observer
from streamkit.testing import VirtualRuntime

PATIENCE = 20.0


def call(started: float, done: int = 0, stack: str = "in handle") -> RunningCall:
    return RunningCall(started, done, lambda: stack)


class Notes(Observer):
    def __init__(self) -> None:
        self.notes: list[tuple[str, object, float, str]] = []
        self.changed = threading.Event()

    def on_stuck(self, partition: Partition, seconds: float, stack: str) -> None:
        self.notes.append(("stuck", partition.id, seconds, stack))

    def on_recovered(self, partition: Partition) -> None:
        self.notes.append(("recovered", partition.id, 0.0, ""))

    def on_blocked(self, what: str, seconds: float, stack: str) -> None:
        self.notes.append(("blocked", what, seconds, stack))
        self.changed.set()

    def about(self, words: str) -> tuple[str, object, float, str] | None:
        """The first one in whose stack that is. A machine that stood still is told too, and nobody is named for it."""
        return next((note for note in self.notes if words in note[3]), None)


class One:
    """An assignment, as far as the watchdog is concerned."""

    def __init__(self, name: str = "0") -> None:
        self.partition = Partition("orders", name)
        self.ending: object | None = None


# -- what is stuck --------------------------------------------------------------------------------------------------------


def test_a_call_is_stuck_when_it_has_run_for_so_long_and_is_named_once() -> None:
    calls: StuckCalls[str] = StuckCalls(10.0)
    assert calls.look({"a": [call(0.0)]}, 9.9) == ([], [])
    assert calls.look({"a": [call(0.0)]}, 10.0) == (["a"], [])
    assert calls.stuck["a"].since == 0.0
    assert calls.look({"a": [call(0.0)]}, 60.0) == ([], [])


def test_a_call_that_returns_is_not_stuck_any_more_and_the_next_one_is_another() -> None:
    calls: StuckCalls[str] = StuckCalls(10.0)
    calls.look({"a": [call(0.0)]}, 10.0)
    assert calls.look({"a": []}, 11.0) == ([], ["a"])
    assert calls.look({"a": [call(11.0)]}, 20.0) == ([], [])
    assert calls.look({"a": [call(11.0)]}, 21.0) == (["a"], [])
    assert calls.look({"a": [call(21.5)]}, 22.0) == ([], ["a"]), "it returned, and the next one began at once"


def test_a_handler_of_records_that_finishes_one_now_and_then_is_not_stuck() -> None:
    calls: StuckCalls[str] = StuckCalls(10.0)
    for second in range(100):
        assert calls.look({"a": [call(0.0, done=second // 9)]}, float(second)) == ([], [])
    assert calls.look({"a": [call(0.0, done=11)]}, 109.0) == (["a"], []), "99 was the last time that one was done"


def test_of_several_calls_the_oldest_counts() -> None:
    calls: StuckCalls[str] = StuckCalls(10.0)
    found, _ = calls.look({"a": [call(9.0, stack="young"), call(0.0, stack="old")]}, 10.0)
    assert found == ["a"]
    assert calls.stuck["a"].stack == "old"


def test_what_is_gone_is_not_stuck() -> None:
    calls: StuckCalls[str] = StuckCalls(10.0)
    calls.look({"a": [call(0.0)]}, 10.0)
    assert calls.look({}, 11.0) == ([], ["a"])
    assert not calls.stuck


# -- what is told ---------------------------------------------------------------------------------------------------------


def test_being_late_is_told_from_the_limit_on_and_once_in_a_while() -> None:
    beat = Beat(3.0)
    assert not beat.is_worth_telling(2.9, 100.0)
    assert beat.is_worth_telling(3.0, 100.0)
    assert not beat.is_worth_telling(50.0, 100.0 + QUIET_SECONDS - 1)
    assert beat.is_worth_telling(3.0, 100.0 + QUIET_SECONDS)


class Scene:
    """A watchdog in virtual time, the calls that it sees, and what it says."""

    def __init__(self) -> None:
        self.runtime = VirtualRuntime()
        self.running: dict[One, Sequence[RunningCall]] = {}
        self.given_up: list[One] = []
        self.notes = Notes()
        self.dog: Watchdog[One] = Watchdog(
            self.runtime, self.notes, lambda: self.running, lambda one, _: self.given_up.append(one), stuck_after_seconds=10.0
        )
        self.over = self.runtime.control.call("watchdog", self.dog.run())

    def advance(self, seconds: float) -> None:
        async def pause() -> None:
            await self.runtime.control.signal().wait(seconds)

        self.runtime.run(pause())


@pytest.fixture
def scene() -> object:
    made = Scene()
    yield made
    made.dog.stop()
    made.runtime.run(made.over)
    made.runtime.stop()


def test_a_stuck_call_is_told_with_its_stack_and_given_up_once(scene: Scene) -> None:
    one = One()
    scene.running[one] = [call(0.0, stack="line 7")]
    scene.advance(9.0)
    assert scene.notes.notes == []
    scene.advance(30.0)
    ((what, partition, seconds, stack),) = scene.notes.notes
    assert (what, partition, stack) == ("stuck", "0", "line 7")
    assert 10.0 <= seconds <= 10.0 + 2 * TICK_SECONDS
    assert scene.given_up == [one]


def test_it_is_told_that_it_goes_on_but_not_of_what_was_given_up_meanwhile(scene: Scene) -> None:
    ours, lost = One("0"), One("1")
    scene.running.update({ours: [call(0.0)], lost: [call(0.0)]})
    scene.advance(11.0)
    lost.ending = "lost"
    scene.running.update({ours: [], lost: []})
    scene.advance(1.0)
    assert [note[:2] for note in scene.notes.notes if note[0] == "recovered"] == [("recovered", "0")]


def test_the_control_thread_says_when_it_was_kept_from_running(scene: Scene) -> None:
    before, after = One("0"), One("1")
    scene.running.update({before: [call(0.0, stack="holds the lock")], after: [call(4.0, stack="came later")]})
    scene.dog.tick(1.0, 1.0 + TICK_SECONDS + 2.9)
    assert scene.notes.notes == []
    scene.dog.tick(1.0, 1.0 + TICK_SECONDS + 3.0)
    ((what, who, seconds, stack),) = scene.notes.notes
    assert (what, who, seconds) == ("blocked", "the engine's control thread", 3.0)
    assert "orders/0:\nholds the lock" in stack
    assert "came later" not in stack, "it had not begun when the wait began"


def test_where_no_call_ran_it_says_what_else_it_may_have_been(scene: Scene) -> None:
    scene.dog.tick(0.0, 60.0)
    assert scene.notes.notes[0][3] == UNSEEN


def test_silence_is_counted_from_the_last_look_and_ends_with_the_app(scene: Scene) -> None:
    assert scene.dog.silent_seconds() == 0.0
    scene.advance(1.0)
    assert scene.dog.silent_seconds() == 0.0
    assert scene.dog.ticked_at is not None
    scene.dog.ticked_at -= 40.0
    assert 39.0 < scene.dog.silent_seconds() <= 40.0
    scene.dog.stop()
    assert scene.dog.silent_seconds() == 0.0


# -- on real threads ------------------------------------------------------------------------------------------------------


def watched(runtime: ThreadRuntime, running: Callable[[], Mapping[One, Sequence[RunningCall]]], held: float) -> tuple[Watchdog[One], Notes]:
    notes = Notes()
    dog: Watchdog[One] = Watchdog(runtime, notes, running, lambda one, why: None, stuck_after_seconds=60.0, held_seconds=held)
    runtime.control.call("watchdog", dog.run())
    return dog, notes


def hold_the_interpreter(seconds: float) -> None:
    """As a careless extension does: a call that does not give up the lock."""
    ctypes.PyDLL(None).usleep(int(seconds * 1e6))


@pytest.fixture
def talkative(monkeypatch: pytest.MonkeyPatch) -> None:
    """It tells each time: what it told first may be that the whole machine stood still."""
    monkeypatch.setattr(watchdog, "QUIET_SECONDS", 0.0)


def told(notes: Notes, words: str) -> tuple[str, object, float, str]:
    """Waits for a note in whose stack that is."""
    until = time.monotonic() + PATIENCE
    while (note := notes.about(words)) is None:
        assert time.monotonic() < until, notes.notes
        notes.changed.wait(0.05)
        notes.changed.clear()
    return note


@pytest.mark.usefixtures("talkative")
def test_who_holds_the_interpreter_lock_is_named() -> None:
    runtime = ThreadRuntime()
    one, started, over = One(), Promise[float](), Promise[None]()
    worker = runtime.thread("worker")

    async def handle() -> None:
        started.resolve(time.monotonic())
        until = time.monotonic() + PATIENCE
        while notes.about("hold_the_interpreter") is None and time.monotonic() < until:
            hold_the_interpreter(0.6)

    def running() -> Mapping[One, Sequence[RunningCall]]:
        return {one: [RunningCall(started.result(0), 0, worker.stack)]} if started.done() else {}

    dog, notes = watched(runtime, running, held=0.3)
    worker.spawn("handle", handle(), lambda error: over.resolve(None))
    what, who, seconds, _ = told(notes, "hold_the_interpreter")
    over.result(PATIENCE)
    dog.stop()
    runtime.stop()
    assert (what, who) == ("blocked", "the engine's control thread")
    assert seconds >= 0.3


@pytest.mark.usefixtures("talkative")
def test_who_blocks_the_users_loop_is_named_while_it_does() -> None:
    runtime = ThreadRuntime()
    user = runtime.user("worker")
    let_go = threading.Event()

    async def handle() -> None:
        let_go.wait(PATIENCE)

    dog, notes = watched(runtime, dict, held=0.3)
    asked = Promise[None]()
    user.post(dog._answered)  # as it does when it is asked: its thread is known then
    user.post(asked.resolve, None)
    asked.result(PATIENCE)
    over = user.call("handle", handle())
    what, who, seconds, _ = told(notes, "let_go.wait(PATIENCE)")
    let_go.set()
    over.result(PATIENCE)
    dog.stop()
    runtime.stop()
    assert (what, who) == ("blocked", "the loop of async def handlers")
    assert seconds >= 0.3
