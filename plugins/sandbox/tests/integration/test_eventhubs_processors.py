"""Azure's own event processors on the emulator and Azurite: they deal out the partitions, checkpoint, go on, and take over."""

from __future__ import annotations

import asyncio
import threading
import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from types import TracebackType
from typing import Any, Self

import pytest
from azure.eventhub import EventData, EventHubConsumerClient
from azure.eventhub.aio import EventHubConsumerClient as AioConsumerClient
from azure.eventhub.extensions.checkpointstoreblobaio import BlobCheckpointStore
from azure.storage.blob import ContainerClient
from streamkit_sandbox.azurite import AzuriteServer
from streamkit_sandbox.errors import ServerUnavailableError
from streamkit_sandbox.eventhubs.server import EventHubsServer
from streamkit_sandbox.eventhubs_js import JavaScriptClient, body_of, fetched_javascript_client
from streamkit_sandbox.pytest_plugin import missing

from plugins.sandbox.tests.eventhubs_peers import sweep

pytestmark = [pytest.mark.integration, pytest.mark.filterwarnings("ignore::ResourceWarning"), pytest.mark.usefixtures("swept")]
CYCLE_SECONDS = 0.5
EXPIRY_SECONDS = 15.0
"""Nobody is killed here: who stands still for some seconds must not count as dead."""
PARTITIONS = ("0", "1", "2", "3")


class EventProcessor(ABC):
    """A processor of all partitions, which checkpoints after each batch. What it was given is in `got`, as (partition, body)."""

    got: list[tuple[str, bytes]]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    @abstractmethod
    def wait(self, count: int, seconds: float = 60.0) -> bool:
        """Whether it had `count` events in that time."""

    @abstractmethod
    def close(self) -> None:
        """Ends it in order; may be called again."""


class PythonProcessor(EventProcessor):
    """azure-eventhub with asyncio and azure-eventhub-checkpointstoreblob-aio, on a loop in a thread."""

    def __init__(self, server: EventHubsServer, hub: str, azurite: AzuriteServer, container: str) -> None:
        self.got = []
        self._made = server.connection_string(), hub, azurite.connection_string, container
        self._stop: Callable[[], object] = lambda: None
        self._started = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)
        self._thread.start()
        assert self._started.wait(60)

    async def _run(self) -> None:
        connection_string, hub, storage, container = self._made
        store = BlobCheckpointStore.from_connection_string(storage, container)
        client = AioConsumerClient.from_connection_string(
            connection_string,
            "$Default",
            eventhub_name=hub,
            checkpoint_store=store,
            load_balancing_interval=CYCLE_SECONDS,
            partition_ownership_expiration_interval=EXPIRY_SECONDS,
        )

        async def events(context: Any, found: list[EventData]) -> None:
            await context.update_checkpoint()
            # Not before: whoever has waited for these may end the processor.
            self.got += [(context.partition_id, b"".join(event.body)) for event in found]  # type: ignore[arg-type]

        reading = asyncio.create_task(client.receive_batch(events, starting_position="-1"))
        loop = asyncio.get_running_loop()
        self._stop = lambda: loop.call_soon_threadsafe(reading.cancel)
        self._started.set()
        async with store, client:
            with suppress(asyncio.CancelledError):
                await reading

    def wait(self, count: int, seconds: float = 60.0) -> bool:
        return waited(lambda: len(self.got) >= count, seconds)

    def close(self) -> None:
        self._stop()
        self._stop = lambda: None
        self._thread.join(60)


class JavaScriptProcessor(EventProcessor):
    """@azure/event-hubs with @azure/eventhubs-checkpointstore-blob."""

    def __init__(self, server: EventHubsServer, hub: str, azurite: AzuriteServer, container: str) -> None:
        self.got = []
        self._client: JavaScriptClient | None = JavaScriptClient(server.connection_string())
        self._client.start()
        self._number = self._client.subscribe(
            hub,
            start="earliest",
            storage=azurite.connection_string,
            container=container,
            checkpoint=True,
            balancing={
                "updateIntervalInMs": CYCLE_SECONDS * 1000,
                "partitionOwnershipExpirationIntervalInMs": EXPIRY_SECONDS * 1000,
                "strategy": "greedy",
            },
        )

    def wait(self, count: int, seconds: float = 60.0) -> bool:
        assert self._client is not None
        taken = self._client.take(self._number, count - len(self.got), seconds) if count > len(self.got) else {"events": ()}
        self.got += [(event["partition"], body_of(event)) for event in taken["events"]]
        return len(self.got) >= count

    def close(self) -> None:
        if self._client is not None:
            self._client.unsubscribe(self._number)
            self._client.close()
            self._client = None


@pytest.fixture(scope="module")
def swept() -> Iterator[None]:
    """What the SDK leaves behind is gone before the next module."""
    yield
    sweep()


Begin = Callable[[], EventProcessor]


@pytest.fixture(params=[PythonProcessor, JavaScriptProcessor], ids=["python", "javascript"])
def begin(
    request: pytest.FixtureRequest, eventhubs_server: EventHubsServer, event_hub: str, azurite_server: AzuriteServer, blob_container: str
) -> Begin:
    """Starts a processor of that hub and container."""
    if request.param is JavaScriptProcessor:
        try:
            fetched_javascript_client()
        except ServerUnavailableError as error:
            missing(str(error))
    return lambda: request.param(eventhubs_server, event_hub, azurite_server, blob_container)


@pytest.fixture
def blobs(azurite_server: AzuriteServer, blob_container: str) -> Iterator[ContainerClient]:
    with ContainerClient.from_connection_string(azurite_server.connection_string, blob_container) as client:
        yield client


