"""Rules about what a reader is told while it reads: pause, resume, remove, and how much it may return."""

from __future__ import annotations

import asyncio
import time

from streamkit.model import Batch, Partition, StartPosition
from streamkit.plugin import Budget, Idle
from streamkit.testing.conformance.broker_bench import BrokerBench, numbered
from streamkit.testing.conformance.lane import BUDGET, Lane
from streamkit.testing.conformance.rule import Rule

rule = Rule[BrokerBench].of

_EXTRA_POLLS = 5
_SLOW_MACHINE_SECONDS = 2.0


async def witnessed(bench: BrokerBench, lane: Lane, witness: Partition, first: int) -> None:
    """Read something of another partition, so that there was time for what should not come."""
    seen = len(lane.values(witness))
    await bench.write(witness, numbered(3, first=first))
    await lane.read(witness, seen + 3)
    for _ in range(_EXTRA_POLLS):
        await lane.poll()


@rule("B50", "a paused partition returns nothing", declares=("static",))
async def pauses(bench: BrokerBench) -> None:
    """Promise 6: memory is bounded because what is behind is paused. The others go on. One that is paused before its first record
    returns none."""
    partition, witness, early = await bench.partitions(3)
    await bench.write(partition, numbered(5))
    await bench.write(early, numbered(5))
    lane = await bench.reading(partition, witness, early)
    await lane.pause(early)
    await lane.read(partition, 5)
    await lane.pause(partition)
    await bench.write(partition, numbered(5, first=5))
    await witnessed(bench, lane, witness, 100)
    assert len(lane.values(partition)) == 5, "records of a paused partition"
    assert lane.values(early) == [], "records of one that was paused at once"
    await lane.resume(early)
    assert await lane.read(early, 5) == numbered(5)


@rule("B51", "a resumed partition goes on where it was: nothing is lost and nothing comes twice", declares=("static",))
async def resumes(bench: BrokerBench) -> None:
    """Promise 1. What a client had prefetched when it was paused is easily dropped, or returned again."""
    partition, witness = await bench.partitions(2)
    written = await bench.write(partition, numbered(40))
    lane = await bench.reading(partition, witness)
    await nothing_lost_by_pauses(bench, lane, partition, witness, written)


async def nothing_lost_by_pauses(
    bench: BrokerBench, lane: Lane, partition: Partition, witness: Partition, written: list[bytes | None]
) -> None:
    """Pause and resume a partition of which `written` is there, and nothing has come yet."""
    small = Budget(max_records=3, max_bytes=BUDGET.max_bytes, max_wait_seconds=BUDGET.max_wait_seconds)
    await lane.read(partition, 3, small)
    for round_ in range(3):
        await lane.pause(partition)
        written += await bench.write(partition, numbered(2, first=40 + 2 * round_))
        await witnessed(bench, lane, witness, 100 + 10 * round_)
        await lane.resume(partition)
        await lane.poll(small)
    assert await lane.read(partition, len(written)) == written


@rule("B52", "a removed partition returns nothing", declares=("static",))
async def removes(bench: BrokerBench) -> None:
    """Promise 4: after a revoke, a loss or an end nothing of it may be delivered."""
    partition, witness = await bench.partitions(2)
    await bench.write(partition, numbered(50))
    lane = await bench.reading(partition, witness)
    await lane.until(lambda: lane.values(partition), "a first record", Budget(5, 1 << 20, 0.05))
    await not_after_remove(bench, lane, partition, witness)


async def not_after_remove(bench: BrokerBench, lane: Lane, partition: Partition, witness: Partition) -> None:
    """Remove a partition, and look that nothing more comes of it."""
    await lane.remove(partition)
    had = len(lane.values(partition))
    said = len(lane.events)
    await bench.write(partition, numbered(5, first=50))
    await witnessed(bench, lane, witness, 200)
    assert len(lane.values(partition)) == had, "records of a removed partition"
    late = [event for event in lane.events[said:] if getattr(event, "partition", None) == partition]
    assert late == [], "nothing else is said of it either"


@rule("B53", "what was never added may be removed, paused and resumed", declares=("static",))
async def harmless(bench: BrokerBench) -> None:
    """On revoke and shutdown the engine removes all of them, also those that it had not added yet."""
    stranger, partition = await bench.partitions(2)
    lane = await bench.reading(partition)
    await lane.remove(stranger)
    await lane.pause(stranger)
    await lane.resume(stranger)
    await lane.remove(stranger)
    written = await bench.write(partition, numbered(3))
    assert await lane.read(partition, 3) == written
    assert lane.failed() == []


