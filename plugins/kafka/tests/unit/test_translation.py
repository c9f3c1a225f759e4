"""Between streamkit's words and librdkafka's: errors, commits, names of streams, records. No broker."""

import pytest
from confluent_kafka import TIMESTAMP_CREATE_TIME, KafkaError, KafkaException, Message, TopicPartition
from streamkit_kafka.commit_format import METADATA_CHARACTERS, checkpoint_of, commit_of, generation_of
from streamkit_kafka.errors import broker_error, store_error, translated
from streamkit_kafka.record import KafkaBatch
from streamkit_kafka.streams import matches, subscription

from streamkit.errors import (
    AccessDeniedError,
    BrokerError,
    BrokerUnavailableError,
    CheckpointError,
    ConfigurationError,
    FencedError,
    StoreNotReadyError,
    StoreThrottledError,
    StoreUnavailableError,
    StreamGoneError,
    ThrottledError,
)
from streamkit.model import Checkpoint, Headers, Partition, Position, StartPosition

PARTITION = Partition("orders", "3", incarnation="c/t")


@pytest.mark.parametrize(
    ("code", "reading", "storing"),
    [
        (KafkaError._TRANSPORT, BrokerUnavailableError, StoreUnavailableError),
        (KafkaError._TIMED_OUT, BrokerUnavailableError, StoreUnavailableError),
        (KafkaError.NOT_COORDINATOR, BrokerUnavailableError, StoreUnavailableError),
        (KafkaError.THROTTLING_QUOTA_EXCEEDED, ThrottledError, StoreThrottledError),
        (KafkaError.REBALANCE_IN_PROGRESS, BrokerError, StoreNotReadyError),
        (KafkaError.ILLEGAL_GENERATION, BrokerError, StoreNotReadyError),
        (KafkaError.UNKNOWN_MEMBER_ID, BrokerError, FencedError),
        (KafkaError.FENCED_INSTANCE_ID, BrokerError, FencedError),
        (KafkaError._ASSIGNMENT_LOST, BrokerError, FencedError),
        (KafkaError.OFFSET_METADATA_TOO_LARGE, BrokerError, CheckpointError),
        (KafkaError.TOPIC_AUTHORIZATION_FAILED, AccessDeniedError, CheckpointError),
        (KafkaError._AUTHENTICATION, AccessDeniedError, CheckpointError),
        (KafkaError.UNKNOWN_TOPIC_OR_PART, StreamGoneError, CheckpointError),
        (KafkaError._INVALID_ARG, ConfigurationError, CheckpointError),
        (KafkaError.UNKNOWN, BrokerError, CheckpointError),
    ],
)
def test_an_error_means_what_its_code_says(code, reading, storing):
    assert type(broker_error(KafkaError(code), "x")) is reading
    assert type(store_error(KafkaError(code), "x")) is storing


def test_the_cause_and_what_was_tried_are_kept():
    with pytest.raises(BrokerUnavailableError, match="testing") as caught, translated("testing", "orders/3"):
        raise KafkaException(KafkaError(KafkaError._TRANSPORT))
    assert isinstance(caught.value.__cause__, KafkaException)
    assert caught.value.partition == "orders/3"
    with pytest.raises(BrokerError, match="Consumer closed"), translated("testing"):
        raise RuntimeError("Consumer closed")


@pytest.mark.parametrize(
    ("start", "offset"),
    [(StartPosition.at(Position(0)), 0), (StartPosition.at(Position(5)), 5), (StartPosition.after(Position(5)), 6)],
)
def test_a_position_is_committed_as_the_next_offset_and_comes_back_as_the_same_place(start, offset):
    target = commit_of(Checkpoint(PARTITION, start))
    assert (target.topic, target.partition, target.offset) == ("orders", 3, offset)
    back = checkpoint_of(PARTITION, target).at
    assert back.position.sequence + (back.kind == "after") == offset


def test_the_token_is_the_leader_epoch():
    target = commit_of(Checkpoint(PARTITION, StartPosition.after(Position(5, token="12"))))
    assert target.leader_epoch == 12
    assert checkpoint_of(PARTITION, target).at.position.token == "12"


@pytest.mark.parametrize("metadata", ["", "plain", 'ü "q" \\ 😀', '{"v":1,"m":"looks like ours"}', "null", "[1]"])
@pytest.mark.parametrize("partitions", [None, 0, 12])
def test_metadata_round_trips(metadata, partitions):
    target = commit_of(Checkpoint(PARTITION, StartPosition.at(Position(1)), metadata=metadata, partitions_at_start=partitions))
    back = checkpoint_of(PARTITION, target)
    assert (back.metadata, back.partitions_at_start) == (metadata, partitions)


