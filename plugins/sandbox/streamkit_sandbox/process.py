"""One server process under a guard: signals by handle, an exit code, and no way to outlive this process.

The guard (see `guard.py`) is a small process between this one and the server. PR_SET_PDEATHSIG from here would be
shorter and wrong: it fires when the *thread* that started the server ends.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from streamkit_sandbox import guard
from streamkit_sandbox.errors import ServerStartError

__all__ = ["GuardedProcess", "log_tail"]


class GuardedProcess:
    """Started at construction; `end()` (SIGKILL) is final and may be called twice.

    `log` receives what the server writes. `remove` is a folder that the guard deletes when this process dies without
    having ended the server. `environment` is added to this process's own. Raises ServerStartError if the program cannot be run.
    """

    def __init__(
        self, argv: Sequence[str], *, log: Path, folder: Path, remove: Path | None = None, environment: Mapping[str, str] | None = None
    ) -> None:
        order = {
            "argv": list(argv),
            "log": str(log),
            "folder": str(folder),
            "owner": os.getpid(),
            "remove": remove and str(remove),
            "environment": dict(environment or {}),
        }
        self._exit_code: int | None = None
        self._heard = b""
        # A session of its own: Ctrl-C in the terminal is for the program that uses the server.
        self._guard = subprocess.Popen(
            [sys.executable, "-I", "-S", guard.__file__, json.dumps(order)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
            start_new_session=True,
        )
        word, _, value = (self._line(time.monotonic() + 30.0) or "failed no answer from the guard").partition(" ")
        if word != "pid":
            self.end()
            raise ServerStartError(argv[0], value)
        self.pid = int(value)

    def exit_code(self, wait_seconds: float = 0.0) -> int | None:
        """The exit code (negative: the signal that ended it), or None while it still runs after `wait_seconds`."""
        if self._exit_code is None:
            line = self._line(time.monotonic() + wait_seconds)
            if line is not None:
                self._exit_code = int(line.partition(" ")[2] or -signal.SIGKILL)
                self._release()
        return self._exit_code

    def signal(self, number: int) -> None:
        """Sends a signal; nothing happens once the server has ended."""
        stdin = self._guard.stdin
        if stdin is not None and not stdin.closed:
            with contextlib.suppress(BrokenPipeError):
                stdin.write(b"%d\n" % number)

    def end(self) -> None:
        """Kills the server if it runs, and returns when it is gone."""
        if not self._closed:
            self.signal(signal.SIGKILL)
            self.exit_code(10.0)
            self._release()

    @property
    def _closed(self) -> bool:
        return self._guard.stdin is None or self._guard.stdin.closed

    def _release(self) -> None:
        for pipe in (self._guard.stdin, self._guard.stdout):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()
        self._guard.wait()

    def _line(self, deadline: float) -> str | None:
        """The next line of the guard; None at the deadline, an empty one if the guard is gone."""
        stdout = self._guard.stdout
        if stdout is None or stdout.closed:
            return None
        while b"\n" not in self._heard:
            ready, _, _ = select.select([stdout], [], [], max(0.0, deadline - time.monotonic()))
            if not ready:
                return None
            heard = os.read(stdout.fileno(), 4096)
            if not heard:
                return ""
            self._heard += heard
        line, _, self._heard = self._heard.partition(b"\n")
        return line.decode()


def log_tail(log: Path, lines: int = 20) -> str:
    """The last lines of a log, at most 16 KiB of it; empty when there is none."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - 16_384))
            text = file.read().decode("utf-8", "replace")
    except OSError:
        return ""
    return "\n".join(text.splitlines()[-lines:])
