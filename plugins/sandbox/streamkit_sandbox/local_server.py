"""A server that is one process and speaks HTTP on 127.0.0.1: starting, readiness, data, and the signals of a test of failures.

The servers themselves say which program that is and how one sees that it serves. Linux and macOS. A process under a guard
cannot outlive this one (see `process.py`).
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import tempfile
import time
import weakref
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from secrets import token_hex
from types import TracebackType
from typing import ClassVar, Self

from streamkit_sandbox.errors import SandboxError, ServerStartError, ServerUnavailableError
from streamkit_sandbox.loopback import LOOPBACK, free_ports
from streamkit_sandbox.process import GuardedProcess, log_tail

__all__ = ["LocalServer", "Program"]

_STOP_SECONDS = 30.0
_CLOSE_SECONDS = 10.0
_POLL_SECONDS = 0.02
_ANSWER_SECONDS = 5.0
_PAUSED_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class Program:
    """A command, and what is added to the environment for it."""

    argv: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)


class LocalServer(ABC):
    """Started by `start()` or by `with`. Without `folder` and `persist` the server holds its data in memory.

    `persist=True` keeps the data while this object is open, through `kill()` and `restart()`. `folder` keeps it for a later
    server too (its port differs). Not thread-safe. `start` and `restart` raise ServerUnavailableError if the program cannot
    be had, ServerStartError, with the end of the log, if it is not ready within `start_timeout_seconds`.
    """

    name: ClassVar[str]

    def __init__(self, folder: Path | str | None = None, *, persist: bool = False, start_timeout_seconds: float = 60.0) -> None:
        self._chosen_folder = None if folder is None else Path(folder).absolute()
        self._persist = persist or folder is not None
        self._start_timeout_seconds = start_timeout_seconds
        self._folder: Path | None = None
        self._port = 0
        self._program: Program | None = None
        self._processes: list[GuardedProcess] = []  # the present one is the last; shared with the finalizer
        self._finish: weakref.finalize[[list[GuardedProcess], Path | None, int], LocalServer] | None = None

    @abstractmethod
    def _command(self, port: int, folder: Path, data: Path | None) -> Program:
        """What listens on `port`, with its temporary files in `folder` and its data in `data` (None: in memory)."""

    @abstractmethod
    def _serves(self, timeout_seconds: float) -> bool:
        """True if the server itself answers a request in that time."""

    @abstractmethod
    def settings(self) -> dict[str, str]:
        """The environment variables that point streamkit at this server."""

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def start(self) -> None:
        """Returns when the server answers; does nothing if already started."""
        if self._folder is not None:
            return
        if sys.platform == "win32":
            raise ServerUnavailableError(self.name, "the sandbox ends servers by POSIX signals", "use Linux, macOS or WSL")
        temporary = None if self._chosen_folder else Path(tempfile.gettempdir()) / f"streamkit-{self.name}-{token_hex(8)}"
        folder = self._chosen_folder or temporary
        assert folder is not None
        data = folder / "data" if self._persist else None
        (self._port,) = free_ports(1)
        # First of all what may take minutes of fetching: who is killed in them leaves no folder.
        self._program = self._command(self._port, folder, data)
        # Also called when this object is dropped and at interpreter exit.
        self._finish = weakref.finalize(self, _end, self._processes, temporary, os.getpid())
        self._folder = folder
        try:
            if temporary is not None:
                temporary.mkdir(mode=0o700)  # and not there before
            (data or folder).mkdir(parents=True, exist_ok=True)
            self._run()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Ends the server and removes its temporary folder. May be called again; `start()` begins anew."""
        if self._finish is not None:
            self._finish()
        self._folder, self._program, self._processes = None, None, []

    @property
    def endpoint_url(self) -> str:
        """`http://127.0.0.1:PORT`; the same after a restart."""
        self._opened()
        return f"http://{LOOPBACK}:{self._port}"

    @property
    def pid(self) -> int | None:
        """The process id, None when it does not run."""
        process = self._processes[-1] if self._processes else None
        return process.pid if process is not None and process.exit_code() is None else None

    @property
    def folder(self) -> Path:
        """Its files; a temporary folder is removed by `close()`."""
        return self._opened()

    @property
    def log(self) -> Path:
        """What the server wrote."""
        return self._opened() / f"{self.name}.log"

    def kill(self) -> None:
        """SIGKILL; returns when the process is gone."""
        self._signal(signal.SIGKILL, _STOP_SECONDS)

    def stop(self) -> None:
        """SIGTERM; returns when the process is gone, raises TimeoutError after 30 s."""
        self._signal(signal.SIGTERM, _STOP_SECONDS)

    def pause(self) -> None:
        """SIGSTOP: connections stay open and nothing is answered; returns when that is so."""
        self._signal(signal.SIGSTOP)
        while self._serves(_PAUSED_SECONDS):  # the signal is on its way
            pass

    def resume(self) -> None:
        """SIGCONT."""
        self._signal(signal.SIGCONT)

    def restart(self) -> None:
        """Starts a server that was killed or stopped (stops it first if it runs) at its port; data stay if it persists."""
        self._opened()
        if self.pid is not None:
            self.stop()
        self._run()

    def _opened(self) -> Path:
        if self._folder is None:
            raise SandboxError(f"the server {self.name} is not started; use `with {type(self).__name__}() as server` or call start()")
        return self._folder

    def _signal(self, number: int, wait_seconds: float = 0.0) -> None:
        self._opened()
        process = self._processes[-1]
        process.signal(number)
        if wait_seconds and process.exit_code(wait_seconds) is None:
            raise TimeoutError(f"{self.name} did not end within {wait_seconds:g} s of {signal.Signals(number).name}")

    def _run(self) -> None:
        """Starts the process and returns when it answers."""
        folder, program = self._opened(), self._program
        assert program is not None
        remove = None if self._chosen_folder else folder
        process = GuardedProcess(program.argv, log=self.log, folder=folder, remove=remove, environment=program.environment)
        self._processes[:] = [process]
        deadline = time.monotonic() + self._start_timeout_seconds
        while not self._serves(_ANSWER_SECONDS):
            code = process.exit_code()
            if code is not None:
                ended = f"ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
                raise ServerStartError(self.name, ended, log_tail(self.log))
            if time.monotonic() > deadline:
                raise ServerStartError(self.name, f"was not ready after {self._start_timeout_seconds:g} s", log_tail(self.log))
            time.sleep(_POLL_SECONDS)


def _end(processes: list[GuardedProcess], temporary: Path | None, owner: int) -> None:
    # A forked child inherits the finalizer; the server is not its own.
    if os.getpid() != owner:
        return
    for process in processes:
        if temporary is None:
            # Data that somebody keeps deserves an orderly end.
            process.signal(signal.SIGTERM)
            process.exit_code(_CLOSE_SECONDS)
        process.end()
    if temporary is not None:
        shutil.rmtree(temporary, ignore_errors=True)
