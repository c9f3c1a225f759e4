"""All kinds of processors through simulated lives: leases, groups and one worker alone; splits and merges; everything fails now and then.

Some seeds are always the same, some are fresh with each run: what they find is printed with its seed and a text to replay.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from streamkit.testing.simulation import Report, World, simulate, subject_of
from streamkit.testing.simulation.plan import Plan
from streamkit.testing.simulation.run import MIN_CHANGES, planned
from tests.simulation.processors import ALL

SEEDS = 8
DOUBTED = """\
streamkit simulation 1
seed=1 ownership=group shape=kafka own_store=yes partitions=1 changes=3
max_batch=3 max_wait=0 max_in_flight=20 checkpoint_interval=600ms retry_attempts=2
0.000 write 10
0.000 handler hangs 8.0 30 *
""" + "".join(f"{2 * n:.3f} join w{n}\n{2 * n + 1.9:.3f} crash w{n}\n" for n in range(7))
"""Seven owners die without progress, and nobody knows of what: their partition halts, until its checkpoint is set."""
FRESH = 6
HAPPENED = ("crashed", "draining", "stalled", "lost", "revoked", "ended", "split", "merge", "forced", "halted", "recovered")
FOUND = ("repeats", "futures", "beside another", "not checkpointed: FencedError", "drain timeout", "skip", "dead_letter", "park")


@pytest.fixture(scope="module")
def report() -> Iterator[Report]:
    """What all lives of this file with fixed seeds have seen."""
    return Report(0)


@pytest.mark.parametrize("name", list(ALL))
def test_no_rule_is_broken_whatever_happens(name: str, report: Report) -> None:
    first = list(ALL).index(name) * 1000
    report.merge(simulate(ALL[name], seeds=SEEDS, first=first))


def test_nor_with_fresh_seeds(capsys: pytest.CaptureFixture[str]) -> None:
    for name, target in ALL.items():
        with capsys.disabled():
            print(f"\n{name}", end=" ")
            simulate(target, seeds=FRESH, first=None)


def test_every_kind_of_trouble_was_met_and_partitions_changed_hands(report: Report) -> None:
    if report.lives < SEEDS * len(ALL):
        pytest.skip("only says something after all seeds of this file")
    report.check()
    assert report.min_changes >= MIN_CHANGES
    assert [what for what in (*HAPPENED, *FOUND) if not report.events[what]] == []


def test_a_partition_that_halts_for_its_owners_sake_goes_on_when_its_checkpoint_is_set() -> None:
    ledger = World(Plan.from_text(DOUBTED), subject_of(ALL["record_def"])).live()
    assert ledger.counts["set"] == 1
    assert ledger.counts["halted"]


@pytest.mark.parametrize("name", list(ALL))
def test_the_same_seed_gives_the_same_life(name: str) -> None:
    """Or what is found could not be looked into."""
    subject = subject_of(ALL[name])
    plan = planned(list(ALL).index(name), subject)
    one, other = World(plan, subject).live(), World(plan, subject).live()
    assert one.trace == other.trace
