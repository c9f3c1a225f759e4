"""`dead-letters`: records that were put aside are shown, run again in order, each until it is dealt with, or let be."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from streamkit.builtin.memory import MemoryLog
from streamkit.cli.letters import printable

if TYPE_CHECKING:
    from tests.unit.cli.conftest import Answer, CommandLine

FILES = {
    "BROKER": "file",
    "STREAM": "orders.jsonl",
    "ON_FAILURE": "dead_letter",
    "DEAD_LETTER": "file:dlq.jsonl",
    "RETRY_ATTEMPTS": "1",
    "STOP": "at_end",
}
SHOP = """\
from streamkit import App, Processor, Reject, processor, record_processor

seen = []
state = {"bad": {b"2", b"4", b"5"}}

@record_processor
def handle(record, context):
    if record.value in state["bad"]:
        raise ValueError(f"no {record.value.decode()}")
    seen.append((record.id, record.position.sequence, record.key, record.value, tuple(record.headers), record.timestamp.isoformat()))

@record_processor
async def later(record, context):
    handle(record, context)

@processor
def batches(batch, context):
    for record in batch:
        handle(record, context)

@processor
async def later_batches(batch, context):
    return {record: Reject("bad") for record in batch if record.value in state["bad"]} or batches(batch, context)

class Shop(Processor):
    def initialize(self, context):
        seen.append("initialize")
    def process(self, batch, context):
        batches(batch, context)
    def flush(self, context):
        seen.append("flush")
    def close(self):
        seen.append("close")

class LaterShop(Processor):
    reject_on = (ValueError,)
    async def process(self, batch, context):
        batches(batch, context)
    def partition_revoked(self, context):
        seen.append(f"revoked {context.partition}")

def made() -> Shop:
    return Shop()

def app() -> App:
    return App(handle, group="in-code")
