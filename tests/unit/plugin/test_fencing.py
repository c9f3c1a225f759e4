"""The rules of rows, alone."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamkit.errors import CheckpointPositionError, FencedError
from streamkit.model import Checkpoint, Partition, StartPosition
from streamkit.plugin import Grant, fencing
from tests.conformance.stores import after, partition

actions = st.lists(
    st.one_of(
        st.tuples(st.just("claim"), st.integers(0, 12)),
        st.tuples(st.just("save"), st.integers(0, 5)),
        st.tuples(st.sampled_from(["overwrite", "delete"]), st.just(0)),
    ),
    max_size=40,
)


@given(actions)
def test_whatever_happens_epochs_rise_and_only_the_newest_grant_saves(history: list[tuple[str, int]]) -> None:
    row: fencing.Row | None = None
    grants: list[Grant] = []
    valid: Grant | None = None
    for position, (action, value) in enumerate(history):
        before = row.epoch if row else 0
        if action == "claim":
            row = fencing.claimed(row, partition(), "w", value)
            grants.append(valid := fencing.claim_of(row).grant)
            assert row.epoch == max(value, before + 1)
        elif action == "save" and grants:
            grant = grants[-1 - value % len(grants)]
            try:
                row = fencing.saved(row, after(position), grant)
                assert grant == valid
            except FencedError:
                assert grant != valid
        elif action == "overwrite":
            row, valid = fencing.overwritten(row, after(0)), None
        elif action == "delete" and row:
            row, valid = fencing.forgotten(row), None
        assert (row.epoch if row else 0) >= before
    assert len(set(map(str, grants))) == len(grants)


def test_a_start_without_a_position_comes_before_every_position_and_is_never_returned_to() -> None:
    row = fencing.claimed(None, partition(), "w", 0)
    for start in (StartPosition.EARLIEST, StartPosition.LATEST):
        row = fencing.saved(row, Checkpoint(partition(), start), Grant(1))
    row = fencing.saved(row, after(0), Grant(1))
    for start in (StartPosition.EARLIEST, StartPosition.LATEST):
        with pytest.raises(CheckpointPositionError, match="does not follow the stored one, after 0"):
            fencing.saved(row, Checkpoint(partition(), start), Grant(1))


def test_an_equal_save_keeps_the_very_same_checkpoint_and_is_a_sign_of_life() -> None:
    row = fencing.saved(fencing.claimed(None, partition(), "w", 0), after(3), Grant(1))
    again = fencing.saved(row, after(3), Grant(1))
    assert again.checkpoint is row.checkpoint
    assert again.version == row.version + 1
    other = fencing.saved(row, after(3, metadata="other"), Grant(1))
    assert other.checkpoint is not row.checkpoint


def test_a_row_that_nobody_owns_accepts_no_grant() -> None:
    for row in (None, fencing.Row(3), fencing.overwritten(fencing.Row(2, "w"), after(1)), fencing.forgotten(fencing.Row(2, "w"))):
        with pytest.raises(FencedError):
            fencing.checked(row, partition(), Grant(3))
    assert fencing.checked(fencing.Row(3, "w"), partition(), Grant(3)).owner == "w"


def test_what_is_known_of_another_incarnation_is_forgotten() -> None:
    stored = Partition("orders", "0", incarnation="c/1", parents=("p",), children=("x",), key_range=(0, 9), extra={"a": "b"})
    found = fencing.known(stored, Partition("orders", "0", incarnation="c/2", children=("y",), key_range=(0, 5), ended=True))
    assert (found.incarnation, found.parents, found.children, found.key_range, found.ended) == ("c/2", (), (), (0, 5), False)
    found = fencing.known(stored, Partition("orders", "0", children=("y",), key_range=(0, 5)))
    assert (found.incarnation, found.parents, found.children, found.key_range) == ("c/1", ("p",), ("x",), (0, 5))
