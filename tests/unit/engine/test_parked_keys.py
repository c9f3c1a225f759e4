"""What a parked key waits for, and what a replay has dealt with of that."""

from __future__ import annotations

from datetime import UTC, datetime

from streamkit.cli.checkpoints import _parked as parked_once_set
from streamkit.engine.delivery.letter import Letter, letter_of, original_of
from streamkit.engine.delivery.messages import FailedRecord
from streamkit.engine.parked import Replayed, after_a_claim, inherited, is_replayed, name_of, still_parked, without
from streamkit.model import Checkpoint, ParkedKey, Partition, PlainRecord, Position, Record, StartPosition

P = Partition("s", "0")
NOW = datetime(2025, 1, 1, tzinfo=UTC)
NAME = name_of(P, 3, 7, "salt")


def letter(name: str, key: bytes | None = b"k", group: str = "g", target: str = "0", of: Record | None = None) -> Letter:
    record = of if of is not None else PlainRecord(P, Position(1), b"v", key=key, timestamp=NOW)
    written = letter_of(FailedRecord(record, ValueError(), 1, parked=f"behind {name}"), group=group, worker="w", failed_at=NOW)
    found = original_of(
        PlainRecord(Partition("letters", target), Position(0), written.value, key=written.key, headers=tuple(written.headers))
    )
    assert isinstance(found, Letter)
    return found


def replayed(*letters: Letter, waiting: tuple[Letter, ...] = ()) -> Replayed:
    found = Replayed("g")
    for one in letters:
        found.see(one, is_dealt_with=True)
    for one in waiting:
        found.see(one, is_dealt_with=False)
    return found


def test_the_last_letter_that_was_dealt_with_is_named() -> None:
    marker = {b"k": ParkedKey("s/0/1", (NAME,))}
    found = replayed(letter(name_of(P, 3, 6, "salt")), letter(NAME)).of(marker)
    assert found == {b"k": {NAME}}
    assert is_replayed(marker[b"k"], found[b"k"])


def test_a_key_of_which_a_letter_waits_is_not_named() -> None:
    assert replayed(letter(NAME), waiting=(letter(name_of(P, 3, 8, "salt")),)).of({b"k": ParkedKey("s/0/1", (NAME,))}) == {}


def test_a_letter_of_the_same_key_in_another_partition_holds_up_nothing() -> None:
    marker = {b"k": ParkedKey("s/0/1", (NAME,))}
    assert replayed(letter(NAME), waiting=(letter("s/1/3.8-x"),)).of(marker) == {b"k": {NAME}}
    assert replayed(letter("s/1/3.8-x")).of(marker) == {}


def test_letters_of_other_groups_and_of_no_parked_key_count_for_nothing() -> None:
    marker = {b"k": ParkedKey("s/0/1", (NAME,))}
    assert replayed(letter(NAME, group="other")).of(marker) == {}
    assert replayed(letter(NAME), waiting=(letter(NAME, group="other"),)).of(marker) == {b"k": {NAME}}


def test_the_letters_of_an_app_that_reads_letters_are_found_by_who_wrote_them_not_by_their_first_record() -> None:
    """A letter that fails again is a letter of its first record, whose partition nobody here has parked anything in."""
    first = letter("elsewhere/9/1.1-x")
    both = [letter(name_of(Partition("letters", str(n)), 1, 1, "y"), of=first) for n in range(2)]
    marker = {b"k": ParkedKey("s/0/1", tuple(one.parked.partition(" ")[2] for one in both))}
    assert is_replayed(marker[b"k"], replayed(*both).of(marker)[b"k"])


def test_letters_of_one_key_in_several_partitions_of_the_target_are_all_named() -> None:
    """The target has got more partitions meanwhile: which of them is the last is the owner's to know."""
    old = name_of(P, 3, 6, "salt")
    assert replayed(letter(NAME, target="3"), letter(old, target="0")).of({b"k": ParkedKey("s/0/1", (NAME,))}) == {b"k": {NAME, old}}


def test_a_name_is_not_used_again_by_a_store_that_was_made_anew() -> None:
    assert name_of(P, 1, 1, "one") != name_of(P, 1, 1, "other")


def test_a_claim_is_named_by_who_has_seen_it() -> None:
    marker = after_a_claim({b"k": ParkedKey("s/0/1", (NAME,))}, P, 4)
    assert not is_replayed(marker[b"k"], {NAME})
    assert is_replayed(marker[b"k"], replayed(letter(NAME)).of(marker)[b"k"])
    newer = after_a_claim(marker, P, 5)
    assert len(newer[b"k"].letters) == 2
    assert not is_replayed(newer[b"k"], replayed(letter(NAME)).of(marker)[b"k"])


def test_children_wait_for_all_letters_of_their_parents_and_for_no_claim_of_theirs() -> None:
    one = after_a_claim({b"k": ParkedKey("s/0/1", (NAME,))}, P, 4)
    other = {b"k": ParkedKey("s/1/1", ("s/1/2.1-x",)), b"free": ParkedKey("s/1/2", ())}
    assert inherited({}, [one, other]) == {b"k": ParkedKey("s/0/1", (NAME, "s/1/2.1-x"))}
    assert inherited({b"k": ParkedKey("s/0/1", ())}, [one, other]) == {b"k": ParkedKey("s/0/1", ())}, "it was released since"


def test_that_a_key_was_released_is_kept_until_a_record_is_done() -> None:
    parked = {b"k": ParkedKey("s/0/1", (NAME,)), b"other": ParkedKey("s/0/2", (NAME,))}
    early, late = Checkpoint(P, StartPosition.EARLIEST, parked=parked), Checkpoint(P, StartPosition.after(Position(1)), parked=parked)
    assert still_parked(without(early, [b"k"])) == without(late, [b"k"]) == {b"other": parked[b"other"]}
    assert without(early, [b"k"])[b"k"].is_released


def test_a_partition_that_is_put_elsewhere_before_it_has_begun_takes_what_its_parents_have_parked() -> None:
    """With a position of its own it counts as begun, and the rows of its parents may go."""
    parent = Checkpoint(P, StartPosition.after(Position.END), owner="w", parked={b"k": ParkedKey("s/0/1", (NAME,))})
    child = Partition("s", "1", parents=("0",))
    assert parked_once_set(child, {P: parent, child: Checkpoint(child, StartPosition.EARLIEST)}) == parent.parked
    begun = Checkpoint(child, StartPosition.after(Position(3)))
    assert parked_once_set(child, {P: parent, child: begun}) == {}
    assert list(parked_once_set(P, {P: replace_at(parent)})[b"k"].letters)[1:] == ["s/0/0.claimed"], "its owner may have died"


def replace_at(checkpoint: Checkpoint) -> Checkpoint:
    return Checkpoint(checkpoint.partition, StartPosition.after(Position(2)), owner="w", parked=checkpoint.parked)
