"""Promise 4: apps of one group that read different streams share a store, and see nothing of each other's partitions."""

from __future__ import annotations

from streamkit.model import Partition
from tests.promise.leased import ALONE, LEASE, begin, held, ids
from tests.promise.world import Member, MemoryWorld

PAYMENTS = "payments"


def streams(member: Member) -> set[str]:
    return {partition.stream for partition in member.supervisor.assignments}


def create(world: MemoryWorld) -> None:
    world.create(3)
    world.log.create(PAYMENTS, 3, "kinesis")


def pay(world: MemoryWorld) -> None:
    for partition in world.log.partitions(PAYMENTS):
        world.log.append(PAYMENTS, f"pay {partition.id}".encode(), partition=partition.id, now=world.runtime.unix_time())


def test_the_partitions_of_another_app_are_not_taken_although_nobody_reads_them(lineage: MemoryWorld) -> None:
    create(lineage)
    orders = begin(lineage, "orders")
    payments = begin(lineage, PAYMENTS, stream=(PAYMENTS,))
    lineage.pass_time(ALONE)
    assert (streams(orders), streams(payments)) == ({"orders"}, {PAYMENTS})
    payments.kill()
    pay(lineage)
    lineage.pass_time(3 * LEASE)
    assert len(held(orders)) == 3
    assert streams(orders) == {"orders"}
    assert not lineage.journal.has("done")
    begin(lineage, "more payments", stream=(PAYMENTS,), stop="at_end").wait()
    assert {note[3] for note in lineage.journal.of("done")} == {"more payments"}
    assert len(lineage.journal.of("done")) == 3


def test_a_stream_that_is_not_asked_for_any_more_is_not_read_any_more(lineage: MemoryWorld) -> None:
    create(lineage)
    both = begin(lineage, "before", stream=("orders", PAYMENTS))
    lineage.pass_time(ALONE)
    assert streams(both) == {"orders", PAYMENTS}
    both.stop()
    pay(lineage)
    after = begin(lineage, "after")
    lineage.pass_time(3 * LEASE)
    assert held(after) == set(ids(lineage))
    assert streams(after) == {"orders"}


def test_at_end_and_idle_do_not_wait_for_the_streams_of_another_app(lineage: MemoryWorld) -> None:
    create(lineage)
    pay(lineage)
    begin(lineage, PAYMENTS, stream=(PAYMENTS,), max_partitions=1)
    lineage.pass_time(ALONE)
    for stop in ("at_end", "idle:2s"):
        begin(lineage, stop, stop=stop).wait()
    assert {note[3] for note in lineage.journal.of("done")} == {PAYMENTS}


def test_latest_of_a_new_app_is_now_whenever_the_group_has_begun_with_another_stream(lineage: MemoryWorld) -> None:
    create(lineage)
    first = begin(lineage, "orders", start="latest")
    lineage.pass_time(ALONE)
    first.stop()
    pay(lineage)
    lineage.pass_time(600)
    begin(lineage, PAYMENTS, stream=(PAYMENTS,), start="latest", stop="at_end").wait()
    assert not lineage.journal.has("done")


def test_a_regular_expression_names_the_streams_that_it_matches_and_no_others(lineage: MemoryWorld) -> None:
    create(lineage)
    payments = begin(lineage, PAYMENTS, stream=(PAYMENTS,))
    lineage.pass_time(ALONE)
    payments.kill()
    by_pattern = begin(lineage, "pattern", stream=("^ord",))
    lineage.pass_time(3 * LEASE)
    assert set(by_pattern.supervisor.assignments) == {Partition("orders", name) for name in ids(lineage)}
    begin(lineage, "all", stream=("^.*",), stop="idle:2s")
    pay(lineage)
    lineage.until(lambda: lineage.journal.has("done", times=3), "the payments")
    assert {note[3] for note in lineage.journal.of("done")} == {"all"}
