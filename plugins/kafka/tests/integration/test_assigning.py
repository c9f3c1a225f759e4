"""What a member reads: from where it was told, only what the group gave it, and nothing after it was taken back."""

import pytest

from streamkit.errors import BrokerError
from streamkit.model import Batch, Partition, Position, StartPosition
from streamkit.plugin import Assigned, CaughtUp

HUNDRED = [b"%d" % number for number in range(100)]


def assigned(member):
    return {partition for event in member.events if isinstance(event, Assigned) for partition in event.partitions}


def joined(kafka, member, count):
    kafka.until(lambda: len(assigned(member)) == count, member)


def values(member, partition):
    return member.values.get(partition, [])


def test_nothing_is_read_before_add_and_then_from_exactly_there(kafka, protocol):
    topic = kafka.topic(2)
    for number in (0, 1):
        kafka.produce(topic, HUNDRED, number)
    member = kafka.member(topic, adds=False, group_protocol=protocol)
    joined(kafka, member, 2)
    for _ in range(8):
        member.poll()
    assert not member.values
    late, later = Partition(topic, "0"), Partition(topic, "1")
    kafka.drive(member.membership.add(late, StartPosition.at(Position(37))))
    kafka.until(lambda: len(values(member, late)) == 63, member)
    kafka.drive(member.membership.add(later, StartPosition.after(Position(97))))
    kafka.until(lambda: len(values(member, later)) == 2, member)
    assert values(member, late) == HUNDRED[37:]
    assert values(member, later) == HUNDRED[98:]
    assert {event.partition for event in member.events if isinstance(event, CaughtUp)} <= {late, later}


def test_the_epoch_of_an_assignment_is_the_groups_generation(kafka, protocol):
    topic = kafka.topic(1)
    member = kafka.member(topic, adds=False, group_protocol=protocol)
    joined(kafka, member, 1)
    [event] = [event for event in member.events if isinstance(event, Assigned)]
    assert event.epoch >= 1


def test_a_partition_that_the_group_did_not_give_cannot_be_added(kafka, protocol):
    topic = kafka.topic(1)
    member = kafka.member(topic, group_protocol=protocol)
    joined(kafka, member, 1)
    with pytest.raises(BrokerError, match="the group has taken it back") as caught:
        kafka.drive(member.membership.add(Partition(kafka.topic(1), "0"), StartPosition.EARLIEST))
    assert caught.value.retryable


@pytest.mark.parametrize("again", [30, 80])
def test_removed_and_added_again_it_goes_on_where_it_is_told(kafka, protocol, again):
    topic = kafka.topic(2)
    kafka.produce(topic, HUNDRED, 0)
    kafka.produce(topic, HUNDRED, 1)
    member = kafka.member(topic, group_protocol=protocol)
    small = type(kafka.budget)(60, 1 << 20, 0.05)
    partition = Partition(topic, "0")
    while not 0 < len(values(member, partition)) < 100:
        assert len(values(member, partition)) < 100
        member.poll(small)
    kafka.drive(member.membership.remove([partition]))
    seen = len(values(member, partition))
    kafka.until(lambda: len(values(member, Partition(topic, "1"))) == 100, member)
    for _ in range(4):
        member.poll()
    assert len(values(member, partition)) == seen
    member.values.clear()
    kafka.drive(member.membership.add(partition, StartPosition.at(Position(again))))
    kafka.until(lambda: len(values(member, partition)) >= 100 - again, member)
    assert values(member, partition) == HUNDRED[again:]


def test_pausing_loses_and_repeats_nothing(kafka, protocol):
    topic = kafka.topic(1)
    kafka.produce(topic, HUNDRED * 20)
    member = kafka.member(topic, group_protocol=protocol)
    partition = Partition(topic, "0")
    small = type(kafka.budget)(300, 1 << 20, 0.05)
    for _ in range(4):
        before = len(values(member, partition))
        kafka.until(lambda before=before: len(values(member, partition)) > before or before == 2000, member)
        kafka.drive(member.membership.pause([partition]))
        paused = len(values(member, partition))
        for _ in range(3):
            member.poll(small)
        assert len(values(member, partition)) == paused
        kafka.drive(member.membership.resume([partition]))
    kafka.until(lambda: len(values(member, partition)) >= 2000, member)
    assert values(member, partition) == HUNDRED * 20


