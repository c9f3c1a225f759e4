"""The demo ends by itself within ten seconds and proves what it says; and its proof fails when the promise is broken."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest
from rich.console import Console

from streamkit.cli.demo import CODE, COMMANDS, NEXT_STEPS
from streamkit.cli.demo_ledger import Ledger
from streamkit.cli.demo_view import _Live
from streamkit.processing import facts_of

if TYPE_CHECKING:
    from tests.unit.cli.conftest import CommandLine

ONE, TWO = ("worker-1", 1), ("worker-2", 2)


def ledger(*entries: tuple[int, tuple[str, int]], saved: dict[tuple[str, int], int] | None = None) -> Ledger:
    made = Ledger({"0": 4}, records_per_second=1000)
    made.entries["0"].extend(entries)
    made.saved["0"].update(saved or {})
    return made


def test_what_was_not_saved_may_come_twice() -> None:
    verdict = ledger((0, ONE), (1, ONE), (2, ONE), (1, TWO), (2, TWO), (3, TWO), saved={ONE: 0}).verdict()
    assert verdict.is_proven
    assert (verdict.repeats, verdict.allowed_repeats) == (2, 2)


def test_a_missing_record_disproves() -> None:
    verdict = ledger((0, ONE), (1, ONE), (3, ONE)).verdict()
    assert not verdict.is_proven
    assert (verdict.missing, verdict.out_of_order) == (1, 1)


def test_records_out_of_order_disprove() -> None:
    verdict = ledger((0, ONE), (2, ONE), (1, ONE), (3, ONE)).verdict()
    assert not verdict.is_proven
    assert verdict.out_of_order == 3


def test_a_repeat_of_what_was_saved_disproves() -> None:
    verdict = ledger((0, ONE), (1, ONE), (2, ONE), (1, TWO), (2, TWO), (3, TWO), saved={ONE: 1}).verdict()
    assert not verdict.is_proven
    assert (verdict.missing, verdict.out_of_order, verdict.over_allowance) == (0, 0, 1)


def test_the_code_that_the_demo_shows_is_a_processor() -> None:
    names: dict[str, object] = {}
    exec(CODE, names)
    assert facts_of(names["handle"]) is not None
    assert all(line in NEXT_STEPS for line in f"{CODE}{COMMANDS}".splitlines())


def test_the_commands_that_the_demo_shows_exist(cli: CommandLine) -> None:
    cli.file("orders.py", CODE)
    for line in COMMANDS.splitlines():
        program, *words = line.partition("#")[0].split()
        assert program == "streamkit"
        assert cli(*words, "--help").code == 0
    assert cli("explain", "orders:handle").code == 0


def test_the_live_view_shows_owner_progress_and_lag_and_who_is_dead() -> None:
    made = ledger((0, ONE), (1, ONE))
    made.owners["0"] = ONE
    dead: list[str] = []
    view = _Live(made, dead)
    view.event("worker-1 takes 0")
    shown = io.StringIO()
    Console(file=shown, width=100).print(view._render())
    assert shown.getvalue().splitlines()[3].split() == ["orders/0", "worker-1,", "epoch", "1", "█" * 12, "2", "2"]
    assert "2 of 4 records done in 2 calls" in shown.getvalue()
    assert "worker-1 takes 0" in shown.getvalue()
    dead.append("worker-1")
    Console(file=shown, width=100).print(view._render())
    assert "worker-1, dead" in shown.getvalue()


def test_another_broker_is_a_named_error(cli: CommandLine) -> None:
    answer = cli("demo", "--broker", "kafka")
    assert answer.code == 2
    assert answer.err == "streamkit: the demo does not run on broker 'kafka' yet\n  fix: streamkit demo --broker memory\n"


@pytest.mark.timeout(200)
def test_the_demo_proves_it_in_plain_lines_within_ten_seconds() -> None:
    # Settings of the user's own must not reach it.
    environment = os.environ | {"STREAMKIT_BROKER": "kafka", "STREAMKIT_MAX_BACH": "oops"}
    for _ in range(3):  # a machine that stands still for some seconds does not do so each time
        began = time.monotonic()
        answer = subprocess.run(
            [sys.executable, "-W", "error", "-c", "from streamkit.cli import main; main()", "demo"],
            capture_output=True,
            text=True,
            env=environment,
            timeout=60,
        )
        seconds = time.monotonic() - began
        if answer.returncode or seconds < 10:
            break
    assert (answer.returncode, answer.stderr) == (0, ""), answer.stdout
    assert re.search(r"^PROVEN: each of 60,000 records was processed, in the order of its partition\. ", answer.stdout, re.MULTILINE)
    assert re.search(r"worker-2 dies with [1-9]\d* partitions", answer.stdout)
    assert "\x1b" not in answer.stdout
    assert answer.stdout.endswith(NEXT_STEPS)
    assert seconds < 10
