"""What the KCL is told of a position never leads it beyond what is done, and what it says is understood."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from streamkit_dynamodb.positions import pending_place, place_of, position_of, start_of

from streamkit.model import Position, StartPosition

SEQUENCES = st.integers(0, (1 << 186) - 1)


@pytest.mark.parametrize(
    ("start", "place"),
    [
        (None, ("TRIM_HORIZON", 0)),
        (StartPosition.EARLIEST, ("TRIM_HORIZON", 0)),
        (StartPosition.LATEST, ("TRIM_HORIZON", 0)),
        (StartPosition.at_time(datetime(2026, 1, 1, tzinfo=UTC)), ("TRIM_HORIZON", 0)),
        (StartPosition.END, ("SHARD_END", 0)),
        (StartPosition.after(Position(7)), ("7", 0)),
        (StartPosition.after(Position(7, 3)), ("7", 3)),
        (StartPosition.after(Position(None, token="4711")), ("TRIM_HORIZON", 0)),
        (StartPosition.at(Position(7, 3)), ("7", 2)),
        (StartPosition.at(Position(7, 1)), ("7", 0)),
        (StartPosition.at(Position(7)), ("TRIM_HORIZON", 0)),
    ],
)
def test_what_the_kcl_is_told(start: StartPosition | None, place: tuple[str, int]) -> None:
    assert place_of(start) == place


@given(SEQUENCES, st.integers(0, 10_000), st.booleans())
def test_the_kcl_goes_on_where_we_do_or_before(sequence: int, sub: int, inclusive: bool) -> None:
    """It delivers everything that follows the place in its columns."""
    start = StartPosition.at(Position(sequence, sub)) if inclusive else StartPosition.after(Position(sequence, sub))
    told = start_of(place_of(start))
    first = (sequence, sub) if inclusive else (sequence, sub + 1)
    if told != StartPosition.EARLIEST:
        assert told.position is not None
        assert told.kind == "after"
        assert (told.position.sequence, told.position.sub_sequence + 1) <= first


@given(SEQUENCES, st.integers(0, 10_000))
def test_what_it_has_done_comes_back(sequence: int, sub: int) -> None:
    done = StartPosition.after(Position(sequence, sub))
    assert start_of(place_of(done)) == done


def test_the_words_of_the_kcl() -> None:
    assert start_of(("TRIM_HORIZON", 0)) == StartPosition.EARLIEST
    assert start_of(("LATEST", 0)) == StartPosition.LATEST
    assert start_of(("SHARD_END", 0)) == StartPosition.END
    for word in ("AT_TIMESTAMP", "", "bogus", "-1", "1.5", "٣"):
        with pytest.raises(ValueError, match="no sequence number"):
            start_of((word, 0))


def test_pending_positions() -> None:
    assert pending_place(None) is None
    assert pending_place(Position(None, token="x")) is None
    for pending in (Position(5, 2), Position.END):
        place = pending_place(pending)
        assert place is not None
        assert position_of(*place) == pending
