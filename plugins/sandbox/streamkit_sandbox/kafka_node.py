"""One Kafka process of a sandbox cluster: its folder, its formatting, and the signals a test sends to it."""

from __future__ import annotations

import signal
import uuid
from base64 import urlsafe_b64encode
from collections.abc import Mapping, Sequence
from pathlib import Path

from streamkit_sandbox.errors import ServerStartError
from streamkit_sandbox.kafka_settings import LOGGING, NodeAddress, rendered
from streamkit_sandbox.process import GuardedProcess, log_tail

__all__ = ["KafkaNode", "random_id"]


class KafkaNode:
    """One broker and controller. `command` is the launcher with its options and class path; start() may be called again after an end."""

    def __init__(self, command: Sequence[str], address: NodeAddress, folder: Path, *, remove: Path | None = None) -> None:
        self.address = address
        self.folder = folder
        self.data = folder / "data"
        self.log = folder / "kafka.log"
        self._command = list(command)
        self._remove = remove
        self._process: GuardedProcess | None = None

    def write(self, properties: Mapping[str, str], cluster_id: str, checkpoint: Path) -> None:
        """Writes the settings and formats the data folder, unless it holds data already.

        What `StorageTool format` does takes a JVM 0.8 s: it writes the feature levels (`checkpoint`, equal for every
        node) and the ids.
        """
        self.data.mkdir(parents=True, exist_ok=True)
        (self.folder / "server.properties").write_text(rendered(properties), encoding="utf-8")
        (self.folder / "log4j2.properties").write_text(LOGGING, encoding="utf-8")
        ids = self.data / "meta.properties"
        if not ids.exists():
            (self.data / "bootstrap.checkpoint").write_bytes(checkpoint.read_bytes())
            known = {"cluster.id": cluster_id, "directory.id": random_id(), "node.id": str(self.address.node), "version": "1"}
            ids.write_text(rendered(known), encoding="utf-8")

    def start(self) -> None:
        """Starts the process; returns before it is ready."""
        if self.pid is None:
            # Libraries for compression unpack themselves; what a killed JVM leaves goes with the folder.
            unpacked = self.folder / "tmp"
            unpacked.mkdir(exist_ok=True)
            argv = [*self._command, f"-Dlog4j2.configurationFile={self.folder / 'log4j2.properties'}", f"-Djava.io.tmpdir={unpacked}"]
            argv += ["kafka.Kafka", str(self.folder / "server.properties")]
            self._process = GuardedProcess(argv, log=self.log, folder=self.folder, remove=self._remove)

    @property
    def pid(self) -> int | None:
        """The process id, None when it does not run."""
        process = self._process
        return process.pid if process is not None and process.exit_code() is None else None

    def signal(self, number: int, wait_seconds: float = 0.0) -> None:
        """Sends a signal; with a wait, returns when the process has ended and raises TimeoutError if it has not."""
        if self._process is None:
            return
        self._process.signal(number)
        if wait_seconds and self._process.exit_code(wait_seconds) is None:
            raise TimeoutError(f"Kafka node {self.address.node} did not end within {wait_seconds:g} s of signal {number}")

    def end(self, wait_seconds: float = 0.0) -> None:
        """Kills the process if it still runs after a wait; final."""
        if self._process is not None:
            self._process.exit_code(wait_seconds)
            self._process.end()

    def check_running(self) -> None:
        """Raises ServerStartError with the end of the log if the process has ended."""
        code = self._process.exit_code() if self._process else None
        if code is not None:
            ended = f"ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
            raise self.start_error(ended)

    def start_error(self, cause: str) -> ServerStartError:
        """An error of this node with the end of its log."""
        return ServerStartError("kafka", f"node {self.address.node} {cause}", log_tail(self.log))


def random_id() -> str:
    """An id in Kafka's form; it never begins with a dash, which its tools would take for an option."""
    while (text := urlsafe_b64encode(uuid.uuid4().bytes).rstrip(b"=").decode()).startswith("-"):
        pass
    return text
