"""Where the promises are put to the test: a broker with a group, members that run the real engine, and a journal of what they did.

`World` is what the tests know. `MemoryWorld` runs it on real threads or in virtual time; another broker (tests/promise/kafka/)
adds a World of its own and offers it under the same fixture names (conftest.py).
"""

from __future__ import annotations

import asyncio
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import count
from typing import Any, Literal, cast

from streamkit.builtin.memory import MemoryBroker, MemoryLog, MemorySettings, MemoryStore
from streamkit.builtin.memory.broker import MemoryProducer
from streamkit.engine.adapter_context import EngineContext
from streamkit.engine.delivery.call import Code
from streamkit.engine.runtime import Promise, Runtime, ThreadRuntime
from streamkit.engine.supervisor import Parts, Supervisor
from streamkit.model import Checkpoint, Partition, Position, StartPosition
from streamkit.plugin import Observer
from streamkit.processing import facts_of
from streamkit.settings import Settings
from streamkit.testing.virtual import VirtualRuntime

__all__ = ["Journal", "Member", "MemoryWorld", "Note", "World"]

STREAM = "orders"
GROUP = "billing"
LIMIT_SECONDS = 20.0
"""How long a test waits for something that must happen."""
REAL_SESSION_SECONDS = 8.0
"""On threads, for a session and for a revocation: a machine that stands still for some seconds has not lost a member by that."""

Note = tuple[object, ...]
_numbers = count()


class Journal:
    """What happened, in order: notes of handlers and observers, from any thread."""

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.notes: list[Note] = []

    def note(self, *words: object) -> None:
        with self.changed:
            self.notes.append(words)
            self.changed.notify_all()

    def of(self, *words: object) -> list[Note]:
        """The notes that begin so."""
        with self.changed:
            return [note for note in self.notes if note[: len(words)] == words]

    def has(self, *words: object, times: int = 1) -> bool:
        return len(self.of(*words)) >= times


class _Watch(Observer):
    def __init__(self, journal: Journal, worker: str) -> None:
        self._journal = journal
        self._worker = worker

    def on_assigned(self, partition: Partition, epoch: int) -> None:
        self._journal.note("assigned", self._worker, partition.id, epoch)

    def on_revoked(self, partition: Partition, epoch: int, reason: str) -> None:
        self._journal.note("revoked", self._worker, partition.id, reason)

    def on_lost(self, partition: Partition, epoch: int, reason: str) -> None:
        self._journal.note("lost", self._worker, partition.id, reason)

    def on_ended(self, partition: Partition, epoch: int) -> None:
        self._journal.note("ended", self._worker, partition.id)

    def on_checkpointed(self, checkpoint: Checkpoint) -> None:
        self._journal.note("checkpointed", checkpoint.partition.id, checkpoint.at)

    def on_checkpoint_failed(self, checkpoint: Checkpoint, error: Exception) -> None:
        self._journal.note("not checkpointed", checkpoint.partition.id, type(error))

    def on_store_down(self, error: Exception, partitions: int) -> None:
        self._journal.note("store down", type(error), partitions)

    def on_store_up(self, seconds: float, partitions: int) -> None:
        self._journal.note("store up", seconds, partitions)

    def on_attempt_failed(self, partition: Partition, error: BaseException, attempt: int) -> None:
        self._journal.note("failed", partition.id, attempt, error)

    def on_put_aside(self, partition: Partition, position: Position, error: BaseException, how: str) -> None:
        self._journal.note("put aside", partition.id, position.sequence, how)

    def on_halted(self, partition: Partition, error: Exception) -> None:
        self._journal.note("halted", partition.id, error)

    def on_recovered(self, partition: Partition) -> None:
        self._journal.note("recovered", partition.id)

    def on_problem(self, subject: str, error: BaseException) -> None:
        self._journal.note("problem", subject, error)


@dataclass(eq=False)
class Member:
    """One process of the group."""

    name: str
    supervisor: Supervisor
    promise: Promise[None]
    world: World

    def stop(self) -> None:
        """Drain and wait for the end. Raises what `run` raises."""
        self.supervisor.stop("shutdown")
        self.wait()

    def kill(self) -> None:
        """As if the process had died."""
        self.supervisor.abandon()
        self.wait()

    def wait(self) -> None:
        self.world.until(self.promise.done, f"the end of {self.name}")
        self.promise.result(0)

    @property
    def states(self) -> dict[str, str]:
        return {status.partition.id: status.state for status in self.supervisor.snapshot()}

    @property
    def in_flight(self) -> int:
        return sum(status.in_flight for status in self.supervisor.snapshot())


class World(ABC):
    """One broker, one stream, one group."""

    journal: Journal

    @abstractmethod
    def create(self, partitions: int) -> None: ...

    @abstractmethod
    def grow(self, partitions: int) -> None:
        """Let the stream have so many partitions."""

    @abstractmethod
    def write(self, values: Sequence[str], partition: str = "0", *, age_seconds: float = 0) -> None: ...

    @abstractmethod
    def start(self, target: object, worker: str = "w1", **settings: object) -> Member:
        """A member with the settings of `streamkit.settings.Settings`; its handler's notes are the test's own affair."""

    @abstractmethod
    def saved(self, partition: str = "0") -> StartPosition | None:
        """What is in the store."""

    @abstractmethod
    def until(self, condition: Callable[[], bool], what: str = "", seconds: float = LIMIT_SECONDS) -> None:
        """Wait until it is true. Fails after `seconds`."""

    @abstractmethod
    def close(self) -> None: ...


