"""Senders of a client, and where answers go."""

from __future__ import annotations

import pytest
from streamkit_sandbox.eventhubs.amqp_codec import encode
from streamkit_sandbox.eventhubs.amqp_types import Described, Symbol, Ulong, Value
from streamkit_sandbox.eventhubs.faults import Fault, Kind
from streamkit_sandbox.eventhubs.links import CREDIT
from streamkit_sandbox.eventhubs.messages import BATCH_FORMAT, data_message
from streamkit_sandbox.eventhubs.performatives import Attach, Detach, Disposition, Flow, Transfer
from streamkit_sandbox.eventhubs.session import INCOMING_WINDOW

from plugins.sandbox.tests.unit.eventhubs.amqp_peer import Peer, World, request

ACCEPTED, TOO_LARGE = 0x24, "amqp:link:message-size-exceeded"
READ: dict[Value, Value] = {"operation": "READ", "type": "com.microsoft:eventhub", "name": "orders"}


def bodies(world: World, partition: int = 0) -> list[bytes]:
    return [event.message for event in world.hub.partitions[partition].read(0, 1000)]


def test_a_senders_attach_is_answered_with_the_largest_message_and_then_credit() -> None:
    attach, flow = Peer(World()).open().attach_sender()
    assert isinstance(attach, Attach)
    assert attach.max_message_size == 1_048_576
    assert attach.role is True
    assert attach.target is not None
    assert attach.target.address == "orders/Partitions/0"
    assert attach.initial_delivery_count is None
    assert isinstance(flow, Flow)
    assert (flow.handle, flow.link_credit, flow.delivery_count) == (0, CREDIT, 0)


def test_a_delivery_is_stored_before_it_is_accepted() -> None:
    world = World()
    peer = Peer(world).open()
    peer.attach_sender()
    peer.transfer(data_message(b"a"), id=7)
    assert bodies(world) == [data_message(b"a")]
    (accepted,) = peer.of(Disposition)
    assert (accepted.role, accepted.first, accepted.last, accepted.settled, accepted.state.descriptor) == (True, 7, 7, True, ACCEPTED)


def test_a_settled_delivery_is_stored_and_not_answered() -> None:
    world = World()
    peer = Peer(world).open()
    peer.attach_sender()
    peer.transfer(data_message(b"a"), settled=True)
    assert bodies(world) == [data_message(b"a")]
    assert peer.of(Disposition) == []


def test_a_delivery_of_several_frames_is_put_together_and_an_aborted_one_never_was() -> None:
    world = World()
    peer = Peer(world).open()
    peer.attach_sender()
    whole = data_message(b"x" * 100)
    for id, last in ((0, {"aborted": True}), (1, {})):
        peer.transfer(whole[:40], id=id, more=True)
        peer.transfer(whole[40:80], id=None, more=True)
        peer.transfer(whole[80:], id=None, **last)
    assert bodies(world) == [whole]
    assert peer.outcomes() == [(1, ACCEPTED)]


def test_deliveries_of_two_links_may_come_in_turns() -> None:
    world = World()
    peer = Peer(world).open()
    peer.attach_sender(handle=0)
    peer.attach_sender("orders/Partitions/1", handle=1)
    first, second = data_message(b"first"), data_message(b"second")
    peer.transfer(first[:3], handle=0, id=0, more=True)
    peer.transfer(second[:3], handle=1, id=1, more=True)
    peer.transfer(first[3:], handle=0, id=0)
    peer.transfer(second[3:], handle=1, id=1)
    assert (bodies(world, 0), bodies(world, 1)) == ([first], [second])


def test_a_message_that_is_too_large_is_rejected_and_the_link_goes_on() -> None:
    world = World(max_message_bytes=1000)
    peer = Peer(world).open()
    peer.attach_sender()
    for _ in range(3):
        peer.transfer(b"x" * 400, id=0, more=True)
    peer.transfer(b"x" * 400, id=0)
    peer.transfer(data_message(b"small"), id=1)
    assert peer.outcomes() == [(0, TOO_LARGE), (1, ACCEPTED)]
    assert bodies(world) == [data_message(b"small")]


