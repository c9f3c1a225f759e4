"""Failures on request of the memory lease store: lost before it is written, lost after it, late, and refused."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from streamkit.builtin.memory import MemoryLog, MemorySettings, MemoryStore
from streamkit.builtin.memory.faults import Operation
from streamkit.errors import FencedError, StoreUnavailableError
from streamkit.model import Checkpoint, Lease, StartPosition
from streamkit.plugin import Grant
from streamkit.testing.conformance.leases import listed, text
from tests.conformance.context import PlainContext
from tests.conformance.stores import after, partition

LOST = StoreUnavailableError("lost")
HELD = [(partition(), Grant(1))]
LISTED = Lease(partition(), "w", 1, 2)
"""What `prepared` leaves: to list it once more would meet the faults of a listing."""

CALLS: dict[Operation, Callable[[MemoryStore], Awaitable[object]]] = {
    "create": lambda store: store.create([Lease(partition("new"))]),
    "take": lambda store: store.take([LISTED], "other"),
    "claim": lambda store: store.claim(partition(), "w", 0),
    "renew": lambda store: store.renew(HELD),
    "save": lambda store: store.save([(after(1), Grant(1))]),
    "request_handover": lambda store: store.request_handover(LISTED, "other"),
    "release": lambda store: store.release(HELD),
    "name_children": lambda store: store.name_children(partition(), Grant(1), ["x"]),
    "remove": lambda store: store.remove([LISTED]),
}
READS: dict[Operation, Callable[[MemoryStore], Awaitable[object]]] = {
    "leases": lambda store: store.leases(),
    "list": lambda store: store.list(),
}


def after_write(operation: Operation) -> Operation:
    return f"{operation}_after_write"  # type: ignore[return-value]


async def prepared(name: str) -> MemoryStore:
    store = MemoryStore(MemorySettings(name=name), PlainContext())
    await store.create([Lease(partition())])
    await store.take([await listed(store)], "w")
    await store.save([(Checkpoint(partition(), StartPosition.EARLIEST), Grant(1))])
    return store


async def seen(store: MemoryStore) -> list[str]:
    return [text(lease) for lease in await store.leases()]


@pytest.fixture
def name(tmp_path: Path) -> str:
    return str(tmp_path)


@pytest.mark.parametrize("operation", CALLS)
def test_a_call_that_fails_before_its_write_writes_nothing(name: str, operation: Operation) -> None:
    async def test() -> None:
        store = await prepared(name)
        before = await seen(store)
        MemoryLog.named(name).faults.fail(operation, LOST)
        with pytest.raises(StoreUnavailableError, match="lost"):
            await CALLS[operation](store)
        assert await seen(store) == before
        await CALLS[operation](store)
        assert await seen(store) != before, "the next one is well"

    asyncio.run(test())


@pytest.mark.parametrize("operation", CALLS)
def test_a_call_whose_answer_is_lost_has_written(name: str, operation: Operation) -> None:
    async def test() -> None:
        store = await prepared(name)
        before = await seen(store)
        MemoryLog.named(name).faults.fail(after_write(operation), LOST)
        with pytest.raises(StoreUnavailableError, match="lost"):
            await CALLS[operation](store)
        assert await seen(store) != before

    asyncio.run(test())


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("operation", CALLS)
def test_a_call_may_be_held_before_and_after_its_write(name: str, operation: Operation, late: bool) -> None:
    async def test() -> None:
        store = await prepared(name)
        before = await seen(store)
        release = MemoryLog.named(name).faults.hold(after_write(operation) if late else operation)
        call = asyncio.ensure_future(CALLS[operation](store))
        for _ in range(3):
            await asyncio.sleep(0)
        assert not call.done()
        assert (await seen(store) != before) == late
        release()
        await call
        assert await seen(store) != before

    asyncio.run(test())


@pytest.mark.parametrize("operation", READS)
def test_a_listing_may_fail_for_one_worker_alone(name: str, operation: Operation) -> None:
    async def test() -> None:
        store = await prepared(name)
        other = MemoryStore(MemorySettings(name=name), PlainContext(worker="other"))
        MemoryLog.named(name).faults.fail(operation, LOST, worker="w")
        await READS[operation](other)
        with pytest.raises(StoreUnavailableError, match="lost"):
            await READS[operation](store)
        await READS[operation](store)

    asyncio.run(test())


@pytest.mark.parametrize("operation", ["take", "renew", "release", "save"])
def test_what_is_refused_is_the_answer_of_each(name: str, operation: Operation) -> None:
    async def test() -> None:
        store = await prepared(name)
        before = await seen(store)
        MemoryLog.named(name).faults.fail(operation, FencedError("no longer"))
        (answer,) = await CALLS[operation](store)  # type: ignore[misc]
        assert isinstance(answer, FencedError)
        assert await seen(store) == before

    asyncio.run(test())