"""
LINES = "".join(
    f'{{"streamkit": 1, "key": "k{n}", "value": "{n}", "headers": [["n", "{n}"], ["n", null]], "time": "2025-01-31T09:00:0{n}Z"}}\n'
    for n in range(1, 7)
)


@pytest.fixture
def shop(cli: CommandLine) -> Any:
    """A shop that has failed at orders 2, 4 and 5; its module is at hand."""
    cli.file("shop.py", SHOP)
    cli.file("orders.jsonl", LINES)
    for name, value in FILES.items():
        cli.monkeypatch.setenv(f"STREAMKIT_{name}", value)
    answer = cli("run", "shop:handle")
    assert answer.code == 0, answer.err
    module = sys.modules["shop"]
    assert [row[3] for row in module.seen] == [b"1", b"3", b"6"]
    module.seen.clear()
    return module


def listed(cli: CommandLine, **variables: str) -> list[dict[str, Any]]:
    answer = cli("dead-letters", "list", "--json", **variables)
    assert answer.code == 0, answer.err
    found: list[dict[str, Any]] = json.loads(answer.out)
    return found


def waiting(cli: CommandLine, **variables: str) -> list[str]:
    return [letter["id"].rpartition("/")[2] for letter in listed(cli, **variables)]


def values(shop: Any) -> list[bytes]:
    return [row[3] for row in shop.seen if isinstance(row, tuple)]


def words(answer: Answer) -> list[list[str]]:
    return [line.split() for line in answer.out.splitlines()]


# -- list and show -------------------------------------------------------------------------------------------------------


def test_list_shows_what_waits(cli: CommandLine, shop: Any) -> None:
    answer = cli("dead-letters", "list")
    assert answer.code == 0
    rows = words(answer)
    assert rows[0] == ["letter", "record", "attempts", "failed", "at", "error"]
    assert [(row[0], row[1], row[2]) for row in rows[1:]] == [
        ("0/1", "orders.jsonl/0/2", "1"),
        ("0/2", "orders.jsonl/0/4", "1"),
        ("0/3", "orders.jsonl/0/5", "1"),
    ]
    assert answer.out.splitlines()[1].endswith("ValueError: no 2")
    first = listed(cli)[0]
    assert {name: first[name] for name in ("letter", "id", "stream", "partition", "position", "group", "attempts", "error")} == {
        "letter": "0/1",
        "id": "orders.jsonl/0/2",
        "stream": "orders.jsonl",
        "partition": "0",
        "position": "2",
        "group": "billing",
        "attempts": 1,
        "error": "ValueError: no 2",
    }
    assert first["timestamp"] == "2025-01-31T09:00:02+00:00"


def test_list_is_bounded_and_says_so(cli: CommandLine, shop: Any) -> None:
    answer = cli("dead-letters", "list", "--limit", "2")
    assert len(words(answer)) == 3
    assert answer.err == "streamkit: there are more than these 2; --limit shows them\n"


def test_show_has_the_record_as_it_was_and_why_it_failed(cli: CommandLine, shop: Any) -> None:
    for name in ("0/2", "2"):
        answer = cli("dead-letters", "show", name)
        assert answer.code == 0, answer.err
        lines = [line.strip() for line in answer.out.splitlines()]
        assert lines[:3] == ["letter     0/2", "record     orders.jsonl/0/4", "written    2025-01-31T09:00:04+00:00"]
        assert "error      ValueError: no 4" in lines
        assert any(line.endswith("shop.py:9 in handle") for line in lines)
        assert lines[-4:] == ["key        k4", "header     n = 4", "header     n = (none)", "value      4"]
    body = json.loads(cli("dead-letters", "show", "2", "--json").out)
    assert (body["key"], body["value"], body["headers"]) == ("k4", "4", [["n", "4"], ["n", None]])
    assert body["errors"][0]["type"] == "ValueError"


def test_what_others_wrote_there_is_shown_as_such(cli: CommandLine, shop: Any) -> None:
    with (cli.folder / "dlq.jsonl").open("a") as file:
        file.write('{"id": 9}\n')
    assert listed(cli)[-1] == {"letter": "0/4", "id": None, "error": "(not written by streamkit)"}
    assert cli("dead-letters", "show", "4").out.splitlines()[-1] == 'value      {"id": 9}'
    shop.state["bad"] = set()
    assert cli("dead-letters", "replay", "shop:handle").code == 0
    assert values(shop) == [b"2", b"4", b"5", b'{"id": 9}']


def test_what_a_terminal_must_not_be_told_is_not_printed(cli: CommandLine, shop: Any) -> None:
    assert printable("a\x1b[2Jb\r\nc\u202e") == "a�[2Jb��c�"
    shop.state["bad"] = {b"\x1b[2J"}
    cli.file("orders.jsonl", LINES + '{"streamkit": 1, "value": "\\u001b[2J"}\n')
    assert cli("run", "shop:handle").code == 0
    assert "\x1b" not in cli("dead-letters", "list").out + cli("dead-letters", "show", "4").out


def test_a_file_that_ends_in_the_middle_of_a_letter_is_reported_and_no_obstacle(cli: CommandLine, shop: Any) -> None:
    with (cli.folder / "dlq.jsonl").open("a") as file:
        file.write('{"streamkit"')  # as a crash leaves it
    answer = cli("dead-letters", "list")
    assert len(words(answer)) == 4
    assert "ends in the middle of line 4" in answer.err
    assert cli("dead-letters", "discard", "--yes").code == 0
    assert waiting(cli) == []
    cli.file("orders.jsonl", LINES + '{"streamkit": 1, "value": "7"}\n')
    shop.state["bad"] = {b"7"}
    assert cli("run", "shop:handle").code == 0
    assert waiting(cli) == ["7"]


def test_nothing_has_been_put_aside_yet(cli: CommandLine) -> None:
    answer = cli("dead-letters", "list", **FILES)
    assert (answer.code, answer.out) == (0, "")
    assert "there is no file 'dlq.jsonl': nothing has been put aside there" in answer.err
    assert json.loads(cli("dead-letters", "list", "--json", **FILES).out) == []


# -- replay --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", ["handle", "later", "batches", "later_batches", "Shop", "LaterShop", "made", "app"])
def test_a_replay_shows_any_code_the_records_as_they_were_in_order_and_once(cli: CommandLine, shop: Any, target: str) -> None:
    shop.state["bad"] = set()
    group = {"GROUP": "in-code"} if target == "app" else {}  # what the code says counts in a replay, as in a run
    assert waiting(cli, **group) == ["2", "4", "5"]
    answer = cli("dead-letters", "replay", f"shop:{target}")
    assert answer.code == 0, answer.err
    assert [row for row in shop.seen if isinstance(row, tuple)] == [
        (f"orders.jsonl/0/{n}", place, b"k%d" % n, b"%d" % n, (("n", b"%d" % n), ("n", None)), f"2025-01-31T09:00:0{n}+00:00")
        for place, n in enumerate((2, 4, 5), 1)
    ]
    if target in ("Shop", "made"):
        assert {"initialize", "flush", "close"} <= set(shop.seen[:1] + shop.seen[-2:])
    if target == "LaterShop":
        assert shop.seen[-1] == "revoked dlq.jsonl/0"
    shop.seen.clear()
    assert waiting(cli, **group) == []
    assert cli("dead-letters", "replay", f"shop:{target}").code == 0
    assert values(shop) == [], "nothing is replayed twice"


@pytest.mark.parametrize("target", ["handle", "batches", "later_batches", "Shop"])
def test_what_fails_again_stops_the_replay_and_the_next_one_goes_on_there(
    cli: CommandLine, shop: Any, caplog: pytest.LogCaptureFixture, target: str
) -> None:
    shop.state["bad"] = {b"4"}
    answer = cli("dead-letters", "replay", f"shop:{target}")
    assert answer.code == 1
    assert "HALTED: record dlq.jsonl/0/2 failed after 1 attempt: " in caplog.text
    assert values(shop) == [b"2"]
    assert waiting(cli) == ["4", "5"]
    shop.state["bad"] = set()
    assert cli("dead-letters", "replay", f"shop:{target}").code == 0
    assert values(shop) == [b"2", b"4", b"5"], "each once, whatever was in a batch with it"
    assert (cli.folder / "dlq.jsonl").read_text().count("\n") == 3, "a replay writes no letters"


def test_letters_that_come_later_wait_for_the_next_replay(cli: CommandLine, shop: Any) -> None:
    shop.state["bad"] = set()
    assert cli("dead-letters", "replay", "shop:handle").code == 0
    shop.state["bad"] = {b"7"}
    cli.file("orders.jsonl", LINES + '{"streamkit": 1, "value": "7"}\n')
    assert cli("run", "shop:handle").code == 0
    assert waiting(cli) == ["7"]


def test_again_begins_at_the_first_letter(cli: CommandLine, shop: Any) -> None:
    shop.state["bad"] = set()
    assert cli("dead-letters", "replay", "shop:handle").code == 0
    assert cli("dead-letters", "replay", "shop:handle", "--again").code == 0
    assert values(shop) == [b"2", b"4", b"5"] * 2
    assert waiting(cli) == []


def test_a_replay_is_not_held_up_by_how_the_app_itself_is_run(cli: CommandLine, shop: Any) -> None:
    shop.state["bad"] = set()
    leases = {"OWNERSHIP": "lease", "LEASE_DURATION": "20s", "MAX_PARTITIONS": "1", "STORE": "sqlite", "SQLITE__PATH": "c.db"}
    many = {"PARTITIONS": "7", "ORDERING": "key", "CONCURRENCY": "4", "START": "latest", "STOP": "never", "MAX_WAIT": "1h"}
    answer = cli("dead-letters", "replay", "shop:handle", **leases, **many)
    assert answer.code == 0, answer.err
    assert values(shop) == [b"2", b"4", b"5"]
    assert "warning" not in answer.err
    assert "consume      dlq.jsonl from file, as group billing.replay\n" in answer.err, "never as a member of the app's own group"
    assert (cli.folder / "c.db").exists(), "a store of its own is used for the replay too"
    assert not (cli.folder / "dlq.jsonl.checkpoints").exists()


def test_a_store_that_forgets_is_not_used_for_a_replay(cli: CommandLine, shop: Any) -> None:
    shop.state["bad"] = set()
    assert cli("dead-letters", "replay", "shop:handle", STORE="memory").code == 0
    assert (cli.folder / "dlq.jsonl.checkpoints").exists()


def test_a_file_that_was_made_anew_is_shown_whole_and_replayed_only_when_told(cli: CommandLine, shop: Any) -> None:
    shop.state["bad"] = set()
    assert cli("dead-letters", "replay", "shop:handle").code == 0
    path = cli.folder / "dlq.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[1:]))
    assert waiting(cli) == ["4", "5"]
    shop.seen.clear()
    answer = cli("dead-letters", "replay", "shop:handle")
    assert answer.code == 2
    assert "belongs to" in answer.err
    assert cli("dead-letters", "replay", "shop:handle", "--again").code == 0
    assert values(shop) == [b"4", b"5"]


def test_memory_letters_are_replayed_by_the_group_of_that_name(cli: CommandLine) -> None:
    cli.file("shop.py", SHOP)
    log = MemoryLog.named()
    log.create("orders", 1)
    log.create("dlq", 2)
    for n in range(1, 7):
        log.append("orders", b"%d" % n, key=b"k%d" % n, now=1.0)
    variables = {**FILES, "BROKER": "memory", "STREAM": "orders", "DEAD_LETTER": "memory:dlq"}
    assert cli("run", "shop:handle", **variables).code == 0
    shop = sys.modules["shop"]
    assert sorted(waiting(cli, **variables)) == ["1", "3", "4"], "offsets, which begin at 0"
    shop.state["bad"] = set()
    shop.seen.clear()
    assert cli("dead-letters", "replay", "shop:handle", **variables).code == 0
    assert sorted(values(shop)) == [b"2", b"4", b"5"]
    assert waiting(cli, **variables) == []


KILLED = """\
import os, pathlib, signal
from streamkit import record_processor

