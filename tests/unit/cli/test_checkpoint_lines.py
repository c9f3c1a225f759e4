"""`streamkit checkpoints export` and `import`: everything that is kept, as lines; nothing is written beside a living worker."""

from __future__ import annotations

import asyncio
import io
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING

import pytest

from streamkit.builtin.memory import MemoryBroker, MemoryLog, MemorySettings, MemoryStore
from streamkit.model import Checkpoint, Partition, Position, StartPosition
from streamkit.plugin import Budget, Claim
from tests.conformance.context import PlainContext

if TYPE_CHECKING:
    from tests.unit.cli.conftest import CommandLine

INCARNATION = "default/orders@0.000#1"
FULL = Checkpoint(
    Partition("orders", "0", incarnation=INCARNATION),
    StartPosition.after(Position(4)),
    metadata="run 7",
    partitions_at_start=2,
    pending=Position(9),
    pending_state=b"tx",
)


def fill() -> MemoryLog:
    log = MemoryLog.named()
    log.create("orders", 2)
    for partition in "01":
        for number in range(10):
            log.append("orders", b"%d" % number, partition=partition, now=1_700_000_000.0 + number)
    return log


def store(group: str = "billing") -> MemoryStore:
    return MemoryStore(MemorySettings(), PlainContext(broker="memory", group=group))


def put(*checkpoints: Checkpoint) -> None:
    async def body() -> None:
        for checkpoint in checkpoints:
            await store().overwrite(checkpoint)

    asyncio.run(body())


def stored(group: str = "billing") -> list[Checkpoint]:
    return list(asyncio.run(store(group).list()))


def test_what_is_exported_is_imported_whole(cli: CommandLine) -> None:
    fill()
    other = Checkpoint(Partition("orders", "1"), StartPosition.EARLIEST)
    put(FULL, other)
    lines = cli("checkpoints", "export").out
    assert [json.loads(line)["partition"] for line in lines.splitlines()] == ["0", "1"]
    file = cli.file("positions.jsonl", lines + "\n")
    answer = cli("checkpoints", "import", str(file), GROUP="another")
    assert (answer.code, answer.err) == (0, "")
    assert answer.out.splitlines()[1].split() == ["orders/0", "-", "after", "4"]
    first, second = stored("another")
    assert first.to_text() == FULL.to_text()
    assert second.at == StartPosition.EARLIEST


def test_import_reads_stdin_and_another_store(cli: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    fill()
    put(FULL)
    monkeypatch.setattr("sys.stdin", io.StringIO(cli("checkpoints", "export").out))
    sqlite = {"STORE": "sqlite", "SQLITE__PATH": str(cli.folder / "checkpoints.db")}
    assert cli("checkpoints", "import", "-", **sqlite).code == 0
    assert "after 4" in cli("checkpoints", "list", **sqlite).out


def test_nobody_owns_what_was_imported_and_older_grants_are_refused(cli: CommandLine) -> None:
    fill()
    put(FULL)
    file = cli.file("positions.jsonl", cli("checkpoints", "export").out.replace('"version"', '"owner": "w1", "version"'))
    claim = asyncio.run(store().claim(FULL.partition, "old", 0))
    assert cli("checkpoints", "import", str(file)).code == 0
    assert stored()[0].owner == ""
    (answer,) = asyncio.run(store().save([(FULL, claim.grant)]))
    assert type(answer).__name__ == "FencedError"


def test_on_trial_nothing_is_changed(cli: CommandLine) -> None:
    fill()
    file = cli.file("positions.jsonl", FULL.to_text())
    answer = cli("checkpoints", "import", str(file), "--dry-run", "--json")
    assert json.loads(answer.out)[0]["checkpoint"] == "after 4"
    assert answer.err == "streamkit: nothing was changed (--dry-run)\n"
    assert stored() == []


def test_it_refuses_beside_a_living_member_unless_forced(cli: CommandLine) -> None:
    fill()
    context = PlainContext(broker="memory", group="billing", now=time.monotonic())
    membership = MemoryBroker(MemorySettings(), context).join(["orders"], "billing", lambda revoked: None)
    asyncio.run(membership.poll(Budget(1, 1, 0)))
    file = cli.file("positions.jsonl", FULL.to_text())
    answer = cli("checkpoints", "import", str(file))
    assert (answer.code, answer.out, stored()) == (1, "", [])
    assert "group billing has a live member" in answer.err
    assert "without it this would be refused" in cli("checkpoints", "import", str(file), "--dry-run").err
    assert cli("checkpoints", "import", str(file), "--force").code == 0


@contextmanager
def renewing(claim: Claim) -> Iterator[None]:
    """The owner lives, somewhere else."""
    over = threading.Event()

    def live() -> None:
        while not over.wait(0.05):
            asyncio.run(store().renew([(FULL.partition, claim.grant)]))

    thread = threading.Thread(target=live)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


@pytest.mark.parametrize("alive", [True, False])
def test_the_owner_of_a_lease_is_watched_for_as_long_as_a_lease_lasts(cli: CommandLine, alive: bool) -> None:
    fill()
    claim = asyncio.run(store().claim(FULL.partition, "w1#00c0ffee", 0))
    file = cli.file("positions.jsonl", FULL.to_text())
    lease = {"OWNERSHIP": "lease", "STORE": "memory", "LEASE_DURATION": "1s"}
    with renewing(claim) if alive else nullcontext():
        answer = cli("checkpoints", "import", str(file), **lease)
    if alive:
        assert answer.code == 1
        assert "orders/0 is read by w1, whose next checkpoint would undo it" in answer.err
        assert stored() == []
    else:
        assert answer.code == 0, answer.err
        assert stored()[0].at == FULL.at


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("{", "positions.jsonl, line 1: "),
        ("\n[1]", "positions.jsonl, line 2: not a checkpoint"),
        (FULL.to_text().replace('"version": 1', '"version": 9'), "line 1: checkpoint of version 9; this is version 1"),
        (f"{FULL.to_text()}\n{FULL.to_text()}", "line 2: orders/0 stands there twice"),
        (FULL.to_text().replace('"partition": "0"', '"partition": "7"'), "there is no partition orders/7 in STREAMKIT_STREAM"),
        (FULL.to_text().replace("#1", "#5"), "belongs to 'default/orders@0.000#5', but the stream is now"),
    ],
)
def test_what_is_wrong_is_said_in_a_line_and_nothing_is_written(cli: CommandLine, text: str, error: str) -> None:
    fill()
    file = cli.file("positions.jsonl", text)
    answer = cli("checkpoints", "import", str(file))
    assert (answer.code, answer.out, stored()) == (2, "", [])
    assert error in answer.err
    assert "fix: " in answer.err


def test_a_file_that_is_not_there_is_said(cli: CommandLine) -> None:
    answer = cli("checkpoints", "import", "nowhere.jsonl")
    assert answer.code == 2
    assert "nowhere.jsonl cannot be read" in answer.err


def test_the_end_of_a_partition_that_is_not_listed_any_more_is_imported(cli: CommandLine) -> None:
    fill()
    file = cli.file("positions.jsonl", Checkpoint(Partition("orders", "gone"), StartPosition.END).to_text())
    assert cli("checkpoints", "import", str(file)).code == 0
    assert stored()[0].at.is_end
