"""Promise 3 with `ORDERING=key`: the records of one key come in order, several keys at once, whatever fails, and whoever dies."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections import Counter, defaultdict
from collections.abc import Iterator
from datetime import timedelta

import pytest

from streamkit.errors import DrainTimeoutError
from streamkit.model import Batch, Position, Record, StartPosition
from streamkit.processing import Context, processor, record_processor
from tests.promise.world import Journal, MemoryWorld, World

KEYS = [f"k{n * 7 % 13}" for n in range(150)]
"""The memory world writes each value as its key, too."""


class _Watch:
    """Fails if two calls of one key run at once; notes what was begun and done."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._lock = threading.Lock()
        self._running: Counter[tuple[str, bytes | None]] = Counter()
        self._failed: set[tuple[str, int | None]] = set()
        self.most = 0

    def begin(self, record: Record) -> None:
        with self._lock:
            self._running[record.partition.id, record.key] += 1
            if self._running[record.partition.id, record.key] > 1:
                self._journal.note("two at once", record.key)
            self.most = max(self.most, self._running.total())

    def done(self, record: Record, worker: str) -> None:
        self._journal.note("done", record.partition.id, record.key, record.position.sequence, worker)

    def end(self, record: Record) -> None:
        with self._lock:
            self._running[record.partition.id, record.key] -= 1

    def fails(self, record: Record) -> bool:
        """Every seventh record, the first time."""
        place = record.partition.id, record.position.sequence
        with self._lock:
            if (record.position.sequence or 0) % 7 or place in self._failed:
                return False
            self._failed.add(place)
            self._running[record.partition.id, record.key] -= 1
            return True


def _by_key(journal: Journal, worker: str | None = None) -> dict[object, list[int]]:
    found: dict[object, list[int]] = defaultdict(list)
    for note in journal.of("done"):
        if worker in (None, note[4]):
            found[note[1], note[2]].append(int(str(note[3])))
    return found


def _handler(watch: _Watch, is_async: bool, worker: str = "w1") -> object:
    @record_processor
    def plain(record: Record, context: Context) -> None:
        watch.begin(record)
        if watch.fails(record):
            raise ValueError("the first time")
        watch.done(record, worker)
        if (record.position.sequence or 0) % 10 == 0:
            context.checkpoint().result(timeout=10)
        watch.end(record)

    @record_processor
    async def asynchronous(record: Record, context: Context) -> None:
        watch.begin(record)
        await asyncio.sleep(0.001)
        if watch.fails(record):
            raise ValueError("the first time")
        watch.done(record, worker)
        watch.end(record)

    return asynchronous if is_async else plain


