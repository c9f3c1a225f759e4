"""Start positions, positions that are gone, what a record holds, and gaps."""

from datetime import UTC, datetime, timedelta

import pytest

from streamkit.errors import PositionExpiredError, PositionInvalidError, StreamGoneError
from streamkit.model import Batch, Headers, Partition, Position, StartPosition
from streamkit.plugin import CaughtUp, Failed

T0 = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def milliseconds(time):
    return int(time.timestamp() * 1000)


@pytest.fixture
def minutes(kafka):
    """A topic with ten records, a minute apart."""
    topic = kafka.topic(1)
    for number in range(10):
        kafka.produce(topic, [b"%d" % number], timestamp=milliseconds(T0 + number * MINUTE))
    return topic


def read_from(kafka, broker, partition, start, count):
    reader = broker.reader()
    kafka.drive(reader.add(partition, start))
    found = []
    while sum(map(len, found)) < count:
        found += [event for event in kafka.drive(reader.poll(kafka.budget)) if isinstance(event, Batch)]
    kafka.drive(reader.close())
    return [value for batch in found for value in batch.values()]


def test_the_next_offset_to_be_written_is_no_position_beyond_the_log(kafka, minutes):
    broker, partition = kafka.broker(), Partition(minutes, "0")
    resolved = kafka.drive(broker.resolve(partition, StartPosition.at(Position(10))))
    kafka.produce(minutes, [b"new"])
    assert read_from(kafka, broker, partition, resolved, 1) == [b"new"]


def test_a_reader_understands_a_time_that_was_not_resolved_too(kafka, minutes):
    assert read_from(kafka, kafka.broker(), Partition(minutes, "0"), StartPosition.at_time(T0 + 3 * MINUTE), 7)[0] == b"3"


def first_failure(kafka, reader):
    for _ in range(1200):  # a minute, when nothing comes
        for event in kafka.drive(reader.poll(kafka.budget)):
            assert not isinstance(event, Batch)
            if isinstance(event, Failed):
                return event
    raise AssertionError("nothing failed")


@pytest.mark.parametrize("on_expired", ["halt", "earliest"])
def test_an_expired_position_is_said_never_skipped_silently(kafka, minutes, on_expired):
    from confluent_kafka import TopicPartition
    from confluent_kafka.admin import AdminClient

    admin = AdminClient({"bootstrap.servers": kafka.server.bootstrap_servers})
    for answer in admin.delete_records([TopicPartition(minutes, 0, 6)]).values():
        answer.result(60)
    reader, partition = kafka.broker(on_expired=on_expired).reader(), Partition(minutes, "0")
    kafka.drive(reader.add(partition, StartPosition.after(Position(2))))
    failed = first_failure(kafka, reader)
    assert isinstance(failed.error, PositionExpiredError)
    assert failed.error.earliest == "6"
    assert failed.resume == (StartPosition.EARLIEST if on_expired == "earliest" else None)
    # The same partition is added again and goes on.
    kafka.drive(reader.add(partition, StartPosition.EARLIEST))
    found = []
    while len(found) < 4:
        for event in kafka.drive(reader.poll(kafka.budget)):
            found += event.values() if isinstance(event, Batch) else []
    assert found == [b"6", b"7", b"8", b"9"]
    kafka.drive(reader.close())


def test_a_position_beyond_the_log_is_invalid_not_expired(kafka, minutes):
    reader = kafka.broker(on_expired="earliest").reader()
    kafka.drive(reader.add(Partition(minutes, "0"), StartPosition.at(Position(99))))
    failed = first_failure(kafka, reader)
    assert isinstance(failed.error, PositionInvalidError)
    assert failed.resume is None
    kafka.drive(reader.close())


def test_a_deleted_topic_is_gone_never_ended(kafka):
    from confluent_kafka.admin import AdminClient

    topic = kafka.topic(1)
    reader = kafka.broker(options={"topic.metadata.refresh.interval.ms": 300, "topic.metadata.propagation.max.ms": 100}).reader()
    kafka.drive(reader.add(Partition(topic, "0"), StartPosition.EARLIEST))
    kafka.drive(reader.poll(kafka.budget))
    admin = AdminClient({"bootstrap.servers": kafka.server.bootstrap_servers})
    admin.delete_topics([topic])[topic].result(60)
    assert isinstance(first_failure(kafka, reader).error, StreamGoneError)
    kafka.drive(reader.close())


