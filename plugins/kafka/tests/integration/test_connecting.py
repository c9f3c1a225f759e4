"""Wrong addresses, wrong settings, and a broker that stops: each said plainly, in bounded time. Credentials: test_access.py."""

import socket
import sys
import time
from pathlib import Path

import pytest

from streamkit.errors import (
    BrokerError,
    BrokerUnavailableError,
    ConfigurationError,
    StoreUnavailableError,
)
from streamkit.model import Checkpoint, Partition, Position, StartPosition
from streamkit.plugin import Grant


@pytest.mark.parametrize("silent", [False, True], ids=["refused", "silent"])
def test_a_wrong_address_is_named_in_bounded_time(kafka, silent):
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        if silent:  # if not, the port is taken, and nobody listens there
            listener.listen()
        address = f"127.0.0.1:{listener.getsockname()[1]}"
        began = time.monotonic()
        with pytest.raises(BrokerUnavailableError, match=address) as caught:
            kafka.broker(bootstrap_servers=address, request_timeout="2s")
    assert time.monotonic() - began < 9, "the default is ten seconds"
    assert f"STREAMKIT_KAFKA__BOOTSTRAP_SERVERS={address}" in caught.value.fix
    assert caught.value.retryable


def test_an_unknown_option_is_the_clients_own_words_and_our_variable(kafka):
    with pytest.raises(ConfigurationError, match=r"STREAMKIT_KAFKA__OPTIONS: .*fetch\.max\.bite"):
        kafka.broker(options={"fetch.max.bite": 1})


def test_a_group_of_another_assignor_is_explained(kafka):
    from confluent_kafka import Consumer

    topic = kafka.topic(1)
    other = Consumer({"bootstrap.servers": kafka.server.bootstrap_servers, "group.id": kafka.group, "session.timeout.ms": 6000})
    other.subscribe([topic])
    while not other.assignment():
        other.poll(0.1)
    member = kafka.member(topic)
    with pytest.raises(BrokerError) as caught:
        kafka.until(lambda: other.poll(0), member)
    other.close()
    assert "assignment strategy" in caught.value.fix


def test_two_workers_with_one_instance_id_are_told_apart(kafka, protocol):
    topic = kafka.topic(1)
    options = {"group.instance.id": "same"}
    first = kafka.member(topic, group_protocol=protocol, options=options)
    kafka.until(lambda: first.grants, first)
    second = kafka.member(topic, group_protocol=protocol, options=options)
    with pytest.raises(BrokerError) as caught:
        kafka.until(lambda: False, first, second)
    assert "group.instance.id" in caught.value.fix
    assert not caught.value.retryable


def test_a_broker_without_kip_848_groups_is_told_from_a_mistake(kafka):
    from streamkit_sandbox.kafka import KafkaServer
    from streamkit_sandbox.kafka_topics import create_topic

    with KafkaServer(group_coordinator_rebalance_protocols="classic") as server:
        topic = create_topic(server.bootstrap_servers, 1, {})
        member = kafka.member(topic, bootstrap_servers=server.bootstrap_servers, group_protocol="consumer")
        with pytest.raises(BrokerError) as caught:
            kafka.until(lambda: False, member)
        assert "STREAMKIT_KAFKA__GROUP_PROTOCOL=classic" in caught.value.fix
        member.leave()


def stands_still(pids):
    """All threads of these processes."""
    if sys.platform != "linux":
        time.sleep(1.0)
        return True
    threads = [thread for pid in pids for thread in Path(f"/proc/{pid}/task").iterdir()]
    return all((thread / "stat").read_text().rpartition(")")[2].split()[0] == "T" for thread in threads)


def test_a_frozen_broker_blocks_nothing_for_longer_than_the_request_timeout(kafka):
    from streamkit_kafka.offsets import KafkaOffsets
    from streamkit_sandbox.kafka import KafkaServer
    from streamkit_sandbox.kafka_topics import create_topic

    with KafkaServer() as server:
        topic = create_topic(server.bootstrap_servers, 1, {})
        kafka.produce(topic, [b"x"], servers=server.bootstrap_servers)
        fields = {"bootstrap_servers": server.bootstrap_servers, "request_timeout": "1200ms"}
        member = kafka.member(topic, **fields)
        kafka.until(lambda: member.values, member)
        broker = kafka.broker(**fields)
        store = KafkaOffsets(broker.settings, broker.context)
        kafka.drive(store.open())

        def saved():
            try:
                return not [answer for answer in member.save() if isinstance(answer, Exception)]
            except StoreUnavailableError:  # kept and tried again, until the coordinator is itself again
                return False

        server.pause()
        while not stands_still(server.pids):  # threads stop one by one: a commit begun meanwhile would wait without bound (see commits.py)
            time.sleep(0.05)
        time.sleep(0.3)
        said = 0
        try:
            for use in (
                lambda: member.save(),
                lambda: kafka.drive(store.claim(Partition(topic, "0"), "w1", 0)),
                lambda: kafka.drive(store.save([(Checkpoint(Partition(topic, "0"), StartPosition.at(Position(0))), Grant(None))])),
                lambda: kafka.drive(broker.tips([Partition(topic, "0")])),
            ):
                began = time.monotonic()
                with pytest.raises((StoreUnavailableError, BrokerUnavailableError)):
                    use()
                assert time.monotonic() - began < 9, "the default is ten seconds"
            for _ in range(40):  # said once; librdkafka tries again by itself
                try:
                    member.poll()
                except BrokerUnavailableError:
                    said += 1
        finally:
            server.resume()
        kafka.until(saved, member)
        assert said == 1
        member.leave()
        kafka.drive(store.close())
        kafka.drive(broker.close())
