"""A replay releases parked keys: beside a worker, and where nobody is; never before the last letter has been replayed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.unit.cli.conftest import Answer, CommandLine

FILES = {
    "BROKER": "file",
    "STREAM": "orders.jsonl",
    "STORE": "sqlite",
    "SQLITE__PATH": "checkpoints.db",
    "ON_FAILURE": "park",
    "DEAD_LETTER": "file:dlq.jsonl",
    "RETRY_ATTEMPTS": "1",
    "CHECKPOINT_INTERVAL": "200ms",
    "LEASE_DURATION": "1s",
    "STOP": "at_end",
}
SHOP = """\
from pathlib import Path
from streamkit import record_processor

@record_processor
def handle(record, context):
    if record.value.decode() in Path("bad.txt").read_text().split():
        raise ValueError(f"no {record.value.decode()}")
    with open("effects.txt", "a") as effects:
        effects.write(f"{record.value.decode()}\\n")
"""
LINE_SECONDS = 20.0


@pytest.fixture
def shop(cli: CommandLine) -> CommandLine:
    cli.file("shop.py", SHOP)
    cli.file("bad.txt", "")
    cli.file("effects.txt", "")
    cli.file("orders.jsonl", "")
    for name, value in FILES.items():
        cli.monkeypatch.setenv(f"STREAMKIT_{name}", value)
    return cli


def order(shop: CommandLine, *values: str) -> None:
    """Records; the first letter is the key."""
    with (shop.folder / "orders.jsonl").open("a") as file:
        file.writelines(f'{{"streamkit": 1, "key": "{value[0]}", "value": "{value}"}}\n' for value in values)


def effects(shop: CommandLine, key: str = "") -> list[str]:
    return [value for value in (shop.folder / "effects.txt").read_text().split() if value.startswith(key)]


def good(answer: Answer) -> Answer:
    assert answer.code == 0, answer.err
    return answer


def waiting(shop: CommandLine) -> list[tuple[str, str]]:
    return [(letter["id"].rpartition("/")[2], letter["parked"]) for letter in json.loads(good(shop("dead-letters", "list", "--json")).out)]


@contextmanager
def worker(shop: CommandLine) -> Iterator[subprocess.Popen[str]]:
    """Another process that goes on until it is killed or told to stop."""
    process = subprocess.Popen(
        [sys.executable, "-m", "streamkit", "run", "shop:handle"],
        cwd=shop.folder,
        env={**os.environ, "STREAMKIT_STOP": "never"},
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=LINE_SECONDS)
    assert process.returncode in (0, -signal.SIGKILL), said


def until(is_reached: Callable[[], bool]) -> None:
    limit = time.monotonic() + LINE_SECONDS
    while not is_reached():
        assert time.monotonic() < limit
        time.sleep(0.05)


def lines(path: Path) -> int:
    return len(path.read_text().splitlines()) if path.exists() else 0


def test_a_replay_releases_a_key_that_nobody_owns(shop: CommandLine) -> None:
    shop.file("bad.txt", "a0")
    order(shop, "a0", "b0", "a1")
    good(shop("run", "shop:handle"))
    assert effects(shop) == ["b0"]
    assert waiting(shop) == [("1", "first"), ("3", "behind")]
    shop.file("bad.txt", "")
    answer = good(shop("dead-letters", "replay", "shop:handle"))
    assert "1 key is no longer parked" in answer.err
    order(shop, "a2", "b1")
    good(shop("run", "shop:handle"))
    assert effects(shop, "a") == ["a0", "a1", "a2"]
    assert effects(shop, "b") == ["b0", "b1"]
    assert waiting(shop) == []


def test_a_letter_that_fails_again_keeps_its_key_parked(shop: CommandLine) -> None:
    shop.file("bad.txt", "a0 c1")
    order(shop, "c0", "a0", "a1", "c1", "c2")
    good(shop("run", "shop:handle"))
    shop.file("bad.txt", "c1")
    answer = shop("dead-letters", "replay", "shop:handle")
    assert answer.code == 1
    assert "1 key is no longer parked" in answer.err
    assert "1 key is still parked" in answer.err
    order(shop, "a2", "c3")
    good(shop("run", "shop:handle"))
    assert effects(shop, "a") == ["a0", "a1", "a2"]
    assert effects(shop, "c") == ["c0"]
    shop.file("bad.txt", "")
    good(shop("dead-letters", "replay", "shop:handle"))
    order(shop, "c4")
    good(shop("run", "shop:handle"))
    assert effects(shop, "c") == ["c0", "c1", "c2", "c3", "c4"]


def test_letters_that_were_dealt_with_long_ago_release_their_key_too(shop: CommandLine) -> None:
    """The first replay is killed between its last letter and the release."""
    shop.file("bad.txt", "a0")
    order(shop, "a0", "a1")
    good(shop("run", "shop:handle"))
    shop.file("bad.txt", "")
    with shop.monkeypatch.context() as patch:
        patch.setattr("streamkit.cli.dead_letters._release", lambda config, given: False)
        good(shop("dead-letters", "replay", "shop:handle"))
    order(shop, "a2")
    good(shop("run", "shop:handle"))
    assert effects(shop, "a") == ["a0", "a1"]
    good(shop("dead-letters", "replay", "shop:handle"))
    assert effects(shop, "a") == ["a0", "a1", "a2"]
    order(shop, "a3")
    good(shop("run", "shop:handle"))
    assert effects(shop, "a") == ["a0", "a1", "a2", "a3"]


def test_discarding_the_letters_of_a_key_releases_it(shop: CommandLine) -> None:
    shop.file("bad.txt", "a0")
    order(shop, "a0", "a1")
    good(shop("run", "shop:handle"))
    assert "1 key is no longer parked" in good(shop("dead-letters", "discard", "--yes")).err
    order(shop, "a2")
    good(shop("run", "shop:handle"))
    assert effects(shop) == ["a2"]


@pytest.mark.parametrize("ordering", ["partition", "key"])
def test_a_replay_beside_a_worker_asks_it_and_no_record_overtakes_another(shop: CommandLine, ordering: str) -> None:
    shop.monkeypatch.setenv("STREAMKIT_ORDERING", ordering)
    shop.file("bad.txt", "a0")
    order(shop, "a0", "b0", "a1")
    with worker(shop):
        until(lambda: lines(shop.folder / "dlq.jsonl") == 2)
        shop.file("bad.txt", "")
        order(shop, "a2", "b1")
        shop.monkeypatch.delenv("STREAMKIT_ORDERING")
        answer = good(shop("dead-letters", "replay", "shop:handle"))
        assert "1 key is no longer parked" in answer.err
        order(shop, "a3", "b2")
        until(lambda: "a3" in effects(shop) and "b2" in effects(shop))
    assert effects(shop, "a") == ["a0", "a1", "a2", "a3"]
    assert effects(shop, "b") == ["b0", "b1", "b2"]


def test_a_worker_that_is_killed_leaves_its_keys_parked(shop: CommandLine) -> None:
    shop.file("bad.txt", "a0")
    order(shop, "a0", "a1")
    with worker(shop) as first:
        until(lambda: lines(shop.folder / "dlq.jsonl") >= 2)
        first.kill()
    shop.file("bad.txt", "")
    order(shop, "a2", "b0")
    with worker(shop):
        until(lambda: "b0" in effects(shop))
    assert effects(shop, "a") == []
    good(shop("dead-letters", "replay", "shop:handle"))
    assert list(dict.fromkeys(effects(shop, "a"))) == ["a0", "a1", "a2"]


def test_with_static_ownership_the_request_waits_for_the_next_worker(shop: CommandLine) -> None:
    shop.monkeypatch.setenv("STREAMKIT_OWNERSHIP", "static")
    shop.monkeypatch.setattr("streamkit.cli.parked.PATIENCE_SECONDS", 0.1)
    shop.monkeypatch.delenv("STREAMKIT_LEASE_DURATION")
    shop.file("bad.txt", "a0")
    order(shop, "a0", "a1")
    good(shop("run", "shop:handle"))
    shop.file("bad.txt", "")
    answer = good(shop("dead-letters", "replay", "shop:handle"))
    assert "the request waits for whoever reads the partition next" in answer.err
    order(shop, "a2")
    good(shop("run", "shop:handle"))
    assert effects(shop, "a") == ["a0", "a1", "a2"]


def test_a_key_without_letters_and_one_that_is_no_text_are_parked_and_released_like_any(shop: CommandLine) -> None:
    """The empty key is a key."""
    shop.file("bad.txt", "x0 y0")
    lines = ['{"streamkit": 1, "key": "", "value": "%s"}', '{"streamkit": 1, "key": {"base64": "/w=="}, "value": "%s"}']
    with (shop.folder / "orders.jsonl").open("a") as file:
        file.writelines(f"{line % value}\n" for line, value in zip(lines * 2, ("x0", "y0", "x1", "y1"), strict=True))
    good(shop("run", "shop:handle"))
    assert effects(shop) == []
    shop.file("bad.txt", "")
    assert "2 keys are no longer parked" in good(shop("dead-letters", "replay", "shop:handle")).err
    with (shop.folder / "orders.jsonl").open("a") as file:
        file.writelines(f"{line % value}\n" for line, value in zip(lines, ("x2", "y2"), strict=True))
    good(shop("run", "shop:handle"))
    assert effects(shop, "x") == ["x0", "x1", "x2"]
    assert effects(shop, "y") == ["y0", "y1", "y2"]


def test_partitions_shows_how_many_keys_are_parked(shop: CommandLine) -> None:
    shop.file("bad.txt", "a0 b0")
    order(shop, "a0", "b0", "a1")
    good(shop("run", "shop:handle"))
    (one,) = json.loads(good(shop("partitions", "--json")).out)
    assert (one["state"], one["reason"], one["parked"]) == ("caught up", "at its tip; 2 keys are parked", 2)


@contextmanager
def slow_replay(shop: CommandLine) -> Iterator[subprocess.Popen[str]]:
    """In another process, and it has begun."""
    shop.file(
        "slow.py",
        "import time\nfrom streamkit import record_processor\nimport shop\n\n@record_processor\n"
        "def handle(record, context):\n    shop.handle(record, context)\n    time.sleep(0.4)\n",
    )
    before = len(effects(shop))
    process = subprocess.Popen(
        [sys.executable, "-m", "streamkit", "dead-letters", "replay", "slow:handle"], cwd=shop.folder, stderr=subprocess.PIPE, text=True
    )
    try:
        until(lambda: len(effects(shop)) > before)
        yield process
        _, said = process.communicate(timeout=LINE_SECONDS)
        assert process.returncode == 0, said
    finally:
        process.kill()
        process.wait(LINE_SECONDS)


def test_two_replays_at_once_run_no_letter_twice(shop: CommandLine) -> None:
    """Or one could release a key while the other still runs letters of it."""
    shop.file("bad.txt", "a0")
    order(shop, *(f"a{n}" for n in range(6)))
    good(shop("run", "shop:handle"))
    shop.file("bad.txt", "")
    with slow_replay(shop):
        good(shop("dead-letters", "replay", "shop:handle"))
        assert effects(shop) == [f"a{n}" for n in range(6)], "it has waited for the other one"
    order(shop, "a6")
    good(shop("run", "shop:handle"))
    assert effects(shop) == [f"a{n}" for n in range(7)]


def test_nothing_is_discarded_beside_a_replay(shop: CommandLine) -> None:
    shop.file("bad.txt", "a0")
    order(shop, *(f"a{n}" for n in range(6)))
    good(shop("run", "shop:handle"))
    shop.file("bad.txt", "")
    with slow_replay(shop):
        answer = shop("dead-letters", "discard", "--yes")
        assert answer.code == 1
        assert "a replay is running" in answer.err
    assert effects(shop) == [f"a{n}" for n in range(6)]