@record_processor
def handle(record, context):
    os.write(1, record.value + b"\\n")
    if record.value == b"5" and not pathlib.Path("killed").exists():
        while not any("after 1:2:" in path.read_text() for path in pathlib.Path("dlq.jsonl.checkpoints").rglob("*.json")):
            pass  # until the two before it are saved
        pathlib.Path("killed").touch()
        os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_replay_that_is_killed_goes_on_where_it_was(cli: CommandLine, shop: Any) -> None:
    cli.file("killed_shop.py", KILLED)
    cli.monkeypatch.setenv("STREAMKIT_CHECKPOINT_INTERVAL", "1h")
    first = process(cli.folder, "killed_shop:handle")
    assert (first.returncode, first.stdout) == (-signal.SIGKILL, "2\n4\n5\n")
    second = process(cli.folder, "killed_shop:handle")
    assert (second.returncode, second.stdout) == (0, "5\n")
    assert waiting(cli) == []


def process(folder: Path, target: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "error", "-c", "from streamkit.cli import main; main()", "dead-letters", "replay", target]
    root = str(Path(__file__).parents[3])
    return subprocess.run(
        command, cwd=folder, env={**os.environ, "PYTHONPATH": root}, capture_output=True, text=True, timeout=60, check=False
    )


# -- discard -------------------------------------------------------------------------------------------------------------


