"""Reading the memory log: from every start, within the budget, fair, and never silently past something that is missing."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from streamkit.errors import BrokerError, PositionExpiredError, PositionInvalidError
from streamkit.model import Position, StartPosition
from streamkit.plugin import Budget, Ended, Failed, Idle
from tests.unit.builtin.memory_rig import ALL, Rig, at_once, batches, caught_up, failures, sequences


def time(seconds: float) -> StartPosition:
    return StartPosition.at_time(datetime.fromtimestamp(seconds, UTC))


STARTS = [
    (StartPosition.LATEST, [5]),
    (StartPosition.at(Position(3, 1)), [4, 5]),
    (StartPosition.at(Position(5)), [5]),
    (time(1003), [3, 4, 5]),
    (time(2000), [5]),
]


@pytest.mark.parametrize(("start", "expected"), STARTS, ids=[str(start) for start, _ in STARTS])
def test_a_reader_begins_where_it_was_told_and_so_does_one_with_the_resolved_start(start: StartPosition, expected: list[int]) -> None:
    rig = Rig()
    (partition,) = rig.log.create("s")
    for _ in range(5):
        rig.write(1)
        rig.context.now += 1
    reader = rig.read(partition, start)
    resolved = at_once(rig.broker.resolve(partition, start))
    rig.write(1)
    assert sequences(at_once(reader.poll(ALL))) == expected
    assert sequences(at_once(rig.read(partition, resolved).poll(ALL))) == expected, "resolved before the last record was written"
    assert resolved.kind not in ("latest", "time")


def test_latest_of_a_kinesis_partition_resolves_to_a_position_below_everything_to_come() -> None:
    rig = Rig(kinesis=True)
    a, b = rig.log.create("s", 2, "kinesis")
    rig.write(3, partition=a.id)
    resolved = at_once(rig.broker.resolve(a, StartPosition.LATEST))
    rig.write(3, partition=b.id)
    new = rig.write(2, partition=a.id)
    assert sequences(at_once(rig.read(a, resolved).poll(ALL))) == new


def test_nothing_there_is_idle_alone_and_caught_up_is_said_once_each_time() -> None:
    rig = Rig()
    (partition,) = rig.log.create("s")
    reader = rig.read(partition)
    assert caught_up(at_once(reader.poll(ALL))) == ["0"], "an empty partition is read to its end"
    assert at_once(reader.poll(ALL)) == [Idle(0.01)]
    rig.write(2)
    assert caught_up(at_once(reader.poll(Budget(1, 100, 0)))) == []
    events = at_once(reader.poll(Budget(1, 100, 0)))
    assert (sequences(events), caught_up(events)) == ([1], ["0"])
    assert at_once(reader.poll(ALL)) == [Idle(0.01)]
    at_once(reader.add(partition, StartPosition.after(Position(1))))
    assert caught_up(at_once(reader.poll(ALL))) == ["0"], "again after it was added again"


def test_a_poll_stays_within_its_budget_of_records_and_bytes() -> None:
    rig = Rig()
    (partition,) = rig.log.create("s")
    rig.write(10, size=100)
    reader = rig.read(partition)
    assert sequences(at_once(reader.poll(Budget(3, 10_000, 0)))) == [0, 1, 2]
    (batch,) = batches(at_once(reader.poll(Budget(100, 250, 0))))
    assert (len(batch), batch.bytes, batch.lag_records) == (2, 200, 5)
    assert batch.received == rig.context.now


def test_partitions_share_each_poll_and_none_is_left_behind() -> None:
    rig = Rig()
    partitions = rig.log.create("s", 4)
    reader = rig.broker.reader()
    for partition in partitions:
        rig.write(100 if partition.id != "3" else 2, partition=partition.id)
        at_once(reader.add(partition, StartPosition.EARLIEST))
    found = batches(at_once(reader.poll(Budget(40, 1000, 0))))
    assert {batch.partition.id: len(batch) for batch in found} == {"0": 10, "1": 10, "2": 10, "3": 2}
    turns = [batches(at_once(reader.poll(Budget(1, 1000, 0))))[0].partition.id for _ in range(6)]
    assert turns == ["0", "1", "2"] * 2


def test_a_record_larger_than_a_share_is_read_while_the_budget_has_room() -> None:
    rig = Rig()
    partitions = rig.log.create("s", 4)
    reader = rig.broker.reader()
    for partition in partitions:
        rig.write(1, partition=partition.id, size=1 if partition.id != "3" else 60)
        at_once(reader.add(partition, StartPosition.EARLIEST))
    assert len(batches(at_once(reader.poll(Budget(100, 100, 0))))) == 4


def test_a_position_below_the_trimmed_start_fails_once_and_names_the_earliest() -> None:
    rig = Rig()
    (partition,) = rig.log.create("s")
    rig.write(10)
    running, late, just_right = rig.read(partition), rig.read(partition, StartPosition.at(Position(4))), rig.read(partition)
    at_once(running.poll(Budget(2, 100, 0)))
    rig.log.trim("s", "0", 5)
    at_once(just_right.add(partition, StartPosition.after(Position(4))))
    for reader in (running, late):
        (failed,) = at_once(reader.poll(ALL))
        assert isinstance(failed, Failed)
        assert isinstance(failed.error, PositionExpiredError)
        assert failed.error.earliest == "5"
        assert at_once(reader.poll(ALL)) == [Idle(0.01)]
    assert sequences(at_once(just_right.poll(ALL))) == [5, 6, 7, 8, 9]
    assert sequences(at_once(rig.read(partition).poll(ALL))) == [5, 6, 7, 8, 9], "EARLIEST is what is still there"


@pytest.mark.parametrize("start", [StartPosition.at(Position(4)), StartPosition.after(Position(3)), StartPosition.after(Position(99))])
def test_a_position_beyond_the_tip_is_invalid(start: StartPosition) -> None:
    rig = Rig()
    (partition,) = rig.log.create("s")
    rig.write(3)
    assert failures(at_once(rig.read(partition, start).poll(ALL))) == [PositionInvalidError]
    with pytest.raises(PositionInvalidError):
        at_once(rig.broker.resolve(partition, start))


def test_a_stream_made_again_does_not_pass_for_the_old_one() -> None:
    rig = Rig()
    (partition,) = rig.log.create("s")
    rig.write(1)
    reader = rig.read(partition)
    rig.log.delete("s")
    rig.log.create("s")
    rig.write(5)
    assert failures(at_once(reader.poll(ALL))) == [PositionInvalidError]
    with pytest.raises(PositionInvalidError, match="is now"):
        at_once(reader.add(partition, StartPosition.EARLIEST))


def test_an_unknown_partition_cannot_be_added() -> None:
    rig = Rig()
    (partition,) = rig.log.create("s")
    rig.log.delete("s")
    rig.log.create("s", 1)
    with pytest.raises(BrokerError):
        at_once(rig.broker.reader().add(partition, StartPosition.EARLIEST))


def test_a_closed_partition_ends_after_its_last_record_with_its_children() -> None:
    rig = Rig(kinesis=True)
    (parent,) = rig.log.create("s", 1, "kinesis")
    written = rig.write(3, partition=parent.id)
    reader, finished = rig.read(parent), rig.read(parent, StartPosition.after(Position(written[-1])))
    left, right = rig.log.split("s", parent.id)
    assert sequences(at_once(reader.poll(Budget(2, 100, 0)))) == written[:2]
    events = at_once(reader.poll(ALL))
    assert sequences(events) == written[2:]
    assert events[-1] == Ended(parent, (left, right))
    assert at_once(finished.poll(ALL)) == [Ended(parent, (left, right))]
    assert at_once(rig.read(parent, StartPosition.END).poll(ALL)) == [Ended(parent, (left, right))]
    assert at_once(reader.poll(ALL)) == [Idle(0.01)], "an end is said once"


def test_a_kinesis_partition_returns_ten_mebibytes_at_most() -> None:
    rig = Rig(kinesis=True)
    (partition,) = rig.log.create("s", 1, "kinesis")
    written = rig.write(6, partition=partition.id, size=4 << 20)
    reader = rig.read(partition)
    assert sequences(at_once(reader.poll(ALL))) == written[:2]
    assert sequences(at_once(reader.poll(ALL))) == written[2:4]
