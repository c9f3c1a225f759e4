"""Clients that say anything in any order: nothing is raised, and nothing of them stays when they are gone."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import pytest
from streamkit_sandbox.eventhubs.amqp_codec import encode
from streamkit_sandbox.eventhubs.amqp_types import Array, Char, Decimal, Described, Float32, Int, Long, Symbol, Uint, Ulong, Value
from streamkit_sandbox.eventhubs.faults import every_fault
from streamkit_sandbox.eventhubs.frames import frame
from streamkit_sandbox.eventhubs.messages import BATCH_FORMAT, data_message
from streamkit_sandbox.eventhubs.performatives import Attach, Begin, Close, Detach, Disposition, End, Flow, Open, Transfer

from plugins.sandbox.tests.unit.eventhubs.amqp_peer import FILTER, Peer, World, request

SOURCES = ["orders/ConsumerGroups/$Default/Partitions/0", "$cbs", "$management", "here"]
TARGETS = ["orders", "orders/Partitions/1", "$cbs", "$management", "here"]
ANYTHING: list[Value] = [
    *(None, True, 1.5, "orders", b"", [], {}, Uint(0), Uint(2**32 - 1), Ulong(2**64 - 1), Long(-1), Int(5)),
    *(Symbol("x"), Char("x"), Float32(1.5), Decimal(b"1234"), Array((Symbol("a"),)), Array((Long(3),)), Array((1.5,))),
    {Symbol(FILTER): Described(Symbol("f"), "amqp.annotation.x-opt-offset > '-1'")},
    {Symbol("com.microsoft:epoch"): Long(1)},
    *(Described(Ulong(code), [text]) for code in (0x28, 0x29) for text in (SOURCES[0], TARGETS[1], "$management")),
]
WIDTHS = {kind.CODE: width for kind, width in ((Open, 10), (Begin, 8), (Attach, 14), (Flow, 11), (Transfer, 11), (Disposition, 6))}
WIDTHS |= {Detach.CODE: 3, End.CODE: 1, Close.CODE: 1}


def sensible(random: Random) -> tuple[int, list[Value]]:
    """A performative that a client could mean, as code and fields."""
    pick, number = random.choice, random.randrange
    makers: dict[int, tuple[float, Callable[[], list[Value]]]] = {
        Open.CODE: (1, lambda: ["c"]),
        Begin.CODE: (2, lambda: [None, Uint(0), Uint(5), Uint(5)]),
        Attach.CODE: (
            10,
            lambda: [
                *(f"n{number(3)}", Uint(number(4)), random.random() < 0.5, None, None),
                *(Described(Ulong(0x28), [pick(SOURCES)]), Described(Ulong(0x29), [pick(TARGETS)])),
            ],
        ),
        Flow.CODE: (
            10,
            lambda: [
                *(Uint(number(5)), Uint(pick([0, 1, 50, 2**32 - 1])), Uint(0), Uint(5), pick([None, Uint(0), Uint(1), Uint(2)])),
                *(Uint(number(3)), Uint(pick([0, 1, 5, 2**32 - 1])), None, random.random() < 0.2, random.random() < 0.2),
            ],
        ),
        Transfer.CODE: (
            10,
            lambda: [
                *(Uint(number(4)), Uint(number(9)), b"t", Uint(pick([0, BATCH_FORMAT])), random.random() < 0.3, random.random() < 0.2),
            ],
        ),
        Disposition.CODE: (1, lambda: [True, Uint(0)]),
        Detach.CODE: (3, lambda: [Uint(number(4)), True]),
        End.CODE: (1, list),
        Close.CODE: (0.3, list),
    }
    code = random.choices(list(makers), [weight for weight, _ in makers.values()])[0]
    return code, makers[code][1]()


def payload(random: Random) -> bytes:
    anything: dict[Value, Value] = {Symbol("k"): random.choice(ANYTHING)}
    asked: dict[Value, Value] = {"operation": "READ", "type": "com.microsoft:eventhub", "name": "orders"}
    return random.choice(
        [
            data_message(b"x"),
            data_message(data_message(b"y")),
            b"nonsense",
            request(asked, random.choice(ANYTHING), id=random.choice(ANYTHING), reply_to=random.choice(["here", None])),
            encode(Described(Ulong(0x72), anything)) + data_message(b"z"),
        ]
    )


def said(random: Random) -> bytes:
    """A frame: sensible, or with one field of another kind, or with a byte that is wrong."""
    code, fields = sensible(random)
    if random.random() < 0.25:
        fields += [None] * (WIDTHS[code] - len(fields))
        fields[random.randrange(len(fields))] = random.choice(ANYTHING)
    body = bytearray(encode(Described(Ulong(code), fields)) + (payload(random) if code == Transfer.CODE else b""))
    if random.random() < 0.03:
        body[random.randrange(len(body))] = random.randrange(256)
    return frame(random.choice([0, 0, 0, 0, 1]), bytes(body))


def around(random: Random, world: World, peer: Peer) -> None:
    """What else happens meanwhile."""
    chance = random.random()
    if chance < 0.1:
        world.timers.advance(random.choice([0.01, 1, 100]))
    elif chance < 0.2:
        world.append(1, size=random.choice([5, 2000]))
    elif chance < 0.25:
        peer.connection.pause_writing()
    elif chance < 0.3:
        peer.connection.resume_writing()
    elif chance < 0.33:
        world.service.detach("orders", None, "amqp:link:detach-forced", "now")


@pytest.mark.parametrize("seed", range(8))
def test_whatever_a_client_says_nothing_is_raised_and_nothing_of_it_stays(seed: int) -> None:
    random = Random(seed)
    for _ in range(40):
        world = World()
        world.append(5)
        if random.random() < 0.3:
            world.service.faults.rules = every_fault(0.1)
        peer = Peer(world).open(max_frame=random.choice([512, 65_536]))
        for _ in range(random.randrange(1, 25)):
            peer.give(said(random))
            around(random, world, peer)
        peer.connection.connection_lost(None)
        world.timers.advance(1000)
        assert world.service.readers() == []
        assert world.service.connections == set()
        assert [log.listeners for log in world.hub.partitions] == [set(), set()]
