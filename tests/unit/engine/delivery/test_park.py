"""ON_FAILURE=park: a key whose record has failed is not called until its letters have been replayed, whatever happens meanwhile."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from streamkit.engine import markers
from streamkit.engine.delivery.letter import Letter, original_of
from streamkit.engine.requests import release_request
from streamkit.errors import BrokerUnavailableError, DeadLetterError, RetriesExhaustedError
from streamkit.model import Batch, ParkedKey, Partition, PlainRecord, Position, Record
from streamkit.outcome import Reject
from streamkit.plugin import fencing
from streamkit.processing import Context, processor, record_processor
from streamkit.testing import Harness
from tests.unit.engine.rig import Notes, failing, values

P0 = Partition("stream", "0")
ORDERS: list[dict[str, Any]] = [{"ordering": "partition"}, {"ordering": "key", "concurrency": 3}]
both = pytest.mark.parametrize("order", ORDERS, ids=["partition", "key"])
PARK: dict[str, Any] = {"on_failure": "park", "retry_attempts": 1, "retry_backoff": "0s"}


def letters(h: Harness) -> list[Letter]:
    """As they stand in the target."""
    found = []
    for number, letter in enumerate(h.dead_letters):
        record = PlainRecord(Partition("letters", "0"), Position(number), letter.value, key=letter.key, headers=tuple(letter.headers))
        original = original_of(record)
        assert isinstance(original, Letter)
        found.append(original)
    return found


def told(h: Harness) -> list[tuple[bytes | None, str]]:
    """Value, and first or behind."""
    return [(letter.value, letter.parked.partition(" ")[0]) for letter in letters(h)]


def names(h: Harness, key: bytes) -> list[str]:
    """Of the letters of a key, as a replay to the end would have seen them: the last one."""
    return [letter.parked.partition(" ")[2] for letter in letters(h) if letter.key == key][-1:]


def stored(h: Harness) -> set[bytes]:
    row = h.script.rows[P0]
    assert row.checkpoint is not None
    return set(row.checkpoint.parked)


def ask(h: Harness, wanted: dict[bytes, list[str]]) -> None:
    h.script.requests[P0] = release_request(wanted)


def of(key: bytes, *numbers: int) -> list[bytes]:
    return [b"%s%d" % (key, number) for number in numbers]


def called(h: Harness, key: bytes) -> list[bytes | None]:
    return [record.value for record in h.seen if record.key == key]


@both
def test_later_records_of_the_key_go_behind_the_first_uncalled_and_others_go_on(order: dict[str, Any]) -> None:
    with Harness(failing({b"a0": 99}), **PARK, **order) as h:
        h.deliver((b"a0", b"a"), (b"b0", b"b"), (b"a1", b"a"), (b"n", None), (b"a2", b"a"), (b"b1", b"b"))
        assert told(h) == [(b"a0", "first"), (b"a1", "behind"), (b"a2", "behind")]
        assert called(h, b"a") == [b"a0"]
        assert called(h, b"b") == [b"b0", b"b1"]
        assert sorted(h.put_aside) == [(0, "park"), (2, "park"), (4, "park")]
        assert h.checkpoint == 5
        assert stored(h) == {b"a"}
        h.deliver((b"a3", b"a"))
        assert told(h)[3:] == [(b"a3", "behind")]
        assert h.halted is None


@both
def test_a_letter_behind_says_why_and_that_of_the_first_says_what_it_raised(order: dict[str, Any]) -> None:
    with Harness(failing({b"a0": 99}), **PARK, **order) as h:
        h.deliver((b"a0", b"a"), (b"a1", b"a"))
        first, behind = letters(h)
        assert (first.errors[0].type, first.attempts) == ("ValueError", 1)
        assert (behind.errors[0].type, behind.attempts) == ("streamkit.errors.ProcessingError", 0)
        assert "parked behind record stream/0/0" in behind.errors[0].message
        assert len({letter.parked for letter in (first, behind)}) == 2


@both
def test_a_record_without_a_key_parks_itself_alone(order: dict[str, Any]) -> None:
    with Harness(failing({b"x": 99}), **PARK, **order) as h:
        h.deliver(b"x", b"y", b"x")
        assert [letter.value for letter in h.dead_letters] == [b"x", b"x"]
        assert b"y" in values(h)
        assert stored(h) == set()


@both
def test_the_marker_is_in_the_store_before_the_first_letter(order: dict[str, Any]) -> None:
    with Harness(failing({b"a0": 99}), **PARK, **order) as h:
        seen: list[set[bytes]] = []
        strike = h.script.strike

        def watch(operation: object, subject: object) -> None:
            if operation == "send":
                seen.append(stored(h))
            strike(operation, subject)  # type: ignore[arg-type]

        h.script.strike = watch  # type: ignore[method-assign]
        h.deliver((b"a0", b"a"))
        assert seen == [{b"a"}]
        assert len(h.errors) == 1


@both
@pytest.mark.parametrize("how", ["crash", "stop", "revoke"])
def test_the_key_stays_parked_for_the_next_owner(order: dict[str, Any], how: str) -> None:
    with Harness(failing({b"a0": 1}), **PARK, **order) as h:
        h.deliver((b"a0", b"a"), (b"a1", b"a"))
        getattr(h, how)()
        h.deliver((b"a2", b"a"), (b"b0", b"b"))
        assert [value for value, _ in told(h)] == of(b"a", 0, 1, 2)
        assert called(h, b"a") == [b"a0"]
        assert called(h, b"b") == [b"b0"]


@both
def test_a_crash_between_marker_and_letter_puts_the_record_aside_uncalled(order: dict[str, Any]) -> None:
    """Its processor would succeed now, but the marker is there: only a letter that is replayed takes it away."""
    with Harness(failing({b"a0": 1}), **PARK, **order) as h:
        h.script.send_seconds = 10
        h.write((b"a0", b"a"), (b"a1", b"a"))
        h.advance(2)
        assert stored(h) == {b"a"}
        h.crash()
        assert h.dead_letters == []
        h.script.send_seconds = 0
        h.deliver((b"a2", b"a"))
        assert told(h) == [(b"a0", "first"), (b"a1", "behind"), (b"a2", "behind")]
        assert called(h, b"a") == [b"a0"]


@both
def test_a_crash_between_letter_and_checkpoint_writes_it_again_with_the_same_id(order: dict[str, Any]) -> None:
    with Harness(failing({b"a0": 1}), **PARK, **order, checkpoint_interval="1h") as h:
        h.write((b"b0", b"b"), (b"a0", b"a"), (b"a1", b"a"))
        h.advance(2)
        assert [value for value, _ in told(h)] == of(b"a", 0, 1)
        h.crash()
        h.deliver((b"a2", b"a"))
        h.stop()
        found = letters(h)
        assert [letter.value for letter in found][-3:] == of(b"a", 0, 1, 2)
        assert len({letter.id for letter in found}) == 3
        assert len({letter.parked for letter in found}) == len(found), "copies have names of their own"
        assert called(h, b"a") == [b"a0"]


@both
def test_a_letter_that_cannot_be_written_halts_and_is_written_later_uncalled(order: dict[str, Any]) -> None:
    notes = Notes()
    with Harness(failing({b"a0": 1}), **PARK, **order, observer=notes) as h:
        h.script.fail("send", BrokerUnavailableError("full"), times=2)
        h.deliver((b"a0", b"a"), (b"a1", b"a"))
        assert isinstance(h.halted, DeadLetterError)
        assert h.checkpoint is None
        h.advance(31)
        assert len(notes.named("halted")) == 2
        h.advance(61)
        h.settle()
        assert told(h) == [(b"a0", "first"), (b"a1", "behind")]
        first = letters(h)[0]
        assert (first.errors[0].type, first.attempts) == ("ValueError", 1)
        assert called(h, b"a") == [b"a0"]
        assert len(notes.named("recovered")) == 1
        assert h.checkpoint == 1


# -- release -------------------------------------------------------------------------------------------------------------


@both
def test_a_key_is_called_again_when_its_last_letter_has_been_replayed(order: dict[str, Any]) -> None:
    with Harness(failing({b"a0": 1}), **PARK, **order, checkpoint_interval="1s") as h:
        h.deliver((b"a0", b"a"), (b"a1", b"a"), (b"b0", b"b"))
        ask(h, {b"a": names(h, b"a")})
        h.advance(3)
        assert stored(h) == set()
        assert h.script.requests == {}
        h.deliver((b"a2", b"a"))
        assert called(h, b"a") == [b"a0", b"a2"]
        assert len(h.dead_letters) == 2


@both
def test_a_key_stays_parked_while_a_later_letter_has_not_been_replayed(order: dict[str, Any]) -> None:
    with Harness(failing({b"a0": 1}), **PARK, **order, checkpoint_interval="1s") as h:
        h.deliver((b"a0", b"a"))
        before = names(h, b"a")
        h.deliver((b"a1", b"a"))
        ask(h, {b"a": before})
        h.advance(3)
        assert h.script.requests == {}, "it was answered"
        assert stored(h) == {b"a"}
        h.deliver((b"a2", b"a"))
        assert called(h, b"a") == [b"a0"]
        assert [value for value, _ in told(h)] == of(b"a", 0, 1, 2)


@both
def test_a_copy_that_was_replayed_does_not_release_while_another_copy_follows(order: dict[str, Any]) -> None:
    with Harness(failing({b"a0": 1}), **PARK, **order, checkpoint_interval="1h") as h:
        h.write((b"a0", b"a"))
        h.advance(2)
        copy = names(h, b"a")
        h.crash()
        h.assign()
        ask(h, {b"a": copy})
        h.revoke()
        h.assign()
        assert len(h.dead_letters) == 2
        assert h.script.requests == {}
        assert stored(h) == {b"a"}


@both
def test_a_letter_under_way_keeps_the_key_parked_though_a_copy_of_it_was_replayed(order: dict[str, Any]) -> None:
    with Harness(failing({b"a0": 1}), **PARK, **order, checkpoint_interval="1s") as h:
        h.deliver((b"a0", b"a"))
        h.script.send_seconds = 20
        h.write((b"a1", b"a"))
        h.advance(2)
        row = h.script.rows[P0].checkpoint
        assert row is not None
        ask(h, {b"a": list(row.parked[b"a"].letters)})
        h.advance(5)
        assert stored(h) == {b"a"}
        assert h.script.requests == {}
        assert len(h.errors) == 1


@both
def test_what_was_asked_while_nobody_owned_it_comes_before_the_first_record(order: dict[str, Any]) -> None:
    with Harness(failing({b"a0": 1}), **PARK, **order, checkpoint_interval="1h") as h:
        h.deliver((b"a0", b"a"))
        h.stop()
        ask(h, {b"a": names(h, b"a")})
        h.deliver((b"a1", b"a"))
        assert called(h, b"a") == [b"a0", b"a1"]
        h.stop()
        assert stored(h) == set()


@both
def test_a_request_that_cannot_be_read_is_cleared_and_changes_nothing(order: dict[str, Any]) -> None:
    with Harness(failing({b"a0": 1}), **PARK, **order, checkpoint_interval="1s") as h:
        h.deliver((b"a0", b"a"))
        h.script.requests[P0] = "nonsense"
        h.advance(3)
        assert h.script.requests == {}
        assert stored(h) == {b"a"}
        assert len(h.errors) == 1


@both
def test_a_key_that_was_released_can_be_parked_again(order: dict[str, Any]) -> None:
    with Harness(failing({b"a0": 1, b"a1": 1}), **PARK, **order, checkpoint_interval="1s") as h:
        for number in (0, 1):
            h.deliver((b"a%d" % number, b"a"))
            ask(h, {b"a": names(h, b"a")})
            h.advance(3)
        h.deliver((b"a2", b"a"))
        assert told(h) == [(b"a0", "first"), (b"a1", "first")]
        assert called(h, b"a") == of(b"a", 0, 1, 2)


# -- bounds --------------------------------------------------------------------------------------------------------------


@both
def test_over_the_bound_the_partition_halts(order: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(markers, "MAX_KEYS", 2)
    with Harness(failing({b"a": 99, b"b": 99, b"c": 99}), **PARK, **order) as h:
        h.deliver((b"a", b"a"), (b"b", b"b"), (b"c", b"c"))
        assert isinstance(h.halted, DeadLetterError)
        assert "2 keys of stream/0 are parked already" in str(h.halted)
        assert len(h.dead_letters) == 2
        assert len(stored(h)) == 2


def test_keys_are_bounded_by_their_bytes_too() -> None:
    with Harness(failing({b"x": 99, b"y": 99}), **PARK) as h:
        h.deliver((b"x", b"k" * 40_000), (b"y", b"l" * 40_000))
        assert "with 65536 bytes" in str(h.halted)
        assert len(h.dead_letters) == 1


@both
def test_only_failures_count_for_the_limit_not_what_goes_behind_them(order: dict[str, Any]) -> None:
    with Harness(failing({b"a": 99, b"b": 99}), **PARK, **order, dead_letter_max_consecutive=1) as h:
        h.deliver((b"a", b"a"), *[(b"more", b"a")] * 5)
        assert len(h.dead_letters) == 6
        h.deliver((b"b", b"b"))
        assert isinstance(h.halted, RetriesExhaustedError)
        assert "DEAD_LETTER_MAX_CONSECUTIVE=1" in str(h.halted)


# -- batches, policies ---------------------------------------------------------------------------------------------------


@both
def test_a_batch_is_cut_where_a_parked_key_lies(order: dict[str, Any]) -> None:
    @processor
    def handle(batch: Batch, context: Context) -> None:
        if b"bad" in batch.values():
            raise ValueError("one of them")

    with Harness(handle, **PARK, **order, max_batch=2) as h:
        h.deliver((b"bad", b"a"))
        h.deliver((b"b", b"b"), (b"a1", b"a"), (b"c", b"c"), (b"a2", b"a"), (b"a3", b"a"), (b"d", b"d"))
        assert [letter.value for letter in h.dead_letters] == [b"bad", b"a1", b"a2", b"a3"]
        assert sorted(value or b"" for value in values(h) if value != b"bad") == [b"b", b"c", b"d"]
        assert h.checkpoint == 6


def test_the_rest_of_the_batch_in_which_a_key_is_parked_goes_behind_it() -> None:
    @processor(reject_on=(ValueError,))
    def handle(batch: Batch, context: Context) -> None:
        if b"bad" in batch.values():
            raise ValueError("one of them")

    with Harness(handle, **PARK, bisect=True) as h:
        h.write((b"x", b"x"), (b"bad", b"a"), (b"a1", b"a"), (b"y", b"y"), (b"a2", b"a"))
        h.settle()
        assert told(h) == [(b"bad", "first"), (b"a1", "behind"), (b"a2", "behind")]
        assert values(h)[-1] == b"y", "alone: a2 behind it is not called"
        assert h.checkpoint == 4


def test_a_processor_that_checkpoints_by_hand_parks_as_well() -> None:
    @record_processor(checkpoint="manual")
    def handle(record: Record, context: Context) -> None:
        if record.value == b"a0":
            raise ValueError
        context.checkpoint()

    with Harness(handle, **PARK) as h:
        h.deliver((b"a0", b"a"), (b"a1", b"a"), (b"b", b"b"))
        assert told(h) == [(b"a0", "first"), (b"a1", "behind")]
        assert h.checkpoint == 2


def test_another_policy_does_not_begin_where_keys_are_parked() -> None:
    with Harness(failing({b"a0": 1}), **PARK) as h:
        h.deliver((b"a0", b"a"))
        h.stop()
        script, ended = h.script, h.errors
    assert ended
    with pytest.raises(Exception, match="1 keys of stream/0 are parked") as caught:
        other = Harness(failing({}), on_failure="dead_letter", assigned=False)
        other.script = script
        with other:
            other.deliver((b"a1", b"a"))
    assert "STREAMKIT_ON_FAILURE" in str(caught.value)


# -- the store -----------------------------------------------------------------------------------------------------------


@both
def test_the_checkpoint_that_passes_a_record_names_its_letter(order: dict[str, Any]) -> None:
    """Or the next owner would release the key when the letter before it has been replayed."""
    with Harness(failing({b"a0": 1}), **PARK, **order) as h:
        h.deliver((b"a0", b"a"))
        h.deliver((b"a1", b"a"))
        assert h.checkpoint == 1
        h.crash()
        checkpoint = h.script.rows[P0].checkpoint
        assert checkpoint is not None
        assert list(checkpoint.parked[b"a"].letters) == names(h, b"a")
        assert checkpoint.parked[b"a"].first == "stream/0/0"
        assert len(h.errors) == 1


@both
def test_who_is_fenced_by_an_owner_that_has_parked_begins_again_from_the_store(order: dict[str, Any]) -> None:
    with Harness(failing({}), **PARK, **order, checkpoint_interval="1s") as h:
        h.deliver((b"a0", b"a"))
        row = fencing.claimed(h.script.rows[P0], P0, "somebody else", 0)
        assert row.checkpoint is not None
        h.script.rows[P0] = replace(row, checkpoint=replace(row.checkpoint, parked={b"a": ParkedKey("stream/0/0", ("x",))}))
        h.deliver((b"b0", b"b"))
        h.advance(5)
        h.deliver((b"a1", b"a"))
        assert called(h, b"a") == [b"a0"]
        assert told(h) == [(b"a1", "behind")]


def test_a_replay_does_not_release_what_is_being_written_by_the_store_s_word_alone() -> None:
    """While the removal of a marker is not in the store, the next record of its key waits."""
    with Harness(failing({b"a0": 1}), **PARK, checkpoint_interval="1s") as h:
        h.deliver((b"a0", b"a"))
        h.script.save_seconds = 10
        ask(h, {b"a": names(h, b"a")})
        h.advance(2)
        h.write((b"a1", b"a"))
        h.advance(3)
        assert called(h, b"a") == [b"a0"]
        h.script.save_seconds = 0
        h.settle()
        assert called(h, b"a") == [b"a0", b"a1"]
        assert len(h.dead_letters) == 1


@both
def test_a_record_that_was_checkpointed_before_it_is_rejected_has_a_letter_and_its_key_goes_on(order: dict[str, Any]) -> None:
    @record_processor
    def handle(record: Record, context: Context) -> Reject | None:
        if record.value == b"a0":
            context.checkpoint(record.position)
            return Reject("after all")
        return None

    with Harness(handle, **PARK, **order) as h:
        h.deliver((b"a0", b"a"), (b"a1", b"a"))
        assert [letter.value for letter in h.dead_letters] == [b"a0"]
        assert stored(h) == set()
        assert called(h, b"a") == of(b"a", 0, 1)
