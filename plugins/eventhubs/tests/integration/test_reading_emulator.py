"""The broker and the reader on the emulator: every start, what is said at the tip, and what positions mean."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from streamkit_eventhubs import reader as readers

from plugins.eventhubs.tests.live import BUDGET, Live, on
from streamkit.errors import PositionInvalidError, StreamGoneError
from streamkit.model import Partition, Position, StartPosition

# The SDK leaves the sockets of connections that the service has closed to the garbage collector, which says so.
pytestmark = [pytest.mark.integration, pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")]


@pytest.fixture(params=["fast", "sdk"])
def live(request: pytest.FixtureRequest, eventhubs_server: Any, event_hub: str) -> Callable[..., None]:
    """Runs a test with a broker for a new hub; once for each way to receive."""

    def run(test: Callable[[Live], Any], **fields: Any) -> None:
        on(eventhubs_server, event_hub, test, receive=request.param, **fields)

    return run


async def _six(here: Live) -> tuple[Partition, list[Position], list[datetime]]:
    """Six events in one partition, some time apart; where and when each was written."""
    partition = (await here.discover())[0]
    for value in (b"0", b"1", b"2", b"3", b"4", b"5"):
        here.append([value])
        await asyncio.sleep(0.002)  # the service tells times in milliseconds
    async with here.worker() as worker:
        await worker.reader.add(partition, StartPosition.EARLIEST)
        await worker.until(lambda: len(worker.records) == 6)
        return partition, [r.position for r in worker.records], [r.timestamp for r in worker.records]


def test_each_start_position_begins_where_it_says(live: Callable[..., None]) -> None:
    async def test(here: Live) -> None:
        partition, positions, times = await _six(here)
        without_token = [Position(position.sequence) for position in positions]
        starts = {
            "earliest": (StartPosition.EARLIEST, 0),
            "at": (StartPosition.at(positions[2]), 2),
            "at, by number": (StartPosition.at(without_token[2]), 2),
            "after": (StartPosition.after(positions[2]), 3),
            "after, by number": (StartPosition.after(without_token[2]), 3),
            "time": (StartPosition.at_time(times[3]), times.index(times[3])),
            "old time": (StartPosition.at_time(times[0] - timedelta(hours=1)), 0),
        }
        for name, (start, first) in starts.items():
            resolved = await here.broker.resolve(partition, start)
            async with here.worker() as worker:
                await worker.reader.add(partition, resolved)
                await worker.until(lambda: worker.caught_up)
                assert [r.position.sequence for r in worker.records] == list(range(first, 6)), name

    live(test)


def test_a_position_beyond_the_tip_is_refused_and_the_next_to_be_written_is_not(live: Callable[..., None]) -> None:
    async def test(here: Live) -> None:
        partition, positions, _ = await _six(here)
        assert await here.broker.resolve(partition, StartPosition.at(Position(6))) == StartPosition.at(Position(6))
        for start in (StartPosition.at(Position(7)), StartPosition.after(Position(6))):
            with pytest.raises(PositionInvalidError, match="beyond the event written last"):
                await here.broker.resolve(partition, start)
        async with here.worker() as worker:
            await worker.reader.add(partition, StartPosition.after(Position(100, token="100")))
            await worker.until(lambda: worker.failed)
            assert isinstance(worker.failed[0].error, PositionInvalidError)
            assert worker.failed[0].resume is None
        assert positions[-1].sequence == 5

    live(test)


def test_what_is_written_later_comes_too_and_its_headers_say_what_was_sent(live: Callable[..., None]) -> None:
    async def test(here: Live) -> None:
        partition = (await here.discover())[0]
        async with here.worker() as worker:
            await worker.reader.add(partition, StartPosition.EARLIEST, epoch=1)
            await worker.until(lambda: worker.caught_up)
            await here.send(b"late", kind="order", count=3)
            began = time.monotonic()
            await worker.until(lambda: worker.records)
            (record,) = worker.records
            assert (record.headers.get("kind"), record.headers.get("count")) == (b"order", b"3")
            assert abs(record.timestamp - datetime.now(UTC)) < timedelta(minutes=1)
            assert time.monotonic() - began < 9.0, "after ten seconds of silence the link would be doubted, and opened again"

    live(test)


def test_partitions_that_are_added_are_found(live: Callable[..., None], eventhubs_server: Any) -> None:
    async def test(here: Live) -> None:
        before = await here.discover()
        eventhubs_server.grow(here.hub, 6)
        after = await here.discover()
        assert [p.id for p in after] == ["0", "1", "2", "3", "4", "5"]
        assert {p.incarnation for p in after} == {p.incarnation for p in before}
        assert before[0].incarnation.startswith(f"127.0.0.1/{here.hub}@")  # no port: it may be another one tomorrow

    live(test)


def test_a_hub_that_does_not_exist_is_gone(live: Callable[..., None]) -> None:
    async def test(here: Live) -> None:
        with pytest.raises(StreamGoneError, match="nowhere") as caught:
            await here.broker.discover(["nowhere"], StartPosition.EARLIEST)
        assert "STREAMKIT_STREAM" in caught.value.fix

    live(test)


def test_a_partition_that_does_not_exist_fails_alone(live: Callable[..., None]) -> None:
    async def test(here: Live) -> None:
        partition = (await here.discover())[0]
        here.append([b"fine"])
        nowhere = Partition(here.hub, "77", partition.incarnation)
        async with here.worker() as worker:
            await worker.reader.add(nowhere, StartPosition.EARLIEST)
            await worker.reader.add(partition, StartPosition.EARLIEST)
            await worker.until(lambda: worker.failed and worker.records)
            assert [failed.partition for failed in worker.failed] == [nowhere]
            assert not worker.failed[0].error.retryable

    live(test)


def test_a_consumer_group_that_does_not_exist_is_named_with_what_to_set(live: Callable[..., None]) -> None:
    async def test(here: Live) -> None:
        partition = (await here.discover())[0]
        here.append([b"nobody's"])
        async with here.worker() as worker:
            await worker.reader.add(partition, StartPosition.EARLIEST)
            await worker.until(lambda: worker.failed)  # by the public way the SDK does not say so, and its silence does
            assert isinstance(worker.failed[0].error, StreamGoneError) or here.settings.receive == "sdk"
            assert "STREAMKIT_EVENTHUBS__CONSUMER_GROUP" in worker.failed[0].error.fix

    live(test, consumer_group="nobody")


def test_a_hundred_partitions_are_closed_together(
    live: Callable[..., None], eventhubs_server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a second or two, on a machine that has time: most of it the SDK waits."""
    monkeypatch.setattr(readers, "CLOSE_SECONDS", 200.0)  # or they would be left to themselves, however they are closed

    async def test(here: Live) -> None:
        here.hub = eventhubs_server.create_hub(f"{here.hub}-wide", 100)
        partitions = await here.discover()
        reader = here.broker.reader()
        for partition in partitions:
            await reader.add(partition, StartPosition.EARLIEST, epoch=1)
        worker_seen: set[str] = set()
        deadline = time.monotonic() + 60
        while len(worker_seen) < 100 and time.monotonic() < deadline:
            for event in await reader.poll(BUDGET):
                worker_seen |= {event.partition.id} if hasattr(event, "partition") else set()
            await asyncio.sleep(0.01)
        assert len(worker_seen) == 100
        began = time.monotonic()
        await reader.close()
        assert time.monotonic() - began < 20.0, "one after the other, with a second for each, they would take minutes"

    live(test)
