"""What the service tells of event hubs and partitions; answers that cannot be whole are errors. The SDK's answers are canned."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from azure.eventhub.aio import EventHubConsumerClient
from streamkit_eventhubs import hubs as module
from streamkit_eventhubs.broker import EventHubsBroker
from streamkit_eventhubs.client import Connecting
from streamkit_eventhubs.hubs import Ends, Hubs, together
from streamkit_eventhubs.settings import EventHubsSettings

from plugins.eventhubs.tests.live import LiveContext
from streamkit.errors import BrokerUnavailableError, UnsupportedError
from streamkit.model import Partition, StartPosition

CREATED = datetime(2026, 11, 21, 12, 0, 0, 750_000, tzinfo=UTC)
TEXT = "Endpoint=sb://Shop.servicebus.windows.net/;SharedAccessKeyName=k;SharedAccessKey=a2V5"
SETTINGS = EventHubsSettings(connection_string=TEXT)


class Service:
    """What the SDK's client answers."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.hub: Any = {"eventhub_name": "orders", "created_at": CREATED, "partition_ids": ["0", "1", "2"]}
        self.partition: Any = {
            "beginning_sequence_number": 5,
            "last_enqueued_sequence_number": 9,
            "last_enqueued_offset": "o9",
            "last_enqueued_time_utc": CREATED,
            "is_empty": False,
        }
        self.asked = self.most = 0

        async def hub(client: EventHubConsumerClient) -> Any:
            return await self._answer(self.hub)

        async def partition(client: EventHubConsumerClient, partition_id: str) -> Any:
            return await self._answer(self.partition)

        monkeypatch.setattr(EventHubConsumerClient, "get_eventhub_properties", hub)
        monkeypatch.setattr(EventHubConsumerClient, "get_partition_properties", partition)

    async def _answer(self, answer: Any) -> Any:
        self.asked += 1
        self.most = max(self.most, self.asked)
        await asyncio.sleep(0.001)
        self.asked -= 1
        if isinstance(answer, asyncio.Event):
            await answer.wait()
        return answer


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Service:
    return Service(monkeypatch)


def ask(test: Callable[[Hubs], Awaitable[None]], seconds: float = 5.0) -> None:
    async def body() -> None:
        hubs = Hubs(Connecting(SETTINGS), "$Default", seconds)
        try:
            await test(hubs)
        finally:
            await hubs.close()

    asyncio.run(body())


def test_the_incarnation_is_namespace_hub_and_second_of_creation_in_lower_case(service: Service) -> None:
    async def test(hubs: Hubs) -> None:
        found = await hubs.partitions("Orders")
        assert [(p.stream, p.id, p.incarnation) for p in found] == [
            ("Orders", number, f"shop.servicebus.windows.net/orders@{int(CREATED.timestamp())}") for number in "012"
        ]
        assert not any(p.parents or p.children or p.ended or p.key_range for p in found)

    ask(test)


@pytest.mark.parametrize("ids", [[], ["0", "2"], ["1", "2"], ["0", "0", "1"]], ids=str)
def test_an_answer_that_is_empty_or_cut_is_an_error(service: Service, ids: list[str]) -> None:
    async def test(hubs: Hubs) -> None:
        service.hub["partition_ids"] = ids
        with pytest.raises(BrokerUnavailableError, match="names the partitions"):
            await hubs.partitions("orders")

    ask(test)


def test_partitions_are_never_fewer_than_before_unless_the_hub_is_another_one(service: Service) -> None:
    async def test(hubs: Hubs) -> None:
        assert len(await hubs.partitions("orders")) == 3
        service.hub["partition_ids"] = ["0", "1", "2", "3"]
        assert len(await hubs.partitions("orders")) == 4
        service.hub["partition_ids"] = ["0", "1", "2"]
        with pytest.raises(BrokerUnavailableError, match="there were 4"):
            await hubs.partitions("orders")
        service.hub["created_at"] = datetime(2026, 11, 22, tzinfo=UTC)
        assert len(await hubs.partitions("orders")) == 3

    ask(test)


