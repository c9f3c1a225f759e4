"""What an answer becomes: batches whose positions rise, aggregates taken apart, nothing before our position."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from streamkit_kinesis.aggregate import hash_of
from streamkit_kinesis.parser import RawRecord
from streamkit_kinesis.record import DAMAGED, OUT_OF_RANGE, KinesisBatch, KinesisRecord, KinesisUserRecord, Unpacker

from plugins.kinesis.tests.aggregates import User, aggregate_of, bytes_field, framed, number_field
from streamkit.errors import BrokerUnavailableError
from streamkit.model import Batch, Partition, Position

SHARD = Partition("orders", "shardId-000000000003")
BASE = 49590338271490256608559692538361571095921575989136588898
LOW, HIGH = 1 << 126, 3 << 126


def raw(number: int, data: bytes = b"v", *, key: str = "k", arrived: float = 0.0) -> RawRecord:
    return RawRecord(str(BASE + number), data, key, arrived)


class Unpacked:
    """An Unpacker, and what it has noticed."""

    def __init__(self, partition: Partition = SHARD, **options: str) -> None:
        self.noticed: list[tuple[str, int]] = []
        self.unpacker = Unpacker(partition, noticed=lambda *what: self.noticed.append(what), **options)  # type: ignore[arg-type]

    def __call__(
        self, *records: RawRecord, after: Position | None = None, received: float = 100.0, lag: float | None = 0.0
    ) -> KinesisBatch | None:
        return self.unpacker.unpack(records, after=after, received=received, lag_seconds=lag)


def batch_of(*records: RawRecord, after: Position | None = None, lag: float | None = 0.0) -> KinesisBatch:
    batch = Unpacked()(*records, after=after, lag=lag)
    assert batch is not None
    return batch


def places(batch: Batch | None) -> list[tuple[int, int]]:
    return [] if batch is None else [((record.position.sequence or 0) - BASE, record.position.sub_sequence) for record in batch]


def at(number: int, sub: int = 0) -> Position:
    return Position(BASE + number, sub)


def test_a_record_is_the_services_record() -> None:
    sent = raw(1, b"value", key="ключ", arrived=1794000000.25)
    batch = batch_of(sent)
    (record,) = batch
    assert isinstance(record, KinesisRecord)
    assert record.position == at(1)
    assert record.key == "ключ".encode()
    assert record.value == b"value"
    assert record.headers == ()
    assert record.timestamp == batch.last_timestamp == datetime.fromtimestamp(1794000000.25, UTC)
    assert record.native is sent
    assert record.partition is SHARD
    assert record.id == f"orders/shardId-000000000003/{BASE + 1}"


def test_a_user_record_has_a_key_of_its_own_and_the_aggregates_sequence_number() -> None:
    sent = raw(1, aggregate_of([User(b"a", b"1"), User("б".encode(), b"2")]), key="a", arrived=1794000000.0)
    batch = batch_of(sent)
    first, second = batch
    assert (first.position, first.key, first.value) == (at(1, 0), b"a", b"1")
    assert (second.position, second.key, second.value) == (at(1, 1), "б".encode(), b"2")
    assert isinstance(second, KinesisUserRecord)
    assert second.native is sent
    assert second.timestamp == datetime.fromtimestamp(1794000000, UTC)
    assert second.id.endswith(f"/{BASE + 1}.1")
    assert (batch.first, batch.last) == (at(1, 0), at(1, 1))
    assert batch.values() == [b"1", b"2"]
    assert batch.bytes == 2


def test_values_make_no_records(monkeypatch: pytest.MonkeyPatch) -> None:
    batch = batch_of(raw(1, aggregate_of([User(b"a", b"1"), User(b"a", b"2")])), raw(2, b"3"))

    def refuse(*_: object) -> None:
        raise AssertionError("a record object was made")

    monkeypatch.setattr(KinesisRecord, "__init__", refuse)
    monkeypatch.setattr(KinesisUserRecord, "__init__", refuse)
    assert batch.values() == [b"1", b"2", b"3"]
    assert (len(batch), batch.bytes, batch.first, batch.last, batch.last_timestamp) == (3, 3, at(1), at(2), None)
    with pytest.raises(AssertionError):
        list(batch)


def test_what_a_caller_does_to_values_does_not_change_the_batch() -> None:
    batch = batch_of(raw(1), raw(2))
    values = batch.values()
    assert isinstance(values, list)
    values.clear()
    assert batch.values() == [b"v", b"v"]


def test_lag_is_what_the_service_says_and_more_for_records_before_the_last() -> None:
    sent = [raw(number, arrived=1000.0 + number) for number in range(4)]
    batch = batch_of(*sent, lag=2.5)
    assert batch.lag_seconds == 2.5
    assert batch.slice(0, 2).lag_seconds == 4.5
    assert batch.slice(0, 2).slice(0, 1).lag_seconds == 5.5
    assert batch_of(*sent, lag=None).lag_seconds is None
    assert batch_of(raw(1), raw(2), lag=2.5).slice(0, 1).lag_seconds == 2.5, "of a server that says no arrival times"
    assert batch_of(raw(1, arrived=5.0), raw(2, arrived=4.0), lag=0.0).slice(0, 1).lag_seconds == 0
    assert batch.lag_records is None


def test_only_what_comes_after_our_position_is_delivered() -> None:
    sent = [raw(1), raw(3), raw(5)]
    assert places(Unpacked()(*sent)) == [(1, 0), (3, 0), (5, 0)]
    assert places(Unpacked()(*sent, after=at(0))) == [(1, 0), (3, 0), (5, 0)]
    assert places(Unpacked()(*sent, after=at(1))) == [(3, 0), (5, 0)]
    assert places(Unpacked()(*sent, after=at(2, 7))) == [(3, 0), (5, 0)]
    assert places(Unpacked()(*sent, after=at(3))) == [(5, 0)]
    assert Unpacked()(*sent, after=at(5)) is None
    assert Unpacked()(*sent, after=at(9)) is None
    assert Unpacked()() is None


def test_an_aggregate_is_resumed_in_its_middle() -> None:
    packed = aggregate_of([User(b"a", b"0"), User(b"b", b"1"), User(b"a", b"2")])
    sent = [raw(0), raw(1, packed), raw(2, packed)]
    assert places(Unpacked()(*sent, after=at(1, 1))) == [(1, 2), (2, 0), (2, 1), (2, 2)]
    assert places(Unpacked()(*sent, after=at(1, 2))) == [(2, 0), (2, 1), (2, 2)]
    assert places(Unpacked()(*sent, after=at(1, 99))) == [(2, 0), (2, 1), (2, 2)]
    assert places(Unpacked()(sent[1], after=at(1, 1))) == [(1, 2)]
    assert Unpacked()(sent[1], after=at(1, 2)) is None
    (record,) = Unpacked()(sent[1], after=at(1, 1)) or []
    assert (record.key, record.value) == (b"a", b"2")


def test_an_aggregate_of_no_records_delivers_none() -> None:
    unpacked = Unpacked()
    assert unpacked(raw(1, framed(bytes_field(1, b"a")))) is None
    assert places(unpacked(raw(1, framed(bytes_field(1, b"a"))), raw(2))) == [(2, 0)]
    assert unpacked.noticed == []


DAMAGED_ONES = {
    "MD5": aggregate_of([User(b"a", b"v")])[:-1] + b"?",
    "short": bytes.fromhex("f3899ac2"),
    "index in the middle": framed(
        bytes_field(1, b"a") + b"".join(bytes_field(3, number_field(1, index) + bytes_field(3, b"v")) for index in (0, 1, 0))
    ),
}


@pytest.mark.parametrize("damaged", DAMAGED_ONES.values(), ids=DAMAGED_ONES)
def test_a_damaged_aggregate_is_one_record_and_noticed(damaged: bytes) -> None:
    unpacked = Unpacked()
    batch = unpacked(raw(1, damaged, key="outer"), raw(2, aggregate_of([User(b"a", b"1")])), raw(3, damaged))
    assert places(batch) == [(1, 0), (2, 0), (3, 0)]
    assert batch is not None
    assert batch.values() == [damaged, b"1", damaged]
    assert next(iter(batch)).key == b"outer"
    assert unpacked.noticed == [(DAMAGED, 2)]
    unpacked.noticed.clear()
    assert unpacked(raw(1, damaged), after=at(1)) is None
    assert unpacked.noticed == [], "what was delivered before is not said again"


def keys_by_side() -> tuple[list[bytes], list[bytes]]:
    keys = [b"key-%d" % number for number in range(40)]
    inside = [key for key in keys if LOW <= hash_of(key) <= HIGH]
    return inside, [key for key in keys if key not in inside]


IN, OUT = keys_by_side()
RANGED = Partition("orders", "shardId-7", key_range=(LOW, HIGH))


def test_user_records_of_another_shard_are_dropped_and_noticed_and_the_others_keep_their_numbers() -> None:
    """Five in range, five below, five above: the KCL delivers none of such an aggregate."""
    packed = [User(key, b"%d" % number) for number, key in enumerate([*OUT[:5], *IN[:5], *OUT[5:10]])]
    unpacked = Unpacked(RANGED)
    assert places(unpacked(raw(1, aggregate_of(packed)))) == [(1, sub) for sub in range(5, 10)]
    assert unpacked.noticed == [(OUT_OF_RANGE, 10)]
    unpacked.noticed.clear()
    assert places(unpacked(raw(1, aggregate_of(packed)), after=at(1, 7))) == [(1, 8), (1, 9)]
    assert unpacked.noticed == [(OUT_OF_RANGE, 5)], "only those to come count"


def test_an_explicit_hash_key_decides() -> None:
    packed = aggregate_of([User(IN[0], b"0", b"0"), User(OUT[0], b"1", b"%d" % LOW), User(IN[0], b"2")])
    assert places(Unpacked(RANGED)(raw(1, packed))) == [(1, 1), (1, 2)]


def test_nothing_is_dropped_when_the_setting_says_so_or_no_range_is_known() -> None:
    packed = aggregate_of([User(OUT[0], b"0"), User(IN[0], b"1")])
    for unpacked in (Unpacked(RANGED, out_of_range="deliver"), Unpacked(SHARD)):
        assert places(unpacked(raw(1, packed))) == [(1, 0), (1, 1)]
        assert unpacked.noticed == []


def test_a_plain_record_is_delivered_wherever_its_key_belongs() -> None:
    unpacked = Unpacked(RANGED)
    assert places(unpacked(raw(1, key=OUT[0].decode()), raw(2, aggregate_of([User(OUT[0], b"0")])))) == [(1, 0)]
    assert unpacked.noticed == [(OUT_OF_RANGE, 1)]
    assert unpacked(raw(2, aggregate_of([User(OUT[0], b"0")]))) is None


@pytest.mark.parametrize("numbers", [["2", "1"], ["10", "9"], ["7", "7"], ["9", "10", "10"], ["99", "100", "98"]])
def test_an_answer_whose_numbers_do_not_rise_is_read_again(numbers: list[str]) -> None:
    with pytest.raises(BrokerUnavailableError, match="do not rise"):
        Unpacked()(*[RawRecord(number, b"", "k") for number in numbers])


def test_numbers_are_compared_as_numbers() -> None:
    batch = Unpacked()(*[RawRecord(number, b"", "k") for number in ("9", "10", "100")], after=Position(9))
    assert batch is not None
    assert (batch.first, batch.last) == (Position(10), Position(100))


entries = st.lists(
    st.binary(max_size=8) | st.lists(st.builds(User, st.sampled_from(IN + OUT), st.binary(max_size=8)), min_size=1, max_size=5),
    min_size=1,
    max_size=6,
)


def raws_of(content: Sequence[bytes | list[User]]) -> list[RawRecord]:
    return [raw(2 * number, one if isinstance(one, bytes) else aggregate_of(one)) for number, one in enumerate(content)]


@given(entries, st.integers(-1, 12), st.integers(0, 5))
@settings(deadline=None)
def test_any_answer_from_any_position_is_what_remains_of_the_whole(content: list[bytes | list[User]], number: int, sub: int) -> None:
    sent = raws_of(content)
    everything = places(Unpacked(RANGED)(*sent))
    assert all(before < after for before, after in pairwise(everything)), "positions strictly rise"
    expected = [
        (2 * index, place, value)
        for index, one in enumerate(content)
        for place, value in ([(0, one)] if isinstance(one, bytes) else [(n, user.value) for n, user in enumerate(one) if user.key in IN])
        if (2 * index, place) > (number, sub)
    ]
    batch = Unpacked(RANGED)(*sent, after=at(number, sub))
    values = [] if batch is None else list(batch.values())
    assert [(*place, value) for place, value in zip(places(batch), values, strict=True)] == expected


@given(entries, st.data())
@settings(deadline=None)
def test_slices_are_the_batch_in_parts(content: list[bytes | list[User]], data: st.DataObject) -> None:
    batch = Unpacked()(*raws_of(content))
    if batch is None:
        return
    cuts = sorted({0, len(batch), *data.draw(st.lists(st.integers(0, len(batch)), max_size=4))})
    parts = [batch.slice(start, stop) for start, stop in pairwise(cuts)]
    assert [place for part in parts for place in places(part)] == places(batch)
    assert [value for part in parts for value in part.values()] == batch.values() == [record.value for record in batch]
    assert sum(part.bytes for part in parts) == batch.bytes == sum(map(len, batch.values()))
    for part in parts:
        assert (part.first, part.last) == (next(iter(part)).position, list(part)[-1].position)
        assert (part.received, part.partition) == (100.0, SHARD)
    assert places(Batch.join(parts)) == places(batch)
    with pytest.raises(ValueError, match="holds no record"):
        batch.slice(len(batch), len(batch) + 1)
