"""The reader: what is there is returned once and in order, within bounds, whatever the service does in between."""

from __future__ import annotations

from collections import deque
from typing import Any

import pytest
from streamkit_kinesis.cursor import MOST_SMALL, SMALL_BYTES, Cursor
from streamkit_kinesis.fetching import GATHER_SECONDS, THROTTLED

from plugins.kinesis.tests.service import EASY, World, drive, records_in, refusal, values_in
from streamkit.errors import AccessDeniedError, BrokerError, BrokerUnavailableError
from streamkit.model import Batch, Position, StartPosition
from streamkit.plugin import Budget, CaughtUp, Failed

ONE = Budget(max_records=1, max_bytes=1 << 30, max_wait_seconds=0.05)


def filled(count: int, **changes: Any) -> World:
    world = World(**changes)
    for number in range(count):
        world.service.put("orders", 0, b"%d" % number)
    world.add(world.partition())
    return world


def numbers(count: int, begin: int = 0) -> list[bytes]:
    return [b"%d" % number for number in range(begin, count)]


def test_a_record_knows_its_key_its_time_and_the_lag() -> None:
    world = World()
    world.service.put("orders", 0, b"tea", key="ädä")
    world.context.now += 5
    world.add(world.partition())
    (batch,) = [event for event in world.run(1) if isinstance(event, Batch)]
    (record,) = batch
    assert record.key == "ädä".encode()
    assert record.timestamp.timestamp() == 1_700_000_000.0
    assert batch.lag_seconds == 0.0
    assert batch.received == pytest.approx(1_700_000_005.0, abs=1)


def test_an_expired_iterator_is_renewed_without_gap_or_repeat() -> None:
    world = filled(10, read_records=4)
    first = world.run(0.1)
    world.service.faults["get_records"] = deque([refusal("ExpiredIteratorException"), refusal("ExpiredIteratorException")])
    rest = world.run(5)
    assert values_in(first + rest) == numbers(10)
    renewed = world.service.arguments("get_shard_iterator")[1:]
    last = str(records_in(first)[-1].position)
    assert [(one["ShardIteratorType"], one["StartingSequenceNumber"]) for one in renewed] == [("AFTER_SEQUENCE_NUMBER", last)] * 2


def test_an_iterator_that_expires_before_anything_came_is_renewed_at_the_start() -> None:
    world = World()
    sequence = world.service.put("orders", 0, b"0")
    world.add(world.partition(), StartPosition.at(Position(sequence)))
    world.service.faults["get_records"] = deque([refusal("ExpiredIteratorException")])
    assert values_in(world.run(2)) == [b"0"]
    opened = world.service.arguments("get_shard_iterator")
    assert [one["ShardIteratorType"] for one in opened] == ["AT_SEQUENCE_NUMBER"] * 2


def test_a_record_that_a_server_repeats_behind_a_renewed_iterator_is_not_returned_twice() -> None:
    world = filled(4, read_records=2)
    world.step(0.1)  # read, and not collected
    real = world.service.get_shard_iterator
    world.service.get_shard_iterator = lambda **asked: real(**{**asked, "ShardIteratorType": "AT_SEQUENCE_NUMBER"})  # type: ignore[method-assign]
    world.service.faults["get_records"] = deque([refusal("ExpiredIteratorException")])
    world.step(1)
    world.step(1)
    assert values_in(world.poll() + world.run(5)) == numbers(4)


def test_an_iterator_that_was_had_is_used_although_the_first_read_with_it_failed() -> None:
    world = filled(1)
    world.service.faults["get_records"] = deque([refusal("InternalFailure", status=500)])
    assert values_in(world.run(2)) == [b"0"]
    assert world.service.count("get_shard_iterator") == 1


def test_a_paused_shard_is_not_read_and_goes_on_where_it_was() -> None:
    world = filled(30, read_records=10)
    partition = world.partition()
    first = world.run(0.1)
    drive(world.reader.pause([partition]))
    calls = world.service.count("get_records")
    assert world.run(5) == []
    assert world.service.count("get_records") == calls
    drive(world.reader.resume([partition]))
    assert values_in(first + world.run(5)) == numbers(30)


def test_what_arrives_for_a_paused_shard_waits() -> None:
    world = filled(3)
    partition = world.partition()
    world.service.before = lambda operation, _: drive(world.reader.pause([partition])) if operation == "get_records" else None
    assert world.run(1) == []
    world.service.before = lambda operation, _: None
    drive(world.reader.resume([partition]))
    assert values_in(world.poll()) == numbers(3)


