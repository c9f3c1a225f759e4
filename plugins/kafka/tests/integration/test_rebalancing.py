"""Revoke, loss, death and churn: the next owner starts after the last save, and nobody saves what is no longer theirs."""

import subprocess
import sys
import time

import pytest

from streamkit.errors import BrokerError, FencedError, StoreNotReadyError
from streamkit.model import Checkpoint, Partition, Position, StartPosition
from streamkit.plugin import Assigned, Lost

PEER = """
import sys
from confluent_kafka import Consumer
servers, group, topic, protocol = sys.argv[1:]
config = {"bootstrap.servers": servers, "group.id": group, "group.protocol": protocol}
if protocol == "classic":
    config |= {"partition.assignment.strategy": "cooperative-sticky", "session.timeout.ms": 1000, "heartbeat.interval.ms": 300}
consumer = Consumer(config)
consumer.subscribe([topic])
while True:
    consumer.poll(0.1)
    if consumer.assignment():
        print("assigned", flush=True)
"""


def owned(*members):
    return sorted(int(p.id) for member in members for p in member.grants)


def total(*members):
    return sum(len(found) for member in members for found in member.values.values())


def test_a_revoked_partition_is_saved_before_the_next_owner_starts(kafka, protocol):
    topic = kafka.topic(4)
    for number in range(4):
        kafka.produce(topic, [b"x"] * 50, number)
    old = kafka.member(topic, group_protocol=protocol)
    kafka.until(lambda: total(old) == 200, old)
    new = kafka.member(topic, group_protocol=protocol)

    def serve(revoked):
        # The other member polls while we drain; nothing of ours may be given to it before we have returned.
        until = time.monotonic() + 0.5
        while time.monotonic() < until:
            new.poll()
            assert not set(new.grants) & set(revoked.partitions)
        assert revoked.deadline_seconds == pytest.approx(25)
        old.save_revoked(revoked)

    old.on_revoke = serve
    kafka.until(lambda: len(new.grants) == 2 and len(old.grants) == 2, old, new)
    assert old.revokes
    for partition, start in new.starts.items():
        assert start == StartPosition.after(old.done[partition])
    kafka.produce(topic, [b"y"], int(next(iter(new.grants)).id))
    kafka.until(lambda: total(new), new, old)
    assert total(old) == 200
    assert total(new) == 1


def test_partitions_that_were_not_yet_added_can_be_revoked(kafka, protocol):
    topic = kafka.topic(4)
    old = kafka.member(topic, adds=False, group_protocol=protocol)
    kafka.until(lambda: len(old.grants) == 4, old)
    kafka.drive(old.membership.add(Partition(topic, "0"), StartPosition.EARLIEST))
    old.on_revoke = lambda revoked: None
    new = kafka.member(topic, adds=False, group_protocol=protocol)
    kafka.until(lambda: owned(old, new) == [0, 1, 2, 3] and len(new.grants) == 2, old, new)


def losing(protocol):
    return {"max_poll_interval": "1000ms", **({"session_timeout": "1000ms"} if protocol == "classic" else {}), "group_protocol": protocol}


def test_after_a_loss_our_own_bookkeeping_refuses_to_save(kafka, protocol):
    topic = kafka.topic(1)
    kafka.produce(topic, [b"x"] * 10)
    member = kafka.member(topic, **losing(protocol))
    kafka.until(lambda: total(member) == 10, member)
    partition = Partition(topic, "0")
    before = member.grants[partition]
    checkpoint = Checkpoint(partition, StartPosition.after(Position(4)))
    time.sleep(1.6)
    kafka.until(lambda: any(isinstance(event, Lost) for event in member.events), member)
    assert kafka.drive(member.membership.checkpoints.save([(checkpoint, before)]))[0].__class__ is FencedError
    # Given again to the same member: the old grant stays refused, though the coordinator would take it.
    kafka.until(lambda: partition in member.grants, member)
    assert kafka.drive(member.membership.checkpoints.save([(checkpoint, before)]))[0].__class__ is FencedError
    assert kafka.drive(member.membership.checkpoints.claim(partition, "w1", 0)).checkpoint is None
    assert [type(event) for event in member.events if isinstance(event, Assigned | Lost)] == [Assigned, Lost, Assigned]


def test_the_partitions_of_a_killed_member_come_over(kafka, protocol):
    topic = kafka.topic(2)
    arguments = [kafka.server.bootstrap_servers, kafka.group, topic, protocol]
    with subprocess.Popen([sys.executable, "-c", PEER, *arguments], stdout=subprocess.PIPE, text=True) as peer:
        try:
            assert peer.stdout.readline() == "assigned\n"
            member = kafka.member(topic, group_protocol=protocol, **({"session_timeout": "1s"} if protocol == "classic" else {}))
            kafka.until(lambda: len(member.grants) == 1, member)
        finally:
            peer.kill()
        kafka.until(lambda: len(member.grants) == 2, member)


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


def test_leaving_gives_partitions_away_at_once_and_serves_nothing(kafka, protocol):
    topic = kafka.topic(2)
    old = kafka.member(topic, group_protocol=protocol)
    kafka.until(lambda: len(old.grants) == 2, old)
    old.leave()
    assert not old.revokes
    new = kafka.member(topic, group_protocol=protocol)
    began = time.monotonic()
    kafka.until(lambda: len(new.grants) == 2, new)
    assert time.monotonic() - began < 5


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
