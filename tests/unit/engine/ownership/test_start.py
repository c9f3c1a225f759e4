"""Where a partition without a checkpoint begins."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from streamkit.engine.ownership.start import CLOCK_MARGIN, FirstStart, first_start
from streamkit.model import Checkpoint, Partition, Position, StartPosition

LATEST, EARLIEST = StartPosition.LATEST, StartPosition.EARLIEST
BEGAN = datetime(2026, 1, 1, tzinfo=UTC)
LATER = BEGAN + timedelta(days=1)
THEN = StartPosition.at_time(BEGAN - CLOCK_MARGIN)
"""LATEST of the group's first start, for those that come to it later; never after it, whatever the clocks say."""


def stored(partition: str, count: int | None, stream: str = "s", began: datetime | None = BEGAN) -> Checkpoint:
    at = StartPosition.after(Position(5))
    return Checkpoint(Partition(stream, partition), at, partitions_at_start=count, group_started=began if count is not None else None)


def start(
    partition: str,
    configured: StartPosition,
    checkpoints: list[Checkpoint],
    now: datetime = LATER,
    count: int = 3,
) -> FirstStart:
    return first_start(Partition("s", partition), configured, checkpoints, lambda stream: count, now)


def test_the_very_first_one_begins_where_it_is_configured() -> None:
    assert start("0", LATEST, [], now=BEGAN) == FirstStart(LATEST, 3, BEGAN)


def test_under_latest_one_that_was_there_begins_at_the_groups_first_start_however_late_it_is_claimed() -> None:
    assert start("2", LATEST, [stored("0", 3)]) == FirstStart(THEN, 3, BEGAN)


def test_one_that_was_found_later_begins_at_earliest() -> None:
    assert start("3", LATEST, [stored("0", 3)], count=4) == FirstStart(EARLIEST, 3, BEGAN)


def test_the_number_and_the_time_of_the_first_start_are_handed_on() -> None:
    answer = start("4", LATEST, [stored("0", 3), stored("3", 3)], count=5)
    assert (answer.partitions, answer.started) == (3, BEGAN)


def test_workers_that_started_together_and_counted_differently_agree_on_the_smaller_and_the_earlier() -> None:
    second = BEGAN + timedelta(seconds=5)
    answer = start("2", LATEST, [stored("0", 3, began=second), stored("1", 2)])
    assert answer == FirstStart(EARLIEST, 2, BEGAN)


def test_another_stream_of_a_group_that_starts_just_now_begins_with_it() -> None:
    now = BEGAN + timedelta(seconds=2)
    assert start("0", LATEST, [stored("0", 1, "other")], now=now) == FirstStart(THEN, 3, BEGAN)


def test_a_stream_that_a_group_reads_only_later_is_not_skipped() -> None:
    assert start("0", LATEST, [stored("0", 1, "other")], now=LATER).wish == EARLIEST


def test_after_foreign_checkpoints_nothing_is_skipped() -> None:
    assert start("1", LATEST, [stored("0", None)]).wish == EARLIEST


def test_a_time_is_that_time_for_those_that_were_there_and_earliest_for_the_new() -> None:
    noon = StartPosition.at_time(BEGAN)
    assert start("1", noon, [stored("0", 3)]).wish == noon
    assert start("3", noon, [stored("0", 3)]).wish == EARLIEST


@pytest.mark.parametrize("partition", ["0", "7"])
def test_earliest_is_earliest_for_all(partition: str) -> None:
    assert start(partition, EARLIEST, [stored("0", 3)]).wish == EARLIEST
