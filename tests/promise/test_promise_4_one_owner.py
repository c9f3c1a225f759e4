"""Promise 4: one owner, fenced as far as the store can.

Not built yet, so not tested: leases.
"""

from __future__ import annotations

import asyncio
import threading

import pytest

from streamkit.errors import FencedError, PartitionLostError, StoreUnavailableError
from streamkit.model import Batch, Checkpoint, Position, Record, StartPosition
from streamkit.processing import Context, LostContext, Processor, record_processor
from tests.promise.targets import noting, text, values
from tests.promise.world import STREAM, MemoryWorld, World

TEN = [str(n) for n in range(10)]


def after(sequence: int) -> StartPosition:
    return StartPosition.after(Position(sequence))


class Reporting(Processor):
    """Notes its hooks; `world` is set by each test's subclass."""

    world: World

    def initialize(self, context: Context) -> None:
        self.world.journal.note("hook", "initialize", context.epoch)

    async def process(self, batch: Batch, context: Context) -> None:
        for record in batch:
            self.world.journal.note("done", batch.partition.id, text(record))

    def partition_ended(self, context: Context) -> None:
        self.world.journal.note("hook", "ended")

    def partition_revoked(self, context: Context) -> None:
        self.world.journal.note("hook", "revoked", context.reason)

    def partition_lost(self, context: LostContext) -> None:
        self.world.journal.note("hook", "lost", context.epoch)

    def close(self) -> None:
        self.world.journal.note("hook", "close")


def hooks(world: World) -> list[object]:
    return [note[1] for note in world.journal.of("hook")]


def test_a_hand_over_in_order_repeats_nothing(world: World) -> None:
    world.create(4)
    for partition in "0123":
        world.write(TEN, partition)
    world.start(noting(world.journal))
    world.until(lambda: len(values(world.journal)) == 40)
    world.start(noting(world.journal, "w2"), "w2")
    world.until(lambda: world.journal.has("assigned", "w2", times=2))
    assert world.journal.has("revoked", "w1", times=2)
    for partition in "0123":
        world.write(["new"], partition)
    world.until(lambda: values(world.journal).count("new") == 4)
    assert len(values(world.journal)) == 44


def test_each_owner_has_a_higher_epoch(world: World) -> None:
    world.create(1)
    for worker in ("w1", "w2", "w3"):
        member = world.start(noting(world.journal, worker), worker)
        world.until(lambda worker=worker: world.journal.has("assigned", worker))  # type: ignore[misc]
        member.stop()
    epochs = [note[3] for note in world.journal.of("assigned")]
    assert epochs == sorted(set(epochs))  # type: ignore[type-var]


def test_a_processor_hears_of_one_end_only(world: World) -> None:
    target = type("Bound", (Reporting,), {"world": world})
    world.create(1)
    world.write(TEN)
    member = world.start(target)
    world.until(lambda: len(values(world.journal)) == 10)
    member.stop()
    assert hooks(world) == ["initialize", "revoked", "close"]
    assert world.journal.of("hook", "revoked") == [("hook", "revoked", "shutdown")]
    assert world.journal.has("revoked", "w1", times=1)


def test_an_ended_partition_is_not_also_revoked(lineage: MemoryWorld) -> None:
    target = type("Bound", (Reporting,), {"world": lineage})
    lineage.create(1)
    (parent,) = (partition.id for partition in lineage.log.partitions(STREAM))
    lineage.write(TEN, parent)
    children = [child.id for child in lineage.log.split(STREAM, parent)]
    member = lineage.start(target)
    lineage.until(lambda: lineage.journal.has("assigned", "w1", children[1]))
    member.stop()
    assert hooks(lineage).count("ended") == 1
    assert sorted(note[2] for note in lineage.journal.of("revoked", "w1")) == sorted(children)
    assert [note[2] for note in lineage.journal.of("ended", "w1")] == [parent]


def test_a_worker_that_lost_a_partition_cannot_move_its_checkpoint(beside: MemoryWorld) -> None:
    """w1 hangs until w2 has taken over; its save is refused, its record is not begun, its processor is told."""
    gate = asyncio.Event()

    class Slow(Reporting):
        world = beside

        async def process(self, batch: Batch, context: Context) -> None:
            await gate.wait()
            self.world.journal.note("still", context.lost)

    beside.create(1)
    beside.write(TEN)
    beside.start(Slow, max_batch=5)
    beside.until(lambda: beside.journal.has("hook", "initialize"))
    thaw = beside.log.faults.hold("poll", worker="w1")
    beside.start(noting(beside.journal, "w2"), "w2")
    beside.until(lambda: beside.saved() == after(9))
    thaw()
    beside.pass_time(0.5)
    beside.runtime.control.post(gate.set)
    beside.until(lambda: beside.journal.has("hook", "close"))
    assert hooks(beside) == ["initialize", "lost", "close"]
    assert beside.journal.of("still") == [("still", True)], "the second half is not begun"
    assert beside.saved() == after(9)


