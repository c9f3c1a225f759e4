"""Where reading begins: the five starts, in the middle of an aggregate, and positions that have expired."""

from __future__ import annotations

from collections import deque
from datetime import UTC, datetime, timedelta

import pytest
from streamkit_kinesis.fetch import AT_THE_EDGE, OWN_RECORD_GONE, TIME_EXPIRED

from plugins.kinesis.tests.aggregates import User, aggregate_of
from plugins.kinesis.tests.service import NOW, World, records_in, refusal, values_in
from streamkit.errors import PositionExpiredError, PositionInvalidError, StreamGoneError
from streamkit.model import Position, StartPosition
from streamkit.plugin import Budget, Failed

DAY = 86400.0


def at(seconds: float) -> datetime:
    return datetime.fromtimestamp(NOW + seconds, UTC)


def five(**changes: object) -> tuple[World, list[int]]:
    """Five records, a second between two of them."""
    world = World(**changes)  # type: ignore[arg-type]
    return world, [world.service.put("orders", 0, b"%d" % number, arrived=NOW + number) for number in range(5)]


def read_from(world: World, start: StartPosition, written: datetime | None = None) -> list[bytes]:
    world.add(world.partition(), start, written)
    return values_in(world.run(3))


def test_after_a_position_that_record_does_not_come_again() -> None:
    world, sequences = five()
    assert read_from(world, StartPosition.after(Position(sequences[1])), at(1)) == [b"2", b"3", b"4"]
    assert world.service.arguments("get_shard_iterator")[0]["ShardIteratorType"] == "AT_SEQUENCE_NUMBER"
    assert world.context.told == []


def test_at_a_position_that_no_record_has_the_next_one_comes_and_nothing_is_amiss() -> None:
    world, sequences = five()
    assert read_from(world, StartPosition.at(Position(sequences[1] + 1)), at(0)) == [b"2", b"3", b"4"]
    assert world.context.told == []


def test_at_a_time_what_a_rougher_service_brings_before_is_left_out_and_nothing_behind_it() -> None:
    world, _ = five()
    world.service.put("orders", 0, b"late", arrived=NOW + 1)  # arrival times are approximate
    only_whole_days = world.service.get_shard_iterator

    def rough(**arguments: object) -> dict[str, object]:
        return only_whole_days(**{**arguments, "Timestamp": at(0)})

    world.service.get_shard_iterator = rough  # type: ignore[method-assign]
    assert read_from(world, StartPosition.at_time(at(2.5))) == [b"3", b"4", b"late"]


def test_latest_is_a_minute_back_when_nobody_has_resolved_it() -> None:
    world, _ = five()
    world.context.now = 62
    assert read_from(world, StartPosition.LATEST) == [b"2", b"3", b"4"]


def test_a_position_without_a_number_is_refused() -> None:
    world, _ = five()
    with pytest.raises(PositionInvalidError, match="there is no record"):
        world.add(world.partition(), StartPosition.after(Position(None, token="x")))


# -- aggregates -----------------------------------------------------------------------------------------------------


def aggregated() -> tuple[World, int]:
    world = World()
    users = [User(b"k%d" % number, b"u%d" % number, None) for number in range(4)]
    world.service.put("orders", 0, b"before")
    sequence = world.service.put("orders", 0, aggregate_of(users), key="a")
    world.service.put("orders", 0, b"behind")
    return world, sequence


@pytest.mark.parametrize(("kind", "sub", "first"), [("after", 1, b"u2"), ("at", 2, b"u2"), ("after", 3, b"behind"), ("at", 0, b"u0")])
def test_reading_goes_on_in_the_middle_of_an_aggregate(kind: str, sub: int, first: bytes) -> None:
    world, sequence = aggregated()
    position = Position(sequence, sub)
    start = StartPosition.after(position) if kind == "after" else StartPosition.at(position)
    assert read_from(world, start, at(0))[0] == first
    assert world.context.told == []


def test_an_aggregate_that_was_thrown_away_half_handed_out_goes_on_behind_what_the_engine_has() -> None:
    world, sequence = aggregated()
    partition = world.add(world.partition())
    world.step(0.1)
    given = records_in(world.poll(Budget(max_records=3, max_bytes=1 << 20, max_wait_seconds=0)))
    assert given[-1].position == Position(sequence, 1)
    world.fetching.pause([partition], True)
    assert world.fetching._make_room()
    world.fetching.pause([partition], False)
    assert values_in(world.run(2)) == [b"u2", b"u3", b"behind"]


