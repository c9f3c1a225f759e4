"""What the service says for a moment and does not mean, and what is forgotten on purpose: neither ends a shard, loses a record or hides."""

from __future__ import annotations

import threading
import tracemalloc
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest
from streamkit_kinesis.fetching import FALSE_END

from plugins.kinesis.tests.aggregates import User, aggregate_of
from plugins.kinesis.tests.service import NOW, Answer, World, refusal, values_in
from streamkit.errors import BrokerError, BrokerUnavailableError, PositionExpiredError, StreamGoneError
from streamkit.model import Position, StartPosition
from streamkit.plugin import CaughtUp, Ended, Failed

DAY = 86400


def refuse(world: World, operation: str, code: str, stream: str = "orders") -> None:
    """From now on, whatever is asked of that stream."""

    def before(called: str, arguments: Answer) -> None:
        if called == operation and arguments.get("ShardIterator", arguments.get("StreamName", "")).startswith(stream):
            raise refusal(code, operation=operation)

    world.service.before = before


# -- a shard that is new --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("child", [1, 3])
def test_a_shard_that_is_not_listed_yet_has_not_expired(child: int) -> None:
    world = World()
    world.service.split("orders", 0)
    world.service.split("orders", 2)
    partition = world.partition(child)
    if child == 3:  # its parent may be gone, if only the other half of its keys was ever split again
        del world.service.streams["orders"]["shardId-000000000000"]
    hidden = world.service.streams["orders"].pop(partition.id)
    world.add(partition)
    events = world.run(3)
    world.service.streams["orders"][partition.id] = hidden
    world.service.put("orders", child, b"record")
    events += world.run(20)
    assert values_in(events) == [b"record"]
    assert not any(isinstance(event, Ended | Failed) for event in events)


@pytest.mark.parametrize("operation", ["get_shard_iterator", "get_records"])
def test_a_listed_shard_that_is_not_found_is_asked_for_again(operation: str) -> None:
    world = World()
    world.service.put("orders", 0, b"record")
    world.service.faults[operation] = deque([refusal("ResourceNotFoundException", operation=operation)])
    world.add(world.partition())
    events = world.run(10)
    assert values_in(events) == [b"record"]
    assert not any(isinstance(event, Failed) for event in events)


def test_a_start_at_the_end_of_what_has_not_ended_brings_nothing_and_is_told() -> None:
    world = World()
    world.service.put("orders", 0, b"processed long ago")
    world.service.create("other")
    world.add(world.partition(0, "other"))
    world.add(world.partition(), StartPosition.END)
    events = world.run(60)
    assert values_in(events) == []
    (failed,) = [event for event in events if isinstance(event, Failed)]
    assert failed.error.retryable
    assert ("shardId-000000000000", FALSE_END, 1) in world.context.told


def without_next(answer: Answer) -> Answer:
    return {key: value for key, value in answer.items() if key not in ("NextShardIterator", "ChildShards")}


def test_that_a_shard_is_closed_does_not_say_that_it_was_read_to_its_end() -> None:
    world = World(read_records=1)
    for number in range(3):
        world.service.put("orders", 0, b"%d" % number)
    world.service.split("orders", 0)
    world.service.faults["get_records"] = deque([without_next])
    world.add(world.partition())
    events = world.run(10)
    assert values_in(events) == [b"0", b"1", b"2"]
    assert world.service.count("list_shards") == 1
    assert [type(event) for event in events].count(Ended) == 1
    assert isinstance(events[-1], Ended)


def test_an_end_comes_where_a_server_says_it_with_the_second_answer_of_an_iterator() -> None:
    world = World()
    world.service.put("orders", 0, b"last")
    world.service.split("orders", 0)
    world.service.streams["orders"]["shardId-000000000000"].names_children = False
    answer_of = world.service.get_records

    def get_records(**arguments: object) -> Answer:
        iterator = str(arguments["ShardIterator"])
        answer = answer_of(**{**arguments, "ShardIterator": iterator.rstrip("+")})
        if not answer["Records"] and not iterator.endswith("+"):
            answer["NextShardIterator"] = iterator + "+"
        return answer

    world.service.get_records = get_records  # type: ignore[method-assign]
    world.add(world.partition())
    events = world.run(20)
    assert values_in(events) == [b"last"]
    assert isinstance(events[-1], Ended)


@pytest.mark.parametrize(("status", "kind"), [("DELETING", StreamGoneError), ("CREATING", BrokerUnavailableError)])
def test_what_is_remembered_of_a_stream_that_cannot_be_read_is_said_each_time(status: str, kind: type[BrokerError]) -> None:
    world = World()
    world.service.status["orders"] = status
    for _ in range(2):
        with pytest.raises(kind):
            world.book.look_up("orders", 10.0)
    assert world.service.count("describe_stream_summary") == 1


# -- what goes wrong again and again --------------------------------------------------------------------------------


def test_iterators_that_have_expired_when_they_come_are_a_failure_that_is_told() -> None:
    world = World()
    world.service.create("other")
    world.add(world.partition(0, "other"))
    world.add(world.partition())
    refuse(world, "get_records", "ExpiredIteratorException")
    events = world.run(120)
    (failed,) = [event for event in events if isinstance(event, Failed)]
    assert failed.error.retryable
    assert world.service.count("get_shard_iterator") < 50


