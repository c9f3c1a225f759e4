"""Records are the same whether we decode a message or the SDK does, and say what was written."""

from __future__ import annotations

import struct
import uuid
from datetime import UTC, datetime
from typing import Any

import pytest
from azure.eventhub import EventData
from azure.eventhub._pyamqp._encode import encode_payload
from azure.eventhub._pyamqp.message import Message, Properties
from hypothesis import given
from hypothesis import strategies as st
from streamkit_eventhubs.form import LETTER_PROPERTY
from streamkit_eventhubs.link import Received
from streamkit_eventhubs.outgoing import outgoing_of
from streamkit_eventhubs.record import EventHubsRecord, batch_of, position_of

from streamkit.errors import BrokerError
from streamkit.model import Batch, Headers, Partition, Position
from streamkit.plugin import NewRecord

HERE = Partition("orders", "3")
text = st.text(st.characters(codec="utf-8"), max_size=40)
scalars = st.one_of(st.none(), st.booleans(), st.integers(-(2**31), 2**31 - 1), st.floats(), st.binary(max_size=30), text, st.uuids())
values = st.recursive(scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(text, inner, max_size=4), max_leaves=8)
bodies = st.one_of(
    st.fixed_dictionaries({"data": st.lists(st.binary(max_size=60), min_size=1, max_size=3)}),
    st.fixed_dictionaries({"sequence": st.lists(st.lists(values, max_size=4), min_size=1, max_size=3)}),
    st.fixed_dictionaries({"value": values}),
)


def encoded(*, number: int = 7, offset: str = "4096", tip: int | None = None, **parts: Any) -> bytes:
    """As the service sends it: what it says itself stands in front."""
    said: dict[str, Any] = {
        "x-opt-sequence-number": {"TYPE": "LONG", "VALUE": number},
        "x-opt-offset": offset,
        "x-opt-enqueued-time": {"TYPE": "TIMESTAMP", "VALUE": 1_700_000_000_123},
    }
    annotations = said | dict(parts.pop("message_annotations", {}))
    front = b""
    if tip is not None:
        names = {b"last_enqueued_sequence_number": b"\x81" + struct.pack(">q", tip), b"last_enqueued_time_utc": time_of(1_700_000_010_123)}
        pairs = b"".join(b"\xa3" + bytes((len(name),)) + name + value for name, value in names.items())
        front = b"\x00\x53\x71\xc1" + bytes((len(pairs) + 1, 4)) + pairs
    return front + bytes(encode_payload(bytearray(), Message(message_annotations=annotations, **parts)))


def time_of(milliseconds: int) -> bytes:
    return b"\x83" + struct.pack(">q", milliseconds)


def both(message: bytes) -> tuple[EventHubsRecord, EventHubsRecord]:
    return EventHubsRecord(message, HERE), EventHubsRecord(EventData.from_bytes(message), HERE)


def batch(messages: list[Any], tip: int | None = None, tip_time: float | None = None) -> Batch:
    return batch_of(HERE, Received(messages, 0, tip, tip_time), 1_700_000_020.0)


@st.composite
def messages(draw: st.DrawFn) -> bytes:
    parts: dict[str, Any] = dict(draw(bodies))
    if draw(st.booleans()):
        parts["application_properties"] = draw(st.dictionaries(text, scalars, max_size=5))
    if draw(st.booleans()):
        parts["message_annotations"] = {"x-opt-partition-key": draw(text)}
    if draw(st.booleans()):
        parts["properties"] = Properties(
            message_id=draw(text | st.uuids()),
            user_id=draw(st.binary(max_size=9)),
            subject=draw(text),
            creation_time=draw(st.integers(0, 2**40)),
        )
    return encoded(number=draw(st.integers(0, 2**62)), offset=draw(text), **parts)


@given(messages())
def test_both_forms_of_a_message_give_the_same_record(message: bytes) -> None:
    ours, theirs = both(message)
    for name in ("key", "value", "headers", "timestamp", "id"):
        assert getattr(ours, name) == getattr(theirs, name), name
    assert (ours.position, ours.position.token) == (theirs.position, theirs.position.token)
    assert batch([message]).values() == batch([EventData.from_bytes(message)]).values() == [ours.value]


def test_a_record_says_what_the_service_and_the_writer_have_said() -> None:
    properties = Properties(message_id="m-1", content_type="application/json", group_sequence=5)
    message = encoded(
        data=[b"tea", b"time"],
        application_properties={"traceparent": "00-aa", "count": 5, "yes": True, "ratio": 0.5, "none": None, "raw": b"\xff"},
        message_annotations={"x-opt-partition-key": "ada"},
        properties=properties,
    )
    for record in both(message):
        assert record.position == Position(7)
        assert record.position.token == "4096"
        assert record.id == "orders/3/7"
        assert record.key == b"ada"
        assert record.value == b"teatime"
        assert record.timestamp == datetime(2023, 11, 14, 22, 13, 20, 123000, tzinfo=UTC)
        assert list(record.headers) == [
            ("traceparent", b"00-aa"),
            ("count", b"5"),
            ("yes", b"true"),
            ("ratio", b"0.5"),
            ("none", None),
            ("raw", b"\xff"),
            ("message-id", b"m-1"),
            ("content-type", b"application/json"),
            ("group-sequence", b"5"),
            ("x-opt-sequence-number", b"7"),
            ("x-opt-offset", b"4096"),
            ("x-opt-enqueued-time", b"1700000000123"),
            ("x-opt-partition-key", b"ada"),
        ]
        native = record.native
        assert isinstance(native, EventData)
        assert (native.sequence_number, native.body_as_str()) == (7, "teatime")


