"""Appending to a file of JSON lines: durable before the answer, whole lines whoever writes beside us, and after any crash."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest

from streamkit.builtin.file import FileSettings
from streamkit.builtin.file.disk import acquire, sync_folder
from streamkit.builtin.file.lines import decode, encode, is_torn
from streamkit.builtin.file.producer import FileProducer
from streamkit.errors import AccessDeniedError, BrokerUnavailableError, StreamGoneError
from streamkit.model import Headers
from streamkit.plugin import NewRecord
from tests.conformance.context import PlainContext

WRITER = """\
import asyncio, os, sys
from streamkit.builtin.file import FileSettings
from streamkit.builtin.file.producer import FileProducer
from streamkit.plugin import NewRecord
from tests.conformance.context import PlainContext

async def main(path, name, size):
    producer = FileProducer(FileSettings(), PlainContext())
    number = 0
    while True:
        records = [NewRecord(b"x" * size, b"%s-%d" % (name.encode(), number + n)) for n in range(3)]
        assert list(await producer.send(path, records)) == [None] * 3
        number += 3
        os.write(1, b"%d\\n" % number)

asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
"""
ROOT = Path(__file__).parents[3]


def producer() -> FileProducer:
    return FileProducer(FileSettings(), PlainContext())


def send(path: Path, *values: bytes, **more: str) -> Sequence[Exception | None]:
    return asyncio.run(producer().send(str(path), [NewRecord(value, **more) for value in values]))  # type: ignore[arg-type]


def values(path: Path) -> list[bytes | None]:
    lines = [decode(line) for line in path.read_bytes().splitlines()]
    return [line.value for line in lines if line is not None]


def test_records_are_appended_in_order_to_a_file_that_its_first_record_makes(tmp_path: Path) -> None:
    path = tmp_path / "dlq.jsonl"
    assert list(send(path, b"a", b"b")) == [None, None]
    assert list(send(path, b"c")) == [None]
    assert values(path) == [b"a", b"b", b"c"]


def test_a_relative_path_is_of_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    send(Path("dlq.jsonl"), b"a")
    assert (tmp_path / "dlq.jsonl").exists()


def test_nothing_to_send_makes_no_file(tmp_path: Path) -> None:
    assert list(send(tmp_path / "dlq.jsonl")) == []
    assert not (tmp_path / "dlq.jsonl").exists()


def test_it_is_on_the_disk_before_it_is_answered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "dlq.jsonl"
    steps: list[str] = []
    fsync, write = os.fsync, os.write

    def synced(descriptor: int) -> None:
        steps.append(f"sync {os.fstat(descriptor).st_size}")
        fsync(descriptor)

    def written(descriptor: int, content: bytes) -> int:
        steps.append("write")
        return write(descriptor, content)

    def folder(path: Path) -> None:
        steps.append("folder")
        sync_folder(path)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", synced)
        patch.setattr(os, "write", written)
        patch.setattr("streamkit.builtin.file.producer.sync_folder", folder)
        send(path, b"a", b"b")
        first = path.stat().st_size
        assert steps[:3] == ["write", f"sync {first}", "folder"], "one write, synced, and the new name as well"
        steps.clear()
        send(path, b"c")
        assert steps == ["write", f"sync {path.stat().st_size}"]


# -- what a crash leaves -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("keep", [1, 20, -2])
def test_what_was_cut_off_is_marked_and_never_glued_to_the_next_line(tmp_path: Path, keep: int) -> None:
    path = tmp_path / "dlq.jsonl"
    send(path, b"a")
    with path.open("ab") as file:
        file.write(encode(NewRecord(b"lost"), 0.0)[:keep])
    send(path, b"b")
    send(path, b"c")
    first, torn, *rest = path.read_bytes().splitlines()
    assert is_torn(torn)
    assert [decode(line).value for line in (first, *rest)] == [b"a", b"b", b"c"]  # type: ignore[union-attr]


def test_only_the_line_end_is_missing_then_nothing_is_lost(tmp_path: Path) -> None:
    path = tmp_path / "orders.jsonl"
    path.write_bytes(b'{"id": 1}')  # as an editor leaves it
    send(path, b"b")
    assert values(path) == [b'{"id": 1}', b"b"]


def test_a_very_long_last_line_is_judged_whole(tmp_path: Path) -> None:
    path = tmp_path / "dlq.jsonl"
    line = encode(NewRecord(b"x" * 100_000), 0.0)
    path.write_bytes(encode(NewRecord(b"a"), 0.0) + line[:-1])
    send(path, b"b")
    assert values(path) == [b"a", b"x" * 100_000, b"b"]


def test_writers_that_are_killed_lose_nothing_that_was_answered_and_spoil_no_line(tmp_path: Path) -> None:
    path = tmp_path / "dlq.jsonl"
    random.seed(4)
    answered: dict[str, int] = {}
    for number in range(6):
        pair = [writer(path, f"{number}{which}", size) for which, size in (("a", 50), ("b", 200_000))]
        for process, name in pair:
            answered[name] = count(process, random.randrange(2, 9))
            process.send_signal(signal.SIGKILL)
        for process, name in pair:
            answered[name] = max(answered[name], last(process))
    send(path, b"end")
    lines = path.read_bytes().split(b"\n")
    assert lines.pop() == b""
    keys = [decode(line).key for line in lines if not is_torn(line)]  # type: ignore[union-attr]
    for name, many in answered.items():
        mine = [key for key in keys if key is not None and key.startswith(f"{name}-".encode())]
        assert mine[:many] == [b"%s-%d" % (name.encode(), n) for n in range(many)], "answered, and in order"
        assert len(mine) - many <= 3, "and at most one send that was not answered"


def writer(path: Path, name: str, size: int) -> tuple[subprocess.Popen[bytes], str]:
    command = [sys.executable, "-c", WRITER, str(path), name, str(size)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(ROOT)}), name


def count(process: subprocess.Popen[bytes], times: int) -> int:
    assert process.stdout is not None
    return int([process.stdout.readline() for _ in range(times)][-1])


def last(process: subprocess.Popen[bytes]) -> int:
    """What it said before it died; a number that was cut off counts for nothing."""
    rest = process.communicate()[0].rpartition(b"\n")[0].splitlines()
    return int(rest[-1]) if rest else 0


def test_several_threads_beside_one_another_write_whole_lines(tmp_path: Path) -> None:
    path = tmp_path / "dlq.jsonl"
    threads = [threading.Thread(target=lambda n=n: [send(path, b"%d" % n * 5000) for _ in range(20)]) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(values(path), key=str) == sorted([b"%d" % n * 5000 for n in range(4) for _ in range(20)], key=str)


# -- errors --------------------------------------------------------------------------------------------------------------


def test_a_full_disk_is_the_answer_and_nothing_of_it_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "dlq.jsonl"
    send(path, b"a")
    before = path.read_bytes()
    write = os.write

    def full(descriptor: int, content: bytes) -> int:
        if len(content) < 20:
            raise OSError(28, "No space left on device")
        return write(descriptor, content[:-10])

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        with pytest.raises(BrokerUnavailableError, match="No space left") as caught:
            send(path, b"b")
    assert caught.value.retryable
    assert path.read_bytes() == before
    send(path, b"c")
    assert values(path) == [b"a", b"c"]


def test_a_sync_that_fails_is_no_acknowledgement(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(descriptor: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fsync", broken)
    with pytest.raises(BrokerUnavailableError, match="Input/output error"):
        send(tmp_path / "dlq.jsonl", b"a")


@pytest.mark.parametrize("successor", [None, b""])
def test_a_file_that_was_moved_away_while_we_waited_is_not_written_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, successor: bytes | None
) -> None:
    path = tmp_path / "dlq.jsonl"
    send(path, b"a")
    moved: list[Path] = []

    def late(descriptor: int) -> None:
        acquire(descriptor)
        if not moved:
            moved.append(path.rename(tmp_path / "old.jsonl"))
            if successor is not None:
                path.write_bytes(successor)

    monkeypatch.setattr("streamkit.builtin.file.producer.acquire", late)
    send(path, b"b")
    assert (values(tmp_path / "old.jsonl"), values(path)) == ([b"a"], [b"b"])


def test_what_cannot_be_written_is_found_at_the_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asyncio.run(producer().check(str(tmp_path / "dlq.jsonl")))
    assert not (tmp_path / "dlq.jsonl").exists()
    with pytest.raises(StreamGoneError, match="there is no folder"):
        asyncio.run(producer().check(str(tmp_path / "no" / "dlq.jsonl")))
    with pytest.raises(StreamGoneError, match="is a folder"):
        asyncio.run(producer().check(str(tmp_path)))
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(AccessDeniedError, match="cannot be written"):
        asyncio.run(producer().check(str(tmp_path / "dlq.jsonl")))


def test_headers_survive(tmp_path: Path) -> None:
    path = tmp_path / "dlq.jsonl"
    headers = Headers([("a", b"\xff"), ("a", None), ("", b"")])
    asyncio.run(producer().send(str(path), [NewRecord(None, b"", headers)]))
    (line,) = path.read_bytes().splitlines()
    found = decode(line)
    assert found is not None
    assert (found.value, found.key, found.headers) == (None, b"", headers)
    assert json.loads(line)["streamkit"] == 1