def test_a_renewed_iterator_is_no_success_after_which_failures_are_forgotten() -> None:
    world = World()
    world.service.create("other")
    world.add(world.partition(0, "other"))
    world.add(world.partition())
    turns = iter(["InternalFailure", "ExpiredIteratorException"] * 1000)

    def before(called: str, arguments: Answer) -> None:
        if called == "get_records" and arguments["ShardIterator"].startswith("orders"):
            raise refusal(next(turns))

    world.service.before = before
    (failed,) = [event for event in world.run(120) if isinstance(event, Failed)]
    assert failed.error.retryable


def test_an_outage_is_over_when_nothing_is_read_any_more() -> None:
    world = World()
    partition = world.add(world.partition())
    refuse(world, "get_records", "InternalFailure")
    for _ in range(400):
        world.step(0.05)
    assert world.fetching._outage.error(world.context.now) is not None
    world.fetching.remove([partition])
    assert world.poll() == []


class Queue:
    """A lock that says who has come."""

    def __init__(self, came: threading.Semaphore) -> None:
        self._came = came
        self._lock = threading.Lock()

    def __enter__(self) -> None:
        self._came.release()
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()


@pytest.mark.parametrize("fails", [True, False])
def test_who_waits_while_a_stream_is_asked_about_takes_that_answer_or_failure(fails: bool) -> None:
    world = World()
    came = threading.Semaphore(0)
    go_on = threading.Event()

    def before(called: str, _: Answer) -> None:
        assert go_on.wait(10)
        if fails:
            raise refusal("InternalFailure", status=500, operation=called)

    def ask(_: int) -> str:
        try:
            return world.book.look_up("orders").arn
        except BrokerUnavailableError:
            return "failed"

    world.service.before = before
    world.book._asking = Queue(came)  # type: ignore[assignment]
    with ThreadPoolExecutor(8) as pool:
        found = pool.map(ask, range(8))
        for _ in range(8):
            assert came.acquire(timeout=10)
        go_on.set()
        assert len(set(found)) == 1
    asked = world.service.count("describe_stream_summary")
    assert asked <= 2  # who comes when the first question is on its way needs one more: what it asks for may be newer
    world.service.before = lambda *_: None
    assert ask(0) != "failed"
    assert world.service.count("describe_stream_summary") == asked + 1


# -- what is thrown away for want of room ---------------------------------------------------------------------------


def test_a_start_whose_record_expires_while_the_shard_is_held_back_is_told() -> None:
    world = World()
    sequences = [world.service.put("orders", 0, b"%d" % number) for number in range(5)]
    partition = world.add(world.partition(), StartPosition.after(Position(sequences[0])), datetime.fromtimestamp(NOW, UTC))
    world.step(1)
    world.fetching.pause([partition], True)
    assert world.fetching._make_room()
    del world.service.streams["orders"][partition.id].records[:3]
    world.context.now += 2 * DAY
    world.fetching.pause([partition], False)
    (failed,) = world.run(5)
    assert isinstance(failed, Failed)
    assert isinstance(failed.error, PositionExpiredError)


def test_a_shard_that_has_brought_nothing_but_its_start_goes_on_there_and_not_before() -> None:
    world = World()
    world.service.put("orders", 0, b"done long before")
    start = StartPosition.after(Position(world.service.put("orders", 0, b"done")))
    partition = world.add(world.partition(), start)
    world.run(2)
    world.fetching.pause([partition], True)
    world.context.now += 2 * DAY  # or the machine slept, or its clock was set
    world.fetching.pause([partition], False)
    world.service.faults["get_records"] = deque([refusal("ExpiredIteratorException")])
    (failed,) = world.run(5)
    assert isinstance(failed, Failed)
    assert failed.resume == start


def busy(world: World, operation: str) -> None:
    """There is a new record at each read."""
    if operation == "get_records":
        world.service.put("orders", 0, b"new")


def test_that_a_busy_shard_has_caught_up_is_said_again_if_it_was_thrown_away() -> None:
    world = World()
    partition = world.add(world.partition())
    world.context.now += 100
    world.service.before = lambda operation, _: busy(world, operation)
    world.step(1)
    assert any(isinstance(item.event, CaughtUp) for item in world.fetching._cursors[partition].items)
    world.fetching.pause([partition], True)
    assert world.fetching._make_room()
    world.fetching.pause([partition], False)
    assert any(isinstance(event, CaughtUp) for event in world.run(5))


def test_what_an_aggregate_becomes_in_memory_counts_as_read_ahead() -> None:
    world = World()
    for _ in range(3):
        world.service.put("orders", 0, aggregate_of([User(b"k%d" % (number % 50), b"u" * 20, None) for number in range(4_000)]))
    world.add(world.partition())
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        world.step(1)
        used = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert 0.7 * used < world.fetching._room.held < 2 * used


def test_records_that_are_passed_over_count_for_the_limits_of_the_shard() -> None:
    world = World(idle_wait="10ms")
    sequence = world.service.put("orders", 0, bytes(8_000_000))
    world.add(world.partition(), StartPosition.after(Position(sequence)))
    assert world.step(1)
    reads = world.service.count("get_records")
    world.run(3)
    assert world.service.count("get_records") == reads
