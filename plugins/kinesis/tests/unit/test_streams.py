"""Streams and shards as the service describes them: names, ARNs, expressions, pages, and answers that are cut."""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from streamkit_kinesis.broker import KinesisBroker
from streamkit_kinesis.client import Clients
from streamkit_kinesis.settings import KinesisSettings
from streamkit_kinesis.streams import StreamBook

from plugins.kinesis.tests.service import KEYS, NOW, Context, Service, World, drive, refusal
from streamkit.errors import BrokerUnavailableError, ConfigurationError, StreamGoneError
from streamkit.model import Partition, Position, StartPosition

ARN = "arn:aws:kinesis:eu-west-1:123456789012:stream/orders"


class Rig:
    """A broker whose clients are the service in memory."""

    def __init__(self, *names: str) -> None:
        self.context = Context()
        self.service = Service(self.context)
        for name in names or ("orders",):
            self.service.create(name)
        self.broker = KinesisBroker(KinesisSettings(), self.context)
        clients = object.__new__(Clients)
        clients.control = clients.reading = self.service
        self.broker._clients = clients
        self.broker._book = StreamBook(self.service, self.context)

    def discover(self, *streams: str, start: StartPosition = StartPosition.EARLIEST) -> list[Partition]:
        return list(drive(self.broker.discover(streams or ("orders",), start)))


