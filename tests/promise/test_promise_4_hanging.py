"""Promise 4, with leases, when a call is never answered, or is answered with an error for one lease: others get what we cannot keep."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from itertools import pairwise

import pytest

from streamkit.builtin.memory import MemoryStore
from streamkit.errors import AccessDeniedError, StoreNotReadyError
from streamkit.model import Partition
from streamkit.plugin import Grant
from tests.promise.leased import ALONE, LEASE, begin, held, ids, ownership, rows
from tests.promise.test_promise_4_leases import slow
from tests.promise.world import MemoryWorld

LOOK = 40.0
"""After so long a worker has looked for new partitions at least once."""


# -- the store -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("operation", ["renew", "save"])
def test_who_can_neither_renew_nor_save_takes_nothing_and_another_does(lineage: MemoryWorld, operation: str) -> None:
    lineage.create(1)
    first = begin(lineage, "w1")
    lineage.pass_time(ALONE)
    (partition,) = ids(lineage)
    second = begin(lineage, "w2")
    release = lineage.log.faults.hold(operation, worker="w1")  # type: ignore[arg-type]
    lineage.write(["one"], partition)
    lineage.until(lambda: bool(held(second)), "the take-over", seconds=2 * LEASE + 2)
    lineage.pass_time(5 * LEASE)
    assert [note[1] for note in lineage.journal.of("assigned")] == ["w1", "w2"]
    release()
    lineage.pass_time(LEASE)
    assert (held(first), held(second)) == (set(), {partition})


def test_a_store_that_owes_an_answer_for_longer_than_a_lease_is_reported_once_and_stands_in_health(lineage: MemoryWorld) -> None:
    lineage.create(1)
    member = begin(lineage, "w1")
    lineage.pass_time(ALONE)
    release = lineage.log.faults.hold("renew")
    lineage.pass_time(LEASE / 2)
    assert ownership(member).problem is None
    lineage.pass_time(5 * LEASE)
    assert "no answer to 'renew'" in str(ownership(member).problem)
    assert any("no answer to 'renew'" in problem for problem in member.supervisor.health.status().problems)
    assert [note[1] for note in lineage.journal.of("problem")] == ["waiting for the store"]
    release()
    lineage.pass_time(2.0)
    assert ownership(member).problem is None
    assert held(member) == set(ids(lineage))


class Unready(MemoryStore):
    """Answers each renewal with an error of that lease alone."""

    renewals: list[float]

    async def renew(self, held: Sequence[tuple[Partition, Grant]]) -> Sequence[Grant | Exception]:
        self.renewals.append(self.context.monotonic())
        await asyncio.sleep(0.01)
        return [StoreNotReadyError("not ready") for _ in held]


def test_a_renewal_that_is_refused_for_one_lease_is_reported_and_not_repeated_at_once(lineage: MemoryWorld) -> None:
    lineage.create(1)
    Unready.renewals = []
    lineage.store_class = Unready
    begin(lineage, "w1")
    lineage.pass_time(2 * LEASE)
    assert min(after - before for before, after in pairwise(Unready.renewals)) >= LEASE / 20 - 0.001
    assert ("problem", "renewing leases") in [note[:2] for note in lineage.journal.notes]


class Refusing(MemoryStore):
    """Gives nobody the first partition."""

    async def take(self, leases, owner):  # type: ignore[no-untyped-def]
        answers = list(await super().take(leases[1:], owner))
        return [StoreNotReadyError("not this one"), *answers]


def test_a_take_that_is_refused_for_one_lease_is_reported_and_the_others_are_ours(lineage: MemoryWorld) -> None:
    lineage.create(3)
    lineage.store_class = Refusing
    member = begin(lineage, "w1")
    lineage.pass_time(5 * LEASE)
    assert "not this one" in str(ownership(member).problem)
    assert [note[1] for note in lineage.journal.of("problem")] == ["looking at leases"]


# -- the broker ----------------------------------------------------------------------------------------------------------


def test_a_listing_of_the_broker_that_hangs_holds_up_neither_take_over_nor_hand_over(lineage: MemoryWorld) -> None:
    lineage.create(4)
    first, second = begin(lineage, "w1"), begin(lineage, "w2")
    lineage.pass_time(5)
    lineage.log.faults.hold("discover", worker="w2")
    lineage.pass_time(LOOK)
    assert lineage.journal.of("problem") == []
    first.kill()
    lineage.pass_time(LEASE + 2 + 6)  # it also waits for a while to hear of the streams that it takes over
    assert len(held(second)) == 4
    third = begin(lineage, "w3")
    lineage.pass_time(10)
    assert (len(held(second)), len(held(third))) == (2, 2)
    lineage.pass_time(LOOK)
    assert [note[1] for note in lineage.journal.of("problem")] == ["looking for new partitions"]


def test_a_drain_does_not_wait_for_a_listing_of_the_broker(lineage: MemoryWorld) -> None:
    lineage.create(2)
    members = [begin(lineage, "w1"), begin(lineage, "w2")]
    lineage.pass_time(5)
    lineage.log.faults.hold("discover")
    lineage.pass_time(LOOK)
    began = lineage.runtime.monotonic()
    for member in members:
        member.stop()
    assert lineage.runtime.monotonic() - began < 1.0
    assert {row.owner for row in rows(lineage).values()} == {""}


def test_a_partition_that_is_lost_while_the_broker_is_asked_about_it_is_not_read_again(lineage: MemoryWorld) -> None:
    lineage.create(2)
    member = begin(lineage, "w1", ownership="static")
    lineage.pass_time(ALONE)
    supervisor = member.supervisor
    one = next(iter(supervisor.assignments))
    asked = lineage.log.faults.hold("discover")
    lineage.runtime.control.post(supervisor.assignments[one].read_failed, AccessDeniedError("not now"))
    lineage.pass_time(LOOK)  # it is to be opened again, and the broker is asked whether it is still the same stream
    supervisor.lose([one], "for a test")
    asked()
    lineage.pass_time(1)
    assert one not in supervisor._reading._workers


# -- leaving -------------------------------------------------------------------------------------------------------------


def test_a_worker_that_drains_withdraws_what_it_has_asked_for(lineage: MemoryWorld) -> None:
    """Else it would be given to it, and nobody else could have it for a whole lease."""
    lineage.create(2)
    partitions = ids(lineage)
    for partition in partitions:
        lineage.write(["wait"], partition)
    code = slow(*partitions)
    first = begin(lineage, "w1", code, handover_timeout=timedelta(seconds=30))
    lineage.pass_time(ALONE)
    second = begin(lineage, "w2")
    lineage.until(lambda: any(row.handover_to for row in rows(lineage).values()), "the request")
    lineage.pass_time(2)
    second.stop()
    assert [row.handover_to for row in rows(lineage).values()] == ["", ""]
    code.busy.clear()
    lineage.pass_time(2)
    assert held(first) == set(partitions), "what was given back for it is taken up again"
