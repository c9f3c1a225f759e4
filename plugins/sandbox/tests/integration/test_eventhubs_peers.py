"""The emulator as three of Azure's own clients see it: each test runs with azure-eventhub (threads, asyncio) and @azure/event-hubs."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from datetime import UTC, datetime, timedelta

import pytest
from streamkit_sandbox.errors import ServerUnavailableError
from streamkit_sandbox.eventhubs.hashing import partition_index
from streamkit_sandbox.eventhubs.log import Event
from streamkit_sandbox.eventhubs.server import EventHubsServer
from streamkit_sandbox.eventhubs_js import fetched_javascript_client
from streamkit_sandbox.pytest_plugin import missing

from plugins.sandbox.tests.eventhubs_peers import (
    LATEST,
    PEERS,
    AioPeer,
    Got,
    JavaScriptPeer,
    Outgoing,
    Peer,
    PeerError,
    Reading,
    Start,
    sweep,
)

pytestmark = [pytest.mark.integration, pytest.mark.filterwarnings("ignore::ResourceWarning")]


@pytest.fixture(scope="module", autouse=True)
def with_javascript() -> Iterator[None]:
    try:
        fetched_javascript_client()
    except ServerUnavailableError as error:
        missing(str(error))
    yield
    sweep()


@pytest.fixture(scope="module", params=PEERS)
def kind(request: pytest.FixtureRequest) -> Callable[[str], Peer]:
    return PEERS[request.param]


@pytest.fixture(scope="module")
def peer(kind: Callable[[str], Peer], eventhubs_server: EventHubsServer) -> Iterator[Peer]:
    client = kind(eventhubs_server.connection_string())
    yield client
    client.close()


@pytest.fixture(scope="module")
def hub(peer: Peer, eventhubs_server: EventHubsServer) -> str:
    """One for several tests, each with a partition of its own: a Python client needs seconds until it sends to another hub."""
    return eventhubs_server.create_hub(f"of-{peer.name}", 4)


def told(events: list[Got]) -> list[bytes]:
    return [event.body for event in events]


def numbered(count: int) -> list[Outgoing]:
    return [Outgoing(b"%d" % number) for number in range(count)]


# What a hub says of itself.


def test_a_hub_names_its_partitions_and_a_partition_its_figures(peer: Peer, eventhubs_server: EventHubsServer, hub: str) -> None:
    assert peer.partitions(hub) == ["0", "1", "2", "3"]
    empty = peer.figures(hub, "2")
    assert (empty.last, empty.last_offset, empty.empty) == (-1, "-1", True)
    peer.send(hub, *numbered(3), partition="2")
    filled = peer.figures(hub, "2")
    assert (filled.first, filled.last, filled.empty) == (0, 2, False)
    assert filled.last_offset == eventhubs_server.events(hub, "2")[-1].offset


# Sending.


def test_events_without_a_key_go_to_one_partition_after_the_other(peer: Peer, eventhubs_server: EventHubsServer, event_hub: str) -> None:
    for number in range(8):
        peer.send(event_hub, Outgoing(b"%d" % number))
    assert [len(eventhubs_server.events(event_hub, str(partition))) for partition in range(4)] == [2, 2, 2, 2]


def test_events_of_a_key_go_where_the_key_leads_and_tell_it(peer: Peer, eventhubs_server: EventHubsServer, event_hub: str) -> None:
    keys = ("order-1", "order-2", "Grüße")
    for key in keys:
        peer.send(event_hub, Outgoing(b"one"), Outgoing(b"two"), key=key)
        kept = eventhubs_server.events(event_hub, str(partition_index(key, 4)))
        assert [event.partition_key for event in kept] == [key, key]
    events = peer.read_all(event_hub, str(partition_index(keys[-1], 4)), 2)
    assert [(event.body, event.key) for event in events] == [(b"one", keys[-1]), (b"two", keys[-1])]


def test_a_large_event_comes_back_whole(peer: Peer, hub: str) -> None:
    body = bytes(range(256)) * (700_000 // 256)
    peer.send(hub, Outgoing(body), partition="1")
    peer.send(hub, Outgoing(b"small"), partition="1")
    assert told(peer.read_all(hub, "1", 2)) == [body, b"small"]


def test_a_batch_takes_as_much_as_the_broker_says(peer: Peer, hub: str) -> None:
    body = b"x" * 100_000
    count = peer.fill(hub, body, "0")
    assert count == 10  # 1 MiB
    assert told(peer.read_all(hub, "0", count)) == [body] * count


# Receiving.


def spaced(server: EventHubsServer, hub: str, partition: str) -> Sequence[Event]:
    """Three events, each with a time of its own."""
    for number in range(3):
        before = time.time()
        while time.time() < before + 0.002:
            pass
        server.append(hub, [b"%d" % number], partition)
    return server.events(hub, partition)


def starts(of: Event, inclusive: bool) -> list[Start]:
    at = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=of.enqueued_ms)
    return [
        Start(offset=of.offset, inclusive=inclusive),
        Start(sequence=of.sequence, inclusive=inclusive),
        Start(time=at, inclusive=inclusive),
    ]


@pytest.mark.parametrize(("inclusive", "expected"), [(False, [b"2"]), (True, [b"1", b"2"])], ids=["after", "at"])
def test_a_reader_begins_wherever_it_says(
    peer: Peer, eventhubs_server: EventHubsServer, event_hub: str, inclusive: bool, expected: list[bytes]
) -> None:
    event = spaced(eventhubs_server, event_hub, "0")[1]
    with ExitStack() as stack:
        readings = {start: stack.enter_context(peer.read(event_hub, "0", start)) for start in starts(event, inclusive)}
        for start, reading in readings.items():
            assert told(reading.take(len(expected))) == expected, start


def test_an_offset_that_is_no_number_is_taken_back(kind: Callable[[str], Peer]) -> None:
    with EventHubsServer({"orders": 1}, opaque_offsets=True) as server:
        server.append("orders", [b"0", b"1", b"2"])
        kept = server.events("orders", "0")
        assert not kept[0].offset.isdecimal()
        with closing(kind(server.connection_string())) as peer, peer.read("orders", "0", Start(offset=kept[0].offset)) as reading:
            assert [(event.body, event.offset) for event in reading.take(2)] == [(b"1", kept[1].offset), (b"2", kept[2].offset)]


def test_a_reader_of_the_latest_gets_what_comes_after_it(peer: Peer, eventhubs_server: EventHubsServer, event_hub: str) -> None:
    spaced(eventhubs_server, event_hub, "0")
    with peer.read(event_hub, "0", LATEST) as reading, peer.read(event_hub, "0", Start(sequence=2, inclusive=True)) as other:
        assert told(other.take(1)) == [b"2"]
        assert reading.take(1, 0.5) == []  # by now it is there
        eventhubs_server.append(event_hub, [b"new"], "0")
        assert told(reading.take(1)) == [b"new"]


def test_the_last_event_of_the_partition_comes_with_each(peer: Peer, eventhubs_server: EventHubsServer, event_hub: str) -> None:
    sent = spaced(eventhubs_server, event_hub, "0")
    assert {event.last_enqueued for event in peer.read_all(event_hub, "0", 3)} == {(2, sent[-1].offset)}


def test_properties_come_back_as_they_were_sent(peer: Peer, hub: str) -> None:
    properties = {"text": "Grüße", "number": 1234567, "negative": -3, "real": 2.5, "yes": True, "no": False}
    peer.send(hub, Outgoing(b"x", properties, message_id="m-1", content_type="text/plain", correlation_id="c-1"), partition="3")
    (event,) = peer.read_all(hub, "3", 1)
    assert event.properties == properties
    assert (event.message_id, event.content_type, event.correlation_id) == ("m-1", "text/plain", "c-1")
    assert abs(event.enqueued_ms / 1000 - datetime.now(UTC).timestamp()) < 30


def refused(peer: Peer, reading: Reading, said: str, name: str) -> None:
    """The reader is refused with these words; `name` is what JavaScript calls it."""
    if isinstance(peer, AioPeer):
        # It takes an error before the link is open for its own closing, and tries again for ever without a word.
        assert reading.take(1, 1.0) == []
        return
    with pytest.raises(PeerError, match=said) as caught:
        reading.take(1)
    if isinstance(peer, JavaScriptPeer):
        assert caught.value.name == name


def test_a_position_beyond_the_end_is_refused(peer: Peer, eventhubs_server: EventHubsServer, event_hub: str) -> None:
    eventhubs_server.append(event_hub, [b"x"], "0")
    with peer.read(event_hub, "0", Start(sequence=100)) as reading:
        refused(peer, reading, "sequence number '100' is invalid. The last sequence number in the system is '0'", "ArgumentError")


# Epochs.

STOLEN = {"python-sync": "ConnectionLostError", "python-aio": "ConnectionLostError", "javascript": "ReceiverDisconnectedError"}


def test_an_equal_or_a_higher_epoch_takes_the_partition_over(peer: Peer, eventhubs_server: EventHubsServer, event_hub: str) -> None:
    eventhubs_server.append(event_hub, [b"x"], "0")
    with ExitStack() as stack:
        old = stack.enter_context(peer.read(event_hub, "0", epoch=5))
        assert told(old.take(1)) == [b"x"]
        for epoch in (5, 6):
            new = stack.enter_context(peer.read(event_hub, "0", epoch=epoch))
            assert told(new.take(1)) == [b"x"]
            with pytest.raises(PeerError, match=f"with higher epoch of '{epoch}' is created hence") as caught:
                old.take(1)
            assert caught.value.name == STOLEN[peer.name]
            old = new
        eventhubs_server.append(event_hub, [b"y"], "0")
        assert told(old.take(1)) == [b"y"]


def test_a_lower_epoch_or_none_is_refused_and_the_holder_reads_on(peer: Peer, eventhubs_server: EventHubsServer, event_hub: str) -> None:
    eventhubs_server.append(event_hub, [b"x"], "0")
    with peer.read(event_hub, "0", epoch=5) as holder:
        assert told(holder.take(1)) == [b"x"]
        for epoch, said in ((4, "with a higher epoch '5' already exists"), (None, "and so non-epoch receiver is not allowed")):
            with peer.read(event_hub, "0", epoch=epoch) as late, pytest.raises(PeerError, match=said) as caught:
                late.take(1)
            assert caught.value.name == STOLEN[peer.name]
        eventhubs_server.append(event_hub, [b"y"], "0")
        assert told(holder.take(1)) == [b"y"]


def test_readers_without_an_epoch_are_driven_out_by_one_with(peer: Peer, eventhubs_server: EventHubsServer, event_hub: str) -> None:
    eventhubs_server.append(event_hub, [b"x"], "0")
    with peer.read(event_hub, "0") as without:
        assert told(without.take(1)) == [b"x"]
        with peer.read(event_hub, "0", epoch=1) as new:
            assert told(new.take(1)) == [b"x"]
            with pytest.raises(PeerError, match="is getting disconnected"):
                without.take(1)


def test_epochs_of_one_partition_or_group_are_nothing_to_another(peer: Peer, eventhubs_server: EventHubsServer, event_hub: str) -> None:
    eventhubs_server.append(event_hub, [b"x"], "0")
    eventhubs_server.append(event_hub, [b"y"], "1")
    with peer.read(event_hub, "0", epoch=9) as first, peer.read(event_hub, "1", epoch=1) as second:
        assert (told(first.take(1)), told(second.take(1))) == ([b"x"], [b"y"])


def test_a_sixth_reader_without_an_epoch_is_refused(peer: Peer, eventhubs_server: EventHubsServer, event_hub: str) -> None:
    eventhubs_server.append(event_hub, [b"x"], "0")
    with ExitStack() as stack:
        readings = [stack.enter_context(peer.read(event_hub, "0")) for _ in range(5)]
        for reading in readings:
            assert told(reading.take(1)) == [b"x"]
        with peer.read(event_hub, "0") as sixth:
            refused(peer, sixth, r"which is 5\. List of connected receivers - ", "QuotaExceededError")


# What is not there, and who may not.


def test_a_hub_that_is_not_there_is_refused_to_who_asks_and_who_reads(peer: Peer) -> None:
    with pytest.raises(PeerError, match=r"'nowhere' could not be found|Status code: 404"):
        peer.partitions("nowhere")
    with peer.read("nowhere", "0") as reading, pytest.raises(PeerError, match=r"'nowhere' could not be found|Status code: 404"):
        reading.take(1)


def test_a_partition_or_a_group_that_is_not_there_is_refused(peer: Peer, event_hub: str) -> None:
    # The Python clients ask which partitions there are, and refuse it themselves.
    with peer.read(event_hub, "4") as reading, pytest.raises(PeerError, match=r"should be between 0 and 3|Wrong partition id"):
        reading.take(1)
    with pytest.raises(PeerError, match=r"should be between 0 and 3|Status code: 400"):
        peer.figures(event_hub, "4")
    with peer.read(event_hub, "0", group="nobody") as reading:
        refused(peer, reading, "nobody' could not be found", "MessagingEntityNotFoundError")


def test_a_wrong_key_is_refused(kind: Callable[[str], Peer]) -> None:
    with EventHubsServer({"orders": 1}, users={"reader": "cmlnaHQ="}) as server:
        good = server.connection_string()
        with closing(kind(good)) as peer:
            assert peer.partitions("orders") == ["0"]
        with closing(kind(good.replace("cmlnaHQ=", "d3Jvbmc="))) as peer:
            for attempt in (lambda: peer.partitions("orders"), lambda: peer.send("orders", Outgoing(b"x"), partition="0")):
                with pytest.raises(PeerError) as caught:
                    attempt()
                assert "d3Jvbmc" not in caught.value.text


def test_a_reader_that_is_idle_longer_than_the_time_out_still_reads(kind: Callable[[str], Peer]) -> None:
    with EventHubsServer({"orders": 1}, idle_seconds=1.0) as server:
        server.append("orders", [b"before"])
        with closing(kind(server.connection_string())) as peer, peer.read("orders", "0") as reading:
            assert told(reading.take(1)) == [b"before"]
            assert reading.take(1, 2.5) == []
            server.append("orders", [b"after"])
            assert told(reading.take(1)) == [b"after"]
            assert len(server.admissions("orders")) == 1