def test_of_a_message_that_is_too_large_nothing_is_kept() -> None:
    peer = Peer(World(max_message_bytes=1000)).open()
    peer.attach_sender()
    for _ in range(1200):  # more than all links of a connection may hold
        peer.transfer(b"x" * 60_000, id=0, more=True)
    peer.transfer(b"x", id=0)
    assert peer.outcomes() == [(0, TOO_LARGE)]


def test_what_is_no_message_is_rejected_and_nothing_of_it_is_stored() -> None:
    world = World()
    peer = Peer(world).open()
    peer.attach_sender()
    peer.transfer(b"nonsense", id=0)
    peer.transfer(data_message(data_message(b"good")) + data_message(b"bad"), id=1, format=BATCH_FORMAT)
    assert peer.outcomes() == [(0, "amqp:decode-error"), (1, "amqp:decode-error")]
    assert bodies(world) == []


def test_events_that_cannot_be_written_down_are_rejected() -> None:
    world = World()

    def full(_events: object) -> None:
        raise OSError("no space left")

    world.hub.partitions[0].journal = full
    peer = Peer(world).open()
    peer.attach_sender()
    peer.transfer(data_message(b"a"))
    assert peer.outcomes() == [(0, "amqp:internal-error")]
    assert bodies(world) == []


def test_a_batch_is_one_enqueue_and_its_key_says_where() -> None:
    world = World()
    peer = Peer(world).open()
    peer.attach_sender("orders")
    annotations = encode(Described(Ulong(0x72), {Symbol("x-opt-partition-key"): "k"}))
    peer.transfer(annotations + b"".join(data_message(data_message(b"%d" % number)) for number in range(3)), format=BATCH_FORMAT)
    log = world.hub.partition_of("k")
    assert [event.partition_key for event in log.read(0, 9)] == ["k"] * 3


def test_events_without_a_key_go_to_the_partitions_in_turn() -> None:
    world = World()
    peer = Peer(world).open()
    peer.attach_sender("amqps://127.0.0.1:5672/orders")
    for id in range(4):
        peer.transfer(data_message(b"%d" % id), id=id)
    assert [len(bodies(world, partition)) for partition in (0, 1)] == [2, 2]


def test_credit_is_given_again_before_it_is_used_up_and_who_exceeds_it_loses_the_link() -> None:
    world = World()
    peer = Peer(world).open()
    peer.attach_sender()
    credit, count = CREDIT, 0
    for id in range(500):
        peer.transfer(data_message(b"x"), id=id)
        credit -= 1
        for flow in peer.of(Flow):
            assert flow.delivery_count == id + 1
            credit, count = flow.link_credit, count + 1
        assert credit > 0
    assert count < 20
    world.service.faults.rules = [Fault(Kind.DELAY, seconds=9)]
    for id in range(500, 500 + CREDIT + 1):
        peer.transfer(data_message(b"x"), id=id)
    (detach,) = peer.of(Detach)
    assert detach.error.condition == "amqp:link:transfer-limit-exceeded"


