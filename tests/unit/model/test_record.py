"""Batches behave like the records that they hold, however they were cut and joined; the last header of a name wins."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamkit.model import Batch, Headers, Partition, PlainRecord, Position
from tests.unit.model.nouns import records


def same(batch: Batch, expected: Sequence[PlainRecord]) -> None:
    """A batch is these records, by every way of looking at it."""
    assert list(batch) == list(expected)
    assert len(batch) == len(expected)
    assert list(batch.values()) == [record.value for record in expected]
    assert (batch.first, batch.last) == (expected[0].position, expected[-1].position)
    assert batch.bytes == sum(len(record.value or b"") + len(record.key or b"") for record in expected)
    assert batch.partition == expected[0].partition


@given(records())
def test_a_batch_is_its_records(made: list[PlainRecord]) -> None:
    same(Batch.of(made), made)


@given(st.data(), records(min_size=2))
def test_cutting_and_joining_changes_nothing(data: st.DataObject, made: list[PlainRecord]) -> None:
    whole = Batch.of(made, received=5.0, lag_records=3)
    cuts = sorted({0, len(made), *data.draw(st.lists(st.integers(1, len(made) - 1), max_size=4))})
    joined = Batch.join([whole.slice(start, stop) for start, stop in pairwise(cuts)])
    same(joined, made)
    assert (joined.received, joined.lag_records) == (5.0, 3)


@given(st.data(), records())
def test_a_slice_is_what_a_slice_of_the_records_is(data: st.DataObject, made: list[PlainRecord]) -> None:
    half = len(made) // 2
    parts = [Batch.of(part) for part in (made[:half], made[half:]) if part]
    for batch in (Batch.of(made), Batch.join(parts)):
        start = data.draw(st.integers(0, len(made) - 1))
        stop = data.draw(st.integers(start + 1, len(made) + 2))
        same(batch.slice(start, stop), made[start:stop])


@given(records())
def test_a_slice_of_nothing_is_refused(made: list[PlainRecord]) -> None:
    for batch in (Batch.of(made), Batch.join([Batch.of(made)])):
        with pytest.raises(ValueError, match="at least one record"):
            batch.slice(1, 1)


@given(records())
def test_positions_must_rise_over_the_seams(made: list[PlainRecord]) -> None:
    batch = Batch.of(made)
    with pytest.raises(ValueError, match="does not follow"):
        Batch.join([batch, batch])
    with pytest.raises(ValueError, match="position"):
        Batch.of([*made, made[0]])


def test_a_batch_is_of_one_partition_and_not_empty() -> None:
    one, other = (PlainRecord(Partition("s", name), Position(n), b"") for n, name in enumerate("ab"))
    with pytest.raises(ValueError, match="cannot hold"):
        Batch.of([one, other])
    with pytest.raises(ValueError, match="does not follow"):
        Batch.join([Batch.of([one]), Batch.of([other])])
    with pytest.raises(ValueError, match="at least one record"):
        Batch.of([])


@given(st.lists(st.tuples(st.sampled_from("abc"), st.none() | st.binary(max_size=3))))
def test_the_last_header_of_a_name_wins(pairs: list[tuple[str, bytes | None]]) -> None:
    headers = Headers(pairs)
    assert list(headers) == pairs, "all are there, in their order"
    for name in "abcd":
        assert headers.get(name, b"none") == dict(pairs).get(name, b"none")


def test_a_record_is_named_by_its_place_and_a_tombstone_is_not_empty() -> None:
    record = PlainRecord(Partition("orders", "3"), Position(7, 2), None, key=b"k")
    assert record.id == "orders/3/7.2"
    assert record.value is None
    assert record.timestamp.tzinfo is not None


def test_partitions_are_told_apart_by_stream_and_id_alone() -> None:
    assert Partition("s", "0") == Partition("s", "0", incarnation="x", ended=True, extra={"a": "b"})
    assert len({Partition("s", "0"), Partition("s", "0", parents=("p",)), Partition("s", "1")}) == 2
