"""Faults: by chance or by count, the same for a seed, and what each does to a client."""

from __future__ import annotations

from typing import Any

import pytest
from streamkit_sandbox.errors import SandboxError
from streamkit_sandbox.eventhubs.faults import OPERATIONS, Fault, Faults, Kind, every_fault
from streamkit_sandbox.eventhubs.messages import data_message
from streamkit_sandbox.eventhubs.performatives import Attach, Detach, Disposition

from plugins.sandbox.tests.unit.eventhubs.amqp_peer import Peer, World

HUB: dict[Any, Any] = {"operation": "READ", "type": "com.microsoft:eventhub", "name": "orders"}
TOKEN: dict[Any, Any] = {"operation": "put-token", "type": "jwt", "name": "sb://h/orders"}
ACCEPTED = 0x24


def faults(*rules: Fault, seed: int = 0) -> Faults:
    found = Faults(lambda: 0.0, seed)
    found.rules = rules
    return found


def stored(world: World) -> int:
    return world.hub.partitions[0].last_sequence + 1


def sender(world: World) -> Peer:
    peer = Peer(world).open()
    peer.attach_sender()
    return peer


def test_chances_are_those_of_the_seed_for_each_operation_whatever_else_happens() -> None:
    def met(seed: int, *, others: bool) -> list[bool]:
        some, found = faults(Fault(Kind.DROP, 0.3), seed=seed), []
        for _ in range(200):
            if others:
                some.roll("read", "orders")
            found.append(some.roll("send", "orders") is not None)
        return found

    assert met(1, others=False) == met(1, others=True) != met(2, others=False)
    assert 30 < sum(met(1, others=False)) < 90


def test_a_rule_happens_so_many_times_and_is_counted() -> None:
    some = faults(Fault(Kind.DROP, times=2))
    assert [some.roll("send", "orders") is not None for _ in range(4)] == [True, True, False, False]
    assert some.counts == {("send", Kind.DROP): 2}


def test_a_rule_is_for_its_operations_and_its_hub() -> None:
    some = faults(Fault(Kind.DROP, operations=("attach", "send"), hub="Orders"))
    assert some.roll("read", "orders") is None
    assert some.roll("send", "others") is None
    assert some.roll("send", "ORDERS") is not None


@pytest.mark.parametrize(
    ("rule", "says"),
    [
        ({"kind": Kind.DROP, "chance": 2.0}, "probability"),
        ({"kind": Kind.DELAY}, "seconds"),
        ({"kind": Kind.LOSE, "acted": True}, "acted"),
        ({"kind": Kind.DROP, "operations": "sned"}, "sned"),
        ({"kind": Kind.LOSE, "operations": "deliver"}, "deliver"),
        ({"kind": Kind.DELAY, "operations": "attach", "seconds": 1.0}, "attach"),
    ],
)
def test_rules_that_make_no_sense_are_refused(rule: dict[str, Any], says: str) -> None:
    with pytest.raises(SandboxError, match=says):
        Fault(**rule)


def test_every_fault_is_a_rule_of_each_kind_and_all_of_them_can_be_carried_out() -> None:
    assert {rule.kind for rule in every_fault(0.1)} == set(Kind)
    for rule in every_fault(1.0):
        for operation in OPERATIONS:
            world = World()
            world.service.faults.rules = [rule]
            world.append(3)
            peer = Peer(world).open()
            if operation == "deliver":
                peer.attach_receiver(credit=9)
            elif operation == "send":
                peer.attach_sender()
                peer.transfer(data_message(b"x"))
            world.timers.advance(1)


def test_a_rejected_send_is_not_stored_and_the_next_one_is() -> None:
    world = World()
    world.service.faults.rules = [Fault(Kind.REJECT, operations="send", times=1)]
    peer = sender(world)
    peer.transfer(data_message(b"a"), id=0)
    assert stored(world) == 0
    peer.transfer(data_message(b"b"), id=1)
    assert peer.outcomes() == [(0, "com.microsoft:server-busy"), (1, ACCEPTED)]


def test_a_lost_acknowledgement_is_of_an_event_that_was_stored() -> None:
    world = World()
    world.service.faults.rules = [Fault(Kind.LOSE, operations="send", times=1)]
    peer = sender(world)
    peer.transfer(data_message(b"a"), id=0)
    peer.transfer(data_message(b"b"), id=1)
    assert stored(world) == 2
    assert peer.outcomes() == [(1, ACCEPTED)]


def test_a_delayed_acknowledgement_comes_later() -> None:
    world = World()
    world.service.faults.rules = [Fault(Kind.DELAY, operations="send", seconds=2.0)]
    peer = sender(world)
    peer.transfer(data_message(b"a"))
    assert stored(world) == 1
    assert peer.outcomes() == []
    world.timers.advance(2)
    assert peer.outcomes() == [(0, ACCEPTED)]