def test_the_late_answer_of_a_removed_shard_is_dropped() -> None:
    world = filled(3)
    partition = world.partition()
    world.service.before = lambda operation, _: drive(world.reader.remove([partition])) if operation == "get_records" else None
    assert world.run(2) == []
    assert world.service.count("get_records") == 1
    assert world.fetching._room.held == 0


def test_the_late_answer_for_an_earlier_add_is_dropped() -> None:
    world = filled(3)
    partition = world.partition()
    last = int(world.service.streams["orders"][partition.id].records[-1]["SequenceNumber"])

    def again(operation: str, _: object) -> None:
        if operation == "get_records":
            world.service.before = lambda operation, _: None
            world.add(partition, StartPosition.at(Position(last)))

    world.service.before = again
    assert values_in(world.run(2)) == [b"2"]


def test_a_shard_is_read_by_one_at_a_time() -> None:
    world = filled(30, read_records=10)
    partition = world.partition()
    world.step(0.1)
    begun = []

    def meanwhile(operation: str, _: object) -> None:
        if operation == "get_records":
            world.service.before = lambda operation, _: None
            drive(world.reader.pause([partition]))
            drive(world.reader.resume([partition]))
            world.poll()
            begun.append(world.step(10))

    world.service.before = meanwhile
    assert world.step(1)
    assert begun == [False]


