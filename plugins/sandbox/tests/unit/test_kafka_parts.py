"""The parts of the Kafka server that need no Kafka: properties, ports, the handwritten requests, the catalogue."""

from __future__ import annotations

import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from streamkit_sandbox.catalog import SERVERS
from streamkit_sandbox.errors import SandboxError
from streamkit_sandbox.kafka import KafkaServer
from streamkit_sandbox.kafka_mock import MockKafka
from streamkit_sandbox.kafka_node import random_id
from streamkit_sandbox.kafka_security import LISTENERS, MECHANISMS, PASSWORD, Security
from streamkit_sandbox.kafka_settings import NodeAddress, node_properties, overriding
from streamkit_sandbox.kafka_wire import coordinates_groups, listed_brokers
from streamkit_sandbox.loopback import free_ports

CLUSTER = [NodeAddress(node, 20_000 + node, 21_000 + node) for node in (1, 2, 3)]


def test_every_address_of_every_node_is_loopback() -> None:
    properties = node_properties(CLUSTER[1], CLUSTER, Path("data"), {})
    for name in ("listeners", "advertised.listeners"):
        assert all("//127.0.0.1:" in listener for listener in properties[name].split(","))
    assert properties["controller.quorum.voters"] == "1@127.0.0.1:21001,2@127.0.0.1:21002,3@127.0.0.1:21003"


def test_three_nodes_keep_three_copies_and_one_keeps_one() -> None:
    three = node_properties(CLUSTER[0], CLUSTER, Path("data"), {})
    one = node_properties(CLUSTER[0], CLUSTER[:1], Path("data"), {})
    names = ("offsets.topic.replication.factor", "default.replication.factor", "transaction.state.log.min.isr", "min.insync.replicas")
    assert [three[name] for name in names] == ["3", "3", "2", "2"]
    assert [one[name] for name in names] == ["1", "1", "1", "1"]


def test_a_keyword_is_a_server_property_and_wins() -> None:
    keywords = overriding({"group_consumer_session_timeout_ms": 2000, "auto_create_topics_enable": True, "log.dirs": "x"})
    assert keywords == {"group.consumer.session.timeout.ms": "2000", "auto.create.topics.enable": "true", "log.dirs": "x"}
    assert node_properties(CLUSTER[0], CLUSTER, Path("data"), keywords).items() >= keywords.items()


def test_further_listeners_are_loopback_too_and_each_speaks_as_it_was_told() -> None:
    me = NodeAddress(1, 20_001, 21_001, {"ssl": 22_001, "sasl_ssl": 22_002})
    properties = node_properties(me, [me], Path("data"), {}, LISTENERS)
    clients = "PLAINTEXT://127.0.0.1:20001,SSL://127.0.0.1:22001,SASL_SSL://127.0.0.1:22002"
    assert properties["advertised.listeners"] == clients
    assert properties["listeners"] == f"{clients},CONTROLLER://127.0.0.1:21001"
    spoken = "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SSL:SSL,SASL_SSL:SASL_SSL"
    assert properties["listener.security.protocol.map"] == spoken


def test_the_certificate_is_for_the_address_and_for_no_name(tmp_path: Path) -> None:
    from cryptography import x509

    Security(tmp_path)
    certificate = x509.load_pem_x509_certificate((tmp_path / "server.pem").read_bytes())
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert [str(name.value) for name in names] == ["127.0.0.1"]


def test_keys_and_certificates_are_made_anew_for_each_server(tmp_path: Path) -> None:
    first, second = Security(tmp_path / "1"), Security(tmp_path / "2")
    assert first.authority.read_bytes() != second.authority.read_bytes()
    assert first.client_key.read_bytes() != second.client_key.read_bytes()


def test_each_way_in_has_the_variables_that_it_needs_and_no_others(tmp_path: Path) -> None:
    security = Security(tmp_path)
    assert set(security.settings("ssl", "")) == {"STREAMKIT_KAFKA__SECURITY_PROTOCOL", "STREAMKIT_KAFKA__SSL_CA_LOCATION"}
    assert str(security.client_key) in security.settings("mtls", "")["STREAMKIT_KAFKA__OPTIONS"]
    for mechanism in MECHANISMS:
        found = security.settings("sasl_plaintext", mechanism)
        assert "STREAMKIT_KAFKA__SSL_CA_LOCATION" not in found
        assert (found.get("STREAMKIT_KAFKA__SASL_PASSWORD") == PASSWORD) is (mechanism != "OAUTHBEARER")


