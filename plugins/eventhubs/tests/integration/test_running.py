"""Whole workers on the emulator, by environment variables alone, with leases in SQLite: to the tips, through faults, past a pause."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from streamkit_sandbox.eventhubs.server import EventHubsServer

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[4]
LEASE_SECONDS = 12
"""Who stands still for some seconds must not lose one: what it had not saved would come again. One test waits for its end."""
WORKER = """
import os
from streamkit import Context, Record, record_processor

@record_processor
def handle(record: Record, context: Context) -> None:
    os.write(1, f"{record.partition.id} {record.position.sequence} {context.epoch}\\n".encode())  # whole lines, from any thread
"""


@pytest.fixture
def server() -> Iterator[EventHubsServer]:
    with EventHubsServer({"orders": 4}, consumer_groups=["g"]) as server:
        yield server


def variables(server: EventHubsServer, folder: Path, **more: str) -> dict[str, str]:
    plain = {name: value for name, value in os.environ.items() if not name.startswith("STREAMKIT_")}
    ours = {
        "STREAMKIT_STREAM": "orders",
        "STREAMKIT_GROUP": "g",
        "STREAMKIT_STORE": "sqlite",
        "STREAMKIT_SQLITE__PATH": str(folder / "checkpoints.db"),
        "STREAMKIT_LEASE_DURATION": f"{LEASE_SECONDS}s",
    }
    return plain | server.settings() | ours | more


def run(server: EventHubsServer, folder: Path, **more: str) -> tuple[list[str], str]:
    """The first example, to the tips: what it printed, and the log."""
    done = subprocess.run(
        [sys.executable, "-m", "streamkit", "run", "first:handle"],
        cwd=ROOT / "examples/01_first_processor",
        env=variables(server, folder, STREAMKIT_STOP="at_end", **more),
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    # Two threads may print at once, and `print` writes the end of a line by itself.
    return sorted(re.findall(r"[a-z]+ ordered b'[^']*'", done.stdout)), done.stderr


class Workers:
    """Processes that print what they were given: partition, sequence number, epoch."""

    def __init__(self, server: EventHubsServer, folder: Path) -> None:
        self._server, self._folder = server, folder
        self._started: dict[str, subprocess.Popen[bytes]] = {}
        (folder / "worker.py").write_text(WORKER)

    def start(self, name: str) -> subprocess.Popen[bytes]:
        with (self._folder / f"{name}.out").open("wb") as out, (self._folder / f"{name}.err").open("wb") as err:
            self._started[name] = subprocess.Popen(
                [sys.executable, "-m", "streamkit", "run", "worker:handle"],
                cwd=self._folder,
                env=variables(self._server, self._folder, STREAMKIT_WORKER=name, STREAMKIT_CHECKPOINT_INTERVAL="200ms"),
                stdout=out,
                stderr=err,
            )
        return self._started[name]

    def seen(self, name: str) -> list[tuple[str, int, int]]:
        lines = (self._folder / f"{name}.out").read_text().splitlines()
        return [(partition, int(sequence), int(epoch)) for partition, sequence, epoch in map(str.split, lines)]

    def log(self, name: str) -> str:
        return (self._folder / f"{name}.err").read_text()

    def until(self, holds: Callable[[], bool], seconds: float = 90.0) -> None:
        deadline = time.monotonic() + seconds
        while not holds():
            assert time.monotonic() < deadline, {name: (len(self.seen(name)), self.log(name)[-1500:]) for name in self._started}
            time.sleep(0.05)

    def end(self) -> None:
        for process in self._started.values():
            process.send_signal(signal.SIGCONT)
            process.kill()
            process.wait()


@pytest.fixture
def workers(server: EventHubsServer, tmp_path: Path) -> Iterator[Workers]:
    workers = Workers(server, tmp_path)
    yield workers
    workers.end()


def test_the_first_example_runs_to_the_tips_and_goes_on_where_it_was(server: EventHubsServer, tmp_path: Path) -> None:
    for customer, what in (("ada", b"tea"), ("bob", b"jam"), ("ada", b"milk")):
        server.append("orders", [what], key=customer)
    printed, log = run(server, tmp_path)
    assert printed == ["ada ordered b'milk'", "ada ordered b'tea'", "bob ordered b'jam'"]
    assert "owner level" in log  # the contract says who is cut off
    server.grow("orders", 6)
    server.append("orders", [b"bread"], partition="5")
    assert run(server, tmp_path)[0] == ["nobody ordered b'bread'"]
    assert run(server, tmp_path)[0] == []


def test_from_latest_what_was_there_before_is_passed_over(server: EventHubsServer, tmp_path: Path) -> None:
    server.append("orders", [b"tea"], key="ada")
    assert run(server, tmp_path, STREAMKIT_START="latest")[0] == []
    server.append("orders", [b"jam"], key="bob")
    assert run(server, tmp_path, STREAMKIT_START="latest")[0] == ["bob ordered b'jam'"]


def test_links_and_connections_that_break_lose_nothing_repeat_nothing_and_keep_the_order(server: EventHubsServer, workers: Workers) -> None:
    workers.start("w")
    total = 0
    for round_number in range(8):
        for partition in range(4):
            server.append("orders", [b"x"] * 50, str(partition))
        total += 200
        if round_number % 2:
            server.drop_connections()
        else:
            server.detach("orders")
        workers.until(lambda total=total: len(workers.seen("w")) >= total)
    numbers = defaultdict(list)
    for partition, sequence, _ in workers.seen("w"):
        numbers[partition].append(sequence)
    assert numbers == {str(partition): list(range(400)) for partition in range(4)}
    assert " halted" not in workers.log("w")


def test_a_worker_that_was_paused_past_its_lease_is_cut_off_and_does_not_come_between(server: EventHubsServer, workers: Workers) -> None:
    paused = workers.start("w1")
    server.append("orders", [b"x"] * 20, "0")
    workers.until(lambda: len(workers.seen("w1")) == 20)
    paused.send_signal(signal.SIGSTOP)
    workers.start("w2")
    workers.until(lambda: len({reader.partition for reader in server.readers("orders") if (reader.epoch or 0) > 1}) == 4)
    server.append("orders", [b"y"] * 20, "0")
    workers.until(lambda: any(sequence == 39 for _, sequence, _ in workers.seen("w2")))
    paused.send_signal(signal.SIGCONT)
    workers.until(lambda: " lost" in workers.log("w1"))
    server.append("orders", [b"z"] * 20, "0")
    workers.until(lambda: any(sequence == 59 for name in ("w1", "w2") for _, sequence, _ in workers.seen(name)))
    by_epoch: dict[int, list[int]] = defaultdict(list)
    for name in ("w1", "w2"):
        for _, sequence, epoch in workers.seen(name):
            by_epoch[epoch].append(sequence)
    epochs = sorted(by_epoch)
    assert all(by_epoch[epoch] == sorted(by_epoch[epoch]) for epoch in epochs)
    assert sorted({sequence for sequences in by_epoch.values() for sequence in sequences}) == list(range(60))
    assert max(by_epoch[epochs[0]]) == 19  # the old owner was given nothing of what came later
