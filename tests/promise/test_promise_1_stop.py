"""Promise 1, for apps that end by themselves: `STOP=at_end` and `STOP=idle` leave nothing unread because they did not look."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest

from streamkit.builtin.memory import MemoryBroker
from streamkit.builtin.memory.faults import Operation
from streamkit.builtin.memory.reader import MemoryReader
from streamkit.errors import BrokerUnavailableError, StoreUnavailableError
from streamkit.model import Partition, Record, StartPosition
from streamkit.outcome import Stop
from streamkit.plugin import Budget, Ended, Event, Reader
from streamkit.processing import Context, record_processor
from tests.promise.leased import ALONE, LEASE, begin, held, ids, rows
from tests.promise.targets import noting, text, values
from tests.promise.world import STREAM, MemoryWorld

IDLE = "idle:3s"
"""Less than the lease of a predecessor lasts."""


def fill(world: MemoryWorld) -> set[str]:
    """Some records in each partition; their values."""
    written = {partition: [f"{partition}: {number}" for number in range(3)] for partition in ids(world)}
    for partition, those in written.items():
        world.write(those, partition)
    return {value for those in written.values() for value in those}


# -- before there are leases ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stop", ["at_end", IDLE])
def test_who_ends_by_itself_waits_for_the_first_leases(lineage: MemoryWorld, stop: str) -> None:
    lineage.create(2)
    written = fill(lineage)
    release = lineage.log.faults.hold("create")
    member = begin(lineage, stop=stop)
    lineage.pass_time(5)
    assert not member.promise.done()
    release()
    member.wait()
    assert set(values(lineage.journal)) == written


def test_at_end_waits_while_the_store_refuses_the_first_leases(lineage: MemoryWorld) -> None:
    lineage.create(2)
    written = fill(lineage)
    lineage.log.faults.fail("create", StoreUnavailableError("not now"), times=2)
    begin(lineage, stop="at_end").wait()
    assert set(values(lineage.journal)) == written


class SlowToResolve(MemoryBroker):
    """A round trip for each partition."""

    async def resolve(self, partition: Partition, start: StartPosition) -> StartPosition:
        await asyncio.sleep(0.1)
        return await super().resolve(partition, start)


def test_at_end_waits_while_the_broker_is_slow_to_say_where_a_time_begins(lineage: MemoryWorld) -> None:
    lineage.create(60)
    written = fill(lineage)
    lineage.broker_class = SlowToResolve
    start = datetime.fromtimestamp(lineage.runtime.unix_time() - 3600, UTC).isoformat()
    begin(lineage, start=start, stop="at_end").wait()
    assert set(values(lineage.journal)) == written


def test_a_first_start_with_many_partitions_gets_further_with_each_try(lineage: MemoryWorld) -> None:
    """The first is too slow, as others may have done the same meanwhile; what it has resolved is kept. So is its LATEST."""
    lineage.create(200)
    asked: list[str] = []

    class Slower(MemoryBroker):
        async def resolve(self, partition: Partition, start: StartPosition) -> StartPosition:
            asked.append(partition.id)
            found = await super().resolve(partition, start)
            await asyncio.sleep(0.5)
            return found

    lineage.broker_class = Slower
    member = begin(lineage, start="latest")
    lineage.pass_time(4)
    assert not rows(lineage)
    since = set(asked)
    for partition in since:
        lineage.write([f"since {partition}"], partition)
    lineage.until(lambda: len(held(member)) == 200, "the start", seconds=60)
    lineage.until(lambda: lineage.journal.has("done", times=len(since)), "the records")
    assert sorted(asked) == sorted(ids(lineage)), "and each is asked once"
    assert set(values(lineage.journal)) == {f"since {partition}" for partition in since}
    ((_, subject, error),) = lineage.journal.of("problem")
    assert (subject, type(error)) == ("looking at partitions", BrokerUnavailableError)


# -- children ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
def test_at_end_does_not_believe_a_listing_of_before_a_parents_end(lineage: MemoryWorld, seed: int) -> None:
    """The parent has left us when its end was saved, and the listing that is still old shows it at its tip, without children."""
    lineage.create(2)
    first, second = ids(lineage)
    lineage.write(["a1"], first)
    lineage.write(["b1"], second)
    for child in lineage.log.split(STREAM, first):
        lineage.write([f"child {child.id}"], child.id)
    strike = lineage.log.faults.strike

    async def slow_listings(operation: Operation, worker: str) -> None:
        if operation == "leases":
            await asyncio.sleep(0.2 + 0.1 * seed)
        await strike(operation, worker)

    lineage.log.faults.strike = slow_listings  # type: ignore[method-assign]
    begin(lineage, stop="at_end").wait()
    assert len(values(lineage.journal)) == 4


class EndLater(MemoryReader):
    """As some brokers: one poll brings the last record, and only the next one the end of the partition."""

    def __init__(self, *args: object) -> None:
        super().__init__(*args)  # type: ignore[arg-type]
        self._later: list[Event] = []

    async def poll(self, budget: Budget) -> Sequence[Event]:
        if self._later:
            await asyncio.sleep(0.4)
            later, self._later = self._later, []
            return later
        events = await super().poll(budget)
        records = [event for event in events if not isinstance(event, Ended)]
        self._later = [event for event in events if isinstance(event, Ended)] if records else []
        return records or events


class EndsLater(MemoryBroker):
    def reader(self) -> Reader:
        return EndLater(self._log, self.context)


@pytest.mark.parametrize("how", [{"ownership": "static"}, {"ownership": "static", "partitions": ("shardId-000000000000",)}, {}])
def test_at_end_follows_children_although_the_last_record_comes_before_the_end(lineage: MemoryWorld, how: dict[str, object]) -> None:
    lineage.broker_class = EndsLater
    lineage.create(1)
    (parent,) = ids(lineage)
    lineage.write(["parent"], parent)
    for child in lineage.log.split(STREAM, parent):
        lineage.write([f"child {child.id}"], child.id)
    begin(lineage, **{"stop": "at_end", **how}).wait()  # type: ignore[arg-type]
    assert len(values(lineage.journal)) == 3


@pytest.mark.parametrize("ownership", ["static", "lease"])
def test_at_end_does_not_wait_for_the_children_of_what_has_halted(lineage: MemoryWorld, ownership: str) -> None:
    lineage.create(2)
    first, second = ids(lineage)
    lineage.write(["poison"], first)
    lineage.write(["fine"], second)
    _, right = lineage.log.split(STREAM, first)
    lineage.write(["never"], lineage.log.merge(STREAM, right.id, second).id)

    @record_processor
    def handle(record: Record, context: Context) -> Stop | None:
        if text(record) == "poison":
            raise ValueError("poison")
        lineage.journal.note("done", record.partition.id, text(record), "w1")
        return None

    member = begin(lineage, "w1", handle, ownership=ownership, stop="at_end", retry_attempts=1)
    member.wait()
    assert (member.supervisor.exit_code, values(lineage.journal)) == (1, ["fine"])


# -- others --------------------------------------------------------------------------------------------------------------


def test_at_end_does_not_leave_to_a_dead_worker_what_the_rows_say_is_its_own(lineage: MemoryWorld) -> None:
    lineage.create(2)
    first = begin(lineage, "w1", max_partitions=1)
    lineage.pass_time(ALONE)
    first.kill()
    written = fill(lineage)
    begin(lineage, "w2", stop="at_end").wait()
    assert set(values(lineage.journal)) == written


@pytest.mark.parametrize("stop", ["at_end", IDLE])
def test_a_worker_that_ends_by_itself_first_waits_for_what_its_predecessor_has_left(lineage: MemoryWorld, stop: str) -> None:
    lineage.create(2)
    first = begin(lineage, "w1")
    lineage.pass_time(ALONE)
    first.kill()
    written = fill(lineage)
    begin(lineage, "w1", stop=stop).wait()
    assert set(values(lineage.journal)) == written


def test_idle_is_not_a_store_that_does_not_answer(lineage: MemoryWorld) -> None:
    lineage.create(2)
    written = fill(lineage)
    lineage.log.faults.fail("leases", StoreUnavailableError("down"), times=6)
    member = begin(lineage, stop=IDLE)
    lineage.until(member.promise.done, "the end", seconds=60)
    assert set(values(lineage.journal)) == written


def test_idle_beside_a_living_worker_ends_in_time(lineage: MemoryWorld) -> None:
    lineage.create(2)
    begin(lineage, "w1")
    lineage.pass_time(ALONE)
    second = begin(lineage, "w2", stop=IDLE)
    lineage.until(second.promise.done, "the end", seconds=3 * LEASE)


# -- MAX_PARTITIONS ------------------------------------------------------------------------------------------------------


def test_at_end_a_worker_at_its_max_partitions_waits_for_others_and_says_so(lineage: MemoryWorld) -> None:
    lineage.create(3)
    written = fill(lineage)
    full = begin(lineage, "w1", max_partitions=1, stop="at_end")
    lineage.pass_time(60)
    assert len(held(full)) == 1
    ((_, subject, error),) = lineage.journal.of("problem")
    assert subject == "waiting for other workers"
    assert "nobody reads 2 partitions" in str(error)
    begin(lineage, "w2", stop="at_end").wait()
    full.wait()
    assert set(values(lineage.journal)) == written


def test_idle_a_worker_at_its_max_partitions_does_not_wait_for_what_it_may_not_take(lineage: MemoryWorld) -> None:
    lineage.create(3)
    fill(lineage)
    full = begin(lineage, "w1", max_partitions=1, stop=IDLE)
    full.wait()
    assert len(values(lineage.journal)) == 3


# -- a start that is no first one ----------------------------------------------------------------------------------------


def test_under_latest_the_other_parent_of_a_merge_is_read_although_it_has_no_checkpoint(lineage: MemoryWorld) -> None:
    """The group had begun one of them when both were closed."""
    lineage.create(2)
    one, other = ids(lineage)
    first = begin(lineage, "w1", ownership="static", partitions=(one,), start="latest")
    lineage.until(lambda: lineage.journal.has("assigned"))
    first.stop()
    lineage.write(["one"], one)
    lineage.write(["other"], other)
    child = lineage.log.merge(STREAM, one, other).id
    lineage.write(["child"], child)
    lineage.pass_time(timedelta(hours=1).total_seconds())
    lineage.start(noting(lineage.journal, "w2"), "w2", start="latest", stop="at_end").wait()
    assert sorted(values(lineage.journal)) == ["child", "one", "other"]
