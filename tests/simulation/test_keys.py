"""Order by key over rebalances, crashes, freezes, retries and halts: each key's records in order, and nothing lost."""

from __future__ import annotations

import pytest

from tests.simulation.conftest import Lives
from tests.simulation.keyed import KEYED_KINDS
from tests.simulation.world import MIN_CHANGES, Plan

SEEDS = range(100)
CHUNKS = 10


@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_each_key_keeps_its_order_whatever_happens_to_a_group(lives: Lives, chunk: int) -> None:
    for seed in SEEDS[chunk::CHUNKS]:
        shape = "kinesis" if seed % 5 == 4 else "kafka"
        lives.play_twice(Plan(seed, tuple(KEYED_KINDS)[seed // 5 % len(KEYED_KINDS)], shape=shape))


def test_every_kind_of_trouble_happened(lives: Lives) -> None:
    lives.need(len(SEEDS))
    happened = {"crashed", "draining", "frozen", "lost", "revoked", "halted", "recovered", "repeats", "futures", "beside another"}
    happened |= {"fault:handler", "fault:initialize", "fault:slow", "split", "merge"}
    assert [what for what in happened if not lives.counts[what]] == []
    assert min(lives.changes) >= MIN_CHANGES
