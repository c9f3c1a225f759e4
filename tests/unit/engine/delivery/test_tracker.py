"""The tracker against a naive model: the safe position is the last of the records that are done without a gap."""

from __future__ import annotations

import random
import weakref
from datetime import UTC, datetime, timedelta

import pytest

from streamkit.engine.delivery.messages import Progress
from streamkit.engine.delivery.pressure import weight_of
from streamkit.engine.delivery.tracker import Item, Tracker, batch_of
from streamkit.model import Batch, Partition, PlainRecord, Position

P0 = Partition("stream", "0")


class _Weak(PlainRecord):
    __slots__ = ("__weakref__",)


def _batch(positions: list[Position], sizes: list[int] | None = None) -> Batch:
    return Batch.of([_Weak(P0, position, b"x" * size) for position, size in zip(positions, sizes or [1] * len(positions), strict=True)])


def _positions(dice: random.Random, count: int) -> list[Position]:
    """Rising, with gaps and sub-sequences."""
    found: list[Position] = []
    sequence, sub = 0, 0
    for _ in range(count):
        if dice.random() < 0.3:
            sub += dice.randint(1, 3)
        else:
            sequence, sub = sequence + dice.randint(1, 5), 0
        found.append(Position(sequence, sub))
    return found


@pytest.mark.parametrize("seed", range(50))
def test_the_safe_position_is_that_of_a_naive_model(seed: int) -> None:
    dice = random.Random(seed)
    positions = _positions(dice, 120)
    tracker = Tracker()
    done: list[bool] = []
    under_way: list[Item] = []
    left = list(positions)
    while left or under_way:
        if left and dice.random() < 0.2:
            count = dice.randint(1, 20)
            under_way.extend(tracker.offer(_batch(left[:count])))
            done.extend([False] * len(left[:count]))
            del left[:count]
        elif under_way:
            item = under_way.pop(dice.randrange(min(len(under_way), dice.choice((1, 4, 100)))))
            assert item.record.position == positions[item.index]
            assert tracker.mark(item) is not None
            done[item.index] = True
        before = tracker.progress
        moved = tracker.advance()
        count = done.index(False) if False in done else len(done)
        assert tracker.progress == Progress(positions[count - 1] if count else None, count)
        assert moved == (tracker.progress != before)
        assert tracker.open_records == len(done) - count
    assert tracker.progress == Progress(positions[-1], len(positions))


def test_a_gap_stops_the_safe_position_and_its_end_moves_it_over_all_that_is_done() -> None:
    tracker = Tracker()
    first = tracker.offer(_batch([Position(10), Position(13), Position(13, 1)]))
    second = tracker.offer(_batch([Position(20), Position(21)]))
    for item in (*first[:1], *first[2:], *second):
        tracker.mark(item)
    tracker.advance()
    assert tracker.progress == Progress(Position(10), 1)
    tracker.mark(first[1])
    tracker.advance()
    assert tracker.progress == Progress(Position(21), 5)


def test_a_record_is_marked_once() -> None:
    tracker = Tracker()
    item, _ = tracker.offer(_batch([Position(0), Position(1)]))
    assert tracker.mark(item) is not None
    assert tracker.mark(item) is None, "harmless, and said"
    tracker.advance()
    assert tracker.progress.count == 1


@pytest.mark.parametrize("seed", range(20))
def test_the_bytes_that_are_freed_add_up_to_the_weight_of_the_batch(seed: int) -> None:
    dice = random.Random(seed)
    batch = _batch(_positions(dice, 30), [dice.choice((0, 1, 10, 10_000)) for _ in range(30)])
    tracker = Tracker()
    items = tracker.offer(batch)
    dice.shuffle(items)
    freed = [tracker.mark(item) for item in items]
    assert all(share is not None and share >= 0 for share in freed)
    assert sum(share or 0 for share in freed) == weight_of(batch)


def test_a_large_record_that_is_not_done_is_held_and_the_small_ones_are_free() -> None:
    tracker = Tracker()
    batch = _batch([Position(n) for n in range(10)], [1_000_000] + [1] * 9)
    large, *small = tracker.offer(batch)
    assert sum(tracker.mark(item) or 0 for item in small) < weight_of(batch) // 100
    assert (tracker.mark(large) or 0) > weight_of(batch) * 99 // 100


def test_a_straggler_does_not_keep_the_finished_records_in_memory() -> None:
    tracker = Tracker()
    straggler, *others = tracker.offer(_batch([Position(n) for n in range(100)]))
    records = [weakref.ref(item.record) for item in others]
    for item in others:
        tracker.mark(item)
    del item
    others.clear()
    tracker.advance()
    assert [record for record in records if record() is not None] == []
    assert not straggler.is_done
    assert tracker.open_records == 100


def test_the_safe_position_knows_when_its_record_was_written() -> None:
    begin = datetime(2025, 1, 31, 9, tzinfo=UTC)
    records = [PlainRecord(P0, Position(n), b"", timestamp=begin + timedelta(minutes=n)) for n in range(4)]
    tracker = Tracker()
    first, second, *others = tracker.offer(Batch.of(records))
    for item in (first, *others):
        tracker.mark(item)
    tracker.advance()
    assert tracker.progress == Progress(Position(0), 1, begin)
    tracker.mark(second)
    tracker.advance()
    assert tracker.progress == Progress(Position(3), 4, begin + timedelta(minutes=3))


def test_what_a_call_gets_lags_by_what_lies_behind_its_last_record() -> None:
    tracker = Tracker()
    items = tracker.offer(Batch.of([PlainRecord(P0, Position(n), b"") for n in range(10)], received=7.0, lag_records=5))
    batch = batch_of([items[2], items[6]])
    assert ([record.position.sequence for record in batch], batch.lag_records, batch.received) == ([2, 6], 8, 7.0)
