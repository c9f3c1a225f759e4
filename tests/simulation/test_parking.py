"""ON_FAILURE=park while workers join, drain, crash and stall, partitions split and merge, the store and the target fail, and somebody
replays: the effects of each key, direct and replayed, come in order, and nothing is lost."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.simulation.parking import ParkWorld, plan_with_parking

SEEDS = range(6000, 6040)
CHUNKS = 5


@pytest.fixture(scope="module")
def counts() -> Counter[str]:
    return Counter()


@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_the_effects_of_a_key_keep_their_order_whatever_happens(chunk: int, counts: Counter[str]) -> None:
    for seed in SEEDS[chunk::CHUNKS]:
        counts.update(ParkWorld(plan_with_parking(seed)).live().counts)
        counts["lives"] += 1


def test_every_kind_of_trouble_happened(counts: Counter[str]) -> None:
    if counts["lives"] < len(SEEDS):
        pytest.skip("only says something after all seeds of this file")
    happened = {"crashed", "draining", "stalled", "lost", "revoked", "split", "merge", "halted", "recovered", "asked"}
    happened |= {"letter first", "letter behind", "letter alone", "fault:send", "fault:send_after_write"}
    assert [what for what in happened if not counts[what]] == []