@dataclass(eq=False)
class MemoryWorld(World):
    """The memory broker, on threads or in virtual time."""

    kind: Literal["threads", "virtual"]
    shape: Literal["kafka", "kinesis"] = "kafka"
    own_store: bool = False
    """Checkpoints beside the group instead of in it."""
    journal: Journal = field(default_factory=Journal)
    session_seconds: float = 2.5
    revoke_seconds: float = 2.0

    def __post_init__(self) -> None:
        self.name = f"promise-{next(_numbers)}"
        self.log = MemoryLog.named(self.name)
        self.runtime: Runtime = ThreadRuntime() if self.kind == "threads" else VirtualRuntime(1)
        if self.kind == "threads":
            self.session_seconds = self.revoke_seconds = REAL_SESSION_SECONDS
        self.broker_class: type[MemoryBroker] = MemoryBroker
        self.store_class: type[MemoryStore] = MemoryStore
        self._members: list[Member] = []

    def create(self, partitions: int) -> None:
        self.log.create(STREAM, partitions, self.shape)

    def grow(self, partitions: int) -> None:
        self.log.add_partitions(STREAM, partitions)

    def write(self, values: Sequence[str], partition: str = "0", *, age_seconds: float = 0) -> None:
        now = self.runtime.unix_time() - age_seconds
        for value in values:
            self.log.append(STREAM, value.encode(), key=value.encode(), partition=partition, now=now)

    def context(self, worker: str) -> EngineContext:
        return EngineContext(self.runtime, "memory", broker="memory", group=GROUP, worker=worker)

    @property
    def settings(self) -> MemorySettings:
        session, revoke = timedelta(seconds=self.session_seconds), timedelta(seconds=self.revoke_seconds)
        return MemorySettings(name=self.name, shape=self.shape, auto_create=False, session_timeout=session, revoke_timeout=revoke)

    @property
    def store(self) -> MemoryStore:
        return self.store_of("nobody")

    def store_of(self, worker: str) -> MemoryStore:
        return self.store_class(self.settings, self.context(worker), group=f"beside {GROUP}" if self.own_store else GROUP)

    def start(self, target: object, worker: str = "w1", **settings: object) -> Member:
        values: dict[str, Any] = {
            "stream": (STREAM,),
            "checkpoint_interval": timedelta(milliseconds=50),
            "retry_backoff": timedelta(milliseconds=10),
            "retry_max_backoff": timedelta(milliseconds=20),
            "drain_timeout": timedelta(seconds=5),
            **settings,
        }
        parsed = Settings(broker="memory", group=GROUP, **values)
        ownership = parsed.ownership or ("group" if self.shape == "kafka" else "static")
        store = self.store_of(worker) if self.own_store or ownership != "group" else None
        broker = self.broker_class(self.settings, self.context(worker))
        watch = _Watch(self.journal, worker)
        aside = MemoryProducer(self.settings, self.context(worker)) if parsed.dead_letter is not None else None
        parts = Parts(parsed, _code(target), broker, store, store, watch, worker, ownership, state=None, dead_letter=aside)
        supervisor = Supervisor(parts, self.runtime)
        promise = self.runtime.control.call(f"run-{worker}", supervisor.run())
        promise._future.add_done_callback(lambda _: self.journal.note("over", worker))
        member = Member(worker, supervisor, promise, self)
        self._members.append(member)
        return member

    def saved(self, partition: str = "0") -> StartPosition | None:
        with self.log.lock:
            row = self.store._rows.get((STREAM, partition))
            return row.checkpoint.at if row is not None and row.checkpoint is not None else None

    def until(self, condition: Callable[[], bool], what: str = "", seconds: float = LIMIT_SECONDS) -> None:
        if isinstance(self.runtime, VirtualRuntime):
            self.runtime.run(self._until(condition, seconds))
        else:
            end = time.monotonic() + seconds
            with self.journal.changed:
                while not condition() and time.monotonic() < end:
                    self.journal.changed.wait(0.05)  # what is not noted is looked at again
        assert condition(), f"still waiting for {what or 'it'} after {seconds:g}s: {self.journal.notes[-30:]}"

    async def _until(self, condition: Callable[[], bool], seconds: float) -> None:
        end = self.runtime.monotonic() + seconds
        while not condition() and self.runtime.monotonic() < end:
            await asyncio.sleep(0.02)

    def pass_time(self, seconds: float) -> None:
        """Let virtual time pass."""
        assert isinstance(self.runtime, VirtualRuntime)
        self.runtime.run(asyncio.sleep(seconds))

    def close(self) -> None:
        self.log.faults.clear()
        for member in self._members:
            if not member.promise.done():
                member.supervisor.abandon()
        self.until(lambda: all(member.promise.done() for member in self._members), "the end of all members")
        self.runtime.stop()
        MemoryLog.forget(self.name)


def _code(target: object) -> Code:
    facts = facts_of(target)
    assert facts is not None
    if isinstance(target, type):
        return Code(facts, factory=cast("Callable[[], Any]", target))
    return Code(facts, function=cast("Callable[..., object]", target))
