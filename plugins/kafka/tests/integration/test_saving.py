"""Kafka's offsets as a store: of a member, without one, and from an operator's side."""

import pytest

from streamkit.errors import CheckpointError, FencedError, StoreNotReadyError
from streamkit.model import Checkpoint, Partition, Position, StartPosition
from streamkit.plugin import Grant


@pytest.fixture
def store(kafka):
    from streamkit_kafka.offsets import KafkaOffsets

    broker = kafka.broker()
    store = KafkaOffsets(broker.settings, broker.context)
    kafka.drive(store.open())
    yield store
    kafka.drive(store.close())


def checkpoint(partition, offset, **fields):
    return Checkpoint(partition, StartPosition.after(Position(offset)), **fields)


def claimed(kafka, store, partition):
    return kafka.drive(store.claim(partition, "w1", 0)).checkpoint


def test_absence_is_proven_and_what_was_saved_is_found(kafka, store):
    partition = Partition(kafka.topic(1), "0")
    assert claimed(kafka, store, partition) is None
    saved = checkpoint(partition, 41, metadata='ü "quoted" 😀', partitions_at_start=4)
    assert kafka.drive(store.save([(saved, Grant(None))])) == [None]
    found = claimed(kafka, store, partition)
    assert (found.at, found.metadata, found.partitions_at_start) == (saved.at, saved.metadata, 4)


@pytest.mark.parametrize(
    "start", [StartPosition.at(Position(0)), StartPosition.at(Position(7)), StartPosition.after(Position(7, token="0"))]
)
def test_a_start_is_saved_as_the_next_offset(kafka, store, start):
    partition = Partition(kafka.topic(1), "0")
    kafka.drive(store.save([(Checkpoint(partition, start), Grant(None))]))
    found = claimed(kafka, store, partition).at
    following = start.position.sequence + (start.kind == "after")
    assert found.position.sequence + (found.kind == "after") == following
    assert found.position.token == start.position.token


def test_the_leader_epoch_travels_along(kafka, protocol):
    topic = kafka.topic(1)
    kafka.produce(topic, [b"x"])
    member = kafka.member(topic, group_protocol=protocol)
    kafka.until(lambda: member.values, member)
    member.save()
    assert claimed(kafka, member.store, Partition(topic, "0")).at.position.token == "0"


def test_metadata_up_to_the_limit_is_kept_and_one_more_is_refused_alone(kafka, store):
    topic = kafka.topic(2)
    fits, too_long = Partition(topic, "0"), Partition(topic, "1")
    room = 4095 - len('{"v":1,"m":""}')
    answers = kafka.drive(
        store.save(
            [(checkpoint(fits, 1, metadata="x" * room), Grant("a")), (checkpoint(too_long, 1, metadata="x" * (room + 1)), Grant("b"))]
        )
    )
    assert answers[0] == "a"
    assert isinstance(answers[1], CheckpointError)
    assert "4095" in str(answers[1])
    assert claimed(kafka, store, fits).metadata == "x" * room
    assert claimed(kafka, store, too_long) is None


def test_what_another_tool_committed_is_read_with_its_metadata(kafka, store):
    from confluent_kafka import Consumer, TopicPartition

    partition = Partition(kafka.topic(1), "0")
    tool = Consumer({"bootstrap.servers": kafka.server.bootstrap_servers, "group.id": kafka.group})
    tool.commit(offsets=[TopicPartition(partition.stream, 0, 5, '{"their":"own"}')], asynchronous=False)
    tool.close()
    found = claimed(kafka, store, partition)
    assert (found.at, found.metadata) == (StartPosition.after(Position(4)), '{"their":"own"}')


def test_a_checkpoint_of_somebody_elses_partition_is_refused_and_the_others_are_saved(kafka, protocol):
    topic, other = kafka.topic(1), Partition(kafka.topic(1), "0")
    kafka.produce(topic, [b"x"])
    member = kafka.member(topic, group_protocol=protocol)
    kafka.until(lambda: member.values, member)
    [(mine, grant)] = member.grants.items()
    answers = kafka.drive(member.store.save([(checkpoint(other, 0), grant), (checkpoint(mine, 0), grant)]))
    assert isinstance(answers[0], FencedError)
    assert answers[1] == grant
    with pytest.raises(FencedError):
        kafka.drive(member.store.claim(other, "w1", 0))


def test_a_commit_from_outside_is_refused_while_the_group_lives(kafka, store, protocol):
    topic = kafka.topic(1)
    partition = Partition(topic, "0")
    member = kafka.member(topic, group_protocol=protocol)
    kafka.until(lambda: member.grants, member)
    assert kafka.drive(store.members()) == 1
    answers = []

    def is_answered():  # a broker that is busy says first that the group is not ready
        answers.append(kafka.drive(store.save([(checkpoint(partition, 1), Grant(None))]))[0])
        return not isinstance(answers[-1], StoreNotReadyError)

    kafka.until(is_answered, member)
    assert isinstance(answers[-1], FencedError)
    with pytest.raises(StoreNotReadyError, match="has 1 members") as caught:
        kafka.drive(store.overwrite(checkpoint(partition, 1)))
    assert "stop the group's workers" in caught.value.fix
    member.leave()
    assert kafka.drive(store.members()) == 0


def test_an_operator_moves_and_forgets_checkpoints(kafka, store):
    topic = kafka.topic(2)
    both = [Partition(topic, "0"), Partition(topic, "1")]
    kafka.drive(store.save([(checkpoint(partition, 9), Grant(None)) for partition in both]))
    kafka.drive(store.overwrite(checkpoint(both[0], 3, metadata="moved")))
    assert [(c.at.position.sequence, c.metadata) for c in kafka.drive(store.list())] == [(3, "moved"), (9, "")]
    with pytest.raises(CheckpointError, match="cannot delete 1 of the group's 2"):
        kafka.drive(store.delete(both[:1]))
    kafka.drive(store.delete(both))
    assert kafka.drive(store.list()) == []
    assert claimed(kafka, store, both[0]) is None
    kafka.drive(store.delete(both))
