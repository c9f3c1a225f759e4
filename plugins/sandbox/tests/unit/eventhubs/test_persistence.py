"""What is in the folder after the emulator is gone, and what is said of a line that is torn."""

from __future__ import annotations

import errno
import json
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from streamkit_sandbox.errors import SandboxError
from streamkit_sandbox.eventhubs.log import Event, Hub, PartitionLog
from streamkit_sandbox.eventhubs.offsets import Offsets
from streamkit_sandbox.eventhubs.persistence import HubFolder


def clock() -> int:
    return 1_700_000_000_000


def opened(folder: HubFolder, name: str = "orders", partitions: int = 2, offsets: Offsets | None = None) -> Hub:
    return folder.open(name, partitions, clock_ms=clock, offsets=offsets)


def held(partition: PartitionLog) -> Sequence[Event]:
    return partition.read(0, 1000)


@pytest.mark.parametrize("offsets", [Offsets(), Offsets(opaque=True)], ids=["byte positions", "opaque"])
def test_a_hub_comes_back_as_it_was_left_and_goes_on(tmp_path: Path, offsets: Offsets) -> None:
    with HubFolder(tmp_path) as folder:
        hub = folder.open("Orders", 2, clock_ms=lambda: 5, offsets=offsets)
        hub.partitions[0].append([b"\x00\xff", b""], "Schlüssel")
        hub.partitions[0].append([b"c"])
        before = [held(partition) for partition in hub.partitions]
        hub.consumer_groups.add("billing")
        hub.grow(3)
        folder.save(hub)
        hub.partitions[2].append([b"grown"])
    with HubFolder(tmp_path) as folder:
        assert folder.names() == ["Orders"]
        again = folder.open("orders", 1, clock_ms=clock, offsets=offsets)
        assert (again.created_ms, len(again.partitions), again.has_group("billing")) == (5, 3, True)
        assert [held(partition) for partition in again.partitions[:2]] == before
        assert [event.message for event in held(again.partitions[2])] == [b"grown"]
        again.partitions[0].append([b"d"])
        assert [event.sequence for event in held(again.partitions[0])] == [0, 1, 2, 3]
        offset = [offsets.position(event.offset) for event in held(again.partitions[0])]
        assert offset == sorted(set(offset))
        again.partitions[0].append([b"e"])
    with HubFolder(tmp_path) as folder:
        assert [event.message for event in held(opened(folder).partitions[0])][-2:] == [b"d", b"e"]


@pytest.mark.parametrize("cut", [1, 20, 60])
def test_an_append_that_was_cut_off_is_dropped_whole_with_a_word(tmp_path: Path, cut: int, caplog: pytest.LogCaptureFixture) -> None:
    with HubFolder(tmp_path) as folder:
        opened(folder).partitions[1].append([b"a"])
        file = tmp_path / "orders" / "1.jsonl"
        good = file.read_bytes()
    with HubFolder(tmp_path) as folder:
        opened(folder).partitions[1].append([b"b", b"c"])
    file.write_bytes(file.read_bytes()[:-cut])
    with HubFolder(tmp_path) as folder, caplog.at_level(logging.WARNING):
        partition = opened(folder).partitions[1]
        assert [event.message for event in held(partition)] == [b"a"]
        assert file.read_bytes() == good
        partition.append([b"d"])
    assert [record.getMessage() for record in caplog.records if "1.jsonl: the last append was cut off after" in record.getMessage()]
    caplog.clear()
    with HubFolder(tmp_path) as folder:
        assert [event.message for event in held(opened(folder).partitions[1])] == [b"a", b"d"]
    assert not caplog.records


@pytest.mark.parametrize(
    ("line", "said"),
    [(b"nonsense\n", "Expecting value"), (b"{}\n", "'sequence'"), (b'{"sequence":0,"enqueued_ms":1,"events":[]}\n', "no events")],
)
def test_a_line_that_is_no_append_is_an_error_that_names_it(tmp_path: Path, line: bytes, said: str) -> None:
    with HubFolder(tmp_path) as folder:
        opened(folder).partitions[0].append([b"a"])
    file = tmp_path / "orders" / "0.jsonl"
    file.write_bytes(line + file.read_bytes())
    with HubFolder(tmp_path) as folder, pytest.raises(SandboxError, match=r"orders/0\.jsonl, line 1 is no append \(.*" + said):
        opened(folder)


def test_a_line_that_is_missing_is_an_error(tmp_path: Path) -> None:
    with HubFolder(tmp_path) as folder:
        partition = opened(folder).partitions[0]
        for number in range(3):
            partition.append([b"%d" % number])
    file = tmp_path / "orders" / "0.jsonl"
    lines = file.read_bytes().splitlines(keepends=True)
    for left, said in (
        (lines[0] + lines[2], "line 2 begins at sequence number 2 and not 1"),
        (lines[1], "line 1 begins at sequence number 1"),
    ):
        file.write_bytes(left)
        with HubFolder(tmp_path) as folder, pytest.raises(SandboxError, match=said):
            opened(folder)


