"""The KCL and streamkit take turns on one lease table: each goes on exactly where the other was, inside aggregates and across reshards.

Five turns: KCL, streamkit, KCL, streamkit, KCL. The KCL is the real one. Each side is stopped once and killed once, always in the middle
of an aggregate, the KCL with records delivered that it has not checkpointed. Shards split and merge while nobody works, and once under
streamkit. What may come again is computed from the table's own columns, and exactly that comes again.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.promise.aws import client, settings
from tests.promise.kcl.hand_over import Delivery, Place, Proof, Row, StreamkitWorker, Turn, lease_rows
from tests.promise.kcl.writing import Shard, Stream

pytestmark = pytest.mark.integration

LEASE_SECONDS = 8
"""Each is waited for twice, after a kill; who stands still for some seconds must not lose one: what it had would come again."""
AGGREGATE = 10
INSIDE = 3
"""Where streamkit is held in an aggregate."""


@pytest.fixture
def clients(kinesis_server, dynamodb_server) -> tuple[Any, Any]:
    """Kinesis and DynamoDB."""
    return client("kinesis", kinesis_server.endpoint_url), client("dynamodb", dynamodb_server.endpoint_url)


class Story:
    """The stream, the table, and what has happened so far."""

    def __init__(self, kinesis_server: Any, dynamodb_server: Any, clients: tuple[Any, Any], folder: Path) -> None:
        self._kinesis_url, self._dynamodb_url = kinesis_server.endpoint_url, dynamodb_server.endpoint_url
        kinesis, self._dynamodb = clients
        self._folder = folder
        self.stream = Stream(kinesis, kinesis_server.create_stream(3))
        self._application = f"kcl-{self.stream.name}"
        self.proof = Proof[Row]()

    def table(self) -> dict[str, Row]:
        """As it is now."""
        return lease_rows(self._dynamodb, self._application)

    def rows(self) -> dict[str, Row]:
        """As the last turn left it."""
        return dict(self.proof.turns[-1].after) if self.proof.turns else {}

    @contextlib.contextmanager
    def kcl(self, name: str, *, freeze_after: int | None) -> Iterator[Any]:
        """A turn of the KCL; with `freeze_after` its checkpoints stop inside an aggregate after so many records of a shard."""
        from streamkit_sandbox.kcl import KclCheckpoints, KclDaemon

        began, before = time.monotonic(), self.rows()
        checkpoints = KclCheckpoints(freeze_after=freeze_after, freeze_inside=True)
        urls = {"kinesis_url": self._kinesis_url, "dynamodb_url": self._dynamodb_url}
        with KclDaemon(
            self.stream.name, self._application, worker=name, checkpoints=checkpoints, failover_seconds=LEASE_SECONDS, **urls
        ) as daemon:
            yield daemon
            deliveries = kcl_deliveries(daemon)
            begun = {one.shard: one.time for one in reversed(daemon.events()) if one.name == "initialize"}
            ended = {one.shard: one.time for one in reversed(daemon.events()) if one.name == "shard_ended"}
        self._over(Turn(name, deliveries, begun, ended, before, self.table(), time.monotonic() - began))

    @contextlib.contextmanager
    def streamkit(self, name: str) -> Iterator[StreamkitWorker]:
        """A turn of `streamkit run`."""
        began, before = time.monotonic(), self.rows()
        environment = settings(self._kinesis_url, self._dynamodb_url) | {
            "STREAMKIT_STREAM": self.stream.name,
            "STREAMKIT_GROUP": self._application,
            "STREAMKIT_LEASE_DURATION": f"{LEASE_SECONDS}s",
            "STREAMKIT_MAX_BATCH": "1",
            "STREAMKIT_CHECKPOINT_INTERVAL": "500ms",
            "STREAMKIT_START": "earliest",
        }
        worker = StreamkitWorker(self._folder, name, environment)
        try:
            yield worker
        finally:
            worker.end()
        times = worker.times("begin"), worker.times("ended")
        self._over(Turn(name, worker.deliveries(), *times, before, self.table(), time.monotonic() - began))

    def _over(self, turn: Turn[Row]) -> None:
        self.proof.turns.append(turn)
        self.proof.prove_turn(turn)

    def has_all(self, deliveries: Callable[[], list[Delivery]]) -> bool:
        """Whether everything that was written has been delivered, in this turn or an earlier one."""
        earlier = {(one.key, one.number) for turn in self.proof.turns for one in turn.deliveries}
        return earlier | {(one.key, one.number) for one in deliveries()} >= self.written()

    def written(self) -> set[tuple[str, int]]:
        return {(key, number) for key, count in self.stream.written.items() for number in range(count)}


@pytest.fixture(scope="module")
def kcl_jars() -> None:
    """Fetched before the test's time begins."""
    from streamkit_sandbox.errors import ServerUnavailableError
    from streamkit_sandbox.kcl import fetched_kcl
    from streamkit_sandbox.pytest_plugin import missing

    try:
        fetched_kcl()
    except ServerUnavailableError as error:
        missing(str(error))


