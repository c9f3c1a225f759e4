"""Receivers of events: credit, windows, order, large events, metrics, pace."""

from __future__ import annotations

from typing import Any

import pytest
from streamkit_sandbox.eventhubs.amqp_codec import decode
from streamkit_sandbox.eventhubs.amqp_types import Described, Long, Timestamp
from streamkit_sandbox.eventhubs.log import Hub
from streamkit_sandbox.eventhubs.messages import data_message
from streamkit_sandbox.eventhubs.performatives import Detach, Flow, Transfer

from plugins.sandbox.tests.unit.eventhubs.amqp_peer import START, Peer, World


def sequences(peer: Peer) -> list[int]:
    """The sequence numbers of the messages that came, as their annotations say."""
    return [section(message)["x-opt-sequence-number"] for message in peer.messages()]


def section(message: bytes, code: int = 0x72) -> dict[str, Any]:
    position = 0
    while position < len(message):
        found, position = decode(message, position)
        assert isinstance(found, Described)
        if found.descriptor == code:
            assert isinstance(found.value, dict)
            return {str(name): value for name, value in found.value.items()}
    raise AssertionError(f"no section {code:#x}")


def test_events_come_as_far_as_credit_goes_and_new_ones_as_they_are_appended() -> None:
    world = World()
    world.append(3)
    peer = Peer(world).open()
    peer.attach_receiver()
    assert peer.received() == []
    peer.flow(0, 2)
    assert sequences(peer) == [0, 1]
    peer.flow(0, 3, count=2)
    assert sequences(peer) == [2]
    world.append(4)
    assert sequences(peer) == [3, 4]


def test_credit_that_was_given_before_events_were_seen_counts_from_what_was_seen() -> None:
    world = World()
    world.append(10)
    peer = Peer(world).open()
    peer.attach_receiver(credit=4)
    assert sequences(peer) == [0, 1, 2, 3]
    peer.flow(0, 4, count=2)  # it had seen two of four
    assert sequences(peer) == [4, 5]
    peer.flow(0, 1, count=2)  # less than what is under way
    assert sequences(peer) == []


def test_events_are_sent_settled_with_tags_and_ids_of_their_own() -> None:
    world = World()
    world.append(3)
    peer = Peer(world).open()
    peer.attach_receiver(credit=9)
    transfers = peer.of(Transfer)
    assert [(transfer.delivery_id, transfer.settled, transfer.message_format, transfer.more) for transfer in transfers] == [
        (id, True, 0, False) for id in range(3)
    ]
    assert len({transfer.delivery_tag for transfer in transfers}) == 3


def test_a_session_window_stops_all_its_receivers_until_the_client_moves_it() -> None:
    world = World()
    world.append(10, 0)
    world.append(10, 1)
    peer = Peer(world).open(window=5)
    peer.attach_receiver(handle=0)
    peer.attach_receiver("orders/ConsumerGroups/$Default/Partitions/1", handle=1)
    peer.flow(0, 3, window=5)
    peer.flow(1, 100, window=5, seen=0)
    assert len(peer.messages()) == 5
    peer.flow(None, None, window=4, seen=5)
    assert len(peer.messages()) == 4
    peer.flow(None, None, window=4, seen=6)  # it had seen one of those four
    assert len(peer.messages()) == 1


def test_a_window_that_is_opened_again_is_open_for_all_links_whichever_the_flow_names() -> None:
    world = World()
    world.append(10, 0)
    world.append(10, 1)
    peer = Peer(world).open(window=2)
    peer.attach_receiver(handle=0)
    peer.attach_receiver("orders/ConsumerGroups/$Default/Partitions/1", handle=1)
    peer.flow(0, 2, window=2)
    peer.flow(1, 10, window=2)
    assert len(peer.messages()) == 2
    peer.flow(0, 0, count=2, window=100, seen=2)
    assert len(peer.messages()) == 10