def test_a_pause_does_not_outlive_the_assignment(kafka, protocol):
    topic = kafka.topic(1)
    kafka.produce(topic, HUNDRED)
    member = kafka.member(topic, adds=False, group_protocol=protocol)
    joined(kafka, member, 1)
    partition = Partition(topic, "0")
    kafka.drive(member.membership.add(partition, StartPosition.EARLIEST))
    kafka.until(lambda: values(member, partition), member)
    kafka.drive(member.membership.pause([partition]))
    kafka.drive(member.membership.remove([partition]))
    member.values.clear()
    kafka.drive(member.membership.add(partition, StartPosition.EARLIEST))
    kafka.until(lambda: len(values(member, partition)) == 100, member)


def test_added_and_paused_at_once_it_waits_for_the_resume(kafka):
    topic = kafka.topic(1)
    kafka.produce(topic, HUNDRED)
    member = kafka.member(topic, adds=False)
    joined(kafka, member, 1)
    partition = Partition(topic, "0")
    kafka.drive(member.membership.add(partition, StartPosition.EARLIEST))
    kafka.drive(member.membership.pause([partition]))
    for _ in range(6):
        member.poll()
    assert not member.values
    kafka.drive(member.membership.resume([partition]))
    kafka.until(lambda: values(member, partition) == HUNDRED, member)


def test_batches_are_bounded_and_of_one_partition(kafka):
    topic, other = kafka.topic(2), kafka.topic(2)
    for name in (topic, other):
        for number in (0, 1):
            kafka.produce(name, [f"{name}/{number}".encode()] * 500, number)
    member = kafka.member([topic, other])
    budget = type(kafka.budget)(200, 1 << 20, 0.05)
    while sum(map(len, member.values.values())) < 2000:
        assert sum(len(event) for event in member.poll(budget) if isinstance(event, Batch)) <= 200
    for partition, found in member.values.items():
        assert set(found) == {str(partition).encode()}


def test_large_records_respect_the_byte_budget_after_the_first_of_them(kafka):
    topic = kafka.topic(1)
    kafka.produce(topic, [b"x" * 100_000] * 60)
    member = kafka.member(topic)
    sizes = []
    while sum(map(len, member.values.values())) < 60:
        events = member.poll(type(kafka.budget)(1000, 500_000, 0.05))
        sizes.append(sum(event.bytes for event in events if isinstance(event, Batch)))
    full = [size for size in sizes if size]
    assert max(full[1:]) <= 500_000


@pytest.mark.parametrize("pattern", ["^{0}", "^{0}-.$"])
def test_a_pattern_means_the_same_topics_in_both_protocols_and_finds_new_ones(kafka, protocol, pattern):
    from streamkit_sandbox.kafka_topics import create_topic

    servers = kafka.server.bootstrap_servers
    base = kafka.group
    first = create_topic(servers, 1, {}, f"{base}-a")
    stream = pattern.format(base)
    member = kafka.member(stream, group_protocol=protocol, options={"topic.metadata.refresh.interval.ms": 300})
    joined(kafka, member, 1)
    assert [p.stream for p in kafka.drive(member.broker.discover([stream], StartPosition.EARLIEST))] == [first]
    if protocol == "consumer":
        return  # there the broker looks for new topics, every 10 s
    second = create_topic(servers, 1, {}, f"{base}-b")
    kafka.produce(second, [b"found"])
    kafka.until(lambda: values(member, Partition(second, "0")) == [b"found"], member)


def test_new_partitions_are_found(kafka, protocol):
    from confluent_kafka.admin import AdminClient
    from confluent_kafka.cimpl import NewPartitions

    topic = kafka.topic(1)
    member = kafka.member(topic, group_protocol=protocol, options={"topic.metadata.refresh.interval.ms": 300})
    joined(kafka, member, 1)
    admin = AdminClient({"bootstrap.servers": kafka.server.bootstrap_servers})
    admin.create_partitions([NewPartitions(topic, 3)])[topic].result(10)
    joined(kafka, member, 3)
    assert len(kafka.drive(member.broker.discover([topic], StartPosition.EARLIEST))) == 3
