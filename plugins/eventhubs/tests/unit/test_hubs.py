"""What the service tells of event hubs and partitions; answers that cannot be whole are errors. The SDK's answers are canned."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from azure.eventhub.aio import EventHubConsumerClient
from azure.eventhub.exceptions import AuthenticationError, EventHubError
from streamkit_eventhubs import hubs as module
from streamkit_eventhubs.broker import EventHubsBroker
from streamkit_eventhubs.client import Connecting
from streamkit_eventhubs.hubs import Ends, Hubs, together
from streamkit_eventhubs.settings import EventHubsSettings

from plugins.eventhubs.tests.live import LiveContext
from streamkit.errors import AccessDeniedError, BrokerError, BrokerUnavailableError, ThrottledError, UnsupportedError
from streamkit.model import Partition, StartPosition

CREATED = datetime(2026, 11, 21, 12, 0, 0, 750_000, tzinfo=UTC)
TEXT = "Endpoint=sb://Shop.servicebus.windows.net/;SharedAccessKeyName=k;SharedAccessKey=a2V5"
SETTINGS = EventHubsSettings(connection_string=TEXT)
BUSY = EventHubError("Status code: 503. Try again.")


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
        self.first: list[Exception | asyncio.Event] = []
        """What becomes of the first questions; what is an event is not answered before it is set."""

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
        if self.first:
            answer = self.first.pop(0)
        if isinstance(answer, Exception):
            raise answer
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


@pytest.mark.parametrize("first", [ConnectionResetError("reset"), BUSY], ids=["broken", "busy"])
def test_a_question_whose_connection_breaks_is_asked_again(service: Service, monkeypatch: pytest.MonkeyPatch, first: Exception) -> None:
    async def test(hubs: Hubs) -> None:
        monkeypatch.setattr(module, "PAUSE_SECONDS", 0.0)
        service.first = [first, first]
        assert len(await hubs.partitions("orders")) == 3
        service.first = [first] * 4
        with pytest.raises(BrokerError):
            await hubs.partitions("orders")
        assert len(service.first) == 1, "three times, and then it is told"

    ask(test)


def test_an_answer_that_stays_out_is_asked_for_again_in_the_same_time(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(hubs: Hubs) -> None:
        monkeypatch.setattr(module, "PAUSE_SECONDS", 0.0)
        service.first = [asyncio.Event()]
        assert len(await hubs.partitions("orders")) == 3

    ask(test, seconds=0.5)


def test_what_will_not_be_otherwise_is_asked_once(service: Service) -> None:
    async def test(hubs: Hubs) -> None:
        service.first = [AuthenticationError("Status code: 401"), AssertionError("asked again")]
        with pytest.raises(AccessDeniedError):
            await hubs.partitions("orders")
        assert len(service.first) == 1

    ask(test)


def test_who_is_told_to_wait_for_longer_than_there_is_time_raises_at_once(service: Service) -> None:
    async def test(hubs: Hubs) -> None:
        service.first = [EventHubError("Status code: 503. Please wait 4 seconds and try again.")] * 2
        with pytest.raises(ThrottledError):
            await hubs.partitions("orders")
        assert len(service.first) == 1

    ask(test, seconds=2.0)


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
