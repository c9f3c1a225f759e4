"""Rules about partitions that end: lineage, where it is declared, and streams that are deleted while they are read."""

from __future__ import annotations

import pytest

from streamkit.errors import BrokerError, StreamGoneError
from streamkit.model import Partition, StartPosition
from streamkit.testing.conformance.broker_bench import BrokerBench, numbered
from streamkit.testing.conformance.kit import BrokerKit
from streamkit.testing.conformance.rule import Rule

rule = Rule[BrokerBench].of


async def ended_partition(bench: BrokerBench) -> tuple[Partition, list[bytes | None]]:
    """A partition that has ended, and what was written to it before."""
    partition = await bench.partition()
    written = await bench.write(partition, numbered(10))
    await bench.end(partition)
    return partition, written


@rule(
    "B70",
    "the end of a partition is said after its last record, once, and names its children",
    declares=("static", "lineage"),
    kit=("end",),
)
async def says_the_end(bench: BrokerBench) -> None:
    """Promise 3: children start after all of their parents have ended. An end that is said too early loses the rest; one without its
    children leaves them to be found later, or never. Said as well to whoever begins behind the last record."""
    partition, written = await ended_partition(bench)
    lane = await bench.reading(partition)
    await lane.until(lane.ended, "the end is said")
    assert lane.values(partition) == written
    (end,) = lane.ended()
    assert end.partition == partition
    listed = {one.id: one for one in await bench.discovered(partition.stream)}
    children = {name for name, one in listed.items() if partition.id in one.parents}
    assert children
    assert {child.id for child in end.children} == children
    for _ in range(3):
        await lane.poll()
    assert len(lane.ended()) == 1
    finished = await bench.reading(partition, start=StartPosition.after(lane.records(partition)[-1].position))
    await finished.until(finished.ended, "the end is said to one that has nothing to read")
    assert finished.values(partition) == []


@rule("B71", "children name their parents, and have what was written after the end", declares=("static", "lineage"), kit=("end",))
async def children_follow(bench: BrokerBench) -> None:
    """Lineage is what order across a split is made of."""
    partition, _ = await ended_partition(bench)
    lane = await bench.reading(partition)
    await lane.until(lane.ended, "the end is said")
    for number, child in enumerate(lane.ended()[0].children):
        assert partition.id in child.parents
        assert child.stream == partition.stream
        written = await bench.write(child, numbered(3, first=100 * (number + 1)))
        await lane.add(child, StartPosition.EARLIEST)
        assert await lane.read(child, 3) == written


@rule("B72", "an ended partition is listed as long as it has records", declares=("static", "lineage"), kit=("end",))
async def ended_and_listed(bench: BrokerBench) -> None:
    """A group that begins at EARLIEST after a split must find what was written before it."""
    partition, written = await ended_partition(bench)
    (found,) = [one for one in await bench.discovered(partition.stream) if one == partition]
    lane = await bench.reading(found)
    assert await lane.read(found, len(written)) == written


@rule("B73", "no end is said of a partition that has not ended", declares=("static",))
async def no_end(bench: BrokerBench) -> None:
    """The tip is no end: a partition that is closed is never opened again. And capabilities both ways: whoever says ends declares
    lineage, or nobody reads the children."""
    partition = await bench.partition()
    await bench.write(partition, numbered(5))
    lane = await bench.reading(partition)
    await lane.until(lambda: lane.caught_up(partition), "the tip is reached")
    for _ in range(5):
        await lane.poll()
    assert lane.ended() == []
    if not (await bench.capabilities()).lineage and type(bench.kit).end is not BrokerKit.end:
        await bench.end(partition)
        for _ in range(5):
            await lane.poll()
        assert lane.ended() == [], "ends are said: declare lineage"


@rule("B74", "a stream that is deleted while it is read has failed, and not ended", declares=("static",), kit=("delete",))
async def deleted_while_reading(bench: BrokerBench) -> None:
    """An end is saved as «everything is done», for ever. A deleted stream is an accident, or another stream tomorrow. Said by `Failed`, or
    raised by poll."""
    partition = await bench.partition()
    await bench.write(partition, numbered(5))
    lane = await bench.reading(partition)
    await lane.read(partition, 5)
    start = StartPosition.after(lane.records(partition)[-1].position)
    await bench.delete(partition.stream)
    raised: list[BrokerError] = []

    def told() -> bool:
        return any(isinstance(error, StreamGoneError) for error in [*raised, *(event.error for event in lane.failed())])

    async def look() -> bool:
        known = len(lane.failed())
        try:
            await lane.poll()
            for event in lane.failed()[known:]:
                if event.error.retryable:  # the engine opens it again
                    await lane.add(partition, start)
        except BrokerError as error:
            raised.append(error)
        return told()

    await bench.eventually(look, "a reader says that the stream is gone")
    assert lane.ended() == [], "a deleted stream was taken for the end of its partition"


@rule("B75", "what `discover` lists for LATEST has no partition in it that has ended", declares=("static", "lineage"), kit=("end",))
async def reachable(bench: BrokerBench) -> None:
    """With lineage those are listed from which the start can be reached: whoever begins now has nothing to read in what has ended."""
    partition, _ = await ended_partition(bench)
    if bench.kit.latest_seconds:
        pytest.skip("LATEST is a time here, and what has just ended may still have records of it")
    found = await bench.discovered(partition.stream, start=StartPosition.LATEST)
    assert partition not in found
    assert found
