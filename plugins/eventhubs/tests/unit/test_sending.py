"""What a lane sends, again or not, and what it answers. The SDK's client is canned; batches are the SDK's own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import pytest
from azure.eventhub import EventDataBatch
from azure.eventhub.exceptions import AuthenticationError, ConnectionLostError, EventDataSendError
from hypothesis import given
from hypothesis import strategies as st
from streamkit_eventhubs.lane import Entry, Lane, Sending
from streamkit_eventhubs.outgoing import outgoing_of
from streamkit_eventhubs.producer import EventHubsProducer

from streamkit.errors import AccessDeniedError, BrokerError, BrokerUnavailableError, ThrottledError
from streamkit.plugin import NewRecord

ANSWERS = (None, "busy", "lost", "refused")


def busy(text: str = "please retry") -> EventDataSendError:
    return EventDataSendError(f"com.microsoft:server-busy {text}", _Details(b"com.microsoft:server-busy"))


class _Details(Exception):
    def __init__(self, condition: bytes) -> None:
        self.condition = condition


class Service:
    """As the SDK's client: makes batches, and takes them as it was told to. What it has taken is in `stored`."""

    def __init__(self, *answers: Any, most: int = 10_000) -> None:
        self.answers = list(answers)
        self.most = most
        self.stored: list[tuple[str | None, str | None, bytes]] = []
        self.sent: list[int] = []
        self.hold: asyncio.Event | None = None
        self.closed = False

    async def create_batch(self, partition_id: str | None = None, partition_key: str | None = None) -> EventDataBatch:
        return EventDataBatch(max_size_in_bytes=self.most, partition_id=partition_id, partition_key=partition_key)

    async def send_batch(self, batch: EventDataBatch, timeout: float) -> None:
        self.sent.append(len(batch))
        if self.hold is not None:
            await self.hold.wait()
        answer = self.answers.pop(0) if self.answers else None
        if answer == "lost":  # it may be there, and is
            self._store(batch)
            raise ConnectionLostError("the connection broke")
        if answer is not None:
            raise {"busy": busy(), "refused": AuthenticationError("Status code: 401")}.get(answer, answer)
        self._store(batch)

    def _store(self, batch: EventDataBatch) -> None:
        for event in batch._internal_events:
            self.stored.append((batch._partition_id, batch._partition_key, b"".join(event.body)))  # type: ignore[arg-type]

    async def close(self) -> None:
        self.closed = True


