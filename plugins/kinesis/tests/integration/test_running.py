"""The processor of the first example on Kinesis, by environment variables alone, with leases in SQLite: to the tips, through a split."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from plugins.kinesis.tests.live import client_of

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[4]


@pytest.fixture(params=["kinesis", "kinesalite"])
def server(request: pytest.FixtureRequest) -> Any:
    return request.getfixturevalue(f"{request.param}_server")


def run(server: Any, stream: str, folder: Path, **variables: str) -> tuple[list[str], str]:
    """What it printed, and the log."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith("STREAMKIT_")}
    ours = {
        "STREAMKIT_STREAM": stream,
        "STREAMKIT_GROUP": "g",
        "STREAMKIT_STORE": "sqlite",
        "STREAMKIT_SQLITE__PATH": str(folder / "checkpoints.db"),
        "STREAMKIT_STOP": "at_end",
        "STREAMKIT_LEASE_DURATION": "20s",  # a machine that stands still for some seconds loses none
    }
    done = subprocess.run(
        [sys.executable, "-m", "streamkit", "run", "first:handle"],
        cwd=ROOT / "examples/01_first_processor",
        env=plain | server.settings() | ours | variables,
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return sorted(done.stdout.splitlines()), done.stderr


def order(client: Any, stream: str, *orders: tuple[str, str]) -> None:
    for customer, what in orders:
        client.put_record(StreamName=stream, PartitionKey=customer, Data=what.encode())


def test_the_first_example_runs_to_the_tips_and_goes_on_behind_a_split(server: Any, tmp_path: Path) -> None:
    client = client_of(server)
    stream = server.create_stream(2)
    order(client, stream, ("ada", "tea"), ("bob", "jam"), ("ada", "milk"))
    printed, _ = run(server, stream, tmp_path)
    assert printed == ["ada ordered b'milk'", "ada ordered b'tea'", "bob ordered b'jam'"]

    client.split_shard(StreamName=stream, ShardToSplit="shardId-000000000000", NewStartingHashKey=str(1 << 126))
    until = time.monotonic() + 60
    while client.describe_stream_summary(StreamName=stream)["StreamDescriptionSummary"]["StreamStatus"] != "ACTIVE":
        assert time.monotonic() < until
        time.sleep(0.1)
    order(client, stream, *[(f"customer-{number}", "bread") for number in range(8)])
    printed, log = run(server, stream, tmp_path)
    assert printed == [f"customer-{number} ordered b'bread'" for number in range(8)]
    assert "shardId-000000000000 has ended" in log

    printed, _ = run(server, stream, tmp_path)
    assert printed == []


def test_from_latest_what_was_there_before_is_passed_over(kinesis_server: Any, tmp_path: Path) -> None:
    """Not on kinesalite: that never answers a time behind its last record."""
    server = kinesis_server
    client = client_of(server)
    stream = server.create_stream(1)
    order(client, stream, ("ada", "tea"))
    time.sleep(3.5)
    assert run(server, stream, tmp_path, STREAMKIT_START="latest")[0] == []
    order(client, stream, ("bob", "jam"))
    assert run(server, stream, tmp_path, STREAMKIT_START="latest")[0] == ["bob ordered b'jam'"]


def test_several_streams_by_a_pattern(kinesis_server: Any, tmp_path: Path) -> None:
    server = kinesis_server
    client = client_of(server)
    prefix = f"pattern-{time.time_ns()}-"
    names = [server.create_stream(1, f"{prefix}{number}") for number in range(2)]
    for number, name in enumerate(names):
        order(client, name, ("ada", f"from {number}"))
    printed, _ = run(server, f"^{prefix}", tmp_path)
    assert printed == ["ada ordered b'from 0'", "ada ordered b'from 1'"]
