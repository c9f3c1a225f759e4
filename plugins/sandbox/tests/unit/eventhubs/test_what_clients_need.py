"""What the official clients do differently from each other, and need all the same: measured with Python, JavaScript, Go and Java."""

from __future__ import annotations

from typing import Any

import pytest
from streamkit_sandbox.eventhubs.amqp_codec import encode
from streamkit_sandbox.eventhubs.amqp_types import Described, Long, Symbol, Timestamp, Ubyte, Uint, Ulong, Value
from streamkit_sandbox.eventhubs.frames import frame
from streamkit_sandbox.eventhubs.messages import BATCH_FORMAT, data_message
from streamkit_sandbox.eventhubs.performatives import Attach, Begin, Detach, Disposition, End, Flow, Source, Target, Transfer

from plugins.sandbox.tests.unit.eventhubs.amqp_peer import FILTER, WINDOW, Peer, World, answer_of, request

READER = "orders/ConsumerGroups/$Default/Partitions/0"
TOKEN: dict[Value, Value] = {"operation": "put-token", "type": "servicebus.windows.net:sastoken"}


def test_a_session_begins_with_the_figures_of_the_service() -> None:
    peer = Peer(World()).open()
    peer.send(Begin(None, 0, 10, 10), channel=3)
    (begun,) = peer.of(Begin)
    assert (begun.remote_channel, begun.incoming_window, begun.handle_max) == (3, 5000, 255)


@pytest.mark.parametrize(("first", "outgoing"), [(0, WINDOW), (1, 2**31 - 1), (0, 2**32 - 1), (2**32 - 1, 100)])
def test_a_session_may_begin_with_any_id_and_window(first: int, outgoing: int) -> None:
    world = World()
    peer = Peer(world).open()
    peer.send(Begin(None, first, 2**31 - 1, outgoing), channel=1)
    peer.raw()
    peer.send(Attach("s", 0, False, source=Source("x"), target=Target("orders/Partitions/0")), channel=1)
    assert [flow.next_incoming_id for flow in peer.of(Flow)] == [first]
    for id in range(60):
        peer.send(Transfer(0, (first + id) & 0xFFFF_FFFF, b"%d" % id, 0), data_message(b"x"), channel=1)
    answers = [performative for performative, _ in peer.received()]
    assert sum(isinstance(answer, Disposition) for answer in answers) == 60
    assert [answer.next_incoming_id for answer in answers if isinstance(answer, Flow)] == [(first + 50) & 0xFFFF_FFFF]


@pytest.mark.parametrize("tag_bytes", [1, 8, 32])
def test_tags_of_deliveries_may_have_any_size(tag_bytes: int) -> None:
    peer = Peer(World()).open()
    peer.attach_sender()
    peer.send(Transfer(0, 0, b"t" * tag_bytes, 0), data_message(b"x"))
    assert peer.outcomes() == [(0, 0x24)]


def test_java_asks_to_settle_second_and_gets_settled_events_all_the_same() -> None:
    world = World()
    world.append(1)
    peer = Peer(world).open()
    source = Source(READER, filter={Symbol(FILTER): "amqp.annotation.x-opt-offset > '-1'"})
    peer.send(Attach("r", 0, True, Ubyte(0), Ubyte(1), source, Target()))
    (attach,) = peer.of(Attach)
    assert (attach.snd_settle_mode, attach.rcv_settle_mode) == (0, 1)  # Go refuses another mode than it asked for
    peer.flow(0, 5)
    assert [transfer.settled for transfer in peer.of(Transfer)] == [True]


@pytest.mark.parametrize("descriptor", [Symbol(FILTER), Ulong(0x468C_0000_0004), Ulong(0x1370_0000_A)])
def test_a_filter_may_be_described_by_a_name_or_by_a_number(descriptor: Value) -> None:
    world = World()
    world.append(5)
    peer = Peer(world).open()
    text = "amqp.annotation.x-opt-sequence-number > '2'"
    peer.send(Attach("r", 0, True, source=Source(READER, filter={Symbol(FILTER): Described(descriptor, text)}), target=Target()))
    peer.flow(0, 9)
    assert len(peer.messages()) == 2


def test_two_connections_may_have_links_of_one_name() -> None:
    world = World()
    peers = [Peer(world).open() for _ in range(2)]
    for peer in peers:
        peer.attach_receiver(name="link", credit=5)
        peer.attach_sender(name="link", handle=1)
    world.append(1)
    assert [len(peer.messages()) for peer in peers] == [1, 1]


