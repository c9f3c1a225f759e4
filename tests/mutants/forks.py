"""A process that has imported what tests need, but nothing of streamkit, and forks itself for each run of pytest.

Most of such a run's time is the import of pytest and of the packages that streamkit stands on. An order comes as a line of JSON,
(folder, arguments of pytest, file for what it says, seconds), and is answered with a line: the exit code.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

__all__ = ["Fork", "Run"]

LOOK_SECONDS = 0.01


class Run(NamedTuple):
    """How a run of pytest ended; `code` is negative if it was killed."""

    code: int
    said: str


class Fork:
    """One such process; its runs go one after the other."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-P", __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
            text=True,
        )

    def run(self, folder: Path, arguments: Sequence[str], seconds: float) -> Run:
        """pytest in `folder`, whose packages come before all others; killed after so many seconds."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        said = folder / "said.txt"
        self._process.stdin.write(json.dumps([str(folder), list(arguments), str(said), seconds]) + "\n")
        self._process.stdin.flush()
        code = int(self._process.stdout.readline())
        return Run(code, said.read_text())

    def close(self) -> None:
        self._process.communicate(timeout=60)


def _serve() -> None:
    import hypothesis  # noqa: F401
    import pluggy  # noqa: F401
    import pydantic  # noqa: F401
    import pytest  # noqa: F401
    import rich.console  # noqa: F401
    import typer.testing  # noqa: F401

    assert not [name for name in sys.modules if name.partition(".")[0] in ("streamkit", "tests")]
    for line in sys.stdin:
        folder, arguments, said, seconds = json.loads(line)
        child = os.fork()
        if not child:
            _be_pytest(folder, arguments, said)
        print(_ended(child, seconds), flush=True)


def _be_pytest(folder: str, arguments: list[str], said: str) -> None:
    """Never returns."""
    import pytest

    code = 3
    try:
        output = os.open(said, os.O_WRONLY | os.O_CREAT)
        os.dup2(output, 1)
        os.dup2(output, 2)
        os.chdir(folder)
        os.environ["PYTHONPATH"] = folder
        sys.path.insert(0, folder)
        code = int(pytest.main(arguments))
        sys.stdout.flush()
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def _ended(child: int, seconds: float) -> int:
    until = time.monotonic() + seconds
    while True:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() > until:
            os.kill(child, 9)
            until = float("inf")
        time.sleep(LOOK_SECONDS)


if __name__ == "__main__":
    _serve()
