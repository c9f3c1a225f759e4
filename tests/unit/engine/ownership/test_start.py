"""Where a partition without a checkpoint begins."""

from __future__ import annotations

import pytest

from streamkit.engine.ownership.start import first_start
from streamkit.model import Checkpoint, Partition, Position, StartPosition

LATEST, EARLIEST = StartPosition.LATEST, StartPosition.EARLIEST


def stored(partition: str, count: int | None, stream: str = "s") -> Checkpoint:
    return Checkpoint(Partition(stream, partition), StartPosition.after(Position(5)), partitions_at_start=count)


def three(stream: str) -> int:
    return 3


def test_the_very_first_one_begins_where_it_is_configured() -> None:
    assert first_start(Partition("s", "0"), LATEST, [], three) == (LATEST, 3)


def test_one_that_was_there_when_the_group_first_started_too() -> None:
    assert first_start(Partition("s", "2"), LATEST, [stored("0", 3)], three) == (LATEST, 3)


def test_one_that_was_found_later_begins_at_earliest() -> None:
    assert first_start(Partition("s", "3"), LATEST, [stored("0", 3)], lambda s: 4) == (EARLIEST, 3)


def test_the_number_of_the_first_start_is_handed_on() -> None:
    assert first_start(Partition("s", "4"), LATEST, [stored("0", 3), stored("3", 3)], lambda s: 5)[1] == 3


def test_workers_that_started_together_and_counted_differently_agree_on_the_smaller() -> None:
    assert first_start(Partition("s", "2"), LATEST, [stored("0", 3), stored("1", 2)], three) == (EARLIEST, 2)


def test_checkpoints_of_other_streams_do_not_count() -> None:
    assert first_start(Partition("s", "0"), LATEST, [stored("0", 1, "other")], three) == (LATEST, 3)


def test_after_foreign_checkpoints_nothing_is_skipped() -> None:
    assert first_start(Partition("s", "1"), LATEST, [stored("0", None)], three) == (EARLIEST, 3)


@pytest.mark.parametrize("partition", ["0", "7"])
def test_earliest_is_earliest_for_all(partition: str) -> None:
    assert first_start(Partition("s", partition), EARLIEST, [stored("0", 3)], three)[0] == EARLIEST
