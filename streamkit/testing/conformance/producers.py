"""Rules about producers: dead letters go through them, so an answer of None must mean that the record is safe."""

from __future__ import annotations

import asyncio

import pytest

from streamkit.errors import BrokerError, StreamGoneError
from streamkit.model import Headers
from streamkit.plugin import NewRecord
from streamkit.testing.conformance.broker_bench import BrokerBench, numbered
from streamkit.testing.conformance.rule import Rule

rule = Rule[BrokerBench].of


@rule("P01", "there is an answer for each record, in their order, and what is answered with None can be read", kit=("producer",))
async def answers(bench: BrokerBench) -> None:
    """A dead letter that is lost is a record that is lost: its checkpoint has passed it."""
    (partition,) = await bench.stream(1)
    producer = await bench.producer()
    values = numbered(30)
    assert list(await producer.send(partition.stream, [NewRecord(value) for value in values])) == [None] * 30
    lane = await bench.reading(partition)
    assert sorted(await lane.read(partition, 30)) == sorted(values)  # type: ignore[type-var]
    assert list(await producer.send(partition.stream, [])) == []


@rule("P02", "records of one key keep their order", kit=("producer",))
async def keeps_order(bench: BrokerBench) -> None:
    """Letters of a parked key are replayed in the order in which they were written. Within a send, and from one to the next; and all of a
    key are in one partition, or there would be no order."""
    partitions = await bench.stream(2)
    producer = await bench.producer()
    keys = [b"one", b"two", b"three"] if bench.kit.keeps_keys else [None]
    sent = [
        NewRecord(value, keys[number % len(keys)], partition=None if bench.kit.keeps_keys else partitions[0].id)
        for number, value in enumerate(numbered(60))
    ]
    for first in range(0, 60, 20):
        assert list(await producer.send(partitions[0].stream, sent[first : first + 20])) == [None] * 20
    lane = await bench.reading(*partitions)
    await lane.until(lambda: sum(map(len, lane.batches())) >= 60, "everything is read")
    for key in keys:
        found = {partition: [record.value for record in lane.records(partition) if record.key == key] for partition in partitions}
        (values,) = [values for values in found.values() if values]
        assert values == [record.value for record in sent if record.key == key]


@rule("P03", "a partition that is named wins over the key", kit=("producer",))
async def named_partition(bench: BrokerBench) -> None:
    """A parked key's letters are put where they are looked for."""
    partitions = await bench.stream(3)
    producer = await bench.producer()
    sent = [NewRecord(b"%d" % n, b"one key" if bench.kit.keeps_keys else None, partition=p.id) for n, p in enumerate(partitions)]
    assert list(await producer.send(partitions[0].stream, sent)) == [None] * 3
    lane = await bench.reading(*partitions)
    for number, partition in enumerate(partitions):
        assert await lane.read(partition, 1) == [b"%d" % number]


@rule("P04", "a record that cannot be written has its own answer, and the others are written", kit=("producer",))
async def its_own_answer(bench: BrokerBench) -> None:
    """One letter that is refused must not take the others with it, nor pass for written."""
    (partition,) = await bench.stream(1)
    producer = await bench.producer()
    sent = [NewRecord(b"one"), NewRecord(b"lost", partition="no-such-partition"), NewRecord(b"two")]
    first, second, third = await producer.send(partition.stream, sent)
    assert isinstance(second, BrokerError), f"there is no such partition, and the answer is {second!r}"
    assert (first, third) == (None, None)
    lane = await bench.reading(partition)
    assert sorted(await lane.read(partition, 2)) == [b"one", b"two"]  # type: ignore[type-var]


@rule("P05", "a record that is too large has its own answer", kit=("producer",))
async def too_large(bench: BrokerBench) -> None:
    """As P04. The kit says from which size on the broker refuses a value."""
    size = bench.kit.oversize_bytes
    if size is None:
        pytest.skip("the kit says that any size is taken")
    (partition,) = await bench.stream(1)
    producer = await bench.producer()
    first, second, third = await producer.send(partition.stream, [NewRecord(b"one"), NewRecord(b"x" * size), NewRecord(b"two")])
    assert isinstance(second, BrokerError), f"{size} bytes are too many, and the answer is {second!r}"
    assert not second.retryable, "it would be tried for ever"
    assert (first, third) == (None, None)
    lane = await bench.reading(partition)
    assert sorted(await lane.read(partition, 2)) == [b"one", b"two"]  # type: ignore[type-var]


@rule("P06", "a stream that does not exist is refused, or made", kit=("producer",))
async def unknown_stream(bench: BrokerBench) -> None:
    """`check` is asked at the start, so that a missing dead-letter stream is found before the first letter; `send` says the same. What it
    answers with None must be in a stream that exists."""
    name = f"{await bench.create()}-not-there"
    producer = await bench.producer()
    try:
        await producer.check(name)
    except StreamGoneError:
        (answer,) = await producer.send(name, [NewRecord(b"v")])
        assert isinstance(answer, StreamGoneError), f"the stream is not there, and the answer is {answer!r}"
        return
    answers = await producer.send(name, [NewRecord(b"v")])
    if list(answers) == [None]:
        (partition, *_) = await bench.discovered(name)
        assert partition.stream == name
    else:
        assert isinstance(answers[0], BrokerError), answers


@rule("P07", "many sends may run beside one another", kit=("producer",))
async def side_by_side(bench: BrokerBench) -> None:
    """Each partition has its own worker, and each may have a letter to write. Every answer belongs to its own send."""
    (partition,) = await bench.stream(1)
    producer = await bench.producer()
    sends = [producer.send(partition.stream, [NewRecord(value) for value in numbered(5, first=10 * n)]) for n in range(8)]
    assert [list(answer) for answer in await asyncio.gather(*sends)] == [[None] * 5] * 8
    lane = await bench.reading(partition)
    found = await lane.read(partition, 40)
    assert len(set(found)) == len(found) == 40


@rule("P08", "headers and None are kept, or not claimed", kit=("producer",))
async def keeps_headers(bench: BrokerBench) -> None:
    """`keeps_headers` says how dead letters are written: with headers, or all in one value. If it is claimed and not true, a letter has
    lost what it says about the failure."""
    (partition,) = await bench.stream(1)
    producer = await bench.producer()
    nothing = None if bench.kit.keeps_none else b""
    headers = Headers([("error", b"e"), ("none", nothing)])
    sent = [NewRecord(b"v", headers=headers), NewRecord(nothing, b"key" if bench.kit.keeps_keys else None, headers)]
    answers = await producer.send(partition.stream, sent)
    if not producer.keeps_headers:
        return
    assert list(answers) == [None, None], f"it says that it keeps headers, and refuses a record with some: {answers!r}"
    lane = await bench.reading(partition)
    assert sorted(await lane.read(partition, 2), key=str) == sorted([b"v", nothing], key=str)
    assert [record.headers[:2] for record in lane.records(partition)] == [headers, headers]
