"""A group whose checkpoints are in a store of their own: members that the group has given up can still reach it."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import pytest

from tests.simulation.conftest import Lives
from tests.simulation.targets import KINDS
from tests.simulation.world import MIN_CHANGES, Plan

SEEDS = {"memory": range(1000, 1036), "sqlite": range(2000, 2018)}


@pytest.mark.parametrize("store", list(SEEDS))
def test_nothing_is_lost_with_a_store_beside_the_group(lives: Lives, store: Literal["memory", "sqlite"], tmp_path: Path) -> None:
    for seed in SEEDS[store]:
        lives.play_twice(Plan(seed, tuple(KINDS)[seed % len(KINDS)], store=store, folder=tmp_path))


def test_old_owners_were_fenced(lives: Lives) -> None:
    lives.need(sum(map(len, SEEDS.values())))
    assert lives.counts["not checkpointed: FencedError"]
    assert min(lives.changes) >= MIN_CHANGES
