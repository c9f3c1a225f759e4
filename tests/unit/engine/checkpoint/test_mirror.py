"""A store of its own under a group: it decides, the group's copy follows, and what is absent here but committed there refuses."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from typing import TypeVar, cast

import pytest

from streamkit.builtin.memory import MemoryLog, MemorySettings, MemoryStore
from streamkit.engine.checkpoint.calls import IoStoreCalls, MirroredStoreCalls, ReaderStoreCalls
from streamkit.errors import ConfigurationError, StoreUnavailableError
from streamkit.model import Checkpoint, Partition, Position, StartPosition
from streamkit.testing import VirtualRuntime
from tests.conformance.context import PlainContext

T = TypeVar("T")
P0 = Partition("orders", "0")


class Rig:
    """Two stores, and the one that is made of them."""

    def __init__(self, runtime: VirtualRuntime) -> None:
        self.runtime = runtime
        self.reported: list[str] = []
        self.store = IoStoreCalls(MemoryStore(MemorySettings(name="own"), PlainContext()), runtime.io)
        self.copy = IoStoreCalls(MemoryStore(MemorySettings(name="group"), PlainContext()), runtime.io)
        mirror = cast("ReaderStoreCalls", self.copy)  # where its calls are made does not matter here
        report: Callable[[str, BaseException], None] = lambda doing, error: self.reported.append(doing)  # noqa: E731
        self.both = MirroredStoreCalls(self.store, mirror, "own", runtime.control, report)

    def run(self, work: Awaitable[T]) -> T:
        return self.runtime.run(work)

    def copied(self) -> list[StartPosition]:
        self.run(self.runtime.control.signal().wait(1.0))
        return [checkpoint.at for checkpoint in self.run(self.copy.list())]


@pytest.fixture
def rig() -> Iterator[Rig]:
    runtime = VirtualRuntime(1)
    yield Rig(runtime)
    runtime.stop()
    MemoryLog.forget("own")
    MemoryLog.forget("group")


def at(position: int) -> Checkpoint:
    return Checkpoint(P0, StartPosition.at(Position(position)))


def after(position: int) -> Checkpoint:
    return Checkpoint(P0, StartPosition.after(Position(position)))


def test_what_is_saved_is_copied_to_the_group(rig: Rig) -> None:
    grant = rig.run(rig.both.claim(P0, "w1", 0)).grant
    (grant,) = rig.run(rig.both.save([(after(3), grant)]))
    assert not isinstance(grant, Exception)
    rig.run(rig.both.save([(after(7), grant)]))
    assert rig.copied() == [StartPosition.after(Position(7))]


def test_nothing_here_and_something_committed_there_refuses(rig: Rig) -> None:
    grant = rig.run(rig.copy.claim(P0, "another host", 0)).grant
    rig.run(rig.copy.save([(after(9), grant)]))
    with pytest.raises(ConfigurationError, match="own has no checkpoint of orders/0, but the group has committed after 9"):
        rig.run(rig.both.claim(P0, "w1", 0))


def test_the_first_checkpoint_is_no_checkpoint_before_it_is_copied(rig: Rig) -> None:
    grant = rig.run(rig.both.claim(P0, "w1", 0)).grant
    MemoryLog.named("group").faults.fail("save", StoreUnavailableError("down"))
    (answer,) = rig.run(rig.both.save([(at(0), grant)]))
    assert isinstance(answer, StoreUnavailableError)


def test_a_copy_that_fails_changes_nothing_and_is_reported_once(rig: Rig) -> None:
    grant = rig.run(rig.both.claim(P0, "w1", 0)).grant
    MemoryLog.named("group").faults.fail("save", StoreUnavailableError("down"), times=2)
    for position in (3, 4):
        (grant,) = rig.run(rig.both.save([(after(position), grant)]))
        assert not isinstance(grant, Exception)
        assert rig.copied() == []
    assert rig.reported == ["copying checkpoints to the group"]
    rig.run(rig.both.save([(after(5), grant)]))
    assert rig.copied() == [StartPosition.after(Position(5))]


def test_what_only_the_next_owner_needs_is_not_copied(rig: Rig) -> None:
    """Kafka's offsets could not hold it, and would refuse the copy."""
    grant = rig.run(rig.both.claim(P0, "w1", 0)).grant
    pending = replace(after(3), pending=Position(5), pending_state=b"tx", suspect=Position(4), suspected=1)
    rig.run(rig.both.save([(pending, grant)]))
    assert rig.copied() == [StartPosition.after(Position(3))]
    (copy,) = rig.run(rig.copy.list())
    assert (copy.pending, copy.pending_state, copy.suspect, copy.suspected) == (None, b"", None, 0)
    (kept,) = rig.run(rig.store.list())
    assert (kept.pending, kept.pending_state, kept.suspect, kept.suspected) == (Position(5), b"tx", Position(4), 1)