def test_a_large_event_comes_in_several_frames_which_respect_the_window() -> None:
    world = World()
    world.append(1, size=3000)
    world.append(1)
    peer = Peer(world).open(max_frame=1024)
    peer.attach_receiver()
    peer.flow(0, 10, window=2)
    first = peer.received()
    assert [(transfer.more, len(payload) <= 1024) for transfer, payload in first] == [(True, True)] * 2
    peer.flow(None, None, window=100, seen=2)
    rest = peer.received()
    assert [transfer.delivery_id for transfer, _ in first + rest] == [0] * (len(first + rest) - 1) + [1]
    whole = b"".join(payload for transfer, payload in first + rest if transfer.delivery_id == 0)
    assert whole.endswith(b"0" * 3000)


def test_every_frame_is_as_small_as_the_client_said() -> None:
    world = World()
    for size in (300, 350, 400, 450, 500, 2000):
        world.append(1, size=size)
    peer = Peer(world).open(max_frame=512)
    peer.attach_receiver(credit=99)
    frames = peer.frames()
    assert max(8 + len(body) for _, _, body in frames) <= 512
    assert len(frames) > 6


@pytest.mark.parametrize(
    ("selector", "first"),
    [
        ("x-opt-offset > '-1'", 0),
        ("x-opt-offset > '@latest'", None),
        ("x-opt-sequence-number > '4'", 5),
        ("x-opt-sequence-number >= '4'", 4),
        (f"x-opt-enqueued-time > '{START}'", 5),
        (f"x-opt-enqueued-time >= '{START}'", 0),
        ("x-opt-offset > 'OF-3'", 4),
        ("x-opt-offset >= 'OF-3'", 3),
    ],
)
def test_a_reader_begins_where_its_selector_says(selector: str, first: int | None) -> None:
    world = World()
    world.append(5)
    world.timers.advance(1)
    world.append(5)
    selector = selector.replace("OF-3", world.hub.partitions[0].read(3, 1)[0].offset)
    peer = Peer(world).open()
    peer.attach_receiver(selector=f"amqp.annotation.{selector}", credit=99)
    assert sequences(peer)[:1] == ([] if first is None else [first])


def test_a_reader_whose_next_event_has_been_trimmed_goes_on_at_the_oldest() -> None:
    world = World()
    world.service.add(Hub("small", 1, max_events=3))
    log = world.service.hub("small").partitions[0]
    peer = Peer(world).open()
    peer.attach_receiver("small/ConsumerGroups/$Default/Partitions/0")
    for number in range(8):
        log.append([data_message(b"%d" % number)], None)
    peer.flow(0, 10)
    assert sequences(peer) == [5, 6, 7]


def test_metrics_say_where_the_partition_ends_to_those_who_ask() -> None:
    world = World()
    world.append(5)
    peer = Peer(world).open()
    peer.attach_receiver(credit=1, metrics=True)
    (message,) = peer.messages()
    last = world.hub.partitions[0].last
    assert last is not None
    found = section(message, 0x71)
    assert found == {
        "last_enqueued_sequence_number": 4,
        "last_enqueued_offset": last.offset,
        "last_enqueued_time_utc": START,
        "runtime_info_retrieval_time_utc": START,
    }
    assert [type(value) for value in found.values()] == [Long, str, Timestamp, Timestamp]
    peer.attach_receiver(credit=1, handle=1)
    (message,) = peer.messages()
    with pytest.raises(AssertionError):
        section(message, 0x71)


def test_a_drain_uses_up_the_credit() -> None:
    world = World()
    world.append(2)
    peer = Peer(world).open()
    peer.attach_receiver()
    peer.flow(0, 10, drain=True)
    assert [type(answer) for answer, _ in peer.received()] == [Transfer, Transfer, Flow]
    world.append(1)
    assert peer.received() == []
    world.append(3)
    peer.flow(0, 1, count=10)  # the client counts what it was told: ten, of which two were events
    assert sequences(peer) == [2]


