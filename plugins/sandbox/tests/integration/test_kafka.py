"""The real broker: its data survives what a test does to it, and nothing of it survives the test."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from streamkit_sandbox.catalog import SERVERS
from streamkit_sandbox.errors import SandboxError, ServerStartError, ServerUnavailableError
from streamkit_sandbox.kafka import KafkaServer
from streamkit_sandbox.kafka_security import PASSWORD, USER
from streamkit_sandbox.kafka_topics import create_topic
from streamkit_sandbox.kafka_wire import listed_brokers
from streamkit_sandbox.pytest_plugin import missing

ck = pytest.importorskip("confluent_kafka")
pytest.importorskip("confluent_kafka.admin")
pytestmark = pytest.mark.integration

LISTENING = "0A"
LOOPBACK = {"0100007F", "0000000000000000FFFF00000100007F", "00000000000000000000000001000000"}


def started(server: KafkaServer) -> KafkaServer:
    try:
        server.start()
    except ServerUnavailableError as error:
        missing(str(error))
    return server


@pytest.fixture(scope="module")
def server() -> Iterator[KafkaServer]:
    """A node of this file's own, to be killed."""
    server = started(KafkaServer())
    yield server
    server.close()


def produce(server: KafkaServer, topic: str, count: int) -> None:
    producer = ck.Producer({"bootstrap.servers": server.bootstrap_servers})
    for number in range(count):
        producer.produce(topic, str(number).encode())
    assert producer.flush(30) == 0


def read_and_commit(server: KafkaServer, topic: str, count: int, protocol: str = "classic") -> list[bytes]:
    """The next records of the group `readers`, as many as asked for, committed."""
    settings = {"bootstrap.servers": server.bootstrap_servers, "group.id": f"readers-{topic}", "enable.auto.commit": False}
    consumer = ck.Consumer(settings | {"auto.offset.reset": "earliest", "group.protocol": protocol})
    consumer.subscribe([topic])
    found: list[bytes] = []
    while len(found) < count:
        (message,) = consumer.consume(1, timeout=30)
        assert message.error() is None
        found.append(message.value())
    consumer.commit(message, asynchronous=False)
    consumer.close()
    return found