@pytest.mark.parametrize(("listener", "mechanism"), [("tls", ""), ("ssl", "PLAIN"), ("sasl_ssl", ""), ("sasl_ssl", "plain"), ("", "PLAIN")])
def test_a_way_in_that_is_not_there_is_refused_with_those_that_are(tmp_path: Path, listener: str, mechanism: str) -> None:
    with pytest.raises(SandboxError, match="use ssl, mtls, sasl_plaintext, sasl_ssl, and for sasl one of PLAIN"):
        Security(tmp_path).settings(listener, mechanism)


def test_free_ports_differ_and_lie_below_the_ports_of_outgoing_connections() -> None:
    ports = free_ports(6)
    assert len(set(ports)) == 6
    assert all(12_000 <= port < 32_000 for port in ports)


def test_an_id_is_never_taken_for_an_option() -> None:
    assert not any(random_id().startswith("-") for _ in range(500))


def test_a_cluster_of_two_is_refused() -> None:
    with pytest.raises(SandboxError, match="use 1 or 3"):
        KafkaServer(brokers=2)


@pytest.mark.parametrize("server", [KafkaServer(), MockKafka()])
def test_a_server_that_is_not_started_says_so(server: KafkaServer | MockKafka) -> None:
    with pytest.raises(SandboxError, match="is not started"):
        server.settings()
    server.close()


@contextmanager
def answering(answer: Callable[[bytes], bytes]) -> Iterator[int]:
    """A listener on loopback for one connection."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                (size,) = struct.unpack(">i", connection.recv(4))
                connection.sendall(answer(connection.recv(size)))

        thread = threading.Thread(target=serve)
        thread.start()
        yield listener.getsockname()[1]
        thread.join()


def framed(body: bytes) -> bytes:
    return struct.pack(">i", len(body)) + body


def test_the_brokers_of_a_metadata_answer_are_read_with_and_without_a_rack() -> None:
    def answer(request: bytes) -> bytes:
        assert request[:8] == struct.pack(">hhi", 3, 1, 1)
        brokers = [struct.pack(">ih", 4, 4) + b"host" + struct.pack(">ih", 9092, -1), struct.pack(">ih", 7, 1) + b"h"]
        brokers[1] += struct.pack(">ih", 9092, 2) + b"r1"
        return framed(request[4:8] + struct.pack(">i", 2) + b"".join(brokers) + struct.pack(">ii", 4, 0))

    with answering(answer) as port:
        assert listed_brokers(port) == {4, 7}


@pytest.mark.parametrize(("code", "known"), [(0, True), (15, False)])
def test_a_group_has_a_coordinator_when_the_broker_says_so(code: int, known: bool) -> None:
    with answering(lambda request: framed(request[4:8] + struct.pack(">h", code))) as port:
        assert coordinates_groups(port) is known


def test_a_torn_answer_or_none_means_not_ready() -> None:
    with answering(lambda request: b"\x00\x00\x00\x10half") as port:
        assert listed_brokers(port) == frozenset()
    (closed,) = free_ports(1)
    assert listed_brokers(closed) == frozenset()
    assert not coordinates_groups(closed)


def test_each_entry_of_the_catalogue_starts_nothing_until_entered() -> None:
    for name, entry in SERVERS.items():
        assert entry.name == name
        assert entry.description
        assert "\n" not in entry.description
        assert hasattr(entry.start(), "__enter__")


def test_the_fixtures_and_the_catalogue_import_nothing_heavy() -> None:
    code = (
        "import sys, pytest; before = set(sys.modules)\n"
        "import streamkit_sandbox.pytest_plugin, streamkit_sandbox.catalog\n"
        "print(*sorted(name for name in set(sys.modules) - before if not name.startswith('_')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["streamkit_sandbox", "streamkit_sandbox.catalog", "streamkit_sandbox.pytest_plugin"]