@pytest.mark.parametrize(
    ("body", "value"),
    [
        ({"value": "text"}, b"text"),
        ({"value": b"raw"}, b"raw"),
        ({"value": 12}, b"12"),
        ({"value": {"a": [1, "b"]}}, b'{"a":[1,"b"]}'),
        ({"value": uuid.UUID(int=1)}, b"00000000-0000-0000-0000-000000000001"),
        ({"sequence": [[1, "a"], [None]]}, b'[1,"a",null]'),
        ({"data": [b""]}, b""),
    ],
)
def test_bodies_of_each_kind(body: dict[str, Any], value: bytes) -> None:
    for record in both(encoded(**body)):
        assert record.value == value


def test_an_offset_is_kept_as_it_is_and_never_looked_into() -> None:
    for record in both(encoded(offset="1:2:opaque", data=[b""])):
        assert record.position.token == "1:2:opaque"
        assert Position.from_text(record.position.to_text()).token == "1:2:opaque"


def test_a_batch_looks_into_messages_only_when_it_is_asked() -> None:
    junk = b"\x00"
    run = batch([encoded(number=5, data=[b"a"]), junk, encoded(number=9, data=[b"bc"])], tip=20, tip_time=1_700_000_010.123)
    assert (run.first, run.last, len(run)) == (Position(5), Position(9), 3)
    assert (run.lag_records, run.lag_seconds) == (11, 10.0)
    assert run.last_timestamp == datetime(2023, 11, 14, 22, 13, 20, 123000, tzinfo=UTC)
    with pytest.raises(BrokerError, match="orders/3: a message cannot be decoded"):
        run.values()
    with pytest.raises(BrokerError) as caught:
        list(run)[1].value  # noqa: B018
    assert "RECEIVE=sdk" in caught.value.fix


def test_at_the_tip_nothing_lags_and_without_a_tip_nothing_is_known() -> None:
    run = batch([encoded(number=5, data=[b"a"])], tip=5, tip_time=1_700_000_000.5)
    assert (run.lag_records, run.lag_seconds) == (0, 0.0)
    run = batch([encoded(number=5, data=[b"a"])])
    assert (run.lag_records, run.lag_seconds) == (None, None)


@given(st.lists(st.binary(max_size=9), min_size=2, max_size=9), st.data())
def test_what_slices_weigh_adds_up_to_what_the_batch_weighs(bodies: list[bytes], data: st.DataObject) -> None:
    received: list[Any] = [encoded(number=number, data=[body]) for number, body in enumerate(bodies)]
    if data.draw(st.booleans()):
        received = [EventData.from_bytes(message) for message in received]
    run, cut = batch(received), data.draw(st.integers(1, len(bodies) - 1))
    left, right = run.slice(0, cut), run.slice(cut, len(bodies))
    assert left.bytes + right.bytes == run.bytes >= sum(map(len, bodies))
    assert [*left.values(), *right.values()] == run.values() == bodies
    assert right.first.sequence == cut
    with pytest.raises(ValueError, match="holds no record"):
        run.slice(len(bodies), len(bodies))


names = text.filter(lambda name: "\0" not in name and name not in ("streamkit-key", "streamkit-null"))


def written(record: NewRecord) -> bytes:
    """As the service gives back what is sent for the record."""
    outgoing = outgoing_of(record, "letters")
    body = b"".join(outgoing.event.body)  # type: ignore[arg-type]  # an iterable of parts
    key = {} if outgoing.key is None or outgoing.partition is not None else {"x-opt-partition-key": outgoing.key}
    return encoded(data=[body], application_properties=outgoing.event.properties, message_annotations=key)


@given(
    st.none() | st.binary(max_size=300),
    st.none() | st.binary(max_size=200),
    st.lists(st.tuples(names, st.none() | st.binary(max_size=30)), max_size=8),
)
def test_a_letter_that_is_written_and_read_again_is_the_same(
    value: bytes | None, key: bytes | None, headers: list[tuple[str, bytes | None]]
) -> None:
    letter = [*headers, (LETTER_PROPERTY, b"1")]
    for record in both(written(NewRecord(value, key, Headers(letter)))):
        assert (record.value, record.key, list(record.headers)) == (value, key, letter)
    for record in both(written(NewRecord(value, key, Headers(letter), partition="0"))):
        assert (record.value, record.key, list(record.headers)) == (value, key, letter)


def test_values_of_a_batch_have_none_where_a_record_was_written_without_a_value() -> None:
    messages = [written(NewRecord(value, None)) for value in (b"tea", None, b"")]
    assert batch(messages).values() == batch([EventData.from_bytes(message) for message in messages]).values() == [b"tea", None, b""]


def test_what_is_no_letter_has_system_properties_behind_its_own() -> None:
    for record in both(written(NewRecord(b"tea", b"ada", Headers([("x-opt-offset", b"its own"), ("subject", b"s")])))):
        assert [name for name, _ in record.headers][:2] == ["x-opt-offset", "subject"]
        assert record.headers.get("x-opt-offset") == b"4096"


@pytest.mark.parametrize("name", ["streamkit-key", "streamkit-null", "a\0b"])
def test_a_header_that_could_be_taken_for_ours_is_refused(name: str) -> None:
    with pytest.raises(BrokerError, match="cannot be told from streamkit's own"):
        outgoing_of(NewRecord(b"", None, Headers([(name, b"x")])), "letters")


def test_a_message_without_a_sequence_number_is_no_record() -> None:
    message = bytes(encode_payload(bytearray(), Message(data=[b"x"])))
    with pytest.raises(ValueError, match="without a sequence number"):
        position_of(message)
    with pytest.raises(BrokerError, match="cannot be decoded"):
        batch([message]).last  # noqa: B018
