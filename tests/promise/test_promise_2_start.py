"""Promise 2: a start position is resolved once per group and partition, and saved before the first record."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from streamkit.errors import StoreUnavailableError
from streamkit.model import Batch, Position, Record, StartPosition
from streamkit.processing import Context, Processor, record_processor
from streamkit.testing.virtual import EPOCH
from tests.promise.targets import noting, values
from tests.promise.world import STREAM, MemoryWorld, World

OLD = ["old-1", "old-2", "old-3"]
NEW = ["new-1", "new-2"]


def test_latest_and_a_kill_before_the_first_checkpoint_lose_nothing(world: World) -> None:
    class Never(Processor):
        def initialize(self, context: Context) -> None:
            raise RuntimeError("not today")

    world.create(1)
    world.write(OLD)
    first = world.start(Never, start="latest")
    world.until(lambda: world.journal.has("assigned", "w1"))
    world.write(NEW)
    first.kill()
    world.start(noting(world.journal, "w2"), "w2", start="latest")
    world.until(lambda: len(values(world.journal)) == 2)
    assert values(world.journal) == NEW


def test_latest_and_a_kill_in_the_first_call_lose_nothing(virtual: MemoryWorld) -> None:
    @record_processor
    def handle(record: Record, context: Context) -> None:
        first.supervisor.abandon()
        raise RuntimeError("killed")

    virtual.create(1)
    virtual.write(OLD)
    first = virtual.start(handle, start="latest")
    virtual.until(lambda: virtual.journal.has("assigned", "w1"))
    virtual.write(NEW)
    first.wait()
    virtual.start(noting(virtual.journal, "w2"), "w2", start="latest", stop="at_end").wait()
    assert values(virtual.journal) == NEW


def test_the_start_is_saved_before_the_first_record(world: World) -> None:
    @record_processor
    def handle(record: Record, context: Context) -> None:
        world.journal.note("saved", world.saved(), context.start)

    world.create(1)
    world.write(OLD)
    world.start(handle)
    world.until(lambda: world.journal.has("saved"))
    assert world.journal.of("saved")[0] == ("saved", StartPosition.EARLIEST, StartPosition.EARLIEST)


@pytest.mark.parametrize(("operation", "start"), [("save", 3), ("list", 5)])
def test_a_start_that_cannot_be_saved_is_no_start(virtual: MemoryWorld, operation: str, start: int) -> None:
    """It is resolved once: while it cannot be saved it does not move with the tip."""
    virtual.create(1)
    virtual.write(OLD)
    virtual.log.faults.fail(operation, StoreUnavailableError("no"), times=20)  # type: ignore[arg-type]
    virtual.start(noting(virtual.journal), start="latest")
    virtual.until(lambda: virtual.journal.has("problem", "finding where to start in orders/0"))
    virtual.write(NEW)
    virtual.pass_time(1)
    assert values(virtual.journal) == []
    virtual.until(lambda: virtual.journal.has("assigned"), seconds=300)
    assert virtual.saved() == StartPosition.at(Position(start))


@pytest.mark.parametrize("later", ["earliest", "latest"])
def test_a_start_position_counts_once(world: World, later: str) -> None:
    world.create(1)
    world.write(OLD)
    world.start(noting(world.journal), start="earliest", stop="at_end").wait()
    world.write(NEW)
    world.start(noting(world.journal, "w2"), "w2", start=later, stop="at_end").wait()
    assert values(world.journal) == OLD + NEW


def test_a_partition_found_later_begins_at_earliest(world: World) -> None:
    world.create(2)
    world.write(OLD, "0")
    member = world.start(noting(world.journal), start="latest")
    world.until(lambda: world.journal.has("assigned", "w1", times=2))
    member.stop()
    world.grow(3)
    world.write(NEW, "2")  # nobody knows of it yet
    world.start(noting(world.journal, "w2"), "w2", start="latest")
    world.until(lambda: len(values(world.journal)) == 2)
    assert values(world.journal, partition="2") == NEW


def test_a_partition_found_while_running_begins_at_earliest(world: World) -> None:
    world.create(1)
    world.start(noting(world.journal), start="latest")
    world.until(lambda: world.journal.has("assigned", "w1"))
    world.grow(2)
    world.write(NEW, "1")
    world.until(lambda: values(world.journal, partition="1") == NEW)


def test_workers_that_start_together_agree_about_latest(world: World) -> None:
    world.create(6)
    for partition in range(6):
        world.write(OLD, str(partition), age_seconds=3600)
    for worker in ("w1", "w2", "w3"):
        world.start(noting(world.journal, worker), worker, start="latest")
    world.until(lambda: len({note[2] for note in world.journal.of("assigned")}) == 6)
    for partition in range(6):
        world.write([f"new-{partition}"], str(partition))
    world.until(lambda: len(values(world.journal)) >= 6)
    assert sorted(set(values(world.journal))) == [f"new-{partition}" for partition in range(6)]


def test_latest_is_the_first_start_of_the_group_for_every_partition(virtual: MemoryWorld) -> None:
    """One is claimed long after the others; it was there from the beginning, so what came since is not skipped, and no more comes."""
    virtual.create(2)
    for partition in "01":
        virtual.write(OLD, partition, age_seconds=3600)
    first = virtual.start(noting(virtual.journal), start="latest", ownership="static", partitions=("0",))
    virtual.until(lambda: virtual.journal.has("assigned", "w1", "0"))
    first.stop()
    virtual.pass_time(30)
    virtual.write(NEW, "1")
    virtual.pass_time(3000)
    virtual.start(noting(virtual.journal, "w2"), "w2", start="latest", ownership="static", stop="at_end").wait()
    assert values(virtual.journal) == NEW


def test_latest_does_not_forget_a_partition_that_was_begun_and_has_ended_since(lineage: MemoryWorld) -> None:
    """From LATEST a broker shows only what is open; what the group has begun it must finish, and its children after it."""
    lineage.create(1)
    (parent,) = (partition.id for partition in lineage.log.partitions(STREAM))
    lineage.write(OLD, parent, age_seconds=3600)
    first = lineage.start(noting(lineage.journal), start="latest")
    lineage.until(lambda: lineage.journal.has("assigned"))
    first.stop()
    lineage.write(NEW, parent)
    left, right = (partition.id for partition in lineage.log.split(STREAM, parent))
    lineage.write(["left"], left)
    lineage.log.split(STREAM, left)
    lineage.write(["right"], right)
    lineage.start(noting(lineage.journal, "w2"), "w2", start="latest", stop="at_end").wait()
    assert values(lineage.journal)[:2] == NEW
    assert sorted(values(lineage.journal)[2:]) == ["left", "right"]


def test_a_time_is_a_start(virtual: MemoryWorld) -> None:
    virtual.create(1)
    virtual.write(OLD)
    virtual.pass_time(100)
    virtual.write(NEW)
    noon = datetime.fromtimestamp(EPOCH, UTC) + timedelta(seconds=50)
    virtual.start(noting(virtual.journal), start=noon.isoformat(), stop="at_end").wait()
    assert values(virtual.journal) == NEW


def test_a_batch_handler_sees_where_it_began(virtual: MemoryWorld) -> None:
    class Begin(Processor):
        def initialize(self, context: Context) -> None:
            virtual.journal.note("start", context.start)

        def process(self, batch: Batch, context: Context) -> None: ...

    virtual.create(1)
    virtual.write(OLD)
    virtual.start(Begin, stop="at_end").wait()
    virtual.start(Begin, "w2", stop="at_end").wait()
    assert virtual.journal.of("start") == [("start", StartPosition.EARLIEST), ("start", StartPosition.after(Position(2)))]
