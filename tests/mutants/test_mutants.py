"""Each rule is taken out of a copy of the package, and the tests that stand for it must fail there.

A mutant that no test notices is a rule that nobody holds; one whose text is not found has rotted. Both fail here.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue

import pytest

from tests.mutants.forks import Fork, Run
from tests.mutants.mutants import MUTANTS, Mutant

ROOT = Path(__file__).parents[2]
AT_ONCE = 1 if "PYTEST_XDIST_WORKER" in os.environ else 2
"""Other processes run other tests meanwhile, where there are some."""
LIMIT_SECONDS = 60
OPTIONS = ["-q", "-x", "-p", "no:cacheprovider", "-p", "pytest_timeout", f"--timeout={LIMIT_SECONDS // 2}", "--tb=line"]

Runs = dict[str, Future[Run]]


@pytest.fixture(scope="module")
def runs(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runs]:
    """The runs of all mutants that were asked for, a few at once."""
    asked = {str(item.callspec.id) for item in request.session.items if isinstance(item, pytest.Function) and hasattr(item, "callspec")}
    forks = [Fork() for _ in range(AT_ONCE)]
    free: SimpleQueue[Fork] = SimpleQueue()
    for fork in forks:
        free.put(fork)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        yield {m.rule: pool.submit(_run, m, tmp_path_factory.mktemp("mutant"), free) for m in MUTANTS if m.rule in asked}
    for fork in forks:
        fork.close()


def _run(mutant: Mutant, folder: Path, free: SimpleQueue[Fork]) -> Run:
    """The named tests against a copy of everything with one rule missing."""
    for part in ("streamkit", "tests"):
        shutil.copytree(ROOT / part, folder / part, ignore=shutil.ignore_patterns("kafka", "docs", "packaging", ".hypothesis"))
    shutil.copy(ROOT / "pyproject.toml", folder)  # its settings of pytest put this folder first on the path
    file = folder / "streamkit" / mutant.file
    file.write_text(file.read_text().replace(mutant.old, mutant.new))
    fork = free.get()
    try:
        return fork.run(folder, [*OPTIONS, *mutant.tests], LIMIT_SECONDS)
    finally:
        free.put(fork)


@pytest.mark.mutants
@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.rule)
def test_a_rule_that_is_taken_away_is_missed(mutant: Mutant, runs: Runs) -> None:
    assert (ROOT / "streamkit" / mutant.file).read_text().count(mutant.old) == 1, "the text of the rule has moved: mend the mutant"
    said = runs[mutant.rule].result().said
    assert re.match(r"[.s]*F", said), f"no test misses it:\n{said[-3000:]}"


def test_every_rule_has_a_name_of_its_own_and_a_test() -> None:
    assert len({mutant.rule for mutant in MUTANTS}) == len(MUTANTS)
    for mutant in MUTANTS:
        assert mutant.tests
        for test in mutant.tests:
            assert (ROOT / test.partition("::")[0]).is_file()
