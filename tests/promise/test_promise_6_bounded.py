"""Promise 6: bounded everything: records and bytes in memory, retries, threads, shutdown time."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest

from streamkit.engine.delivery.pressure import RECORD_OVERHEAD_BYTES
from streamkit.errors import DrainTimeoutError
from streamkit.model import Batch, Record
from streamkit.processing import Context, processor, record_processor
from tests.promise.targets import noting, text, values
from tests.promise.world import MemoryWorld, World

MANY = [str(n) for n in range(500)]


def blocked(world: MemoryWorld, gate: asyncio.Event, *, only: str | None = None) -> object:
    @record_processor
    async def handle(record: Record, context: Context) -> None:
        if only in (None, record.partition.id):
            world.journal.note("begun", record.partition.id)
            await gate.wait()
        world.journal.note("done", record.partition.id, text(record))

    return handle


def test_a_slow_handler_bounds_the_records_in_flight(virtual: MemoryWorld) -> None:
    gate = asyncio.Event()
    virtual.create(2)
    virtual.write(MANY, "0")
    virtual.write(MANY, "1")
    member = virtual.start(blocked(virtual, gate, only="0"), max_in_flight=50, max_batch=10)
    virtual.until(lambda: len(values(virtual.journal, partition="1")) == 500)
    virtual.pass_time(5)
    held = {status.partition.id: status.in_flight for status in member.supervisor.snapshot()}
    assert 10 <= held["0"] <= 50 + 10
    virtual.runtime.control.post(gate.set)
    virtual.until(lambda: len(values(virtual.journal)) == 1000)


def test_records_that_are_done_but_not_saved_are_bounded_too(virtual: MemoryWorld) -> None:
    """Or a crash would repeat any number of them."""

    @processor(checkpoint="manual")
    def never(batch: Batch, context: Context) -> None:
        virtual.journal.note("done", batch.partition.id, str(len(batch)))

    virtual.create(1)
    virtual.write(MANY)
    virtual.start(never, max_in_flight=50, max_batch=10)
    virtual.pass_time(20)
    assert 50 <= sum(map(int, values(virtual.journal))) <= 50 + 10


def test_a_slow_handler_bounds_the_bytes_in_memory(virtual: MemoryWorld) -> None:
    gate = asyncio.Event()
    limit, size = 100_000, 1_000
    virtual.create(2)
    for partition in "01":
        virtual.write(["x" * size] * 500, partition)
    member = virtual.start(blocked(virtual, gate), max_in_flight_bytes=limit, max_batch=20)
    virtual.until(lambda: virtual.journal.has("begun", "0") and virtual.journal.has("begun", "1"))
    virtual.pass_time(5)
    record = 2 * size + RECORD_OVERHEAD_BYTES  # its key is as long as its value
    assert 10 * record <= member.in_flight * record <= limit + 20 * record
    virtual.runtime.control.post(gate.set)


def test_an_oversized_record_is_admitted_alone(virtual: MemoryWorld) -> None:
    virtual.create(1)
    virtual.write(["a", "x" * 50_000, "b", "y" * 50_000, "c"])
    virtual.start(noting(virtual.journal), max_in_flight_bytes=1024, stop="at_end").wait()
    assert [value[0] for value in values(virtual.journal)] == ["a", "x", "b", "y", "c"]


def test_a_call_gets_no_more_than_max_batch(world: World) -> None:
    @processor
    def handle(batch: Batch, context: Context) -> None:
        world.journal.note("size", len(batch))

    world.create(1)
    world.write(MANY)
    world.start(handle, max_batch=7, stop="at_end").wait()
    sizes = [note[1] for note in world.journal.of("size")]
    assert sum(sizes) == 500  # type: ignore[arg-type]
    assert max(sizes) == 7  # type: ignore[type-var]


def test_attempts_are_counted(virtual: MemoryWorld) -> None:
    @record_processor
    def handle(record: Record, context: Context) -> None:
        virtual.journal.note("attempt", context.attempt)
        raise ValueError("no")

    virtual.create(1)
    virtual.write(["a"])
    virtual.start(handle, retry_attempts=4)
    virtual.until(lambda: virtual.journal.has("halted"))
    assert [note[1] for note in virtual.journal.of("attempt")] == [1, 2, 3, 4]
    virtual.pass_time(20)
    assert len(virtual.journal.of("attempt")) == 4, "the next one comes after the long back-off of a halt"
    virtual.pass_time(20)
    assert len(virtual.journal.of("attempt")) == 8


def test_a_drain_ends_by_its_deadline(threads: World) -> None:
    gate = threading.Event()

    @record_processor
    def handle(record: Record, context: Context) -> None:
        threads.journal.note("begun", record.partition.id)
        if record.partition.id == "1":
            gate.wait()

    threads.create(3)
    for partition in "012":
        threads.write(["a"], partition)
    member = threads.start(handle, drain_timeout="300ms")
    threads.until(lambda: len(threads.journal.of("begun")) == 3)
    began = time.monotonic()
    with pytest.raises(DrainTimeoutError) as caught:
        member.stop()
    assert 0.3 <= time.monotonic() - began < 15.0, "it waited for the call, which never returns"
    assert caught.value.unfinished == ("orders/1",)
    assert threads.saved("0") == threads.saved("2")
    gate.set()


def test_a_drain_does_not_wait_for_an_async_handler_either(virtual: MemoryWorld) -> None:
    gate = asyncio.Event()
    virtual.create(2)
    virtual.write(["a"], "0")
    member = virtual.start(blocked(virtual, gate), drain_timeout="3s")
    virtual.until(lambda: virtual.journal.has("begun"))
    began = virtual.runtime.monotonic()
    with pytest.raises(DrainTimeoutError) as caught:
        member.stop()
    assert 3.0 <= virtual.runtime.monotonic() - began < 3.5
    assert caught.value.unfinished == ("orders/0",)
    virtual.runtime.control.post(gate.set)


def test_the_deadline_can_be_seen(threads: World) -> None:
    """`context.remaining` is None before a drain, and then counts down."""
    gate = threading.Event()

    @record_processor
    def handle(record: Record, context: Context) -> None:
        threads.journal.note("before", context.remaining)
        gate.wait()
        threads.journal.note("then", context.remaining)

    threads.create(1)
    threads.write(["a", "b"])
    member = threads.start(handle, drain_timeout="30s")  # none of it is waited for
    threads.until(lambda: threads.journal.has("before"))
    member.supervisor.stop("shutdown")
    threads.until(lambda: member.states == {"0": "ending"})
    gate.set()
    member.wait()
    assert threads.journal.of("before") == [("before", None)]
    remaining = threads.journal.of("then")[0][1]
    assert isinstance(remaining, float)
    assert 0 < remaining <= 30


def test_no_thread_is_left(threads: World) -> None:
    before = set(threading.enumerate())
    threads.create(8)
    for partition in range(8):
        threads.write(["a"], str(partition))
    member = threads.start(noting(threads.journal))
    threads.until(lambda: len(values(threads.journal)) == 8)
    member.stop()
    for thread in set(threading.enumerate()) - before:
        thread.join(30)
    assert set(threading.enumerate()) == before
