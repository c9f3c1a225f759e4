"""The folder for what is fetched or made once per machine, and the one rule for filling it.

Whatever lies at its final path is complete: it is made beside it, under a lock, and then renamed. Processes that start
at once wait for the one that works; without locks (Windows) both work and the first rename wins.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

if sys.platform != "win32":
    import fcntl

__all__ = ["cache_folder", "locked", "made_once"]


def cache_folder() -> Path:
    """`$STREAMKIT_SANDBOX_CACHE`, else `streamkit-sandbox` in the user's cache folder; created when missing."""
    if chosen := os.environ.get("STREAMKIT_SANDBOX_CACHE"):
        folder = Path(chosen).expanduser().absolute()
    else:
        base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
        folder = Path(base) / "streamkit-sandbox"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def made_once(path: Path, make: Callable[[Path], None]) -> Path:
    """`path`, made by `make(temporary path beside it)` if it is missing; `make` may leave a file or a folder there.

    What `make` raises is passed on and leaves nothing behind.
    """
    if path.exists():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    with locked(path.with_name(f".{path.name}.lock")):
        if path.exists():  # another process made it while this one waited
            return path
        with tempfile.TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent, ignore_cleanup_errors=True) as workspace:
            draft = Path(workspace) / path.name
            make(draft)
            _publish(draft, path)
    return path


def _publish(draft: Path, path: Path) -> None:
    try:
        draft.rename(path)
    except OSError:
        # A folder cannot replace a filled one: somebody without the lock was faster, and theirs is as complete as ours.
        if not path.exists():
            raise
        shutil.rmtree(draft, ignore_errors=True)


@contextlib.contextmanager
def locked(path: Path) -> Iterator[int]:
    """One process at a time, by a lock on a file that stays; without effect on Windows.

    Yields the file's descriptor: a child that inherits it holds the lock as long as it lives.
    """
    with path.open("wb") as file:
        if sys.platform != "win32":
            fcntl.flock(file, fcntl.LOCK_EX)  # released with the file, also when the process is killed
        yield file.fileno()