def test_discard_only_says_what_it_would_do_until_it_is_told_to(cli: CommandLine, shop: Any) -> None:
    answer = cli("dead-letters", "discard")
    assert answer.code == 2
    assert answer.err == "streamkit: 3 letters would be discarded, and no replay would bring them\n  fix: add --yes\n"
    assert waiting(cli) == ["2", "4", "5"]
    answer = cli("dead-letters", "discard", "--yes")
    assert (answer.code, answer.err) == (0, "streamkit: 3 letters discarded\n")
    assert waiting(cli) == []
    assert cli("dead-letters", "replay", "shop:handle").code == 0
    assert values(shop) == []
    with (cli.folder / "dlq.jsonl").open("a") as file:
        file.write('{"streamkit"')  # as a crash leaves it
    assert cli("dead-letters", "discard", "--json").out == '{\n  "discarded": 0\n}\n'


def test_discard_takes_a_letter_and_those_before_it_and_never_goes_back(cli: CommandLine, shop: Any) -> None:
    assert cli("dead-letters", "discard", "0/2", "--yes").err == "streamkit: 2 letters discarded\n"
    assert waiting(cli) == ["5"]
    assert cli("dead-letters", "discard", "0/1", "--yes").err == "streamkit: 0 letters discarded\n"
    assert waiting(cli) == ["5"]


