"""What a member is given: its epoch, patterns, new partitions, and bounds of what it reads."""

import pytest

from streamkit.errors import BrokerError
from streamkit.model import Batch, Partition, StartPosition
from streamkit.plugin import Assigned


def assigned(member):
    return {partition for event in member.events if isinstance(event, Assigned) for partition in event.partitions}


def joined(kafka, member, count):
    kafka.until(lambda: len(assigned(member)) == count, member)


def values(member, partition):
    return member.values.get(partition, [])


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
    admin.create_partitions([NewPartitions(topic, 3)])[topic].result(60)
    joined(kafka, member, 3)
    assert len(kafka.drive(member.broker.discover([topic], StartPosition.EARLIEST))) == 3
