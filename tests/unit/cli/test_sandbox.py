"""`streamkit sandbox`: settings to paste, and the named error where the distribution is missing. No server is started."""

from __future__ import annotations

import contextlib
import json
import logging
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from streamkit_sandbox import catalog
from streamkit_sandbox.catalog import SandboxServer
from streamkit_sandbox.errors import ServerStartError, ServerUnavailableError

from streamkit.cli import sandbox

if TYPE_CHECKING:
    from tests.unit.cli.conftest import CommandLine


class FakeServer:
    def __init__(self) -> None:
        self.streams: list[tuple[str, int]] = []
        self.is_running = True
        self.folder: Path | None = None

    def settings(self) -> dict[str, str]:
        return {"STREAMKIT_BROKER": "kafka", "STREAMKIT_KAFKA__OPTIONS": '{"a": 1}'}

    def create_stream(self, name: str, partitions: int) -> None:
        self.streams.append((name, partitions))


class CtrlC:
    def wait(self, timeout: float) -> None:
        raise KeyboardInterrupt


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeServer]:
    fake = FakeServer()

    @contextlib.contextmanager
    def start() -> Iterator[FakeServer]:
        logging.getLogger("streamkit_sandbox").info("fetching Kafka")
        yield fake
        fake.is_running = False

    def start_in(folder: Path) -> contextlib.AbstractContextManager[FakeServer]:
        fake.folder = folder
        return start()

    @contextlib.contextmanager
    def missing() -> Iterator[FakeServer]:
        if fake.is_running:
            raise ServerUnavailableError("kinesis", "there is no Java", "install it")
        yield fake

    @contextlib.contextmanager
    def broken() -> Iterator[FakeServer]:
        if fake.is_running:
            raise ServerStartError("dynamodb", "it ended at once", "out of memory")
        yield fake

    servers = {"kafka": start, "kinesis": missing, "dynamodb": broken}
    entries = {name: SandboxServer(name, f"a fake {name}", begin) for name, begin in servers.items()}
    entries["kafka"] = replace(entries["kafka"], create_stream=FakeServer.create_stream)
    entries["kinesalite"] = SandboxServer("kinesalite", "a fake without a store", start, store=lambda server: {"STREAMKIT_STORE": "sqlite"})
    entries["kinesalite"] = replace(entries["kinesalite"], start_in=start_in)
    monkeypatch.setattr(catalog, "SERVERS", entries)
    monkeypatch.setattr(sandbox, "Event", CtrlC)
    logger = logging.getLogger("streamkit_sandbox")
    handlers, level = list(logger.handlers), logger.level
    logger.handlers.clear()
    yield fake
    logger.handlers[:] = handlers
    logger.setLevel(level)


def test_settings_are_ready_to_paste_and_ctrl_c_ends_the_server(cli: CommandLine, server: FakeServer) -> None:
    answer = cli("sandbox", "kafka", "--stream", "orders", "--partitions", "12")
    assert answer.code == 0
    assert answer.out == (
        "export STREAMKIT_BROKER=kafka\n"
        "export STREAMKIT_KAFKA__OPTIONS='{\"a\": 1}'\n"
        "export STREAMKIT_STREAM=orders\n"
        "export STREAMKIT_GROUP=sandbox\n"
    )
    assert answer.err.splitlines() == [
        "streamkit: fetching Kafka",
        "streamkit: kafka runs until Ctrl-C; paste these lines into another terminal",
        "streamkit: stopping kafka",
    ]
    assert (server.streams, server.is_running) == ([("orders", 12)], False)


def test_json_for_programs(cli: CommandLine, server: FakeServer) -> None:
    assert json.loads(cli("sandbox", "kafka", "--json").out)["STREAMKIT_BROKER"] == "kafka"
    assert [one["name"] for one in json.loads(cli("sandbox", "--list", "--json").out)] == ["kafka", "kinesis", "dynamodb", "kinesalite"]


def test_a_broker_that_keeps_no_checkpoints_comes_with_a_store(cli: CommandLine, server: FakeServer) -> None:
    answer = cli("sandbox", "kinesalite")
    assert "export STREAMKIT_STORE=sqlite\n" in answer.out
    assert "streamkit: checkpoints go to a file that ends with it; " in answer.err
    assert "STREAMKIT_STORE" not in cli("sandbox", "kafka").out


def test_a_folder_keeps_the_data_and_the_checkpoints_beside_them(
    cli: CommandLine, server: FakeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    answer = cli("sandbox", "kinesalite", "--folder", "kept")
    assert answer.code == 0
    assert server.folder == tmp_path / "kept"
    assert "streamkit: checkpoints go to a file in that folder; " in answer.err


def test_without_a_name_it_lists_the_servers(cli: CommandLine, server: FakeServer) -> None:
    expected = (
        "server      what it is\n"
        "kafka       a fake kafka\n"
        "kinesis     a fake kinesis\n"
        "dynamodb    a fake dynamodb\n"
        "kinesalite  a fake without a store\n"
    )
    assert cli("sandbox").out == cli("sandbox", "--list").out == expected


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["kafk"], "streamkit: there is no server 'kafk' in the sandbox\n  fix: did you mean kafka?\n"),
        (["kinesis"], "streamkit: kinesis is not available here: there is no Java\n  fix: install it\n"),
        (["kafka", "--folder", "x"], "streamkit: --folder=x: kafka keeps no data\n  fix: leave it out\n"),
        (["dynamodb", "--stream", "x"], "streamkit: --stream=x: dynamodb holds no streams\n  fix: leave it out\n"),
        (
            ["dynamodb"],
            "streamkit: dynamodb did not start: it ended at once; the end of its log:\nstreamkit:   | out of memory\n",
        ),
    ],
)
def test_what_goes_wrong_is_named(cli: CommandLine, server: FakeServer, arguments: list[str], error: str) -> None:
    answer = cli("sandbox", *arguments)
    assert (answer.code, answer.out, answer.err) == (2, "", error)


def test_without_the_distribution_the_error_says_what_to_install(cli: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "streamkit_sandbox.catalog", None)
    answer = cli("sandbox", "kafka")
    assert (answer.code, answer.out) == (2, "")
    assert answer.err == "streamkit: the sandbox is not installed\n  fix: pip install 'streamkit[sandbox]'\n"
