"""Promise 3: order, per assignment; children after all their parents; a reader that goes back is opened again, a log that went back halts.

Order by key is in test_promise_3_key_order.py.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from streamkit.builtin.memory import MemoryBroker
from streamkit.builtin.memory.reader import MemoryReader
from streamkit.errors import PositionInvalidError
from streamkit.model import Batch, Checkpoint, Position, Record, StartPosition
from streamkit.plugin import Budget, Event, Reader
from streamkit.processing import Context, Processor, processor, record_processor
from tests.promise.targets import noting, text, values
from tests.promise.world import STREAM, MemoryWorld, World

MANY = [str(n) for n in range(200)]


@pytest.mark.parametrize("is_async", [False, True])
def test_records_of_a_partition_come_in_order_one_call_at_a_time(world: World, is_async: bool) -> None:
    running: set[str] = set()

    def begin(partition: str) -> None:
        assert partition not in running, "two calls at once"
        running.add(partition)

    @processor
    def plain(batch: Batch, context: Context) -> None:
        begin(batch.partition.id)
        for record in batch:
            world.journal.note("done", batch.partition.id, text(record))
        running.remove(batch.partition.id)

    @processor
    async def asynchronous(batch: Batch, context: Context) -> None:
        begin(batch.partition.id)
        for record in batch:
            await asyncio.sleep(0)
            world.journal.note("done", batch.partition.id, text(record))
        running.remove(batch.partition.id)

    world.create(3)
    for partition in "012":
        world.write(MANY, partition)
    world.start(asynchronous if is_async else plain, max_batch=7)
    world.until(lambda: len(values(world.journal)) == 600)
    for partition in "012":
        assert values(world.journal, partition=partition) == MANY


class _Forgetful(MemoryReader):
    """Goes back by three records, once for each entry of `slips`."""

    def __init__(self, broker: MemoryBroker, slips: list[int]) -> None:
        super().__init__(broker._log, broker.context)
        self._slips = slips

    async def poll(self, budget: Budget) -> Sequence[Event]:
        if self._slips and any(cursor.sequence >= self._slips[0] for cursor in self._cursors.values()):
            self._slips.pop(0)
            for cursor in self._cursors.values():
                cursor.sequence -= 3
        return await super().poll(budget)


def test_a_reader_that_goes_back_is_opened_again_from_our_own_position(virtual: MemoryWorld) -> None:
    slips = [5, 50, 120]

    class Broker(MemoryBroker):
        def reader(self) -> Reader:
            return _Forgetful(self, slips)

    virtual.own_store = True
    virtual.broker_class = Broker
    virtual.create(1)
    virtual.write(MANY)
    virtual.start(noting(virtual.journal), ownership="static", max_batch=7, max_in_flight=70)  # so that a poll brings seven
    virtual.until(lambda: len(values(virtual.journal)) >= 200, seconds=300)
    assert values(virtual.journal) == MANY
    assert not slips
    problems = virtual.journal.of("problem", "reading orders/0")
    assert len(problems) == 3
    assert all(isinstance(problem[2], PositionInvalidError) for problem in problems)


def test_a_log_whose_tip_lies_below_the_checkpoint_halts(beside: MemoryWorld) -> None:
    beside.create(2)
    beside.write(MANY[:5], "0")
    beside.write(MANY[:5], "1")
    partition = beside.log.partitions(STREAM)[0]
    beside.runtime.run(beside.store.overwrite(Checkpoint(partition, StartPosition.after(Position(100)))))  # type: ignore[attr-defined]
    member = beside.start(noting(beside.journal))
    beside.until(lambda: beside.journal.has("halted", "0"))
    beside.until(lambda: len(values(beside.journal)) == 5)
    assert values(beside.journal, partition="0") == []
    assert isinstance(beside.journal.of("halted", "0")[0][2], PositionInvalidError)
    assert member.states["0"] == "halted"
    assert beside.saved("0") == StartPosition.after(Position(100)), "nothing is adjusted silently"


def test_children_begin_after_all_their_parents_have_ended(lineage: MemoryWorld) -> None:
    lineage.create(2)
    first, second = (partition.id for partition in lineage.log.partitions(STREAM))
    lineage.write(MANY[:50], first)
    lineage.write(MANY[:5], second)
    child = lineage.log.merge(STREAM, first, second).id
    grandchildren = [partition.id for partition in lineage.log.split(STREAM, child)]

    @record_processor
    async def handle(record: Record, context: Context) -> None:
        await asyncio.sleep(0.01)
        lineage.journal.note("done", record.partition.id, text(record))

    lineage.write(["a"], grandchildren[0])
    lineage.write(["b"], grandchildren[1])
    lineage.start(handle, max_batch=4)
    lineage.until(lambda: len(values(lineage.journal)) == 57)
    assert sorted(values(lineage.journal)[-2:]) == ["a", "b"]
    ended = [str(note[2]) for note in lineage.journal.of("ended", "w1")]
    assert ended == [second, first, child]
    assert all(lineage.saved(partition) == StartPosition.END for partition in (first, second, child))


def test_children_wait_while_a_parent_may_not_end(lineage: MemoryWorld) -> None:
    class Manual(Processor):
        checkpoint = "manual"

        def process(self, batch: Batch, context: Context) -> None:
            lineage.journal.note("done", batch.partition.id, "")

        def partition_ended(self, context: Context) -> None:
            lineage.journal.note("asked", context.partition.id, [child.id for child in context.children])
            if lineage.journal.has("asked", times=4):
                context.checkpoint()

    lineage.create(1)
    (parent,) = (partition.id for partition in lineage.log.partitions(STREAM))
    lineage.write(MANY[:5], parent)
    children = [partition.id for partition in lineage.log.split(STREAM, parent)]
    lineage.write(["a"], children[0])
    lineage.start(Manual)
    lineage.until(lambda: lineage.journal.has("done", children[0]), seconds=300)
    assert lineage.journal.of("asked") == [("asked", parent, children)] * 4
    kinds = [note[0] for note in lineage.journal.notes if note[:2] in (("asked", parent), ("done", children[0]))]
    assert kinds == ["asked"] * 4 + ["done"]


def test_a_restart_goes_on_where_the_lineage_stands(lineage: MemoryWorld) -> None:
    lineage.create(1)
    (parent,) = (partition.id for partition in lineage.log.partitions(STREAM))
    lineage.write(MANY[:5], parent)
    children = [partition.id for partition in lineage.log.split(STREAM, parent)]
    first = lineage.start(noting(lineage.journal))
    lineage.until(lambda: lineage.journal.has("assigned", "w1", children[1]))
    first.stop()
    lineage.write(["a"], children[0])
    lineage.start(noting(lineage.journal, "w2"), "w2")
    lineage.until(lambda: lineage.journal.has("done", children[0]))
    assert len(values(lineage.journal)) == 6
