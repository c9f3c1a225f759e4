"""Azure's EventProcessor and streamkit take turns on one container: each goes on exactly where the other was, and nothing is lost.

Six turns: the processor, streamkit, the processor, streamkit, the processor, and the other processor: they are Azure's own, for Python and
for JavaScript. Each side is stopped and killed, with events delivered that are not checkpointed. What may come again is computed from the
blobs, in the words of Azure's SDKs, and exactly that comes again.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from streamkit_sandbox.azurite import AzuriteServer
from streamkit_sandbox.eventhubs.server import EventHubsServer

from tests.promise.kcl.hand_over import Delivery, Proof, StreamkitWorker, Turn
from tests.promise.processors.peers import PEERS, Processor, Row, Site, rows_of

pytestmark = pytest.mark.integration

EXPIRY_SECONDS = 5
LEASE_SECONDS = 8
"""Who stands still for some seconds must not lose one: what it had would come again."""
PARTITIONS = ("0", "1", "2", "3")


class Story:
    """The hub, the container, and what has happened so far."""

    def __init__(self, site: Site, folder: Path) -> None:
        self.site = site
        self._folder = folder
        self.proof = Proof[Row]()
        self.written = 0
        """Events in each partition."""

    def write(self, *what: str) -> None:
        """These in each partition: `go`, or `hold`, where streamkit waits to be stopped."""
        for partition in PARTITIONS:
            bodies = [f"{partition} {number} {what}".encode() for number, what in enumerate(what, self.written)]
            self.site.server.append(self.site.hub, bodies, partition)
        self.written += len(what)

    def rows(self) -> dict[str, Row]:
        """As the blobs are now; what they name is an event that is there."""
        rows = rows_of(self.site)
        for partition, row in rows.items():
            events = self.site.server.events(self.site.hub, partition)
            assert row.offset == (events[row.sequence].offset if row.sequence >= 0 else "-1"), (partition, row)
        return rows

    def stands(self, sequence: int) -> bool:
        """Whether all partitions are checkpointed there."""
        rows = self.rows()
        return set(rows) == set(PARTITIONS) and {row.sequence for row in rows.values()} == {sequence}

    def owners(self) -> set[str]:
        return {row.owner for row in self.rows().values()}

    def epochs(self, partition: str) -> list[int]:
        """Of streamkit's links, as the service has let them in. Those of processors have level 0."""
        admitted = self.site.server.admissions(self.site.hub)
        return [one.epoch for one in admitted if one.partition == partition and one.epoch]

    @contextlib.contextmanager
    def processor(self, peer: str, checkpoints: int | None) -> Iterator[Processor]:
        """A turn of Azure's; of each partition it checkpoints only so many events."""
        name = f"{peer}-{len(self.proof.turns) + 1}"
        began, before = time.monotonic(), self.rows()
        with PEERS[peer](self.site, self._folder, name, checkpoints) as processor:
            yield processor
            self._over(Turn(name, processor.deliveries(), {}, {}, before, self.rows(), time.monotonic() - began))

    @contextlib.contextmanager
    def streamkit(self) -> Iterator[StreamkitWorker]:
        """A turn of `streamkit run`."""
        name = f"streamkit-{len(self.proof.turns) + 1}"
        began, before = time.monotonic(), self.rows()
        worker = self._worker(name)
        try:
            yield worker
        finally:
            worker.end()
        times = worker.times("begin"), worker.times("ended")
        self._over(Turn(name, worker.deliveries(), *times, before, self.rows(), time.monotonic() - began))

    def _worker(self, name: str, expiry_seconds: int = EXPIRY_SECONDS) -> StreamkitWorker:
        return StreamkitWorker(
            self._folder,
            name,
            self.site.server.settings()
            | {
                "STREAMKIT_STORE": "azureblob",
                "STREAMKIT_AZUREBLOB__CONNECTION_STRING": self.site.storage,
                "STREAMKIT_AZUREBLOB__CONTAINER": self.site.container,
                "STREAMKIT_AZUREBLOB__PROCESSOR_EXPIRY": f"{expiry_seconds}s",
                "STREAMKIT_STREAM": self.site.hub,
                "STREAMKIT_GROUP": self.site.group,
                "STREAMKIT_LEASE_DURATION": f"{LEASE_SECONDS}s",
                "STREAMKIT_MAX_BATCH": "1",
                "STREAMKIT_CHECKPOINT_INTERVAL": "500ms",
                "STREAMKIT_START": "earliest",
            },
        )

    def refusal(self) -> str:
        """What a worker of streamkit says that is started now: it ends by itself, having done nothing."""
        readers = len(self.site.server.admissions(self.site.hub))
        checkpoints = {partition: (row.offset, row.sequence) for partition, row in self.rows().items()}
        worker = self._worker(f"refused-{time.monotonic_ns()}", expiry_seconds=60)
        try:
            said = worker.refusal()
        finally:
            worker.end()
        assert not worker.deliveries()
        assert len(self.site.server.admissions(self.site.hub)) == readers, "it has cut off nobody"
        assert {partition: (row.offset, row.sequence) for partition, row in self.rows().items()} == checkpoints
        return said

    def _over(self, turn: Turn[Row]) -> None:
        self.proof.turns.append(turn)
        self.proof.prove_turn(turn)

    def has_all(self, deliveries: Callable[[], list[Delivery]]) -> bool:
        """Whether everything that was written has been delivered, in this turn or an earlier one."""
        earlier = {(one.shard, one.place.sequence) for turn in self.proof.turns for one in turn.deliveries}
        now = {(one.shard, one.place.sequence) for one in deliveries()}
        return earlier | now >= {(partition, number) for partition in PARTITIONS for number in range(self.written)}

    def until(self, condition: Callable[[], bool], what: str, said: Callable[[], str] = str, seconds: float = 90) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, f"{what}: not within {seconds:g} s\n{said()}"
            time.sleep(0.1)


