"""The emulator's handle: what tests do to it from other threads, and what Azure's own client sees of that."""

from __future__ import annotations

import asyncio
import functools
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from azure.eventhub import EventData, EventHubProducerClient, TransportType
from azure.eventhub.aio import EventHubConsumerClient
from azure.eventhub.aio import EventHubProducerClient as AioProducerClient
from azure.eventhub.exceptions import EventHubError
from streamkit_sandbox.errors import SandboxError, ServerStartError
from streamkit_sandbox.eventhubs.faults import Fault, Kind, every_fault
from streamkit_sandbox.eventhubs.server import EventHubsServer

from plugins.sandbox.tests.eventhubs_peers import sweep

pytestmark = pytest.mark.integration


def runs(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """The test in a loop of its own."""

    @functools.wraps(test)
    def run(*args: Any, **kwargs: Any) -> None:
        try:
            asyncio.run(test(*args, **kwargs))
        finally:
            sweep()

    return run


async def until(condition: Callable[[], bool], seconds: float = 90.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come to that"
        await asyncio.sleep(0.02)


class Reading:
    """The aio client on one partition, from the start; begins again where it was after an error, which the client does by itself not."""

    def __init__(self, server: EventHubsServer, hub: str, partition: str = "0") -> None:
        self.sequences: list[int] = []
        self.errors: list[Exception] = []
        self._server, self._hub, self._partition = server, hub, partition
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Reading:
        self._task = asyncio.create_task(self._run())
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._task is not None
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            client = EventHubConsumerClient.from_connection_string(
                self._server.connection_string(self._hub), "$Default", retry_total=0, load_balancing_interval=0.3
            )
            failed = asyncio.Event()

            async def on_error(_context: Any, error: Exception, failed: asyncio.Event = failed) -> None:
                self.errors.append(error)
                failed.set()

            async with client:
                receiving = asyncio.create_task(
                    client.receive(
                        self._take,
                        partition_id=self._partition,
                        starting_position=self.sequences[-1] if self.sequences else "-1",
                        on_error=on_error,
                    )
                )
                try:
                    await failed.wait()
                finally:
                    receiving.cancel()
                    await asyncio.gather(receiving, return_exceptions=True)

    async def _take(self, _context: Any, event: EventData) -> None:
        assert event.sequence_number is not None
        self.sequences.append(event.sequence_number)


def numbers(count: int) -> list[bytes]:
    return [b"%d" % number for number in range(count)]


def seconds_to_start() -> float:
    begun = time.monotonic()
    with EventHubsServer({"orders": 32}):
        return time.monotonic() - begun


def test_it_starts_in_a_moment_and_leaves_no_thread_and_no_port() -> None:
    before = threading.active_count()
    assert min(seconds_to_start() for _ in range(3)) < 1.0, "an emulator in a container, or a program of its own, takes longer than that"
    with EventHubsServer({"orders": 32}) as server:
        port = server.port
        with socket.create_connection(("127.0.0.1", port)) as client:
            client.sendall(b"AMQP\x03\x01\x00\x00")
            assert client.recv(8) == b"AMQP\x03\x01\x00\x00"
    assert threading.active_count() == before
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))
    server.close()
    with pytest.raises(SandboxError, match="not started"):
        _ = server.port


def test_importing_it_is_quick_and_needs_nothing_but_python() -> None:
    program = (
        "import sys; before = set(sys.modules); import streamkit_sandbox.eventhubs.server; "
        "print([name for name in set(sys.modules) - before if name.partition('.')[0] in ('trustme', 'cryptography', 'azure', 'pytest')])"
    )
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.strip() == "[]"


def test_a_port_that_is_taken_is_named() -> None:
    with EventHubsServer() as server, pytest.raises(ServerStartError, match=str(server.port)):
        EventHubsServer(port=server.port).start()


def test_hubs_are_made_grown_and_deleted_while_it_runs() -> None:
    with EventHubsServer({"orders": 1}) as server:
        assert server.create_hub("more", 2) == "more"
        with pytest.raises(SandboxError, match="already"):
            server.create_hub("Orders")
        server.append("more", [b"a", b"b"], "1")
        server.grow("more", 3)
        server.append("more", [b"c"], "2", key="k")
        assert [len(server.events("more", partition)) for partition in "012"] == [0, 2, 1]
        assert server.events("more", "2")[0].partition_key == "k"
        server.delete_hub("more")
        with pytest.raises(SandboxError, match="no hub"):
            server.delete_hub("more")


def test_what_is_kept_in_a_folder_is_there_again(tmp_path: Path) -> None:
    with EventHubsServer({"orders": 1}, folder=tmp_path) as server:
        server.append("orders", numbers(3), "0")
        server.create_hub("more", 2)
        kept = server.events("orders", "0")
        server.grow("more", 5)
        server.create_consumer_group("more", "billing")
    with EventHubsServer(folder=tmp_path) as server:
        second = EventHubsServer(folder=tmp_path, port=0)
        with pytest.raises(SandboxError, match="belongs to"):
            second.start()
        second.close()
        assert server.events("orders", "0") == kept
        assert server.events("more", "4") == ()
        assert server._service()[1].hub("more").has_group("billing")


