"""`$management` and `$cbs`: what is answered, in the types that every client takes, and who is let in."""

from __future__ import annotations

import base64
import json
from typing import Any
from uuid import UUID

import pytest
from streamkit_sandbox.eventhubs.amqp_types import Array, Int, Long, Timestamp, Ulong, Value
from streamkit_sandbox.eventhubs.cbs import Access, sign
from streamkit_sandbox.eventhubs.performatives import Detach

from plugins.sandbox.tests.unit.eventhubs.amqp_peer import START, Peer, World

HUB: dict[Value, Value] = {"operation": "READ", "type": "com.microsoft:eventhub", "name": "orders"}
PARTITION: dict[Value, Value] = {"operation": "READ", "type": "com.microsoft:partition", "name": "orders", "partition": "0"}
NOW = START // 1000
UNAUTHORIZED = "amqp:unauthorized-access"


def typed(values: dict[Value, Any]) -> dict[str, tuple[type, Any]]:
    return {str(name): (type(value), value) for name, value in values.items()}


def test_a_hub_is_described_in_the_types_that_every_client_takes() -> None:
    _, values, body = Peer(World()).open().ask("$management", HUB)
    assert typed(values)["status-code"] == (Int, 200)
    assert typed(body) == {
        "name": (str, "orders"),
        "type": (str, "com.microsoft:eventhub"),
        "created_at": (Timestamp, START),
        "partition_count": (Int, 2),
        "partition_ids": (Array, Array(("0", "1"), 0xB1)),
        "georeplication_factor": (Int, 1),
    }


def test_a_partition_is_described_before_and_after_its_first_event() -> None:
    world = World()
    peer = Peer(world).open()
    _, _, body = peer.ask("$management", PARTITION)
    assert typed(body) == {
        "name": (str, "orders"),
        "type": (str, "com.microsoft:partition"),
        "partition": (str, "0"),
        "begin_sequence_number": (Long, 0),
        "last_enqueued_sequence_number": (Long, -1),
        "last_enqueued_offset": (str, "-1"),
        "last_enqueued_time_utc": (Timestamp, -62_135_596_800_000),
        "is_partition_empty": (bool, True),
    }
    world.append(2)
    last = world.hub.partitions[0].last
    assert last is not None
    peer.flow(201, 50, count=1)
    _, _, body = peer.ask("$management", PARTITION)
    assert body["last_enqueued_sequence_number"] == 1
    assert body["last_enqueued_offset"] == last.offset
    assert body["last_enqueued_time_utc"] == START
    assert body["is_partition_empty"] is False


@pytest.mark.parametrize("id", ["text", Ulong(7), UUID(int=7), b"bytes"])
def test_the_correlation_id_is_the_message_id_of_the_same_type(id: Value) -> None:
    properties, _, _ = Peer(World()).open().ask("$management", HUB, id=id)
    assert properties.correlation_id == id
    assert type(properties.correlation_id) is type(id)


@pytest.mark.parametrize(
    ("changes", "status", "condition"),
    [
        ({"name": "nowhere"}, 404, "amqp:not-found"),
        ({"name": None}, 404, "amqp:not-found"),
        ({"partition": "9"}, 400, "com.microsoft:argument-out-of-range"),
        ({"operation": "WRITE"}, 400, "amqp:not-implemented"),
        ({"type": "com.microsoft:else"}, 400, "amqp:not-implemented"),
    ],
)
def test_what_cannot_be_answered_has_a_status_and_a_condition(changes: dict[Value, Value], status: int, condition: str) -> None:
    _, values, _ = Peer(World()).open().ask("$management", PARTITION | changes)
    assert typed(values)["status-code"] == (Int, status)
    assert values["error-condition"] == condition


def put(
    token: Value, *, name: str = "sb://127.0.0.1:5672/orders", kind: str = "servicebus.windows.net:sastoken"
) -> tuple[dict[Value, Value], Value]:
    return {"operation": "put-token", "type": kind, "name": name}, token


def test_without_users_any_token_is_good_and_none_is_needed() -> None:
    peer = Peer(World()).open()
    _, values, _ = peer.ask("$cbs", *put("anything"))
    assert typed(values)["status-code"] == (Int, 202)
    assert len(peer.attach_receiver(handle=1)) == 1


SR = "sb%3A%2F%2F127.0.0.1%3A5672%2Forders"
GOOD = sign(SR, "reader", "key+/=", NOW + 600)


@pytest.mark.parametrize(
    "token",
    [
        GOOD,
        sign("sb%3a%2f%2f127.0.0.1%3a5672%2forders%2fconsumergroups%2fg", "reader", "key+/=", NOW + 600),
        sign("sb%3A%2F%2F127.0.0.1%3A5672", "reader", "key+/=", NOW + 600),
        sign("amqp%3A%2F%2Flocalhost%2FORDERS", "reader", "key+/=", NOW + 600),
    ],
)
def test_a_good_signature_lets_in(token: str) -> None:
    peer = Peer(World(access=Access({"reader": "key+/="}))).open()
    _, values, _ = peer.ask("$cbs", *put(token))
    assert values["status-code"] == 202
    assert len(peer.attach_receiver(handle=1)) == 1
    peer.flow(201, 50, count=1)
    assert peer.attach_sender(handle=2)[0].target is not None