@pytest.fixture
def story(
    request: pytest.FixtureRequest, javascript_client: None, azurite_server: AzuriteServer, blob_container: str, tmp_path: Path
) -> Iterator[Story]:
    """With offsets that are numbers, and with such as hubs with geo-replication have."""
    with EventHubsServer({"Orders": len(PARTITIONS)}, consumer_groups=["Billing"], opaque_offsets=request.param == "opaque") as server:
        site = Site(server, "Orders", "Billing", azurite_server.connection_string, blob_container, EXPIRY_SECONDS)
        told = Story(site, tmp_path)
        yield told
    print(told.proof.figures())


@pytest.fixture(scope="module")
def javascript_client() -> None:
    """Fetched before the test's time begins."""
    from streamkit_sandbox.errors import ServerUnavailableError
    from streamkit_sandbox.eventhubs_js import fetched_javascript_client
    from streamkit_sandbox.pytest_plugin import missing

    try:
        fetched_javascript_client()
    except ServerUnavailableError as error:
        missing(str(error))


@pytest.mark.parametrize(
    ("peer", "other", "story"),
    [("python", "javascript", "numbers"), ("javascript", "python", "opaque")],
    ids=["python", "javascript"],
    indirect=["story"],
)
def test_azures_processor_and_streamkit_hand_a_hub_back_and_forth(story: Story, peer: str, other: str) -> None:
    story.write(*["go"] * 8)
    with story.processor(peer, checkpoints=5) as processor:
        story.until(lambda: story.has_all(processor.deliveries) and story.stands(4), "read, and checkpointed in part", processor.said)
        said = story.refusal()
        assert "another program reads with this group, and has last shown that it lives" in said
        assert "stop every EventProcessor of the group" in said
        assert any(owner in said for owner in story.owners())
        processor.stop()
    assert story.stands(4)
    assert story.owners() == {""}, "given back"

    story.write("go", "go", "hold", "go", "go")
    with story.streamkit() as worker:
        worker.until(lambda: len(worker.held()) == len(PARTITIONS), 60, "held in each partition")
        assert all(owner.startswith("streamkit:") for owner in story.owners())
        worker.stop()
    assert story.stands(10)
    assert story.owners() == {""}, "given back"

    story.write(*["go"] * 6)
    with story.processor(peer, checkpoints=4) as processor:
        story.until(lambda: story.has_all(processor.deliveries) and story.stands(14), "read, and checkpointed in part", processor.said)
        processor.kill()
        assert "another program reads with this group" in story.refusal(), "it counts as alive"
    assert all(story.owners()), "left behind"

    story.write("go", "go", "hold", "go", "go")
    story.until(lambda: time.time() > max(row.shown for row in story.rows().values()) + EXPIRY_SECONDS + 1, "it counts as dead")
    with story.streamkit() as worker:
        worker.until(lambda: len(worker.held()) == len(PARTITIONS), 60, "held in each partition")
        worker.until(lambda: story.stands(20), 60, "all before that is checkpointed")
        worker.kill()
    assert all(owner.startswith("streamkit:") for owner in story.owners()), "left behind"

    with story.processor(peer, checkpoints=2) as processor:
        story.until(lambda: story.has_all(processor.deliveries) and story.stands(22), "read, and checkpointed in part", processor.said)
        processor.stop()
    story.write("go")
    with story.processor(other, checkpoints=None) as processor:
        story.until(lambda: story.has_all(processor.deliveries) and story.stands(story.written - 1), "all is read", processor.said)
        processor.stop()
    assert story.owners() == {""}, "given back"
    for partition in PARTITIONS:
        epochs = story.epochs(partition)
        assert epochs == sorted(epochs)
        assert len(set(epochs)) == 2, "each turn of streamkit has one of its own, although the processors' checkpoints have wiped ours"
    story.proof.prove_whole(dict.fromkeys(PARTITIONS, story.written), {})