def test_an_iterator_that_expires_behind_an_aggregate_does_not_bring_it_again() -> None:
    world, _ = aggregated()
    world.add(world.partition())
    world.service.faults["get_records"] = deque([lambda answer: answer, refusal("ExpiredIteratorException")])
    first = values_in(world.run(0.2))
    world.service.put("orders", 0, b"new")
    assert first + values_in(world.run(5)) == [b"before", b"u0", b"u1", b"u2", b"u3", b"behind", b"new"]


# -- what has expired -----------------------------------------------------------------------------------------------


def trimmed(**changes: object) -> tuple[World, int]:
    """The first three of five records are gone; the first one's sequence number."""
    world, sequences = five(**changes)
    del world.service.streams["orders"]["shardId-000000000000"].records[:3]
    return world, sequences[0]


def test_an_expired_position_is_told_by_its_age_and_reading_goes_on_at_the_oldest_record() -> None:
    world, sequence = trimmed()
    world.context.now = DAY + 1
    partition = world.add(world.partition(), StartPosition.after(Position(sequence)), at(0))
    (failed,) = world.run(2)
    assert isinstance(failed, Failed)
    assert isinstance(failed.error, PositionExpiredError)
    assert failed.error.earliest == world.service.streams["orders"][partition.id].records[0]["SequenceNumber"]
    assert failed.resume == StartPosition.EARLIEST
    assert read_from(world, StartPosition.EARLIEST) == [b"3", b"4"]


def test_an_expired_position_halts_where_that_is_set() -> None:
    world, sequence = trimmed(on_expired="halt")
    world.context.now = DAY + 1
    world.add(world.partition(), StartPosition.after(Position(sequence)), at(0))
    (failed,) = world.run(2)
    assert isinstance(failed, Failed)
    assert failed.resume is None
    assert not failed.error.retryable
    assert "STREAMKIT_KINESIS__ON_EXPIRED" in failed.error.fix


def test_the_stream_says_how_old_is_too_old() -> None:
    world, sequence = trimmed()
    world.service.hours = 72
    world.context.now = DAY + 1
    assert read_from(world, StartPosition.after(Position(sequence)), at(0)) == [b"3", b"4"]


def test_a_record_that_is_gone_and_not_old_or_of_unknown_age_is_noticed() -> None:
    for written in (None, at(0)):
        world, sequence = trimmed()
        assert read_from(world, StartPosition.after(Position(sequence)), written) == [b"3", b"4"]
        assert world.context.told == [("shardId-000000000000", OWN_RECORD_GONE, 1)]


def test_an_old_position_whose_record_is_still_there_is_good() -> None:
    world, sequences = five()
    world.context.now = DAY * 30
    assert read_from(world, StartPosition.after(Position(sequences[0])), at(0)) == [b"1", b"2", b"3", b"4"]
    assert world.context.told == []


def test_an_old_position_in_an_idle_shard_says_nothing_before_a_record_comes() -> None:
    world, sequence = trimmed()
    world.service.streams["orders"]["shardId-000000000000"].records.clear()
    world.context.now = DAY * 2
    world.add(world.partition(), StartPosition.after(Position(sequence)), at(0))
    assert [type(event).__name__ for event in world.run(5)] == ["CaughtUp"]
    world.service.put("orders", 0, b"new")
    (failed,) = world.run(5)
    assert isinstance(failed, Failed)


@pytest.mark.parametrize("days", [0.5, 2])
def test_a_shard_that_was_held_back_for_longer_than_the_stream_keeps_says_so_and_goes_on(days: float) -> None:
    world, sequences = five(read_records=2)
    partition = world.add(world.partition())
    first = values_in(world.run(0.1))
    world.fetching.pause([partition], True)
    world.context.now += days * DAY
    world.service.faults["get_records"] = deque([refusal("ExpiredIteratorException")])
    world.fetching.pause([partition], False)
    events = world.run(3)
    if days < 1:
        assert first + values_in(events) == [b"0", b"1", b"2", b"3", b"4"]
    else:
        (failed,) = events
        assert isinstance(failed, Failed)
        assert isinstance(failed.error, PositionExpiredError)
        # Not at the oldest record: this one may be there still, and all of them have been read.
        assert failed.resume == StartPosition.after(Position(sequences[1]))
        assert read_from(world, failed.resume) == [b"2", b"3", b"4"]


