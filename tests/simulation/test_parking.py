"""ON_FAILURE=park while workers join, drain, crash and freeze, partitions split and merge, the store and the target fail, and somebody
replays: the effects of each key, direct and replayed, come in order, and nothing is lost."""

from __future__ import annotations

import pytest

from tests.simulation.conftest import Lives
from tests.simulation.parking import play_parking
from tests.simulation.world import MIN_CHANGES, Plan

SEEDS = range(6000, 6060)
CHUNKS = 10


@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_the_effects_of_a_key_keep_their_order_whatever_happens(lives: Lives, chunk: int) -> None:
    for seed in SEEDS[chunk::CHUNKS]:
        lives.play_twice(Plan(seed, "record_def", shape="kinesis"), play_parking)


def test_every_kind_of_trouble_happened(lives: Lives) -> None:
    lives.need(len(SEEDS))
    happened = {"crashed", "draining", "frozen", "lost", "revoked", "split", "merge", "halted", "recovered", "asked"}
    happened |= {"letter first", "letter behind", "letter alone", "fault:handler", "fault:send", "fault:send_after_write"}
    assert [what for what in happened if not lives.counts[what]] == []
    assert min(lives.changes) >= MIN_CHANGES