@pytest.mark.parametrize("answer", [{}, None, {"created_at": CREATED}, {"created_at": "soon", "partition_ids": ["0"]}], ids=str)
def test_an_answer_that_makes_no_sense_is_no_answer(service: Service, answer: object) -> None:
    async def test(hubs: Hubs) -> None:
        service.hub = service.partition = answer
        with pytest.raises(BrokerUnavailableError):
            await hubs.partitions("orders")
        with pytest.raises(BrokerUnavailableError):
            await hubs.ends(Partition("orders", "0"))

    ask(test)


def test_a_service_that_does_not_answer_is_not_waited_for_for_ever(service: Service) -> None:
    async def test(hubs: Hubs) -> None:
        service.hub = asyncio.Event()
        with pytest.raises(BrokerUnavailableError):
            await hubs.partitions("orders")

    ask(test, seconds=0.02)


def test_a_pattern_is_refused_because_nobody_could_answer_it(service: Service) -> None:
    async def test(hubs: Hubs) -> None:
        with pytest.raises(UnsupportedError, match="regular expression") as caught:
            await hubs.partitions("^orders")
        assert caught.value.setting == "STREAMKIT_STREAM"

    ask(test)


def test_only_a_few_questions_are_under_way_at_once(service: Service) -> None:
    async def test(hubs: Hubs) -> None:
        ends = await together([hubs.ends(Partition("orders", str(number))) for number in range(100)])
        assert ends == [Ends(5, 9, "o9", CREATED.timestamp())] * 100
        assert service.most == module.MAX_QUESTIONS

    ask(test)


def test_of_a_partition_without_events_the_oldest_is_the_next_to_be_written(service: Service) -> None:
    async def test(hubs: Hubs) -> None:
        service.partition |= {"is_empty": True, "beginning_sequence_number": 0}
        assert (await hubs.ends(Partition("orders", "0"))).oldest == 10  # all were taken away by retention
        service.partition |= {"last_enqueued_sequence_number": -1, "last_enqueued_offset": "-1"}
        ends = await hubs.ends(Partition("orders", "0"))
        assert (ends.oldest, ends.newest, ends.is_empty) == (0, -1, True)

    ask(test)


def test_the_first_error_is_raised_when_the_other_questions_are_over() -> None:
    async def body() -> None:
        over: list[str] = []

        async def slow() -> None:
            try:
                await asyncio.Event().wait()
            finally:
                over.append("slow")

        async def failing() -> None:
            await asyncio.sleep(0)
            raise BrokerUnavailableError("no")

        with pytest.raises(BrokerUnavailableError):
            await together([slow(), failing()])
        assert over == ["slow"]

    asyncio.run(body())


def test_tips_and_latest_are_the_event_written_last_with_its_offset(service: Service) -> None:
    async def body() -> None:
        broker = EventHubsBroker(SETTINGS, LiveContext())
        await broker.open()
        try:
            partition = Partition("orders", "0")
            (tip,) = await broker.tips([partition])
            assert tip is not None
            assert (tip.sequence, tip.token) == (9, "o9")
            start = await broker.resolve(partition, StartPosition.LATEST)
            assert start.to_text() == "after 1:9:0:o9"
            service.partition |= {"is_empty": True}
            assert await broker.tips([partition]) == [None]
            assert (await broker.resolve(partition, StartPosition.LATEST)).to_text() == "after 1:9:0:o9"  # the next one, all the same
        finally:
            await broker.close()

    asyncio.run(body())


@pytest.mark.parametrize("on_expired", ["earliest", "halt"])
def test_the_contract_says_what_becomes_of_expired_positions_and_who_may_read_beside_us(on_expired: str) -> None:
    settings = EventHubsSettings.model_validate({"connection_string": TEXT, "on_expired": on_expired})
    terms = dict(EventHubsBroker(settings, LiveContext()).terms())
    assert set(terms) == {"expired", "readers"}
    assert ("oldest record; logged and counted" if on_expired == "earliest" else "halts") in terms["expired"]
