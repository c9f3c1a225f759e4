"""`streamkit run` as a process of its own: exit codes, signals, the drain. The records are made when the module is imported."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

MODULE = """\
import os, sys, time
from streamkit import record_processor
from streamkit.builtin.memory import MemoryLog

log = MemoryLog.named()
log.create("orders", 2)
for number in range(100):
    log.append("orders", b"%d" % number, key=b"%d" % (number % 7), now=time.time())

def say(text):
    os.write(1, text.encode() + b"\\n")

@record_processor
def handle(record, context):
    say(f"{record.partition.id} {record.value.decode()}")

@record_processor
def slow(record, context):
    say("began")
    while not context.ending:
        time.sleep(0.005)
    say("finished")

@record_processor
def hangs(record, context):
    say("began")
    time.sleep(3600)

@record_processor
def fails(record, context):
    raise OSError("no database")
"""


Start = Callable[..., "Program"]


class Program:
    def __init__(self, folder: Path, target: str, **variables: str) -> None:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("STREAMKIT_")}
        settings = {"BROKER": "memory", "STREAM": "orders", "GROUP": "billing", **variables}
        self.process = subprocess.Popen(
            [sys.executable, "-W", "error", "-c", "from streamkit.cli import main; main()", "run", f"orders:{target}"],
            cwd=folder,
            env=environment | {f"STREAMKIT_{name}": value for name, value in settings.items()},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def wait_for(self, text: str) -> None:
        """Takes that line and nothing behind it: `communicate` would not see what a buffer of ours holds."""
        assert self.process.stdout is not None
        line = b""
        while not line.endswith(b"\n") and (byte := os.read(self.process.stdout.fileno(), 1)):
            line += byte
        assert line.decode() == f"{text}\n"

    def end(self) -> tuple[int, str, str]:
        out, err = self.process.communicate(timeout=60)
        assert "Traceback" not in err, err
        return self.process.returncode, out, err


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    (tmp_path / "orders.py").write_text(MODULE)
    programs: list[Program] = []

    def begin(target: str, **variables: str) -> Program:
        programs.append(Program(tmp_path, target, **variables))
        return programs[-1]

    yield begin
    for program in programs:
        if program.process.poll() is None:
            program.process.kill()
        program.process.communicate()


def test_every_record_is_processed_in_order_and_the_run_ends_with_0(start: Start) -> None:
    code, out, err = start("handle", STOP="at_end").end()
    assert code == 0, err
    seen = [line.split() for line in out.splitlines()]
    assert sorted(int(value) for _, value in seen) == list(range(100))
    for partition in "01":
        values = [int(value) for name, value in seen if name == partition]
        assert values == sorted(values)
    assert "delivery     at least once" in err, "the contract is printed"


def test_the_first_sigterm_drains_and_exits_with_0(start: Start) -> None:
    program = start("slow")
    program.wait_for("began")
    program.process.send_signal(signal.SIGTERM)
    code, out, err = program.end()
    assert (code, out.count("finished")) == (0, 1 + out.count("began")), "running calls were let finish"
    assert "streamkit: SIGTERM, draining; once more stops at once" in err


def test_signals_are_ours_with_a_status_page_too(start: Start) -> None:
    program = start("slow", STATUS_ADDRESS="0")
    assert program.process.stderr is not None
    lines = [program.process.stderr.readline()]
    while "status page on http://127.0.0.1:" not in lines[-1]:
        lines.append(program.process.stderr.readline())
    program.wait_for("began")
    program.process.send_signal(signal.SIGTERM)
    code, out, err = program.end()
    assert (code, out.count("finished")) == (0, 1 + out.count("began"))
    assert "streamkit: SIGTERM, draining; once more stops at once" in err


def test_the_second_signal_stops_at_once(start: Start) -> None:
    program = start("hangs")
    program.wait_for("began")
    program.process.send_signal(signal.SIGINT)
    assert program.process.stderr is not None
    while "draining" not in program.process.stderr.readline():
        pass
    began = time.monotonic()
    program.process.send_signal(signal.SIGTERM)
    assert program.end()[0] == 128 + signal.SIGTERM
    assert time.monotonic() - began < 20, "not after the drain timeout of 25 s"


def test_a_handler_that_hangs_ends_the_drain_with_3(start: Start) -> None:
    program = start("hangs", DRAIN_TIMEOUT="300ms")
    program.wait_for("began")
    program.process.send_signal(signal.SIGTERM)
    code, _, err = program.end()
    assert code == 3
    assert "streamkit: after 0.3s code was still running for orders/" in err
    assert err.endswith("  fix: raise STREAMKIT_DRAIN_TIMEOUT, or let long handlers look at context.remaining and context.lost\n")


def test_a_handler_that_fails_stops_the_run_with_1(start: Start) -> None:
    program = start("fails", ON_FAILURE="stop", RETRY_ATTEMPTS="2", RETRY_BACKOFF="1ms")
    code, _, err = program.end()
    assert code == 1
    assert "failed after 2 attempts: OSError: no database" in err


def test_a_halted_partition_ends_with_1_after_the_drain(start: Start) -> None:
    program = start("fails", RETRY_ATTEMPTS="1")
    assert program.process.stderr is not None
    lines = [program.process.stderr.readline()]
    while "HALTED" not in lines[-1]:
        lines.append(program.process.stderr.readline())
    program.process.send_signal(signal.SIGTERM)
    assert program.process.wait(60) == 1
