"""The status page itself: what it answers, what it refuses, what it never says, and that it harms nobody."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from streamkit import status as status_module
from streamkit.app import App, run
from streamkit.builtin.memory import MemoryLog
from streamkit.engine.runtime import ThreadRuntime
from streamkit.engine.status import AppStatus, PartitionStatus, Reason, not_ready, unborn
from streamkit.errors import ConfigurationError
from streamkit.model import Checkpoint, Lease, Partition, Position, Record, StartPosition
from streamkit.processing import Context, record_processor
from streamkit.status import StatusPage
from streamkit.telemetry.names import METRICS
from tests.promise.page import Page, Worker, free_port, until

PATIENCE = 20.0


@pytest.fixture(autouse=True)
def log(monkeypatch: pytest.MonkeyPatch) -> Iterator[MemoryLog]:
    for name in [name for name in os.environ if name.upper().startswith("STREAMKIT_")]:
        monkeypatch.delenv(name)
    MemoryLog.forget()
    log = MemoryLog.named()
    for stream in ("orders", "payments"):
        log.create(stream, 1)
        for number in range(3):
            log.append(stream, b"%d" % number, now=1e9)
    yield log
    MemoryLog.forget()


@record_processor
def handle(record: Record, context: Context) -> None:
    """Nothing to do."""


def app(target: object = handle, stream: str = "orders", **more: Any) -> App:
    return App(target, broker="memory", stream=stream, group=f"of-{stream}", **more)


@pytest.fixture
def page() -> Iterator[Page]:
    """Of an app that has done its work."""
    found = Page(free_port())
    worker = Worker((app(status_address=found.port, worker="w1"),), found).start()
    until(lambda: found.is_ready and found.state("0") == "caught up")
    yield found
    worker.stop()


# -- answers ------------------------------------------------------------------------------------------------------------


def test_status_says_who_reads_what_and_how_far(page: Page) -> None:
    body = json.loads(page.ask("/status")[1])
    (one,) = body["apps"]
    assert one.pop("uptime_seconds") > 0
    (line,) = one.pop("partitions")
    assert one == {
        "broker": "memory",
        "streams": ["orders"],
        "group": "of-orders",
        "worker": "w1",
        "ownership": "group",
        "phase": "running",
        "ready": True,
        "reasons": [],
    }
    line.pop("saved"), line.pop("in_flight")
    assert line == {
        "stream": "orders",
        "partition": "0",
        "state": "caught up",
        "owner": "w1",
        "epoch": 1,
        "position": "2",
        "lag_records": 0,
        "lag_seconds": 0.0,
        "parked": 0,
        "problem": "",
        "reason": None,
    }


def test_metrics_hold_every_name_and_what_was_done(page: Page) -> None:
    text = page.ask("/metrics")[1]
    assert [line.split()[2] for line in text.splitlines() if line.startswith("# HELP")] == [metric.name for metric in METRICS]
    values = page.metrics()
    labels = 'broker="memory",group="of-orders",partition="0",stream="orders"'
    assert values[f"streamkit_records_total{{{labels}}}"] == 3
    assert values[f"streamkit_processed_bytes_total{{{labels}}}"] == 3
    assert values[f"streamkit_calls_total{{{labels}}}"] >= 1
    assert values[f"streamkit_lag_records{{{labels}}}"] == 0
    assert values[f"streamkit_parked_keys{{{labels}}}"] == 0
    assert values['streamkit_assigned_partitions{broker="memory",group="of-orders"}'] == 1
    assert values['streamkit_ready{broker="memory",group="of-orders"}'] == 1


@pytest.mark.parametrize("path", status_module.PATHS)
def test_each_page_answers_get_and_head_and_nothing_else(page: Page, path: str) -> None:
    assert page.ask(path)[0] == 200
    assert page.ask(path, "HEAD") == (200, "")
    for method in ("POST", "PUT", "DELETE", "PATCH"):
        assert page.ask(path, method)[0] == 405


@pytest.mark.parametrize("path", ["/", "/x", "/status/", "/live/../etc/passwd"])
def test_an_unknown_path_is_told_which_there_are(page: Page, path: str) -> None:
    status, body = page.ask(path)
    assert (status, json.loads(body)) == (404, {"error": "there is no such page", "paths": list(status_module.PATHS)})


def test_several_apps_of_one_run_share_one_page() -> None:
    found = Page(free_port())
    worker = Worker((app(status_address=found.port), app(stream="payments")), found).start()
    until(lambda: found.is_ready and len(json.loads(found.ask("/status")[1])["apps"]) == 2)
    apps = json.loads(found.ask("/status")[1])["apps"]
    assert [one["group"] for one in apps] == ["of-orders", "of-payments"]
    assert found.metrics()['streamkit_ready{broker="memory",group="of-payments"}'] == 1
    worker.stop()


def test_an_app_that_has_ended_in_order_leaves_the_page_of_the_others_green() -> None:
    found = Page(free_port())
    worker = Worker((app(status_address=found.port), app(stream="payments", stop="at_end")), found).start()
    until(lambda: found.is_ready and json.loads(found.ask("/status")[1])["apps"][1]["phase"] == "over")
    assert found.is_ready
    worker.stop()


def test_no_answer_holds_a_password_even_if_an_exception_does() -> None:
    @record_processor
    def fails(record: Record, context: Context) -> None:
        raise OSError("cannot log in to postgres://me:hush-hush@db")

    found = Page(free_port())
    worker = Worker((app(fails, status_address=found.port, retry_attempts=1),), found).start()
    until(lambda: found.reason("0").get("kind") == "halt")
    answers = "".join(found.ask(path)[1] for path in status_module.PATHS)
    assert "postgres://me:**********@db" in answers
    assert "hush" not in answers
    worker.stop()


def test_what_settings_keep_secret_is_masked_wherever_it_turns_up() -> None:
    runtime = ThreadRuntime()
    secret = {"bootstrap_servers": "nowhere.invalid:1", "sasl_password": "hush-hush", "options": {"ssl.key.password": "s3cret"}}
    one = App(handle, broker="kafka", stream="orders", group="hush-hush", worker="of s3cret", kafka=secret)
    assembled = one.assemble(runtime)
    assert one._view is not None
    opened = StatusPage([one._view], "0")
    body = Page(int(opened.url.rpartition(":")[2])).ask("/status")[1]
    opened.close()
    assembled.stop()
    runtime.stop()
    (shown,) = json.loads(body)["apps"]
    assert (shown["group"], shown["worker"]) == ("**********", "of **********")


# -- live ---------------------------------------------------------------------------------------------------------------


def test_live_turns_red_when_the_control_thread_hangs_and_says_where(monkeypatch: pytest.MonkeyPatch) -> None:
    gate = threading.Event()

    def hang() -> None:
        gate.wait(PATIENCE)

    monkeypatch.setattr(status_module, "LIVE_SECONDS", 0.3)
    found = Page(free_port())
    made = app(status_address=found.port)
    worker = Worker((made,), found).start()
    until(lambda: found.is_ready)
    assert found.ask("/live")[0] == 200
    assert made._supervisor is not None
    made._supervisor._runtime.control.post(hang)
    until(lambda: found.ask("/live")[0] == 503)
    body = json.loads(found.ask("/live")[1])
    assert body["reasons"][0].startswith("the engine has not been seen at work for ")
    assert "gate.wait(PATIENCE)" in body["stack"]
    gate.set()
    until(lambda: found.ask("/live")[0] == 200)
    worker.stop()


# -- where it is --------------------------------------------------------------------------------------------------------


def test_an_address_in_use_refuses_to_start(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        one = app(status_address=port)
        with pytest.raises(SystemExit) as end:
            run(one)
        with pytest.raises(ConfigurationError, match="STREAMKIT_STATUS_ADDRESS: cannot listen on"):
            asyncio.run(one.serve())
    assert end.value.code == 2
    err = capsys.readouterr().err
    assert f"streamkit: STREAMKIT_STATUS_ADDRESS: cannot listen on 127.0.0.1:{port}: Address already in use\n" in err
    assert "  fix: choose another port, or 0 for any that is free\n" in err


def test_a_host_that_is_not_ours_refuses_to_start() -> None:
    with pytest.raises(ConfigurationError, match=r"cannot listen on 203\.0\.113\.7:8080"):
        asyncio.run(app(status_address="203.0.113.7:8080").serve())


def test_apps_that_name_different_addresses_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        run(app(status_address="1234"), app(stream="payments", status_address="1235"))
    assert end.value.code == 2
    assert "apps of one run share one status page, but they name 127.0.0.1:1234 and 127.0.0.1:1235" in capsys.readouterr().err


def test_port_0_takes_a_free_one_and_says_which_and_only_loopback_hears_it(capsys: pytest.CaptureFixture[str]) -> None:
    seen: list[str] = []

    @record_processor
    def look(record: Record, context: Context) -> None:
        seen.extend(re.findall(r"streamkit: status page on http://(\S+):(\d+)\n", capsys.readouterr().err)[0] if not seen else ())
        seen.append(Page(int(seen[1])).ask("/live")[1])

    run(app(look, status_address="0", stop="at_end"))
    assert seen[0] == "127.0.0.1"
    assert seen[2] == '{"live":true}'


# -- harmless -----------------------------------------------------------------------------------------------------------


def test_it_leaves_signals_alone_inside_another_program() -> None:
    during: list[object] = []

    def handlers() -> list[object]:
        return [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]

    @record_processor
    def look(record: Record, context: Context) -> None:
        during.append(handlers())

    async def scene() -> None:
        before = handlers()
        await app(look, status_address="0", stop="at_end").serve()
        assert [*during, handlers()] == [before] * 4

    asyncio.run(scene())


def test_a_visitor_who_never_finishes_holds_up_no_shutdown() -> None:
    found = Page(free_port())
    worker = Worker((app(status_address=found.port),), found).start()
    until(lambda: found.is_ready)
    with socket.create_connection(("127.0.0.1", found.port)) as idle:
        idle.sendall(b"GET /status HTTP/1.1\r\nHost: x\r\n")
        began = time.monotonic()
        worker.stop()
        assert time.monotonic() - began < 15, "it would wait for the visitor for ever"
    assert worker.ended == [0]


def test_a_page_that_fails_ends_alone(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    async def fails(*_: object, **__: object) -> None:
        raise SystemExit(3)

    monkeypatch.setattr("uvicorn.Server.serve", fails)
    seen: list[object] = []

    @record_processor
    def note(record: Record, context: Context) -> None:
        seen.append(record.value)

    asyncio.run(app(note, status_address="0", stop="at_end").serve())
    assert seen == [b"0", b"1", b"2"]
    assert "the status page has ended: RuntimeError: uvicorn exited with 3" in caplog.text


def test_without_the_setting_its_packages_are_not_loaded(tmp_path: Path) -> None:
    code = (
        "import sys, streamkit, streamkit.cli, streamkit.cli.partitions\n"
        "print([n for n in ('starlette', 'uvicorn', 'prometheus_client', 'streamkit.status') if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "[]\n"


# -- readiness, by itself -------------------------------------------------------------------------------------------------


def standing(*reasons: Reason, phase: Any = "running", problem: str = "", problems: tuple[str, ...] = ()) -> AppStatus:
    lines = [
        PartitionStatus(Partition("orders", str(number)), "running", 1, None, None, 0, problem, reason=reason)
        for number, reason in enumerate(reasons)
    ]
    return AppStatus("memory", ("orders",), "g", "w1", "group", phase, 1.0, 0.0, tuple(lines), problems)


@pytest.mark.parametrize(
    ("kind", "is_red"), [("halt", True), ("stuck", True), ("store", True), ("retry", False), ("parent", False), ("claiming", False)]
)
def test_what_makes_readiness_red(kind: Any, is_red: bool) -> None:
    assert bool(not_ready(standing(Reason(kind, "why")))) is is_red


def test_a_claim_is_red_only_when_it_fails() -> None:
    assert not_ready(standing(Reason("claiming", "cannot be claimed: no"), problem="no")) == ["orders/0: cannot be claimed: no"]


def test_readiness_of_an_app_without_partitions_hangs_on_its_phase_and_its_problems() -> None:
    assert not_ready(standing()) == []
    assert not_ready(standing(phase="starting")) == ["group g: broker and store have not answered yet"]
    assert not_ready(standing(phase="draining")) == ["group g: draining"]
    assert not_ready(standing(phase="over")) == []
    assert not_ready(standing(problems=("reading fails",))) == ["group g: reading fails"]


def test_partitions_without_a_lease_wait_for_parents_that_have_not_ended_and_so_do_their_children() -> None:
    root, child, grandchild = Partition("s", "a"), Partition("s", "b", parents=("a",)), Partition("s", "c", parents=("b", "x"))
    other = Partition("t", "b", parents=("a",))
    known = [grandchild, other, child, root]
    assert unborn(known, [Lease(root)]) == {child: ("a",), grandchild: ("b",)}
    ended = Lease(root, checkpoint=Checkpoint(root, StartPosition.after(Position.END)))
    assert unborn(known, [ended]) == {}, "their leases are about to be made"
    assert unborn(known, [Lease(root), Lease(child)]) == {grandchild: ("b",)}
