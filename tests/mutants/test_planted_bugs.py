"""Bugs planted on purpose, one after the other: the simulator finds each of them, and says after how many lives.

They are rules of `mutants.py`. Here no test is named that must fail: any rule of the simulator may be the one that is broken.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.mutants.mutants import MUTANTS, Mutant

ROOT = Path(__file__).parents[2]
AT_ONCE = 2
MAX_SEEDS = 500
FIRST = 2000
LIMIT_SECONDS = 200

PLANTED = {
    "a checkpoint never passes a record that is not done",
    "a checkpoint waits for flush",
    "a flush that failed made nothing durable",
    "a retry delivers the record that failed",
    "the first record of a batch that is not done ends it",
    "within an assignment positions strictly rise",
    "two calls of one key never run at once",
    "the safe position never passes a gap",
    "a record that is tried again is not overtaken by a later one of its key",
    "a child is not taken before its parents have ended",
    "the leases of children are made before their names and END are saved",
    "an older owner's save is refused",
    "a lease that could not be renewed in time is lost, whatever the store says",
    "an owner stops a margin before its lease can be another's",
    "a sign of life since the listing refuses a take",
    "a renewal is a sign of life",
    "every take raises the epoch",
    "an older owner renews nothing",
    "what is not saved is bounded",
    "a drain ends by its deadline",
}


def _found(mutant: Mutant, folder: Path) -> tuple[int, str]:
    """After how many lives, and what was said; 0: not at all."""
    for part in ("streamkit", "tests/simulation"):
        shutil.copytree(ROOT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
    file = folder / "streamkit" / mutant.file
    file.write_text(file.read_text().replace(mutant.old, mutant.new))
    command = [sys.executable, "-P", "-m", "streamkit.testing.simulation", "tests.simulation.processors:ALL"]
    options = ["--seeds", str(MAX_SEEDS), "--first", str(FIRST), "--no-shrink", "--slice", "0"]
    done = subprocess.run(
        [*command, *options],
        cwd=folder,
        env={"PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        timeout=LIMIT_SECONDS,
        check=False,
    )
    found = re.search(r"found with seed=(\d+)", done.stderr)
    return (int(found[1]) - FIRST + 1 if found else 0), done.stdout + done.stderr


@pytest.fixture(scope="module")
def found(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, object]]:
    asked = {str(item.callspec.id) for item in request.session.items if isinstance(item, pytest.Function) and hasattr(item, "callspec")}
    with ThreadPoolExecutor(AT_ONCE) as pool:
        yield {m.rule: pool.submit(_found, m, tmp_path_factory.mktemp("planted")) for m in MUTANTS if m.rule in PLANTED & asked}


@pytest.mark.mutants
@pytest.mark.parametrize("mutant", [m for m in MUTANTS if m.rule in PLANTED], ids=lambda mutant: mutant.rule)
def test_a_planted_bug_is_found(mutant: Mutant, found: dict[str, object], capsys: pytest.CaptureFixture[str]) -> None:
    lives, said = found[mutant.rule].result()  # type: ignore[attr-defined]
    with capsys.disabled():
        print(f"\n  {lives or 'never':>5} lives: {mutant.rule}", end=" ")
    assert lives, said[-3000:]


def test_each_planted_bug_is_a_rule_of_the_list() -> None:
    assert {mutant.rule for mutant in MUTANTS} >= PLANTED
    assert len(PLANTED) >= 10
