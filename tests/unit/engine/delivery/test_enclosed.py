"""A dead letter as one value: all of it comes back from a target that keeps neither headers nor tombstones."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from streamkit.builtin.memory import MemoryLog, MemoryProducer, MemorySettings
from streamkit.engine.delivery.dead_letter import DeadLetters
from streamkit.engine.delivery.enclosed import MAX_KEY_CHARACTERS, enclosed, opened
from streamkit.engine.delivery.letter import Letter, letter_of, original_of
from streamkit.engine.delivery.messages import FailedRecord
from streamkit.model import Headers, Partition, PlainRecord, Position
from streamkit.plugin import NewRecord
from streamkit.testing.virtual import VirtualRuntime
from tests.conformance.context import PlainContext
from tests.unit.engine.delivery.test_letter import WHEN, letter, records


def in_target(new: NewRecord) -> PlainRecord:
    """As a stream without headers gives it back."""
    assert not new.headers
    assert new.value is not None
    return PlainRecord(Partition("dlq", "2"), Position(7), new.value, key=new.key, timestamp=WHEN)


@settings(deadline=None)
@given(records)
def test_a_record_comes_back_from_one_value_as_it_was(record: PlainRecord) -> None:
    found = original_of(in_target(enclosed(letter(record))))
    assert isinstance(found, Letter)
    assert (found.key, found.value, found.headers) == (record.key, record.value, record.headers)
    assert (found.timestamp, found.id, found.origin_position) == (record.timestamp, record.id, record.position)
    assert (found.partition, found.position) == (Partition("dlq", "2"), Position(7))


@settings(deadline=None)
@given(records)
def test_one_that_fails_again_is_still_a_letter_of_its_record(record: PlainRecord) -> None:
    first = in_target(enclosed(letter(record)))
    again = letter_of(FailedRecord(first, ValueError("still no"), 1), group="billing.replay", worker="w2", failed_at=WHEN)
    found = original_of(in_target(enclosed(again)))
    assert isinstance(found, Letter)
    assert (found.id, found.key, found.value, found.headers) == (record.id, record.key, record.value, record.headers)
    assert [one.group for one in found.earlier] == ["billing"]


@given(st.one_of(st.none(), st.binary(max_size=600)))
@example(b"")
@example(b"\xff")
@example("é".encode() * MAX_KEY_CHARACTERS)
@example(b"x" * (MAX_KEY_CHARACTERS + 1))
def test_its_key_is_text_of_bounded_length_and_the_same_for_each_letter_of_a_key(key: bytes | None) -> None:
    outer = enclosed(NewRecord(b"v", key)).key
    assert outer == enclosed(NewRecord(b"w", key)).key
    if key is None:
        assert outer is None
        return
    assert outer is not None
    assert 1 <= len(outer.decode()) <= MAX_KEY_CHARACTERS
    if opened(in_target(NewRecord(b"", key))) is None and outer != key:
        with pytest.raises((UnicodeDecodeError, AssertionError)):  # a key that brokers take is not changed
            assert 1 <= len(key.decode()) <= MAX_KEY_CHARACTERS


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"{}",
        b'{"streamkit-letter":',
        b'{"streamkit-letter":1}',
        b'{"streamkit-letter":9,"key":null,"value":"v","headers":[]}',
        b'{"streamkit-letter":"1","key":null,"value":"v","headers":[]}',
        b'{"streamkit-letter":1,"key":null,"value":7,"headers":[]}',
        b'{"streamkit-letter":1,"key":null,"value":"v","headers":[["a"]]}',
        b'{"streamkit-letter":1,"key":null,"value":{"base64":"?"},"headers":[]}',
        b'{"streamkit-letter":' + b"[" * 100_000,
        b'{"streamkit-letter":1,"key":null,"value":"\xff","headers":[]}',
    ],
)
def test_what_only_looks_like_one_is_an_ordinary_record(value: bytes) -> None:
    record = PlainRecord(Partition("dlq", "0"), Position(1), value)
    assert original_of(record) is record


def test_an_enclosed_record_that_is_no_letter_is_shown_as_it_lies_there() -> None:
    record = in_target(enclosed(NewRecord(b"v", b"k", Headers([("a", b"1")]))))
    assert original_of(record) is record


def test_text_can_be_read_by_other_programs() -> None:
    body = json.loads(enclosed(NewRecord("té".encode(), b"ada", Headers([("source", b"shop"), ("raw", b"\xff")]))).value or b"")
    assert body == {
        "streamkit-letter": 1,
        "key": "ada",
        "value": "té",
        "headers": [["source", "shop"], ["raw", {"base64": "/w=="}]],
    }


class Headerless(MemoryProducer):
    """Refuses what such a broker cannot hold."""

    keeps_headers = False

    async def send(self, stream: str, records: Sequence[NewRecord]) -> Sequence[Exception | None]:
        assert not any(record.headers or record.value is None for record in records)
        return await super().send(stream, records)


def test_a_target_without_headers_is_given_values_alone() -> None:
    MemoryLog.forget("headerless")
    log = MemoryLog.named("headerless")
    runtime = VirtualRuntime()
    producer = Headerless(MemorySettings(name="headerless", partitions=1), PlainContext())
    failed = FailedRecord(PlainRecord(Partition("orders", "0"), Position(3), None, key=b"k", headers=[("h", None)]), ValueError("no"), 5)
    runtime.run(DeadLetters(producer, "memory:dlq", runtime, group="billing", worker="w1").write([failed]))
    (record,) = log.topic("dlq").log("0").records
    found = original_of(record)
    runtime.stop()
    MemoryLog.forget("headerless")
    assert isinstance(found, Letter)
    assert (found.key, found.value, found.headers) == (b"k", None, Headers([("h", None)]))
