"""The reader over many partitions: turns, shares, and when the service as a whole has failed."""

from __future__ import annotations

import asyncio

import pytest
from streamkit_eventhubs import feed as feeds
from streamkit_eventhubs import reader as readers
from streamkit_eventhubs.reader import EventHubsReader

from plugins.eventhubs.tests.unit.test_feed import DENIED, FORCED, STOLEN, Script, ScriptedLink, message, numbers, received, run
from streamkit.errors import BrokerUnavailableError
from streamkit.model import Batch, Partition, StartPosition
from streamkit.plugin import Budget, Failed, Idle, Lost

ALL = Budget(max_records=1000, max_bytes=1 << 20, max_wait_seconds=0.05)
SIZE = len(message(0))


def partition(number: int) -> Partition:
    return Partition("orders", str(number))


async def reader_of(*links: ScriptedLink) -> tuple[EventHubsReader, Script]:
    """A reader with a partition for each link."""
    source = Script(*links)
    reader = EventHubsReader(source)
    for number in range(len(links)):
        await reader.add(partition(number), StartPosition.EARLIEST, epoch=1)
    for _ in range(50):
        await asyncio.sleep(0)
    return reader, source


def test_where_nothing_is_it_says_so_and_waits_for_nothing() -> None:
    async def body() -> None:
        reader, _ = await reader_of(ScriptedLink([]))
        assert await reader.poll(ALL) == [Idle(readers.IDLE_SECONDS)]
        await reader.remove([partition(0), partition(7)])  # one that it never had
        assert await reader.poll(ALL) == [Idle(readers.IDLE_SECONDS)]
        await reader.close()

    run(body)


def test_a_poll_stays_within_its_budget_over_all_partitions_and_takes_turns() -> None:
    async def body() -> None:
        reader, _ = await reader_of(*[ScriptedLink([received(*range(100))]) for _ in range(3)])
        firsts = []
        for _ in range(6):
            batches = [event for event in await reader.poll(Budget(10, 6 * SIZE, 0.0)) if isinstance(event, Batch)]
            assert sum(map(len, batches)) <= 10
            assert sum(batch.bytes for batch in batches) <= 6 * SIZE
            firsts.append(batches[0].partition.id)
        assert firsts == ["0", "1", "2", "0", "1", "2"]
        (large,) = await reader.poll(Budget(10, 1, 0.0))
        assert len(numbers([large])) == 1  # one is always admitted
        await reader.close()

    run(body)


def test_shares_are_even_and_grow_when_partitions_go() -> None:
    async def body() -> None:
        links = [ScriptedLink([received(0)]) for _ in range(4)]
        reader, source = await reader_of(*links)
        most = source.settings.read_bytes
        assert links[3].asked[0][1] == most // 4
        await reader.remove([partition(0), partition(1), partition(2)])
        alone = ScriptedLink([])
        source.links.append(alone)
        await reader.add(partition(3), StartPosition.EARLIEST)
        for _ in range(50):
            await asyncio.sleep(0)
        assert alone.asked[0][1] == most
        await reader.close()
        assert [link.closed for link in links] == [1, 1, 1, 1]

    run(body)


def test_of_a_partition_that_is_added_again_nothing_old_comes() -> None:
    async def body() -> None:
        reader, source = await reader_of(ScriptedLink([received(0), STOLEN]))
        source.links.append(ScriptedLink([received(7)]))
        await reader.add(partition(0), StartPosition.EARLIEST, epoch=2)
        for _ in range(50):
            await asyncio.sleep(0)
        events = await reader.poll(ALL)
        assert numbers(events) == [7]
        assert not any(isinstance(event, Lost) for event in events)
        assert source.used[0].closed == 1
        await reader.close()

    run(body)


