"""What a dead letter says: everything of its record comes back, whatever it holds, and the error is bounded."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamkit.engine.delivery.error_chain import MAX_ERRORS, MAX_FRAMES, ChainedError, chain_of
from streamkit.engine.delivery.letter import MAX_EARLIER, NAMES, Letter, letter_of, original_of
from streamkit.engine.delivery.messages import FailedRecord
from streamkit.model import Headers, Partition, PlainRecord, Position, Record
from streamkit.plugin import NewRecord

WHEN = datetime(2025, 1, 31, 9, 0, 0, 123456, UTC)

names = st.one_of(st.sampled_from(NAMES), st.just(""), st.text(max_size=20))
values = st.one_of(st.none(), st.binary(max_size=30))
records = st.builds(
    lambda stream, partition, position, value, key, headers, seconds: PlainRecord(
        Partition(stream, partition), position, value, key=key, headers=headers, timestamp=WHEN + timedelta(microseconds=seconds)
    ),
    st.text(min_size=1, max_size=10),
    st.text(max_size=10),
    st.builds(Position, st.integers(0, 2**190), st.integers(0, 5), st.text(max_size=5)),
    values,
    values,
    st.lists(st.tuples(names, values), max_size=30),
    st.integers(0, 10**15),
)


def letter(record: Record, error: BaseException | None = None, **facts: Any) -> NewRecord:
    given: dict[str, Any] = {"group": "billing", "worker": "w1", "failed_at": WHEN, **facts}
    return letter_of(FailedRecord(record, error or ValueError("no"), 3), **given)


def in_target(new: NewRecord, sequence: int = 7) -> PlainRecord:
    """As the dead-letter stream gives it back."""
    return PlainRecord(Partition("dlq", "2"), Position(sequence), new.value, key=new.key, headers=new.headers, timestamp=WHEN)


def read(new: NewRecord) -> Letter:
    found = original_of(in_target(new))
    assert isinstance(found, Letter)
    return found


@settings(deadline=None)
@given(records)
def test_a_record_comes_back_as_it_was(record: PlainRecord) -> None:
    new = letter(record)
    assert (new.key, new.value, new.partition) == (record.key, record.value, None)
    found = read(new)
    assert (found.key, found.value, found.headers) == (record.key, record.value, record.headers)
    assert (found.timestamp, found.id) == (record.timestamp, record.id)
    assert (found.origin_stream, found.origin_partition) == (record.partition.stream, record.partition.id)
    origin = found.origin_position
    assert (origin, origin.token) == (record.position, record.position.token)
    assert (found.partition, found.position) == (Partition("dlq", "2"), Position(7)), "what is checkpointed is the letter's own place"


@settings(deadline=None)
@given(records)
def test_our_headers_are_text_and_come_last(record: PlainRecord) -> None:
    headers = letter(record).headers
    ours = headers[len(record.headers) :]
    assert tuple(name for name, _ in ours) == NAMES
    assert headers[: len(record.headers)] == record.headers
    assert all((value or b"").decode() is not None for _, value in ours)


def test_the_headers_say_all_that_is_known() -> None:
    record = PlainRecord(Partition("orders", "3"), Position(12, 1, "9"), b"v", timestamp=WHEN)
    facts = {name: (value or b"").decode() for name, value in letter(record, OSError("no database")).headers}
    chain = json.loads(facts.pop("streamkit-error"))
    assert facts == {
        "streamkit-version": "1",
        "streamkit-stream": "orders",
        "streamkit-partition": "3",
        "streamkit-position": "1:12:1:9",
        "streamkit-timestamp": "2025-01-31T09:00:00.123456+00:00",
        "streamkit-id": "orders/3/12.1",
        "streamkit-group": "billing",
        "streamkit-worker": "w1",
        "streamkit-attempts": "3",
        "streamkit-failed-at": "2025-01-31T09:00:00.123456+00:00",
        "streamkit-earlier": "[]",
        "streamkit-parked": "no",
    }
    assert chain == [{"type": "OSError", "message": "no database"}]


@settings(deadline=None)
@given(records, st.permutations(range(len(NAMES) + 3)), st.lists(st.tuples(st.text(max_size=5), values), min_size=1, max_size=3))
def test_headers_that_a_bridge_added_or_moved_do_no_harm(record: PlainRecord, order: Any, added: list[tuple[str, bytes | None]]) -> None:
    new = letter(PlainRecord(record.partition, record.position, record.value, timestamp=record.timestamp))
    headers = [*new.headers, *added]
    moved = [headers[index] for index in order if index < len(headers)]
    kept = [header for header in moved if header[0] not in NAMES]
    found = original_of(in_target(NewRecord(new.value, headers=Headers(moved))))
    assert isinstance(found, Letter) or any(name not in {name for name, _ in moved} for name in NAMES)
    if isinstance(found, Letter):
        assert found.headers == Headers(kept)


# -- again ---------------------------------------------------------------------------------------------------------------


@settings(deadline=None)
@given(records, st.integers(1, 9))
def test_a_letter_that_fails_again_is_still_a_letter_of_its_record(record: PlainRecord, times: int) -> None:
    new = letter(record)
    first_size = sum(len(value or b"") for _, value in new.headers)
    for number in range(times):
        failed = in_target(new, 100 + number) if number % 2 else read(new)  # as an app that reads it sees it, or a replay
        new = letter(failed, KeyError(f"failure {number}"), group=f"g{number}", failed_at=WHEN + timedelta(days=number))
    found = read(new)
    assert (found.key, found.value, found.headers, found.timestamp) == (record.key, record.value, record.headers, record.timestamp)
    assert (found.id, found.origin_position, found.origin_stream) == (record.id, record.position, record.partition.stream)
    assert len(new.headers) == len(record.headers) + len(NAMES), "letters are not put into letters"
    assert found.errors[0].message == f"'failure {times - 1}'"
    assert found.group == f"g{times - 1}"
    assert len(found.earlier) == min(times, MAX_EARLIER)
    assert found.earlier[-1].group == (f"g{times - 2}" if times > 1 else "billing")
    assert sum(len(value or b"") for _, value in new.headers) < first_size + 5000


@settings(deadline=None)
@given(records)
def test_what_is_no_letter_stays_as_it_is(record: PlainRecord) -> None:
    assert original_of(record) is record


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("version", b"99"),
        ("version", b"x"),
        ("version", None),
        ("position", b"here"),
        ("timestamp", b"2025-01-31T09:00:00"),
        ("failed-at", b"soon"),
        ("attempts", b""),
        ("error", b"{"),
        ("error", b'["x"]'),
        ("error", b'[{"frames": 1}]'),
        ("earlier", b"{}"),
        ("earlier", b"[{}]"),
        ("earlier", b"[1]"),
        ("id", b"\xff"),
    ],
)
def test_headers_of_our_names_that_are_not_ours_do_not_make_a_letter(name: str, value: bytes | None) -> None:
    new = letter(PlainRecord(Partition("orders", "0"), Position(1), b"v"))
    headers = [(key, value if key == f"streamkit-{name}" else old) for key, old in new.headers]
    record = PlainRecord(Partition("dlq", "0"), Position(1), b"v", headers=headers)
    assert original_of(record) is record


def test_a_letter_of_the_next_version_is_read() -> None:
    new = letter(PlainRecord(Partition("orders", "0"), Position(1), b"v"))
    headers = [(key, b"2" if key == "streamkit-version" else old) for key, old in new.headers]
    assert isinstance(original_of(in_target(NewRecord(b"v", headers=Headers(headers)))), Letter)


# -- errors --------------------------------------------------------------------------------------------------------------


class Odd(Exception):
    def __str__(self) -> str:
        raise RuntimeError("not even this")


def raised(depth: int, message: str) -> Exception:
    def fall(left: int) -> None:
        if left == 0:
            raise ValueError(message)
        fall(left - 1)

    try:
        fall(depth)
    except ValueError as error:
        return error
    raise AssertionError


def test_causes_and_contexts_are_followed_and_frames_are_the_innermost() -> None:
    try:
        try:
            raise raised(20, "inner")
        except ValueError as inner:
            raise OSError("outer") from inner
    except OSError as error:
        chain = chain_of(error)
    assert [(one.type, one.message, one.link) for one in chain] == [("OSError", "outer", ""), ("ValueError", "inner", "cause")]
    assert len(chain[1].frames) == MAX_FRAMES
    assert chain[1].frames[-1].endswith(" in fall")
    assert "test_letter.py:" in chain[1].frames[-1]


def test_a_context_counts_unless_it_was_suppressed() -> None:
    outer, inner = ValueError("outer"), KeyError("inner")
    outer.__context__ = inner
    assert [one.link for one in chain_of(outer)] == ["", "context"]
    outer.__suppress_context__ = True
    assert [one.link for one in chain_of(outer)] == [""]


def test_a_circle_of_causes_ends() -> None:
    one, other = ValueError("one"), ValueError("other")
    one.__cause__, other.__cause__ = other, one
    assert [error.message for error in chain_of(one)] == ["one", "other"]


def test_members_of_a_group_are_told_and_what_cannot_be_printed_is_no_obstacle() -> None:
    group = ExceptionGroup("several", [ValueError("a"), Odd()])
    chain = chain_of(group)
    assert [one.link for one in chain] == ["", "member", "member"]
    assert chain[2].message == "(no text: __str__ raised RuntimeError)"


@settings(deadline=None, max_examples=40)
@given(st.text(), st.integers(0, 40))
def test_an_error_is_of_bounded_size_whatever_it_says(text: str, depth: int) -> None:
    error = raised(depth * 5, text * 1000 + "\udc80\x00\N{PILE OF POO}" * 1000)
    for number in range(depth):
        outer = type(f"E{number}" * 100, (Exception,), {})(text * 1000)
        outer.__cause__ = error
        error = outer
    new = letter(PlainRecord(Partition("orders", "0"), Position(1), b"v"), error)
    assert len(new.headers.get("streamkit-error") or b"") < 65536
    found = read(new)
    assert len(found.errors) <= MAX_ERRORS
    assert found.errors[-1].type


def test_an_error_goes_to_json_and_back() -> None:
    for one in (ChainedError("T", "m", "cause", ("f:1 in g",)), ChainedError("", "")):
        assert ChainedError.from_json(one.to_json()) == one
