"""The page about failure policies shows for each what the contract prints."""

from __future__ import annotations

import pytest

from streamkit.engine.contract import contract
from streamkit.model import Capabilities
from streamkit.processing import Facts
from streamkit.settings import Settings
from tests.docs.pages import DOCS, blocks

PAGE = DOCS / "how-to" / "failures.md"


@pytest.mark.parametrize("policy", ["halt", "stop", "dead_letter", "park", "skip"])
def test_the_line_of_each_policy_is_what_the_program_prints(policy: str) -> None:
    settings = Settings.model_validate(
        {
            "broker": "memory",
            "stream": "orders",
            "group": "billing",
            "on_failure": policy,
            "dead_letter": "file:dlq.jsonl" if policy in ("dead_letter", "park") else None,
            "retry_attempts": 3,
        }
    )
    printed = contract(settings, Facts("record"), ownership="group", store="memory", store_capabilities=Capabilities())
    line = next(line for line in printed.splitlines() if line.startswith("failures"))
    section = PAGE.read_text("utf-8").partition(f"\n## {policy}\n")[2].partition("\n## ")[0]
    assert f"```text\n{line}\n```" in section
    assert f"test_failures.py:{policy}" in section


def test_every_part_of_the_snippet_is_shown() -> None:
    text = (DOCS / "snippets" / "test_failures.py").read_text("utf-8")
    parts = {line.partition("[start:")[2].rstrip("]") for line in text.splitlines() if "[start:" in line}
    assert parts == {block.include[1] for block in blocks("python", pages=[PAGE]) if block.include is not None}