def test_the_save_of_an_old_owner_is_refused(beside: MemoryWorld) -> None:
    """It has not yet heard that the group has given it up; the store has."""
    gate = asyncio.Event()

    @record_processor
    async def handle(record: Record, context: Context) -> None:
        if text(record) == "5":
            await gate.wait()
        beside.journal.note("done", "0", text(record), "w1")

    beside.create(1)
    beside.write(TEN)
    beside.start(handle)
    beside.until(lambda: beside.saved() == after(4))
    thaw = beside.log.faults.hold("poll", worker="w1")
    beside.start(noting(beside.journal, "w2"), "w2")
    beside.until(lambda: beside.saved() == after(9))
    refused = beside.log.faults.hold("claim", worker="w1")  # it would claim once more, because it believes to be assigned
    beside.runtime.control.post(gate.set)
    beside.until(lambda: beside.journal.has("not checkpointed", "0", FencedError))
    assert beside.saved() == after(9)
    thaw()
    beside.until(lambda: beside.journal.has("lost", "w1"))
    refused()
    beside.pass_time(1)
    beside.write(["last"])
    beside.until(lambda: beside.saved() == after(10), seconds=100)


def test_a_new_assignment_waits_for_the_old_call(virtual: MemoryWorld) -> None:
    """Also when it is lost again while it waits: the third one still waits for the first."""
    gate = asyncio.Event()
    running = 0

    @record_processor
    async def handle(record: Record, context: Context) -> None:
        nonlocal running
        running += 1
        assert running == 1, "two calls for one partition"
        virtual.journal.note("begun", text(record), context.lost)
        await gate.wait()
        running -= 1

    virtual.create(1)
    virtual.write(TEN)
    member = virtual.start(handle)
    virtual.until(lambda: virtual.journal.has("begun"))
    (partition,) = virtual.log.partitions(STREAM)
    for epoch in (2, 3, 4):
        virtual.runtime.control.post(member.supervisor.lose, [partition], "a test")
        virtual.pass_time(0.5)
        virtual.runtime.control.post(member.supervisor.assign, partition, epoch)
        virtual.pass_time(0.5)
    assert len(virtual.journal.of("begun")) == 1
    virtual.runtime.control.post(gate.set)
    virtual.until(lambda: virtual.saved() == after(9))


def test_a_revoke_that_takes_too_long_does_not_touch_the_next_assignment(virtual: MemoryWorld) -> None:
    gate = asyncio.Event()

    @record_processor
    async def handle(record: Record, context: Context) -> None:
        virtual.journal.note("begun", text(record), context.epoch)
        await gate.wait()

    virtual.create(1)
    virtual.write(TEN)
    member = virtual.start(handle)
    virtual.until(lambda: virtual.journal.has("begun"))
    (partition,) = virtual.log.partitions(STREAM)
    virtual.runtime.control.call("revoke", member.supervisor.revoke([partition], "rebalance", 2.0))
    virtual.pass_time(0.5)
    virtual.runtime.control.post(member.supervisor.lose, [partition], "a test")
    virtual.runtime.control.post(member.supervisor.assign, partition, 9)
    virtual.pass_time(5)
    assert list(member.states) == ["0"], "the second assignment is still there"
    virtual.runtime.control.post(gate.set)
    virtual.until(lambda: virtual.saved() == after(9))


def test_an_operator_who_moves_a_checkpoint_is_obeyed(beside: MemoryWorld) -> None:
    """The running owner is fenced, and begins again where the operator says."""
    beside.create(1)
    beside.write(TEN)
    beside.start(noting(beside.journal))
    beside.until(lambda: beside.saved() == after(9))
    (partition,) = beside.log.partitions(STREAM)
    beside.runtime.run(beside.store.overwrite(Checkpoint(partition, after(6))))  # type: ignore[attr-defined]
    beside.write(["new"])
    beside.until(lambda: beside.saved() == after(10))
    assert values(beside.journal) == [*TEN, "new", "7", "8", "9", "new"]


def test_a_run_does_not_end_while_a_partition_is_about_to_begin_again(beside: MemoryWorld) -> None:
    gate = asyncio.Event()

    @record_processor
    async def handle(record: Record, context: Context) -> None:
        if record.partition.id == "1":
            await gate.wait()
        beside.journal.note("done", record.partition.id, text(record))

    beside.create(2)
    beside.write(TEN, "0")
    beside.write(["slow"], "1")
    member = beside.start(handle, stop="at_end")
    beside.until(lambda: beside.saved("0") == after(9))
    partition = beside.log.partitions(STREAM)[0]
    beside.runtime.run(beside.store.overwrite(Checkpoint(partition, after(6))))  # type: ignore[attr-defined]
    beside.write(["new"], "0")
    beside.until(lambda: beside.journal.has("lost", "w1", "0"))
    beside.runtime.control.post(gate.set)
    member.wait()
    assert beside.saved("0") == after(10)