@rule("B54", "a partition that is added again goes on from the start that it is given", declares=("static",))
async def added_again(bench: BrokerBench) -> None:
    """After a failure, and after a loss, the engine opens a partition from our own position. What was prefetched before belongs to
    another time; and it is not paused, even if it was before."""
    partition = await bench.partition()
    written = await bench.write(partition, numbered(30))
    lane = await bench.reading(partition)
    await lane.read(partition, 1, Budget(5, 1 << 20, 0.05))
    done = lane.records(partition)[0]
    await lane.pause(partition)
    await lane.remove(partition)
    lane.events.clear()
    await lane.add(partition, StartPosition.after(done.position))
    assert await lane.read(partition, 29) == written[1:]


@rule("B55", "a poll returns no more records than its budget", declares=("static",))
async def keeps_to_records(bench: BrokerBench) -> None:
    """Promise 6. The engine reserves room before it polls. All partitions of a poll together."""
    partitions = await bench.partitions(2)
    for partition in partitions:
        await bench.write(partition, numbered(30))
    lane = await bench.reading(*partitions)
    budget = Budget(max_records=7, max_bytes=1 << 20, max_wait_seconds=0.05)
    await lane.until(lambda: sum(map(len, lane.batches())) >= 60, "everything is read", budget)
    sizes = [sum(len(event) for event in events if isinstance(event, Batch)) for events in lane.polls]
    assert max(sizes) <= 7, f"a poll with a budget of 7 returned {max(sizes)}"
    assert sorted(value or b"" for p in partitions for value in lane.values(p)) == sorted(numbered(30) * 2)


@rule("B56", "one record is always admitted, however small the budget of bytes", declares=("static",))
async def admits_one(bench: BrokerBench) -> None:
    """A record larger than the whole budget must come all the same, alone, or the partition would stand still for ever. One of all
    partitions together, and each has its turn."""
    partitions = await bench.partitions(2)
    written = [await bench.write(partition, [b"%d" % number + b"x" * 2000 for number in range(5)]) for partition in partitions]
    lane = await bench.reading(*partitions)
    for partition, values in zip(partitions, written, strict=True):
        assert await lane.read(partition, 5, Budget(max_records=100, max_bytes=100, max_wait_seconds=0.05)) == values
    sizes = [sum(len(event) for event in events if isinstance(event, Batch)) for events in lane.polls]
    assert max(sizes) == 1, "each is larger than the budget, so each comes alone"


@rule("B57", "a poll that finds nothing returns in time, and Idle comes alone", declares=("static",))
async def idles(bench: BrokerBench) -> None:
    """Commands wait behind the poll: saves, and shutdown. A reader that blocks may wait as long as its budget says, another one not at
    all: it would hold up everything that runs on the engine's loop. `Idle` beside records would make the engine wait with them."""
    partition = await bench.partition()
    lane = await bench.reading(partition)
    await lane.until(lambda: lane.caught_up(partition), "the tip is reached")
    wait = 0.05
    for _ in range(5):
        lane.events.clear()
        begun = time.monotonic()
        events = await lane.run(lane.reader.poll(Budget(100, 1 << 20, wait)))
        assert time.monotonic() - begun < wait + _SLOW_MACHINE_SECONDS
        if any(isinstance(event, Idle) for event in events):
            assert len(events) == 1, events
            assert isinstance(events[0], Idle)
            assert events[0].seconds >= 0
            await asyncio.sleep(min(events[0].seconds, 0.05))


@rule("B58", "a reader with nothing added may be polled", declares=("static",))
async def nothing_added(bench: BrokerBench) -> None:
    """Between a revoke and the next assignment a worker has no partition."""
    partition = await bench.partition()
    lane = await bench.lane()
    for _ in range(3):
        await lane.poll()
    assert lane.batches() == []
    written = await bench.write(partition, numbered(2))
    await lane.add(partition)
    assert await lane.read(partition, 2) == written


@rule("B59", "a poll stops at its budget of bytes, at the latest with the record that exceeds it", declares=("static",))
async def keeps_to_bytes(bench: BrokerBench) -> None:
    """Promise 6. How large a record is, many clients know only when they have it; so the last one of a poll may exceed the budget."""
    partition = await bench.partition()
    written = await bench.write(partition, [b"%d" % number + b"x" * 2000 for number in range(10)])
    lane = await bench.reading(partition)
    assert await lane.read(partition, 10, Budget(max_records=100, max_bytes=7000, max_wait_seconds=0.05)) == written
    for events in lane.polls:
        sizes = [len(value or b"") for event in events if isinstance(event, Batch) for value in event.values()]
        assert sum(sizes[:-1]) <= 7000, f"a poll with a budget of 7000 bytes returned records of {sizes}"
