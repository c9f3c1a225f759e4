"""Rules about where reading begins: the five starts, the same on every broker, and what `resolve` makes of them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta

import pytest

from streamkit.errors import BrokerError, ConfigurationError, PositionInvalidError
from streamkit.model import Partition, Position, Record, StartPosition
from streamkit.testing.conformance.broker_bench import BrokerBench, numbered
from streamkit.testing.conformance.lane import Lane
from streamkit.testing.conformance.rule import Rule

rule = Rule[BrokerBench].of


async def read_from(bench: BrokerBench, partition: Partition, start: StartPosition) -> list[bytes | None]:
    """Everything from there to the tip."""
    lane = await bench.reading(partition, start=start)
    await lane.until(lambda: lane.caught_up(partition), f"the tip is reached from {start}")
    return lane.values(partition)


async def ten_records(bench: BrokerBench) -> tuple[Partition, Sequence[Record]]:
    """A partition with ten records, which were written one after the other, and their records as they are read."""
    partition = await bench.partition()
    for value in numbered(10):
        await bench.write(partition, [value])
    lane = await bench.reading(partition)
    await lane.read(partition, 10)
    return partition, lane.records(partition)


async def spaced_records(bench: BrokerBench) -> tuple[Partition, Sequence[Record]]:
    """Three groups of records, far enough from one another to be told apart by time."""
    partition = await bench.partition()
    for group in range(3):
        if group:
            await asyncio.sleep(bench.kit.spacing_seconds)
        await bench.write(partition, numbered(3, first=3 * group))
    lane = await bench.reading(partition)
    await lane.read(partition, 9)
    return partition, lane.records(partition)


@rule("B40", "EARLIEST begins at the oldest record", declares=("static",))
async def earliest(bench: BrokerBench) -> None:
    """Where a partition that was found later begins, so that nothing of it is missed."""
    partition, records = await ten_records(bench)
    assert await read_from(bench, partition, StartPosition.EARLIEST) == [record.value for record in records]


@rule("B41", "LATEST becomes a start that brings what is written from now on, and nothing else", declares=("static",))
async def latest(bench: BrokerBench) -> None:
    """Promise 2: it is resolved once and saved, and a crash before the first checkpoint loses nothing. So it must be a position, or a
    time: LATEST itself would mean something else tomorrow.
    Records that are older than that by the kit's `latest_seconds` are passed over."""
    partition = await bench.partition()
    await bench.write(partition, numbered(5))
    await asyncio.sleep(bench.kit.latest_seconds)
    resolved = await bench.resolved(partition, StartPosition.LATEST)
    assert resolved.kind != "latest", "LATEST was not resolved"
    written = await bench.write(partition, numbered(5, first=100))
    assert await read_from(bench, partition, resolved) == written
    assert await read_from(bench, partition, resolved) == written, "the same tomorrow"


@rule("B42", "LATEST of an empty partition brings its first record", declares=("static",))
async def latest_of_nothing(bench: BrokerBench) -> None:
    """An empty partition has no newest record to stand behind. «After record 0» would pass over the first one."""
    partition = await bench.partition()
    resolved = await bench.resolved(partition, StartPosition.LATEST)
    written = await bench.write(partition, numbered(3))
    assert await read_from(bench, partition, resolved) == written


@rule("B43", "`at` a position begins with its record", declares=("static",))
async def at(bench: BrokerBench) -> None:
    """What a resolved start is, and what an operator sets to have a record again. From the first record, from one in the middle, and
    from the last."""
    partition, records = await ten_records(bench)
    for index in (0, 4, 9):
        found = await read_from(bench, partition, StartPosition.at(records[index].position))
        assert found == [record.value for record in records[index:]], f"at record {index}"


@rule("B44", "`after` a position begins with the record behind it", declares=("static",))
async def after(bench: BrokerBench) -> None:
    """What every checkpoint is. One too few is a record processed twice, one too many is a record lost. After the last record nothing
    comes, until one is written."""
    partition, records = await ten_records(bench)
    for index in (0, 4):
        found = await read_from(bench, partition, StartPosition.after(records[index].position))
        assert found == [record.value for record in records[index + 1 :]], f"after record {index}"
    lane = await bench.reading(partition, start=StartPosition.after(records[9].position))
    await lane.until(lambda: lane.caught_up(partition), "the tip is reached")
    assert lane.values(partition) == []
    written = await bench.write(partition, numbered(2, first=10))
    assert await lane.read(partition, 2) == written