def test_a_flow_that_asks_for_an_echo_gets_one() -> None:
    peer = Peer(World()).open()
    peer.attach_receiver()
    peer.flow(0, 1, echo=True)
    assert len(peer.of(Flow)) == 1


def test_nothing_is_sent_behind_a_detach() -> None:
    world = World()
    peer = Peer(world).open()
    peer.attach_receiver(credit=99)
    assert world.service.detach("orders", "0", "amqp:link:detach-forced", "now") == 1
    world.append(2)
    assert [type(answer) for answer, _ in peer.received()] == [Detach]
    peer.flow(0, 99)
    assert peer.received() == []


@pytest.mark.parametrize("by_client", [False, True])
def test_of_a_message_that_has_begun_nothing_is_sent_behind_a_detach_and_other_links_go_on(by_client: bool) -> None:
    world = World()
    world.append(1, size=5000)
    world.append(1, 1)
    peer = Peer(world).open(max_frame=512)
    peer.attach_receiver(handle=0)
    peer.attach_receiver("orders/ConsumerGroups/$Default/Partitions/1", handle=1)
    peer.flow(0, 5, window=2)
    peer.flow(1, 5, window=2)
    assert [transfer.handle for transfer in peer.of(Transfer)] == [0, 0]
    if by_client:
        peer.send(Detach(0, closed=True))
    else:
        world.service.detach("orders", "0", "amqp:link:detach-forced", "now")
    peer.flow(None, None, window=100, seen=2)
    answers = [answer for answer, _ in peer.received()]
    assert [(type(answer), answer.handle) for answer in answers] == [(Detach, 0), (Transfer, 1)]


def test_of_a_message_that_has_begun_nothing_is_sent_behind_the_end_of_its_session() -> None:
    world = World()
    world.append(1, size=5000)
    peer = Peer(world).open(max_frame=512)
    peer.attach_receiver(handle=0)
    peer.flow(0, 5, window=2)
    peer.flow(7, 5, window=0)  # there is no such link
    peer.raw()
    peer.connection.sessions[0].window = 100
    peer.connection.resume_writing()
    assert peer.raw() == b""


def test_the_readers_of_one_partition_are_detached_and_no_others() -> None:
    world = World()
    peer = Peer(world).open()
    peer.attach_receiver(handle=0)
    peer.attach_receiver("orders/ConsumerGroups/$Default/Partitions/1", handle=1)
    peer.attach_sender("orders/Partitions/0", handle=2)
    assert world.service.detach("ORDERS", "0", "amqp:link:detach-forced", "now") == 1
    assert [detach.handle for detach in peer.of(Detach)] == [0]
    assert world.service.detach("orders", None, "amqp:link:detach-forced", "now") == 2


def test_a_reader_at_a_pace_gets_so_many_events_a_second() -> None:
    world = World()
    world.append(1000)
    world.service.faults.events_per_second = 100.0
    peer = Peer(world).open()
    peer.attach_receiver(credit=1000)
    world.timers.advance(1.0)
    assert 98 <= len(peer.messages()) <= 103
    world.service.faults.events_per_second = None
    world.timers.advance(0.1)
    assert len(peer.messages()) > 800


def test_two_readers_of_a_partition_each_get_every_event() -> None:
    world = World()
    peers = [Peer(world).open() for _ in range(2)]
    for peer in peers:
        peer.attach_receiver(credit=99)
    world.append(5)
    assert [sequences(peer) for peer in peers] == [[0, 1, 2, 3, 4]] * 2


def test_what_tests_may_look_at_says_what_a_reader_gets_next_and_asks_for() -> None:
    world = World()
    world.append(5)
    peer = Peer(world).open()
    peer.attach_receiver(credit=7, epoch=Long(3))
    (info,) = world.service.readers()
    assert (info.hub, info.partition, info.epoch, info.next_sequence, info.credit) == ("orders", "0", 3, 5, 2)
    (admission,) = world.service.admissions
    assert (admission.epoch, admission.next_sequence, admission.credit) == (3, 0, 0)
