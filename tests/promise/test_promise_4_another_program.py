"""Promise 4, beside a program that keeps its leases in the same store and takes no part in the balance: the KCL."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import ClassVar

import pytest

from streamkit.builtin.memory import MemoryStore
from streamkit.engine.status import not_ready
from streamkit.errors import ConfigurationError, StoreUnavailableError
from streamkit.model import Lease, Partition
from streamkit.plugin import Claim
from tests.promise.leased import ALONE, LEASE, begin, held, ids
from tests.promise.world import STREAM, MemoryWorld


def test_a_lease_of_another_program_is_told_by_health_and_makes_nothing_red(lineage: MemoryWorld) -> None:
    """The KCL gives nothing to anybody who asks: as long as it lives a worker beside it has nothing, and has to say why."""
    lineage.create(1)
    member = begin(lineage, "w1")
    lineage.pass_time(ALONE)
    (shard,) = ids(lineage)
    assert held(member) == {shard}
    for _ in range(int(2 * LEASE)):
        with lineage.log.lock:
            row = lineage.store._rows[STREAM, shard]
            lineage.store._rows[STREAM, shard] = replace(row, owner="kcl-1", epoch=100, version=row.version + 1)
        lineage.pass_time(1.0)
    status = member.supervisor.health.status()
    (line,) = status.partitions
    assert line.reason is not None
    assert (line.state, line.owner, line.reason.kind) == ("waiting", "kcl-1", "owner")
    assert line.reason.text == (
        "kcl-1 has its lease: another program, such as the KCL, which cannot be asked for it; "
        "stop that, and it is taken after 5s of silence"
    )
    assert not_ready(status) == []
    lineage.pass_time(2 * LEASE)
    assert held(member) == {shard}, "that program is gone"
    assert [one.reason for one in member.supervisor.health.status().partitions] == [None]


class Beside(MemoryStore):
    """A store where nothing can be asked of that program, as in a table of the KCL's."""

    async def request_handover(self, lease: Lease, to: str) -> bool:
        return lease.owner != "kcl-1" and await super().request_handover(lease, to)


def test_workers_beside_another_program_level_what_they_have_among_themselves(lineage: MemoryWorld) -> None:
    """It is the fullest owner of all, and whoever asked it would wait for ever."""
    lineage.store_class = Beside
    lineage.create(10)
    first = begin(lineage, "w1")
    lineage.pass_time(ALONE)
    assert len(held(first)) == 10
    theirs = sorted(held(first))[:6]

    def goes_on() -> None:
        with lineage.log.lock:
            for shard in theirs:
                row = lineage.store._rows[STREAM, shard]
                lineage.store._rows[STREAM, shard] = replace(row, owner="kcl-1", epoch=100, version=row.version + 1)

    for _ in range(3):
        goes_on()
        lineage.pass_time(1.0)
    second = begin(lineage, "w2")
    for _ in range(int(4 * LEASE)):
        goes_on()
        lineage.pass_time(1.0)
    assert (len(held(first)), len(held(second))) == (2, 2)
    assert not (held(first) | held(second)) & set(theirs)


class Refusing(MemoryStore):
    """A store that knows a program beside which nothing settles, as an EventProcessor of Azure's SDKs."""

    answers: ClassVar[deque[Exception]] = deque()
    """To those who want to start, one after the other."""

    async def check_start(self) -> None:
        if self.answers:
            raise self.answers.popleft()


@pytest.fixture
def refusing(lineage: MemoryWorld) -> Iterator[deque[Exception]]:
    lineage.store_class = Refusing
    lineage.create(2)
    Refusing.answers.clear()
    yield Refusing.answers
    Refusing.answers.clear()


def test_beside_a_program_with_which_nothing_settles_a_worker_does_not_start(lineage: MemoryWorld, refusing: deque[Exception]) -> None:
    refusing.append(ConfigurationError("another program reads with this group"))
    member = begin(lineage, "w1")
    with pytest.raises(ConfigurationError, match="another program reads"):
        member.wait()
    assert lineage.store._rows == {}, "nothing was taken, or made"
    second = begin(lineage, "w2")
    lineage.pass_time(ALONE)
    assert held(second) == set(ids(lineage)), "that program is gone"


def test_whether_it_may_start_is_asked_until_there_is_an_answer_and_then_no_more(lineage: MemoryWorld, refusing: deque[Exception]) -> None:
    refusing.extend([StoreUnavailableError("no answer"), StoreUnavailableError("no answer")])
    member = begin(lineage, "w1")
    lineage.pass_time(0.5)
    assert lineage.store._rows == {}
    lineage.pass_time(4 * ALONE)
    assert held(member) == set(ids(lineage))
    refusing.append(ConfigurationError("it has started beside us"))
    lineage.pass_time(2 * LEASE)
    assert held(member) == set(ids(lineage)), "who has begun goes on"


class Elsewhere(MemoryStore):
    """A store that shows rows of another cluster until it is told what the broker lists."""

    calls: ClassVar[list[str]] = []

    async def learn(self, partitions: Sequence[Partition]) -> bool:
        is_news = "learn" not in self.calls
        self.calls.append("learn")
        return is_news

    async def leases(self) -> Sequence[Lease]:
        self.calls.append("leases")
        return await super().leases()

    async def create(self, leases: Sequence[Lease]) -> None:
        self.calls.append("write")
        await super().create(leases)

    async def take(self, leases: Sequence[Lease], owner: str) -> Sequence[Claim | Exception]:
        self.calls.append("write")
        return await super().take(leases, owner)


def test_a_store_that_knows_another_cluster_is_told_which_it_is_and_asked_again_before_anything_is_written(lineage: MemoryWorld) -> None:
    """Another program's rows do not say of which cluster they are, and their places mean nothing in this one."""
    Elsewhere.calls.clear()
    lineage.store_class = Elsewhere
    lineage.create(2)
    member = begin(lineage, "w1")
    lineage.pass_time(ALONE + 1)
    assert held(member) == set(ids(lineage))
    before = Elsewhere.calls[: Elsewhere.calls.index("write")]
    assert "learn" in before
    assert "leases" in before[before.index("learn") :]
