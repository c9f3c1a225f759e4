"""Connections: login, opening, heartbeats, what ends them, and that one does not hurt another."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from streamkit_sandbox.eventhubs.frames import AMQP_HEADER, EMPTY, SASL, SASL_HEADER, FrameSplitter, frame
from streamkit_sandbox.eventhubs.performatives import Attach, Begin, Close, End, Flow, Open, SaslInit, SaslOutcome

from plugins.sandbox.tests.unit.eventhubs.amqp_peer import Peer, World, fields


def conditions(peer: Peer) -> list[str]:
    return [close.error.condition for close in peer.of(Close) if close.error is not None]


def test_a_login_is_headers_mechanisms_outcome_and_the_header_of_amqp() -> None:
    peer = Peer(World())
    peer.give(SASL_HEADER)
    answer = peer.raw()
    assert answer.startswith(SASL_HEADER)
    assert b"ANONYMOUS" in answer
    peer.give(frame(0, SaslInit("ANONYMOUS", b"x").encode(), SASL))
    outcome = peer.raw()
    assert fields(outcome[8:]) == [0, None]
    peer.give(AMQP_HEADER)
    assert peer.raw() == AMQP_HEADER


def test_a_login_sent_in_one_piece_before_any_answer_is_taken_and_in_single_bytes_too() -> None:
    whole = SASL_HEADER + frame(0, SaslInit("ANONYMOUS").encode(), SASL) + AMQP_HEADER + frame(0, Open("c").encode())
    for pieces in ([whole], [whole[i : i + 1] for i in range(len(whole))]):
        peer = Peer(World())
        for piece in pieces:
            peer.give(piece)
        answer = peer.raw()
        assert answer.index(b"ANONYMOUS") < answer.index(AMQP_HEADER)
        splitter = FrameSplitter(65_536)
        splitter.feed(answer[answer.index(AMQP_HEADER) + 8 :])
        ((_, _, opened),) = splitter.frames()
        assert fields(opened)[2:5] == [65_536, 4999, 240_000]


def test_an_unknown_mechanism_and_a_connection_without_a_login_are_hung_up_on() -> None:
    peer = Peer(World())
    peer.give(SASL_HEADER + frame(0, SaslInit("GSSAPI").encode(), SASL))
    assert peer.transport.is_closed
    assert peer.frames_after_header()[-1] == (SASL, 0, SaslOutcome(1).encode())
    plain = Peer(World())
    plain.give(AMQP_HEADER)
    assert plain.raw() == SASL_HEADER  # the one that is wanted
    assert plain.transport.is_closed


def test_heartbeats_go_out_at_half_of_the_clients_idle_time_out() -> None:
    world = World()
    peer = Peer(world).open(idle_ms=60_000)
    world.timers.advance(29)
    assert peer.raw() == b""
    world.timers.advance(31)
    assert peer.raw() == EMPTY * 2


def test_a_silent_client_is_closed_and_one_with_heartbeats_is_not() -> None:
    world = World(idle_seconds=10)
    silent, alive = Peer(world).open(), Peer(world).open()
    for _ in range(4):
        world.timers.advance(5)
        alive.give(EMPTY)
    assert conditions(silent) == ["amqp:connection:forced"]
    assert conditions(alive) == []
    world.timers.advance(6)
    assert silent.transport.is_closed  # it never said Close itself
    assert not alive.transport.is_closed


def test_a_close_is_answered_and_the_connection_is_over() -> None:
    world = World()
    peer = Peer(world).open()
    peer.attach_receiver(epoch=None)
    peer.send(Close())
    assert peer.of(Close) == [Close()]
    assert peer.transport.is_closed
    peer.connection.connection_lost(None)
    assert world.service.connections == set()
    assert world.service.readers() == []
    assert world.hub.partitions[0].listeners == set()
    assert world.timers.waiting == 0


@pytest.mark.parametrize(
    ("data", "condition"),
    [
        (bytes.fromhex("0000000402000000"), "amqp:connection:framing-error"),
        (b"\xff" * 8, "amqp:connection:framing-error"),
        (frame(0, b"\x00\x53\x13\x45", SASL), "amqp:connection:framing-error"),
        (frame(0, b"garbage"), "amqp:decode-error"),
        (frame(0, b"\x00\x53\x11\x45"), "amqp:decode-error"),
        (frame(7, Flow(0, 1, 0, 1).encode()), "amqp:not-allowed"),
        (frame(0, Open("again").encode()), "amqp:not-allowed"),
        (frame(0, Begin(None, 0, 1, 1).encode()), "amqp:not-allowed"),
        (frame(5000, Begin(None, 0, 1, 1).encode()), "amqp:not-allowed"),
    ],
)
def test_what_is_wrong_with_a_connection_ends_it_with_its_condition_and_no_other(data: bytes, condition: str) -> None:
    world = World()
    peer, other = Peer(world).open(), Peer(world).open()
    peer.give(data)
    peer.give(b"more of it" * 10)
    assert conditions(peer) == [condition]
    other.attach_receiver(credit=1)
    world.append(1)
    assert len(other.messages()) == 1


def test_a_frame_larger_than_we_said_ends_the_connection_before_it_is_taken_in() -> None:
    peer = Peer(World()).open()
    peer.give((65_537).to_bytes(4, "big") + bytes.fromhex("02000000"))
    assert conditions(peer) == ["amqp:connection:framing-error"]


@settings(max_examples=150)
@given(st.lists(st.binary(min_size=1, max_size=60), max_size=6), st.booleans())
def test_random_bytes_end_at_most_the_connection(pieces: list[bytes], framed: bool) -> None:
    world = World()
    peer = Peer(world).open()
    for piece in pieces:
        peer.give(frame(0, piece) if framed else piece)


@settings(max_examples=300)
@given(st.lists(st.tuples(st.integers(0, 4000), st.integers(0, 255)), min_size=1, max_size=4))
def test_a_conversation_with_changed_bytes_raises_nothing(changes: list[tuple[int, int]]) -> None:
    world = World()
    recorded = Peer(world)
    recorded_bytes: list[bytes] = []
    take = recorded.connection.data_received

    def record(data: bytes) -> None:
        recorded_bytes.append(data)
        take(data)

    recorded.connection.data_received = record  # type: ignore[method-assign]
    recorded.open()
    recorded.attach_receiver(handle=0, credit=5)
    recorded.attach_sender(handle=1)
    recorded.transfer(b"\x00\x53\x75\xa0\x01x", handle=1)
    recorded.ask("$management", {"operation": "READ", "type": "com.microsoft:eventhub", "name": "orders"})
    recorded.send(End())
    data = bytearray(b"".join(recorded_bytes))
    for place, byte in changes:
        data[place % len(data)] = byte
    peer = Peer(World())
    peer.give(bytes(data))


def test_sessions_may_use_a_channel_again_at_once() -> None:
    peer = Peer(World()).open()
    for _ in range(3):
        peer.send(End())
        peer.send(Begin(None, 5, 10, 10))
        assert [type(answer) for answer, _ in peer.received()] == [End, Begin]
    assert len(peer.attach_receiver()) == 1


def test_a_broken_rule_of_a_session_ends_that_session_and_no_other() -> None:
    peer = Peer(World()).open()
    peer.send(Begin(None, 0, 10, 10), channel=1)
    peer.raw()
    peer.send(Flow(0, 1, 0, 1, handle=9, link_credit=1), channel=1)
    (end,) = peer.of(End)
    assert end.error.condition == "amqp:session:unattached-handle"
    peer.send(Attach("late", 0, True), channel=1)  # on its way while we ended
    assert peer.received() == []
    peer.send(End(), channel=1)
    peer.send(Begin(None, 0, 10, 10), channel=1)
    assert len(peer.of(Begin)) == 1
    assert len(peer.attach_receiver()) == 1


def test_a_client_that_asks_and_never_reads_is_cut_off_before_memory_is_full() -> None:
    peer = Peer(World()).open()
    peer.transport.unread = 17 * 1_048_576
    peer.give(EMPTY)
    assert peer.transport.is_aborted


def test_messages_that_never_end_are_bounded_for_all_links_together() -> None:
    world = World()
    peer = Peer(world).open()
    for handle in range(70):
        peer.attach_sender(handle=handle)
    for handle in range(70):
        for _ in range(17):
            peer.transfer(b"x" * 60_000, handle=handle, id=0, more=True)
    assert conditions(peer) == ["amqp:resource-limit-exceeded"]


def test_late_output_keeps_its_order_and_holding_stops_all_of_it() -> None:
    world = World()
    peer = Peer(world).open()
    peer.attach_receiver(credit=10)
    world.service.faults.latency_seconds = 1.0
    world.append(1)
    assert peer.messages() == []
    world.timers.advance(0.5)
    world.service.faults.latency_seconds = 0.0
    world.append(1)
    assert peer.messages() == []  # behind the late one
    world.timers.advance(0.6)
    assert len(peer.messages()) == 2
    world.service.hold()
    assert peer.transport.is_reading_paused
    world.append(3)
    world.timers.advance(60)
    assert peer.raw() == b""
    world.service.release()
    assert len(peer.messages()) == 3
    assert not peer.transport.is_reading_paused


def test_the_last_words_of_a_connection_are_not_lost_to_latency() -> None:
    world = World()
    peer = Peer(world).open()
    world.service.faults.latency_seconds = 1.0
    peer.send(Close())
    assert peer.of(Close) == [Close()]
    assert peer.transport.is_closed


def test_who_does_not_take_the_last_words_is_hung_up_on() -> None:
    world = World()
    peer = Peer(world).open()
    peer.send(Close())
    assert not peer.transport.is_aborted
    world.timers.advance(5)  # the transport has not told that it is closed
    assert peer.transport.is_aborted


def test_who_does_not_read_gets_no_more_events_until_it_does() -> None:
    world = World()
    peer = Peer(world).open()
    peer.attach_receiver(credit=1000)
    peer.connection.pause_writing()
    world.append(5)
    assert peer.raw() == b""
    peer.connection.resume_writing()
    assert len(peer.messages()) == 5


def test_what_is_asked_before_the_connection_is_open_is_not_allowed() -> None:
    peer = Peer(World())
    peer.log_in()
    peer.send(Begin(None, 0, 1, 1))
    assert peer.transport.is_closed
