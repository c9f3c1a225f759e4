"""What is written by one version is read by its neighbours, and never as something else."""

from __future__ import annotations

import json

import pytest
from hypothesis import given

from streamkit.model import Checkpoint, Partition, Position, StartPosition
from tests.unit.model.nouns import checkpoints

PLAIN = Checkpoint(Partition("orders", "0"), StartPosition.after(Position(7)))


@given(checkpoints)
def test_a_checkpoint_survives_its_text(checkpoint: Checkpoint) -> None:
    again = Checkpoint.from_text(checkpoint.to_text())
    assert again == checkpoint
    assert again.partition.incarnation == checkpoint.partition.incarnation
    assert again.partition.extra == checkpoint.partition.extra
    assert again.to_text() == checkpoint.to_text()


@given(checkpoints)
def test_it_is_one_line_of_json_with_a_version(checkpoint: Checkpoint) -> None:
    text = checkpoint.to_text()
    assert "\n" not in text
    assert json.loads(text)["version"] == 1


def test_a_neighbouring_version_with_more_names_is_read() -> None:
    body = json.loads(PLAIN.to_text()) | {"version": 2, "shiny": True}
    assert Checkpoint.from_text(json.dumps(body)) == PLAIN


@pytest.mark.parametrize("change", [{"version": 3}, {"version": 0}, {"version": "1"}, {"at": "soon"}, {"at": None}, {"stream": None}])
def test_what_cannot_be_understood_is_refused(change: dict[str, object]) -> None:
    body = {name: value for name, value in (json.loads(PLAIN.to_text()) | change).items() if value is not None}
    with pytest.raises(ValueError, match=r"checkpoint|position|Expecting"):
        Checkpoint.from_text(json.dumps(body))


@pytest.mark.parametrize("text", ["", "null", "[]", "7", "{}"])
def test_another_text_is_not_a_checkpoint(text: str) -> None:
    with pytest.raises(ValueError, match=r"checkpoint|position|Expecting"):
        Checkpoint.from_text(text)
