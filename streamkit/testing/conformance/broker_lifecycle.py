"""Rules about opening and closing."""

from __future__ import annotations

import threading

import pytest

from streamkit.errors import BrokerUnavailableError
from streamkit.model import StartPosition
from streamkit.testing.conformance.broker_bench import BrokerBench, numbered
from streamkit.testing.conformance.rule import Rule

rule = Rule[BrokerBench].of


@rule("B01", "what was opened can be closed, and leaves no thread behind")
async def opens_and_closes(bench: BrokerBench) -> None:
    """A worker that ends must end: a thread that is no daemon would hold up the process, and one that is would go on using a
    connection that nobody owns. Looked at with threads of Python, and twice: what the first one left must not be in the way of the next."""
    stream = await bench.create()
    before = set(threading.enumerate())
    for _ in range(2):
        context = bench.context()
        broker = await bench.made(context)
        try:
            await bench.patiently(broker.open)
            await bench.patiently(lambda: broker.discover([stream], StartPosition.EARLIEST))  # noqa: B023 - called at once
        finally:
            await broker.close()
        context.end()

    async def gone() -> bool:
        return not {thread for thread in threading.enumerate() if thread.is_alive()} - before

    await bench.eventually(gone, f"the threads of {type(broker).__name__} end")


@rule("B02", "one that could not be opened says that it is unavailable, each time, and can be closed", kit=("unreachable",))
async def closes_after_a_failed_open(bench: BrokerBench) -> None:
    """The engine closes what it could not open. It tries again what is retryable, and says the rest to the operator: so the error of the
    client library must have become a `BrokerUnavailableError`. An adapter may connect with its first question only."""
    broker = await bench.unreachable()
    try:
        for _ in range(2):
            with pytest.raises(BrokerUnavailableError) as caught:
                await broker.open()
                await broker.discover(["anything"], StartPosition.EARLIEST)
    finally:
        await broker.close()
    assert caught.value.retryable
    assert str(caught.value), "it says nothing"


@rule("B03", "one that was never opened can be closed")
async def closes_unopened(bench: BrokerBench) -> None:
    """If another adapter of the app fails first, this one is closed without having been opened."""
    broker = await bench.made()
    await broker.close()


@rule("B04", "its terms are said before it is opened, as pairs of words")
async def says_its_terms(bench: BrokerBench) -> None:
    """`streamkit explain` prints the contract without connecting to anything."""
    broker = await bench.made()
    try:
        for line in broker.terms():
            word, meaning = line
            assert word
            assert meaning
    finally:
        await broker.close()


@rule("B05", "a reader that is closed while it is busy ends in time")
async def closes_while_busy(bench: BrokerBench) -> None:
    """A drain does not wait until everything is read. What the client has prefetched is given up, and nothing hangs."""
    partitions = await bench.partitions(2)
    for partition in partitions:
        await bench.write(partition, numbered(50))
    lane = await bench.reading(*partitions)
    await lane.until(lane.batches, "a first batch")
    for partition in partitions:
        await bench.write(partition, numbered(50))
    await lane.close()


@rule("B06", "two of them in one process do not disturb each other")
async def two_at_once(bench: BrokerBench) -> None:
    """An app that reads one cluster and writes dead letters to another has two, and `run(App(…), App(…))` as many as it has apps."""
    partition = await bench.partition()
    await bench.write(partition, numbered(3))
    other = await bench.made()
    await bench.patiently(other.open)
    lane = await bench.reading(partition)
    await bench.patiently(lambda: other.discover([partition.stream], StartPosition.EARLIEST))
    await other.close()
    await lane.read(partition, 3)
    assert await bench.discovered(partition.stream) == [partition]
