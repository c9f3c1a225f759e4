"""What an attach is answered: a link, or no source and no target and then the reason."""

from __future__ import annotations

from typing import Any

import pytest
from streamkit_sandbox.eventhubs.amqp_types import Long, Symbol, Value
from streamkit_sandbox.eventhubs.log import Hub
from streamkit_sandbox.eventhubs.performatives import Attach, Detach, End, Source, Target

from plugins.sandbox.tests.unit.eventhubs.amqp_peer import Peer, World

STOLEN = "amqp:link:stolen"


def refusal(answers: list[Any]) -> str:
    """The condition of a refusal, which has the form that clients need."""
    attach, detach = answers
    assert isinstance(attach, Attach)
    assert (attach.source, attach.target) == (None, None)
    assert isinstance(detach, Detach)
    assert detach.closed is True
    assert detach.error is not None
    return detach.error.condition


def test_a_receivers_attach_is_answered_with_its_own_source_and_a_delivery_count_of_zero() -> None:
    (attach,) = Peer(World()).open().attach_receiver(epoch=Long(3), name="mine", handle=5)
    assert (attach.name, attach.handle, attach.role, attach.initial_delivery_count) == ("mine", 5, False, 0)
    assert attach.source.address == "orders/ConsumerGroups/$Default/Partitions/0"
    assert attach.source.filter
    assert attach.target is not None


@pytest.mark.parametrize(
    ("address", "condition"),
    [
        ("nowhere/ConsumerGroups/$Default/Partitions/0", "amqp:not-found"),
        ("orders/ConsumerGroups/nobody/Partitions/0", "amqp:not-found"),
        ("orders/ConsumerGroups/$Default/Partitions/2", "com.microsoft:argument-out-of-range"),
        ("orders/ConsumerGroups/$Default", "amqp:not-allowed"),
        ("orders", "amqp:not-allowed"),
        ("", "amqp:not-found"),
        ("a/b/c/d", "amqp:not-found"),
    ],
)
def test_a_receiver_of_what_is_not_there_is_refused(address: str, condition: str) -> None:
    assert refusal(Peer(World()).open().attach_receiver(address)) == condition


@pytest.mark.parametrize(
    ("address", "condition"),
    [
        ("nowhere", "amqp:not-found"),
        ("orders/Partitions/2", "com.microsoft:argument-out-of-range"),
        ("orders/Partitions/x", "com.microsoft:argument-out-of-range"),
        ("orders/ConsumerGroups/$Default/Partitions/0", "amqp:not-allowed"),
    ],
)
def test_a_sender_to_what_is_not_there_is_refused(address: str, condition: str) -> None:
    assert refusal(Peer(World()).open().attach_sender(address)) == condition


@pytest.mark.parametrize("selector", ["", "x > 1", "amqp.annotation.x-opt-offset > '99'", "amqp.annotation.x-opt-sequence-number > '99'"])
def test_a_selector_that_is_none_or_points_behind_the_end_is_refused(selector: str) -> None:
    assert refusal(Peer(World()).open().attach_receiver(selector=selector)) == "com.microsoft:argument-error"


@pytest.mark.parametrize("epoch", [Long(-1), True, "7"])
def test_an_epoch_is_a_number_of_zero_or_more(epoch: Value) -> None:
    assert refusal(Peer(World()).open().attach_receiver(epoch=epoch)) == "amqp:invalid-field"


@pytest.mark.parametrize("epoch", [5, 6])
def test_an_equal_or_higher_epoch_takes_over_and_the_other_is_told_who_it_was(epoch: int) -> None:
    world = World()
    old, new = Peer(world).open(), Peer(world).open()
    old.attach_receiver(epoch=Long(5), credit=100)
    assert len(new.attach_receiver(epoch=Long(epoch), credit=100)) == 1
    (detach,) = old.of(Detach)
    assert (detach.closed, detach.error.condition) == (True, STOLEN)
    world.append(2)
    assert len(new.messages()) == 2
    assert old.received() == []
    assert [info.epoch for info in world.service.readers()] == [epoch]