def test_what_was_thrown_away_of_a_shard_that_was_held_back_does_not_count_as_read() -> None:
    world, sequences = five()
    partition = world.add(world.partition())
    world.step(0.1)
    assert values_in(world.poll(Budget(max_records=2, max_bytes=1 << 20, max_wait_seconds=0))) == [b"0", b"1"]
    world.context.now += DAY / 2
    world.step(1)  # at the tip, but the engine has two records only
    world.fetching.pause([partition], True)
    assert world.fetching._make_room()
    world.context.now += DAY * 0.7
    world.fetching.pause([partition], False)
    (failed,) = world.run(3)
    assert isinstance(failed, Failed)
    assert isinstance(failed.error, PositionExpiredError)
    assert failed.resume == StartPosition.after(Position(sequences[1]))


def test_a_shard_that_was_read_to_its_tip_a_moment_ago_has_missed_nothing_however_old_its_last_record_is() -> None:
    world, _ = five()
    world.add(world.partition())
    world.run(3)
    world.context.now += DAY / 2
    world.run(3)
    world.context.now += DAY * 0.7
    world.service.faults["get_records"] = deque([refusal("ExpiredIteratorException")])
    world.service.put("orders", 0, b"new")
    assert values_in(world.run(3)) == [b"new"]


def test_who_reads_no_faster_than_records_expire_is_told() -> None:
    world, _ = five()
    world.service.streams["orders"]["shardId-000000000000"].behind_ms = int(DAY * 1000) - 30_000
    world.add(world.partition())
    world.step(0.1)
    assert world.context.told == [("shardId-000000000000", AT_THE_EDGE, 1)]
    world.service.streams["orders"]["shardId-000000000000"].behind_ms = int(DAY * 1000) - 90_000
    world.step(1)
    assert len(world.context.told) == 1
    world.service.hours = 48
    world.service.streams["orders"]["shardId-000000000000"].behind_ms = int(DAY * 1000) + 30_000
    world.step(20)
    assert len(world.context.told) == 1


def test_a_start_time_that_has_expired_begins_at_the_oldest_record_and_is_noticed() -> None:
    world, _ = five()
    world.context.now = DAY * 2
    assert read_from(world, StartPosition.at_time(at(-10))) == [b"0", b"1", b"2", b"3", b"4"]
    assert world.context.told == [("shardId-000000000000", TIME_EXPIRED, 1)]


def test_a_position_that_the_service_refuses_is_invalid_or_expired_by_its_age() -> None:
    for now, kind in ((0.0, PositionInvalidError), (DAY + 1, PositionExpiredError)):
        world, sequences = five()
        world.context.now = now
        world.service.faults["get_shard_iterator"] = deque([refusal("InvalidArgumentException", operation="GetShardIterator")])
        world.add(world.partition(), StartPosition.after(Position(sequences[0])), at(0))
        (failed,) = world.run(2)
        assert isinstance(failed, Failed)
        assert type(failed.error) is kind


# -- another stream of that name ------------------------------------------------------------------------------------


def test_a_stream_that_was_made_anew_is_not_read_with_old_positions() -> None:
    world, sequences = five()
    partition = world.partition()
    world.service.create("orders", created=NOW + 5)
    world.context.now = 20
    world.add(partition, StartPosition.after(Position(sequences[0])))
    (failed,) = world.run(2)
    assert isinstance(failed, Failed)
    assert isinstance(failed.error, PositionInvalidError)
    assert str(int(NOW + 5)) in str(failed.error)


def test_a_stream_that_is_deleted_while_it_is_read_is_gone_and_has_not_ended() -> None:
    world, _ = five()
    world.add(world.partition())
    world.run(1)
    del world.service.streams["orders"]
    (failed,) = world.run(3)
    assert isinstance(failed, Failed)
    assert isinstance(failed.error, StreamGoneError)


def test_a_stream_that_is_made_anew_while_it_is_read_fails_when_its_iterator_is_not_known() -> None:
    world, _ = five()
    world.add(world.partition())
    world.run(1)
    world.service.create("orders", created=NOW + 5)
    world.service.faults["get_records"] = deque([refusal("ResourceNotFoundException")])
    (failed,) = world.run(3)
    assert isinstance(failed, Failed)
    assert isinstance(failed.error, PositionInvalidError)
    assert str(int(NOW + 5)) in str(failed.error)


def test_the_age_of_a_position_leaves_room_for_clocks_that_differ() -> None:
    world, sequence = trimmed()
    world.context.now = DAY - timedelta(seconds=30).total_seconds()
    world.add(world.partition(), StartPosition.after(Position(sequence)), at(0))
    assert isinstance(world.run(2)[0], Failed)
