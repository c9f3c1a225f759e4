"""The Kinesis Client Library itself, as a peer for tests: Java's MultiLangDaemon 3.1.3 with a child of ours for each shard.

It runs in its 2.x-compatible mode, so its lease table is that of the KCL 2. What was delivered and checkpointed is read
from what the children note (`kcl_child.py`). It serves tests of streamkit beside the KCL and no other purpose, so it is
tuned to be quick, not to be kind to a service: a fresh application still takes half a minute to its first record, because
the library waits up to 30 s at random before it fills an empty lease table; on a filled one it takes 10 s.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from streamkit_sandbox import kcl_child
from streamkit_sandbox.errors import SandboxError
from streamkit_sandbox.java import jars, java_launcher
from streamkit_sandbox.process import GuardedProcess, log_tail

__all__ = ["KCL_VERSION", "KclCheckpoints", "KclDaemon", "KclEvent", "KclRecord", "fetched_kcl"]

KCL_VERSION = "3.1.3"
COORDINATES = (f"software.amazon.kinesis:amazon-kinesis-client-multilang:{KCL_VERSION}",)
_MAIN = "software.amazon.kinesis.multilang.MultiLangDaemon"
_JAVA = ("-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:-UsePerfData", "-Xshare:auto")
_CREDENTIALS = {"AWS_ACCESS_KEY_ID": "sandbox", "AWS_SECRET_ACCESS_KEY": "sandbox", "AWS_SESSION_TOKEN": ""}
_LOOK_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class KclCheckpoints:
    """When the children checkpoint: after `every` records, or at the end of each batch if 0.

    From `freeze_after` records of a shard on (None: never) its child says one more checkpoint and then none, except that of
    the shard's end, so that a window exists that was delivered and not checkpointed. `freeze_inside`: that last one is of
    a record inside an aggregate, whenever such a one comes.
    """

    every: int = 0
    freeze_after: int | None = None
    freeze_inside: bool = False


@dataclass(frozen=True, slots=True)
class KclRecord:
    """A record as the KCL delivered it. `sequence` and `sub_sequence` are those of `streamkit.Position`; `time` is when its child
    noted it, in nanoseconds of the machine's monotonic clock."""

    time: int
    shard: str
    sequence: int
    sub_sequence: int
    key: str
    data: bytes


@dataclass(frozen=True, slots=True)
class KclEvent:
    """What else happened to a shard: initialize, checkpoint, shard_ended, shutdown_requested or lease_lost.

    `sequence` is as the daemon wrote it (TRIM_HORIZON too), None where a checkpoint meant everything delivered.
    `error` is the KCL's refusal of a checkpoint.
    """

    time: int
    name: str
    shard: str
    sequence: str | None = None
    sub_sequence: int | None = None
    error: str | None = None


def fetched_kcl() -> list[str]:
    """The launcher with its class path, fetched if it is not there yet: 74 MB of jars, minutes the first time on a machine.

    Raises ServerUnavailableError when Java or the jars cannot be had.
    """
    return [str(java_launcher("kcl")), *_JAVA, "-cp", os.pathsep.join(str(jar) for jar in jars("kcl", COORDINATES))]


