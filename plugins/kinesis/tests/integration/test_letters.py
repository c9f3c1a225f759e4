"""Dead letters in a Kinesis stream, by the command line: put aside, listed, shown, replayed in order, discarded."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import boto3
import pytest

pytestmark = pytest.mark.integration

SHOP = """\
import json, pathlib
from streamkit import record_processor

@record_processor
def handle(record, context):
    if record.value.decode("latin-1") in pathlib.Path("bad").read_text().split():
        raise ValueError("no such item")
    print(json.dumps([record.id, record.key.hex(), record.value.hex(), len(record.headers), record.timestamp.isoformat()]), flush=True)
"""


class Shop:
    def __init__(self, kinesis: Any, dynamodb: Any, store: str, folder: Path) -> None:
        self.folder = folder
        self.orders, self.letters = kinesis.create_stream(2), kinesis.create_stream(2)
        self.environment = {name: value for name, value in os.environ.items() if not name.startswith("STREAMKIT_")}
        self.environment |= {**dynamodb.settings(), **kinesis.settings()}
        settings = {
            "BROKER": "kinesis",
            "STREAM": self.orders,
            "GROUP": f"billing-{self.orders}",
            "STORE": store,
            "ON_FAILURE": "dead_letter",
            "DEAD_LETTER": f"kinesis:{self.letters}",
            "RETRY_ATTEMPTS": "1",
            "STOP": "at_end",
            "LEASE_DURATION": "20s",  # a machine that stands still for some seconds loses none
            "KINESIS__IDLE_WAIT": "100ms",
        }
        if store == "sqlite":
            settings["SQLITE__PATH"] = "checkpoints.db"
        else:
            settings["DYNAMODB__TABLE"] = f"app-{self.orders}"
        self.environment |= {f"STREAMKIT_{name}": value for name, value in settings.items()}
        self.client = boto3.client("kinesis", endpoint_url=kinesis.endpoint_url, region_name="us-east-1")
        (folder / "shop.py").write_text(SHOP)
        self.is_bad()

    def is_bad(self, *values: str) -> None:
        (self.folder / "bad").write_text(" ".join(values))

    def produce(self, key: str, *values: bytes) -> list[str]:
        """The id of each record."""
        answers = [self.client.put_record(StreamName=self.orders, PartitionKey=key, Data=value) for value in values]
        return [f"{self.orders}/{answer['ShardId']}/{answer['SequenceNumber']}" for answer in answers]

    def __call__(self, *arguments: str, code: int = 0) -> tuple[str, str]:
        command = [sys.executable, "-c", "from streamkit.cli import main; main()", *arguments]
        done = subprocess.run(command, cwd=self.folder, env=self.environment, capture_output=True, text=True, timeout=100, check=False)
        assert done.returncode == code, done.stderr
        return done.stdout, done.stderr

    def waiting(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(self("dead-letters", "list", "--json")[0])
        return found


@pytest.fixture
def shop(
    kinesis_server: Any, dynamodb_server: Any, tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Shop:
    for name, value in kinesis_server.settings().items():
        monkeypatch.setenv(name, value)
    return Shop(kinesis_server, dynamodb_server, getattr(request, "param", "sqlite"), tmp_path)


def rows(output: str) -> dict[str, list[Any]]:
    found = [json.loads(line) for line in output.splitlines()]
    assert len({row[0] for row in found}) == len(found)
    return {row[0]: row[1:] for row in found}


@pytest.mark.parametrize("shop", ["sqlite", "dynamodb"], indirect=True)
def test_what_failed_comes_back_as_it_was_and_once(shop: Shop) -> None:
    one = shop.produce("ada", b"1", b"bad1", b"bad2", b"2")
    other = shop.produce("bob", b"\xff")
    shop.is_bad("bad1", "bad2", "\xff")
    assert set(rows(shop("run", "shop:handle")[0])) == {one[0], one[3]}
    letters = {letter["id"]: letter for letter in shop.waiting()}
    assert set(letters) == {one[1], one[2], *other}
    assert {letter["error"] for letter in letters.values()} == {"ValueError: no such item"}
    shown = json.loads(shop("dead-letters", "show", letters[one[1]]["letter"], "--json")[0])
    assert (shown["key"], shown["value"], shown["headers"]) == ("ada", "bad1", [])
    assert shown["errors"][0]["frames"]

    shop.is_bad("bad2")  # is still bad: its shard stops there, and goes on there
    replayed = rows(shop("dead-letters", "replay", "shop:handle", code=1)[0])
    assert one[1] in replayed
    assert one[2] not in replayed
    shop.is_bad()
    replayed |= rows(shop("dead-letters", "replay", "shop:handle")[0])
    assert shop("dead-letters", "replay", "shop:handle")[0] == ""
    assert shop.waiting() == []
    assert replayed == {
        one[1]: [b"ada".hex(), b"bad1".hex(), 0, letters[one[1]]["timestamp"]],
        one[2]: [b"ada".hex(), b"bad2".hex(), 0, letters[one[2]]["timestamp"]],
        other[0]: [b"bob".hex(), "ff", 0, letters[other[0]]["timestamp"]],
    }


def test_discarded_letters_are_not_replayed_and_the_stream_keeps_them(shop: Shop) -> None:
    shop.produce("ada", b"bad", b"bad", b"bad")
    shop.is_bad("bad")
    shop("run", "shop:handle")
    first, *_ = shop.waiting()
    assert "3 letters would be discarded" in shop("dead-letters", "discard", code=2)[1]
    shop("dead-letters", "discard", first["letter"], "--yes")
    assert len(shop.waiting()) == 2
    shop("dead-letters", "discard", "--yes")
    assert shop.waiting() == []
    shop.is_bad()
    assert shop("dead-letters", "replay", "shop:handle")[0] == ""
    assert len(rows(shop("dead-letters", "replay", "shop:handle", "--again")[0])) == 3


def test_a_stream_that_is_missing_is_found_at_the_start_and_not_at_night(shop: Shop) -> None:
    shop.produce("ada", b"1")
    shop.environment["STREAMKIT_DEAD_LETTER"] = "kinesis:no-such-stream"
    output, said = shop("run", "shop:handle", code=2)
    assert output == ""
    assert "dead letters cannot be written to kinesis:no-such-stream" in said
