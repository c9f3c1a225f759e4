"""A plain reader that says `Lost`: the broker itself has let in another owner. What the engine makes of it, with leases and without."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Literal

import pytest

from streamkit.app import code_of
from streamkit.builtin.memory import MemoryBroker, MemoryLog, MemorySettings, MemoryStore
from streamkit.builtin.memory.reader import MemoryReader
from streamkit.engine.adapter_context import EngineContext
from streamkit.engine.ownership.static import AGAIN_SECONDS
from streamkit.engine.runtime import Promise
from streamkit.engine.supervisor import Parts, Supervisor
from streamkit.errors import StreamkitError
from streamkit.model import Partition, Record, StartPosition
from streamkit.plugin import Budget, Event, Lost, Observer, Reader
from streamkit.processing import Context, record_processor
from streamkit.settings import Settings
from streamkit.testing.virtual import VirtualRuntime

LEASE_SECONDS = 4.0
POLL_SECONDS = 2.0
"""More than the time between two looks at the leases."""
P0 = Partition("s", "0")


class Door(MemoryReader):
    """A reader whose broker lets in others when the test says so."""

    def __init__(self, log: MemoryLog, context: EngineContext) -> None:
        super().__init__(log, context)
        self.lost: deque[Lost] = deque()
        self.epochs: list[int] = []

    async def add(self, partition: Partition, start: StartPosition, *, written: datetime | None = None, epoch: int = 0) -> None:
        self.epochs.append(epoch)
        await super().add(partition, start, written=written, epoch=epoch)

    async def poll(self, budget: Budget) -> Sequence[Event]:
        if not self.lost:
            return await super().poll(budget)
        event = self.lost.popleft()
        self.drop(event.partitions)
        return [event]


class Guarded(MemoryBroker):
    door: Door

    def reader(self) -> Reader:
        assert isinstance(self.context, EngineContext)
        self.door = Door(self._log, self.context)
        return self.door


class Watch(Observer):
    def __init__(self, world: World, name: str) -> None:
        self._world, self._name = world, name

    def on_assigned(self, partition: Partition, epoch: int) -> None:
        self._world.note(self._name, "assigned", partition, epoch)

    def on_lost(self, partition: Partition, epoch: int, reason: str) -> None:
        self._world.note(self._name, "lost", partition, epoch)
        self._world.reasons.append(reason)

    def on_problem(self, subject: str, error: BaseException) -> None:
        self._world.problems.append(f"{subject}: {error!r}")


class World:
    """One topic of one partition, and workers that take turns."""

    def __init__(self) -> None:
        self.runtime = VirtualRuntime()
        self.log = MemoryLog.named("taken over")
        self.log.create("s", 1, "kafka")
        self.notes: list[tuple[float, str, str, int]] = []
        self.reasons: list[str] = []
        self.problems: list[str] = []
        self.seen: list[tuple[str, bytes | None]] = []
        self.supervisors: list[tuple[Supervisor, Promise[None]]] = []

    def note(self, name: str, what: str, partition: Partition, epoch: int) -> None:
        self.notes.append((self.runtime.monotonic(), name, what, epoch))

    def start(self, name: str, ownership: Literal["lease", "static"]) -> Guarded:
        context = EngineContext(self.runtime, "memory", broker="memory", group="g", worker=name)
        settings = MemorySettings(name="taken over", auto_create=False)

        @record_processor
        def handle(record: Record, context: Context) -> None:
            self.seen.append((name, record.value))

        app = Settings(
            broker="memory",
            stream=("s",),
            group="g",
            ownership=ownership,
            lease_duration=timedelta(seconds=LEASE_SECONDS),
            checkpoint_interval=timedelta(milliseconds=50),
        )
        store, broker = MemoryStore(settings, context, group="beside"), Guarded(settings, context)
        parts = Parts(app, code_of(handle), broker, store, store, Watch(self, name), name, ownership)
        supervisor = Supervisor(parts, self.runtime)
        self.supervisors.append((supervisor, self.runtime.control.call(f"run-{name}", supervisor.run())))
        return broker

    def write(self, value: bytes) -> None:
        self.log.append("s", value, now=self.runtime.unix_time())

    def pass_time(self, seconds: float) -> None:
        self.runtime.run(asyncio.sleep(seconds))

    def times(self, what: str) -> list[tuple[str, float]]:
        """When who was told that, in order."""
        return [(name, at) for at, name, told, _ in self.notes if told == what]

    def epochs(self) -> list[int]:
        return [epoch for _, _, told, epoch in self.notes if told == "assigned"]

    def end(self) -> None:
        for supervisor, _ in self.supervisors:
            supervisor.stop("the test is over")
        try:
            for _, promise in self.supervisors:
                self.runtime.run(_wait(promise))
        finally:
            self.runtime.stop()
            MemoryLog.forget("taken over")
        assert self.problems == []


async def _wait(promise: Promise[None]) -> None:
    try:
        await promise
    except StreamkitError as error:
        raise AssertionError(repr(error)) from error


@pytest.fixture
def world() -> Iterator[World]:
    world = World()
    yield world
    world.end()


def test_with_leases_what_the_broker_gave_to_another_is_lost_and_not_taken_back_for_a_lease(world: World) -> None:
    broker = world.start("a", "lease")
    world.pass_time(POLL_SECONDS)
    began = world.runtime.monotonic()
    broker.door.lost.append(Lost((P0,), "an event processor with a higher owner level"))
    world.pass_time(LEASE_SECONDS - POLL_SECONDS)
    assert world.reasons == ["an event processor with a higher owner level"]
    (taken,) = world.times("assigned")
    world.pass_time(LEASE_SECONDS)
    assert [name for name, _ in world.times("assigned")] == ["a", "a"]
    assert taken[1] < began
    assert world.times("assigned")[1][1] >= began + LEASE_SECONDS
    assert world.epochs() == sorted(set(world.epochs()))  # the next one is higher than what was cut off


def test_with_leases_another_worker_may_take_it_at_once(world: World) -> None:
    broker = world.start("a", "lease")
    world.pass_time(POLL_SECONDS)
    world.start("b", "lease")
    world.pass_time(POLL_SECONDS)
    assert [name for name, _ in world.times("assigned")] == ["a"]
    began = world.runtime.monotonic()
    broker.door.lost.append(Lost((P0,)))
    world.pass_time(POLL_SECONDS)
    (name, at) = world.times("assigned")[-1]
    assert (name, at < began + POLL_SECONDS < began + LEASE_SECONDS) == ("b", True)  # the lease was given back, not left to expire


def test_with_leases_the_next_owner_goes_on_where_the_last_checkpoint_is(world: World) -> None:
    broker = world.start("a", "lease")
    world.write(b"1")
    world.pass_time(POLL_SECONDS)
    world.start("b", "lease")
    broker.door.lost.append(Lost((P0,)))
    world.pass_time(POLL_SECONDS)
    world.write(b"2")
    world.pass_time(POLL_SECONDS)
    assert world.seen == [("a", b"1"), ("b", b"2")]


def test_static_ownership_begins_again_after_a_while(world: World) -> None:
    broker = world.start("a", "static")
    world.write(b"1")
    world.pass_time(1.0)
    began = world.runtime.monotonic()
    broker.door.lost.append(Lost((P0,), "somebody else"))
    world.write(b"2")
    world.pass_time(AGAIN_SECONDS - 1.0)
    assert world.reasons == ["somebody else"]
    assert world.seen == [("a", b"1")]
    world.pass_time(2.0)
    assert world.seen == [("a", b"1"), ("a", b"2")]
    assert world.times("assigned")[1][1] >= began + AGAIN_SECONDS
    assert broker.door.epochs == sorted(set(broker.door.epochs))


def test_a_reader_is_told_the_epoch_of_its_owner(world: World) -> None:
    broker = world.start("a", "lease")
    world.pass_time(POLL_SECONDS)
    assert broker.door.epochs == world.epochs()
    assert broker.door.epochs[0] > 0


def test_what_is_lost_after_it_was_given_back_is_nobody_elses_loss(world: World) -> None:
    """Said late, of a link that was closed long ago, while the partition is free: it may be taken at once."""
    first = world.start("a", "lease")
    world.pass_time(POLL_SECONDS)
    second = world.start("b", "lease")
    world.pass_time(POLL_SECONDS)
    second.door.lost.append(Lost((P0,)))  # which b has never had
    world.pass_time(0.5)
    assert world.times("lost") == []
    first.door.lost.append(Lost((P0,)))
    world.pass_time(POLL_SECONDS)
    assert [name for name, _ in world.times("assigned")] == ["a", "b"]