def test_tombstones_headers_keys_and_timestamps(kafka):
    topic = kafka.topic(1)
    headers = [("a", b"1"), ("b", None), ("a", b"2")]
    kafka.produce(topic, [None], key=b"k", headers=headers, timestamp=milliseconds(T0))
    kafka.produce(topic, [b""])
    reader = kafka.broker().reader()
    kafka.drive(reader.add(Partition(topic, "0"), StartPosition.EARLIEST))
    records = []
    while len(records) < 2:
        records += [r for event in kafka.drive(reader.poll(kafka.budget)) if isinstance(event, Batch) for r in event]
    kafka.drive(reader.close())
    tombstone, empty = records
    assert (tombstone.value, tombstone.key, tombstone.timestamp) == (None, b"k", T0)
    assert tombstone.headers == Headers(headers)
    assert tombstone.headers.get("a") == b"2"
    assert tombstone.id == f"{topic}/0/0"
    assert (empty.value, empty.key, empty.headers) == (b"", None, Headers())
    assert empty.timestamp.utcoffset() == timedelta(0)
    assert tombstone.position.token == "0"


@pytest.mark.parametrize("isolation", ["read_committed", "read_uncommitted"])
def test_transactions_leave_gaps_and_the_reader_still_catches_up(kafka, isolation):
    from confluent_kafka import Producer

    topic, partition = kafka.topic(1), None
    partition = Partition(topic, "0")
    producer = Producer({"bootstrap.servers": kafka.server.bootstrap_servers, "transactional.id": kafka.group})
    producer.init_transactions(60)
    for number, commit in enumerate([True, False, True, False]):
        producer.begin_transaction()
        producer.produce(topic, b"%d" % number, partition=0)
        producer.flush(60)
        (producer.commit_transaction if commit else producer.abort_transaction)(60)
    broker = kafka.broker(isolation_level=isolation)
    [tip] = kafka.drive(broker.tips([partition]))
    reader = broker.reader()
    kafka.drive(reader.add(partition, StartPosition.EARLIEST))
    batches, caught_up = [], False
    while not caught_up:
        events = kafka.drive(reader.poll(kafka.budget))
        batches += [event for event in events if isinstance(event, Batch)]
        caught_up = CaughtUp(partition) in events
    kafka.drive(reader.close())
    records = [record for batch in batches for record in batch]
    expected = [b"0", b"2"] if isolation == "read_committed" else [b"0", b"1", b"2", b"3"]
    assert [record.value for record in records] == expected
    assert records[1].position.sequence == (4 if isolation == "read_committed" else 2)
    assert tip == Position(7)  # an abort's marker: a tip need not be a record


def test_tips_and_incarnations(kafka):
    topic, empty = kafka.topic(2), kafka.topic(1)
    kafka.produce(topic, [b"x"] * 5, 1)
    broker = kafka.broker()
    partitions = kafka.drive(broker.discover([topic, empty], StartPosition.EARLIEST))
    assert [str(p) for p in partitions] == [f"{topic}/0", f"{topic}/1", f"{empty}/0"]
    assert kafka.drive(broker.tips(partitions)) == [None, Position(4), None]
    incarnations = {p.incarnation for p in partitions}
    assert len(incarnations) == 2
    assert len({i.split("/")[0] for i in incarnations}) == 1


@pytest.mark.parametrize("stream", ["no-such-topic", "^no-such-topic"])
def test_a_missing_topic_is_named(kafka, stream):
    with pytest.raises(StreamGoneError, match="no-such-topic") as caught:
        kafka.drive(kafka.broker().discover([kafka.topic(1), stream], StartPosition.EARLIEST))
    assert "STREAMKIT_STREAM" in caught.value.fix


def test_lag_counts_to_the_high_watermark(kafka):
    topic = kafka.topic(1)
    kafka.produce(topic, [b"x"] * 100)
    reader = kafka.broker().reader()
    kafka.drive(reader.add(Partition(topic, "0"), StartPosition.EARLIEST))
    small = type(kafka.budget)(10, 1 << 20, 1.0)
    batches = []
    while sum(map(len, batches)) < 100:
        batches += [event for event in kafka.drive(reader.poll(small)) if isinstance(event, Batch)]
    kafka.drive(reader.close())
    assert [batch.lag_records for batch in batches] == [99 - batch.last.sequence for batch in batches]
    assert batches[-1].lag_seconds == 0.0
    assert 0.0 < batches[0].lag_seconds < 120.0
