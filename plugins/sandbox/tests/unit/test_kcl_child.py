"""The child program of the KCL's daemon: the protocol as a daemon spoke it, and when it checkpoints.

`kcl_transcript.jsonl` is what a MultiLangDaemon 3.1.3 and another child said over a stream of two shards, of which one was
split: seconds, shard, `<` (daemon to child) or `>`, and the line; an empty line is the end.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from streamkit_sandbox import kcl_child
from streamkit_sandbox.errors import SandboxError
from streamkit_sandbox.kcl import KclCheckpoints, KclDaemon
from streamkit_sandbox.kcl_child import Child

TRANSCRIPT = [json.loads(line) for line in (Path(__file__).parent / "kcl_transcript.jsonl").read_text().splitlines()]
SHARDS = sorted({shard for _, shard, _, _ in TRANSCRIPT})
AT_ONCE = {"every": 0, "freeze_after": None, "freeze_inside": False}


@pytest.mark.parametrize("shard", SHARDS)
def test_it_answers_a_daemon_as_the_transcript_does(shard: str, tmp_path: Path) -> None:
    heard = "".join(line + "\n" for _, of, way, line in TRANSCRIPT if of == shard and way == "<")
    said = [json.loads(line) for _, of, way, line in TRANSCRIPT if of == shard and way == ">"]
    order = tmp_path / "order.json"
    order.write_text(json.dumps({"folder": str(tmp_path), **AT_ONCE}))
    command = [sys.executable, "-I", "-S", kcl_child.__file__, str(order)]
    done = subprocess.run(command, input=heard, capture_output=True, text=True, timeout=20, check=True)
    assert [json.loads(line) for line in done.stdout.splitlines() if line] == said
    assert done.stderr == ""
    (file,) = tmp_path.glob("*.jsonl")
    noted = [json.loads(line) for line in file.read_text().splitlines()]
    messages = [json.loads(line) for _, of, way, line in TRANSCRIPT if of == shard and way == "<" and line]
    assert [line["data"] for line in noted if line["event"] == "record"] == [r["data"] for m in messages for r in m.get("records", ())]
    assert {line["shard"] for line in noted} == {shard}


class Daemon:
    """Speaks to a child in this process and keeps, in one list, what it says and notes."""

    def __init__(self, order: dict[str, object], *, refuses: str | None = None) -> None:
        self.order, self.refuses = order, refuses
        self.log: list[tuple[str, object]] = []
        self._answers: list[dict[str, Any]] = []

    def delivers(self, *messages: dict[str, Any]) -> list[tuple[str, object]]:
        coming: Iterator[dict[str, Any]] = iter(
            [{"action": "initialize", "shardId": "s", "sequenceNumber": "7", "subSequenceNumber": 0}, *messages]
        )

        def hear() -> dict[str, Any] | None:
            return self._answers.pop() if self._answers else next(coming, None)

        def say(message: dict[str, Any]) -> None:
            if message["action"] == "checkpoint":
                self.log.append(("checkpoint", (message["sequenceNumber"], message["subSequenceNumber"])))
                self._answers.append({**message, "error": self.refuses})
            else:
                self.log.append(("status", message["responseFor"]))

        def note(lines: list[dict[str, Any]]) -> None:
            self.log.extend(
                (line["event"] if line["event"] != "checkpoint" else "answer", line.get("data", line.get("error"))) for line in lines
            )

        Child({"folder": "", **self.order}, hear, say, note).run()
        return self.log

    def checkpoints(self) -> list[object]:
        return [what for kind, what in self.log if kind == "checkpoint"]


def batch(*places: tuple[int, int]) -> dict[str, Any]:
    """A message with records at these (sequence, sub-sequence)."""
    records = [{"sequenceNumber": str(n), "subSequenceNumber": sub, "partitionKey": "k", "data": f"{n}.{sub}"} for n, sub in places]
    return {"action": "processRecords", "records": records}


def test_a_record_is_noted_before_the_daemon_is_answered() -> None:
    daemon = Daemon({**AT_ONCE, "every": 1})
    log = daemon.delivers(batch((1, 0), (2, 0)))
    assert log[2:] == [
        ("record", "1.0"),
        ("checkpoint", ("1", 0)),
        ("answer", None),
        ("record", "2.0"),
        ("checkpoint", ("2", 0)),
        ("answer", None),
        ("status", "processRecords"),
    ]


def test_it_checkpoints_every_so_many_records_across_batches() -> None:
    daemon = Daemon({**AT_ONCE, "every": 2})
    daemon.delivers(batch((1, 0)), batch((2, 0), (3, 0), (4, 0)), batch((5, 0)))
    assert daemon.checkpoints() == [("2", 0), ("4", 0)]


def test_frozen_it_says_one_more_checkpoint_and_then_none_but_that_of_the_end() -> None:
    daemon = Daemon({**AT_ONCE, "freeze_after": 2})
    daemon.delivers(batch((1, 0), (2, 0), (3, 0)), batch((4, 0)), {"action": "shutdownRequested"}, {"action": "shardEnded"})
    assert daemon.checkpoints() == [("2", 0), (None, None)]


def test_frozen_inside_it_waits_for_a_record_that_is_not_the_last_of_its_aggregate() -> None:
    daemon = Daemon({**AT_ONCE, "every": 1, "freeze_after": 2, "freeze_inside": True})
    daemon.delivers(batch((1, 0), (2, 0), (3, 0), (3, 1), (3, 2)), batch((4, 0)))
    assert daemon.checkpoints() == [("1", 0), ("2", 0), ("3", 0)]


def test_not_frozen_it_checkpoints_when_asked_to_shut_down_and_never_after_a_loss() -> None:
    daemon = Daemon({**AT_ONCE, "every": 9})
    daemon.delivers(batch((1, 0)), {"action": "shutdownRequested"}, {"action": "leaseLost"})
    assert daemon.checkpoints() == [(None, None)]
    assert daemon.log[-1] == ("status", "leaseLost")


def test_a_refused_checkpoint_is_noted_and_asked_for_again() -> None:
    daemon = Daemon({**AT_ONCE, "every": 2}, refuses="ThrottlingException")
    daemon.delivers(batch((1, 0), (2, 0), (3, 0)))
    assert daemon.checkpoints() == [("2", 0), ("3", 0)]
    assert ("answer", "ThrottlingException") in daemon.log


def test_a_daemon_that_was_not_started_says_so() -> None:
    daemon = KclDaemon("orders", "app", kinesis_url="http://127.0.0.1:1", dynamodb_url="http://127.0.0.1:1", checkpoints=KclCheckpoints())
    assert (daemon.running, daemon.records(), daemon.events()) == (False, [], [])
    with pytest.raises(SandboxError, match="not started"):
        _ = daemon.log


def test_a_child_below_a_folder_with_spaces_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/opt/my programs/python")
    daemon = KclDaemon("orders", "app", kinesis_url="http://127.0.0.1:1", dynamodb_url="http://127.0.0.1:1")
    with pytest.raises(SandboxError, match="at spaces"):
        daemon.start()
    daemon.close()