@pytest.mark.parametrize("epoch", [None, Long(4)])
def test_a_lower_epoch_or_none_is_refused_and_the_reader_reads_on(epoch: Value) -> None:
    world = World()
    old, new = Peer(world).open(), Peer(world).open()
    old.attach_receiver(epoch=Long(5), credit=100)
    assert refusal(new.attach_receiver(epoch=epoch)) == STOLEN
    world.append(1)
    assert len(old.messages()) == 1


def test_an_epoch_ends_with_its_link() -> None:
    world = World()
    old, new = Peer(world).open(), Peer(world).open()
    old.attach_receiver(epoch=Long(5))
    old.send(Detach(0, closed=True))
    assert len(new.attach_receiver(epoch=None)) == 1


def test_a_reader_that_takes_over_from_itself_on_the_same_connection_is_no_exception() -> None:
    peer = Peer(World()).open()
    peer.attach_receiver(epoch=Long(5), handle=0)
    answers = peer.attach_receiver(epoch=Long(5), handle=1)
    assert [type(answer) for answer in answers] == [Attach, Detach]
    assert answers[1].handle == 0


def test_the_sixth_reader_without_an_epoch_is_refused_by_name_and_has_room_when_one_leaves() -> None:
    world = World()
    peers = [Peer(world).open() for _ in range(6)]
    for number, peer in enumerate(peers[:5]):
        peer.attach_receiver(name=f"reader-{number}")
    answers = peers[5].attach_receiver(name="sixth")
    assert "reader-0, reader-1" in answers[1].error.description
    assert refusal(answers) == "amqp:resource-limit-exceeded"
    peers[2].connection.connection_lost(None)
    peers[5].send(Detach(0, closed=True))
    assert len(peers[5].attach_receiver(name="sixth")) == 1


def test_groups_and_partitions_have_readers_of_their_own() -> None:
    world = World()
    world.hub.consumer_groups.add("other")
    peer = Peer(world).open()
    for handle, address in enumerate(("$Default/Partitions/0", "other/Partitions/0", "$Default/Partitions/1")):
        assert len(peer.attach_receiver(f"orders/ConsumerGroups/{address}", handle=handle, epoch=Long(1))) == 1
    assert refusal(peer.attach_receiver("ORDERS/consumergroups/OTHER/partitions/0", handle=3)) == STOLEN


def test_a_refused_handle_is_free_again_when_the_client_has_said_so() -> None:
    peer = Peer(World()).open()
    refusal(peer.attach_receiver("nowhere/ConsumerGroups/g/Partitions/0"))
    peer.send(Detach(0, closed=True))
    assert peer.received() == []
    assert len(peer.attach_receiver()) == 1


@pytest.mark.parametrize(("handle", "condition"), [(0, "amqp:session:handle-in-use"), (256, "amqp:not-allowed")])
def test_a_handle_that_is_in_use_or_too_high_ends_the_session(handle: int, condition: str) -> None:
    peer = Peer(World()).open()
    peer.attach_sender(handle=0)
    peer.send(Attach("x", handle, True, source=Source("orders"), target=Target()))
    (end,) = peer.of(End)
    assert end.error.condition == condition


def test_a_reader_without_a_filter_begins_at_the_end() -> None:
    world = World()
    world.append(3)
    peer = Peer(world).open()
    peer.send(Attach("r", 0, True, source=Source("orders/ConsumerGroups/$Default/Partitions/0"), target=Target()))
    peer.flow(0, 10)
    assert peer.messages() == []
    world.append(1)
    assert len(peer.messages()) == 1


def test_a_receiver_is_named_as_it_says() -> None:
    world = World()
    peer = Peer(world).open()
    source = Source("orders/ConsumerGroups/$Default/Partitions/0")
    peer.send(Attach("r", 0, True, source=source, target=Target(), properties={Symbol("com.microsoft:receiver-name"): "worker 1"}))
    assert [info.name for info in world.service.readers()] == ["worker 1"]


def test_a_deleted_hub_takes_its_links_along_and_no_others() -> None:
    world = World()
    world.service.add(Hub("other", 1))
    peer = Peer(world).open()
    peer.attach_receiver(handle=0)
    peer.attach_sender("orders", handle=1)
    peer.attach_sender("other", handle=2)
    peer.attach_sender("$management", handle=3)
    world.service.remove("Orders")
    assert [(detach.handle, detach.error.condition) for detach in peer.of(Detach)] == [(0, "amqp:not-found"), (1, "amqp:not-found")]
