"""Several workers at once over one store: in threads, or in processes of their own that may be killed. Rules say when each goes on.

A contestant does one step for each `go`, and says one thing after it. What it does is a coroutine of `contestants.py`.
"""

from __future__ import annotations

import asyncio
import base64
import inspect
import json
import pickle
import subprocess
import sys
import tempfile
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from queue import Empty, SimpleQueue
from typing import Any

from streamkit.testing.conformance.contestants import ROLES
from streamkit.testing.conformance.kit import StoreKit

__all__ = ["Contestant", "in_processes", "in_threads", "process"]

_PROGRAM = "streamkit.testing.conformance.worker"


class Contestant(ABC):
    """One of them, seen from outside."""

    @abstractmethod
    def go(self) -> None:
        """Let it do its next step."""

    @abstractmethod
    def said(self) -> Any:
        """What it said after the step; JSON. Raises AssertionError if it failed, or says nothing in time."""


class _Thread(Contestant):
    def __init__(self, kit: StoreKit, role: str, worker: str) -> None:
        self._goes: SimpleQueue[bool] = SimpleQueue()
        self._says: SimpleQueue[Any] = SimpleQueue()
        self._patience_seconds = kit.patience_seconds
        self._thread = threading.Thread(target=self._run, args=(kit, role, worker), name=f"conformance-{worker}", daemon=True)
        self._thread.start()

    def _run(self, kit: StoreKit, role: str, worker: str) -> None:
        try:
            asyncio.run(ROLES[role](kit, worker, self._goes.get, self._says.put))
        except BaseException as error:
            self._says.put(error)

    def go(self) -> None:
        self._goes.put(True)

    def said(self) -> Any:
        try:
            said = self._says.get(timeout=self._patience_seconds)
        except Empty:
            raise AssertionError(f"a thread did not answer within {self._patience_seconds:g} s") from None
        if isinstance(said, BaseException):
            raise AssertionError(f"a thread failed: {said!r}") from said
        return said

    def end(self) -> None:
        self._goes.put(False)
        self._thread.join(self._patience_seconds)


class _Process(Contestant):
    def __init__(self, kit: StoreKit, role: str, worker: str) -> None:
        self._patience_seconds = kit.patience_seconds
        told = f"{_packed(kit)} {role} {worker}"
        self._complaints = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed in `end`; a pipe that nobody reads could fill up and stop the child
        self._process = subprocess.Popen(
            [sys.executable, "-m", _PROGRAM], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._complaints, text=True
        )
        self._write(told)

    def _write(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()

    def go(self) -> None:
        self._write("go")

    def said(self) -> Any:
        assert self._process.stdout is not None
        watchdog = threading.Timer(self._patience_seconds, self._process.kill)
        watchdog.start()
        try:
            line = self._process.stdout.readline()
        finally:
            watchdog.cancel()
        if not line.endswith("\n"):
            self._process.kill()
            self._complaints.seek(0)
            raise AssertionError(f"a process ended, or did not answer: {self._complaints.read()[-2000:]}")
        return json.loads(line)

    def kill(self) -> list[Any]:
        """End it as a power cut would. What it had said until then, and nobody has read."""
        assert self._process.stdout is not None
        self._process.kill()
        lines = self._process.stdout.readlines()
        return [json.loads(line) for line in lines if line.endswith("\n")]

    def end(self) -> None:
        for pipe in (self._process.stdin, self._process.stdout, self._complaints):
            assert pipe is not None
            try:
                pipe.close()
            except BrokenPipeError:
                """It was killed with something in the pipe."""
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


@contextmanager
def in_threads(kit: StoreKit, role: str, count: int) -> Iterator[Sequence[Contestant]]:
    """So many workers in threads of this process, each with a loop and a store of its own."""
    with ExitStack() as stack:
        yield [_ended(stack, _Thread(kit, role, f"w{number}")) for number in range(count)]


@contextmanager
def in_processes(kit: StoreKit, role: str, count: int) -> Iterator[Sequence[Contestant]]:
    """So many workers in processes of their own."""
    with ExitStack() as stack:
        yield [_ended(stack, _Process(kit, role, f"w{number}")) for number in range(count)]


@contextmanager
def process(kit: StoreKit, role: str, worker: str) -> Iterator[_Process]:
    """One process, which may be killed."""
    with ExitStack() as stack:
        yield _ended(stack, _Process(kit, role, worker))


def _ended(stack: ExitStack, contestant: Any) -> Any:
    end: Callable[[], None] = contestant.end
    stack.callback(end)
    return contestant


def _packed(kit: StoreKit) -> str:
    """The kit as one word: the file and the name of its class, and what it holds."""
    kind = type(kit)
    try:
        content = pickle.dumps((sys.path, kind.__module__, inspect.getfile(kind), kind.__qualname__, vars(kit)))
    except Exception as error:
        raise AssertionError(f"{kind.__name__} goes to other processes and cannot be pickled: {error}") from error
    return base64.b64encode(content).decode()
