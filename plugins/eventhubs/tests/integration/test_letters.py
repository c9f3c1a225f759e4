"""Dead letters in an event hub, by the command line: put aside, listed, and replayed as they were, in the order of their key."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from azure.eventhub import EventData, EventHubProducerClient

pytestmark = pytest.mark.integration

SHOP = """\
import json, os, pathlib
from streamkit import record_processor

@record_processor
def handle(record, context):
    is_bad = (record.value or b"none").decode() in pathlib.Path("bad").read_text().split()
    headers = [[name, None if value is None else value.hex()] for name, value in record.headers]
    key = None if record.key is None else record.key.decode()
    line = json.dumps([record.id, is_bad, key, record.value.decode(), headers, record.timestamp.isoformat()])
    os.write(1, line.encode() + b"\\n")  # whole, though partitions are processed beside one another
    if is_bad:
        raise ValueError("no such item")
"""


PROPERTIES = [["traceparent", b"00-aa".hex()], ["raw", "ff"], ["count", b"5".hex()]]


class Shop:
    """One hub of orders and one of letters, and a worker of the command line."""

    def __init__(self, server: Any, folder: Path, orders: str) -> None:
        self.server = server
        self.folder = folder
        self.orders = orders
        self.letters = server.create_hub(f"{orders}-letters", 2)
        self.settings = {
            "BROKER": "eventhubs",
            "STREAM": self.orders,
            "GROUP": "shop",
            "START": "earliest",
            "STORE": "sqlite",
            "SQLITE__PATH": "shop.db",
            "OWNERSHIP": "static",
            "EVENTHUBS__CONNECTION_STRING": server.connection_string(),
            "EVENTHUBS__CONSUMER_GROUP": "$Default",
            "DEAD_LETTER": f"eventhubs:{self.letters}",
            "RETRY_ATTEMPTS": "1",
            "STOP": "at_end",
        }
        (folder / "shop.py").write_text(SHOP)

    def is_bad(self, *values: str) -> None:
        (self.folder / "bad").write_text(" ".join(values))

    def send(self, key: str, *values: str, **properties: Any) -> None:
        with EventHubProducerClient.from_connection_string(self.server.connection_string(self.orders)) as client:
            for value in values:
                event = EventData(value)
                event.properties = dict(properties)
                event.message_id = f"m-{value}"
                client.send_batch([event], partition_key=key)

    def __call__(self, *arguments: str, code: int = 0, **more: str) -> tuple[str, str]:
        """Run a command; what it printed, and what it said."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith("STREAMKIT_")}
        environment |= {f"STREAMKIT_{name}": value for name, value in {**self.settings, **more}.items()}
        command = [sys.executable, "-c", "from streamkit.cli import main; main()", *arguments]
        done = subprocess.run(command, cwd=self.folder, env=environment, capture_output=True, text=True, timeout=100, check=False)
        assert done.returncode == code, done.stderr
        return done.stdout, done.stderr


@pytest.fixture
def shop(eventhubs_server: Any, event_hub: str, tmp_path: Path) -> Shop:
    return Shop(eventhubs_server, tmp_path, event_hub)


def seen(output: str) -> list[list[Any]]:
    return [json.loads(line) for line in output.splitlines()]


@pytest.mark.parametrize("policy", ["dead_letter", "park"])
def test_what_failed_comes_back_as_it_was_and_in_the_order_of_its_key(shop: Shop, policy: str) -> None:
    shop.send("ada", "1", "bad", "2", "3", traceparent="00-aa", raw=b"\xff", count=5)
    shop.send("bob", "4")
    shop.settings["ON_FAILURE"] = policy
    shop.is_bad("bad")
    rows = seen(shop("run", "shop:handle")[0])
    behind = ["2", "3"] if policy == "park" else []
    assert sorted(row[3] for row in rows if not row[1]) == sorted({"1", "2", "3", "4"} - set(behind))
    as_it_was = {row[0]: row[2:] for row in rows}

    shop.is_bad()
    replayed = seen(shop("dead-letters", "replay", "shop:handle")[0])
    assert [row[3] for row in replayed] == ["bad", *behind]
    for row in replayed:
        assert row[0].startswith(f"{shop.orders}/")
        assert row[2] == "ada"
        assert [header for header in row[4] if header[0] in ("traceparent", "raw", "count")] == PROPERTIES
    assert replayed[0][2:] == as_it_was[replayed[0][0]], "key, value, headers and time are those of the record"
    assert json.loads(shop("dead-letters", "list", "--json")[0]) == []


def test_a_hub_for_letters_that_is_missing_is_found_at_the_start(shop: Shop) -> None:
    shop.is_bad()
    shop.send("ada", "1")
    output, said = shop("run", "shop:handle", code=2, ON_FAILURE="dead_letter", DEAD_LETTER="eventhubs:no-such-hub")
    assert output == ""
    assert "dead letters cannot be written to eventhubs:no-such-hub" in said