@pytest.mark.parametrize(
    ("token", "says"),
    [
        (sign(SR, "reader", "wrong", NOW + 600), "InvalidSignature"),
        (sign(SR, "stranger", "key+/=", NOW + 600), "InvalidSignature"),
        (GOOD.replace("se=", "se=9"), "InvalidSignature"),
        (GOOD.replace("orders", "others"), "InvalidSignature"),
        (sign(SR, "reader", "key+/=", NOW), "ExpiredToken"),
        (sign("sb%3A%2F%2F127.0.0.1%2Fothers", "reader", "key+/=", NOW + 600), "InvalidAudience"),
        ("SharedAccessSignature nonsense", "InvalidSignature"),
        (f"SharedAccessSignature sr={SR}&sig=x&se=²&skn=reader", "InvalidSignature"),
        ("", "MalformedToken"),
        (Long(1), "MalformedToken"),
    ],
)
def test_a_bad_token_is_answered_with_401_and_lets_nobody_in(token: Value, says: str) -> None:
    peer = Peer(World(access=Access({"reader": "key+/="}))).open()
    _, values, _ = peer.ask("$cbs", *put(token))
    assert typed(values)["status-code"] == (Int, 401)
    assert says in str(values["status-description"])
    assert values["error-condition"] == UNAUTHORIZED
    assert peer.attach_receiver(handle=1)[1].error.condition == UNAUTHORIZED
    assert peer.attach_sender(handle=2)[1].error.condition == UNAUTHORIZED


def test_a_bearer_token_is_good_if_it_is_one_that_was_named() -> None:
    for token, status in (("good", 202), ("bad", 401)):
        _, values, _ = Peer(World(access=Access({}, ["good"]))).open().ask("$cbs", *put(token, kind="jwt"))
        assert values["status-code"] == status


@pytest.mark.parametrize(("left", "status"), [(600, 202), (0, 401)])
def test_a_bearer_token_is_good_until_the_time_that_it_says(left: int, status: int) -> None:
    claims = base64.urlsafe_b64encode(json.dumps({"exp": NOW + left}).encode()).rstrip(b"=").decode()
    token = f"e30.{claims}.nobody"
    _, values, _ = Peer(World(access=Access({}, [token]))).open().ask("$cbs", *put(token, kind="jwt"))
    assert values["status-code"] == status
    assert ("ExpiredToken" in str(values["status-description"])) is (status == 401)


def test_a_token_of_one_hub_or_of_another_connection_is_none_here() -> None:
    world = World(access=Access({"reader": "key+/="}))
    peer, other = Peer(world).open(), Peer(world).open()
    elsewhere = sign("sb%3A%2F%2Fh%2Felse", "reader", "key+/=", NOW + 600)
    peer.ask("$cbs", *put(elsewhere, name="sb://h/else"))
    other.ask("$cbs", *put(GOOD))
    assert peer.attach_receiver(handle=1)[1].error.condition == UNAUTHORIZED


def test_management_takes_the_claims_of_the_connection_or_a_token_in_the_request() -> None:
    world = World(access=Access({"reader": "key+/="}))
    _, values, _ = Peer(world).open().ask("$management", HUB)
    assert values["status-code"] == 401
    _, values, _ = Peer(world).open().ask("$management", HUB | {"security_token": GOOD})
    assert values["status-code"] == 200
    _, values, _ = Peer(world).open().ask("$management", HUB | {"security_token": GOOD + "x"})
    assert values["status-code"] == 401


def test_links_end_when_their_token_does_and_a_newer_token_keeps_them() -> None:
    world = World(access=Access({"reader": "key+/="}), idle_seconds=10_000)
    lazy, diligent = Peer(world).open(), Peer(world).open()
    for peer in (lazy, diligent):
        peer.ask("$cbs", *put(GOOD))
        peer.attach_receiver(handle=1)
    world.timers.advance(500)
    diligent.flow(201, 50, count=1)
    diligent.ask("$cbs", *put(sign(SR, "reader", "key+/=", NOW + 1200)))
    world.timers.advance(101)
    (detach,) = lazy.of(Detach)
    assert (detach.handle, detach.error.condition) == (1, UNAUTHORIZED)
    assert diligent.of(Detach) == []
    world.timers.advance(600)
    assert [detach.error.condition for detach in diligent.of(Detach)] == [UNAUTHORIZED]


def test_another_operation_of_cbs_is_refused() -> None:
    _, values, _ = Peer(World()).open().ask("$cbs", {"operation": "delete-token"})
    assert values["status-code"] == 400
