"""What the SDKs of Azure leave and are told: both words always, and nothing skipped."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from streamkit_azureblob.positions import Told, place_of, told_by

from streamkit.model import Position, StartPosition


def test_after_an_event_both_words_name_it() -> None:
    assert place_of(StartPosition.after(Position(42, token="4294968472"))) == {"offset": "4294968472", "sequencenumber": "42"}


@pytest.mark.parametrize(
    "at",
    [
        None,
        StartPosition.EARLIEST,
        StartPosition.LATEST,
        StartPosition.END,
        StartPosition.at(Position(42, token="4294968472")),
        StartPosition.at_time(datetime(2026, 1, 1, tzinfo=UTC)),
    ],
)
def test_wherever_else_we_stand_others_begin_at_the_oldest(at: StartPosition | None) -> None:
    assert place_of(at) == {"offset": "-1", "sequencenumber": "-1"}


def test_what_is_not_known_is_written_too_because_python_fails_without_it() -> None:
    assert place_of(StartPosition.after(Position(42))) == {"offset": "-1", "sequencenumber": "42"}
    assert place_of(StartPosition.after(Position(None, token="77"))) == {"offset": "77", "sequencenumber": "-1"}


@pytest.mark.parametrize(
    ("metadata", "told"),
    [
        ({"offset": "100", "sequencenumber": "7"}, Told(StartPosition.after(Position(7, token="100")))),
        ({"sequencenumber": "7"}, Told(StartPosition.after(Position(7)), True)),  # Java's updateCheckpoint()
        ({"offset": "", "sequencenumber": "7"}, Told(StartPosition.after(Position(7)), True)),  # .NET
        ({"offset": "no offset", "sequencenumber": "7"}, Told(StartPosition.after(Position(7)), True)),  # .NET 5.11
        ({"offset": "100", "sequencenumber": ""}, Told(StartPosition.after(Position(None, token="100")), True)),
        ({"offset": "100"}, Told(StartPosition.after(Position(None, token="100")), True)),
        ({"offset": "-1", "sequencenumber": "7"}, Told(StartPosition.after(Position(7)))),  # ours, without our own text
        ({"offset": "-1", "sequencenumber": "-1"}, Told(StartPosition.EARLIEST)),
        ({"offset": "@latest", "sequencenumber": "-1"}, Told(StartPosition.LATEST)),
        ({"offset": "geo:opaque:9f", "sequencenumber": "7"}, Told(StartPosition.after(Position(7, token="geo:opaque:9f")))),
        ({"offset": "", "sequencenumber": ""}, Told(None, True)),
        ({"offset": "no offset", "sequencenumber": "many"}, Told(None, True)),
        ({}, Told(None, True)),
    ],
)
def test_what_others_leave_is_understood_as_far_as_it_goes(metadata: dict[str, str], told: Told) -> None:
    found = told_by(metadata)
    assert (found.at and found.at.to_text(), found.ignored) == (told.at and told.at.to_text(), told.ignored)
