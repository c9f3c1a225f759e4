"""Real workers, a real stream and a real table of leases, and what the workers' logs say about them."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from tests.promise.aws import client, plain_environment, settings
from tests.promise.kcl.hand_over import Row, lease_rows

__all__ = ["Line", "Place", "Writer"]

HERE = Path(__file__).parent
TOP = 1 << 128


class Line(NamedTuple):
    """What work.py wrote; see there. `peak` is the worker's largest resident memory until then, in KiB (Linux)."""

    at: int
    worker: str
    what: str
    shard: str
    sequence: int
    sub_sequence: int
    name: str
    epoch: int
    peak: int


@dataclass(frozen=True, slots=True)
class _Process:
    popen: subprocess.Popen[bytes]
    errors: Path


class Place:
    """One stream, one group with its table, and workers that come and go. `stop_all` ends what still runs."""

    def __init__(self, kinesis_url: str, dynamodb_url: str, stream: str, folder: Path) -> None:
        self.stream, self.folder = stream, folder
        self.table = self.group = f"promise-{stream}"
        self.gate = folder / "gate"
        self.kinesis = client("kinesis", kinesis_url)
        self.dynamodb = client("dynamodb", dynamodb_url)
        self._environment = (
            plain_environment()
            | settings(kinesis_url, dynamodb_url)
            | {
                "GATE": str(self.gate),
                "STREAMKIT_STREAM": stream,
                "STREAMKIT_GROUP": self.group,
                "STREAMKIT_CHECKPOINT_INTERVAL": "200ms",
                "STREAMKIT_MAX_BATCH": "1",
            }
        )
        self._processes: dict[str, _Process] = {}
        self._started = 0

    # -- the stream --------------------------------------------------------------------------------------------------

    def write(self, names: Sequence[str], *, slice_of: tuple[int, int] = (0, 1), verb: str = "go", more: str = "") -> None:
        """Into the shard that holds the middle of that slice of the hash keys: `(2, 3)` is the last third."""
        index, slices = slice_of
        place = str((2 * index + 1) * TOP // (2 * slices))
        for name in names:
            data = f"{name} {verb} {more}".encode()
            self.kinesis.put_record(StreamName=self.stream, PartitionKey="k", ExplicitHashKey=place, Data=data)

    def change(self, operation: str, **more: str) -> None:
        """A split or a merge, until the stream is active again."""
        getattr(self.kinesis, operation)(StreamName=self.stream, **more)
        deadline = time.monotonic() + 20
        while self.kinesis.describe_stream_summary(StreamName=self.stream)["StreamDescriptionSummary"]["StreamStatus"] != "ACTIVE":
            assert time.monotonic() < deadline, f"{operation} takes too long"
            time.sleep(0.05)

    def rows(self) -> dict[str, Row]:
        """The table in the KCL's own columns."""
        return lease_rows(self.dynamodb, self.table)

    # -- workers -----------------------------------------------------------------------------------------------------

    def start(self, name: str, **variables: str) -> None:
        """`streamkit run` with STREAMKIT_<variable>, in lower case here; GATE and PACE_SECONDS are work.py's own."""
        self._started += 1
        log, errors = (self.folder / f"{self._started:02}-{name}.{kind}" for kind in ("log", "err"))
        told = self._told(variables) | {"STREAMKIT_WORKER": name, "WORKER_LOG": str(log)}
        with errors.open("wb") as file:
            command = [sys.executable, "-m", "streamkit", "run", "work:app"]
            popen = subprocess.Popen(command, cwd=HERE, env=told, stdout=file, stderr=file)
        self._processes[name] = _Process(popen, errors)

    def command(self, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Another command of streamkit, to its end."""
        command = [sys.executable, "-m", "streamkit", *words]
        return subprocess.run(command, cwd=HERE, env=self._told(variables), capture_output=True, text=True, timeout=60, check=False)

    def kill(self, name: str) -> int:
        """SIGKILL; the monotonic time of it in nanoseconds."""
        moment = time.monotonic_ns()
        self._processes[name].popen.kill()
        self._processes.pop(name).popen.wait(10)
        return moment

    def stop(self, name: str) -> int:
        """SIGTERM, and it ends in order; the monotonic time of the signal."""
        moment = time.monotonic_ns()
        process = self._processes.pop(name)
        process.popen.send_signal(signal.SIGTERM)
        assert process.popen.wait(40) == 0, self.errors()
        return moment

    def pid(self, name: str) -> int:
        return self._processes[name].popen.pid

    def freeze(self, name: str) -> None:
        self._processes[name].popen.send_signal(signal.SIGSTOP)

    def thaw(self, name: str) -> int:
        self._processes[name].popen.send_signal(signal.SIGCONT)
        return time.monotonic_ns()

    def end(self) -> None:
        for process in self._processes.values():
            with contextlib.suppress(ProcessLookupError):
                process.popen.kill()
            process.popen.wait(10)

    # -- what they say -----------------------------------------------------------------------------------------------

    def lines(self, what: str = "", worker: str = "", after: int = 0) -> list[Line]:
        """Complete lines of all workers, by time."""
        found = []
        for log in self.folder.glob("*.log"):
            text = log.read_text()
            found += [Line(**json.loads(line)) for line in text[: text.rfind("\n") + 1].splitlines()]
        return sorted(line for line in found if what in ("", line.what) and worker in ("", line.worker) and line.at > after)

    def names(self, worker: str = "", after: int = 0) -> list[str]:
        """Of the records that were done."""
        return [line.name for line in self.lines("record", worker, after)]

    def owner(self, shard: str) -> str:
        """Who began with it last."""
        return next(line.worker for line in reversed(self.lines("begin")) if line.shard == shard)

    def owned(self, worker: str) -> set[str]:
        """The shards that it began with last."""
        return {shard for shard in {line.shard for line in self.lines("begin")} if self.owner(shard) == worker}

    def errors(self) -> str:
        return "\n".join(f"--- {path.name}\n{path.read_text()[-4000:]}" for path in sorted(self.folder.glob("*.err")))

    def until(self, condition: Callable[[], object], what: str, seconds: float = 30.0) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            for name, process in self._processes.items():
                assert process.popen.poll() is None, f"{name} ended with {process.popen.returncode}\n{self.errors()}"
            assert time.monotonic() < deadline, f"{what}: not within {seconds:g} s\n{self.errors()}"
            time.sleep(0.05)

    def _told(self, variables: Mapping[str, str]) -> dict[str, str]:
        own = ("PACE_SECONDS",)
        return self._environment | {name if name in own else f"STREAMKIT_{name.upper()}": value for name, value in variables.items()}


class Writer:
    """Writes a record into each of some slices of the hash keys, again and again, until `end`. Names are `<slice>.<number>`."""

    def __init__(self, place: Place, slices: int, pause_seconds: float = 0.1) -> None:
        self.written: list[str] = []
        self._place, self._slices, self._pause_seconds = place, slices, pause_seconds
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="writer")
        self._thread.start()

    def _run(self) -> None:
        number = 0
        while not self._over.wait(self._pause_seconds):
            for index in range(self._slices):
                self._place.write([f"{index}.{number}"], slice_of=(index, self._slices))
                self.written.append(f"{index}.{number}")
            number += 1

    def end(self) -> None:
        self._over.set()
        self._thread.join(30)
        assert not self._thread.is_alive()
