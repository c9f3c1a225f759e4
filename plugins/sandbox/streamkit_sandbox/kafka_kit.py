"""What starting Kafka needs and what is made once per machine: a launcher, jars, a formatted disk, an archive of classes.

The archive (AppCDS) halves the start; it is made by one start and stop of a node, tied to the launcher and the jars,
and done without when it cannot be made. The JVM itself ignores one that does not fit.
"""

from __future__ import annotations

import hashlib
import logging
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from streamkit_sandbox.cache import cache_folder, made_once
from streamkit_sandbox.errors import SandboxError, ServerStartError
from streamkit_sandbox.java import jars, java_launcher
from streamkit_sandbox.kafka_node import KafkaNode, random_id
from streamkit_sandbox.kafka_security import scram_users
from streamkit_sandbox.kafka_settings import NodeAddress, node_properties, rendered
from streamkit_sandbox.kafka_wire import coordinates_groups
from streamkit_sandbox.loopback import free_ports

__all__ = ["KAFKA_VERSION", "KafkaKit", "kafka_kit"]

KAFKA_VERSION = "4.1.0"
COORDINATES = (
    f"org.apache.kafka:kafka_2.13:{KAFKA_VERSION}",
    "org.apache.logging.log4j:log4j-slf4j-impl:2.24.3",  # without it Kafka logs nothing
)
_FIT_FOR_TESTS = ("-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:-UsePerfData")
_TRAINING_SECONDS = 60.0

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class KafkaKit:
    """The launcher and class path; `checkpoint` is what a formatted disk holds, `archive` None when there is none."""

    java: Path
    class_path: str
    checkpoint: Path
    archive: Path | None

    def command(self, java_options: Sequence[str]) -> list[str]:
        """The launcher with its options, to be followed by a class and its arguments; options given last win."""
        shared = [f"-XX:SharedArchiveFile={self.archive}", "-Xshare:auto", "-Xlog:cds=off", "-Xlog:cds+dynamic=off"] if self.archive else []
        return [str(self.java), *_FIT_FOR_TESTS, *shared, *java_options, "-cp", self.class_path]


def kafka_kit(*, users: bool = False) -> KafkaKit:
    """Fetches and makes what is missing (minutes the first time on a machine, milliseconds later).

    `users`: the disk also holds the user of `kafka_security.py`, because SCRAM asks the cluster's own data.
    Raises ServerUnavailableError when Java or the jars cannot be had.
    """
    java = java_launcher("kafka")
    class_path = os.pathsep.join(str(jar) for jar in jars("kafka", COORDINATES))
    kept = cache_folder() / f"kafka-{KAFKA_VERSION}"
    more = scram_users() if users else []
    mark = f"-{hashlib.sha256(' '.join(more).encode()).hexdigest()[:16]}" if more else ""
    plain = KafkaKit(java, class_path, kept / f"bootstrap{mark}.checkpoint", None)
    made_once(plain.checkpoint, lambda draft: _format(plain, more, draft))
    # A launcher that was updated in place needs a new archive.
    key = hashlib.sha256(f"{java} {java.stat().st_mtime_ns} {class_path}".encode()).hexdigest()[:16]
    archive = made_once(kept / f"classes-{key}.jsa", lambda draft: _archive(plain, draft))
    return KafkaKit(java, class_path, plain.checkpoint, archive if archive.stat().st_size else None)


def _format(kit: KafkaKit, users: Sequence[str], draft: Path) -> None:
    """Lets Kafka's own tool format a folder and keeps the one file of it that is the same for all nodes."""
    with tempfile.TemporaryDirectory(prefix="streamkit-kafka-") as name:
        folder = Path(name)
        address = _alone()
        (folder / "server.properties").write_text(rendered(node_properties(address, [address], folder / "data", {})), encoding="utf-8")
        arguments = ["kafka.tools.StorageTool", "format", "-t", random_id(), "-c", str(folder / "server.properties"), *users]
        done = subprocess.run([*kit.command(()), *arguments], capture_output=True, text=True, timeout=120, check=False)
        if done.returncode != 0:
            raise ServerStartError("kafka", "formatting a disk failed", (done.stdout + done.stderr)[-2000:])
        draft.write_bytes((folder / "data" / "bootstrap.checkpoint").read_bytes())


def _archive(kit: KafkaKit, draft: Path) -> None:
    """Starts and stops one node that writes down its classes at exit; leaves an empty file if that does not work."""
    _log.info("preparing Kafka for fast starts (once)")
    with tempfile.TemporaryDirectory(prefix="streamkit-kafka-") as name:
        address = _alone()
        node = KafkaNode(kit.command([f"-XX:ArchiveClassesAtExit={draft}"]), address, Path(name))
        node.write(node_properties(address, [address], node.data, {}), random_id(), kit.checkpoint)
        try:
            node.start()
            deadline = time.monotonic() + _TRAINING_SECONDS
            # Asking for a coordinator makes the group and log classes part of the archive.
            while not coordinates_groups(address.client_port) and time.monotonic() < deadline:
                node.check_running()
                time.sleep(0.1)
            node.signal(signal.SIGTERM, _TRAINING_SECONDS)
        except (SandboxError, TimeoutError) as error:
            _log.warning("Kafka starts without an archive of classes: %s", error)
        finally:
            node.end()
    if not draft.exists():
        draft.touch()


def _alone() -> NodeAddress:
    client, controller = free_ports(2)
    return NodeAddress(1, client, controller)