def test_a_claim_that_fails_after_fencing_is_tried_again(beside: MemoryWorld) -> None:
    """The group still says that the partition is ours: giving up would leave it without a reader for ever."""
    beside.create(1)
    beside.write(TEN)
    beside.start(noting(beside.journal))
    beside.until(lambda: beside.saved() == after(9))
    (partition,) = beside.log.partitions(STREAM)
    beside.runtime.run(beside.store.claim(partition, "a stray", 0))  # type: ignore[attr-defined]
    beside.log.faults.fail("claim", StoreUnavailableError("no"), times=3)
    beside.write(["new"])
    beside.until(lambda: beside.saved() == after(10))
    assert values(beside.journal) == [*TEN, "new"]
    assert beside.journal.has("not checkpointed", "0", FencedError, times=1)


def test_a_lost_handler_can_see_that_it_is(threads: World) -> None:
    """`context.lost` is true in a `def` handler that runs when the deadline of a drain has passed; its checkpoint is refused."""
    gate = threading.Event()

    @record_processor
    def handle(record: Record, context: Context) -> None:
        threads.journal.note("begun", text(record))
        gate.wait()
        threads.journal.note("lost", "seen", context.lost)
        with pytest.raises(PartitionLostError):
            context.checkpoint()
        threads.journal.note("refused")

    threads.create(1)
    threads.write(TEN)
    member = threads.start(handle, drain_timeout="200ms")
    threads.until(lambda: threads.journal.has("begun"))
    member.supervisor.stop("shutdown")
    threads.until(lambda: threads.journal.has("over", "w1"))
    gate.set()
    threads.until(lambda: threads.journal.has("refused"))
    assert threads.journal.has("lost", "seen", True)
    assert threads.journal.of("begun") == [("begun", "0")]


def test_nothing_is_begun_once_the_end_has_begun(virtual: MemoryWorld) -> None:
    """The running record is finished and saved; what is queued behind it will be delivered again."""
    gate = asyncio.Event()

    @record_processor
    async def handle(record: Record, context: Context) -> None:
        virtual.journal.note("begun", text(record))
        await gate.wait()

    virtual.create(1)
    virtual.write(TEN)
    member = virtual.start(handle)
    virtual.until(lambda: virtual.journal.has("begun", "0"))
    member.supervisor.stop("shutdown")
    virtual.pass_time(0.5)
    virtual.runtime.control.post(gate.set)
    member.wait()
    assert virtual.journal.of("begun") == [("begun", "0")]
    assert virtual.saved() == after(0)


def test_nothing_is_saved_after_a_loss(virtual: MemoryWorld) -> None:
    """Not even what was done before it, and although the store would still take it: the next owner may have read the old one."""
    gate = asyncio.Event()

    @record_processor
    async def handle(record: Record, context: Context) -> None:
        if text(record) == "5":
            virtual.journal.note("blocked")
            await gate.wait()

    virtual.create(1)
    member = virtual.start(handle, checkpoint_interval="1s")
    virtual.until(lambda: virtual.journal.has("assigned"))
    virtual.write(TEN)
    virtual.until(lambda: virtual.journal.has("blocked"))
    (partition,) = virtual.log.partitions(STREAM)
    virtual.runtime.control.post(member.supervisor.lose, [partition], "a test")
    virtual.pass_time(5)
    assert virtual.saved() == StartPosition.EARLIEST
    virtual.runtime.control.post(gate.set)
    virtual.until(lambda: virtual.journal.has("lost", "w1"))
    virtual.pass_time(5)
    assert virtual.saved() == StartPosition.EARLIEST


def test_open_futures_fail_with_the_loss(virtual: MemoryWorld) -> None:
    @record_processor(checkpoint="manual")
    async def handle(record: Record, context: Context) -> None:
        try:
            await context.checkpoint()
        except PartitionLostError:
            virtual.journal.note("told", text(record))

    virtual.create(1)
    member = virtual.start(handle)
    virtual.until(lambda: virtual.journal.has("assigned"))
    virtual.log.faults.fail("save", StoreUnavailableError("no"), times=1_000_000)
    virtual.write(TEN)
    virtual.until(lambda: virtual.journal.has("not checkpointed"))
    (partition,) = virtual.log.partitions(STREAM)
    virtual.runtime.control.post(member.supervisor.lose, [partition], "a test")
    virtual.until(lambda: virtual.journal.has("lost", "w1"))
    assert virtual.journal.of("told") == [("told", "0")]