class Clock:
    """Waits of the loop are over at once, and are counted here."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        monkeypatch.setattr(asyncio, "wait_for", self.wait_for)

    def __call__(self) -> float:
        return self.now

    async def wait_for(self, waited: Coroutine[Any, Any, Any], seconds: float) -> None:
        waited.close()
        self.now += seconds
        await asyncio.sleep(0)
        raise TimeoutError


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def send(service: Service, records: Sequence[NewRecord], clock: Callable[[], float], retry_seconds: float = 30.0) -> list[Exception | None]:
    async def body() -> list[Exception | None]:
        lane = Lane("orders", lambda: service, clock, request_seconds=5.0, retry_seconds=retry_seconds)  # type: ignore[arg-type,return-value]
        sending = Sending(len(records))
        for index, record in enumerate(records):
            lane.add(Entry(outgoing_of(record, "orders"), sending, index))
        await sending.wait()
        await lane.close()
        assert service.closed
        return sending.answers

    return asyncio.run(body())


def keyed(*pairs: tuple[str, str]) -> list[NewRecord]:
    return [NewRecord(value.encode(), key.encode()) for key, value in pairs]


def test_a_batch_has_one_key_and_everything_of_it_that_waits(clock: Clock) -> None:
    service = Service()
    assert send(service, keyed(("a", "1"), ("b", "2"), ("a", "3"), ("b", "4")), clock) == [None] * 4
    assert service.sent == [2, 2]
    assert service.stored == [(None, "a", b"1"), (None, "a", b"3"), (None, "b", b"2"), (None, "b", b"4")]


def test_a_named_partition_wins_over_the_key(clock: Clock) -> None:
    service = Service()
    send(service, [NewRecord(b"1", b"a", partition="3"), NewRecord(b"2", b"b", partition="3"), NewRecord(b"3")], clock)
    assert service.stored == [("3", None, b"1"), ("3", None, b"2"), (None, None, b"3")]


def test_batches_are_cut_by_size_in_order(clock: Clock) -> None:
    service = Service(most=500)
    records = keyed(*(("a", f"{n:0100}") for n in range(9)))
    assert send(service, records, clock) == [None] * 9
    assert len(service.sent) > 2
    assert [value for _, _, value in service.stored] == [record.value for record in records]


def test_an_event_that_is_too_large_is_named_and_the_others_are_sent(clock: Clock) -> None:
    service = Service(most=500)
    answers = send(service, [NewRecord(b"1"), NewRecord(bytes(600)), NewRecord(b"3")], clock)
    assert answers[0] is answers[2] is None
    assert isinstance(answers[1], BrokerError)
    assert "larger than the 500 bytes" in str(answers[1])
    assert [value for _, _, value in service.stored] == [b"1", b"3"]


def test_busy_is_sent_again_until_it_is_taken(clock: Clock) -> None:
    service = Service("busy", "busy", "busy")
    assert send(service, keyed(("a", "1"), ("a", "2")), clock) == [None, None]
    assert [value for _, _, value in service.stored] == [b"1", b"2"]
    assert clock.now > 0


def test_the_service_says_how_long_to_wait(clock: Clock) -> None:
    send(Service(busy("Please wait 4 seconds")), keyed(("a", "1")), clock)
    assert clock.now >= 4


def test_busy_for_too_long_is_given_up_in_time(clock: Clock) -> None:
    service = Service(*["busy"] * 1000)
    answers = send(service, keyed(("a", "1"), ("b", "2")), clock, retry_seconds=10)
    assert [type(answer) for answer in answers] == [ThrottledError] * 2
    assert clock.now <= 10, "the second has not waited for as long again"
    assert service.stored == []


def test_what_is_in_doubt_is_sent_again_and_may_be_there_twice(clock: Clock) -> None:
    service = Service("lost")
    assert send(service, keyed(("a", "1")), clock) == [None]
    assert [value for _, _, value in service.stored] == [b"1", b"1"]


def test_what_no_retry_mends_is_not_sent_again(clock: Clock) -> None:
    service = Service("refused")
    assert [type(answer) for answer in send(service, keyed(("a", "1")), clock)] == [AccessDeniedError]
    assert service.sent == [1]


keys = st.sampled_from(["a", "b", "c"])


@given(
    st.lists(st.tuples(keys, st.integers(1, 400)), min_size=1, max_size=12),
    st.lists(st.sampled_from(ANSWERS), max_size=12),
)
def test_of_a_key_nothing_is_written_behind_what_was_not(records: list[tuple[str, int]], answers: list[str | None]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        service = Service(*answers, most=400)
        told = send(
            service, [NewRecord(bytes([n]) + bytes(size), key.encode()) for n, (key, size) in enumerate(records)], Clock(patch), 1.0
        )
    for key in {key for key, _ in records}:
        numbers = [n for n, (one, _) in enumerate(records) if one == key]
        stored = [value[0] for _, one, value in service.stored if one == key]
        first = list(dict.fromkeys(stored))
        assert first == numbers[: len(first)], "in order, and without a gap"
        for n in numbers:
            assert told[n] is not None or n in stored, "what was said to be written is there"
    assert EventHubsProducer.is_gapless


def test_without_an_answer_it_goes_on_with_a_new_connection() -> None:
    async def body() -> None:
        silent, good = Service(), Service()
        silent.hold = asyncio.Event()
        services = [silent, good]
        clock = asyncio.get_running_loop().time
        lane = Lane("orders", lambda: services.pop(0), clock, request_seconds=0.05, retry_seconds=5.0)  # type: ignore[arg-type,return-value]
        sending = Sending(1)
        lane.add(Entry(outgoing_of(NewRecord(b"1"), "orders"), sending, 0))
        await sending.wait()
        assert sending.answers == [None]
        assert good.stored == [(None, None, b"1")]
        assert silent.closed
        await lane.close()

    asyncio.run(body())


def test_closing_waits_for_what_is_under_way_and_answers_the_rest() -> None:
    async def body() -> None:
        service = Service()
        service.hold = asyncio.Event()
        lane = Lane("orders", lambda: service, lambda: 0.0, request_seconds=5.0, retry_seconds=5.0)  # type: ignore[arg-type,return-value]
        sending = Sending(2)
        for index, record in enumerate(keyed(("a", "1"), ("b", "2"))):
            lane.add(Entry(outgoing_of(record, "orders"), sending, index))
        while not service.sent:
            await asyncio.sleep(0)
        closing = asyncio.create_task(lane.close())
        await asyncio.sleep(0)
        assert not closing.done()
        service.hold.set()
        await closing
        await sending.wait()
        assert sending.answers[0] is None
        assert isinstance(sending.answers[1], BrokerUnavailableError)
        late = Sending(1)
        lane.add(Entry(outgoing_of(NewRecord(b"3"), "orders"), late, 0))
        await late.wait()
        assert "closed" in str(late.answers[0])

    asyncio.run(body())


def test_a_service_that_does_not_answer_holds_up_closing_for_one_attempt_only() -> None:
    async def body() -> None:
        service = Service()
        service.hold = asyncio.Event()
        lane = Lane("orders", lambda: service, asyncio.get_running_loop().time, request_seconds=0.05, retry_seconds=0.0)  # type: ignore[arg-type,return-value]
        sending = Sending(1)
        lane.add(Entry(outgoing_of(NewRecord(b"1"), "orders"), sending, 0))
        while not service.sent:
            await asyncio.sleep(0)
        await lane.close()
        await sending.wait()
        assert isinstance(sending.answers[0], BrokerUnavailableError)

    asyncio.run(body())