def waited(done: Callable[[], bool], seconds: float = 60.0) -> bool:
    deadline = time.monotonic() + seconds
    while not done():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def fill(server: EventHubsServer, hub: str, *numbers: int) -> list[tuple[str, bytes]]:
    """An event with each of the numbers in each partition."""
    for partition in PARTITIONS:
        server.append(hub, [b"%d" % number for number in numbers], partition)
    return [(partition, b"%d" % number) for partition in PARTITIONS for number in numbers]


def test_a_processor_goes_on_after_the_checkpoints_of_the_one_before(
    begin: Begin, eventhubs_server: EventHubsServer, event_hub: str, blobs: ContainerClient
) -> None:
    sent = fill(eventhubs_server, event_hub, *range(5))
    with begin() as first:
        assert first.wait(len(sent))
    assert sorted(first.got) == sent
    kept = {blob.name.partition("/")[2]: blob.metadata for blob in blobs.list_blobs(include=["metadata"])}
    # Of one hub, if it was not for the port, which JavaScript leaves out.
    namespace = "127.0.0.1" if isinstance(first, JavaScriptProcessor) else eventhubs_server.namespace
    assert {blob.name.partition("/")[0] for blob in blobs.list_blobs()} == {namespace}
    last = {partition: eventhubs_server.events(event_hub, partition)[-1] for partition in PARTITIONS}
    for partition in PARTITIONS:
        checkpoint = kept[f"{event_hub}/$default/checkpoint/{partition}"]
        assert checkpoint == {"offset": last[partition].offset, "sequencenumber": "4"}
        ownership = kept[f"{event_hub}/$default/ownership/{partition}"]
        assert not ownership["ownerid"]  # it was given back
    later = fill(eventhubs_server, event_hub, 5, 6)
    with begin() as second:
        assert second.wait(len(later))
        assert not second.wait(len(later) + 1, 0.5)
    assert sorted(second.got) == later


def test_two_processors_share_the_partitions_and_lose_nothing(begin: Begin, eventhubs_server: EventHubsServer, event_hub: str) -> None:
    sent = fill(eventhubs_server, event_hub, *range(5))
    with begin() as first:
        assert first.wait(len(sent))
        before = len(eventhubs_server.admissions(event_hub))
        with begin() as second:
            # Who takes over is let in with the same epoch, 0, and drives out who was there.
            assert waited(lambda: len(eventhubs_server.admissions(event_hub)) >= before + 2)
            assert {reader.epoch for reader in eventhubs_server.admissions(event_hub)} == {0}
            sent += fill(eventhubs_server, event_hub, *range(5, 10))
            assert waited(lambda: heard(first) | heard(second) == set(sent))
            assert second.got
    assert len(eventhubs_server.readers(event_hub)) == 0


def heard(processor: EventProcessor) -> set[tuple[str, bytes]]:
    """What it has been given up to now."""
    processor.wait(len(processor.got) + 1, 0.05)
    return set(processor.got)


def test_a_processor_whose_connections_break_goes_on_where_it_was(begin: Begin, eventhubs_server: EventHubsServer, event_hub: str) -> None:
    sent = fill(eventhubs_server, event_hub, 0)
    with begin() as processor:
        assert processor.wait(len(sent))
        eventhubs_server.drop_connections()
        sent += fill(eventhubs_server, event_hub, 1)
        assert waited(lambda: bool(processor.wait(len(sent), 0.1)))
    assert not Counter(sent) - Counter(processor.got)


def test_a_processor_with_threads_and_no_store_reads_every_partition(eventhubs_server: EventHubsServer, event_hub: str) -> None:
    sent = fill(eventhubs_server, event_hub, *range(3))
    got: list[tuple[str, bytes]] = []

    def events(context: Any, found: list[EventData]) -> None:
        got.extend((context.partition_id, b"".join(event.body)) for event in found)  # type: ignore[arg-type]

    client = EventHubConsumerClient.from_connection_string(
        eventhubs_server.connection_string(), "$Default", eventhub_name=event_hub, socket_timeout=0.02
    )
    with closing(client):
        given = {"starting_position": "-1", "max_wait_time": 0.05}
        thread = threading.Thread(target=client.receive_batch, args=(events,), kwargs=given, daemon=True)
        thread.start()
        assert waited(lambda: len(got) >= len(sent))
    thread.join(60)
    assert sorted(got) == sent


def test_javascript_names_its_blobs_after_the_address_that_it_connects_to(
    eventhubs_server: EventHubsServer, event_hub: str, azurite_server: AzuriteServer, blob_container: str, blobs: ContainerClient
) -> None:
    """And not after the namespace, as the client for Python does: who goes on with its checkpoints has to know."""
    try:
        fetched_javascript_client()
    except ServerUnavailableError as error:
        missing(str(error))
    eventhubs_server.append(event_hub, [b"0"], "0")
    elsewhere = eventhubs_server.connection_string().replace(eventhubs_server.namespace, "shop.servicebus.windows.net")
    storage = {"storage": azurite_server.connection_string, "container": blob_container, "checkpoint": True}
    balancing = {"updateIntervalInMs": CYCLE_SECONDS * 1000, "strategy": "greedy"}
    with JavaScriptClient(elsewhere) as client:
        number = client.subscribe(
            event_hub, start="earliest", endpoint=f"sb://{eventhubs_server.namespace}", balancing=balancing, **storage
        )
        assert waited(lambda: any("/checkpoint/" in blob.name for blob in blobs.list_blobs()))
        client.unsubscribe(number)
    assert {blob.name.partition("/")[0] for blob in blobs.list_blobs()} == {"127.0.0.1"}
