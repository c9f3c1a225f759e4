"""Performatives: all their fields are written, what clients leave out is read, and nothing else than a DecodeError comes of nonsense."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from streamkit_sandbox.eventhubs.amqp_codec import encode
from streamkit_sandbox.eventhubs.amqp_types import Array, DecodeError, Described, Long, Symbol, Uint, Ulong, Value
from streamkit_sandbox.eventhubs.performatives import (
    ACCEPTED,
    Attach,
    Begin,
    Close,
    Composite,
    Detach,
    Disposition,
    End,
    Error,
    Flow,
    Open,
    SaslInit,
    Source,
    Target,
    Transfer,
    accepted,
    decode_performative,
    rejected,
)

from plugins.sandbox.tests.unit.eventhubs.amqp_peer import fields

EXAMPLES: list[tuple[Composite, int]] = [
    (Open("c"), 10),
    (Begin(0, 0, 1, 1), 8),
    (Attach("a", 0, True), 14),
    (Flow(0, 1, 0, 1), 11),
    (Transfer(0), 11),
    (Disposition(True, 0), 6),
    (Detach(0), 3),
    (End(), 1),
    (Close(), 1),
]


@pytest.mark.parametrize(("performative", "width"), EXAMPLES, ids=lambda value: getattr(value, "SYMBOL", str(value)))
def test_every_field_is_written_since_python_reads_them_by_position(performative: Composite, width: int) -> None:
    assert len(fields(performative.encode())) == width


def test_an_error_and_the_error_of_a_rejection_have_three_fields() -> None:
    assert len(fields(Error("amqp:not-found", "no").encode())) == 3
    outcome = rejected("amqp:not-found", "no").value
    assert isinstance(outcome, list)
    assert isinstance(outcome[0], Described)
    assert outcome[0].value == ["amqp:not-found", "no", None]


@pytest.mark.parametrize("example", [performative for performative, _ in EXAMPLES], ids=lambda value: value.SYMBOL)
def test_what_is_written_is_read(example: Composite) -> None:
    assert decode_performative(example.encode() + b"payload") == (example, len(example.encode()))


def test_what_is_said_of_each_good_delivery_is_that_disposition() -> None:
    for delivery_id in (0, 1, 2**32 - 1):
        body = accepted(delivery_id)
        assert decode_performative(body) == (Disposition(True, delivery_id, delivery_id, True, ACCEPTED), len(body))
        assert len(fields(body)) == 6


def test_an_attach_keeps_its_source_with_its_filter_and_its_properties() -> None:
    attach = Attach(
        "link",
        3,
        True,
        source=Source("orders", filter={Symbol("f"): Described(Symbol("f"), "x > '1'")}, outcomes=("amqp:accepted:list",)),
        target=Target("t"),
        max_message_size=1 << 40,
        desired_capabilities=("a", "b"),
        properties={Symbol("com.microsoft:epoch"): Long(7)},
    )
    assert decode_performative(attach.encode())[0] == attach


def test_fields_that_clients_leave_out_are_read_as_nothing() -> None:
    body = encode(Described(Ulong(0x14), [Uint(4), Uint(9)]))
    assert decode_performative(body)[0] == Transfer(4, 9)
    assert decode_performative(encode(Described(Symbol("amqp:close:list"), [])))[0] == Close()


@pytest.mark.parametrize("written", [Symbol("x"), Array((Symbol("x"),))])
def test_one_capability_may_come_as_a_symbol_or_as_an_array(written: Value) -> None:
    body = encode(Described(Ulong(0x10), ["c", None, None, None, None, None, None, written]))
    opening = decode_performative(body)[0]
    assert isinstance(opening, Open)
    assert opening.offered_capabilities == ("x",)


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (Described(Ulong(0x10), []), "without container_id"),
        (Described(Ulong(0x10), [Uint(1)]), "container_id"),
        (Described(Ulong(0x14), [True]), "handle"),
        (Described(Ulong(0x14), [Ulong(2**32)]), "handle"),
        (Described(Ulong(0x14), [Long(-1)]), "handle"),
        (Described(Ulong(0x12), ["a", Uint(0), True, None, None, Described(Ulong(0x29), [])]), "source"),
        (Described(Ulong(0x18), [None, None]), "at most 1"),
        (Described(Ulong(0x18), "x"), "list"),
        (Described(Ulong(0x99), []), "no performative"),
        (Described(Ulong(0x40), []), "no performative"),
        (Described([], []), "no performative"),
        ("x", "no performative"),
    ],
)
def test_what_is_no_performative_of_a_client_is_a_decode_error(value: Value, says: str) -> None:
    with pytest.raises(DecodeError, match=says):
        decode_performative(encode(value))


@given(st.sampled_from(EXAMPLES), st.lists(st.tuples(st.integers(0, 200), st.integers(0, 255)), max_size=3))
def test_changed_bytes_raise_nothing_but_a_decode_error(example: tuple[Composite, int], changes: list[tuple[int, int]]) -> None:
    data = bytearray(example[0].encode())
    for place, byte in changes:
        data[place % len(data)] = byte
    with contextlib.suppress(DecodeError):
        decode_performative(bytes(data))


def test_a_long_name_in_an_error_text_is_cut() -> None:
    with pytest.raises(DecodeError) as caught:
        decode_performative(encode(Described(Ulong(0x41), ["x" * 10_000, 1.5 * 1, "y"])))
    assert len(str(caught.value)) < 300
    assert isinstance(decode_performative(SaslInit("ANONYMOUS").encode())[0], SaslInit)
