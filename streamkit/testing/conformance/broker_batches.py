"""Rules about batches and records as objects: adapters bring their own, with bodies that are computed on first use."""

from __future__ import annotations

import time

import pytest

from streamkit.model import Batch, Headers
from streamkit.plugin import NewRecord
from streamkit.testing.conformance.broker_bench import BrokerBench, numbered
from streamkit.testing.conformance.rule import Rule

rule = Rule[BrokerBench].of

_CLOCKS_SECONDS = 3600.0


async def some_batches(bench: BrokerBench) -> list[Batch]:
    """At least one of several records."""
    partition = await bench.partition()
    await bench.write(partition, numbered(20))
    lane = await bench.reading(partition)
    await lane.read(partition, 20)
    return lane.batches()


def ends(batch: Batch) -> tuple[object, ...]:
    return (batch.partition, batch.first, batch.last, len(batch), list(batch.values()))


@rule("B60", "a batch says of itself what its records say", declares=("static",))
async def consistent(bench: BrokerBench) -> None:
    """`values()` makes no record objects, and `first`, `last`, `bytes` and the length come without looking through the records. Each is
    code of its own, so each may be wrong by itself. `first` and `last` are what checkpoints are made of."""
    for batch in await some_batches(bench):
        records = list(batch)
        assert records, "a batch is never empty"
        assert list(batch.values()) == [record.value for record in records]
        assert len(batch) == len(records)
        assert (batch.first, batch.last) == (records[0].position, records[-1].position)
        assert {record.partition for record in records} == {batch.partition}
        assert batch.bytes >= sum(len(record.value or b"") for record in records), "values at least"
        if batch.last_timestamp is not None:
            assert batch.last_timestamp == records[-1].timestamp


@rule("B61", "a batch can be looked at again", declares=("static",))
async def repeatable(bench: BrokerBench) -> None:
    """A retry delivers the very same batch. One that is used up by the first attempt would be empty at the second."""
    for batch in await some_batches(bench):
        before = ends(batch)
        ids = [[record.id for record in batch] for _ in range(2)]
        assert ids[0] == ids[1]
        assert ends(batch) == before


@rule("B62", "a slice of a batch is those records, and none is an error", declares=("static",))
async def slices(bench: BrokerBench) -> None:
    """What is redelivered after a checkpoint inside a batch, and what bisecting delivers, are slices."""
    for batch in await some_batches(bench):
        records = list(batch)
        for start, stop in {(0, len(records)), (0, 1), (len(records) - 1, len(records)), (len(records) // 3, len(records))}:
            part = batch.slice(start, stop)
            assert [record.id for record in part] == [record.id for record in records[start:stop]]
            assert ends(part)[1:4] == (records[start].position, records[stop - 1].position, stop - start)
            assert list(part.values()) == [record.value for record in records[start:stop]]
        with pytest.raises(ValueError):  # noqa: PT011 - what it says is the adapter's
            batch.slice(0, 0)
        parts = [batch.slice(0, 1), *([batch.slice(1, len(records))] if len(records) > 1 else [])]
        assert list(Batch.join(parts).values()) == [record.value for record in records]


@rule("B63", "a batch says when it was received, and how far behind it is, if that is known", declares=("static",))
async def measured(bench: BrokerBench) -> None:
    """Metrics and `streamkit partitions` are made of these. The last batch before the tip has nothing behind it."""
    batches = await some_batches(bench)
    for batch in batches:
        assert abs(batch.received - time.time()) < _CLOCKS_SECONDS, batch.received
        assert batch.lag_records is None or batch.lag_records >= 0
        assert batch.lag_seconds is None or batch.lag_seconds >= 0
    assert not batches[-1].lag_records, "nothing lies behind it"


@rule("B64", "of headers of one name the last wins, and all are there in their order", declares=("static",))
async def headers(bench: BrokerBench) -> None:
    """`headers.get(name)` is what users write. Names may repeat where the broker lets them: then both are there, or the last."""
    if not bench.kit.keeps_headers:
        pytest.skip("the kit says that there are no headers")
    partition = await bench.partition()
    written = Headers([("a", b"1"), ("b", b"2"), ("a", b"3")])
    await bench.write_records(partition, [NewRecord(b"v", headers=written)])
    lane = await bench.reading(partition)
    await lane.read(partition, 1)
    (record,) = lane.records(partition)
    assert isinstance(record.headers, Headers)
    assert (record.headers.get("a"), record.headers.get("b")) == (b"3", b"2")
    assert record.headers.get("none", b"default") == b"default"
    ours = [(name, value) for name, value in record.headers if name in ("a", "b")]
    assert ours in (list(written), [("b", b"2"), ("a", b"3")], [("a", b"3"), ("b", b"2")])
