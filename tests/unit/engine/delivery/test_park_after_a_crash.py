"""ON_FAILURE=park: what an owner has done that the store does not know of, and what may be concluded from a replay all the same."""

from __future__ import annotations

from typing import Any

from streamkit.engine.parked import Replayed
from streamkit.engine.requests import release_request
from streamkit.errors import CheckpointPositionError
from streamkit.plugin import Grant
from streamkit.testing import Harness
from tests.unit.engine.delivery.test_park import P0, PARK, ask, both, called, letters, names, stored, told
from tests.unit.engine.rig import failing


def replayed(h: Harness, dealt_with: int) -> Replayed:
    """What somebody sees who reads the target now, after a replay of its first letters."""
    found = Replayed("group")
    for number, letter in enumerate(letters(h)):
        found.see(letter, is_dealt_with=number < dealt_with)
    return found


def ask_as_listed(h: Harness, dealt_with: int) -> bool:
    """As the command line does it: first the markers, then the target, then the request. Whether anything is asked for."""
    row = h.script.rows[P0].checkpoint
    assert row is not None
    wanted = replayed(h, dealt_with).of(row.parked)
    if wanted:
        h.script.requests[P0] = release_request(wanted)
    return bool(wanted)


def dies_with_an_unknown_letter(h: Harness) -> None:
    """The letter of a1 is in the target, and the store knows nothing of it."""
    h.write((b"a0", b"a"))
    h.advance(2)
    h.revoke()
    h.assign()
    h.write((b"a1", b"a"))
    h.advance(2)
    assert told(h) == [(b"a0", "first"), (b"a1", "behind")]
    h.crash()


@both
def test_what_was_asked_before_a_crash_does_not_release_a_key_of_which_the_dead_owner_has_written_more(order: dict[str, Any]) -> None:
    """Or a1 would be called now, and its letter replayed when later records have long been called."""
    with Harness(failing({b"a0": 1}), **PARK, **order, checkpoint_interval="1h") as h:
        h.write((b"a0", b"a"))
        h.advance(2)
        first = names(h, b"a")
        h.revoke()
        h.assign()
        h.write((b"a1", b"a"))
        h.advance(2)
        h.crash()
        ask(h, {b"a": first})
        h.deliver((b"a2", b"a"))
        assert called(h, b"a") == [b"a0"]
        assert stored(h) == {b"a"}
        assert len(h.errors) == 1


@both
def test_a_key_is_not_asked_for_while_one_of_its_letters_waits(order: dict[str, Any]) -> None:
    with Harness(failing({b"a0": 1}), **PARK, **order, checkpoint_interval="1h") as h:
        dies_with_an_unknown_letter(h)
        assert not ask_as_listed(h, dealt_with=1)
        assert len(h.errors) == 1


@both
def test_after_a_crash_a_key_is_released_when_all_that_is_there_was_replayed(order: dict[str, Any]) -> None:
    with Harness(failing({b"a0": 1}), **PARK, **order, checkpoint_interval="1s") as h:
        dies_with_an_unknown_letter(h)
        h.deliver((b"b0", b"b"))  # and a1 once more, to the letters
        assert ask_as_listed(h, dealt_with=len(letters(h)))
        h.advance(3)
        assert stored(h) == set()
        h.deliver((b"a2", b"a"))
        assert called(h, b"a") == [b"a0", b"a2"]


@both
def test_a_key_without_further_records_is_released_after_a_crash_too(order: dict[str, Any]) -> None:
    """Its marker has a claim beside the name, and who has seen that may name it."""
    with Harness(failing({b"a0": 1}), **PARK, **order, checkpoint_interval="1s") as h:
        h.deliver((b"a0", b"a"))
        h.crash()
        h.assign()
        h.advance(3)
        ask(h, {b"a": names(h, b"a")})
        h.advance(3)
        assert stored(h) == {b"a"}, "by the name alone: there might be another letter"
        assert ask_as_listed(h, dealt_with=1)
        h.advance(3)
        assert stored(h) == set()
        assert len(h.errors) == 1


@both
def test_an_owner_that_gives_back_in_order_leaves_no_doubt(order: dict[str, Any]) -> None:
    with Harness(failing({b"a0": 1}), **PARK, **order, checkpoint_interval="1s") as h:
        h.deliver((b"a0", b"a"))
        h.revoke()
        row = h.script.rows[P0].checkpoint
        assert row is not None
        assert row.owner == ""
        h.assign()
        h.advance(3)
        ask(h, {b"a": names(h, b"a")})
        h.advance(3)
        assert stored(h) == set()
        assert len(h.errors) == 1


@both
def test_an_owner_that_dies_before_its_first_checkpoint_leaves_doubt_behind_one_that_gave_back(order: dict[str, Any]) -> None:
    with Harness(failing({b"a0": 1}), **PARK, **order, checkpoint_interval="1h") as h:
        h.write((b"a0", b"a"))
        h.advance(2)
        first = names(h, b"a")
        h.revoke()
        h.assign()
        h.crash()
        ask(h, {b"a": first})
        h.assign()
        h.advance(2)
        assert stored(h) == {b"a"}
        assert len(h.errors) == 1


def test_a_release_that_the_store_refuses_leaves_the_key_parked() -> None:
    with Harness(failing({b"a0": 1}), **PARK, checkpoint_interval="1s") as h:
        h.deliver((b"a0", b"a"))
        h.advance(3)
        refusals = 1

        def refuse(answers: list[Grant | Exception]) -> list[Grant | Exception]:
            nonlocal refusals
            refusals -= 1
            return [CheckpointPositionError("refused", position=None, low=None, high=None)] if refusals >= 0 else answers

        before = h.script.rows[P0]
        h.script.save_seconds = 5
        h.script.answers = refuse
        ask(h, {b"a": names(h, b"a")})
        h.advance(2)
        h.write((b"a1", b"a"))
        h.advance(4.5)
        h.script.rows[P0] = before  # a store that refuses has written nothing
        h.advance(30)
        assert called(h, b"a") == [b"a0"]
        assert told(h)[-1] == (b"a1", "behind")
        assert stored(h) == {b"a"}
        assert len(h.errors) >= 1
