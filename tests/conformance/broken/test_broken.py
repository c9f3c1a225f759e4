"""Each broken adapter is caught by the rule that it breaks, and its sound twin is not."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from streamkit.builtin.memory import MemoryLog
from streamkit.errors import StreamkitError
from streamkit.testing.conformance import BROKER_RULES, STORE_RULES, check
from tests.conformance.broken.twins import TWINS, Twin

RULES = {rule.id: rule for rule in [*BROKER_RULES, *STORE_RULES]}


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    from streamkit.builtin.memory import log

    before = set(log._registry)
    yield
    for name in set(log._registry) - before:
        MemoryLog.forget(name)


@pytest.mark.parametrize("twin", TWINS, ids=str)
def test_a_broken_adapter_is_caught_by_the_rule_that_it_breaks(twin: Twin, tmp_path: Path) -> None:
    folders = tmp_path / "sound", tmp_path / "broken"
    for folder in folders:
        folder.mkdir()
    try:
        check(RULES[twin.rule], twin.kit(folders[0], sound=True))
    except pytest.skip.Exception as skipped:
        pytest.fail(f"the rule says nothing about the sound twin: {skipped}")
    with pytest.raises((AssertionError, StreamkitError, pytest.fail.Exception)):
        check(RULES[twin.rule], twin.kit(folders[1], sound=False))