@pytest.mark.parametrize("acted", [False, True])
@pytest.mark.parametrize("kind", [Kind.DETACH, Kind.DROP, Kind.CUT])
def test_a_link_or_connection_ends_before_or_after_the_event_was_stored(kind: Kind, acted: bool) -> None:
    world = World()
    world.service.faults.rules = [Fault(kind, operations="send", times=1, acted=acted, condition="amqp:internal-error")]
    peer = sender(world)
    peer.transfer(data_message(b"a"))
    world.timers.advance(0.1)
    assert stored(world) == acted
    assert (kind is Kind.DROP) == peer.transport.is_aborted
    assert (kind is not Kind.DETACH) == peer.transport.is_closed
    if kind is Kind.DETACH:
        assert [detach.error.condition for detach in peer.of(Detach)] == ["amqp:internal-error"]
    elif kind is Kind.DROP:
        assert peer.raw() == b""
    else:
        half = peer.raw()
        assert 0 < len(half) < int.from_bytes(half[:4], "big")


def test_events_before_the_one_that_a_fault_meets_have_come_and_no_later_one() -> None:
    for kind in (Kind.DETACH, Kind.DROP, Kind.CUT):
        world = World()
        world.append(100)
        world.service.faults.rules = [Fault(kind, 0.05, "deliver", times=1)]
        peer = Peer(world).open()
        peer.attach_receiver(credit=100)
        answers = peer.received()
        count = sum(bool(payload) for _, payload in answers)
        assert 0 < count < 100
        assert [type(answer) for answer, payload in answers if not payload] == ([Detach] if kind is Kind.DETACH else [])
        again = Peer(world).open()
        again.attach_receiver(credit=100, selector=f"amqp.annotation.x-opt-sequence-number >= '{count}'")
        assert len(again.messages()) == 100 - count


def test_a_delayed_event_holds_up_those_after_it_and_all_come_once() -> None:
    world = World()
    world.append(10)
    world.service.faults.rules = [Fault(Kind.DELAY, operations="deliver", seconds=1.0)]
    peer = Peer(world).open()
    peer.attach_receiver(credit=100)
    counts = []
    for _ in range(12):
        counts.append(len(peer.messages()))
        world.timers.advance(1.0)
    assert counts == [0] + [1] * 10 + [0]


def test_an_attach_is_refused_or_never_answered() -> None:
    world = World()
    world.service.faults.rules = [Fault(Kind.REJECT, operations="attach", times=1), Fault(Kind.LOSE, operations="attach", times=1)]
    peer = Peer(world).open()
    answers = peer.attach_receiver(handle=0)
    assert [type(answer) for answer in answers] == [Attach, Detach]
    assert answers[1].error.condition == "com.microsoft:server-busy"
    assert peer.attach_receiver(handle=1) == []
    assert len(peer.attach_receiver(handle=2)) == 1
    assert len(world.service.readers()) == 1


def test_requests_are_refused_lost_and_delayed() -> None:
    world = World()
    peer = Peer(world).open()
    peer.ask("$cbs", TOKEN)
    for service, request, kinds in (("$management", HUB, "read"), ("$cbs", TOKEN, "put-token")):
        world.service.faults.rules = [
            Fault(Kind.REJECT, operations=kinds, times=1, hub="orders"),
            Fault(Kind.LOSE, operations=kinds, times=1),
            Fault(Kind.DELAY, operations=kinds, times=1, seconds=3.0),
        ]
        peer = Peer(world).open()
        _, values, _ = peer.ask(service, request)
        assert values["error-condition"] == "com.microsoft:server-busy"
        peer.flow(201, 50, count=1)
        with pytest.raises(ValueError, match="unpack"):
            peer.ask(service, request)
        with pytest.raises(ValueError, match="unpack"):
            peer.ask(service, request)
        world.timers.advance(3)
        assert len(peer.messages()) == 1


def test_throttling_refuses_sends_and_requests_for_its_time() -> None:
    world = World()
    peer = sender(world)
    world.service.faults.throttle(4.0)
    peer.transfer(data_message(b"a"), id=0)
    assert peer.outcomes() == [(0, "com.microsoft:server-busy")]
    _, values, _ = peer.ask("$management", HUB)
    assert (values["status-code"], values["error-condition"]) == (503, "com.microsoft:server-busy")
    world.timers.advance(4.0)
    peer.transfer(data_message(b"a"), id=1)
    assert [each.first for each in peer.of(Disposition)] == [1]
    assert stored(world) == 1