@pytest.fixture
def eager_switches() -> Iterator[None]:
    """Threads are switched between nearly all steps."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.parametrize("is_async", [False, True])
def test_records_of_a_key_come_in_order_and_several_keys_at_once(world: World, is_async: bool) -> None:
    watch = _Watch(world.journal)
    world.create(2)
    for partition in "01":
        world.write(KEYS, partition)
    world.start(_handler(watch, is_async), ordering="key", concurrency=8, checkpoint_interval=timedelta(milliseconds=20))
    world.until(lambda: len(world.journal.of("done")) == 300)
    assert not world.journal.has("two at once")
    assert all(done == sorted(done) for done in _by_key(world.journal).values()), "a record was overtaken by a later one of its key"
    assert watch.most > 2
    world.until(lambda: world.saved("0") == world.saved("1") == StartPosition.after(Position(149)))


@pytest.mark.parametrize("is_async", [False, True])
def test_a_key_that_fails_does_not_hold_up_the_others(world: World, is_async: bool) -> None:
    is_mended = threading.Event()

    def check(batch: Batch) -> None:
        if not is_mended.is_set() and any(record.key == b"bad" for record in batch):
            raise ValueError("not yet")
        for record in batch:
            world.journal.note("done", record.partition.id, record.key, record.position.sequence, "w1")

    @processor
    def plain(batch: Batch, context: Context) -> None:
        check(batch)

    @processor
    async def asynchronous(batch: Batch, context: Context) -> None:
        await asyncio.sleep(0)
        check(batch)

    world.create(1)
    world.write(["bad", "a", "b", "bad", "a", "c", "bad"])
    world.start(asynchronous if is_async else plain, ordering="key", concurrency=3, max_batch=3, retry_attempts=10_000)
    world.until(lambda: len(world.journal.of("done")) == 4)
    assert world.saved() != StartPosition.after(Position(1)), "nothing is saved past the record that is not done"
    is_mended.set()
    world.until(lambda: len(world.journal.of("done")) == 7)
    assert _by_key(world.journal)["0", b"bad"] == [0, 3, 6]
    world.until(lambda: world.saved() == StartPosition.after(Position(6)))


@pytest.mark.parametrize("is_async", [False, True])
def test_a_crash_loses_nothing_and_each_key_goes_on_in_order(world: World, is_async: bool) -> None:
    watch = _Watch(world.journal)
    world.create(1)
    world.write(KEYS)
    settings = {"ordering": "key", "concurrency": 5, "checkpoint_interval": timedelta(milliseconds=5), "max_in_flight": 40, "max_batch": 10}
    first = world.start(_handler(watch, is_async, "w1"), "w1", **settings)
    world.until(lambda: len(world.journal.of("done")) >= 60)
    first.kill()
    world.start(_handler(_Watch(world.journal), is_async, "w2"), "w2", **settings)
    world.until(lambda: world.saved() == StartPosition.after(Position(149)), seconds=40)
    assert not world.journal.has("two at once")
    for worker in ("w1", "w2"):
        assert all(done == sorted(set(done)) for done in _by_key(world.journal, worker).values())
    everything = {int(str(note[3])) for note in world.journal.of("done")}
    assert everything == set(range(150))
    again = Counter(note[3] for note in world.journal.of("done"))
    assert again.total() - 150 <= 40 + 10, "no more than MAX_IN_FLIGHT and what a poll brings"


def test_a_call_that_hangs_holds_up_its_key_alone_and_what_is_safe_is_saved_at_the_drain(threads: World) -> None:
    let_go = threading.Event()

    @record_processor
    def handle(record: Record, context: Context) -> None:
        if record.position.sequence == 5:
            threads.journal.note("hangs")
            let_go.wait(30)
        threads.journal.note("done", record.partition.id, record.key, record.position.sequence, "w1")

    threads.create(1)
    threads.write([f"k{n}" for n in range(20)])
    drain = timedelta(seconds=4)  # long enough to save in, on a machine that stands still for a while
    member = threads.start(handle, ordering="key", concurrency=3, checkpoint_interval=timedelta(hours=1), drain_timeout=drain)
    threads.until(lambda: threads.journal.has("hangs") and len(threads.journal.of("done")) >= 15)
    try:
        with pytest.raises(DrainTimeoutError):
            member.stop()
        assert threads.saved() == StartPosition.after(Position(4))
    finally:
        let_go.set()


def test_calls_that_end_at_the_same_time_on_many_threads_break_no_rule(threads: World, eager_switches: None) -> None:
    watch = _Watch(threads.journal)

    @record_processor
    def handle(record: Record, context: Context) -> None:
        watch.begin(record)
        if watch.fails(record):
            raise ValueError("the first time")
        watch.done(record, "w1")
        watch.end(record)

    threads.create(1)
    threads.write([f"k{n * 7919 % 97}" for n in range(3000)])
    threads.start(handle, ordering="key", concurrency=24, max_in_flight=500, retry_backoff=timedelta(milliseconds=1))
    threads.until(lambda: threads.saved() == StartPosition.after(Position(2999)))
    assert not threads.journal.has("two at once")
    done = _by_key(threads.journal)
    assert all(one == sorted(set(one)) for one in done.values()), "a record came twice, or was overtaken by a later one of its key"
    assert sum(map(len, done.values())) == 3000
    assert watch.most <= 24


def test_records_without_a_key_run_beside_each_other(virtual: MemoryWorld) -> None:
    together = []

    @record_processor
    async def handle(record: Record, context: Context) -> None:
        together.append(1)
        virtual.journal.note("running", len(together))
        await asyncio.sleep(0.1)
        together.pop()

    virtual.create(1)
    for _ in range(12):
        virtual.log.append("orders", b"x", partition="0", now=virtual.runtime.unix_time())
    virtual.start(handle, ordering="key", concurrency=4)
    virtual.until(lambda: virtual.saved() == StartPosition.after(Position(11)))
    assert max(note[1] for note in virtual.journal.of("running")) == 4  # type: ignore[type-var]


def test_a_straggler_cannot_grow_memory_because_reading_pauses(virtual: MemoryWorld) -> None:
    let_go = asyncio.Event()

    @record_processor
    async def handle(record: Record, context: Context) -> None:
        if record.position.sequence == 0:
            await let_go.wait()
        virtual.journal.note("done", record.partition.id, record.key, record.position.sequence, "w1")

    virtual.create(1)
    virtual.write([f"k{n}" for n in range(500)])
    member = virtual.start(handle, ordering="key", concurrency=4, max_batch=5, max_in_flight=50)
    virtual.until(lambda: len(virtual.journal.of("done")) >= 49)
    virtual.pass_time(10)
    assert member.in_flight <= 55
    assert len(virtual.journal.of("done")) < 55
    let_go.set()
    virtual.until(lambda: virtual.saved() == StartPosition.after(Position(499)))