def running(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


@pytest.mark.parametrize("protocol", ["classic", "consumer"])
def test_records_and_commits_survive_a_kill_and_a_restart(server: KafkaServer, protocol: str) -> None:
    topic = create_topic(server.bootstrap_servers, 1, {})
    produce(server, topic, 10)
    assert read_and_commit(server, topic, 4, protocol) == [b"0", b"1", b"2", b"3"]
    before, address = server.pids, server.bootstrap_servers
    server.kill()
    assert server.pids == []
    server.restart()
    assert server.bootstrap_servers == address
    assert server.pids != before
    assert read_and_commit(server, topic, 6, protocol) == [b"4", b"5", b"6", b"7", b"8", b"9"]


def test_an_orderly_stop_and_a_restart_keep_the_address(server: KafkaServer) -> None:
    address = server.bootstrap_servers
    server.stop()
    assert server.pids == []
    server.restart()
    server.restart()  # of one that runs
    assert (server.bootstrap_servers, len(server.pids)) == (address, 1)


def test_a_paused_broker_answers_nothing_until_it_is_resumed(server: KafkaServer) -> None:
    port = int(server.bootstrap_servers.rpartition(":")[2])
    server.pause()
    assert listed_brokers(port, timeout_seconds=0.3) == frozenset()
    server.resume()
    assert listed_brokers(port, timeout_seconds=60) == {1}


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_broker_listens_on_loopback_only(server: KafkaServer) -> None:
    (pid,) = server.pids
    hosts = listening(pid)
    assert len(hosts) == 2  # for clients and for controllers
    assert set(hosts) <= LOOPBACK


def listening(pid: int) -> list[str]:
    """The hosts of each socket on which that process listens, as /proc writes them."""
    links = [os.readlink(entry) for entry in Path(f"/proc/{pid}/fd").iterdir() if entry.is_symlink()]
    own = {link[len("socket:[") : -1] for link in links if link.startswith("socket:[")}
    rows = [line.split() for name in ("tcp", "tcp6") for line in Path(f"/proc/{pid}/net/{name}").read_text().splitlines()[1:]]
    return [row[1].partition(":")[0] for row in rows if row[3] == LISTENING and row[9] in own]


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_broker_with_security_listens_on_loopback_only_and_keeps_its_ports_and_its_user_over_a_restart() -> None:
    with started(KafkaServer(security=True)) as server:
        (pid,) = server.pids
        assert set(listening(pid)) <= LOOPBACK
        assert len(listening(pid)) == 6  # open, controllers, and four more
        before = server.settings("sasl_ssl", "SCRAM-SHA-512")
        server.kill()
        server.restart()
        assert server.settings("sasl_ssl", "SCRAM-SHA-512") == before
        admin = ck.admin.AdminClient(
            {
                "bootstrap.servers": before["STREAMKIT_KAFKA__BOOTSTRAP_SERVERS"],
                "security.protocol": "sasl_ssl",
                "ssl.ca.location": str(server.security.authority),
                "sasl.mechanism": "SCRAM-SHA-512",
                "sasl.username": USER,
                "sasl.password": PASSWORD,
            }
        )
        assert admin.list_topics(timeout=60).cluster_id


def test_a_server_without_security_says_so(server: KafkaServer) -> None:
    with pytest.raises(SandboxError, match="security=True"):
        server.settings("ssl")


def test_closing_ends_the_process_and_removes_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    server = started(KafkaServer())
    (pid,) = server.pids
    assert list(tmp_path.iterdir())
    server.close()
    server.close()
    assert not running(pid)
    assert not list(tmp_path.iterdir())


def test_a_folder_of_ones_own_keeps_the_data_for_the_next_server(tmp_path: Path) -> None:
    with started(KafkaServer(folder=tmp_path)) as server:
        topic = create_topic(server.bootstrap_servers, 1, {})
        produce(server, topic, 1)
    with KafkaServer(folder=tmp_path) as server:
        assert read_and_commit(server, topic, 1) == [b"0"]


def test_a_broker_that_ends_at_once_is_an_error_with_the_end_of_its_log(tmp_path: Path) -> None:
    server = KafkaServer(folder=tmp_path, log_retention_ms="never")
    with pytest.raises(ServerStartError, match="ended with exit code 1") as caught:
        started(server)
    assert "log.retention.ms" in caught.value.log_tail
    assert server.pids == []


@pytest.mark.skipif(sys.platform != "linux", reason="watches processes through pidfd")
def test_a_killed_test_run_takes_its_broker_along(tmp_path: Path) -> None:
    code = "import sys; from streamkit_sandbox.kafka import KafkaServer; s = KafkaServer(); s.start(); print(*s.pids, flush=True)"
    code += "; sys.stdin.read()"
    environment = os.environ | {"TMPDIR": str(tmp_path)}
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment) as owner:
        assert owner.stdout is not None
        watched = os.pidfd_open(int(owner.stdout.readline()))
        owner.send_signal(signal.SIGKILL)
        assert select.select([watched], [], [], 60)[0]
    os.close(watched)


def test_three_brokers_know_each_other_and_two_of_them_carry_on() -> None:
    with started(KafkaServer(brokers=3)) as server:
        ports = [int(address.rpartition(":")[2]) for address in server.bootstrap_servers.split(",")]
        assert len(server.pids) == 3
        assert [listed_brokers(port) for port in ports] == [{1, 2, 3}] * 3
        topic = create_topic(server.bootstrap_servers, 3, {})
        server.kill(2)
        produce(server, topic, 30)
        server.restart(2)
        assert len(server.pids) == 3


def test_the_fixtures_give_a_server_and_topics_of_the_tests_own(kafka_server: KafkaServer, kafka_topic: Callable[..., str]) -> None:
    names = kafka_topic(3, cleanup_policy="compact"), kafka_topic()
    found = ck.Producer({"bootstrap.servers": kafka_server.bootstrap_servers}).list_topics(timeout=60).topics
    assert [len(found[name].partitions) for name in names] == [3, 1]


def test_the_catalogue_starts_it_with_settings_to_paste() -> None:
    try:
        with SERVERS["kafka"].start() as server:
            settings = server.settings()
    except ServerUnavailableError as error:
        missing(str(error))
    assert settings["STREAMKIT_BROKER"] == "kafka"
    assert settings["STREAMKIT_KAFKA__BOOTSTRAP_SERVERS"].startswith("127.0.0.1:")