# -- what is refused -----------------------------------------------------------------------------------------------------

LIST = ("dead-letters", "list")


@pytest.mark.parametrize(
    ("arguments", "variables", "error"),
    [
        (
            LIST,
            {"DEAD_LETTER": ""},
            "STREAMKIT_DEAD_LETTER: nothing sets it, so it is not known where the dead letters are\n  fix: set it as your app has it",
        ),
        (
            LIST,
            {"DEAD_LETTER": "box:x"},
            "STREAMKIT_DEAD_LETTER (from environment): no producer 'box' is installed\n  fix: installed are: ",
        ),
        (LIST, {"DEAD_LETTER": "sqlite:x"}, "STREAMKIT_DEAD_LETTER (from environment): plugin 'sqlite' is no producer\n  fix: "),
        (LIST, {"DEAD_LETTER": "file:."}, "'.' is a folder\n  fix: name a file in it"),
        (
            ("dead-letters", "show", "first"),
            {},
            "'first' is not the name of a letter\n  fix: write it as `streamkit dead-letters list` shows it",
        ),
        (("dead-letters", "show", "1/2"), {}, "there is no partition '1'\n  fix: write it as"),
        (("dead-letters", "show", "4"), {}, "there is no letter '4'\n  fix: `streamkit dead-letters list` shows those that wait"),
        (("dead-letters", "show", "400"), {}, "has 3 lines"),
        (("dead-letters", "discard", "x", "--yes"), {}, "'x' is not the name of a letter\n"),
        (("dead-letters", "replay", "shop:handle"), {"DEAD_LETTER": "file:no.jsonl"}, "there is no file 'no.jsonl'\n  fix: "),
        (("dead-letters", "replay", "shop:nothing"), {}, "module 'shop' has no 'nothing'\n"),
        (("dead-letters", "replay"), {}, "Missing argument 'MODULE:NAME'.\n"),
        (("dead-letters", "nonsense"), {}, "No such command 'nonsense'.\n"),
    ],
)
def test_what_cannot_be_done_is_one_line_and_a_hint(
    cli: CommandLine, shop: Any, arguments: tuple[str, ...], variables: dict[str, str], error: str
) -> None:
    answer = cli(*arguments, **variables)
    assert error in answer.err
    assert "Traceback" not in answer.err
    assert answer.code == 2


def test_without_a_command_it_shows_what_there_is(cli: CommandLine) -> None:
    answer = cli("dead-letters")
    assert answer.code == 0
    assert all(command in answer.out for command in ("list", "show", "replay", "discard"))


def test_a_target_that_cannot_be_written_is_found_before_the_first_record(cli: CommandLine, shop: Any) -> None:
    (cli.folder / "checkpoints").rename(cli.folder / "elsewhere")
    answer = cli("run", "shop:handle", DEAD_LETTER="file:no/dlq.jsonl")
    assert answer.code == 2
    assert "dead letters cannot be written to file:no/dlq.jsonl: there is no folder '<folder>/no'" in answer.err
    assert "fix: create it, or correct STREAMKIT_DEAD_LETTER" in answer.err
    assert shop.seen == []


def test_the_app_itself_warns_of_a_target_that_nothing_is_written_to(cli: CommandLine, shop: Any) -> None:
    answer = cli("run", "shop:handle", ON_FAILURE="halt")
    assert "warning: STREAMKIT_DEAD_LETTER (from environment): not used, because STREAMKIT_ON_FAILURE is halt" in answer.err
