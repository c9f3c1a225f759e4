"""Rules about what a reader returns, and in which order."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest

from streamkit.model import Batch, Headers, StartPosition
from streamkit.plugin import CaughtUp, NewRecord
from streamkit.testing.conformance.broker_bench import BrokerBench, numbered
from streamkit.testing.conformance.rule import Rule

rule = Rule[BrokerBench].of

_CLOCKS = timedelta(hours=1)
"""How far a server's clock may be from ours."""


@rule("B30", "records of a partition come in the order in which they were written, each once", declares=("static",))
async def in_order(bench: BrokerBench) -> None:
    """Promise 3. The engine does not sort, and does not look for doubles."""
    partition = await bench.partition()
    written = await bench.write(partition, numbered(100))
    lane = await bench.reading(partition)
    await lane.until(lambda: lane.caught_up(partition), "the tip is reached")
    assert lane.values(partition) == written


@rule("B31", "positions of a partition strictly rise, within a batch and from poll to poll", declares=("static",))
async def rising(bench: BrokerBench) -> None:
    """A reader that goes back is closed and opened again; one that goes back every time halts the partition."""
    partition = await bench.partition()
    await bench.write(partition, numbered(30))
    lane = await bench.reading(partition)
    await lane.read(partition, 30)
    await bench.write(partition, numbered(30, first=30))
    await lane.read(partition, 60)
    positions = [record.position for record in lane.records(partition)]
    assert all(one < another for one, another in pairwise(positions)), list(map(str, positions))
    assert all(position.sequence is not None for position in positions), "a record that was read has a sequence"


@rule("B32", "partitions are read beside one another, and their records are not mixed up", declares=("static",))
async def several_partitions(bench: BrokerBench) -> None:
    """One reader serves all partitions of a worker: a busy one must not keep the others from being read."""
    partitions = await bench.partitions(3)
    written = {p: await bench.write(p, numbered(20 if n else 200, first=1000 * n)) for n, p in enumerate(partitions)}
    lane = await bench.reading(*partitions)
    for partition in partitions:
        await lane.read(partition, len(written[partition]))
    assert {p: lane.values(p) for p in partitions} == written
    assert {batch.partition for batch in lane.batches()} == set(partitions)


@rule("B33", "what is written while it is read comes too", declares=("static",))
async def follows(bench: BrokerBench) -> None:
    """A worker runs for months; the tip is where it is most of the time."""
    partition = await bench.partition()
    lane = await bench.reading(partition)
    await lane.until(lambda: lane.caught_up(partition), "the tip of an empty partition is reached")
    written: list[bytes | None] = []
    for round_ in range(3):
        written += await bench.write(partition, numbered(4, first=4 * round_))
        assert await lane.read(partition, len(written)) == written


@rule("B34", "caught up is said when everything that was there has been returned, and not before", declares=("static",))
async def says_caught_up(bench: BrokerBench) -> None:
    """`STREAMKIT_STOP=at_end` and `idle` wait for it. Said too early, records would be left; never said, the worker would run for ever.
    Said again for a partition that is added again, because whoever added it does not know."""
    partition = await bench.partition()
    written = await bench.write(partition, numbered(50))
    lane = await bench.reading(partition)
    await lane.until(lambda: lane.caught_up(partition), "the tip is reached")
    said = next(number for number, event in enumerate(lane.events) if isinstance(event, CaughtUp))
    before = [value for event in lane.events[:said] if isinstance(event, Batch) for value in event.values()]
    assert before == written
    last = lane.records(partition)[-1].position
    await lane.remove(partition)
    lane.events.clear()
    await lane.add(partition, StartPosition.after(last))
    await lane.until(lambda: lane.caught_up(partition), "the tip is reached again, by a reader that was added there")
    assert lane.values(partition) == []


@rule("B35", "a record has the key, the value and the headers that it was written with", declares=("static",))
async def faithful(bench: BrokerBench) -> None:
    """Promise 1 is about records, not about their number. As far as the kit says that such a record has them; headers that the broker
    adds come after those that were written."""
    kit = bench.kit
    partition = await bench.partition()
    headers = Headers([("one", b"1"), ("two", b"2")]) if kit.keeps_headers else Headers()
    await bench.write_records(partition, [NewRecord(b"value", b"key" if kit.keeps_keys else None, headers)])
    lane = await bench.reading(partition)
    await lane.read(partition, 1)
    (record,) = lane.records(partition)
    assert record.value == b"value"
    assert record.partition == partition
    assert record.headers[: len(headers)] == headers
    if kit.keeps_keys:
        assert record.key == b"key"


@rule("B36", "the time of a record is aware, in UTC, and about when it was written", declares=("static",))
async def timed(bench: BrokerBench) -> None:
    """It tells the age of a checkpoint, and the lag in seconds. A time without a zone cannot be compared with any other."""
    partition = await bench.partition()
    await bench.write(partition, numbered(2))
    lane = await bench.reading(partition)
    await lane.read(partition, 2)
    for record in lane.records(partition):
        assert record.timestamp.tzinfo is UTC or record.timestamp.utcoffset() == timedelta(0), record.timestamp
        assert abs(datetime.now(UTC) - record.timestamp) < _CLOCKS, record.timestamp


@rule("B37", "any bytes come back as they were, an empty value and a large one too", declares=("static",))
async def any_bytes(bench: BrokerBench) -> None:
    """A value is bytes to streamkit. One that went through text, or a limit, on its way would not be what the user has written."""
    if not bench.kit.keeps_bytes:
        pytest.skip("the kit says that values are lines of text")
    partition = await bench.partition()
    written = await bench.write(partition, [bytes(range(256)), b"", b"\n", "é日😀".encode(), b"x" * 100_000])
    lane = await bench.reading(partition)
    assert await lane.read(partition, len(written)) == written


@rule("B38", "a value of None is not an empty one", declares=("static",))
async def tombstones(bench: BrokerBench) -> None:
    """A tombstone deletes what a key stands for. Only where the kit says that the broker knows it."""
    if not bench.kit.keeps_none:
        pytest.skip("the kit says that None is not kept")
    partition = await bench.partition()
    headers = Headers([("none", None), ("empty", b"")]) if bench.kit.keeps_headers else Headers()
    await bench.write_records(partition, [NewRecord(None, b"k", headers), NewRecord(b"", b"k", headers)])
    lane = await bench.reading(partition)
    assert await lane.read(partition, 2) == [None, b""]
    assert all(record.headers[: len(headers)] == headers for record in lane.records(partition))


@rule("B39", "after a crash the same start brings the same records, with the same ids and positions", declares=("static",))
async def redelivers(bench: BrokerBench) -> None:
    """Promise 1: what was not checkpointed is read again. `record.id` is an idempotency key for those who write elsewhere."""
    partition = await bench.partition()
    written = await bench.write(partition, numbered(20))
    start = await bench.resolved(partition, StartPosition.EARLIEST)
    first = await bench.reading(partition, start=start)
    await first.read(partition, 5)  # and nothing of it is called any more, until the rule has ended
    second = await bench.lane(await bench.opened())
    await second.add(partition, start)
    assert await second.read(partition, 20) == written
    some = first.records(partition)
    same = second.records(partition)[: len(some)]
    assert [(record.id, record.position) for record in some] == [(record.id, record.position) for record in same]
    assert len({record.id for record in second.records(partition)}) == 20
