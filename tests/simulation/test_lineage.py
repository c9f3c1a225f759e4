"""Partitions that split and merge while one worker after the other reads them all (static ownership, the kinesis shape)."""

from __future__ import annotations

import pytest

from tests.simulation.conftest import Lives
from tests.simulation.targets import KINDS
from tests.simulation.world import MIN_CHANGES, Plan

SEEDS = range(40)
CHUNKS = 4
THAT_CAN_END = [kind for kind in KINDS if kind not in ("manual_def", "manual_async")]
"""A function has no `partition_ended` in which it could checkpoint the end itself."""


@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_children_wait_for_all_their_parents(lives: Lives, chunk: int) -> None:
    for seed in SEEDS[chunk::CHUNKS]:
        lives.play_twice(Plan(seed, THAT_CAN_END[seed % len(THAT_CAN_END)], shape="kinesis"))


def test_partitions_split_and_merged(lives: Lives) -> None:
    lives.need(len(SEEDS))
    assert min(lives.counts[what] for what in ("split", "merge", "ended", "crashed", "draining")) >= len(SEEDS)
    assert min(lives.changes) >= MIN_CHANGES
