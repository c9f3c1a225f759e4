"""What a poll returns when callbacks run in the middle of it. A scripted consumer, because no broker does this on demand."""

import pytest
from confluent_kafka import KafkaError, KafkaException, Message, TopicPartition
from streamkit_kafka.membership import KafkaMembership
from streamkit_kafka.settings import KafkaSettings

from plugins.kafka.tests.unit.scripted import BUDGET, P0, P1, batches, drive, message, poll
from streamkit.errors import BrokerError, BrokerUnavailableError, PositionInvalidError
from streamkit.model import Partition, Position, StartPosition
from streamkit.plugin import Assigned, CaughtUp, Failed, Lost


def test_messages_of_a_partition_revoked_in_the_same_call_are_dropped(member, script):
    events = poll(member, script, lambda: [message(0, 1), message(1, 1)], lambda: script.revoke(0) or [])
    assert batches(events) == {"1": [1]}
    assert script.calls == [("unassign", [0])]


def test_messages_of_a_partition_revoked_and_given_again_in_the_same_call_are_dropped(member, script):
    events = poll(member, script, lambda: [message(0, 1)], lambda: script.revoke(0) or script.give(0) or [message(0, 2)])
    assert batches(events) == {}
    assert [event.partitions for event in events if isinstance(event, Assigned)] == [(P0,)]


def test_a_loss_is_told_and_its_messages_are_dropped(member, script):
    events = poll(member, script, lambda: [message(0, 1)], lambda: script.lose(0, 1) or [])
    assert events == [Lost((P0, P1))]
    assert script.calls == [("unassign", [0, 1])]


def test_an_assignment_without_the_loss_before_it_tells_the_loss_too(member, script):
    """librdkafka #5604: the lost flag can be swallowed."""
    events = poll(member, script, lambda: script.give(0) or [])
    assert events == [Lost((P0,)), Assigned((P0,), 5)]


@pytest.mark.parametrize("end", ["revoke", "lose"])
def test_what_is_given_and_taken_within_one_poll_was_never_ours(member, script, end):
    """Else the engine would hear of the revoke, inside the poll, before it hears of the assignment, which the poll returns."""
    served = []
    member._serve = served.append
    events = poll(member, script, lambda: script.give(2, 3) or getattr(script, end)(1, 2) or [])
    told = [Assigned((Partition("t", "3"),), 5)]
    if end == "lose":
        assert (events, served) == ([*told, Lost((P1,))], [])
    else:
        assert (events, [revoked.partitions for revoked in served]) == (told, [(P1,)])


def test_only_what_is_assigned_locally_is_unassigned(member, script):
    poll(member, script, lambda: script.give(2) or [])
    script.calls.clear()
    poll(member, script, lambda: script.revoke(1, 2) or [])
    assert script.calls == [("unassign", [1])]


def test_an_empty_assignment_is_answered_too(member, script):
    assert poll(member, script, lambda: script.give() or []) == []
    assert script.calls == [("assign", [])]


def test_outside_the_callbacks_a_group_never_unassigns(member, script):
    drive(member.remove([P0]))
    poll(member, script, lambda: [])
    drive(member.add(P0, StartPosition.at(Position(7))))
    poll(member, script, lambda: [])
    assert script.calls == [("pause", [0]), ("seek", 0, 7), ("resume", [0])]


def test_what_is_left_over_from_before_a_seek_is_dropped(member, script):
    drive(member.remove([P0]))
    drive(member.add(P0, StartPosition.at(Position(7))))
    assert batches(poll(member, script, lambda: [message(0, 5), message(0, 6), message(0, 8)])) == {"0": [8]}


def test_a_reader_that_goes_back_by_itself_is_not_silenced(member, script):
    """The engine sees that, closes the partition and opens it at its own position."""
    drive(member.remove([P0]))
    drive(member.add(P0, StartPosition.at(Position(7))))
    assert batches(poll(member, script, lambda: [message(0, 8)])) == {"0": [8]}
    assert batches(poll(member, script, lambda: [message(0, 3)])) == {"0": [3]}


def test_a_revoke_before_the_add_was_carried_out_takes_it_back(member, script, clock):
    poll(member, script, lambda: script.give(2) or [])
    drive(member.add(Partition("t", "2"), StartPosition.at(Position(0))))
    clock.now += 60  # a long pause: first hear what has happened, then assign
    script.calls.clear()
    poll(member, script, lambda: script.lose(2) or [])
    assert ("assign", [(2, 0)]) not in script.calls


def test_a_failing_consume_costs_no_message(member, script):
    def fail():
        raise KafkaException(KafkaError(KafkaError._TRANSPORT))

    script.steps = [list, lambda: [message(0, 1)], fail]
    assert batches(drive(member.poll(BUDGET))) == {"0": [1]}
    with pytest.raises(BrokerUnavailableError):
        poll(member, script)
    assert batches(poll(member, script, lambda: [message(0, 2)])) == {"0": [2]}