class KclDaemon:
    """One worker of a KCL application. `application` names its lease table; `start()` or `with` starts it.

    `properties` are added to those of the daemon and win. A worker that was ended may be started again, as a new process
    with the same name; what it delivered before is still in `records()`.
    """

    def __init__(
        self,
        stream: str,
        application: str,
        *,
        kinesis_url: str,
        dynamodb_url: str,
        region: str = "us-east-1",
        worker: str = "kcl",
        checkpoints: KclCheckpoints | None = None,
        failover_seconds: float = 10.0,
        properties: Mapping[str, str] | None = None,
    ) -> None:
        self.worker = worker
        self.checkpoints = checkpoints or KclCheckpoints()
        self._properties = {
            "streamName": stream,
            "applicationName": application,
            "workerId": worker,
            "regionName": region,
            "kinesisEndpoint": kinesis_url,
            "dynamoDBEndpoint": dynamodb_url,
            "failoverTimeMillis": str(round(failover_seconds * 1000)),
            **_QUICK,
            **(properties or {}),
        }
        self._folder: Path | None = None
        self._process: GuardedProcess | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def start(self) -> None:
        """Starts the daemon; returns before it has any lease.

        Raises ServerUnavailableError when Java or the jars cannot be had, ServerStartError when the process cannot be run.
        """
        if self.running:
            return
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix="streamkit-kcl-"))
        folder = self._folder
        self._notes.mkdir(exist_ok=True)
        order = folder / "order.json"
        order.write_text(json.dumps({"folder": str(self._notes), **asdict(self.checkpoints)}), encoding="utf-8")
        command = [sys.executable, "-I", "-S", kcl_child.__file__, str(order)]
        if any(" " in part for part in command):
            raise SandboxError(f"the KCL's daemon splits its child's command at spaces, and {' '.join(command)!r} has some in a path")
        properties = {"executableName": " ".join(command), **self._properties}
        file = folder / "daemon.properties"
        file.write_text("".join(f"{name} = {value}\n" for name, value in properties.items()), encoding="utf-8")
        argv = [*fetched_kcl(), _MAIN, "--properties-file", str(file)]
        self._process = GuardedProcess(argv, log=self.log, folder=folder, remove=folder, environment=_CREDENTIALS)

    @property
    def running(self) -> bool:
        """Whether the process runs."""
        return self._process is not None and self._process.exit_code() is None

    @property
    def log(self) -> Path:
        """What the daemon and its children write for people."""
        return self._home / "daemon.log"

    def records(self) -> list[KclRecord]:
        """Everything that was delivered so far, in the order of time."""
        return [
            KclRecord(line["time"], line["shard"], int(line["sequence"]), line["sub_sequence"], line["key"], kcl_child.data_of(line))
            for line in self._lines()
            if line["event"] == "record"
        ]

    def events(self) -> list[KclEvent]:
        """Everything else that happened."""
        return [
            KclEvent(line["time"], line["event"], line["shard"], line.get("sequence"), line.get("sub_sequence"), line.get("error"))
            for line in self._lines()
            if line["event"] != "record"
        ]

    def wait_until(self, condition: Callable[[KclDaemon], bool], timeout_seconds: float = 90.0) -> None:
        """Returns when `condition(self)` holds. Raises SandboxError, with the end of the log, if it does not or the daemon ends."""
        deadline = time.monotonic() + timeout_seconds
        while not condition(self):
            code = self._process.exit_code() if self._process else None
            if code is not None:
                raise self._error(f"ended by itself with {code}")
            if time.monotonic() > deadline:
                raise self._error(f"has not done what was waited for within {timeout_seconds:g} s")
            time.sleep(_LOOK_SECONDS)

    def wait_for_records(self, count: int, timeout_seconds: float = 90.0) -> None:
        """Returns when it has delivered `count` records in all, repeats included."""
        self.wait_until(lambda daemon: len(daemon.records()) >= count, timeout_seconds)

    def stop(self, timeout_seconds: float = 40.0) -> None:
        """SIGTERM: each child is asked to shut down and may checkpoint. Raises TimeoutError if the daemon has not ended by then."""
        self._end(signal.SIGTERM, timeout_seconds)

    def kill(self) -> None:
        """SIGKILL: its leases stay as they are until somebody finds them expired."""
        self._end(signal.SIGKILL, 10.0)

    def close(self) -> None:
        """Kills the daemon if it runs and removes everything that it left; `records()` is empty afterwards."""
        if self._process is not None:
            self._process.end()
            self._process = None
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None

    def _end(self, number: int, timeout_seconds: float) -> None:
        if self._process is None:
            return
        self._process.signal(number)
        if self._process.exit_code(timeout_seconds) is None:
            raise TimeoutError(f"the KCL's daemon did not end within {timeout_seconds:g} s of signal {number}; {log_tail(self.log, 5)}")

    @property
    def _home(self) -> Path:
        if self._folder is None:
            raise SandboxError("this KCL daemon is not started; use it as a context manager or call start()")
        return self._folder

    @property
    def _notes(self) -> Path:
        return self._home / "notes"

    def _lines(self) -> Sequence[kcl_child.Message]:
        """All complete lines of all processes."""
        if self._folder is None:
            return []
        found: list[kcl_child.Message] = []
        for file in self._notes.glob("*.jsonl"):
            text = file.read_bytes()
            found += [json.loads(line) for line in text[: text.rfind(b"\n") + 1].splitlines()]
        return sorted(found, key=lambda line: line["time"])

    def _error(self, cause: str) -> SandboxError:
        # Stack frames are most of what a troubled daemon writes.
        said = [line for line in log_tail(self.log, 400).splitlines() if not line.startswith("\t")]
        return SandboxError("\n  | ".join([f"the KCL's daemon {cause}; the end of its log:", *said[-20:]]))


_QUICK = {
    "clientVersionConfig": "CLIENT_VERSION_CONFIG_COMPATIBLE_WITH_2X",
    "AwsCredentialsProvider": "EnvironmentVariableCredentialsProvider",
    "initialPositionInStream": "TRIM_HORIZON",
    "retrievalMode": "POLLING",
    "metricsLevel": "NONE",
    # The first sync of shards sleeps as long, and so does the search for new ones.
    "shardSyncIntervalMillis": "1000",
    "parentShardPollIntervalMillis": "500",
    "idleTimeBetweenReadsInMillis": "250",
    # Without it the children are not asked to shut down.
    "shutdownGraceMillis": "20000",
}
