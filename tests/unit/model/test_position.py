"""Positions are ordered by (sequence, sub_sequence) and nothing else, and positions and starts survive being written down."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from operator import ge, gt, le, lt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamkit.model import Position, StartPosition
from tests.unit.model.nouns import known_positions, positions, starts


@given(positions)
def test_a_position_survives_its_text(position: Position) -> None:
    again = Position.from_text(position.to_text())
    assert again == position
    assert (again.sequence, again.sub_sequence, again.token, again.is_end) == (
        position.sequence,
        position.sub_sequence,
        position.token,
        position.is_end,
    )


@given(known_positions, known_positions, known_positions)
def test_known_positions_are_totally_ordered(a: Position, b: Position, c: Position) -> None:
    assert [a < b, a == b, a > b].count(True) == 1
    assert (a <= b) == (a < b or a == b)
    assert (a >= b) == (b <= a)
    if a <= b <= c:
        assert a <= c


@given(known_positions)
def test_the_end_is_greater_than_all(position: Position) -> None:
    assert position == Position.END or position < Position.END
    assert not position > Position.END


@given(known_positions, st.text(max_size=5))
def test_the_token_is_not_compared(position: Position, token: str) -> None:
    twin = Position(position.sequence, position.sub_sequence, token, position.is_end)
    assert twin == position
    assert hash(twin) == hash(position)
    assert not twin < position


@given(st.integers(0, 100), st.integers(0, 5), st.integers(0, 5))
def test_sub_sequences_order_within_a_sequence_only(sequence: int, one: int, other: int) -> None:
    assert (Position(sequence, one) < Position(sequence, other)) == (one < other)
    assert Position(sequence, one) < Position(sequence + 1, other)


def test_a_position_without_a_sequence_cannot_be_compared() -> None:
    unknown = Position(None, token="t")
    for other in (Position(1), Position.END, unknown):
        for compare in (lt, le, gt, ge):
            with pytest.raises(ValueError, match="cannot be compared"):
                compare(unknown, other)
    assert unknown != Position(0)
    assert unknown != Position.END
    assert unknown == Position(None, token="t")


def test_a_negative_sub_sequence_is_refused() -> None:
    with pytest.raises(ValueError, match="negative"):
        Position(1, -1)


@pytest.mark.parametrize("text", ["", "1", "1:", "1:a:0:", "1:1:b:", "1:1", "2:1:0:", "END", "1:1:-1:"])
def test_another_text_is_not_a_position(text: str) -> None:
    with pytest.raises(ValueError, match="position"):
        Position.from_text(text)


@given(starts)
def test_a_start_survives_its_text(start: StartPosition) -> None:
    assert StartPosition.from_text(start.to_text()) == start


@pytest.mark.parametrize("text", ["", "soon", "earliest now", "at", "at 7", "time yesterday", "time 2025-01-01T00:00:00"])
def test_another_text_is_not_a_start(text: str) -> None:
    with pytest.raises(ValueError, match=r"position|isoformat|time zone"):
        StartPosition.from_text(text)


def test_a_time_needs_a_zone_and_is_kept_in_utc() -> None:
    with pytest.raises(ValueError, match="no time zone"):
        StartPosition.at_time(datetime(2025, 1, 1))
    berlin = timezone(timedelta(hours=1))
    assert StartPosition.at_time(datetime(2025, 1, 1, 12, tzinfo=berlin)).time == datetime(2025, 1, 1, 11, tzinfo=UTC)


@given(starts)
def test_only_the_end_is_the_end(start: StartPosition) -> None:
    assert start.is_end == (start.position is not None and start.position.is_end)
    assert StartPosition.END.is_end
