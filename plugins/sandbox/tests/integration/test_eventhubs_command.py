"""`streamkit sandbox eventhubs`: what it prints is enough for a client, and what it keeps in a folder outlives it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from azure.eventhub import EventData, EventHubProducerClient
from streamkit_sandbox.eventhubs.server import EventHubsServer

pytestmark = pytest.mark.integration
COMMAND = [sys.executable, "-c", "from streamkit.cli import main; main()", "sandbox", "eventhubs", "--json"]


@contextmanager
def running(*arguments: str, end: signal.Signals = signal.SIGTERM) -> Iterator[dict[str, str]]:
    """The command and the settings that it printed, until `end`."""
    with subprocess.Popen([*COMMAND, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        lines: list[bytes] = []
        try:
            while not lines or lines[-1] not in (b"}\n", b""):
                lines.append(process.stdout.readline())
            yield json.loads(b"".join(lines))
        finally:
            process.send_signal(end)
        assert process.wait(30) == (0 if end is signal.SIGTERM else -end)


def send(settings: dict[str, str], *bodies: str) -> None:
    client = EventHubProducerClient.from_connection_string(
        settings["STREAMKIT_EVENTHUBS__CONNECTION_STRING"], eventhub_name=settings["STREAMKIT_STREAM"]
    )
    with client:
        for body in bodies:
            client.send_batch([EventData(body)], partition_id="1")


def test_the_settings_are_enough_and_the_store_ends_with_it() -> None:
    with running("--stream", "orders", "--partitions", "3") as settings:
        send(settings, "x")
        folder = Path(settings["STREAMKIT_SQLITE__PATH"]).parent
        assert folder.is_dir()
    expected = {"BROKER": "eventhubs", "STORE": "sqlite", "STREAM": "orders", "GROUP": "sandbox", "EVENTHUBS__CONSUMER_GROUP": "$Default"}
    assert {f"STREAMKIT_{variable}": value for variable, value in expected.items()}.items() <= settings.items()
    assert not folder.exists()


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL])
def test_what_was_sent_is_in_the_folder_after_its_end_even_a_violent_one(tmp_path: Path, end: signal.Signals) -> None:
    folder = tmp_path / "hubs"
    with running("--stream", "orders", "--partitions", "2", "--folder", str(folder), end=end) as settings:
        assert Path(settings["STREAMKIT_SQLITE__PATH"]) == folder / "leases.sqlite"
        send(settings, "a", "b")
    with running("--stream", "orders", "--partitions", "4", "--folder", str(folder), end=end) as settings:
        send(settings, "c")
    with EventHubsServer(folder=folder) as server:
        assert server.hubs == {"orders": 4}
        events = server.events("orders", "1")
    assert [event.sequence for event in events] == [0, 1, 2]
    assert [event.message[-1:] for event in events] == [b"a", b"b", b"c"]


def test_a_hub_that_was_deleted_stays_so(tmp_path: Path) -> None:
    with EventHubsServer({"orders": 2}, folder=tmp_path) as server:
        server.append("orders", [b"x"], "0")
        server.delete_hub("orders")
        assert server.hubs == {}
    with EventHubsServer(folder=tmp_path) as server:
        assert server.hubs == {}
        server.create_hub("orders", 1)
        assert server.events("orders", "0") == ()


def test_two_emulators_do_not_share_a_folder(tmp_path: Path) -> None:
    with running("--folder", str(tmp_path)):
        done = subprocess.run([*COMMAND, "--folder", str(tmp_path)], capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"streamkit: {os.fspath(tmp_path)} belongs to an emulator that still runs; end it, or choose another folder\n"
