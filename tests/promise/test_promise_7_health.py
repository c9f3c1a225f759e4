"""Promise 7: visibly. What does not move says why, over HTTP and on the command line; who does its work is ready."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import pytest

from streamkit.app import App
from streamkit.builtin.memory import MemoryLog
from streamkit.cli.application import execute
from streamkit.errors import BrokerUnavailableError, StoreUnavailableError
from streamkit.model import Record
from streamkit.processing import Context, record_processor
from tests.promise.page import Page, Worker, free_port, until

_numbers = count()


@dataclass
class Scene:
    """A memory log of this process, and workers on it."""

    name: str
    log: MemoryLog
    gate: threading.Event = field(default_factory=threading.Event)
    """Lets stuck calls return."""
    workers: list[Worker] = field(default_factory=list)
    settings: dict[str, Any] = field(default_factory=dict)

    def write(self, partition: str, values: int = 3) -> None:
        for number in range(values):
            self.log.append("orders", b"%d" % number, partition=partition, now=1e9)

    def app(self, target: object, port: int | None, worker: str = "w1", **settings: Any) -> App:
        self.settings = {
            "broker": "memory",
            "stream": "orders",
            "group": "billing",
            "checkpoint_interval": "50ms",
            "memory": {"name": self.name},
            **settings,
        }
        return App(target, worker=worker, status_address=port, **self.settings)

    def start(self, target: object, worker: str = "w1", **settings: Any) -> Page:
        page = Page(free_port())
        self.run(page, self.app(target, page.port, worker, **settings))
        return page

    def run(self, page: Page, *apps: App) -> Worker:
        worker = Worker(apps, page).start()
        self.workers.append(worker)
        until(lambda: worker.ended or self._answers(page))
        return worker

    def _answers(self, page: Page) -> bool:
        try:
            return page.ask("/live")[0] == 200
        except OSError:
            return False

    def close(self) -> None:
        self.gate.set()
        self.log.faults.clear()
        for worker in self.workers:
            worker.stop()


@pytest.fixture
def scene(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> Iterator[Scene]:
    for name in [name for name in os.environ if name.upper().startswith("STREAMKIT_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(str(tmp_path))
    name = f"health-{next(_numbers)}"
    made = Scene(name, MemoryLog.named(name))
    yield made
    made.close()
    MemoryLog.forget(name)


@pytest.fixture
def partitions(scene: Scene, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[[Page], dict[str, Any]]:
    """`streamkit partitions --json` beside the worker of a page, by partition."""

    def ask(page: Page) -> dict[str, Any]:
        for name, value in (*scene.settings.items(), ("status_address", page.port)):
            if name == "memory":
                for key, one in value.items():
                    monkeypatch.setenv(f"STREAMKIT_MEMORY__{key.upper()}", str(one))
            else:
                monkeypatch.setenv(f"STREAMKIT_{name.upper()}", str(value))
        capsys.readouterr()
        assert execute(["partitions", "--json"]) == 0
        return {row["partition"]: row for row in json.loads(capsys.readouterr().out)}

    return ask


def troubled(gate: threading.Event) -> object:
    """Partition 0 is well; 1 rejects its second record, 2 fails at it, 3 hangs in it."""

    @record_processor(reject_on=(ZeroDivisionError,))
    def handle(record: Record, context: Context) -> None:
        if record.position.sequence == 1 and not gate.is_set():
            if record.partition.id == "1":
                raise ZeroDivisionError("a record that cannot be mended")
            if record.partition.id == "2":
                raise OSError("no database")
            if record.partition.id == "3":
                gate.wait()

    return handle


@record_processor
def handle(record: Record, context: Context) -> None:
    """Nothing to do."""


SLOW: dict[str, Any] = {"retry_backoff": "1h", "retry_max_backoff": "1h", "retry_attempts": 3, "stuck_after": "200ms"}


def test_a_halted_a_retrying_and_a_stuck_partition_each_show_why(scene: Scene, partitions: Callable[[Page], dict[str, Any]]) -> None:
    scene.log.create("orders", 4)
    for partition in "0123":
        scene.write(partition)
    page = scene.start(troubled(scene.gate), **SLOW)
    until(lambda: [page.reason(p).get("kind") for p in "0123"] == [None, "halt", "retry", "stuck"], page.partitions)
    until(lambda: page.state("0") == "caught up", page.partitions)
    lines = page.partitions()
    assert [lines[p]["state"] for p in "0123"] == ["caught up", "halted", "retrying", "stuck"]
    assert [lines[p]["position"] for p in "0123"] == ["2", "0", "0", "0"]
    halt, retry, stuck = (lines[p]["reason"] for p in "123")
    assert "record orders/1/1 failed after 1 attempt: ZeroDivisionError: a record that cannot be mended" in halt["text"]
    assert halt["since_seconds"] >= 0
    assert 0 < halt["next_seconds"] <= 30
    assert retry["text"].startswith("record orders/2/1: attempt 1 of 3 failed, again in ")
    assert retry["text"].endswith("s: OSError: no database")
    assert (retry["attempt"], 0 < retry["next_seconds"] <= 3600) == (1, True)
    assert stuck["since_seconds"] >= 0.2
    assert "gate.wait()" in stuck["stack"]
    red = page.reasons
    assert [reason.partition(":")[0] for reason in red] == ["orders/1", "orders/3"], "a retry may yet help"
    shown = partitions(page)
    assert {p: (shown[p]["state"], shown[p]["owner"], shown[p]["epoch"]) for p in "0123"} == {
        "0": ("caught up", "w1", 1),
        "1": ("halted", "w1", 1),
        "2": ("retrying", "w1", 1),
        "3": ("stuck", "w1", 1),
    }
    for partition, text in (("1", "cannot be mended"), ("2", "OSError: no database"), ("3", "a call of the processor has got nowhere")):
        assert text in shown[partition]["reason"]


def test_a_stuck_partition_of_a_group_stays_and_is_ready_again_when_the_call_returns(scene: Scene) -> None:
    scene.log.create("orders", 4)
    scene.write("3")
    page = scene.start(troubled(scene.gate), **SLOW)
    until(lambda: page.reason("3").get("kind") == "stuck", page.partitions)
    assert page.ask("/ready")[0] == 503
    assert page.ask("/live")[0] == 200, "a restart would only meet the same record again"
    assert page.metrics()['streamkit_stuck{broker="memory",group="billing",partition="3",stream="orders"}'] == 1
    scene.gate.set()
    until(lambda: page.is_ready and page.partitions()["3"]["position"] == "2", page.partitions)
    assert page.partitions()["3"]["epoch"] == 1, "it was never given away"


def test_a_stuck_partition_with_a_lease_is_given_up_for_others_to_take(scene: Scene) -> None:
    scene.log.create("orders", 1)
    scene.write("0")
    leases = {"ownership": "lease", "store": "memory", "lease_duration": "6s"}
    first = scene.start(hanging(scene.gate), "w1", stuck_after="200ms", **leases)
    until(lambda: first.reason("0").get("kind") == "stuck", first.partitions)
    second = scene.start(handle, "w2", **leases)
    until(lambda: second.partitions().get("0", {}).get("position") == "2", lambda: (first.partitions(), second.partitions()))
    assert second.is_ready
    assert not first.is_ready, "its call still runs"
    assert "given up" in first.reason("0")["text"]
    scene.gate.set()
    until(lambda: first.is_ready, first.partitions)
    assert first.partitions() == {}, "a standby now"


def hanging(gate: threading.Event, began: threading.Event | None = None) -> object:
    @record_processor
    def hangs(record: Record, context: Context) -> None:
        if began is not None:
            began.set()
        gate.wait()

    return hangs


@pytest.mark.parametrize("ownership", ["static", "lease"])
def test_a_gated_partition_names_the_parents_that_it_waits_for(
    scene: Scene, ownership: str, partitions: Callable[[Page], dict[str, Any]]
) -> None:
    (parent,) = scene.log.create("orders", 1, "kinesis")
    scene.log.append("orders", b"x", now=1e9)
    children = scene.log.split("orders", parent.id)
    shape: dict[str, Any] = {"memory": {"name": scene.name, "shape": "kinesis"}, "store": "memory", "ownership": ownership}
    page = scene.start(hanging(scene.gate), stuck_after="1h", **shape)
    for child in children:
        until(lambda child=child: page.reason(child.id).get("kind") == "parent", page.partitions)  # type: ignore[misc]
        line = page.partitions()[child.id]
        assert (line["state"], line["reason"]["parents"], line["epoch"]) == ("waiting", [parent.id], 0)
    assert page.is_ready, "waiting for a parent is no fault"
    shown = partitions(page)
    assert {shown[child.id]["reason"] for child in children} == {f"waits for the end of {parent.id}"}
    assert shown[parent.id]["state"] == "running"
    scene.gate.set()
    until(lambda: all(page.state(child.id) == "caught up" for child in children), page.partitions)


def test_a_standby_without_partitions_is_ready(scene: Scene) -> None:
    scene.log.create("orders", 1)
    pages = [scene.start(handle, "w1"), scene.start(handle, "w2")]
    until(lambda: all(page.is_ready for page in pages))
    until(lambda: sorted(len(page.partitions()) for page in pages) == [0, 1])
    assert all(page.is_ready for page in pages)


def test_a_store_that_is_down_is_red_until_it_is_back(scene: Scene) -> None:
    scene.log.create("orders", 1)
    page = scene.start(handle)
    until(lambda: page.is_ready and page.partitions())
    scene.log.faults.fail("save", StoreUnavailableError("the disk is full"), times=1_000_000)
    scene.write("0")
    until(lambda: not page.is_ready)
    assert page.reasons == ["orders/0: the store: the disk is full"]
    assert page.reason("0")["kind"] == "store"
    assert page.partitions()["0"]["position"] == "2", "processing goes on meanwhile"
    scene.log.faults.clear()
    until(lambda: page.is_ready and page.partitions()["0"]["saved"] == "2", page.partitions)


def test_a_store_that_cannot_be_claimed_from_is_red(scene: Scene) -> None:
    scene.log.create("orders", 1)
    scene.log.faults.fail("claim", StoreUnavailableError("no route"), times=1_000_000)
    page = scene.start(handle)
    until(lambda: page.reasons == ["orders/0: the store: no route"], lambda: page.reasons)
    scene.log.faults.clear()
    until(lambda: page.is_ready)


def test_a_lease_store_that_is_down_makes_a_standby_red(scene: Scene) -> None:
    scene.log.create("orders", 1)
    leases = {"ownership": "lease", "store": "memory", "lease_duration": "6s"}
    first = scene.start(handle, "w1", **leases)
    until(lambda: first.is_ready and first.partitions())
    second = scene.start(handle, "w2", **leases)
    until(lambda: second.is_ready)
    scene.log.faults.fail("leases", StoreUnavailableError("no route"), times=1_000_000, worker="w2")
    until(lambda: second.reasons == ["group billing: the store: no route"], lambda: second.reasons)
    assert first.is_ready


def test_a_broker_that_cannot_be_read_is_red(scene: Scene) -> None:
    scene.log.create("orders", 1)
    page = scene.start(handle)
    until(lambda: page.is_ready)
    scene.log.faults.fail("poll", BrokerUnavailableError("gone for lunch"), times=1_000_000)
    until(lambda: page.reasons == ["group billing: reading fails: the broker does not answer"], lambda: page.reasons)
    scene.log.faults.clear()
    until(lambda: page.is_ready)


def test_before_broker_and_store_have_answered_and_during_the_drain_it_is_not_ready(scene: Scene) -> None:
    scene.log.create("orders", 1)
    scene.write("0")
    let_start = scene.log.faults.hold("discover")
    began = threading.Event()
    page = scene.start(hanging(scene.gate, began), drain_timeout="60s")
    assert page.reasons == ["group billing: broker and store have not answered yet"]
    assert page.ask("/live")[0] == 200
    let_start()
    until(lambda: page.is_ready and began.is_set())
    scene.workers[0].apps[0].stop()
    until(lambda: page.reasons == ["group billing: draining"], lambda: page.reasons)
    scene.gate.set()