def test_at_most_two_answers_of_a_shard_wait() -> None:
    world = filled(0, read_records=2)
    values = [b"%d" % number * (SMALL_BYTES // 2) for number in range(8)]
    for value in values:
        world.service.put("orders", 0, value)
    for _ in range(10):
        world.step(1)
    assert world.service.count("get_records") == 2
    assert values_in(world.poll()) + values_in(world.run(20)) == values


def test_a_few_more_wait_that_are_small() -> None:
    world = filled(30, read_records=1)
    for _ in range(20):
        world.step(1)
    assert world.service.count("get_records") == MOST_SMALL
    assert values_in(world.poll()) + values_in(world.run(30)) == numbers(30)


def test_little_after_little_is_gathered_and_what_comes_after_a_silence_is_not() -> None:
    world = filled(3, read_records=1)
    waits: list[float] = []
    world.fetching._sleep = waits.append
    for _ in range(3):
        world.step(1)
    assert values_in(world.poll(ONE)) == [b"0"]
    assert values_in(world.poll(ONE)) == [b"1"]
    assert waits == pytest.approx([GATHER_SECONDS]), "the second one was asked for at once"
    world.context.now += 2 * GATHER_SECONDS
    assert values_in(world.poll(ONE)) == [b"2"]
    assert len(waits) == 1


def test_nobody_waits_for_more_than_much_or_while_commands_wait() -> None:
    world = filled(0, read_records=1)
    for value in (b"x" * SMALL_BYTES, b"little", b"last"):
        world.service.put("orders", 0, value)
    waits: list[float] = []
    world.fetching._sleep = waits.append
    for _ in range(2):
        world.step(1)
    assert records_in(world.poll(ONE))
    assert values_in(world.poll(ONE)) == [b"little"]
    world.step(1)
    assert values_in(world.poll()) == [b"last"]
    assert not waits


def test_removing_what_was_never_added_changes_nothing() -> None:
    world = filled(1)
    other = world.partition()
    drive(world.reader.remove([other, other]))
    drive(world.reader.pause([other]))
    assert world.run(1) == []


# -- the budget of a poll -------------------------------------------------------------------------------------------


def test_a_large_answer_is_handed_out_in_pieces() -> None:
    world = filled(100)
    world.step(0.1)
    small = Budget(max_records=30, max_bytes=1 << 20, max_wait_seconds=0)
    pieces = [values_in(world.poll(small)) for _ in range(5)]
    assert [len(piece) for piece in pieces] == [30, 30, 30, 10, 0]
    assert [value for piece in pieces for value in piece] == numbers(100)


def test_a_poll_returns_no_more_bytes_than_asked_for_but_always_one_record() -> None:
    world = World()
    for size in (10, 10, 10, 1000, 10):
        world.service.put("orders", 0, b"x" * size)
    world.add(world.partition())
    world.step(0.1)
    tight = Budget(max_records=100, max_bytes=20, max_wait_seconds=0)
    pieces = [[len(value) for value in values_in(world.poll(tight))] for _ in range(5)]
    assert pieces == [[10, 10], [10], [1000], [10], []]


def test_shards_take_turns() -> None:
    world = World(shards=2)
    for shard in (0, 1):
        for _ in range(20):
            world.service.put("orders", shard, b"%d" % shard)
        world.add(world.partition(shard))
    world.step(0.1)
    world.step()
    small = Budget(max_records=10, max_bytes=1 << 20, max_wait_seconds=0)
    turns = ["".join(sorted({value.decode() for value in values_in(world.poll(small))})) for _ in range(4)]
    assert turns in (["0", "1", "0", "1"], ["1", "0", "1", "0"])


# -- memory ---------------------------------------------------------------------------------------------------------


def many_large(shards: int, **changes: Any) -> World:
    """So many shards, each with 8 MiB in 32 records."""
    world = World(shards=shards, read_bytes=16 << 20, bytes_per_second=1 << 40, **changes)
    for shard in range(shards):
        for _ in range(32):
            world.service.put("orders", shard, bytes(256 << 10))
        world.add(world.partition(shard))
    return world


def test_no_more_is_read_ahead_than_the_setting_allows() -> None:
    world = many_large(8)
    for _ in range(200):
        world.step(0.05)
        held = sum(item.event.bytes for c in world.fetching._cursors.values() for item in c.items if isinstance(item.event, Batch))
        assert held <= 16 << 20
    assert len(records_in(world.run(30))) == 8 * 32


def test_a_shard_that_is_held_back_leaves_its_bytes_to_the_others_and_nothing_of_it_is_lost() -> None:
    world = many_large(6)
    slow = [world.partition(shard) for shard in range(5)]
    for _ in range(60):
        world.step(0.05)  # nobody collects: what has been read fills the room
    drive(world.reader.pause(slow))
    events = world.run(30)
    assert {event.partition.id for event in events if isinstance(event, Batch)} == {"shardId-000000000005"}
    assert len(records_in(events)) == 32
    drive(world.reader.resume(slow))
    rest = records_in(world.run(60))
    assert len(rest) == len({record.id for record in rest}) == 5 * 32


def test_what_was_thrown_away_is_read_again_from_where_the_engine_stands() -> None:
    world = filled(10)
    partition = world.partition()
    world.step(0.1)
    given = values_in(world.poll(Budget(max_records=4, max_bytes=1 << 20, max_wait_seconds=0)))
    drive(world.reader.pause([partition]))
    assert world.fetching._make_room()
    assert world.fetching._room.held == 0
    drive(world.reader.resume([partition]))
    assert given + values_in(world.run(2)) == numbers(10)


# -- what the service refuses, and failures -------------------------------------------------------------------------


@pytest.mark.parametrize("code", ["ProvisionedThroughputExceededException", "KMSThrottlingException", "LimitExceededException"])
def test_a_refusal_slows_the_shard_down_and_never_fails_it(code: str) -> None:
    world = filled(3)
    world.service.faults["get_records"] = deque([*[refusal(code) for _ in range(40)]])
    events = world.run(2000, tick=0.5)
    assert values_in(events) == numbers(3)
    assert not any(isinstance(event, Failed) for event in events)
    assert world.context.told == [("shardId-000000000000", THROTTLED, 1)] * 40
    assert world.service.calls[41][0] == "get_records"


def test_a_failing_read_is_made_again_and_the_shard_goes_on() -> None:
    world = filled(5, read_records=2)
    world.service.faults["get_records"] = deque([*[refusal("InternalFailure", status=500)] * 3])
    assert values_in(world.run(10)) == numbers(5)


def test_when_nothing_is_answered_the_reader_says_so_and_comes_back() -> None:
    world = filled(1)
    world.service.before = _down
    assert world.run(4) == []
    with pytest.raises(BrokerUnavailableError, match="InternalFailure"):
        world.run(10)
    with pytest.raises(BrokerUnavailableError):
        world.poll()
    world.service.before = lambda operation, _: None
    while not world.step(1.0):
        pass
    assert values_in(world.poll()) == [b"0"]


def _down(operation: str, _: object) -> None:
    raise refusal("InternalFailure", status=500)


def test_a_shard_that_alone_fails_for_long_is_given_to_the_engine_with_a_retryable_error() -> None:
    world = World(shards=2)
    world.add(world.partition(0))
    world.add(world.partition(1))

    def one_down(operation: str, arguments: dict[str, Any]) -> None:
        if "shardId-000000000001" in str(arguments.get("ShardIterator")):
            raise refusal("InternalFailure", status=500)

    world.service.before = one_down
    early = world.run(25)
    assert not any(isinstance(event, Failed) for event in early)
    (failed,) = [event for event in world.run(20) if isinstance(event, Failed)]
    assert failed.partition == world.partition(1)
    assert failed.error.retryable
    assert failed.resume is None


def test_a_denied_read_fails_its_shard_at_once_and_names_the_right() -> None:
    world = filled(1)
    message = "User: arn:aws:iam::1:user/x is not authorized to perform: kinesis:GetRecords on resource: y"
    world.service.faults["get_records"] = deque([refusal("AccessDeniedException", message)])
    (failed,) = world.run(1)
    assert isinstance(failed, Failed)
    assert isinstance(failed.error, AccessDeniedError)
    assert failed.error.missing == "kinesis:GetRecords"
    assert world.run(5) == [], "nothing follows until the shard is added again"


def test_an_error_that_nobody_expects_fails_one_shard_and_keeps_the_cause() -> None:
    world = filled(1)
    world.service.faults["get_records"] = deque([TypeError("surprise")])
    (failed,) = world.run(1)
    assert isinstance(failed, Failed)
    assert type(failed.error) is BrokerError
    assert isinstance(failed.error.__cause__, TypeError)


@pytest.mark.parametrize("method", ["request", "accept"])
def test_a_bug_of_ours_fails_one_shard_and_not_the_thread(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    world = filled(1)

    def surprise(self: Cursor, _: object) -> None:
        raise RuntimeError("surprise")

    monkeypatch.setattr(Cursor, method, surprise)
    (failed,) = world.run(1)
    assert isinstance(failed, Failed)
    assert "surprise" in str(failed.error)
    assert world.fetching._room.held == 0


@pytest.mark.parametrize("key", ["Records", "MillisBehindLatest"])
def test_an_answer_that_lacks_a_key_is_no_answer(key: str) -> None:
    world = filled(3)
    world.service.faults["get_records"] = deque([lambda answer: {name: value for name, value in answer.items() if name != key}])
    assert world.step(0.1)
    assert world.poll() == []
    assert values_in(world.run(3)) == numbers(3)


def test_an_empty_answer_is_no_answer() -> None:
    """What boto3 makes of a body that was cut."""
    world = filled(3)
    world.service.faults["get_records"] = deque([lambda answer: {}] * 2)
    world.service.faults["get_shard_iterator"] = deque([lambda answer: {}] * 2)
    events = world.run(30)
    assert values_in(events) == numbers(3)
    assert not any(isinstance(event, Failed) for event in events)


# -- the tip --------------------------------------------------------------------------------------------------------


def test_caught_up_is_said_once_after_an_answer_without_records() -> None:
    world = filled(2)
    kinds = [type(event).__name__ for event in world.run(10)]
    assert [kind for kind in kinds if kind == "CaughtUp"] == ["CaughtUp"]
    assert kinds[-1] == "CaughtUp"
    world.service.put("orders", 0, b"new")
    again = world.run(5)
    assert [type(event) for event in again][-1] is CaughtUp
    assert values_in(again) == [b"new"]


def test_an_empty_answer_before_the_tip_is_not_the_tip() -> None:
    world = World()
    world.service.streams["orders"]["shardId-000000000000"].behind_ms = 5000
    world.add(world.partition())
    assert world.run(5) == []


def test_zero_behind_with_records_is_not_the_tip_where_a_server_always_says_zero() -> None:
    world = filled(20, read_records=5)
    world.service.streams["orders"]["shardId-000000000000"].behind_ms = 0
    events = world.run(20)
    assert values_in(events) == numbers(20)
    assert [index for index, event in enumerate(events) if isinstance(event, CaughtUp)] == [len(events) - 1]


def test_a_shard_that_is_never_empty_has_caught_up_when_all_of_its_start_has_been_read() -> None:
    world = filled(1)

    def more(operation: str, _: object) -> None:
        if operation == "get_records":
            world.service.put("orders", 0, b"more")

    world.service.before = more
    seen = world.run(100)
    positions = [index for index, event in enumerate(seen) if isinstance(event, CaughtUp)]
    assert len(positions) == 1
    before = [record.timestamp.timestamp() for record in records_in(seen[: positions[0]])]
    assert before[-1] > 1_700_000_060


def test_a_poll_waits_no_longer_than_it_may() -> None:
    world = World()
    assert world.poll(Budget(max_records=1, max_bytes=1, max_wait_seconds=0.001)) == []
    assert world.poll(EASY) == []
