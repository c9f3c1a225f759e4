"""What the simulations have seen in all, so that the last test of a file can say whether it was worth it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from tests.simulation.ledger import Ledger
from tests.simulation.world import Plan, play

__all__ = ["Lives"]


@dataclass
class Lives:
    """The lives that were played in one file."""

    seeds: set[int] = field(default_factory=set)
    counts: Counter[str] = field(default_factory=Counter)
    changes: list[int] = field(default_factory=list)

    def play_twice(self, plan: Plan, play: Callable[[Plan], Ledger] = play) -> Ledger:
        """The same seed must give the same life, or what it finds could not be looked into."""
        first, second = play(plan), play(plan)
        assert first.trace == second.trace, f"{plan} went differently the second time"
        self.seeds.add(plan.seed)
        self.counts.update(first.counts)
        self.changes.append(first.changes_of_owner)
        return first

    def need(self, seeds: int) -> None:
        if len(self.seeds) < seeds:
            pytest.skip("only says something after all seeds of this file")


@pytest.fixture(scope="module")
def lives() -> Lives:
    return Lives()
