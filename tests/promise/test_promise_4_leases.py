"""Promise 4, with leases: one owner, who stops before another begins; partitions move for a reason, once, and level out."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from datetime import timedelta
from itertools import pairwise

import pytest

from streamkit.errors import ConfigurationError, FencedError, StoreUnavailableError
from streamkit.model import Checkpoint, Position, StartPosition
from streamkit.plugin import Grant
from streamkit.processing import Processor
from tests.promise.leased import ALONE, LEASE, begin, held, ids, ownership, rows
from tests.promise.targets import values
from tests.promise.world import STREAM, Member, MemoryWorld

# -- level ---------------------------------------------------------------------------------------------------------------


def test_two_share_and_a_third_gets_its_part_and_nothing_else_moves(lineage: MemoryWorld) -> None:
    lineage.create(9)
    first, second = begin(lineage, "w1"), begin(lineage, "w2")
    lineage.pass_time(4)
    assert sorted(map(len, map(held, (first, second)))) == [4, 5]
    assert len(lineage.journal.of("assigned")) == 9
    third = begin(lineage, "w3")
    lineage.pass_time(6)
    assert [len(held(member)) for member in (first, second, third)] == [3, 3, 3]
    assert len(lineage.journal.of("assigned")) == 9 + 3
    assert {note[3] for note in lineage.journal.of("revoked")} == {"handover"}
    lineage.pass_time(20)
    assert len(lineage.journal.of("assigned")) == 9 + 3


def test_off_by_one_never_moves(lineage: MemoryWorld) -> None:
    lineage.create(3)
    first = begin(lineage, "w1")
    lineage.pass_time(ALONE)
    second = begin(lineage, "w2")
    lineage.pass_time(20)
    assert (len(held(first)), len(held(second))) == (2, 1)
    assert len(lineage.journal.of("assigned")) == 4


def test_no_worker_takes_more_than_its_max_partitions(lineage: MemoryWorld) -> None:
    lineage.create(8)
    capped = begin(lineage, "w1", max_partitions=2)
    lineage.pass_time(10)
    assert len(held(capped)) == 2
    other = begin(lineage, "w2")
    lineage.pass_time(10)
    assert (len(held(capped)), len(held(other))) == (2, 6)


# -- one owner -----------------------------------------------------------------------------------------------------------


def test_the_partitions_of_a_dead_worker_go_on_elsewhere_after_its_lease_and_two_seconds(lineage: MemoryWorld) -> None:
    lineage.create(4)
    first, second = begin(lineage, "w1"), begin(lineage, "w2")
    lineage.pass_time(4)
    mine = held(first)
    first.kill()
    lineage.pass_time(LEASE + 2)
    assert held(second) == set(ids(lineage))
    assert {note[2] for note in lineage.journal.of("assigned", "w2")[-len(mine) :]} == mine


def test_each_change_of_owner_raises_the_epoch_and_the_old_grant_is_refused(lineage: MemoryWorld) -> None:
    lineage.create(1)
    first = begin(lineage, "w1")
    lineage.pass_time(ALONE)
    (partition,) = first.supervisor.assignments
    old = Grant(rows(lineage)[partition.id].epoch)
    first.kill()
    begin(lineage, "w2")
    lineage.pass_time(LEASE + 3)
    epochs = [int(str(note[3])) for note in lineage.journal.of("assigned")]
    assert all(before < after for before, after in pairwise(epochs))
    stale = Checkpoint(partition, StartPosition.after(Position(2**190)))
    (answer,) = lineage.runtime.run(lineage.store.save([(stale, old)]))  # type: ignore[attr-defined]
    assert isinstance(answer, FencedError)


def test_a_worker_that_cannot_renew_stops_before_another_can_begin(lineage: MemoryWorld) -> None:
    lineage.create(1)
    first = begin(lineage, "w1")
    lineage.pass_time(ALONE)
    (partition,) = ids(lineage)
    releases = [lineage.log.faults.hold(operation, worker="w1") for operation in ("renew", "save", "leases")]  # type: ignore[arg-type]
    second = begin(lineage, "w2")
    lineage.until(lambda: lineage.journal.has("lost"), "the loss")
    assert not held(second)
    lineage.write(["late"], partition)
    lineage.until(lambda: lineage.journal.has("assigned", "w2"), "the take-over")
    lineage.until(lambda: lineage.journal.has("done", partition, "late", "w2"), "the record")
    assert not lineage.journal.has("done", partition, "late", "w1")
    names = [note[0] for note in lineage.journal.notes if note[0] in ("lost", "assigned")]
    assert names == ["assigned", "lost", "assigned"]
    for release in releases:
        release()
    lineage.pass_time(3)
    assert (held(first), held(second)) == (set(), {partition})


def test_a_suspended_process_begins_no_call_with_a_dead_lease() -> None:
    """The control thread has not looked yet: the worker itself knows until when its lease counts."""
    world = MemoryWorld("threads", shape="kinesis")
    world.create(1)
    member = begin(world, "w1", lease_duration=timedelta(seconds=60))
    (partition,) = ids(world)
    world.until(lambda: world.journal.has("assigned"), "the assignment")
    (assignment,) = member.supervisor.assignments.values()
    world.until(lambda: assignment.worker is not None and assignment.worker.ready.done())
    assert assignment.worker is not None
    assignment.worker.valid_until = 0.0
    world.write(["one"], partition)
    world.until(lambda: assignment.worker is not None and assignment.worker.queued_records == 1, "the record")
    assert not threading.Event().wait(0.3)
    assert not world.journal.has("done")
    assignment.extend(world.runtime.monotonic() + 60)
    world.until(lambda: world.journal.has("done"), "the call")
    world.close()


def test_who_is_fenced_has_lost_at_once_and_does_not_claim_again(lineage: MemoryWorld) -> None:
    lineage.create(1)
    begin(lineage, "w1")
    lineage.pass_time(ALONE)
    (partition,) = ids(lineage)
    lease = rows(lineage)[partition]
    lineage.runtime.run(lineage.store.take([lease], "somebody#1"))  # type: ignore[attr-defined]
    lineage.log.faults.hold("leases", worker="w1")
    lineage.until(lambda: lineage.journal.has("lost"), "the loss", seconds=LEASE / 2)
    assert str(lineage.journal.of("lost")[0][3]).startswith("fenced")
    assert rows(lineage)[partition].owner == "somebody#1"


def test_a_store_that_is_down_for_less_than_a_lease_costs_nothing_and_is_reported_once(lineage: MemoryWorld) -> None:
    lineage.create(2)
    member = begin(lineage, "w1")
    lineage.pass_time(ALONE)
    for operation in ("renew", "leases"):
        lineage.log.faults.fail(operation, StoreUnavailableError("down"), times=6)  # type: ignore[arg-type]
    lineage.pass_time(20)
    assert held(member) == set(ids(lineage))
    assert not lineage.journal.has("lost")
    subjects = [note[1] for note in lineage.journal.of("problem")]
    assert sorted(subjects) == ["looking at leases", "renewing leases"]


def test_after_a_long_outage_everybody_gets_back_what_was_its_own(lineage: MemoryWorld) -> None:
    lineage.create(6)
    members = [begin(lineage, "w1"), begin(lineage, "w2")]
    lineage.pass_time(5)
    before = [held(member) for member in members]
    worker = {name: [lineage.log.faults.hold(call, worker=name) for call in ("renew", "leases", "take")] for name in ("w1", "w2")}  # type: ignore[arg-type]
    lineage.pass_time(30)
    assert [held(member) for member in members] == [set(), set()]
    for name in ("w2", "w1"):
        for release in worker[name]:
            release()
        lineage.pass_time(LEASE / 2)
    lineage.pass_time(4)
    assert [held(member) for member in members] == before


def test_a_take_whose_answer_was_lost_is_recognised_as_ones_own(lineage: MemoryWorld) -> None:
    lineage.create(2)
    lineage.log.faults.fail("take_after_write", StoreUnavailableError("lost"))
    member = begin(lineage, "w1")
    lineage.pass_time(ALONE + 1)
    assert held(member) == set(ids(lineage))
    assert max(lease.epoch for lease in rows(lineage).values()) == 2


def test_a_worker_that_comes_back_under_its_old_name_holds_nothing_of_its_predecessor(lineage: MemoryWorld) -> None:
    lineage.create(1)
    begin(lineage, "w1")
    lineage.pass_time(ALONE)
    (before,) = rows(lineage).values()
    namesake = begin(lineage, "w1")
    lineage.pass_time(3 * LEASE)
    (after,) = rows(lineage).values()
    assert after.owner == before.owner != ownership(namesake).me
    assert not held(namesake)


def test_a_save_and_a_renewal_are_never_under_way_together(lineage: MemoryWorld) -> None:
    lineage.create(1)
    begin(lineage, "w1")
    lineage.pass_time(ALONE)
    (partition,) = ids(lineage)
    release = lineage.log.faults.hold("save")
    lineage.write(["one"], partition)
    lineage.until(lambda: lineage.journal.has("done"), "the record")
    lineage.pass_time(0.2)
    before = rows(lineage)[partition].version
    lineage.pass_time(LEASE / 2)
    assert rows(lineage)[partition].version == before
    release()
    lineage.pass_time(LEASE / 2)
    assert rows(lineage)[partition].version > before + 1
    assert not lineage.journal.has("lost")


# -- giving back ---------------------------------------------------------------------------------------------------------


class Slow(Processor):
    """Holds up its partition while `busy` is set."""

    busy: set[str]

    async def process(self, batch, context):  # type: ignore[no-untyped-def]
        while context.partition.id in self.busy:
            await asyncio.sleep(0.05)


def slow(*busy: str) -> type[Slow]:
    return type("SlowHere", (Slow,), {"busy": set(busy)})


def test_a_drain_releases_each_partition_as_soon_as_it_is_over(lineage: MemoryWorld) -> None:
    lineage.create(4)
    stuck, *others = ids(lineage)
    lineage.write(["wait"], stuck)
    first = begin(lineage, "w1", slow(stuck), drain_timeout=timedelta(seconds=10))
    lineage.pass_time(ALONE)
    assert held(first) == {stuck, *others}
    second = begin(lineage, "w2", max_partitions=4)
    lineage.pass_time(0.5)
    first.supervisor.stop("shutdown")
    lineage.until(lambda: held(second) >= set(others), "the others", seconds=3)
    assert not first.promise.done()
    lineage.pass_time(7)
    assert not held(second) & {stuck}, "its lease is renewed while it drains"


def test_a_hand_over_that_takes_too_long_is_a_loss_and_the_lease_is_released(lineage: MemoryWorld) -> None:
    lineage.create(2)
    for partition in ids(lineage):
        lineage.write(["wait"], partition)
    code = slow(*ids(lineage))
    first = begin(lineage, "w1", code)
    lineage.pass_time(ALONE)
    second = begin(lineage, "w2")
    lineage.until(lambda: len(held(second)) == 1, "the hand-over", seconds=8)
    code.busy.clear()
    lineage.pass_time(3)
    ((_, worker, partition, reason),) = lineage.journal.of("lost")
    assert (worker, {partition}) == ("w1", held(second))
    assert "handover" in str(reason)
    assert (len(held(first)), len(held(second))) == (1, 1)


def test_an_owner_that_does_not_answer_is_overruled_and_finds_out(lineage: MemoryWorld) -> None:
    lineage.create(2)
    first = begin(lineage, "w1")
    lineage.pass_time(ALONE)
    lineage.log.faults.hold("leases", worker="w1")  # it renews, but never sees the request
    second = begin(lineage, "w2")
    lineage.until(lambda: len(held(second)) == 1, "the force", seconds=10)
    lineage.pass_time(LEASE / 2)
    assert len(held(first)) == 1
    assert str(lineage.journal.of("lost", "w1")[0][3]).startswith("fenced")


def test_an_app_that_is_stopped_while_it_opens_leaves_nothing_that_renews(lineage: MemoryWorld) -> None:
    lineage.create(1)
    release = lineage.log.faults.hold("discover")
    member = begin(lineage, "w1")
    lineage.pass_time(1)
    member.supervisor.abandon()
    release()
    member.wait()
    lineage.pass_time(ALONE)
    before = {name: lease.version for name, lease in rows(lineage).items()}
    lineage.pass_time(2 * LEASE)
    assert {name: lease.version for name, lease in rows(lineage).items()} == before


# -- lineage and start ---------------------------------------------------------------------------------------------------


def test_a_child_waits_for_both_parents_whoever_has_them(lineage: MemoryWorld) -> None:
    lineage.create(2)
    one, other = ids(lineage)
    code = slow(other)
    lineage.write(["wait"], other)
    members = [begin(lineage, "w1", code), begin(lineage, "w2", code)]
    lineage.pass_time(ALONE)
    child = lineage.log.merge(STREAM, one, other).id
    lineage.until(lambda: lineage.journal.has("ended", members[0].name, one) or lineage.journal.has("ended", members[1].name, one))
    lineage.pass_time(5)
    assert not any(child in held(member) for member in members)
    assert child in {partition.id for partition in ownership(members[0]).waiting()} | set(ids(lineage)) - set(rows(lineage))
    code.busy.clear()
    lineage.until(lambda: any(child in held(member) for member in members), "the child")


def test_end_is_saved_after_the_childrens_leases_and_their_names(lineage: MemoryWorld) -> None:
    lineage.create(1)
    (parent,) = ids(lineage)
    lineage.log.faults.fail("create", StoreUnavailableError("no"), times=100)
    lineage.log.faults.clear()
    begin(lineage, "w1")
    lineage.pass_time(ALONE)
    release = lineage.log.faults.hold("create")
    children = {child.id for child in lineage.log.split(STREAM, parent)}
    lineage.pass_time(3)
    assert not rows(lineage)[parent].is_ended
    again = lineage.log.faults.hold("name_children")
    release()
    lineage.pass_time(3)
    assert children <= rows(lineage).keys()
    assert not rows(lineage)[parent].is_ended
    again()
    lineage.until(lambda: lineage.journal.has("ended"), "the end")
    assert set(rows(lineage)[parent].partition.children) == children


def test_an_ended_lease_rests_before_it_is_removed_for_a_request_to_make_it_may_still_be_on_its_way(lineage: MemoryWorld) -> None:
    member, parent, children = split_and_begin(lineage)
    look(lineage, member)
    assert rows(lineage).keys() == {parent, *children}
    lineage.pass_time(2.5 * LEASE)
    look(lineage, member)
    assert parent in rows(lineage)
    lineage.pass_time(0.5 * LEASE)
    look(lineage, member)
    assert rows(lineage).keys() == children


def test_an_ended_lease_that_the_broker_does_not_list_any_more_is_removed_at_once(lineage: MemoryWorld) -> None:
    member, parent, children = split_and_begin(lineage)
    del lineage.log.topic(STREAM).logs[parent]  # its retention is over
    look(lineage, member)
    assert rows(lineage).keys() == children


def split_and_begin(lineage: MemoryWorld) -> tuple[Member, str, set[str]]:
    """A worker that has read a parent to its end and has begun both children, and their names."""
    lineage.create(1)
    (parent,) = ids(lineage)
    member = begin(lineage, "w1")
    children = {child.id for child in lineage.log.split(STREAM, parent)}
    for child in children:
        lineage.write(["x"], child)
    lineage.until(lambda: all((at := lineage.saved(child)) is not None and at.position is not None for child in children), "both begin")
    return member, parent, children


def look(lineage: MemoryWorld, member: Member) -> None:
    """At the partitions and at all leases, as each worker does twice a minute."""
    ownership(member)._looking.soon()
    lineage.pass_time(1.5)


def test_latest_is_the_groups_first_start_even_if_the_first_worker_died_before_it_read_anything(lineage: MemoryWorld) -> None:
    lineage.create(4)
    lineage.write(["old"], ids(lineage)[0])
    lineage.log.faults.hold("take", worker="w1")
    first = begin(lineage, "w1", start="latest")
    lineage.until(lambda: len(rows(lineage)) == 4, "the leases")
    first.kill()
    for number, partition in enumerate(ids(lineage)):
        lineage.write([f"new {number}"], partition)
    lineage.pass_time(120)
    begin(lineage, "w2", start="latest")
    lineage.until(lambda: len(values(lineage.journal)) == 4, "the new ones")
    lineage.pass_time(2)
    assert sorted(values(lineage.journal)) == [f"new {number}" for number in range(4)]


def test_partitions_that_are_added_are_found_and_begin_at_earliest() -> None:
    world = MemoryWorld("virtual")
    world.create(1)
    begin(world, "w1", start="latest")
    world.pass_time(ALONE)
    world.grow(2)
    world.write(["early"], "1")
    world.until(lambda: world.journal.has("done", "1", "early"), "the new partition", seconds=60)
    world.close()


def test_at_end_follows_children_and_a_worker_without_partitions_ends_too(lineage: MemoryWorld) -> None:
    lineage.create(1)
    (parent,) = ids(lineage)
    lineage.write(["before"], parent)
    for child in lineage.log.split(STREAM, parent):
        lineage.write([f"after {child.key_range}"], child.id)
    members = [begin(lineage, f"w{number}", stop="at_end") for number in range(4)]
    for member in members:
        member.wait()
    assert len(values(lineage.journal)) == 3
    assert all(lease.owner == "" for lease in rows(lineage).values())


def test_the_leases_of_a_stream_that_was_made_anew_refuse_to_start(lineage: MemoryWorld) -> None:
    lineage.create(1)
    first = begin(lineage, "w1")
    lineage.pass_time(ALONE)
    first.stop()
    lineage.log.delete(STREAM)
    lineage.create(1)
    second = begin(lineage, "w2")
    with pytest.raises(ConfigurationError, match="the stream is now"):
        second.wait()


# -- refusals ------------------------------------------------------------------------------------------------------------


def test_a_save_of_what_is_not_held_any_more_does_not_even_reach_the_store(lineage: MemoryWorld) -> None:
    lineage.create(1)
    member = begin(lineage, "w1")
    lineage.pass_time(ALONE)
    (partition,) = member.supervisor.assignments
    calls = ownership(member)._calls
    grant = Grant(calls.held[partition])
    member.supervisor.lose([partition], "for a test")
    lineage.log.faults.fail("save", StoreUnavailableError("asked all the same"))
    stale = Checkpoint(partition, StartPosition.after(Position(2**190)))

    async def save() -> Sequence[Grant | Exception]:
        return await calls.save([(stale, grant)])

    (answer,) = lineage.runtime.run(save())  # type: ignore[attr-defined]
    assert isinstance(answer, FencedError)
