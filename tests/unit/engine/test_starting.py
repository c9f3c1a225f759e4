"""Broker, store and dead-letter target that cannot be reached yet: the start asks again, for START_TIMEOUT and no longer."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from streamkit.errors import AccessDeniedError, BrokerUnavailableError, StreamGoneError, StreamkitError, ThrottledError
from streamkit.model import Partition, StartPosition
from streamkit.testing import Harness
from streamkit.testing.scripted import ScriptedBroker
from tests.unit.engine.rig import failing, values

FAR_AWAY = BrokerUnavailableError("no broker answers", fix="see that it runs")


def test_a_broker_that_comes_late_is_waited_for() -> None:
    h = Harness(failing({}), assigned=False)
    h.script.fail("discover", FAR_AWAY, times=4)
    with h:
        h.deliver(b"one")
        assert values(h) == [b"one"]
        assert 2 < h.time < 20
        assert sum("no broker answers" in problem for problem in h.problems) == 1, "it is said once"


def test_the_waiting_ends_and_what_stood_in_the_way_is_raised() -> None:
    h = Harness(failing({}), assigned=False, start_timeout="10s")
    h.script.fail("discover", FAR_AWAY, times=1000)
    with pytest.raises(BrokerUnavailableError, match="no broker answers"), h:
        h.advance(9)
        assert h.is_running
        h.advance(3)
        assert not h.is_running
        h.stop()


def test_without_a_timeout_each_is_asked_once() -> None:
    h = Harness(failing({}), assigned=False, start_timeout=0)
    h.script.fail("discover", FAR_AWAY, times=2)
    with pytest.raises(BrokerUnavailableError), h:
        h.advance(0.1)
        assert not h.is_running
        h.stop()
    assert len(h.script.failures["discover"]) == 1


@pytest.mark.parametrize("error", [AccessDeniedError("no right to list"), StreamGoneError("there is no such stream")])
def test_what_is_wrong_for_good_ends_the_start_at_once(error: StreamkitError) -> None:
    h = Harness(failing({}), assigned=False)
    h.script.fail("discover", error)
    with pytest.raises(type(error)), h:
        h.advance(0.1)
        assert not h.is_running
        h.stop()


def test_who_is_told_to_stop_while_it_waits_ends_in_order() -> None:
    h = Harness(failing({}), assigned=False)
    h.script.fail("discover", ThrottledError("later"), times=1000)
    with h:
        h.advance(3)
        assert h.is_running
        began = h.time
        h.stop()
        assert h.exit_code == 0
        assert h.time - began < 1
    assert h.seen == []


def test_the_tips_are_asked_again_too() -> None:
    h = Harness(failing({}), stop="at_end", assigned=False)
    h.write(b"one")
    h.script.fail("tips", FAR_AWAY)
    with h:
        h.assign()
        h._run_until(lambda: not h.is_running, "stopped")
        h.stop()
        assert values(h) == [b"one"]


def test_who_is_told_to_stop_while_a_question_is_under_way_does_not_wait_for_its_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    h = Harness(failing({}), assigned=False)

    async def hangs(self: ScriptedBroker, streams: Sequence[str], start: StartPosition) -> Sequence[Partition]:
        await asyncio.sleep(1000)
        raise FAR_AWAY

    monkeypatch.setattr(ScriptedBroker, "discover", hangs)
    with h:
        h.advance(3)
        began = h.time
        h.stop()
        assert h.exit_code == 0
        assert h.time - began < 10


def test_no_question_is_begun_when_the_time_is_up() -> None:
    h = Harness(failing({}), assigned=False, start_timeout="10s")
    h.script.fail("discover", FAR_AWAY, times=1000)
    with pytest.raises(BrokerUnavailableError), h:
        h._run_until(lambda: not h.is_running, "given up")
        h.stop()
    assert h.time < 10.5
