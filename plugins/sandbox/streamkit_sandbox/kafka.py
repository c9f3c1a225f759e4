"""Apache Kafka itself on loopback: one node or three, with the signals that a test of failures needs.

It needs no client library: it is ready when each broker's own answer to a Metadata request lists every broker.
Linux and macOS. A process under a guard cannot outlive this one (see `process.py`).
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import tempfile
import time
import weakref
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from streamkit_sandbox.errors import SandboxError, ServerUnavailableError
from streamkit_sandbox.kafka_kit import kafka_kit
from streamkit_sandbox.kafka_node import KafkaNode, random_id
from streamkit_sandbox.kafka_security import LISTENERS, Security
from streamkit_sandbox.kafka_settings import NodeAddress, node_properties, overriding
from streamkit_sandbox.kafka_wire import coordinates_groups, listed_brokers
from streamkit_sandbox.loopback import LOOPBACK, free_ports

__all__ = ["KafkaServer"]

_STOP_SECONDS = 30.0
_CLOSE_SECONDS = 10.0
_POLL_SECONDS = 0.02


class KafkaServer:
    """A Kafka cluster in KRaft mode, every node broker and controller; started by `start()` or by `with`.

    `folder` keeps the data of one node or of all between two servers (the ports change); without it the data goes to a
    temporary folder that `close()` removes. Keywords are server properties with underscores for dots, for example
    `group_consumer_session_timeout_ms=3000`; they win over the quick defaults of `kafka_settings.py`.
    `security=True` adds listeners with TLS and logins (`kafka_security.py`); `security` then has the certificates.
    `java_options` come after the small heap and quick compiler of tests: `["-Xmx1g", "-XX:TieredStopAtLevel=4"]` for rates.

    Brokers are counted from 0. Not thread-safe. `start` and `restart` raise ServerUnavailableError if Java or Kafka
    cannot be had and ServerStartError, with the end of the log, if a node is not ready within `start_timeout_seconds`.
    """

    def __init__(
        self,
        brokers: int = 1,
        folder: Path | str | None = None,
        *,
        security: bool = False,
        java_options: Sequence[str] = (),
        start_timeout_seconds: float = 60.0,
        **server_properties: str | int | bool,
    ) -> None:
        if brokers not in (1, 3):
            raise SandboxError(f"brokers={brokers} makes no quorum worth testing; use 1 or 3")
        self._brokers = brokers
        self._chosen_folder = None if folder is None else Path(folder).absolute()
        self._secure = security
        self._security: Security | None = None
        self._java_options = tuple(java_options)
        self._start_timeout_seconds = start_timeout_seconds
        self._overrides = overriding(server_properties)
        self._nodes: list[KafkaNode] = []
        self._finish: weakref.finalize[[list[KafkaNode], Path | None, int], KafkaServer] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def start(self) -> None:
        """Starts every node and returns when all of them serve; does nothing if already started."""
        if self._nodes:
            return
        if sys.platform == "win32":
            raise ServerUnavailableError("kafka", "the sandbox ends servers by POSIX signals", "use Linux, macOS or WSL")
        kit = kafka_kit(users=self._secure)
        temporary = None if self._chosen_folder else Path(tempfile.mkdtemp(prefix="streamkit-kafka-"))
        folder = self._chosen_folder or temporary
        assert folder is not None
        # Also called when this object is dropped and at interpreter exit.
        self._finish = weakref.finalize(self, _end, self._nodes, temporary, os.getpid())
        further = LISTENERS if self._secure else {}
        ports = iter(free_ports((2 + len(further)) * self._brokers))
        addresses = [NodeAddress(n + 1, next(ports), next(ports), {name: next(ports) for name in further}) for n in range(self._brokers)]
        cluster_id = _cluster_id(folder)
        try:
            self._security = Security(folder / "security") if self._secure else None
            overrides = {**(self._security.properties if self._security else {}), **self._overrides}
            for address in addresses:
                node = KafkaNode(kit.command(self._java_options), address, folder / f"node-{address.node}", remove=temporary)
                node.write(node_properties(address, addresses, node.data, overrides, further), cluster_id, kit.checkpoint)
                self._nodes.append(node)
                node.start()
            self._wait_ready(self._nodes)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Kills every node and removes the temporary folder (in a folder of the caller's it stops them in order).

        May be called again; `start()` begins anew.
        """
        if self._finish is not None:
            self._finish()
        self._nodes = []

    @property
    def bootstrap_servers(self) -> str:
        """`127.0.0.1:PORT` of every broker, with commas; the same after a restart. Without TLS or login."""
        return ",".join(f"{LOOPBACK}:{node.address.client_port}" for node in self._started())

    @property
    def security(self) -> Security:
        """Its certificates and keys. Raises SandboxError for a server without them."""
        self._started()
        if self._security is None:
            raise SandboxError("this server has only an open listener; use KafkaServer(security=True)")
        return self._security

    @property
    def pids(self) -> list[int]:
        """The process ids of the brokers that run."""
        return [pid for node in self._nodes if (pid := node.pid) is not None]

    @property
    def logs(self) -> list[Path]:
        """What each broker wrote (warnings and worse)."""
        return [node.log for node in self._started()]

    def settings(self, listener: str = "", mechanism: str = "") -> dict[str, str]:
        """The environment variables that point streamkit at this cluster.

        With `security=True` also through `ssl`, `mtls`, or `sasl_plaintext` and `sasl_ssl` with PLAIN, SCRAM-SHA-256,
        SCRAM-SHA-512 or OAUTHBEARER. Raises SandboxError for a listener or a mechanism that is not there.
        """
        access = self.security.settings(listener, mechanism) if listener or mechanism else {}
        ports = [node.address.further[listener] if listener else node.address.client_port for node in self._started()]
        servers = ",".join(f"{LOOPBACK}:{port}" for port in ports)
        return {"STREAMKIT_BROKER": "kafka", "STREAMKIT_KAFKA__BOOTSTRAP_SERVERS": servers, **access}

    def kill(self, broker: int = 0) -> None:
        """SIGKILL; returns when the process is gone."""
        self._started()[broker].signal(signal.SIGKILL, _STOP_SECONDS)

    def stop(self, broker: int = 0) -> None:
        """SIGTERM, an orderly shutdown; returns when the process is gone, raises TimeoutError after 30 s."""
        self._started()[broker].signal(signal.SIGTERM, _STOP_SECONDS)

    def pause(self, broker: int = 0) -> None:
        """SIGSTOP: connections stay open and nothing is answered."""
        self._started()[broker].signal(signal.SIGSTOP)

    def resume(self, broker: int = 0) -> None:
        """SIGCONT."""
        self._started()[broker].signal(signal.SIGCONT)

    def restart(self, broker: int = 0) -> None:
        """Starts a broker that was killed or stopped (stops it first if it runs), with its data and at its ports."""
        node = self._started()[broker]
        if node.pid is not None:
            self.stop(broker)
        node.start()
        self._wait_ready([node])

    def _started(self) -> list[KafkaNode]:
        if not self._nodes:
            raise SandboxError("the Kafka server is not started; use `with KafkaServer() as server` or call start()")
        return self._nodes

    def _wait_ready(self, nodes: Sequence[KafkaNode]) -> None:
        """Returns when each of `nodes` says that all of them are in the cluster, and groups have a coordinator."""
        wanted = {node.address.node for node in nodes}
        deadline = time.monotonic() + self._start_timeout_seconds
        for node in nodes:
            port = node.address.client_port
            while not (listed_brokers(port) >= wanted and coordinates_groups(port)):
                node.check_running()
                if time.monotonic() > deadline:
                    raise node.start_error(f"was not ready after {self._start_timeout_seconds:g} s")
                time.sleep(_POLL_SECONDS)


def _cluster_id(folder: Path) -> str:
    """The id of the cluster whose data lies in `folder`, else a new one."""
    for ids in folder.glob("node-*/data/meta.properties"):
        for line in ids.read_text(encoding="utf-8").splitlines():
            name, _, value = line.partition("=")
            if name == "cluster.id":
                return value
    return random_id()


def _end(nodes: list[KafkaNode], temporary: Path | None, owner: int) -> None:
    # A forked child inherits the finalizer; the servers are not its own.
    if os.getpid() != owner:
        return
    if temporary is None:
        # Data that somebody keeps deserves an orderly end; it also makes the next start quicker.
        for node in nodes:
            node.signal(signal.SIGTERM)
    for node in nodes:
        node.end(wait_seconds=0.0 if temporary else _CLOSE_SECONDS)
    if temporary is not None:
        shutil.rmtree(temporary, ignore_errors=True)