@rule("B45", "`at_time` begins with the first record written then or later", declares=("static", "start_time"))
async def at_time(bench: BrokerBench) -> None:
    """`STREAMKIT_START=2026-03-01T12:00Z`. From before everything, from the time of a record and from one between two, and from a time
    that no record has reached yet."""
    partition, records = await spaced_records(bench)
    values = [record.value for record in records]
    middle = records[3].timestamp
    between = records[2].timestamp + (middle - records[2].timestamp) / 2
    for time, expected in ((middle - timedelta(hours=1), values), (middle, values[3:]), (between, values[3:])):
        resolved = await bench.resolved(partition, StartPosition.at_time(time))
        assert await read_from(bench, partition, resolved) == expected, f"from {time.isoformat()}"
    later = records[-1].timestamp + timedelta(seconds=max(bench.kit.spacing_seconds, 0.002) / 2)
    await asyncio.sleep(bench.kit.spacing_seconds)
    resolved = await bench.resolved(partition, StartPosition.at_time(later))
    written = await bench.write(partition, numbered(2, first=100))
    assert await read_from(bench, partition, resolved) == written, "from a time after everything that was there"


@rule("B46", "a time is not understood if `start_time` is not declared", declares=("static",))
async def no_time(bench: BrokerBench) -> None:
    """Capabilities both ways: the engine refuses such a start, so one that works and is not declared is of no use to anybody."""
    if (await bench.capabilities()).start_time:
        pytest.skip("'start_time' is declared")
    partition, records = await spaced_records(bench)
    try:
        resolved = await bench.resolved(partition, StartPosition.at_time(records[3].timestamp))
        found = await read_from(bench, partition, resolved)
    except (BrokerError, ConfigurationError):
        return
    assert found != [record.value for record in records[3:]], "times are understood: declare start_time"


@rule("B47", "a resolved start means the same tomorrow", declares=("static",))
async def the_same_tomorrow(bench: BrokerBench) -> None:
    """Promise 2. What was saved when the group first started is read when it starts again, by whoever then has the partition."""
    partition, records = await ten_records(bench)
    starts = [StartPosition.EARLIEST, StartPosition.at(records[4].position), StartPosition.after(records[4].position)]
    resolved = [StartPosition.from_text((await bench.resolved(partition, start)).to_text()) for start in starts]
    more = await bench.write(partition, numbered(5, first=10))
    values = [*(record.value for record in records), *more]
    for start, one, first in zip(starts, resolved, (0, 4, 5), strict=True):
        assert await read_from(bench, partition, one) == values[first:], f"{start}, resolved to {one}"


@rule("B48", "a position that went through text is the same position", declares=("static",))
async def through_text(bench: BrokerBench) -> None:
    """Stores keep text. A position whose broker wants something back that is not in it (a token) could not be gone to."""
    partition, records = await ten_records(bench)
    position = Position.from_text(records[6].position.to_text())
    assert position == records[6].position
    assert await read_from(bench, partition, StartPosition.after(position)) == [record.value for record in records[7:]]


@rule("B49", "a position beyond the tip is PositionInvalidError", declares=("static",))
async def beyond_the_tip(bench: BrokerBench) -> None:
    """It means that the stream is another one, or was cut: a group that went on from there would skip what comes. Said by `resolve`, by
    `add`, or by the reader with `Failed`; the partition halts."""
    partition, records = await ten_records(bench)
    last = records[-1].position
    assert last.sequence is not None
    start = StartPosition.at(Position(last.sequence + 1_000_000))
    lane = await bench.lane()
    try:
        await lane.add(partition, await bench.resolved(partition, start))
    except PositionInvalidError:
        return
    await refused(lane, partition)


async def refused(lane: Lane, partition: Partition) -> None:
    await lane.until(lane.failed, "the reader refuses a position beyond the tip")
    assert isinstance(lane.failed()[0].error, PositionInvalidError), lane.failed()[0].error
    assert lane.failed()[0].resume is None, "it must not go on somewhere else by itself"
    assert lane.values(partition) == []