@pytest.mark.parametrize(
    "name",
    [
        "sb://127.0.0.1:6000/orders/consumergroups/$Default",
        "amqp://127.0.0.1:6000/orders/ConsumerGroups/$Default/Partitions/0",
        "amqp://127.0.0.1/orders",
        "sb://127.0.0.1:6000/orders",
    ],
)
@pytest.mark.parametrize("expiration", [None, "1800000600", Timestamp(1_800_000_600_000)])
def test_a_token_is_taken_for_any_audience_that_clients_name_and_any_form_of_its_end(name: str, expiration: Value) -> None:
    asked = TOKEN | {"name": name} | ({} if expiration is None else {"expiration": expiration})
    _, values, _ = Peer(World()).open().ask("$cbs", asked, "token")
    assert values["status-code"] == 202


def test_requests_may_be_settled_and_answered_by_names_that_every_connection_uses() -> None:
    world = World()
    for _ in range(2):  # the same names: they are a session's own
        peer = Peer(world).open()
        for handle, service in ((0, "$cbs"), (2, "$management")):
            peer.attach_sender(service, handle=handle, name="sender")
            peer.attach_receiver(service, handle=handle + 1, name="receiver", target=f"{service[1:]}-client-reply-to", credit=5)
        peer.transfer(
            request(TOKEN | {"name": "amqp://h/orders"}, "t", id=Ulong(1), reply_to="cbs-client-reply-to"), handle=0, settled=True
        )
        asked: dict[Value, Value] = {"operation": "READ", "type": "com.microsoft:eventhub", "name": "orders"}
        peer.transfer(request(asked, id=Ulong(2), reply_to="management-client-reply-to"), handle=2, settled=True)
        received = peer.received()
        assert [transfer.handle for transfer, payload in received if payload] == [1, 3]
        assert [answer_of(payload)[0].correlation_id for _, payload in received if payload] == [1, 2]
        assert not [answer for answer, _ in received if isinstance(answer, Disposition)]


def test_go_puts_each_token_on_a_session_of_its_own_and_uses_numbers_again_at_once() -> None:
    peer = Peer(World()).open()
    for _ in range(5):
        peer.send(Begin(None, 0, 100, 100), channel=1)
        peer.send(Attach("s", 0, False, source=Source("a"), target=Target("$cbs")), channel=1)
        peer.send(Attach("r", 1, True, source=Source("$cbs"), target=Target("a")), channel=1)
        peer.send(Flow(0, 100, 0, 100, 1, 0, 1), channel=1)
        peer.raw()
        peer.send(Transfer(0, 0, b"12345678", 0, settled=True), request(TOKEN | {"name": "amqp://h/orders"}, "t", reply_to="a"), channel=1)
        (message,) = peer.messages()
        assert answer_of(message)[1]["status-code"] == 202
        peer.send(End(), channel=1)
        assert [type(answer) for answer, _ in peer.received()] == [End]


def test_fields_that_go_and_java_leave_out_are_not_missed() -> None:
    world = World()
    world.append(2)
    peer = Peer(world).open()

    def short(code: int, *values: Value) -> None:
        peer.give(frame(0, encode(Described(Ulong(code), list(values)))))

    source = Source(READER, filter={Symbol(FILTER): "amqp.annotation.x-opt-offset > '-1'"}).described()
    assert isinstance(source.value, list)
    short(0x12, "r", Uint(0), True, None, None, Described(source.descriptor, source.value[:8]), Described(Ulong(0x29), []))
    short(0x13, None, Uint(100), Uint(0), Uint(100), Uint(0), None, Uint(5))
    assert len(peer.messages()) == 2
    short(0x16, Uint(0))
    assert peer.of(Detach) == [Detach(0)]


def test_a_batch_may_hold_one_event_and_an_envelope_that_repeats_its_properties() -> None:
    world = World()
    peer = Peer(world).open()
    peer.attach_sender()
    properties = encode(Described(Ulong(0x73), ["id"]))
    key = encode(Described(Ulong(0x72), {Symbol("x-opt-partition-key"): "k"}))
    inner = properties + data_message(b"x")
    peer.transfer(key + properties + data_message(inner), format=BATCH_FORMAT)
    (event,) = world.hub.partitions[0].read(0, 9)
    assert (event.message, event.partition_key) == (inner, "k")


def test_javascript_adds_credit_for_each_wait_and_go_for_each_call() -> None:
    world = World()
    peer = Peer(world).open()
    peer.attach_receiver()
    total = 0
    for wait in (3, 2, 4):  # before anything has come
        total += wait
        peer.flow(0, total)
    world.append(20)
    assert len(peer.messages()) == 9
    for call in range(3):
        peer.flow(0, 1, count=9 + call, seen=9 + call)
        assert len(peer.messages()) == 1


def test_a_reader_may_take_an_epoch_of_zero_which_all_processors_do() -> None:
    world = World()
    first, second = Peer(world).open(), Peer(world).open()
    first.attach_receiver(epoch=Long(0))
    second.attach_receiver(epoch=Long(0))
    losses: list[Any] = first.of(Detach)
    assert [loss.error.condition for loss in losses] == ["amqp:link:stolen"]
