"""What the parts of a delivery share: when a call may begin, and how long anything is waited for."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Iterator
from typing import cast

import pytest

from streamkit.engine.delivery.life import Life
from streamkit.engine.delivery.messages import Ending, Limits, WorkerEvents
from streamkit.engine.runtime import Promise
from streamkit.model import Partition, StartPosition
from streamkit.processing import CheckpointLink, Context
from streamkit.testing import VirtualRuntime


@pytest.fixture
def runtime() -> Iterator[VirtualRuntime]:
    made = VirtualRuntime()
    yield made
    made.stop()


@pytest.fixture
def life(runtime: VirtualRuntime) -> Life:
    link, limits, events = cast("CheckpointLink", None), cast("Limits", None), cast("WorkerEvents", None)
    context = Context(Partition("s", "0"), epoch=1, start=StartPosition.EARLIEST, state=None, link=link)
    return Life(context, runtime.user("u"), runtime, limits, events)


def later(runtime: VirtualRuntime, seconds: float, act: Callable[[], object]) -> None:
    runtime.loop.call_later(seconds, act)


def test_a_call_that_may_begin_is_timed(runtime: VirtualRuntime, life: Life) -> None:
    async def call() -> None:
        assert life.begin_call()
        await asyncio.sleep(3)
        life.end_call()

    runtime.run(call())
    assert (life.calls_made, life.call_started) == (1, None)
    assert life.calls_seconds == pytest.approx(3.0)


def test_no_call_is_begun_once_its_time_is_over(runtime: VirtualRuntime, life: Life) -> None:
    """As long as the control thread has not decided; then the assignment ends, or goes on."""
    life.valid_until = 0.0
    later(runtime, 5.0, lambda: life.end(Ending("lost", "could not be renewed")))
    assert not life.begin_call()
    assert not runtime.run(life.begin_call_later())
    assert runtime.monotonic() == pytest.approx(5.0, abs=0.1)
    assert life.call_started is None


def test_a_call_begins_when_its_time_is_extended(runtime: VirtualRuntime, life: Life) -> None:
    life.valid_until = 0.0
    later(runtime, 2.0, lambda: setattr(life, "valid_until", math.inf))
    assert not life.begin_call()
    assert runtime.run(life.begin_call_later())
    assert runtime.monotonic() == pytest.approx(2.0, abs=0.1)


def test_a_wait_ends_with_the_assignment(runtime: VirtualRuntime, life: Life) -> None:
    later(runtime, 2.0, lambda: life.end(Ending("revoked", "rebalance")))
    runtime.run(life.wait(100.0))
    assert runtime.monotonic() == pytest.approx(2.0, abs=0.1)


def test_what_goes_on_meanwhile_is_called_when_it_wants(runtime: VirtualRuntime, life: Life) -> None:
    times: list[float] = []

    async def meanwhile() -> float | None:
        times.append(runtime.monotonic())
        return 3.0 if len(times) < 3 else None

    life.meanwhile = cast("Callable[[], Awaitable[float | None]]", meanwhile)
    runtime.run(life.wait(10.0))
    assert times == pytest.approx([0.0, 3.0, 6.0], abs=0.01)
    assert runtime.monotonic() == pytest.approx(10.0, abs=0.01)


def test_what_another_carrier_does_is_waited_for_during_a_revoke_but_not_after_a_loss(runtime: VirtualRuntime, life: Life) -> None:
    promise: Promise[None] = Promise()
    life.end(Ending("revoked", "rebalance"))
    later(runtime, 2.0, lambda: promise.resolve(None))
    assert runtime.run(life.arrives(promise))
    never: Promise[None] = Promise()
    later(runtime, 1.0, lambda: life.end(Ending("lost", "deadline")))
    assert not runtime.run(life.arrives(never))
    assert runtime.monotonic() == pytest.approx(3.0, abs=0.1)


def test_what_it_fails_with_is_raised(runtime: VirtualRuntime, life: Life) -> None:
    promise: Promise[None] = Promise()
    later(runtime, 1.0, lambda: promise.fail(ConnectionError("no")))
    with pytest.raises(ConnectionError):
        runtime.run(life.arrives(promise))


def test_a_loss_replaces_a_revoke_and_never_the_other_way_round(life: Life) -> None:
    life.end(Ending("revoked", "rebalance"))
    assert not life.context.lost
    life.end(Ending("lost", "deadline"))
    life.end(Ending("revoked", "shutdown"))
    assert life.ends_by("lost")
    assert life.context.lost


def test_a_hook_that_had_to_wait_for_its_turn_takes_no_wake_up_from_whoever_waits_for_the_hook(runtime: VirtualRuntime, life: Life) -> None:
    """The assignment ends meanwhile: who looks for that after the hook has returned must not sleep for ever."""

    class Other:
        call_started: float | None = None
        hook_started: float | None = None

    async def hook() -> None: ...

    async def waits() -> float:
        await life.turn.ask(Other())
        later(runtime, 1.0, lambda: life.end(Ending("lost", "taken away")))
        await life.hook(hook())
        await life.signal.wait(100.0)
        return runtime.monotonic()

    assert runtime.run(waits()) < 2.0