@pytest.fixture
def story(kcl_jars, kinesis_server, dynamodb_server, clients: tuple[Any, Any], tmp_path: Path) -> Iterator[Story]:
    told = Story(kinesis_server, dynamodb_server, clients, tmp_path)
    yield told
    print(told.proof.figures())


def kcl_deliveries(daemon: Any) -> list[Delivery]:
    return [Delivery(one.time, one.shard, Place(one.sequence, one.sub_sequence), *_said(one.data)) for one in daemon.records()]


def _said(data: bytes) -> tuple[str, int]:
    key, number, _ = data.decode().split()
    return key, int(number)


def are_inside(rows: dict[str, Row], shards: list[Shard], *subs: int) -> bool:
    """Whether all of these leases stand in the middle of an aggregate, if given at one of these sub-sequences."""
    return all(rows[shard.id].checkpoint.isdigit() and rows[shard.id].sub_sequence in (subs or range(1, AGGREGATE - 1)) for shard in shards)


@pytest.mark.timeout(300)
def test_the_kcl_and_streamkit_hand_a_table_back_and_forth(story: Story) -> None:
    stream = story.stream
    first = stream.open_shards()

    stream.write([1, 1, 1, AGGREGATE, 1, AGGREGATE, 1])
    with story.kcl("kcl-1", freeze_after=8) as kcl:
        kcl.wait_until(lambda daemon: story.has_all(lambda: kcl_deliveries(daemon)))
        kcl.stop()
    assert are_inside(story.rows(), first)

    stream.write([1, AGGREGATE, 1, 1], hold=INSIDE)
    with story.streamkit("streamkit-1") as worker:
        worker.until(lambda: len(worker.held()) == len(first), 60, "held in each shard")
        worker.stop()
    assert are_inside(story.rows(), first, INSIDE)
    assert all(row.owner is None for row in story.rows().values()), "given back"

    stream.split(first[0])
    stream.merge(first[1], first[2])
    second = stream.open_shards()
    stream.write([1, 1, 1, AGGREGATE, 1, AGGREGATE, 1])
    with story.kcl("kcl-2", freeze_after=12) as kcl:
        kcl.wait_until(lambda daemon: story.has_all(lambda: kcl_deliveries(daemon)))
        kcl.kill()
    assert are_inside(story.rows(), second)
    assert all(story.rows()[shard.id].is_ended for shard in first)

    stream.write([1, AGGREGATE, 1])
    with story.streamkit("streamkit-2") as worker:
        worker.until(lambda: story.has_all(worker.deliveries), 60, "everything is read")
        stream.split(second[-1])
        third = stream.open_shards()
        stream.write([1, AGGREGATE, 1, 1], hold=INSIDE)
        worker.until(lambda: len(worker.held()) == len(third), 60, "held in each shard")
        worker.until(lambda: are_inside(story.table(), third, INSIDE - 1), 60, "all before that is checkpointed")
        worker.kill()
    assert all((story.rows()[shard.id].owner or "").startswith("streamkit-2") for shard in third), "left behind"

    with story.kcl("kcl-3", freeze_after=None) as kcl:
        kcl.wait_until(lambda daemon: story.has_all(lambda: kcl_deliveries(daemon)))
        kcl.stop()

    listed = stream.shards()
    story.proof.prove_whole(stream.written, {shard.id: shard.parents for shard in listed.values()})
    rows = story.rows()
    for shard in listed.values():
        if shard.is_open:
            assert rows[shard.id].parents == set(shard.parents)
        elif shard.id in rows:  # an ended lease goes when its children have begun
            assert rows[shard.id].is_ended
            assert rows[shard.id].children == {one.id for one in listed.values() if shard.id in one.parents}
