"""The producer answers for each record, and only when the broker has it."""

import asyncio

import pytest

from streamkit.errors import BrokerError, BrokerUnavailableError, StreamGoneError
from streamkit.model import Batch, Partition, StartPosition
from streamkit.plugin import NewRecord


def sending(kafka, work, **fields):
    """Runs `work(producer)` in a loop of its own, between open and close."""
    from streamkit_kafka.producer import KafkaProducer

    context = kafka.broker(**fields).context

    async def body():
        producer = KafkaProducer(kafka.settings(**fields), context)
        await producer.open()
        try:
            return await work(producer)
        finally:
            await producer.close()

    return asyncio.run(body())


def read_all(kafka, topic, partitions, count):
    reader = kafka.broker().reader()
    for number in range(partitions):
        kafka.drive(reader.add(Partition(topic, str(number)), StartPosition.EARLIEST))
    found = []
    while len(found) < count:
        found += [record for event in kafka.drive(reader.poll(kafka.budget)) if isinstance(event, Batch) for record in event]
    kafka.drive(reader.close())
    return found


def test_one_bad_record_does_not_fail_the_others(kafka):
    topic = kafka.topic(1)
    records = [
        NewRecord(b"1"),
        NewRecord(b"x" * 2_000_000),
        NewRecord(b"2", partition="9"),
        NewRecord(b"3", partition="zero"),
        NewRecord(b"4"),
    ]
    answers = sending(kafka, lambda producer: producer.send(topic, records), options={"message.timeout.ms": 10_000})
    assert [type(answer) for answer in answers] == [type(None), BrokerError, StreamGoneError, BrokerError, type(None)]
    assert "message.max.bytes" in answers[1].fix
    assert [record.value for record in read_all(kafka, topic, 1, 2)] == [b"1", b"4"]


def test_sends_of_many_pipelines_run_beside_one_another_and_keys_keep_their_order(kafka):
    topic = kafka.topic(4)

    async def many(producer):
        sends = [producer.send(topic, [NewRecord(b"%d" % n, b"key%d" % pipeline) for n in range(300)]) for pipeline in range(20)]
        return await asyncio.gather(*sends)

    answers = sending(kafka, many, options={"queue.buffering.max.messages": 1000})
    assert answers == [[None] * 300] * 20
    by_key = {}
    for record in read_all(kafka, topic, 4, 6000):
        by_key.setdefault(record.key, []).append(int(record.value))
    assert list(by_key.values()) == [list(range(300))] * 20


def test_without_an_acknowledgement_the_answer_is_an_error_in_bounded_time(kafka):
    from streamkit_sandbox.kafka import KafkaServer
    from streamkit_sandbox.kafka_topics import create_topic

    with KafkaServer() as server:
        topic = create_topic(server.bootstrap_servers, 1, {})

        async def into_the_void(producer):
            server.pause()
            try:
                return await producer.send(topic, [NewRecord(b"x")])
            finally:
                server.resume()

        fields = {"bootstrap_servers": server.bootstrap_servers, "options": {"message.timeout.ms": 1500}}
        [answer] = sending(kafka, into_the_void, **fields)
    assert isinstance(answer, BrokerUnavailableError)
    assert answer.retryable


def test_after_close_nothing_is_sent_and_no_thread_is_left(kafka):
    import threading

    kept = []

    async def keep(producer):
        kept.append(producer)
        return await producer.send(kafka.topic(1), [])

    assert sending(kafka, keep) == []
    with pytest.raises(BrokerUnavailableError, match="closed"):
        asyncio.run(kept[0].send("t", [NewRecord(b"x")]))
    assert not [thread for thread in threading.enumerate() if thread.name == "streamkit-kafka-reports"]
