"""Taking a group over from the KCL and giving it back, by the commands, on kinesis-local and DynamoDB Local."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest

from streamkit.cli.application import execute

pytestmark = pytest.mark.integration

HASH_KEYS = 1 << 128
RANGES = ((0, (HASH_KEYS - 1) // 2 - 1), ((HASH_KEYS - 1) // 2, HASH_KEYS - 1))
"""As the server deals them out for two shards."""


@dataclass
class Answer:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


class World:
    """One stream, one table of the KCL's, and the command line with a store of its own."""

    def __init__(self, kinesis: Any, dynamodb: Any, capsys: pytest.CaptureFixture[str], name: str) -> None:
        self.kinesis = boto3.client("kinesis", endpoint_url=kinesis.endpoint_url, region_name="us-east-1")
        self.dynamodb = boto3.client("dynamodb", endpoint_url=dynamodb.endpoint_url, region_name="us-east-1")
        self.stream = name
        self.table = f"{name}-app"
        self._capsys = capsys
        kinesis.create_stream(2, name)
        self.sequences = [self.put(number) for number in range(2)]

    def put(self, number: int) -> str:
        """A record into shard 0 or 1; its sequence number."""
        hash_key = str(RANGES[number][0])
        answer = self.kinesis.put_record(StreamName=self.stream, Data=b"v", PartitionKey="k", ExplicitHashKey=hash_key)
        assert answer["ShardId"] == shard(number)
        return str(answer["SequenceNumber"])

    def make_table(self, *rows: dict[str, Any], key: str = "leaseKey") -> None:
        self.dynamodb.create_table(
            TableName=self.table,
            KeySchema=[{"AttributeName": key, "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": key, "AttributeType": "S"}],
            BillingMode="PAY_PER_REQUEST",
        )
        for row in rows:
            self.dynamodb.put_item(TableName=self.table, Item=row)

    def rows(self) -> dict[str, dict[str, Any]]:
        items = self.dynamodb.scan(TableName=self.table, ConsistentRead=True)["Items"]
        return {item["leaseKey"]["S"]: {name: next(iter(value.values())) for name, value in item.items()} for item in items}

    def __call__(self, *arguments: str) -> Answer:
        self._capsys.readouterr()
        code = execute(arguments)
        captured = self._capsys.readouterr()
        return Answer(code, captured.out, captured.err)

    def checkpoints(self) -> dict[str, str]:
        return {one["partition"]: one["checkpoint"] for one in self("checkpoints", "list", "--json").json}


def shard(number: int) -> str:
    return f"shardId-{number:012d}"


def lease(number: int, checkpoint: str, *, sub: int = 0, counter: int = 7, owner: str | None = "worker-A", **more: Any) -> dict[str, Any]:
    row = {
        "leaseKey": {"S": shard(number)},
        "checkpoint": {"S": checkpoint},
        "checkpointSubSequenceNumber": {"N": str(sub)},
        "leaseCounter": {"N": str(counter)},
        "ownerSwitchesSinceCheckpoint": {"N": "0"},
        "startingHashKey": {"S": str(RANGES[number][0])},
        "endingHashKey": {"S": str(RANGES[number][1])},
    }
    return row | ({"leaseOwner": {"S": owner}} if owner else {}) | more