def test_a_shard_is_a_partition_with_range_identity_and_lineage() -> None:
    rig = Rig()
    rig.service.create("orders", 2, created=NOW - 7.9)
    rig.service.merge("orders", 0, 1)
    rig.service.split("orders", 2)
    shards = rig.discover()
    assert [shard.id[-1] for shard in shards] == ["0", "1", "2", "3", "4"]
    assert {shard.incarnation for shard in shards} == {f"{ARN}@{int(NOW - 8)}"}
    assert [shard.ended for shard in shards] == [True, True, True, False, False]
    assert shards[2].parents == ("shardId-000000000000", "shardId-000000000001")
    assert shards[0].children == shards[1].children == ("shardId-000000000002",)
    assert shards[2].children == ("shardId-000000000003", "shardId-000000000004")
    assert shards[2].key_range == (0, KEYS)
    assert shards[4].key_range == ((KEYS + 1) // 2, KEYS)


def test_a_stream_may_be_named_by_its_arn_and_keeps_that_name() -> None:
    rig = Rig()
    (shard,) = rig.discover(ARN)
    assert shard.stream == ARN
    assert rig.service.arguments("list_shards") == [{"StreamARN": ARN}]
    world = World()
    world.service.put("orders", 0, b"x")
    world.add(Partition(ARN, shard.id))
    world.run(1)
    assert world.service.arguments("get_shard_iterator")[0]["StreamARN"] == ARN
    assert world.service.arguments("get_records")[0]["StreamARN"] == ARN


def test_an_expression_means_the_streams_whose_names_begin_so_over_all_pages() -> None:
    rig = Rig("orders", "orders-eu", "payments", "an-orders", "orders-us")
    rig.service.page = 2
    assert [shard.stream for shard in rig.discover("^orders")] == ["orders", "orders-eu", "orders-us"]
    assert [shard.stream for shard in rig.discover("^orders", "payments", "orders")] == ["orders", "orders-eu", "orders-us", "payments"]


def test_an_expression_passes_over_what_is_not_there_yet_or_any_more() -> None:
    rig = Rig("orders-1", "orders-2", "orders-3")
    rig.service.status |= {"orders-1": "CREATING", "orders-3": "DELETING"}
    assert [shard.stream for shard in rig.discover("^orders")] == ["orders-2"]


def test_an_expression_without_a_stream_and_a_name_without_one_are_errors() -> None:
    rig = Rig()
    with pytest.raises(StreamGoneError, match=r"\^pay"):
        rig.discover("^pay")
    with pytest.raises(StreamGoneError, match="payments"):
        rig.discover("payments")
    with pytest.raises(ConfigurationError, match="not a regular expression"):
        rig.discover("^(orders")


def test_a_stream_that_is_being_made_is_waited_for_and_one_that_is_being_deleted_is_gone() -> None:
    rig = Rig()
    rig.service.status["orders"] = "CREATING"
    with pytest.raises(BrokerUnavailableError, match="being made"):
        rig.discover()
    rig.service.status["orders"] = "DELETING"
    with pytest.raises(StreamGoneError, match="being deleted"):
        rig.discover()
    rig.service.status["orders"] = "UPDATING"
    assert len(rig.discover()) == 1


def test_all_pages_are_listed_with_the_token_alone() -> None:
    rig = Rig()
    rig.service.create("orders", 7)
    rig.service.page = 3
    assert len(rig.discover()) == 7
    assert [sorted(call) for call in rig.service.arguments("list_shards")] == [["StreamName"], ["NextToken"], ["NextToken"]]


@pytest.mark.parametrize("code", ["ExpiredNextTokenException", "InvalidArgumentException"])
def test_a_page_that_comes_too_late_begins_the_listing_again(code: str) -> None:
    rig = Rig()
    rig.service.create("orders", 7)
    rig.service.page = 3
    rig.service.faults["list_shards"] = deque([lambda answer: answer, refusal(code, operation="ListShards")])
    assert len(rig.discover()) == 7


def test_a_listing_that_never_ends_in_time_is_an_error() -> None:
    rig = Rig()
    rig.service.create("orders", 7)
    rig.service.page = 3
    late = refusal("ExpiredNextTokenException", operation="ListShards")
    rig.service.faults["list_shards"] = deque([lambda answer: answer, late] * 3)
    with pytest.raises(BrokerUnavailableError, match="ran out of time"):
        rig.discover()


@pytest.mark.parametrize(
    ("operation", "cut"),
    [
        ("list_shards", lambda answer: {}),
        ("list_shards", lambda answer: {**answer, "Shards": []}),
        ("list_shards", lambda answer: {**answer, "Shards": [{"ShardId": "shardId-000000000000"}]}),
        ("describe_stream_summary", lambda answer: {}),
        ("describe_stream_summary", lambda answer: {"StreamDescriptionSummary": {"StreamName": "orders", "StreamStatus": "ACTIVE"}}),
    ],
)
def test_a_cut_or_empty_answer_is_an_error_and_never_no_shards(operation: str, cut: object) -> None:
    rig = Rig()
    rig.service.faults[operation] = deque([cut])  # type: ignore[list-item]
    with pytest.raises(BrokerUnavailableError):
        rig.discover()


@pytest.mark.parametrize("cut", [lambda answer: {}, lambda answer: {"StreamNames": ["orders"]}])
def test_a_cut_list_of_streams_is_an_error(cut: object) -> None:
    rig = Rig()
    rig.service.faults["list_streams"] = deque([cut])  # type: ignore[list-item]
    with pytest.raises(BrokerUnavailableError):
        rig.discover("^orders")


# -- starts ---------------------------------------------------------------------------------------------------------


def test_from_latest_the_open_shards_are_reached_and_from_a_time_what_the_service_lists() -> None:
    rig = Rig()
    rig.service.split("orders", 0)
    assert [shard.id[-1] for shard in rig.discover(start=StartPosition.LATEST)] == ["1", "2"]
    time = datetime.fromtimestamp(NOW - 60, UTC)
    assert len(rig.discover(start=StartPosition.at_time(time))) == 3
    assert rig.service.arguments("list_shards")[-1]["ShardFilter"] == {"Type": "FROM_TIMESTAMP", "Timestamp": time}


def test_latest_becomes_the_time_of_the_services_clock() -> None:
    rig = Rig()
    (shard,) = rig.discover()
    rig.context.now = 100.7
    real = rig.context.unix_time
    rig.context.unix_time = lambda: real() + 3600  # type: ignore[method-assign]  # ours is an hour fast, the service's is right
    rig.service.context = Context()
    rig.service.context.now = 100.7
    start = drive(rig.broker.resolve(shard, StartPosition.LATEST))
    assert start == StartPosition.at_time(datetime.fromtimestamp(NOW + 98, UTC))


def test_where_the_service_does_not_say_the_time_latest_is_a_minute_back() -> None:
    rig = Rig()
    (shard,) = rig.discover()
    rig.service.date = False
    rig.context.now = 100
    start = drive(rig.broker.resolve(shard, StartPosition.LATEST))
    assert start.time is not None
    assert start.time <= datetime.fromtimestamp(NOW + 40, UTC)


def test_a_thousand_shards_that_are_resolved_together_ask_once() -> None:
    rig = Rig()
    (shard,) = rig.discover()
    rig.context.now = 100
    for number in range(1000):
        drive(rig.broker.resolve(Partition("orders", f"shardId-{number:012d}", incarnation=shard.incarnation), StartPosition.LATEST))
    assert rig.service.count("describe_stream_summary") == 2


def test_who_waits_for_the_answer_that_another_one_asked_for_does_not_ask_again() -> None:
    rig = Rig()
    rig.discover()
    info = rig.broker.book.look_up("orders")
    rig.context.now = 100
    asked = rig.service.count("describe_stream_summary")

    class Waited:
        """The lock, as it is had when the other one has just finished."""

        def __enter__(self) -> None:
            rig.broker.book._known["orders"] = replace(info, found_at=100)

        def __exit__(self, *error: object) -> None: ...

    rig.broker.book._asking = Waited()  # type: ignore[assignment]
    assert rig.broker.book.look_up("orders", 10).found_at == 100
    assert rig.service.count("describe_stream_summary") == asked


@pytest.mark.parametrize("start", [StartPosition.EARLIEST, StartPosition.at_time(datetime.fromtimestamp(NOW, UTC))])
def test_other_starts_mean_the_same_tomorrow_as_they_are(start: StartPosition) -> None:
    rig = Rig()
    (shard,) = rig.discover()
    assert drive(rig.broker.resolve(shard, start)) == start


def test_tips_are_not_known() -> None:
    rig = Rig()
    assert drive(rig.broker.tips(rig.discover())) == [Position(None)]


def test_what_a_discovery_finds_is_as_it_is_now() -> None:
    rig = Rig()
    (before,) = rig.discover()
    rig.service.create("orders", created=NOW)
    (now,) = rig.discover()
    assert before.incarnation != now.incarnation