def test_a_hub_that_was_deleted_does_not_come_back_and_one_made_anew_is_another(tmp_path: Path) -> None:
    with HubFolder(tmp_path) as folder:
        gone = folder.open("orders", 2, clock_ms=lambda: 5)
        gone.partitions[0].append([b"a"])
        folder.remove("Orders")
        assert folder.names() == []
        with pytest.raises(ValueError, match="closed file"):
            gone.partitions[0].append([b"b"])
        folder.remove("orders")
        anew = folder.open("orders", 1, clock_ms=lambda: 6)
        assert (anew.created_ms, len(anew.partitions), anew.partitions[0].is_empty) == (6, 1, True)
    with HubFolder(tmp_path) as folder:
        assert opened(folder, partitions=1).partitions[0].is_empty


def test_a_hub_whose_deletion_was_cut_off_does_not_come_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(path: Path) -> None:
        raise KeyboardInterrupt

    with HubFolder(tmp_path) as folder:
        opened(folder).partitions[0].append([b"a"])
        with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
            patched.setattr("shutil.rmtree", killed)
            folder.remove("orders")
        assert folder.names() == []
    with HubFolder(tmp_path) as folder:
        assert opened(folder).partitions[0].is_empty


def test_what_is_left_of_a_hub_without_its_description_is_not_taken_for_one(tmp_path: Path) -> None:
    with HubFolder(tmp_path) as folder:
        opened(folder).partitions[0].append([b"a"])
        (tmp_path / "orders" / "hub.json").unlink()
        assert folder.names() == []
    with HubFolder(tmp_path) as folder:
        assert opened(folder).partitions[0].is_empty


def test_a_folder_belongs_to_one_emulator_at_a_time(tmp_path: Path) -> None:
    with HubFolder(tmp_path), pytest.raises(SandboxError, match="belongs to an emulator that still runs"):
        HubFolder(tmp_path)
    with HubFolder(tmp_path):
        pass


def test_a_folder_that_cannot_be_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SandboxError, match=r"hubs cannot be kept in /.*/file/hubs \(Not a directory\); choose another folder"):
        HubFolder(tmp_path / "file" / "hubs")


def test_a_description_of_another_form_is_refused(tmp_path: Path) -> None:
    with HubFolder(tmp_path) as folder:
        opened(folder)
    description = tmp_path / "orders" / "hub.json"
    description.write_text(json.dumps(json.loads(description.read_text()) | {"form": 2}))
    with HubFolder(tmp_path) as folder, pytest.raises(SandboxError, match="has form 2, and this emulator knows 1"):
        opened(folder)
    description.write_text("")
    with HubFolder(tmp_path) as folder, pytest.raises(SandboxError, match="does not describe a hub"):
        opened(folder)


@pytest.mark.parametrize("name", ["../../a/b", "..", ".lock", "a.b"])
def test_a_name_leads_out_of_no_folder(tmp_path: Path, name: str) -> None:
    for number in range(2):
        with HubFolder(tmp_path / "hubs") as folder:
            opened(folder, name).partitions[0].append([b"%d" % number])
            assert folder.names() == [name]
    assert [path.name for path in tmp_path.iterdir()] == ["hubs"]
    assert sorted(path.is_dir() for path in (tmp_path / "hubs").iterdir()) == [False, True]


FULL = """
import resource, sys
from streamkit_sandbox.eventhubs.persistence import HubFolder
with HubFolder(sys.argv[1]) as folder:
    partition = folder.open("orders", 1, clock_ms=lambda: 1).partitions[0]
    partition.append([b"a"])
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
    try:
        partition.append([b"b" * 5000])
    except OSError as error:
        print(error.errno, partition.last_sequence)
    partition.append([b"c"])
"""


@pytest.mark.skipif(sys.platform == "win32", reason="limits of POSIX")
def test_what_does_not_fit_is_refused_and_leaves_nothing_behind(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", FULL, str(tmp_path)], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.split() == [str(errno.EFBIG), "0"]
    with HubFolder(tmp_path) as folder:
        assert [event.message for event in held(opened(folder).partitions[0])] == [b"a", b"c"]


SENDER = """
import sys
from streamkit_sandbox.eventhubs.persistence import HubFolder
partition = HubFolder(sys.argv[1]).open("orders", 1, clock_ms=lambda: 1).partitions[0]
while True:
    partition.append([b"x" * 100] * 10)
    print(partition.last_sequence, flush=True)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_what_was_acknowledged_outlives_a_kill(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", SENDER, str(tmp_path)], stdout=subprocess.PIPE) as running:
        assert running.stdout is not None
        for _ in range(50):
            running.stdout.readline()
        os.kill(running.pid, signal.SIGKILL)
        rest = running.stdout.read().split()
    with HubFolder(tmp_path) as folder:
        last = opened(folder).partitions[0].last_sequence
    assert last >= int(rest[-1] if rest else 499)
    assert last % 10 == 9
