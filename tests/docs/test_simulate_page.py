"""The page about simulation says what the simulation does."""

from __future__ import annotations

from inspect import signature

from streamkit.testing import simulate
from streamkit.testing.simulation import RULES
from tests.docs.pages import DOCS

PAGE = (DOCS / "how-to" / "simulate.md").read_text("utf-8")


def test_it_lists_every_rule_in_its_own_words() -> None:
    assert [rule for rule, text in RULES.items() if f"| {rule} | {text} |" not in PAGE] == []


def test_it_names_every_argument() -> None:
    named = [name for name in signature(simulate).parameters if name not in ("target", "settings")]
    assert [name for name in named if f"{name}=" not in PAGE] == []
