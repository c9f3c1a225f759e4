"""Workers that share leases: they join, drain, crash, freeze past their lease and come back, while the store is slow, fails, hangs
and loses answers, and while partitions split and merge beneath them."""

from __future__ import annotations

import pytest

from tests.simulation.conftest import Lives
from tests.simulation.leases import LEASE_FAULTS, play_leases
from tests.simulation.targets import KINDS
from tests.simulation.world import MIN_CHANGES, Plan

SPLITTING = range(3000, 3100)
GROWING = range(4000, 4040)
CHUNKS = 10


@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_nothing_is_lost_and_parents_come_first_whatever_happens_to_the_workers(lives: Lives, chunk: int) -> None:
    for seed in SPLITTING[chunk::CHUNKS]:
        lives.play_twice(Plan(seed, tuple(KINDS)[seed % len(KINDS)], shape="kinesis"), play_leases)


@pytest.mark.parametrize("chunk", range(4))
def test_nothing_is_lost_where_partitions_are_only_added(lives: Lives, chunk: int) -> None:
    for seed in GROWING[chunk::4]:
        lives.play_twice(Plan(seed, tuple(KINDS)[seed % len(KINDS)]), play_leases)


def test_every_kind_of_trouble_happened(lives: Lives) -> None:
    lives.need(len(SPLITTING) + len(GROWING))
    struck = {what: sum(n for name, n in lives.counts.items() if name.startswith(f"fault:{what}:")) for what in LEASE_FAULTS}
    assert [what for what, times in struck.items() if not times] == []
    happened = ("crashed", "draining", "frozen", "lost", "revoked", "ended", "split", "merge", "repeats", "futures")
    assert [what for what in happened if not lives.counts[what]] == []
    assert min(lives.changes) >= MIN_CHANGES
