"""Real threads: a few for many shards, one read of a shard at a time, and an end that waits for nobody."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest
from streamkit_kinesis import fetching

from plugins.kinesis.tests.service import World, drive, records_in
from streamkit.plugin import Budget, Event

BUDGET = Budget(max_records=1000, max_bytes=1 << 30, max_wait_seconds=0.05)


class Clock:
    """Real time for a world that is read by threads."""

    def __init__(self, world: World) -> None:
        world.context.monotonic = time.monotonic  # type: ignore[method-assign]


def collect(world: World, count: int) -> list[Event]:
    """Poll until so many records have come."""
    events: list[Event] = []
    until = time.monotonic() + 30
    while len(records_in(events)) < count:
        assert time.monotonic() < until, f"{len(records_in(events))} of {count} records came"
        events += world.poll(BUDGET)
    return events


def of_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("kinesis-read-")]


def test_hundreds_of_shards_are_read_by_a_few_threads_and_each_by_one_at_a_time() -> None:
    world = World(shards=300, threads=True, read_threads=4)
    Clock(world)
    for shard in range(300):
        for number in range(3):
            world.service.put("orders", shard, b"%d" % number)
    busy: set[str] = set()
    broken: list[str] = []
    lock = threading.Lock()
    real = world.service.get_records

    def watched(**arguments: Any) -> dict[str, Any]:
        shard = arguments["ShardIterator"].split(" ")[1]
        with lock:
            if shard in busy:
                broken.append(shard)
            busy.add(shard)
        try:
            return real(**arguments)
        finally:
            with lock:
                busy.discard(shard)

    world.service.get_records = watched  # type: ignore[method-assign]
    for shard in range(300):
        world.add(world.partition(shard))
    records = records_in(collect(world, 900))
    assert len(of_threads()) <= 4
    assert broken == []
    for shard in range(300):
        name = f"shardId-{shard:012d}"
        assert [record.value for record in records if record.partition.id == name] == [b"0", b"1", b"2"]
    drive(world.reader.close())
    assert of_threads() == []


def test_a_call_that_is_never_answered_holds_up_one_thread_and_not_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetching, "CLOSE_SECONDS", 0.2)
    world = World(shards=2, threads=True, read_threads=2)
    Clock(world)
    answered = threading.Event()
    world.service.put("orders", 1, b"x")

    def hang(operation: str, arguments: dict[str, Any]) -> None:
        if "shardId-000000000000" in str(arguments.get("ShardIterator")):
            answered.wait(60)

    world.service.before = hang
    world.add(world.partition(0))
    world.add(world.partition(1))
    assert len(records_in(collect(world, 1))) == 1
    began = time.monotonic()
    drive(world.reader.close())
    assert time.monotonic() - began < 30
    assert len(of_threads()) == 1
    answered.set()
    for thread in of_threads():
        thread.join(10)
    assert of_threads() == []


def test_a_waiting_poll_returns_with_the_first_record() -> None:
    world = World(threads=True, idle_wait="10ms", reads_per_second=1000)
    Clock(world)
    world.add(world.partition())
    world.poll(Budget(max_records=10, max_bytes=100, max_wait_seconds=5))  # the tip
    timer = threading.Timer(0.05, lambda: world.service.put("orders", 0, b"x"))
    timer.start()
    began = time.monotonic()
    events = world.poll(Budget(max_records=10, max_bytes=100, max_wait_seconds=20))
    assert len(records_in(events)) == 1
    assert time.monotonic() - began < 30
    timer.join()
    drive(world.reader.close())
