"""Dead letters on a real Kafka, by the command line: put aside, listed, replayed in order by a group of their own, discarded."""

import json
import os
import subprocess
import sys

import pytest

SHOP = """\
import json, os, pathlib
from streamkit import record_processor

@record_processor
def handle(record, context):
    bad = pathlib.Path("bad").read_text().split()
    if (b"none" if record.value is None else record.value).decode("latin-1") in bad:
        raise ValueError("no such item")
    headers = [[name, hexed(value)] for name, value in record.headers]
    print(json.dumps([record.id, hexed(record.key), hexed(record.value), headers, record.timestamp.isoformat()]), flush=True)

def hexed(value):
    return None if value is None else value.hex()
"""


class Shop:
    def __init__(self, kafka, folder):
        self.folder = folder
        self.orders, self.letters = kafka.topic(2), kafka.topic(3)
        self.settings = {
            "BROKER": "kafka",
            "STREAM": self.orders,
            "GROUP": kafka.group,
            "KAFKA__BOOTSTRAP_SERVERS": kafka.server.bootstrap_servers,
            "ON_FAILURE": "dead_letter",
            "DEAD_LETTER": f"kafka:{self.letters}",
            "RETRY_ATTEMPTS": "1",
            "STOP": "at_end",
        }
        (folder / "shop.py").write_text(SHOP)
        self.is_bad()

    def is_bad(self, *values):
        (self.folder / "bad").write_text(" ".join(values))

    def __call__(self, *arguments, code=0, **more):
        """Run a command; what it printed, and what it said."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith("STREAMKIT_")}
        environment |= {f"STREAMKIT_{name}": value for name, value in {**self.settings, **more}.items()}
        command = [sys.executable, "-c", "from streamkit.cli import main; main()", *arguments]
        done = subprocess.run(command, cwd=self.folder, env=environment, capture_output=True, text=True, timeout=100, check=False)
        assert done.returncode == code, done.stderr
        return done.stdout, done.stderr

    def waiting(self):
        return json.loads(self("dead-letters", "list", "--json")[0])


@pytest.fixture
def shop(kafka, tmp_path):
    return Shop(kafka, tmp_path)


def seen(output):
    return [json.loads(line) for line in output.splitlines()]


def test_what_failed_comes_back_as_it_was_once_and_in_the_order_of_its_key(kafka, shop):
    headers = [("a", b"\xff"), ("a", None), ("streamkit-id", b"mine")]
    kafka.produce(shop.orders, [b"1", b"bad1", b"bad2", b"2"], partition=0, key=b"k\x00", headers=headers)
    kafka.produce(shop.orders, [None, b""], partition=1, key=b"other")
    shop.is_bad("bad1", "bad2", "none")
    good, _ = shop("run", "shop:handle")
    assert {row[0] for row in seen(good)} == {f"{shop.orders}/0/0", f"{shop.orders}/0/3", f"{shop.orders}/1/1"}
    letters = shop.waiting()
    assert {letter["id"] for letter in letters} == {f"{shop.orders}/0/1", f"{shop.orders}/0/2", f"{shop.orders}/1/0"}
    assert {letter["error"] for letter in letters} == {"ValueError: no such item"}
    by_id = {letter["id"]: letter for letter in letters}

    shop.is_bad("bad2")  # is still bad: its partition stops there, and goes on there
    replayed = seen(shop("dead-letters", "replay", "shop:handle", code=1)[0])
    first, second, other = f"{shop.orders}/0/1", f"{shop.orders}/0/2", f"{shop.orders}/1/0"
    dealt_with = {row[0] for row in replayed}
    assert first in dealt_with
    assert {letter["id"] for letter in shop.waiting()} == {first, second, other} - dealt_with
    assert second not in dealt_with
    shop.is_bad()
    replayed += seen(shop("dead-letters", "replay", "shop:handle")[0])
    assert seen(shop("dead-letters", "replay", "shop:handle")[0]) == []
    assert shop.waiting() == []

    rows = {row[0]: row[1:] for row in replayed}
    assert len(rows) == len(replayed) == 3
    expected = [["a", "ff"], ["a", None], ["streamkit-id", b"mine".hex()]]
    for place, value in ((1, b"bad1"), (2, b"bad2")):
        name = f"{shop.orders}/0/{place}"
        assert rows[name] == [b"k\x00".hex(), value.hex(), expected, by_id[name]["timestamp"]]
    assert rows[f"{shop.orders}/1/0"][:3] == [b"other".hex(), None, []]
    assert [row[0] for row in replayed if row[1] == b"k\x00".hex()] == [f"{shop.orders}/0/1", f"{shop.orders}/0/2"]


def test_discarded_letters_are_not_replayed_and_the_topic_keeps_them(kafka, shop):
    kafka.produce(shop.orders, [b"bad"] * 3, partition=0)
    shop.is_bad("bad")
    shop("run", "shop:handle")
    assert len(shop.waiting()) == 3
    _, said = shop("dead-letters", "discard", code=2)
    assert "3 letters would be discarded" in said
    shop("dead-letters", "discard", "--yes")
    assert shop.waiting() == []
    assert shop("dead-letters", "replay", "shop:handle")[0] == ""
    assert len(seen(shop("dead-letters", "replay", "shop:handle", "--again", code=1)[0])) == 0
    assert len(shop.waiting()) == 3


def test_a_topic_that_is_missing_is_found_at_the_start_and_not_at_night(kafka, shop):
    kafka.produce(shop.orders, [b"1"], partition=0)
    output, said = shop("run", "shop:handle", code=2, DEAD_LETTER="kafka:no-such-topic")
    assert output == ""
    assert "dead letters cannot be written to kafka:no-such-topic: there is no topic 'no-such-topic'" in said
    assert "fix: create it, or correct STREAMKIT_DEAD_LETTER" in said


def test_letters_of_kafka_may_go_to_a_file_which_keeps_its_own_checkpoints(kafka, shop):
    kafka.produce(shop.orders, [b"bad", b"1"], partition=0)
    shop.is_bad("bad")
    shop.settings["DEAD_LETTER"] = "file:dlq.jsonl"
    shop("run", "shop:handle")
    assert [letter["id"] for letter in shop.waiting()] == [f"{shop.orders}/0/0"]
    shop.is_bad()
    assert [row[0] for row in seen(shop("dead-letters", "replay", "shop:handle")[0])] == [f"{shop.orders}/0/0"]
    assert shop.waiting() == []
    assert (shop.folder / "dlq.jsonl.checkpoints").is_dir()
