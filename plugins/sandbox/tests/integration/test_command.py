"""`streamkit sandbox` with real servers: what it prints is enough, and it leaves nothing."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from streamkit_sandbox.aws_http import answers, ask
from streamkit_sandbox.kinesis_streams import LIST_STREAMS

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("kinesis_server", "kinesalite_server", "dynamodb_server")]
PUT = 'import boto3; boto3.client("kinesis").put_record(StreamName="orders", Data=b"x", PartitionKey="k")'
COMMAND = [sys.executable, "-c", "from streamkit.cli import main; main()", "sandbox"]


def printed(running: subprocess.Popen[bytes]) -> dict[str, str]:
    """The settings, up to their last line: the program goes on."""
    assert running.stdout is not None
    lines = []
    while not lines or lines[-1] not in (b"}\n", b""):
        lines.append(running.stdout.readline())
    settings: dict[str, str] = json.loads(b"".join(lines))
    return settings


@pytest.mark.parametrize("name", ["kinesis", "kinesis-fast"])
def test_a_kinesis_has_its_stream_and_a_store_and_ends_with_both(name: str) -> None:
    with subprocess.Popen([*COMMAND, name, "--stream", "orders", "--partitions", "3", "--json"], stdout=subprocess.PIPE) as running:
        try:
            settings = printed(running)
            url = settings["STREAMKIT_KINESIS__ENDPOINT_URL"]
            shards = ask(url, "Kinesis_20131202.ListShards", {"StreamName": "orders"})["Shards"]
            folder = Path(settings["STREAMKIT_SQLITE__PATH"]).parent
            subprocess.run([sys.executable, "-c", PUT], env=os.environ | settings, check=True, timeout=60)
            assert (len(shards), folder.is_dir()) == (3, True)
        finally:
            running.send_signal(signal.SIGTERM)
        assert running.wait(30) == 0
    expected = {"BROKER": "kinesis", "KINESIS__REGION": "us-east-1", "STORE": "sqlite", "STREAM": "orders", "GROUP": "sandbox"}
    assert {f"STREAMKIT_{variable}": value for variable, value in expected.items()}.items() <= settings.items()
    assert (answers(url, LIST_STREAMS), folder.exists()) == (False, False)


def test_a_dynamodb_is_a_store_and_holds_no_streams() -> None:
    with subprocess.Popen([*COMMAND, "dynamodb", "--json"], stdout=subprocess.PIPE) as running:
        try:
            settings = printed(running)
            assert answers(settings["STREAMKIT_DYNAMODB__ENDPOINT_URL"], "DynamoDB_20120810.ListTables")
        finally:
            running.send_signal(signal.SIGTERM)
        assert running.wait(30) == 0
    assert settings["STREAMKIT_STORE"] == "dynamodb"
