"""The server properties of a Kafka node of the sandbox: where it listens, and what makes it quick.

A keyword `log_retention_ms=1000` overrides `log.retention.ms`; Kafka's names never contain an underscore.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from streamkit_sandbox.loopback import LOOPBACK

__all__ = ["LOGGING", "NodeAddress", "node_properties", "overriding", "rendered"]

FAST: Mapping[str, str] = {
    "auto.create.topics.enable": "false",
    "num.partitions": "4",
    # Groups: no wait for further members, and limits that let a test lose a member within a second if it asks to.
    "group.initial.rebalance.delay.ms": "0",
    "group.min.session.timeout.ms": "1000",
    "group.consumer.min.session.timeout.ms": "1000",
    "group.consumer.session.timeout.ms": "6000",
    "group.consumer.min.heartbeat.interval.ms": "100",
    "group.consumer.heartbeat.interval.ms": "1000",
    # Fewer files: the defaults are 50 partitions for each of the internal topics.
    "offsets.topic.num.partitions": "4",
    "transaction.state.log.num.partitions": "4",
    "share.coordinator.state.topic.num.partitions": "4",
    "log.cleaner.dedupe.buffer.size": "4194304",
    "controlled.shutdown.retry.backoff.ms": "200",
}

LOGGING = """\
status = error
appender.console.type = Console
appender.console.name = console
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = %d{HH:mm:ss.SSS} %p %c{1} %m%n
rootLogger.level = ${sys:streamkit.level:-warn}
rootLogger.appenderRef.console.ref = console
"""


@dataclass(frozen=True, slots=True)
class NodeAddress:
    """A node of the cluster: its id and its ports on loopback."""

    node: int
    client_port: int
    controller_port: int
    further: Mapping[str, int] = field(default_factory=dict)
    """Listeners for clients beside the open one, each with its port."""


def node_properties(
    me: NodeAddress,
    cluster: Sequence[NodeAddress],
    data: Path,
    overrides: Mapping[str, str],
    protocols: Mapping[str, str] = MappingProxyType({}),
) -> dict[str, str]:
    """The properties of one node, broker and controller at once; `overrides` win over all others.

    `protocols`: how each of the node's further listeners speaks, in Kafka's words.
    """
    copies = str(min(3, len(cluster)))
    in_sync = "1" if len(cluster) == 1 else "2"
    # A killed broker may return when its old registration has expired (9 s by default). One node has nobody to wait for.
    session, heartbeat = ("1500", "300") if len(cluster) == 1 else ("2000", "500")
    spoken = {"CONTROLLER": "PLAINTEXT", "PLAINTEXT": "PLAINTEXT", **{name.upper(): protocols[name] for name in me.further}}
    ports = {"PLAINTEXT": me.client_port, **{name.upper(): port for name, port in me.further.items()}}
    clients = ",".join(f"{name}://{LOOPBACK}:{port}" for name, port in ports.items())
    topics = ("offsets.topic", "transaction.state.log", "share.coordinator.state.topic")
    return {
        "process.roles": "broker,controller",
        "node.id": str(me.node),
        "controller.quorum.voters": ",".join(f"{other.node}@{LOOPBACK}:{other.controller_port}" for other in cluster),
        "listeners": f"{clients},CONTROLLER://{LOOPBACK}:{me.controller_port}",
        "advertised.listeners": clients,
        "controller.listener.names": "CONTROLLER",
        "listener.security.protocol.map": ",".join(f"{name}:{protocol}" for name, protocol in spoken.items()),
        "inter.broker.listener.name": "PLAINTEXT",
        "log.dirs": str(data),
        **{f"{topic}.replication.factor": copies for topic in topics},
        "transaction.state.log.min.isr": in_sync,
        "share.coordinator.state.topic.min.isr": in_sync,
        "default.replication.factor": copies,
        "min.insync.replicas": in_sync,
        "broker.session.timeout.ms": session,
        "broker.heartbeat.interval.ms": heartbeat,
        **FAST,
        **overrides,
    }


def overriding(keywords: Mapping[str, str | int | bool]) -> dict[str, str]:
    """Keywords of the constructor as server properties."""
    return {name.replace("_", "."): str(value).lower() if isinstance(value, bool) else str(value) for name, value in keywords.items()}


def rendered(properties: Mapping[str, str]) -> str:
    """The text of a properties file; a backslash is that format's escape character."""
    return "".join(f"{name}={value}\n" for name, value in properties.items()).replace("\\", "\\\\")
