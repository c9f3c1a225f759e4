"""Commands to the reader's thread: between polls, inside a client's revoke callback, and after the reader is gone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

import pytest

from streamkit.engine.delivery.pressure import Pressure
from streamkit.engine.reading import Reading
from streamkit.engine.runtime import Carrier, Promise, ThreadRuntime
from streamkit.errors import BrokerUnavailableError
from streamkit.model import Partition, StartPosition
from streamkit.plugin import Budget, Event, Idle, Reader, Revoked

P0 = Partition("s", "0")
PATIENCE = 20.0


class Quiet(Reader):
    """A blocking reader without records that does in its next poll what the test says."""

    blocking = True

    def __init__(self) -> None:
        self.act: object = None
        self.polled: Promise[None] = Promise()

    async def add(self, partition: Partition, start: StartPosition, *, written: datetime | None = None, epoch: int = 0) -> None: ...
    async def remove(self, partitions: Sequence[Partition]) -> None: ...
    async def pause(self, partitions: Sequence[Partition]) -> None: ...
    async def resume(self, partitions: Sequence[Partition]) -> None: ...

    async def poll(self, budget: Budget) -> Sequence[Event]:
        act, self.act = self.act, None
        if callable(act):
            act()
        return [Idle(0.001)]


def nobody(*told: object) -> None:
    """Is told of problems, and does nothing."""


class Rig:
    def __init__(self, runtime: ThreadRuntime) -> None:
        self.reader = Quiet()
        self.carrier: Carrier = runtime.thread("reading")
        self.revoked: list[Event] = []
        pressure = Pressure(max_batch=1, max_in_flight=1, max_bytes=1024)
        self.reading = Reading(self.reader, self.carrier, runtime, pressure, 1, self.revoked.append, nobody, nobody)
        self.over: Promise[BaseException | None] = Promise()
        self.carrier.spawn("reading", self.reading.run(), self.over.resolve)


@pytest.fixture
def rig() -> Iterator[Rig]:
    runtime = ThreadRuntime()
    rig = Rig(runtime)
    yield rig
    rig.reading.close(leave=True)
    rig.over.result(PATIENCE)
    runtime.stop()


async def answer() -> int:
    return 42


async def fail() -> int:
    raise KeyError("mine")


def test_a_command_runs_between_polls_and_its_result_or_error_comes_back(rig: Rig) -> None:
    assert rig.reading.call(answer).result(PATIENCE) == 42
    with pytest.raises(KeyError):
        rig.reading.call(fail).result(PATIENCE)
    assert rig.reading.call(answer).result(PATIENCE) == 42


def test_commands_go_on_inside_a_revoke_callback_until_the_engine_is_done(rig: Rig) -> None:
    inside: Promise[None] = Promise()
    returned: Promise[None] = Promise()

    def callback() -> None:
        inside.resolve(None)
        rig.reading.serve(Revoked((P0,), PATIENCE))
        returned.resolve(None)

    rig.reader.act = callback
    inside.result(PATIENCE)
    assert rig.reading.call(answer).result(PATIENCE) == 42  # a save, for example
    assert not returned.done()
    (event,) = rig.revoked
    assert isinstance(event, Revoked)
    event.done()
    returned.result(PATIENCE)


def test_a_revoke_callback_returns_at_its_deadline_whatever_the_engine_does(rig: Rig) -> None:
    returned: Promise[None] = Promise()

    def callback() -> None:
        rig.reading.serve(Revoked((P0,), 0.05))
        returned.resolve(None)

    rig.reader.act = callback
    returned.result(PATIENCE)
    assert rig.reading.call(answer).result(PATIENCE) == 42


def test_a_command_that_was_waiting_when_the_reader_ended_fails_too(rig: Rig) -> None:
    waiting: list[Promise[int]] = []

    def crash() -> None:
        waiting.append(rig.reading.call(answer))
        raise ZeroDivisionError

    rig.reader.act = crash
    rig.over.result(PATIENCE)
    with pytest.raises(BrokerUnavailableError, match="the reader has ended"):
        waiting[0].result(PATIENCE)


def test_a_command_to_a_reader_that_has_ended_fails_at_once_instead_of_never(rig: Rig) -> None:
    def crash() -> None:
        raise ZeroDivisionError

    rig.reader.act = crash
    error = rig.over.result(PATIENCE)
    assert isinstance(error, ZeroDivisionError)
    with pytest.raises(BrokerUnavailableError, match="the reader has ended"):
        rig.reading.call(answer).result(PATIENCE)
