"""The reader on an emulator that does harm: owners cut each other off, links and connections break, the service is busy or gone."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest
from streamkit_sandbox.eventhubs.server import EventHubsServer

from plugins.eventhubs.tests.live import BUDGET, Live, Worker, on
from streamkit.errors import AccessDeniedError, BrokerUnavailableError, PositionExpiredError, ThrottledError
from streamkit.model import Batch, Partition, StartPosition
from streamkit.plugin import Budget, Idle

# The SDK leaves the sockets of connections that have broken to the garbage collector, which says so.
pytestmark = [pytest.mark.integration, pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")]


@pytest.fixture
def server() -> Iterator[EventHubsServer]:
    with EventHubsServer({"orders": 4}) as server:
        yield server


@pytest.fixture(params=["fast", "sdk"])
def live(request: pytest.FixtureRequest, server: EventHubsServer) -> Callable[..., None]:
    """Runs a test with a broker for the hub `orders` of a server of its own; once for each way to receive."""

    def run(test: Callable[[Live], Any], **fields: Any) -> None:
        on(server, "orders", test, **{"receive": request.param, **fields})

    return run


async def begin(here: Live, worker: Worker, epoch: int = 1, start: StartPosition = StartPosition.EARLIEST) -> Partition:
    """Reads partition 0, to where it is caught up."""
    partition = (await here.discover())[0]
    worker.caught_up.clear()
    await worker.reader.add(partition, start, epoch=epoch)
    await worker.until(lambda: worker.caught_up or worker.failed or worker.lost)
    return partition


async def as_the_engine(worker: Worker, holds: Callable[[], object]) -> None:
    """Polls until that holds, and later once more where the service is not to be had."""
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline, worker.failed
        try:
            await worker.poll()
            await asyncio.sleep(0.002)
        except BrokerUnavailableError:
            await asyncio.sleep(0.1)


def test_a_higher_epoch_cuts_off_the_owner_before_which_says_lost_and_who_it_was(live: Callable[..., None]) -> None:
    async def test(here: Live) -> None:
        here.append([b"1"])
        async with here.worker() as old, here.worker() as new:
            partition = await begin(here, old, epoch=3)
            await old.until(lambda: old.values == [b"1"])
            await begin(here, new, epoch=4, start=StartPosition.after(old.last_of(partition)))
            await old.until(lambda: old.lost)
            assert old.lost[0].partitions == (partition,)
            assert "epoch" in old.lost[0].reason
            here.append([b"2"])
            await new.until(lambda: new.values == [b"2"])
            await old.poll()
            assert (old.values, old.failed) == ([b"1"], [])

    live(test)


def test_an_owner_with_a_lower_epoch_is_not_let_in_and_the_other_reads_on(live: Callable[..., None]) -> None:
    async def test(here: Live) -> None:
        async with here.worker() as stale, here.worker() as current:
            await begin(here, current, epoch=9)
            await stale.reader.add(here.partitions[0], StartPosition.EARLIEST, epoch=8)
            if here.settings.receive == "fast":  # the SDK itself says nothing of a refusal: there, silence is asked about later
                await stale.until(lambda: stale.lost)
            here.append([b"1"])
            await current.until(lambda: current.values == [b"1"])
            await stale.poll()
            assert (stale.values, current.lost) == ([], [])

    live(test)


def test_what_is_lost_is_said_while_it_is_paused_and_what_was_read_of_it_is_dropped(live: Callable[..., None]) -> None:
    async def test(here: Live) -> None:
        async with here.worker() as old, here.worker() as new:
            partition = await begin(here, old, epoch=1)
            await old.reader.pause([partition])
            here.append([b"1"])
            await begin(here, new, epoch=2)
            await old.until(lambda: old.lost)
            await old.reader.resume([partition])
            await old.poll()
            assert old.values == []

    live(test)


@pytest.mark.parametrize("size", [2_000, 50_000])
def test_a_loss_is_said_while_more_is_there_than_there_is_room_for(server: EventHubsServer, size: int) -> None:
    async def test(here: Live) -> None:
        here.append([bytes(size) for _ in range(20_000_000 // size)])
        async with here.worker() as old, here.worker() as new:
            partition = (await here.discover())[0]
            await old.reader.add(partition, StartPosition.EARLIEST, epoch=1)
            await old.until(lambda: old.records)
            await old.reader.pause([partition])
            await asyncio.sleep(1.0)  # what was asked for comes, and nobody takes it
            await new.reader.add(partition, StartPosition.EARLIEST, epoch=2)
            await old.until(lambda: old.lost)

    on(server, "orders", test, receive="fast", read_bytes="1MiB")


@pytest.mark.parametrize("harm", ["detach", "drop"])
def test_a_link_that_breaks_is_failed_and_retryable_and_goes_on_from_where_it_is_told(live: Callable[..., None], harm: str) -> None:
    async def test(here: Live) -> None:
        async with here.worker() as worker:
            here.append([b"1", b"2"])
            partition = await begin(here, worker)
            await worker.until(lambda: len(worker.values) == 2)
            for wanted in (3, 4, 5):
                if harm == "drop":
                    here.server.drop_connections()
                else:
                    here.server.detach("orders", "0")
                here.append([b"while away"])
                await worker.until_records_or_failure(wanted)
                if worker.failed:  # the engine's part: close it, and open it again at our own position
                    (failed,) = worker.failed
                    assert (failed.partition, failed.error.retryable, failed.resume) == (partition, True, None)
                    worker.failed.clear()
                    await worker.reader.remove([partition])
                    await worker.reader.add(partition, StartPosition.after(worker.last_of(partition)), epoch=1)
                    await worker.until_records_or_failure(wanted)
                assert len(worker.records) == wanted
            assert [record.position.sequence for record in worker.records] == [0, 1, 2, 3, 4]
            assert worker.lost == []

    live(test)


def test_what_breaks_before_anything_has_come_is_opened_again_without_a_word(live: Callable[..., None]) -> None:
    async def test(here: Live) -> None:
        async with here.worker() as worker:
            await begin(here, worker)
            for _ in range(6):  # more often than the engine would open it again
                here.server.drop_connections()
                await asyncio.sleep(0.3)
                with suppress(BrokerUnavailableError):  # said when it has lasted for some seconds, as on a busy machine it may
                    await worker.poll()
            here.append([b"1"])
            await as_the_engine(worker, lambda: worker.values)
            assert (worker.values, worker.failed) == ([b"1"], [])

    live(test)


def test_a_service_that_is_gone_is_the_readers_trouble_and_it_goes_on_when_that_is_back(live: Callable[..., None], server: Any) -> None:
    async def test(here: Live) -> None:
        port = server.port
        async with here.worker() as worker:
            await begin(here, worker)
            server.close()
            began = time.monotonic()
            with pytest.raises(BrokerUnavailableError) as caught:
                await worker.until(lambda: worker.failed)
            assert time.monotonic() - began > 4.0, "it goes on by itself for a while"
            assert "5671" in caught.value.fix
            with EventHubsServer({"orders": 4}, port=port) as again:
                again.append("orders", [b"1"], "0")
                await as_the_engine(worker, lambda: worker.values)
                assert worker.values == [b"1"]
                assert worker.failed == []
                await worker.reader.close()

    live(test)


def test_a_busy_service_is_throttling(live: Callable[..., None]) -> None:
    async def test(here: Live) -> None:
        here.server.throttle(30)
        with pytest.raises(ThrottledError) as caught:
            await here.discover()
        assert caught.value.retryable
        here.server.throttle(0)
        assert len(await here.discover()) == 4

    live(test)


def test_a_service_that_does_not_answer_is_not_waited_for_longer_than_was_set(live: Callable[..., None]) -> None:
    async def test(here: Live) -> None:
        here.server.hold()
        began = time.monotonic()
        with pytest.raises(BrokerUnavailableError):
            await here.discover()
        assert time.monotonic() - began < 15.0, "the default is 30 s"
        here.server.release()

    live(test, request_timeout="1s")


def test_a_wrong_key_is_denied_and_not_shown() -> None:
    async def test(here: Live) -> None:
        with pytest.raises(AccessDeniedError) as caught:
            await here.discover()
        assert "d3Jvbmc" not in str(caught.value)
        assert "CONNECTION_STRING" in caught.value.fix

    with EventHubsServer({"orders": 1}, users={"reader": "cmlnaHQ="}) as server:
        wrong = server.connection_string().replace("cmlnaHQ=", "d3Jvbmc=")
        on(server, "orders", test, connection_string=wrong)


def test_tls_is_verified_with_the_authorities_that_were_set() -> None:
    async def trusting(here: Live) -> None:
        here.append([b"1"])
        async with here.worker() as worker:
            await begin(here, worker)
            await worker.until(lambda: worker.values == [b"1"])

    async def doubting(here: Live) -> None:
        with pytest.raises(AccessDeniedError) as caught:
            await here.discover()
        assert "CA_FILE" in caught.value.fix

    with EventHubsServer({"orders": 1}, tls=True) as server:
        prefix = "STREAMKIT_EVENTHUBS__"
        given = {name.removeprefix(prefix).lower(): value for name, value in server.settings().items() if name.startswith(prefix)}
        on(server, "orders", trusting, **given)
        given.pop("ca_file")
        on(server, "orders", doubting, **given)


def test_a_slow_handler_stops_the_links_credit_and_memory_stays_bounded(live: Callable[..., None]) -> None:
    async def test(here: Live) -> None:
        total, size = 6000, 2000
        here.append([b"%06d" % n + bytes(size) for n in range(total)])
        async with here.worker() as worker:
            partition = (await here.discover())[0]
            await worker.reader.add(partition, StartPosition.EARLIEST, epoch=1)
            await worker.until(lambda: worker.records)
            await worker.reader.pause([partition])
            await asyncio.sleep(1.5)  # more than enough to read everything, if nothing held it back
            assert isinstance((await worker.reader.poll(BUDGET))[0], Idle)
            feed = worker.reader._feeds[partition]  # type: ignore[attr-defined]
            assert feed.held <= here.settings.read_bytes + here.settings.prefetch * size
            assert feed.held < total * size // 2
            await worker.reader.resume([partition])
            await worker.until(lambda: len(worker.records) == total)
            assert [r.position.sequence for r in worker.records] == list(range(total))

    live(test, read_bytes="1MiB", prefetch=300)


def test_a_poll_brings_no_more_than_it_may_but_always_one_record(live: Callable[..., None]) -> None:
    async def test(here: Live) -> None:
        here.append([bytes(500) for _ in range(50)])
        async with here.worker() as worker:
            await worker.reader.add((await here.discover())[0], StartPosition.EARLIEST)
            while len(worker.records) < 50:
                before = len(worker.batches)
                await worker.poll(Budget(7, 1600, 0.0))
                new = worker.batches[before:]
                assert sum(map(len, new)) <= 7
                assert sum(batch.bytes for batch in new) <= 1600
                await asyncio.sleep(0.005)
            small = Budget(7, 10, 0.0)
            here.append([bytes(500)])
            found: list[Batch] = []
            while not found:
                found = [event for event in await worker.reader.poll(small) if isinstance(event, Batch)]
                await asyncio.sleep(0.005)
            assert [len(batch) for batch in found] == [1]

    live(test)


@pytest.mark.parametrize("on_expired", ["earliest", "halt"])
def test_a_position_that_is_not_kept_any_more_is_told(on_expired: str) -> None:
    async def test(here: Live) -> None:
        here.append([b"0", b"1", b"2"])
        async with here.worker() as worker:
            partition = await begin(here, worker)
            await worker.until(lambda: len(worker.records) == 3)
            positions = [record.position for record in worker.records]
        here.append([b"3", b"4", b"5", b"6"])  # 0, 1 and 2 are gone, and 3 is the oldest
        async with here.worker() as worker:
            await worker.reader.add(partition, StartPosition.after(positions[1]), epoch=2)
            await worker.until(lambda: worker.failed)
            (failed,) = worker.failed
            assert isinstance(failed.error, PositionExpiredError)
            assert failed.error.earliest == "3"
            assert failed.resume == (StartPosition.EARLIEST if on_expired == "earliest" else None)
            assert worker.records == []
        async with here.worker() as worker:  # the next one is still there
            await worker.reader.add(partition, StartPosition.after(positions[2]), epoch=3)
            await worker.until(lambda: worker.caught_up)
            assert (worker.values, worker.failed) == ([b"3", b"4", b"5", b"6"], [])

    with EventHubsServer({"orders": 4}, max_events=4) as server:
        on(server, "orders", test, on_expired=on_expired)