def test_credit_leaves_out_what_is_not_settled_yet() -> None:
    world = World()
    world.service.faults.rules = [Fault(Kind.DELAY, times=10, seconds=9)]
    peer = Peer(world).open()
    peer.attach_sender()
    for id in range(CREDIT // 2 + 10):
        peer.transfer(data_message(b"x"), id=id)
    assert [flow.link_credit for flow in peer.of(Flow)] == [CREDIT - 10]


def test_the_session_window_is_renewed_before_it_is_used_up() -> None:
    peer = Peer(World()).open()
    peer.attach_sender()
    seen = 0
    for id in range(INCOMING_WINDOW + 100):
        peer.transfer(b"x", id=0, more=True)
        seen = max([seen, *(flow.next_incoming_id for flow in peer.of(Flow))])
        assert id - seen < INCOMING_WINDOW


@pytest.mark.parametrize("reply_to", ["target", "receiver", None])
def test_an_answer_goes_to_the_link_with_that_target_or_name_or_to_the_only_one(reply_to: str | None) -> None:
    peer = Peer(World()).open()
    peer.attach_receiver("$management", handle=1, name="receiver", target="target", credit=5)
    if reply_to is not None:
        peer.attach_receiver("$management", handle=2, name="other", target="other target", credit=5)
    peer.attach_receiver("$cbs", handle=3, name="cbs", target="target", credit=5)
    peer.attach_sender("$management", handle=4)
    peer.transfer(request(READ, reply_to=reply_to), handle=4)
    assert [transfer.handle for transfer in peer.of(Transfer)] == [1]


def test_a_target_counts_more_than_a_name() -> None:
    peer = Peer(World()).open()
    peer.attach_receiver("$management", handle=1, name="here", target="there", credit=5)
    peer.attach_receiver("$management", handle=2, name="there", target="here", credit=5)
    peer.attach_sender("$management", handle=4)
    peer.transfer(request(READ, reply_to="here"), handle=4)
    assert [transfer.handle for transfer in peer.of(Transfer)] == [2]


def test_a_request_that_nobody_could_be_answered_is_rejected() -> None:
    peer = Peer(World()).open()
    peer.attach_sender("$management")
    peer.transfer(request(READ))
    peer.transfer(b"nonsense", id=1)
    assert peer.outcomes() == [(0, "amqp:not-found"), (1, "amqp:decode-error")]


def test_answers_wait_for_credit_and_a_client_that_never_gives_it_loses_the_link() -> None:
    peer = Peer(World()).open()
    peer.attach_receiver("$management", handle=1)
    peer.attach_sender("$management", handle=0)
    peer.transfer(request(READ), id=0)
    assert peer.messages() == []
    peer.flow(1, 1)
    assert len(peer.messages()) == 1
    for id in range(1, 102):
        peer.transfer(request(READ), id=id)
    (detach,) = peer.of(Detach)
    assert (detach.handle, detach.error.condition) == (1, "amqp:resource-limit-exceeded")


def test_answers_wait_for_the_window_too_and_are_bounded_there() -> None:
    peer = Peer(World()).open(window=1)
    peer.attach_receiver("$management", handle=1)
    peer.attach_sender("$management", handle=0)
    peer.flow(1, 1_000_000, window=1)
    for id in range(3):
        peer.transfer(request(READ), id=id)
    assert len(peer.messages()) == 1
    peer.flow(None, None, window=10, seen=1)
    assert len(peer.messages()) == 2
    peer.flow(None, None, window=0, seen=3)
    for id in range(3, 104):
        peer.transfer(request(READ), id=id)
    assert [detach.error.condition for detach in peer.of(Detach)] == ["amqp:resource-limit-exceeded"]


def test_an_answer_larger_than_a_frame_comes_in_several() -> None:
    world = World()
    world.hub.grow(500)
    peer = Peer(world).open(max_frame=512)
    _, values, body = peer.ask("$management", READ)
    assert values["status-code"] == 200
    assert len(body["partition_ids"].items) == 500


def test_a_transfer_to_a_receiver_detaches_that_link_alone() -> None:
    peer = Peer(World()).open()
    peer.attach_receiver(handle=0)
    peer.attach_sender(handle=1)
    peer.transfer(b"x", handle=0)
    (detach,) = peer.of(Detach)
    assert (detach.handle, detach.error.condition) == (0, "amqp:not-allowed")
    peer.transfer(b"more of it", handle=0)  # on its way
    peer.send(Detach(0, closed=True))
    peer.transfer(data_message(b"x"), handle=1)
    assert peer.outcomes() == [(0, ACCEPTED)]
    peer.attach_receiver(handle=0)


def test_a_detach_is_answered_in_kind() -> None:
    peer = Peer(World()).open()
    for closed in (True, False):
        peer.attach_sender()
        peer.send(Detach(0, closed=closed))
        assert peer.of(Detach) == [Detach(0, closed=closed)]