@pytest.mark.parametrize(
    "code", [KafkaError._TRANSPORT, KafkaError._MAX_POLL_EXCEEDED, KafkaError.REBALANCE_IN_PROGRESS, KafkaError._TIMED_OUT]
)
def test_what_librdkafka_repairs_by_itself_is_no_event(member, script, code):
    assert batches(poll(member, script, lambda: [message(-1, 0, KafkaError(code)), message(0, 1)])) == {"0": [1]}


def test_the_end_is_caught_up_after_its_messages(member, script):
    events = poll(member, script, lambda: [message(0, 1), message(0, 2, KafkaError(KafkaError._PARTITION_EOF))])
    assert batches(events) == {"0": [1]}
    assert events[-1] == CaughtUp(P0)


def test_an_error_of_one_partition_fails_that_one_alone(member, script):
    events = poll(member, script, lambda: [message(0, 1, KafkaError(KafkaError._BAD_MSG)), message(1, 1)])
    [failed] = [event for event in events if isinstance(event, Failed)]
    assert (failed.partition, batches(events)) == (P0, {"1": [1]})
    assert batches(poll(member, script, lambda: [message(0, 2), message(1, 2)])) == {"1": [2]}


def test_a_truncated_log_is_invalid_not_expired(member, script):
    script.watermarks = (0, 50)
    [failed] = poll(member, script, lambda: [message(0, 30, KafkaError(KafkaError._AUTO_OFFSET_RESET))])
    assert isinstance(failed.error, PositionInvalidError)


def test_a_failed_partition_is_assigned_anew_after_the_callbacks_have_been_served(member, script):
    poll(member, script, lambda: [message(0, 1, KafkaError(KafkaError._AUTO_OFFSET_RESET))])
    drive(member.add(P0, StartPosition.at(Position(4))))
    poll(member, script, lambda: [], lambda: [])
    assert script.calls == [("unassign", [0]), ("assign", [(0, 4)]), ("resume", [0])]


def test_a_failed_partition_that_is_revoked_first_is_left_alone(member, script):
    poll(member, script, lambda: [message(0, 1, KafkaError(KafkaError._AUTO_OFFSET_RESET))])
    drive(member.add(P0, StartPosition.at(Position(4))))
    poll(member, script, lambda: script.revoke(0) or [])
    assert script.calls == [("unassign", [0])]


def test_an_error_for_everybody_is_raised_after_the_batches_before_it(member, script):
    steps = [lambda: [message(0, 1), message(-1, 0, KafkaError(KafkaError._FATAL, "unsupported group protocol"))]]
    assert batches(poll(member, script, *steps)) == {"0": [1]}
    with pytest.raises(BrokerError) as caught:
        poll(member, script)
    assert "GROUP_PROTOCOL=classic" in caught.value.fix


@pytest.mark.parametrize("numbers", [(0, 0, 1, 1), (1, 0, 0), (0, 1, 0), (0, 1, 1, 0), (0, 1, 0, 1), (1, 1, 0, 1)])
def test_each_partition_gets_all_its_messages_in_order_however_they_come_mixed(member, script, numbers):
    offsets = {0: iter(range(9)), 1: iter(range(9))}
    sent = [message(number, next(offsets[number])) for number in numbers]
    found = batches(poll(member, script, lambda: sent))
    assert found == {str(number): list(range(numbers.count(number))) for number in (0, 1)}


def test_messages_of_two_topics_with_one_number_are_kept_apart(script, clock):
    settings = KafkaSettings(bootstrap_servers="b")
    config = {"socket.timeout.ms": 1000}
    made = KafkaMembership(settings, clock, config, ["^."], lambda revoked: None, lambda topic, number: Partition(topic, str(number)))
    both = [TopicPartition("t", 0), TopicPartition("u", 0)]
    poll(made, script, lambda: script.callbacks["on_assign"](script, both) or [])
    for name in ("t", "u"):
        drive(made.add(Partition(name, "0"), StartPosition.at(Position(0))))
    mixed = [Message(topic=topic, partition=0, offset=offset, value=topic.encode()) for offset, topic in enumerate("tutu")]
    found = poll(made, script, lambda: mixed)
    assert {str(batch.partition): list(batch.values()) for batch in found} == {"t/0": [b"t", b"t"], "u/0": [b"u", b"u"]}


def test_that_no_broker_answers_is_said_once_with_its_own_reason_each_time(member, script):
    def out(code, reason):
        for error in (KafkaError(code, reason), KafkaError(KafkaError._ALL_BROKERS_DOWN, "1/1 brokers are down")):
            member._core.watch(error)
        return []

    for code, reason in ((KafkaError._AUTHENTICATION, "a wrong password"), (KafkaError._TRANSPORT, "a cable")):
        with pytest.raises(BrokerUnavailableError, match=reason):
            poll(member, script, lambda code=code, reason=reason: out(code, reason))
        assert poll(member, script, lambda: []) == []
