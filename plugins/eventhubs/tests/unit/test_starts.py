"""Start positions: what the SDK is given for each, and what is beyond, expired or caught up."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from streamkit_eventhubs.hubs import Ends
from streamkit_eventhubs.starts import expired, first_wanted, for_sdk, is_caught_up, refuse_beyond

from streamkit.errors import PositionInvalidError
from streamkit.model import Partition, Position, StartPosition

P0 = Partition("orders", "0")
NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
SOME = Ends(oldest=5, newest=9, offset="o9", written=NOON.timestamp())
GONE = Ends(oldest=10, newest=9, offset="o9", written=NOON.timestamp())
NEVER = Ends(oldest=0, newest=-1, offset="-1", written=-62135596800.0)


@pytest.mark.parametrize(
    ("start", "given"),
    [
        (StartPosition.EARLIEST, ("-1", False)),
        (StartPosition.LATEST, ("@latest", False)),
        (StartPosition.at_time(NOON), (NOON, True)),
        (StartPosition.at(Position(7, token="o7")), ("o7", True)),
        (StartPosition.after(Position(7, token="o7")), ("o7", False)),
        (StartPosition.at(Position(7)), (7, True)),
        (StartPosition.after(Position(0)), (0, False)),
        (StartPosition.after(Position(None, token="cluster-2:77")), ("cluster-2:77", False)),
    ],
)
def test_an_offset_counts_before_a_number_and_is_never_looked_into(start: StartPosition, given: tuple[object, bool]) -> None:
    assert for_sdk(start) == given


@pytest.mark.parametrize("position", [Position(None), Position.END])
def test_a_position_of_no_event_is_refused(position: Position) -> None:
    with pytest.raises(PositionInvalidError):
        for_sdk(StartPosition.after(position))


def test_which_event_comes_first() -> None:
    assert first_wanted(StartPosition.at(Position(7))) == 7
    assert first_wanted(StartPosition.after(Position(7))) == 8
    assert first_wanted(StartPosition.after(Position(None, token="o"))) is first_wanted(StartPosition.EARLIEST) is None


def test_beyond_the_event_written_last_is_only_what_is_not_the_next() -> None:
    for ends in (SOME, GONE):
        assert refuse_beyond(P0, StartPosition.after(Position(9)), ends) is None
        assert refuse_beyond(P0, StartPosition.at(Position(10)), ends) is None
        assert refuse_beyond(P0, StartPosition.after(Position(10)), ends) is not None
    assert refuse_beyond(P0, StartPosition.at(Position(0)), NEVER) is None
    assert refuse_beyond(P0, StartPosition.after(Position(0)), NEVER) is not None
    assert refuse_beyond(P0, StartPosition.EARLIEST, NEVER) is None


def test_what_has_expired_is_counted_and_the_oldest_named() -> None:
    error = expired(P0, 2, 5)
    assert error.earliest == "5"
    assert "3 are gone" in str(error)
    assert not error.retryable


@pytest.mark.parametrize(
    ("start", "some", "gone", "never"),
    [
        (StartPosition.EARLIEST, False, True, True),
        (StartPosition.LATEST, True, True, True),
        (StartPosition.after(Position(9)), True, True, True),
        (StartPosition.at(Position(9)), False, True, True),
        (StartPosition.after(Position(3)), False, True, True),
        (StartPosition.at_time(NOON), False, True, True),
        (StartPosition.at_time(NOON.replace(second=1)), True, True, True),
        (StartPosition.after(Position(None, token="o")), False, True, True),
        (StartPosition.after(Position(None, token="o9")), True, True, True),
        (StartPosition.at(Position(None, token="o9")), False, True, True),
    ],
)
def test_whether_there_is_anything_to_come(start: StartPosition, some: bool, gone: bool, never: bool) -> None:
    assert [is_caught_up(start, ends) for ends in (SOME, GONE, NEVER)] == [some, gone, never]


def test_a_tip_has_an_offset_only_if_there_was_an_event() -> None:
    assert (SOME.tip.sequence, SOME.tip.token, NEVER.tip.token) == (9, "o9", "")
    assert (SOME.is_empty, GONE.is_empty, NEVER.is_empty) == (False, True, True)
