"""Totals go on over changes of assignment, never fall, and are bounded."""

from __future__ import annotations

from streamkit.engine.tally import MAX_DEPARTED, Tally, Totals
from streamkit.model import Partition

P0, P1 = Partition("orders", "0"), Partition("orders", "1")


class One:
    """An assignment that has done so much."""

    def __init__(self, records: int = 0) -> None:
        self.records = records


def tally() -> Tally[One]:
    return Tally(lambda one: Totals(one.records, one.records, one.records / 2, 0))


def test_what_runs_is_looked_up_when_somebody_asks() -> None:
    counted, one = tally(), One()
    counted.add(P0, one)
    assert counted.totals() == {P0: Totals()}
    one.records = 7
    assert counted.totals() == {P0: Totals(7, 7, 3.5, 0)}


def test_what_is_over_stays_counted_and_the_next_assignment_adds_to_it() -> None:
    counted, first, second = tally(), One(5), One(2)
    counted.add(P0, first)
    counted.add(P0, second)  # it waits for a call of the first
    assert counted.totals()[P0].records == 7
    counted.retire(P0, first)
    assert counted.totals()[P0].records == 7
    counted.retire(P0, first)
    assert counted.totals()[P0].records == 7, "once"
    second.records = 3
    assert counted.totals()[P0].records == 8


def test_the_totals_of_partitions_that_have_left_are_bounded_and_those_of_the_others_are_kept() -> None:
    counted, ours = tally(), One(1)
    counted.add(P1, ours)
    for number in range(MAX_DEPARTED + 100):
        one, partition = One(1), Partition("other", str(number))
        counted.add(partition, one)
        counted.retire(partition, one)
    totals = counted.totals()
    assert len(totals) <= MAX_DEPARTED + 2
    assert totals[P1].records == 1