@pytest.fixture
def world(
    kinesis_server: Any,
    dynamodb_server: Any,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> Iterator[World]:
    variables = {**dynamodb_server.settings(), **kinesis_server.settings()}
    name = f"kcl-{time.time_ns()}"
    variables |= {
        "STREAMKIT_BROKER": "kinesis",
        "STREAMKIT_STREAM": name,
        "STREAMKIT_GROUP": "billing",
        "STREAMKIT_STORE": "sqlite",
        "STREAMKIT_SQLITE__PATH": str(tmp_path / "checkpoints.db"),
        "STREAMKIT_DYNAMODB__ENDPOINT_URL": dynamodb_server.endpoint_url,
        "STREAMKIT_DYNAMODB__REGION": "us-east-1",
    }
    for variable, value in variables.items():
        monkeypatch.setenv(variable, value)
    monkeypatch.chdir(tmp_path)
    return World(kinesis_server, dynamodb_server, capsys, name)


def test_a_stopped_application_is_taken_over(world: World) -> None:
    first, second = world.sequences
    world.make_table(lease(0, first, sub=3), lease(1, second))
    before = world.rows()
    done = world("checkpoints", "import", "--from", "kcl", "--table", world.table, "--watch", "0.2")
    assert done.code == 0, done.err
    assert world.checkpoints() == {shard(0): f"after {first}.3", shard(1): f"after {second}"}
    assert world.rows() == before


def test_a_living_worker_is_named_and_nothing_is_taken_over(world: World) -> None:
    world.make_table(lease(0, world.sequences[0]), lease(1, "TRIM_HORIZON", owner="worker-B"))
    stop = threading.Event()

    def renew() -> None:
        while not stop.wait(0.1):
            world.dynamodb.update_item(
                TableName=world.table,
                Key={"leaseKey": {"S": shard(1)}},
                UpdateExpression="ADD leaseCounter :one",
                ExpressionAttributeValues={":one": {"N": "1"}},
            )

    thread = threading.Thread(target=renew)
    thread.start()
    try:
        done = world("checkpoints", "import", "--from", "kcl", "--table", world.table, "--watch", "10")
        trial = world("checkpoints", "import", "--from", "kcl", "--table", world.table, "--dry-run")
    finally:
        stop.set()
        thread.join()
    assert done.code == 1
    assert "worker-B, counter" in done.err
    assert shard(1) in done.err
    assert trial.code == 0
    assert world.checkpoints() == {}


def test_it_is_given_back_and_taken_again(world: World) -> None:
    first, second = world.sequences
    pending = {
        "pendingCheckpoint": {"S": first},
        "pendingCheckpointSubSequenceNumber": {"N": "9"},
        "pendingCheckpointState": {"B": b"\x00tx"},
    }
    world.make_table(lease(0, first, sub=3, throughputKBps={"N": "1.5"}, **pending), lease(1, second))
    before = world.rows()
    assert world("checkpoints", "import", "--from", "kcl", "--table", world.table, "--watch", "0").code == 0
    assert world("checkpoints", "set", shard(1), "latest").code == 0
    given = world("checkpoints", "export", "--to", "kcl", "--table", world.table, "--watch", "0.2")
    assert given.code == 0, given.err
    assert f"{world.stream}/{shard(1)}: the KCL has no word" in given.err
    after = world.rows()
    gone = {name: value for name, value in before[shard(0)].items() if name != "leaseOwner"}
    assert after[shard(0)] == gone | {"leaseCounter": "8"}
    assert after[shard(1)]["checkpoint"] == "TRIM_HORIZON"
    again = world("checkpoints", "import", "--from", "kcl", "--table", world.table, "--watch", "0")
    assert again.code == 0, again.err
    assert world.checkpoints() == {shard(0): f"after {first}.3", shard(1): "earliest"}


def test_a_new_table_gets_rows_that_belong_to_nobody(world: World) -> None:
    assert world("checkpoints", "set", "--all", "earliest").code == 0
    done = world("checkpoints", "export", "--to", "kcl", "--table", world.table)
    assert done.code == 0, done.err
    rows = world.rows()
    assert set(rows) == {shard(0), shard(1)}
    for number in range(2):
        wanted = {name: next(iter(value.values())) for name, value in lease(number, "TRIM_HORIZON", counter=0, owner=None).items()}
        assert rows[shard(number)] == wanted


def test_rows_in_a_file_are_what_the_aws_command_line_takes(world: World, tmp_path: Path) -> None:
    first, second = world.sequences
    world.make_table(lease(0, first), lease(1, second))
    assert world("checkpoints", "import", "--from", "kcl", "--table", world.table, "--watch", "0").code == 0
    done = world("checkpoints", "export", "--to", "kcl")
    items = [json.loads(line) for line in done.out.splitlines()]
    assert sorted(item["checkpoint"]["S"] for item in items) == sorted([first, second])
    for item in items:
        world.dynamodb.put_item(TableName=world.table, Item=item)
    file = tmp_path / "rows.jsonl"
    file.write_text(done.out)
    refused = world("checkpoints", "import", "--from", "kcl", str(file))
    assert refused.code == 1
    assert "a file does not tell" in refused.err
    assert world("checkpoints", "import", "--from", "kcl", str(file), "--force").code == 0


def test_ended_shards_and_their_children_are_gone_on_with(world: World) -> None:
    """Shard 0 was split and read to its end by the KCL; of its children one has no row yet."""
    world.kinesis.split_shard(StreamName=world.stream, ShardToSplit=shard(0), NewStartingHashKey=str(HASH_KEYS // 4))
    world.kinesis.get_waiter("stream_exists").wait(StreamName=world.stream)
    children = {"childShardIds": {"SS": [shard(2), shard(3)]}}
    child = lease(0, "TRIM_HORIZON", owner=None, counter=0) | {"leaseKey": {"S": shard(2)}, "parentShardId": {"SS": [shard(0)]}}
    child |= {"endingHashKey": {"S": str(HASH_KEYS // 4 - 1)}}
    world.make_table(lease(0, "SHARD_END", **children), lease(1, world.sequences[1]), child)
    done = world("checkpoints", "import", "--from", "kcl", "--table", world.table, "--watch", "0")
    assert done.code == 0, done.err
    assert world.checkpoints() == {shard(0): "after END", shard(1): f"after {world.sequences[1]}", shard(2): "earliest"}
    rows = json.loads(next(line for line in world("checkpoints", "export", "--to", "kcl").out.splitlines() if "SHARD_END" in line))
    assert rows["childShardIds"] == {"SS": [shard(2), shard(3)]}
    world.table += "-2"
    assert world("checkpoints", "export", "--to", "kcl", "--table", world.table).code == 0
    rows = world.rows()
    assert {key: row["checkpoint"] for key, row in rows.items()} == {
        shard(0): "SHARD_END",
        shard(1): world.sequences[1],
        shard(2): "TRIM_HORIZON",
    }
    assert sorted(rows[shard(0)]["childShardIds"]) == [shard(2), shard(3)]
    assert rows[shard(2)]["parentShardId"] == [shard(0)]


def test_a_row_that_cannot_be_understood_stops_everything(world: World) -> None:
    world.make_table(lease(0, world.sequences[0]), lease(1, "SOMEWHERE"))
    done = world("checkpoints", "import", "--from", "kcl", "--table", world.table, "--watch", "0")
    assert done.code == 2
    assert shard(1) in done.err
    assert "SOMEWHERE" in done.err
    assert world.checkpoints() == {}


def test_a_table_that_is_not_there(world: World) -> None:
    done = world("checkpoints", "import", "--from", "kcl", "--table", "no-such-table")
    assert (done.code, "there is no table 'no-such-table'" in done.err) == (2, True)


def test_the_table_of_the_group_itself_is_neither_imported_nor_exported(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.make_table(lease(0, world.sequences[0]), lease(1, world.sequences[1]))
    monkeypatch.setenv("STREAMKIT_STORE", "dynamodb")
    monkeypatch.setenv("STREAMKIT_DYNAMODB__TABLE", world.table)
    monkeypatch.delenv("STREAMKIT_SQLITE__PATH")
    for arguments in (("import", "--from", "kcl"), ("export", "--to", "kcl", "--force")):
        done = world("checkpoints", *arguments, "--table", world.table)
        assert done.code == 2, done.err
        assert "this group's own store" in done.err