@pytest.mark.parametrize("foreign", ["text", '{"v":99,"m":"x"}', '{"v":1,"m":5}', '{"n":3}', "[]", '{"v":1,"n":"x"}', "{"])
def test_foreign_metadata_is_handed_on_untouched(foreign):
    assert checkpoint_of(PARTITION, TopicPartition("orders", 3, 5, foreign)).metadata == foreign


def test_a_neighbouring_version_is_understood():
    assert checkpoint_of(PARTITION, TopicPartition("orders", 3, 5, '{"v":2,"m":"x","new":1}')).metadata == "x"


def test_no_offset_is_the_proof_of_absence():
    assert checkpoint_of(PARTITION, TopicPartition("orders", 3, -1001)) is None


@pytest.mark.parametrize(
    "checkpoint",
    [
        Checkpoint(PARTITION, StartPosition.EARLIEST),
        Checkpoint(PARTITION, StartPosition.END),
        Checkpoint(PARTITION, StartPosition.after(Position(1, 2))),
        Checkpoint(PARTITION, StartPosition.at(Position(1)), pending=Position(3)),
        Checkpoint(PARTITION, StartPosition.at(Position(1)), metadata="x" * 4096),
        Checkpoint(PARTITION, StartPosition.at(Position(1)), metadata="😀" * 2048),
    ],
    ids=["earliest", "end", "sub-sequence", "pending", "long", "surrogates"],
)
def test_what_kafka_cannot_hold_is_refused_before_it_is_sent(checkpoint):
    with pytest.raises(CheckpointError, match="orders/3"):
        commit_of(checkpoint)


def test_what_is_promised_of_metadata_fits():
    commit_of(Checkpoint(PARTITION, StartPosition.at(Position(1)), metadata="ü" * METADATA_CHARACTERS, partitions_at_start=10**6))


@pytest.mark.parametrize(
    ("raw", "generation"),
    [
        (b"CGMDv2:\x07\x00\x00\x00g", 7),
        (b"CGMDv2:\xff\xff\xff\xffg", 0),
        (b"CGMDv3:\x07\x00\x00\x00", 0),
        (b"CGMDv2:\x07", 0),
        (None, 0),
        ("x", 0),
    ],
)
def test_the_generation_is_read_or_zero(raw, generation):
    assert generation_of(raw) == generation


def test_patterns_are_prefixes_in_both_protocols():
    assert matches("^or", "orders")
    assert not matches("^or$", "orders")
    assert matches("orders", "orders")
    assert not matches("orders", "orders-2")
    assert not matches("^.*", "__consumer_offsets")
    assert subscription(["^or", "x"], "classic") == ["^or", "x"]
    assert subscription(["^or", "x"], "consumer") == ["^(^or).*", "x"]
    with pytest.raises(ConfigurationError, match="STREAMKIT_STREAM"):
        matches("^(", "x")


def batch(count=4, high=10, **fields):
    messages = [
        Message(
            topic="orders",
            partition=3,
            offset=number,
            value=b"v%d" % number,
            timestamp=(TIMESTAMP_CREATE_TIME, 1000 * number),
            leader_epoch=2,
            **fields,
        )
        for number in range(count)
    ]
    return KafkaBatch(PARTITION, messages, 7.0, high)


def test_a_batch_reads_its_messages_lazily():
    found = batch()
    assert (len(found), found.bytes, list(found.values())) == (4, 8, [b"v0", b"v1", b"v2", b"v3"])
    assert (found.first, found.last, found.first.token) == (Position(0), Position(3), "2")
    assert (found.lag_records, found.lag_seconds, found.received_at.timestamp()) == (6, 4.0, 7.0)
    part = found.slice(1, 3)
    assert [record.value for record in part] == [b"v1", b"v2"]
    assert (part.bytes, part.lag_records) == (4, 7)
    with pytest.raises(ValueError, match="holds no record"):
        found.slice(4, 9)


def test_a_record_is_a_view_of_its_message():
    [record] = batch(1, key=b"k", headers=[("a", None), ("a", b"1")])
    assert (record.partition, record.position, record.key, record.value) == (PARTITION, Position(0), b"k", b"v0")
    assert record.headers == Headers([("a", None), ("a", b"1")])
    assert record.headers.get("a") == b"1"
    assert record.id == "orders/3/0"
    assert record.native.topic() == "orders"
    with pytest.raises(AttributeError):
        record.other = 1


def test_lag_is_unknown_without_a_watermark_and_zero_at_the_tip():
    assert batch(high=None).lag_records is None
    assert batch(high=4).lag_seconds == 0.0
