"""Promise 4, beside a program that keeps its leases in the same store and takes no part in the balance: the KCL."""

from __future__ import annotations

from dataclasses import replace

from streamkit.builtin.memory import MemoryStore
from streamkit.engine.status import not_ready
from streamkit.model import Lease
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
