"""Real workers on one stream with leases in a store, and what their logs say about them. Each broker adds a place of its own.

The workers run `work.py`. What a test asks of the stream and of the store, each broker answers in its own way: `Place`.
"""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

from streamkit_sandbox.fault_proxy import Fault

from tests.promise.aws import plain_environment

__all__ = ["Line", "MakePlace", "Place", "Row", "Writer"]

HERE = Path(__file__).parent
LIMIT_SECONDS = 60.0


class Line(NamedTuple):
    """What work.py wrote; see there. `peak` is the worker's largest resident memory until then, in KiB; 0 but on Linux."""

    at: int
    worker: str
    what: str
    partition: str
    sequence: int
    sub_sequence: int
    name: str
    epoch: int
    peak: int


class Row(NamedTuple):
    """A lease, as the store's own format has it: what programs of others would read."""

    sequence: int | None
    """None: it stands before the first record, or where START said."""
    owner: str
    """The worker's name; empty: nobody."""
    epoch: int


@dataclass(frozen=True, slots=True)
class _Process:
    errors: Path
    popen: subprocess.Popen[bytes]


class Place(ABC):
    """One stream, one group with its leases, and workers that come and go. `end` kills what still runs."""

    refusal: Fault
    """What a proxy in front of the store does, so that it is too busy for everybody."""
    short_lease: str
    """A lease that is soon over, and that who stands still for some seconds on a busy machine does not lose."""
    latest_margin_seconds: float = 0.0
    """How far before the start LATEST reaches back."""

    def __init__(self, folder: Path, stream: str, settings: Mapping[str, str]) -> None:
        self.folder, self.stream = folder, stream
        self.group = f"promise-{stream}"
        self.gate = folder / "gate"
        self._environment = {
            **plain_environment(),
            **settings,
            "GATE": str(self.gate),
            "STREAMKIT_STREAM": stream,
            "STREAMKIT_GROUP": self.group,
            "STREAMKIT_CHECKPOINT_INTERVAL": "200ms",
            "STREAMKIT_MAX_BATCH": "1",
        }
        self._processes: dict[str, _Process] = {}
        self._started = 0
        self._read: dict[Path, tuple[int, list[Line]]] = {}
        """Of each log, how far it was read, and what stands there."""

    # -- the stream and the store, which each broker has of its own ----------------------------------------------------

    @abstractmethod
    def partition(self, number: int) -> str:
        """The id of one of the partitions that the stream had at its beginning."""

    @abstractmethod
    def put(self, data: bytes, slice_of: tuple[int, int]) -> None:
        """One record into that slice: `(2, 3)` is the last one of three."""

    @abstractmethod
    def leases(self) -> dict[str, Row]:
        """What is in the store, by partition."""

    def write(self, names: Sequence[str], *, slice_of: tuple[int, int] = (0, 1), verb: str = "go", more: str = "") -> None:
        for name in names:
            self.put(f"{name} {verb} {more}".encode(), slice_of)

    # -- workers -----------------------------------------------------------------------------------------------------

    def start(self, name: str, **variables: str) -> None:
        """`streamkit run` with STREAMKIT_<variable>, in lower case here; PACE_SECONDS is work.py's own."""
        self._started += 1
        log, errors = (self.folder / f"{self._started:02}-{name}.{kind}" for kind in ("log", "err"))
        told = self._told(variables) | {"STREAMKIT_WORKER": name, "WORKER_LOG": str(log)}
        with errors.open("wb") as file:
            command = [sys.executable, "-m", "streamkit", "run", "work:app"]
            popen = subprocess.Popen(command, cwd=HERE, env=told, stdout=file, stderr=file)
        self._processes[name] = _Process(errors, popen)

    def command(self, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Another command of streamkit, to its end."""
        command = [sys.executable, "-m", "streamkit", *words]
        return subprocess.run(command, cwd=HERE, env=self._told(variables), capture_output=True, text=True, timeout=60, check=False)

    def kill(self, name: str) -> int:
        """SIGKILL; the monotonic time of it in nanoseconds."""
        moment = time.monotonic_ns()
        self._processes[name].popen.kill()
        self._processes.pop(name).popen.wait(30)
        return moment

    def stop(self, name: str) -> int:
        """SIGTERM, and it ends in order; the monotonic time of the signal."""
        moment = time.monotonic_ns()
        process = self._processes.pop(name)
        process.popen.send_signal(signal.SIGTERM)
        assert process.popen.wait(60) == 0, self.errors()
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
            process.popen.wait(30)

    # -- what they say -----------------------------------------------------------------------------------------------

    def lines(self, what: str = "", worker: str = "", after: int = 0) -> list[Line]:
        """Complete lines of all workers, by time."""
        found = []
        for log in self.folder.glob("*.log"):
            size, lines = self._read.get(log, (0, []))
            with log.open("rb") as file:
                file.seek(size)
                text = file.read()
            complete = text[: text.rfind(b"\n") + 1]
            lines += [Line(**json.loads(line)) for line in complete.splitlines()]
            self._read[log] = size + len(complete), lines
            found += lines
        return sorted(line for line in found if what in ("", line.what) and worker in ("", line.worker) and line.at > after)

    def names(self, worker: str = "", after: int = 0) -> list[str]:
        """Of the records that were done."""
        return [line.name for line in self.lines("record", worker, after)]

    def owner(self, partition: str) -> str:
        """Who began with it last."""
        return next(line.worker for line in reversed(self.lines("begin")) if line.partition == partition)

    def owned(self, worker: str) -> set[str]:
        """The partitions that it began with last."""
        return {partition for partition in {line.partition for line in self.lines("begin")} if self.owner(partition) == worker}

    def errors(self) -> str:
        return "\n".join(f"--- {path.name}\n{path.read_text()[-4000:]}" for path in sorted(self.folder.glob("*.err")))

    def until(self, condition: Callable[[], object], what: str, seconds: float = LIMIT_SECONDS) -> None:
        """Look until `condition()` is true. Fails with what the workers wrote, also if one of them ends meanwhile."""
        deadline = time.monotonic() + seconds
        while not condition():
            for name, process in self._processes.items():
                assert process.popen.poll() is None, f"{name} ended with {process.popen.returncode}\n{self.errors()}"
            assert time.monotonic() < deadline, f"{what}: not within {seconds:g} s\n{self.errors()}"
            time.sleep(0.05)

    def _told(self, variables: Mapping[str, str]) -> dict[str, str]:
        own = ("PACE_SECONDS",)
        return self._environment | {name if name in own else f"STREAMKIT_{name.upper()}": value for name, value in variables.items()}


class MakePlace(Protocol):
    """The fixture `place`: a new stream of so many partitions, and a new group; the fixture ends its workers."""

    def __call__(self, partitions: int = 1, *, store_url: str = ...) -> Place:
        """`store_url`: a proxy's, in front of the one that the fixture of this name is."""


class Writer:
    """Writes a record into each of some slices of the stream, again and again, until `end`. Names are `<slice>.<number>`."""

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
        self._thread.join(60)
        assert not self._thread.is_alive()
