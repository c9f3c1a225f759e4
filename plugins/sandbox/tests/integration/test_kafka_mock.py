"""The mock cluster in its child process."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from streamkit_sandbox.errors import SandboxError, ServerUnavailableError
from streamkit_sandbox.kafka_mock import MockKafka

ck = pytest.importorskip("confluent_kafka")
PRODUCE, REQUEST_TIMED_OUT, MESSAGE_TOO_LARGE = 0, 7, 10


@pytest.fixture
def mock() -> Iterator[MockKafka]:
    with MockKafka(brokers=3) as mock:
        yield mock


def produce(bootstrap_servers: str, topic: str) -> int | None:
    """The error code of sending one record, None if it was taken."""
    errors: list[int | None] = []
    producer = ck.Producer({"bootstrap.servers": bootstrap_servers, "message.timeout.ms": 5000})
    producer.produce(topic, b"x", on_delivery=lambda error, _: errors.append(error.code() if error else None))
    assert producer.flush(10) == 0
    return errors[0]


def test_a_topic_has_the_partitions_that_were_asked_for(mock: MockKafka) -> None:
    mock.create_topic("seven", 7)
    found = ck.Producer({"bootstrap.servers": mock.bootstrap_servers}).list_topics("seven", timeout=60)
    assert len(found.topics["seven"].partitions) == 7
    assert len(found.brokers) == len(mock.bootstrap_servers.split(",")) == 3


def test_a_pushed_error_meets_the_next_request_and_only_that(mock: MockKafka) -> None:
    mock.create_topic("t", 1)
    mock.push_errors(PRODUCE, [MESSAGE_TOO_LARGE])
    assert [produce(mock.bootstrap_servers, "t") for _ in range(2)] == [MESSAGE_TOO_LARGE, None]


def test_errors_that_were_taken_back_meet_nobody(mock: MockKafka) -> None:
    mock.create_topic("t", 1)
    mock.push_errors(PRODUCE, [MESSAGE_TOO_LARGE])
    mock.clear_errors(PRODUCE)
    assert produce(mock.bootstrap_servers, "t") is None


def test_a_refused_command_is_an_error_and_the_cluster_goes_on(mock: MockKafka) -> None:
    mock.create_topic("t", 1)
    with pytest.raises(SandboxError, match="refused create_topic"):
        mock.create_topic("t", 1)
    with pytest.raises(SandboxError, match="use 1 or more"):
        mock.create_topic("u", 0)
    for command in (mock.set_down, mock.set_up):
        command()
    mock.set_round_trip(1)
    mock.set_leader("t", 0, 2)
    mock.delete_records("t", 0, 0)
    mock.delete_topic("t")


def test_a_killed_cluster_is_gone_and_says_so(mock: MockKafka) -> None:
    mock.kill()
    with pytest.raises(SandboxError, match="has ended"):
        mock.create_topic("t", 1)


@pytest.mark.skipif(sys.platform != "linux", reason="watches processes through pidfd")
def test_the_cluster_dies_with_its_killed_owner() -> None:
    code = "import sys; from streamkit_sandbox.kafka_mock import MockKafka; m = MockKafka(); m.start(); print(m.pid, flush=True)"
    code += "; sys.stdin.read()"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout is not None
        watched = os.pidfd_open(int(owner.stdout.readline()))
        owner.send_signal(signal.SIGKILL)
        assert select.select([watched], [], [], 10)[0]
    os.close(watched)


def test_without_confluent_kafka_the_error_says_what_to_install() -> None:
    code = (
        "from streamkit_sandbox.kafka_mock import MockKafka\n"
        "from streamkit_sandbox.errors import ServerUnavailableError\n"
        "try:\n    MockKafka().start()\nexcept ServerUnavailableError as error:\n    print(error)"
    )
    package = Path(sys.modules[MockKafka.__module__].__file__ or "").parents[1]
    done = subprocess.run([sys.executable, "-S", "-c", code], env={"PYTHONPATH": str(package)}, capture_output=True, text=True, check=True)
    assert done.stdout == "kafka-mock is not available: confluent-kafka is not installed; install streamkit-kafka\n"
    assert ServerUnavailableError.__mro__[1] is SandboxError


def test_the_fixture_is_a_running_cluster(kafka_mock: MockKafka) -> None:
    assert kafka_mock.settings()["STREAMKIT_KAFKA__BOOTSTRAP_SERVERS"] == kafka_mock.bootstrap_servers
