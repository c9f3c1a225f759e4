"""Saves that a busy reader does not wait for: it hears of them in reports, and asks where none can come."""

import pytest
from confluent_kafka import KafkaError, TopicPartition

from plugins.kafka.tests.unit.scripted import BUDGET, P0, P1, Report, claim, counted, drive, message, poll, save
from streamkit.errors import FencedError
from streamkit.model import Checkpoint, Position, StartPosition


@pytest.fixture
def busy(member, script):
    """Its polls bring all that they may."""
    poll(member, script, lambda: [message(0, offset) for offset in range(BUDGET.max_records)])
    assert member._core.is_busy
    return member


def begin(member, grants, offset=9):
    many = [(Checkpoint(partition, StartPosition.after(Position(offset))), grant) for partition, grant in grants.items()]
    return drive(member.checkpoints.begin_save(many))


def report(member, partition, offset, code=None):
    told = Report(code) if code is not None else TopicPartition("t", partition, offset)
    told.partition, told.offset = partition, offset
    member._core.on_commit(None, [told])


def look(member, begun):
    drive(member.checkpoints.look(begun))
    return begun.answers


def test_a_busy_reader_waits_for_the_report_and_asks_nobody(busy, script):
    grants = {partition: claim(busy, partition).grant for partition in (P0, P1)}
    asked = counted(script)
    begun = begin(busy, grants)
    assert begun.answers is None
    report(busy, 0, 10)
    assert look(busy, begun) is None, "the other one is not known yet"
    report(busy, 1, 10, KafkaError.UNKNOWN_MEMBER_ID)
    first, second = look(busy, begun)
    assert first == grants[P0]
    assert isinstance(second, FencedError)
    assert asked == []


def test_where_polls_bring_little_the_coordinator_is_asked_at_once(busy, script):
    grants = {P0: claim(busy, P0).grant}
    poll(busy, script, lambda: [message(0, 1000)])
    begun = begin(busy, grants)
    assert begun.answers == [grants[P0]]
    begun = begin(busy, grants, 10)
    assert begun.answers == [grants[P0]], "an earlier report that is still to come is not waited for"


def test_a_reader_that_is_not_busy_any_more_asks(busy, script):
    grants = {P0: claim(busy, P0).grant}
    begun = begin(busy, grants)
    poll(busy, script, lambda: [])
    assert look(busy, begun) == [grants[P0]]


def test_a_report_that_does_not_come_is_not_waited_for_for_ever(busy, script, clock):
    grants = {P0: claim(busy, P0).grant}
    begun = begin(busy, grants)
    assert look(busy, begun) is None
    clock.now += 1.1
    assert look(busy, begun) == [grants[P0]]


def test_the_report_of_an_earlier_commit_is_not_taken_for_that_of_a_later_one(busy, script):
    grants = {P0: claim(busy, P0).grant}
    assert save(busy, P0, grants[P0]) == grants[P0]  # found by asking: its report is still to come
    begun = begin(busy, grants)  # the same offset once more, as with other metadata
    report(busy, 0, 10)
    assert look(busy, begun) is None
    report(busy, 0, 10)
    assert look(busy, begun) == [grants[P0]]


def test_inside_a_revoke_nobody_polls_so_a_save_that_has_begun_is_asked_about(busy, script):
    grants = {P0: claim(busy, P0).grant}
    begun, inside = begin(busy, grants), []
    busy._serve = lambda revoked: inside.extend([look(busy, begun), begin(busy, grants, 10).answers])
    poll(busy, script, lambda: script.revoke(0) or [])
    assert inside == [[grants[P0]], [grants[P0]]]


def test_what_is_refused_at_once_needs_no_report(busy, script):
    old = claim(busy, P0).grant
    poll(busy, script, lambda: script.lose(0) or script.give(0) or [message(1, offset) for offset in range(BUDGET.max_records)])
    begun = begin(busy, {P0: old})
    assert isinstance(begun.answers[0], FencedError)


def test_one_that_was_not_sent_because_another_is_under_way_is_asked_about(busy, script, clock):
    grants = {P0: claim(busy, P0).grant}
    script.refuses = (0,)
    first = begin(busy, grants)
    again = begin(busy, grants, 10)
    assert look(busy, again) is None
    assert [call for call in script.calls if call[0] == "commit"] == [("commit", [(0, 10)])]
    script.stored[0] = TopicPartition("t", 0, 11)
    clock.now += 1.1
    assert look(busy, again) == [grants[P0]]
    report(busy, 0, 10)
    assert look(busy, first) == [grants[P0]]