def test_tls_with_an_authority_that_is_trusted_and_with_none() -> None:
    with EventHubsServer({"orders": 1}, tls=True) as server:
        options: dict[str, Any] = {"custom_endpoint_address": f"sb://{server.namespace}", "retry_total": 0, "auth_timeout": 10}
        assert "UseDevelopmentEmulator" not in server.connection_string()
        trusting = EventHubProducerClient.from_connection_string(
            server.connection_string("orders"), connection_verify=str(server.ca_file), transport_type=TransportType.Amqp, **options
        )
        with trusting:
            trusting.send_event(EventData(b"sealed"), partition_id="0")
        assert len(server.events("orders", "0")) == 1
        wary = EventHubProducerClient.from_connection_string(
            server.connection_string("orders"), transport_type=TransportType.Amqp, **options
        )
        with wary, pytest.raises(EventHubError):
            wary.send_event(EventData(b"sealed"), partition_id="0")
        assert server.settings()["STREAMKIT_EVENTHUBS__CA_FILE"] == str(server.ca_file)
        assert server.ca_file.exists()
    with EventHubsServer() as server, pytest.raises(SandboxError, match="tls=True"):
        _ = server.ca_file


def test_a_throttled_send_is_told_so_and_stored_afterwards() -> None:
    with EventHubsServer({"orders": 1}) as server:
        client = EventHubProducerClient.from_connection_string(server.connection_string("orders"), retry_total=0)
        with client:
            client.send_event(EventData(b"before"), partition_id="0")
            server.throttle(60)
            with pytest.raises(EventHubError, match="throttled"):
                client.send_event(EventData(b"during"), partition_id="0")
            server.throttle(0)
            client.send_event(EventData(b"after"), partition_id="0")
        assert len(server.events("orders", "0")) == 2


@runs
async def test_nothing_is_lost_over_detached_links_dropped_connections_and_a_standstill() -> None:
    with EventHubsServer({"orders": 1}) as server:
        async with Reading(server, "orders") as reading:
            for harm in (
                lambda: server.detach("orders", "0"),
                server.drop_connections,
                lambda: (server.hold(), server.release()),
                lambda: server.set_latency(0.3),
                lambda: server.set_pace(100),
            ):
                server.append("orders", numbers(20), "0")
                count = len(server.events("orders", "0"))
                await until(lambda count=count: len(reading.sequences) >= count)  # type: ignore[misc]
                harm()
            assert reading.sequences == list(range(100))
            assert len(reading.errors) >= 2
            assert [reader.partition for reader in server.readers("orders")] == ["0"]
        await until(lambda: server.connection_count == 0)
        assert server.readers("orders") == []
        assert len(server.admissions("orders")) >= 3


@runs
async def test_a_server_that_stands_still_answers_nobody_until_it_goes_on() -> None:
    with EventHubsServer({"orders": 1}) as server:
        server.hold()
        async with Reading(server, "orders") as reading:
            server.append("orders", numbers(3), "0")
            await until(lambda: server.connection_count > 0)
            await asyncio.sleep(0.3)
            assert reading.sequences == []
            server.release()
            await until(lambda: len(reading.sequences) == 3)


@runs
async def test_with_faults_of_every_kind_each_acknowledged_event_arrives_in_order() -> None:
    with EventHubsServer({"orders": 1}, seed=7) as server:
        async with Reading(server, "orders") as reading:
            server.rules = [*every_fault(0.02), Fault(Kind.DROP, operations="deliver", times=1)]
            acknowledged = []
            producer = AioProducerClient.from_connection_string(
                server.connection_string("orders"), retry_total=3, retry_backoff_factor=0.05, auth_timeout=5
            )
            async with producer:
                for number in range(60):
                    try:
                        await asyncio.wait_for(producer.send_event(EventData(b"%d" % number), partition_id="0"), 2)
                    except (EventHubError, TimeoutError):
                        continue
                    acknowledged.append(number)
            server.rules = []
            stored = server.events("orders", "0")
            await until(lambda: len(reading.sequences) >= len(stored))
        assert reading.sequences == [event.sequence for event in stored]
        assert set(acknowledged) <= {int(event.message.split(b"\xa0")[-1][1:]) for event in stored}
        assert len(acknowledged) > 30
        assert sum(server.fault_counts.values()) > 3


@runs
async def test_a_failure_of_the_emulator_itself_is_told_at_its_end() -> None:
    server = EventHubsServer({"orders": 1})
    server.start()
    service = server._service()[1]
    service.hubs[0].partitions[0].listeners.add(lambda: 1 / 0)  # type: ignore[arg-type, return-value]
    producer = AioProducerClient.from_connection_string(server.connection_string("orders"), retry_total=0)
    async with producer:
        with pytest.raises((EventHubError, TimeoutError)):
            await asyncio.wait_for(producer.send_event(EventData(b"x"), partition_id="0"), 5)
    with pytest.raises(SandboxError, match="ZeroDivisionError"):
        server.close()