def test_when_no_link_can_be_opened_for_a_while_the_reader_has_failed_and_else_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    async def body() -> None:
        monkeypatch.setattr(feeds, "FIRST_PAUSE_SECONDS", 60.0)
        reader, source = await reader_of(ScriptedLink([FORCED]), ScriptedLink([FORCED]))
        now = source.context.monotonic()
        assert await reader.poll(ALL) == [Idle(readers.IDLE_SECONDS)]  # not for long yet
        monkeypatch.setattr(source.context, "monotonic", lambda: now + readers.OUTAGE_SECONDS + 1)
        with pytest.raises(BrokerUnavailableError):
            await reader.poll(ALL)
        source.links.append(ScriptedLink([]))
        await reader.add(partition(2), StartPosition.EARLIEST)
        reader._feeds[partition(2)].troubled_since = now + readers.OUTAGE_SECONDS  # it had its own, which is over
        for _ in range(50):
            await asyncio.sleep(0)
        assert await reader.poll(ALL) == [Idle(readers.IDLE_SECONDS)]  # one is well: the others are single partitions' trouble
        await reader.close()

    run(body)


def test_the_reader_never_fails_with_what_only_one_partition_has_to_bear(monkeypatch: pytest.MonkeyPatch) -> None:
    class Slow(ScriptedLink):
        async def close(self) -> None:
            await asyncio.sleep(0)
            assert await polled() == [Idle(readers.IDLE_SECONDS)]
            await super().close()

    async def polled() -> object:
        try:
            return await readers_[0].poll(ALL)
        except BrokerUnavailableError:  # the outage before it
            return [Idle(readers.IDLE_SECONDS)]

    readers_: list[EventHubsReader] = []

    async def body() -> None:
        monkeypatch.setattr(feeds, "FIRST_PAUSE_SECONDS", 0.0)
        source = Script(ScriptedLink([FORCED]), Slow([STOLEN]))
        now = iter([0.0])
        monkeypatch.setattr(source.context, "monotonic", lambda: next(now, readers.OUTAGE_SECONDS + 1))
        readers_.append(EventHubsReader(source))
        await readers_[0].add(partition(0), StartPosition.EARLIEST, epoch=1)
        async with asyncio.timeout(5):
            while not readers_[0]._feeds[partition(0)].task.done():
                await asyncio.sleep(0)
        assert [type(event) for event in await readers_[0].poll(ALL)] == [Lost]
        await readers_[0].close()

    run(body)


def test_a_partition_that_has_halted_does_not_hide_that_the_service_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    async def body() -> None:
        monkeypatch.setattr(feeds, "FIRST_PAUSE_SECONDS", 60.0)
        reader, source = await reader_of(ScriptedLink([DENIED]), ScriptedLink([FORCED]))
        now = source.context.monotonic()
        assert [type(event) for event in await reader.poll(ALL)] == [Failed]
        monkeypatch.setattr(source.context, "monotonic", lambda: now + readers.OUTAGE_SECONDS + 1)
        with pytest.raises(BrokerUnavailableError):
            await reader.poll(ALL)
        await reader.close()

    run(body)


@pytest.mark.parametrize("is_one_well", [False, True])
def test_an_outage_that_outlasts_a_partitions_patience_halts_none_of_them(monkeypatch: pytest.MonkeyPatch, is_one_well: bool) -> None:
    async def body() -> None:
        monkeypatch.setattr(feeds, "FIRST_PAUSE_SECONDS", 0.0)
        source = Script(*[ScriptedLink([]) for _ in range(is_one_well)], *[ScriptedLink([FORCED]) for _ in range(500)])
        clock = iter(range(1_000_000))
        monkeypatch.setattr(source.context, "monotonic", lambda: float(next(clock)))
        reader = EventHubsReader(source)
        for number in range(3):
            await reader.add(partition(number), StartPosition.EARLIEST, epoch=1)
        while next(clock) < 10 * feeds.PATIENCE_SECONDS:
            await asyncio.sleep(0)
        if is_one_well:
            assert {type(event) for event in await reader.poll(ALL)} == {Failed}
        else:
            with pytest.raises(BrokerUnavailableError):
                await reader.poll(ALL)
        await reader.close()

    run(body)


def test_close_leaves_no_task_and_no_link() -> None:
    async def body() -> None:
        links = [ScriptedLink([received(0)]) for _ in range(5)]
        reader, _ = await reader_of(*links)
        await reader.remove([partition(0)])
        await reader.close()
        assert [link.closed for link in links] == [1] * 5
        assert asyncio.all_tasks() == {asyncio.current_task()}

    run(body)
