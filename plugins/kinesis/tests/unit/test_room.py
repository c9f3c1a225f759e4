"""Bytes that are read ahead: reserved before, settled after, bounded always."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from streamkit_kinesis.room import FIRST_BYTES, LARGEST_BYTES, SMALLEST_BYTES, Appetite, Room

MIB = 1 << 20


@given(st.lists(st.tuples(st.integers(1, LARGEST_BYTES), st.floats(0, 1)), max_size=60), st.integers(MIB, 64 * MIB))
def test_never_more_is_granted_than_there_is(reads: list[tuple[int, float]], total: int) -> None:
    room = Room(total)
    waiting: list[int] = []
    for wanted, part in reads:
        granted = room.reserve(wanted)
        assert room.held <= total
        if not granted:
            assert waiting, "the first read was refused"
            room.release(waiting.pop(0))
            continue
        used = int(granted * part)
        room.settle(granted, used)
        waiting.append(used)
    for used in waiting:
        room.release(used)
    assert room.held == 0


def test_one_read_is_always_admitted_and_what_it_brings_holds_up_the_others() -> None:
    room = Room(MIB)
    granted = room.reserve(LARGEST_BYTES)
    assert granted == MIB
    room.settle(granted, LARGEST_BYTES)
    assert room.reserve(SMALLEST_BYTES) == 0
    room.release(LARGEST_BYTES)
    assert room.reserve(SMALLEST_BYTES) == SMALLEST_BYTES


def test_the_first_read_is_admitted_even_where_hardly_anything_is_allowed() -> None:
    assert Room(1).reserve(LARGEST_BYTES) == SMALLEST_BYTES


def test_too_little_room_is_not_worth_a_read() -> None:
    room = Room(MIB)
    room.reserve(MIB - SMALLEST_BYTES + 1)
    assert room.reserve(MIB) == 0


def test_a_read_asks_for_as_many_records_as_fit() -> None:
    appetite = Appetite(10_000)
    assert appetite.wanted == LARGEST_BYTES, "nobody knows yet how large its records are"
    assert appetite.limit(LARGEST_BYTES) == FIRST_BYTES // 1024
    for _ in range(20):
        appetite.had(100, 100 * 64 * 1024, 1024, behind=True)
    assert appetite.limit(MIB) == 16
    assert appetite.limit(1) == 1
    for _ in range(40):
        appetite.had(10_000, 10_000 * 100, 10_000, behind=True)
    assert appetite.limit(LARGEST_BYTES) == 10_000


def test_the_setting_bounds_the_records_of_a_read() -> None:
    assert Appetite(100).limit(LARGEST_BYTES) == 100


def test_a_shard_that_is_behind_wants_more_and_one_that_is_not_gives_back() -> None:
    appetite = Appetite(10_000)
    for _ in range(5):
        appetite.had(1024, MIB, 1024, behind=True)
    assert appetite.wanted == 4 * MIB
    appetite.had(9000, 9 * MIB, 10_000, behind=True)
    assert appetite.wanted == LARGEST_BYTES
    for _ in range(5):
        appetite.had(1, 1000, 10_000, behind=False)
    assert appetite.wanted == SMALLEST_BYTES
