"""One partition and its links: when a link is opened again and when the engine is told, what is missing, and how much lies here."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest
from azure.eventhub._pyamqp._encode import encode_payload
from azure.eventhub._pyamqp.error import AMQPLinkError
from azure.eventhub._pyamqp.message import Message
from azure.eventhub.exceptions import AuthenticationError
from streamkit_eventhubs import feed as feeds
from streamkit_eventhubs.feed import Feed
from streamkit_eventhubs.hubs import Ends
from streamkit_eventhubs.link import PartitionLink, Received
from streamkit_eventhubs.settings import EventHubsSettings
from streamkit_eventhubs.source import Source

from plugins.eventhubs.tests.live import LiveContext
from streamkit.errors import AccessDeniedError, BrokerUnavailableError, PositionExpiredError, ThrottledError
from streamkit.model import Batch, Partition, Position, StartPosition
from streamkit.plugin import CaughtUp, Event, Failed, Lost

P0 = Partition("orders", "0")
STOLEN = AMQPLinkError(condition=b"amqp:link:stolen", description="New receiver with higher epoch of '5' is created")
FORCED = AMQPLinkError(condition=b"amqp:link:detach-forced", description="detached")
DENIED = AMQPLinkError(condition=b"amqp:unauthorized-access", description="no")
BUSY = AMQPLinkError(condition=b"com.microsoft:server-busy", description="Please wait 2 seconds")


def message(number: int) -> bytes:
    said = {"x-opt-sequence-number": {"TYPE": "LONG", "VALUE": number}, "x-opt-offset": f"o{number}"}
    return bytes(encode_payload(bytearray(), Message(data=[b"%d" % number], message_annotations=said)))


def received(*numbers: int, tip: int | None = None) -> Received:
    messages = [message(number) for number in numbers]
    return Received(messages, sum(map(len, messages)), tip)


class ScriptedLink(PartitionLink):
    """Answers what the test has put down: something received, nothing, or an error; then nothing, for ever."""

    def __init__(self, script: Sequence[Received | Exception | None]) -> None:
        self.script = deque(script)
        self.opened: list[tuple[StartPosition, int]] = []
        self.asked: list[tuple[int, int]] = []
        self.closed = 0

    async def open(self, start: StartPosition, epoch: int) -> None:
        self.opened.append((start, epoch))

    async def receive(self, max_events: int, max_bytes: int) -> Received | None:
        self.asked.append((max_events, max_bytes))
        await asyncio.sleep(0)
        if not self.script:
            await asyncio.Event().wait()
        answer = self.script.popleft()
        if isinstance(answer, Exception):
            raise answer
        return answer

    def end(self, error: Exception) -> None:
        self._error = error

    async def close(self) -> None:
        self.closed += 1


class Script(Source):
    """Gives out the links that the test has made, one after the other."""

    def __init__(self, *links: ScriptedLink, ends: Ends | Exception | None = None, **fields: Any) -> None:
        settings = EventHubsSettings(namespace="x.example.com", **fields)
        super().__init__(settings, LiveContext())
        self.links = list(links)
        self.used: list[ScriptedLink] = []
        self.answer = ends or Ends(0, 999, "o999", 0.0)

    def link(self, partition: Partition) -> PartitionLink:
        self.used.append(self.links.pop(0))
        return self.used[-1]

    async def ends(self, partition: Partition) -> Ends:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


class Rig:
    def __init__(self, source: Script, start: StartPosition = StartPosition.EARLIEST, share: int = 1 << 20) -> None:
        self.feed = Feed(P0, start, 7, source, lambda: share)
        self.events: list[Event] = []

    async def until(self, count: int) -> list[Event]:
        """Takes until so many events have come."""
        async with asyncio.timeout(10):
            while len(self.events) < count:
                await asyncio.sleep(0)
                self.events += self.feed.take(100, 1 << 20, at_least_one=True)
        return self.events

    async def turns(self) -> None:
        """Lets the task do all that it can do now."""
        for _ in range(50):
            await asyncio.sleep(0)


def run(body: Callable[[], Awaitable[None]]) -> None:
    async def whole() -> None:
        async with asyncio.timeout(20):
            await body()
        for task in asyncio.all_tasks() - {asyncio.current_task()}:  # type: ignore[arg-type]
            task.cancel()

    asyncio.run(whole())


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feeds, "FIRST_PAUSE_SECONDS", 0.0)


def numbers(events: Sequence[Event]) -> list[int | None]:
    return [record.position.sequence for event in events if isinstance(event, Batch) for record in event]


def test_the_link_is_opened_with_our_start_and_epoch_before_anything_is_asked() -> None:
    async def body() -> None:
        link = ScriptedLink([received(0)])
        source = Script(link, ends=BrokerUnavailableError("asked"))
        rig = Rig(source)
        await rig.turns()
        assert link.opened == [(StartPosition.EARLIEST, 7)]  # it cuts off the owner before us, whatever the service knows
        assert link.asked == []

    run(body)


def test_what_breaks_after_something_has_come_is_failed_and_not_opened_here() -> None:
    async def body() -> None:
        source = Script(ScriptedLink([received(0, 1), FORCED]), ScriptedLink([received(0)]))
        rig = Rig(source)
        batch, failed = await rig.until(2)
        assert numbers([batch]) == [0, 1]
        assert isinstance(failed, Failed)
        assert isinstance(failed.error, BrokerUnavailableError)
        assert failed.resume is None
        assert [link.closed for link in source.used] == [1]

    run(body)


def test_what_breaks_before_anything_has_come_is_opened_again_at_the_same_start() -> None:
    async def body() -> None:
        links = [ScriptedLink([FORCED]), ScriptedLink([None, FORCED]), ScriptedLink([received(4)])]
        source = Script(*links)
        rig = Rig(source, StartPosition.after(Position(3, token="o3")))
        (batch,) = await rig.until(1)
        assert numbers([batch]) == [4]
        assert [link.opened for link in links] == [[(StartPosition.after(Position(3)), 7)]] * 3
        assert [link.closed for link in links] == [1, 1, 0]
        await rig.turns()
        assert rig.feed.trouble is None

    run(body)


def test_it_gives_up_after_half_a_minute_of_nothing_but_failures(monkeypatch: pytest.MonkeyPatch) -> None:
    async def body() -> None:
        source = Script(*[ScriptedLink([FORCED]) for _ in range(10)])
        clock = iter(range(0, 1000, 8))
        monkeypatch.setattr(source.context, "monotonic", lambda: float(next(clock)))
        rig = Rig(source)
        (failed,) = await rig.until(1)
        assert isinstance(failed, Failed)
        assert failed.error.retryable
        assert 2 <= len(source.used) < 10

    run(body)


def test_a_token_that_was_refused_without_a_reason_is_shown_again_for_a_short_while(monkeypatch: pytest.MonkeyPatch) -> None:
    async def body() -> None:
        unclear = AuthenticationError("CBS Token authentication failed.\nStatus code: None")
        source = Script(ScriptedLink([unclear]), ScriptedLink([received(0)]))
        rig = Rig(source)
        assert numbers((await rig.until(1))[:1]) == [0], "it was no halt"
        monkeypatch.setattr(feeds, "DENIED_PATIENCE_SECONDS", 0.0)
        given_up = Rig(Script(ScriptedLink([unclear]), ScriptedLink([received(0)])))
        (failed,) = await given_up.until(1)
        assert isinstance(failed, Failed)
        assert isinstance(failed.error, AccessDeniedError)

    run(body)


def test_what_no_retry_mends_is_failed_at_once() -> None:
    async def body() -> None:
        source = Script(ScriptedLink([AMQPLinkError(condition=b"amqp:not-found", description="gone")]), ScriptedLink([]))
        (failed,) = await Rig(source).until(1)
        assert isinstance(failed, Failed)
        assert not failed.error.retryable
        assert len(source.used) == 1

    run(body)


def test_a_busy_service_is_given_the_time_that_it_asks_for(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    real = asyncio.sleep

    async def sleep(seconds: float, result: object = None) -> object:
        if seconds:
            pauses.append(seconds)
        return await real(0, result)

    async def body() -> None:
        source = Script(ScriptedLink([BUSY]), ScriptedLink([received(0)]))
        monkeypatch.setattr(feeds.asyncio, "sleep", sleep)
        await Rig(source).until(1)
        assert pauses == [2.0]
        assert ThrottledError.retryable

    run(body)


def test_a_stolen_link_is_lost_not_failed_and_drops_what_was_read() -> None:
    async def body() -> None:
        rig = Rig(Script(ScriptedLink([received(0), STOLEN])))
        await rig.turns()
        (lost,) = await rig.until(1)
        assert isinstance(lost, Lost)
        assert lost.partitions == (P0,)
        assert "higher epoch of '5'" in lost.reason

    run(body)


def test_what_is_lost_is_said_while_paused_and_nothing_else_is() -> None:
    async def body() -> None:
        link = ScriptedLink([received(0)])
        rig = Rig(Script(link))
        rig.feed.paused = True
        await rig.turns()
        assert list(rig.feed.take(100, 1 << 20, at_least_one=True)) == []
        rig.feed.stop()
        other = Rig(Script(ScriptedLink([received(0), STOLEN])))
        other.feed.paused = True
        (lost,) = await other.until(1)
        assert isinstance(lost, Lost)

    run(body)


def test_that_it_was_stolen_is_noticed_also_while_there_is_no_room(monkeypatch: pytest.MonkeyPatch) -> None:
    async def body() -> None:
        monkeypatch.setattr(feeds, "LOOK_SECONDS", 0.001)
        link = ScriptedLink([received(0, 1, 2), received(3)])
        rig = Rig(Script(link), share=10)
        rig.feed.paused = True
        await rig.turns()
        assert len(link.asked) == 1
        link.end(STOLEN)
        (lost,) = await rig.until(1)
        assert isinstance(lost, Lost)

    run(body)


def test_nothing_more_is_received_while_there_is_no_room() -> None:
    async def body() -> None:
        link = ScriptedLink([received(n) for n in range(10)])
        size = len(message(0))
        rig = Rig(Script(link, prefetch=50), share=3 * size)
        await rig.turns()
        assert link.asked == [(50, 3 * size), (50, 2 * size), (50, size)]
        assert numbers(list(rig.feed.take(100, 1 << 20, at_least_one=True))) == [0, 1, 2]
        await rig.turns()
        assert len(link.asked) == 6
        rig.feed.stop()

    run(body)


def test_it_is_caught_up_at_the_tip_that_the_service_tells_with_the_events_and_at_once_where_there_is_nothing() -> None:
    async def body() -> None:
        link = ScriptedLink([received(0, tip=2), received(1, 2, tip=2), received(3, tip=9), received(4)])
        events = await Rig(Script(link, ends=Ends(0, 2, "o2", 0.0))).until(5)
        assert [isinstance(event, CaughtUp) for event in events] == [False, False, True, False, False]
        stale = ScriptedLink([received(0, tip=0), received(1, 2, tip=2)])  # what the service says was true a while ago
        events = await Rig(Script(stale, ends=Ends(0, 2, "o2", 0.0))).until(3)
        assert [isinstance(event, CaughtUp) for event in events] == [False, False, True]
        empty = Rig(Script(ScriptedLink([]), ends=Ends(0, -1, "-1", 0.0)))
        assert await empty.until(1) == [CaughtUp(P0)]

    run(body)


def test_a_checkpoint_whose_next_event_is_gone_has_expired() -> None:
    async def body() -> None:
        for on_expired, resume in (("earliest", StartPosition.EARLIEST), ("halt", None)):
            source = Script(ScriptedLink([received(9)]), ends=Ends(9, 20, "o20", 0.0), on_expired=on_expired)
            (failed,) = await Rig(source, StartPosition.after(Position(7))).until(1)
            assert isinstance(failed, Failed)
            assert isinstance(failed.error, PositionExpiredError)
            assert (failed.error.earliest, failed.resume) == ("9", resume)
            still_there = Script(ScriptedLink([received(9)]), ends=Ends(9, 20, "o20", 0.0), on_expired=on_expired)
            assert numbers(await Rig(still_there, StartPosition.after(Position(8))).until(1)) == [9]

    run(body)


def test_events_that_go_while_we_read_are_told_after_those_before_them() -> None:
    async def body() -> None:
        source = Script(ScriptedLink([received(0, 1), received(2, 6, 7)]))
        rig = Rig(source)
        await rig.until(1)
        source.answer = Ends(6, 20, "o20", 0.0)
        first, second, failed = await rig.until(3)
        assert numbers([first, second]) == [0, 1, 2]
        assert isinstance(failed, Failed)
        assert isinstance(failed.error, PositionExpiredError)
        assert failed.resume == StartPosition.at(Position(6))
        assert failed.resume is not None
        assert failed.resume.position is not None
        assert failed.resume.position.token == "o6"

    run(body)


def test_numbers_that_the_service_has_left_out_are_no_loss() -> None:
    async def body() -> None:
        source = Script(ScriptedLink([received(0, 1), received(5, 9)]), ends=Ends(0, 9, "o9", 0.0))
        events = await Rig(source).until(2)
        assert numbers(events) == [0, 1, 5, 9]

    run(body)


def test_silence_is_asked_about_and_is_a_failure_only_if_there_are_events(monkeypatch: pytest.MonkeyPatch) -> None:
    async def body() -> None:
        monkeypatch.setattr(feeds, "FIRST_SILENCE_SECONDS", 0.0)
        silent = Script(ScriptedLink([None, None]))
        (failed,) = await Rig(silent).until(1)
        assert isinstance(failed, Failed)
        assert failed.error.retryable
        assert "CONSUMER_GROUP" in failed.error.fix
        late = Script(ScriptedLink([None, received(0)]))
        assert numbers(await Rig(late).until(1)) == [0]
        quiet = Script(ScriptedLink([None, None, None, received(0)]), ends=Ends(0, -1, "-1", 0.0))
        assert numbers(await Rig(quiet).until(2)) == [0]

    run(body)


def test_what_expires_while_nothing_more_is_written_is_told_by_the_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    async def body() -> None:
        monkeypatch.setattr(feeds, "SILENCE_SECONDS", 0.0)

        class Late(ScriptedLink):
            async def receive(self, max_events: int, max_bytes: int) -> Received | None:
                source.answer = Ends(10, 9, "o9", 0.0)  # all of it is gone, and who waits for the tip would wait for ever
                return await super().receive(max_events, max_bytes)

        source = Script(Late([received(0, 1), None, None]), ends=Ends(0, 9, "o9", 0.0))
        rig = Rig(source)
        batch, failed = await rig.until(2)
        assert numbers([batch]) == [0, 1]
        assert isinstance(failed, Failed)
        assert isinstance(failed.error, PositionExpiredError)
        assert failed.resume == StartPosition.EARLIEST

    run(body)


def test_behind_an_offset_alone_silence_is_a_failure_only_if_something_was_written_since(monkeypatch: pytest.MonkeyPatch) -> None:
    async def body() -> None:
        monkeypatch.setattr(feeds, "FIRST_SILENCE_SECONDS", 0.0)
        monkeypatch.setattr(feeds, "SILENCE_SECONDS", 0.0)
        source = Script(ScriptedLink([None] * 200), ends=Ends(0, 9, "o9", 0.0))
        rig = Rig(source, StartPosition.after(Position(None, token="elsewhere:9")))
        await rig.turns()
        assert not rig.feed.has_something
        source.answer = Ends(0, 10, "o10", 0.0)
        (failed,) = await rig.until(1)
        assert isinstance(failed, Failed)
        assert failed.error.retryable

    run(body)


def test_a_fault_of_ours_is_failed_too_and_never_silence() -> None:
    async def body() -> None:
        broken = Received([b"\x00"], 1)
        (failed,) = await Rig(Script(ScriptedLink([broken]))).until(1)
        assert isinstance(failed, Failed)
        assert not failed.error.retryable

    run(body)


def test_after_stop_nothing_comes_and_the_link_is_closed() -> None:
    async def body() -> None:
        link = ScriptedLink([received(0)])
        rig = Rig(Script(link))
        await rig.turns()
        task = rig.feed.stop()
        await asyncio.wait([task])
        assert link.closed == 1
        assert list(rig.feed.take(100, 1 << 20, at_least_one=True)) == []

    run(body)


def test_a_link_that_is_being_closed_is_closed_to_the_end_whatever_happens_then() -> None:
    class SlowToClose(ScriptedLink):
        async def close(self) -> None:
            for _ in range(20):
                await asyncio.sleep(0)
            await super().close()

    async def body() -> None:
        link = SlowToClose([received(0), FORCED])
        rig = Rig(Script(link))
        while len(link.asked) < 2:
            await asyncio.sleep(0)
        for _ in range(5):
            await asyncio.sleep(0)
        assert link.closed == 0
        await asyncio.wait([rig.feed.stop()])
        assert link.closed == 1

    run(body)


def test_a_batch_is_handed_over_in_parts_that_fit() -> None:
    async def body() -> None:
        rig = Rig(Script(ScriptedLink([received(*range(10))])))
        await rig.turns()
        size = len(message(0))
        parts = [
            list(rig.feed.take(3, 1 << 20, at_least_one=True)),
            list(rig.feed.take(100, 2 * size, at_least_one=True)),
            list(rig.feed.take(100, 1, at_least_one=False)),
            list(rig.feed.take(100, 1, at_least_one=True)),
            list(rig.feed.take(0, 1 << 20, at_least_one=False)),
            list(rig.feed.take(100, 1 << 20, at_least_one=False)),
        ]
        assert [numbers(part) for part in parts] == [[0, 1, 2], [3, 4], [], [5], [], [6, 7, 8, 9]]
        assert rig.feed.held == 0

    run(body)
