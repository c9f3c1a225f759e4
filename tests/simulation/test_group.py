"""A group whose members join, drain, crash, freeze and come back while the log, the store and the handlers fail."""

from __future__ import annotations

import pytest

from tests.simulation.conftest import Lives
from tests.simulation.targets import KINDS
from tests.simulation.world import FAULTS, MIN_CHANGES, Plan

SEEDS = range(100)
CHUNKS = 10


@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_nothing_is_lost_whatever_happens_to_a_group(lives: Lives, chunk: int) -> None:
    for seed in SEEDS[chunk::CHUNKS]:
        lives.play_twice(Plan(seed, tuple(KINDS)[seed % len(KINDS)]))


def test_every_kind_of_trouble_happened(lives: Lives) -> None:
    lives.need(len(SEEDS))
    struck = {f"fault:{what.split()[0]}:{type(make()).__name__}" for what, make in FAULTS.items()}
    fumbled = {"fault:handler", "fault:initialize", "fault:flush", "fault:slow"}
    happened = {"crashed", "draining", "frozen", "lost", "revoked", "halted", "recovered", "repeats", "futures"}
    assert [what for what in struck | fumbled | happened if not lives.counts[what]] == []
    assert min(lives.changes) >= MIN_CHANGES
