"""What the cache promises: complete or absent, and made once."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from streamkit_sandbox.cache import cache_folder, made_once

MAKER = """
import sys
from pathlib import Path
from streamkit_sandbox.cache import made_once
def make(draft):
    draft.mkdir()
    with open(sys.argv[2], "a") as log:
        log.write("made\\n")
print("ready", flush=True)
sys.stdin.readline()
made_once(Path(sys.argv[1]), make)
"""


def test_a_variable_chooses_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STREAMKIT_SANDBOX_CACHE", str(tmp_path / "mine"))
    assert cache_folder() == tmp_path / "mine"
    assert cache_folder().is_dir()


def test_the_users_cache_folder_is_the_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("STREAMKIT_SANDBOX_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "streamkit-sandbox"


def test_what_exists_is_not_made_again(tmp_path: Path) -> None:
    calls: list[Path] = []

    def make(draft: Path) -> None:
        calls.append(draft)
        draft.write_text("x")

    assert made_once(tmp_path / "a" / "b", make) == made_once(tmp_path / "a" / "b", make)
    assert len(calls) == 1


def test_a_failed_making_leaves_nothing_and_is_tried_again(tmp_path: Path) -> None:
    def fail(draft: Path) -> None:
        draft.mkdir()
        (draft / "half").write_text("x")
        raise RuntimeError("torn")

    with pytest.raises(RuntimeError, match="torn"):
        made_once(tmp_path / "thing", fail)
    assert not (tmp_path / "thing").exists()
    assert [path.name for path in tmp_path.iterdir()] == [".thing.lock"]
    assert made_once(tmp_path / "thing", Path.touch).exists()


def test_a_folder_that_another_process_published_first_is_kept(tmp_path: Path) -> None:
    target = tmp_path / "thing"

    def make(draft: Path) -> None:
        draft.mkdir()
        target.mkdir()
        (target / "theirs").write_text("x")

    assert (made_once(target, make) / "theirs").exists()


@pytest.mark.skipif(sys.platform == "win32", reason="without locks each process makes it and one is kept")
def test_processes_that_start_at_once_make_it_once(tmp_path: Path) -> None:
    command = [sys.executable, "-c", MAKER, str(tmp_path / "thing"), str(tmp_path / "log")]
    makers = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    for maker in makers:
        assert maker.stdout is not None
        assert maker.stdout.readline() == "ready\n"
    for maker in makers:
        assert maker.stdin is not None
        maker.stdin.write("go\n")
        maker.stdin.flush()
    for maker in makers:
        maker.communicate(timeout=30)
        assert maker.returncode == 0
    assert (tmp_path / "log").read_text() == "made\n"
