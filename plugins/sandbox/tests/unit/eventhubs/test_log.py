"""Partitions and hubs: sequence numbers, offsets, times, where readers begin, what is trimmed."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from streamkit_sandbox.errors import SandboxError
from streamkit_sandbox.eventhubs.log import Event, Hub, PartitionLog
from streamkit_sandbox.eventhubs.offsets import Offsets
from streamkit_sandbox.eventhubs.refused import Refused
from streamkit_sandbox.eventhubs.selector import Field, Selector


class Clock:
    def __init__(self) -> None:
        self.now = 1_000_000

    def __call__(self) -> int:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=[False, True], ids=["byte positions", "opaque"])
def log(request: pytest.FixtureRequest, clock: Clock) -> PartitionLog:
    return PartitionLog("0", clock_ms=clock, offsets=Offsets(request.param))


def filled(log: PartitionLog, clock: Clock, count: int = 10) -> Sequence[Event]:
    """`count` events, a second apart."""
    for number in range(count):
        log.append([b"event %d" % number])
        clock.now += 1000
    return log.read(0, count)


def test_an_empty_partition_says_so_in_every_figure(log: PartitionLog) -> None:
    assert (log.is_empty, log.first_sequence, log.last, log.last_sequence) == (True, 0, None, -1)
    assert (log.last_offset, log.last_enqueued_ms, list(log.read(0, 10))) == ("-1", 0, [])


def test_sequence_numbers_are_dense_from_zero_and_the_last_event_is_known(log: PartitionLog, clock: Clock) -> None:
    events = filled(log, clock)
    assert [event.sequence for event in events] == list(range(10))
    last = events[-1]
    assert log.last is last
    assert (log.last_sequence, log.last_offset, log.last_enqueued_ms, log.is_empty) == (9, last.offset, last.enqueued_ms, False)


def test_offsets_are_positions_of_bytes_and_not_sequence_numbers(clock: Clock) -> None:
    log = PartitionLog("0", clock_ms=clock)
    log.append([b"x", b"y" * 1000, b"z"])
    offsets = [int(event.offset) for event in log.read(0, 3)]
    assert offsets[0] == 0
    assert offsets[1] - offsets[0] < 100
    assert offsets[2] - offsets[1] > 1000


def test_offsets_of_a_replicated_hub_are_no_numbers(clock: Clock) -> None:
    log = PartitionLog("0", clock_ms=clock, offsets=Offsets(opaque=True))
    for event in filled(log, clock):
        with pytest.raises(ValueError, match="invalid literal"):
            int(event.offset)


def test_events_of_one_send_have_one_time_and_the_key_of_their_envelope(log: PartitionLog, clock: Clock) -> None:
    log.append([b"a", b"b"], "k")
    clock.now += 5
    log.append([b"c"], None)
    assert [(event.message, event.partition_key, event.enqueued_ms - 1_000_000) for event in log.read(0, 9)] == [
        (b"a", "k", 0),
        (b"b", "k", 0),
        (b"c", None, 5),
    ]


def test_a_clock_that_is_set_back_does_not_set_back_the_enqueued_time(log: PartitionLog, clock: Clock) -> None:
    log.append([b"a"])
    clock.now -= 500
    log.append([b"b"])
    assert log.last_enqueued_ms == 1_000_000


def test_listeners_hear_of_each_append_that_appended_something(log: PartitionLog) -> None:
    heard: list[int] = []
    log.listeners.add(lambda: heard.append(log.last_sequence))
    log.append([b"a", b"b"])
    log.append([])
    log.append([b"c"])
    assert heard == [1, 2]


def test_a_listener_may_leave_while_it_is_told(log: PartitionLog) -> None:
    def leave() -> None:
        log.listeners.discard(leave)

    log.listeners |= {leave, lambda: None}
    log.append([b"a"])
    assert len(log.listeners) == 1


def test_what_cannot_be_written_down_is_not_appended_and_nobody_hears_of_it(log: PartitionLog) -> None:
    def full(events: Sequence[Event]) -> None:
        raise OSError(28, "No space left on device")

    log.append([b"a"])
    heard: list[None] = []
    log.listeners.add(lambda: heard.append(None))
    log.journal = full
    with pytest.raises(OSError, match="No space"):
        log.append([b"b"])
    assert (log.last_sequence, heard) == (0, [])


def test_a_read_begins_where_it_is_told_and_is_no_longer_than_that(log: PartitionLog, clock: Clock) -> None:
    filled(log, clock)
    assert [event.sequence for event in log.read(4, 3)] == [4, 5, 6]
    assert [event.sequence for event in log.read(8, 30)] == [8, 9]
    assert list(log.read(10, 30)) == []


# Where a reader begins.


@pytest.mark.parametrize("inclusive", [False, True])
def test_the_two_sentinels_are_the_oldest_event_and_the_next_to_come(log: PartitionLog, clock: Clock, inclusive: bool) -> None:
    assert log.where(Selector(Field.OFFSET, "-1", inclusive)) == 0
    assert log.where(Selector(Field.OFFSET, "@latest", inclusive)) == 0
    filled(log, clock)
    assert log.where(Selector(Field.OFFSET, "-1", inclusive)) == 0
    assert log.where(Selector(Field.OFFSET, "@latest", inclusive)) == 10


@pytest.mark.parametrize(("inclusive", "more"), [(False, 1), (True, 0)])
def test_a_reader_begins_at_or_after_an_event_by_each_of_its_three_marks(
    log: PartitionLog, clock: Clock, inclusive: bool, more: int
) -> None:
    for event in filled(log, clock):
        for field, value in ((Field.OFFSET, event.offset), (Field.SEQUENCE, event.sequence), (Field.ENQUEUED, event.enqueued_ms)):
            assert log.where(Selector(field, str(value), inclusive)) == event.sequence + more


def test_a_time_between_two_events_is_the_later_one_and_events_of_one_time_stay_together(log: PartitionLog, clock: Clock) -> None:
    filled(log, clock, 3)
    log.append([b"a", b"b"])
    now = log.last_enqueued_ms
    assert log.where(Selector(Field.ENQUEUED, str(now - 500), False)) == 3
    assert log.where(Selector(Field.ENQUEUED, str(now), True)) == 3
    assert log.where(Selector(Field.ENQUEUED, str(now), False)) == 5
    assert log.where(Selector(Field.ENQUEUED, "0", False)) == 0


def test_a_sequence_number_beyond_the_last_is_refused_in_the_words_of_the_service(log: PartitionLog, clock: Clock) -> None:
    filled(log, clock)
    with pytest.raises(Refused) as caught:
        log.where(Selector(Field.SEQUENCE, "10", True))
    assert caught.value.condition == "com.microsoft:argument-error"
    assert caught.value.description == "The supplied sequence number '10' is invalid. The last sequence number in the system is '9'"


def test_an_offset_beyond_the_last_is_refused_as_that_of_a_hub_made_anew_is(log: PartitionLog, clock: Clock) -> None:
    before = filled(log, clock)[-1].offset
    anew = PartitionLog("0", clock_ms=clock, offsets=log._offsets)
    anew.append([b"a"])
    with pytest.raises(Refused) as caught:
        anew.where(Selector(Field.OFFSET, before, False))
    assert caught.value.condition == "com.microsoft:argument-error"
    assert caught.value.description == f"The supplied offset '{before}' is invalid. The last offset in the system is '{anew.last_offset}'"


@pytest.mark.parametrize("text", ["no offset", "g1:12", "12.5"])
def test_an_offset_that_no_broker_gave_is_refused(log: PartitionLog, text: str) -> None:
    with pytest.raises(Refused, match=f"The supplied offset '{text}' is invalid"):
        log.where(Selector(Field.OFFSET, text, False))


def test_a_number_is_an_offset_of_a_replicated_hub_too_but_not_the_other_way_round(clock: Clock) -> None:
    replicated = PartitionLog("0", clock_ms=clock, offsets=Offsets(opaque=True))
    offset = filled(replicated, clock)[1].offset
    assert replicated.where(Selector(Field.OFFSET, str(Offsets(opaque=True).position(offset)), False)) == 2
    plain = PartitionLog("0", clock_ms=clock)
    filled(plain, clock)
    with pytest.raises(Refused):
        plain.where(Selector(Field.OFFSET, offset, False))


# What is trimmed.


def test_the_oldest_go_when_there_are_too_many_and_numbers_go_on(clock: Clock) -> None:
    log = PartitionLog("0", clock_ms=clock, max_events=3)
    filled(log, clock, 10)
    assert (log.first_sequence, log.last_sequence) == (7, 9)
    assert [event.sequence for event in log.read(0, 10)] == [7, 8, 9]
    assert log.where(Selector(Field.SEQUENCE, "2", False)) == 7
    assert log.where(Selector(Field.OFFSET, "-1", False)) == 7
    assert log.where(Selector(Field.OFFSET, "0", False)) == 7
    assert log.where(Selector(Field.ENQUEUED, "0", False)) == 7


def test_the_oldest_go_with_time_also_while_nobody_sends(clock: Clock) -> None:
    log = PartitionLog("0", clock_ms=clock, retention_ms=5000)
    filled(log, clock, 10)
    assert log.first_sequence == 5
    clock.now += 3000
    assert [event.sequence for event in log.read(0, 10)] == [8, 9]


def test_a_partition_that_lost_all_its_events_keeps_its_numbers(clock: Clock) -> None:
    log = PartitionLog("0", clock_ms=clock, retention_ms=5000)
    filled(log, clock, 3)
    last = log.last_offset
    clock.now += 60_000
    assert (log.is_empty, log.first_sequence, log.last_sequence, log.last_offset) == (True, 3, 2, last)
    assert log.where(Selector(Field.OFFSET, last, False)) == 3
    log.append([b"next"])
    assert [event.sequence for event in log.read(0, 10)] == [3]
    assert int(log.last_offset) > int(last)


def test_trimmed_events_leave_the_memory(clock: Clock) -> None:
    log = PartitionLog("0", clock_ms=clock, max_events=10)
    filled(log, clock, 1000)
    assert len(log._events) <= 21


# Hubs.


def test_a_hub_deals_out_events_without_a_key_in_turn() -> None:
    hub = Hub("orders", 3)
    assert [hub.next_partition().id for _ in range(7)] == ["0", "1", "2", "0", "1", "2", "0"]


def test_a_key_stays_where_it_is_until_the_hub_grows() -> None:
    hub = Hub("orders", 4)
    keys = [f"k{number}" for number in range(100)]
    before = [hub.partition_of(key).id for key in keys]
    assert before == [hub.partition_of(key).id for key in keys]
    assert set(before) == {"0", "1", "2", "3"}
    hub.grow(7)
    assert [partition.id for partition in hub.partitions] == ["0", "1", "2", "3", "4", "5", "6"]
    assert [hub.partition_of(key).id for key in keys] != before


def test_a_hub_never_shrinks_and_has_at_least_one_partition() -> None:
    with pytest.raises(SandboxError, match="a hub only grows"):
        Hub("orders", 4).grow(3)
    with pytest.raises(SandboxError, match="cannot have 0"):
        Hub("orders", 0)


def test_partitions_that_a_hub_grows_are_like_the_others(clock: Clock) -> None:
    hub = Hub("orders", 1, clock_ms=clock, max_events=2, offsets=Offsets(opaque=True))
    hub.grow(2)
    new = hub.partition("1")
    assert new is not None
    filled(new, clock, 5)
    assert (new.first_sequence, new.last_offset[:3]) == (3, "g1:")
    assert hub.partition("2") is None


def test_a_hub_knows_its_default_group_in_any_case_and_its_birthday(clock: Clock) -> None:
    hub = Hub("orders", 1, clock_ms=clock)
    assert hub.created_ms == 1_000_000
    assert hub.has_group("$default")
    assert not hub.has_group("billing")
    hub.consumer_groups.add("Billing")
    assert hub.has_group("billing")
