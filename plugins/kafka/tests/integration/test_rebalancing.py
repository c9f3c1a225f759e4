"""Revokes, errors inside them, and churn: what the rules of groups do not say."""

import pytest

from streamkit.errors import BrokerError, StoreNotReadyError
from streamkit.model import Partition, StartPosition
from streamkit.plugin import Lost


def owned(*members):
    return sorted(int(p.id) for member in members for p in member.grants)


def total(*members):
    return sum(len(found) for member in members for found in member.values.values())


def test_partitions_that_were_not_yet_added_can_be_revoked(kafka, protocol):
    topic = kafka.topic(4)
    old = kafka.member(topic, adds=False, group_protocol=protocol)
    kafka.until(lambda: len(old.grants) == 4, old)
    kafka.drive(old.membership.add(Partition(topic, "0"), StartPosition.EARLIEST))
    old.on_revoke = lambda revoked: None
    new = kafka.member(topic, adds=False, group_protocol=protocol)
    kafka.until(lambda: owned(old, new) == [0, 1, 2, 3] and len(new.grants) == 2, old, new)


def test_an_error_inside_a_callback_comes_out_of_the_next_poll_and_costs_no_record(kafka, protocol):
    topic = kafka.topic(2)
    for number in (0, 1):
        kafka.produce(topic, [b"x"] * 50, number)
    old = kafka.member(topic, group_protocol=protocol)
    kafka.until(lambda: total(old) == 100, old)

    def serve(revoked):
        raise ZeroDivisionError("a bug in the engine")

    old.on_revoke = serve
    new = kafka.member(topic, group_protocol=protocol)
    with pytest.raises(BrokerError, match="a bug in the engine") as caught:
        kafka.until(lambda: False, old, new)
    assert isinstance(caught.value.__cause__, ZeroDivisionError)
    [lost] = [event for event in old.events if isinstance(event, Lost)]
    kafka.until(lambda: set(new.grants) == set(lost.partitions), old, new)
    for number in (0, 1):
        kafka.produce(topic, [b"y"], number)
    kafka.until(lambda: total(old) == 101 and total(new) == 51, old, new)


def test_a_commit_during_a_rebalance_is_kept_not_fenced(kafka):
    """In a cooperative join the coordinator answers REBALANCE_IN_PROGRESS though nothing of ours is lost."""
    topic = kafka.topic(4)
    for number in range(4):
        kafka.produce(topic, [b"x"] * 50, number)
    old = kafka.member(topic)
    kafka.until(lambda: total(old) == 200, old)
    old.on_revoke = lambda revoked: None
    new = kafka.member(topic, adds=False)
    answers = []

    def rebalanced():
        answers.extend(old.save(list(old.grants)))
        return len(new.grants) == 2

    kafka.until(rebalanced, old, new)
    errors = [answer for answer in answers if isinstance(answer, Exception)]
    assert {type(error) for error in errors} <= {StoreNotReadyError}
    kafka.until(lambda: not [a for a in old.save() if isinstance(a, Exception)], old, new)


def test_churn_of_two_members_loses_nothing(kafka, protocol):
    topic = kafka.topic(4)
    steady = kafka.member(topic, group_protocol=protocol)
    members, sent = [steady], 0
    guest = None
    for turn in range(4):
        for number in range(4):
            kafka.produce(topic, [b"%d" % sent], number)
            sent += 1
        if guest is None:
            guest = kafka.member(topic, group_protocol=protocol)
            members.append(guest)
            kafka.until(lambda: len(guest.grants) == 2 and len(steady.grants) == 2, steady, guest)  # noqa: B023
        else:
            if turn % 4 == 1:  # saves before it goes; the other time its records come again
                guest.save()
            guest.leave()
            guest = None
            kafka.until(lambda: len(steady.grants) == 4, steady)
        steady.save()

    def seen():
        return {value for member in members for found in member.values.values() for value in found}

    kafka.until(lambda: len(seen()) == sent, *[m for m in members if not m.left])
    for member in members:
        for found in member.values.values():
            assert len(found) == len(set(found))  # again after a hand-over, never within one assignment
