"""The command line inside this process: one folder, one environment, and nothing left behind."""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from streamkit.builtin.memory import MemoryLog
from streamkit.cli.application import execute

MEMORY = {"STREAMKIT_BROKER": "memory", "STREAMKIT_STREAM": "orders", "STREAMKIT_GROUP": "billing"}


@dataclass
class Answer:
    code: int
    out: str
    err: str


@dataclass
class CommandLine:
    folder: Path
    capsys: pytest.CaptureFixture[str]
    monkeypatch: pytest.MonkeyPatch

    def __call__(self, *arguments: str, **variables: str) -> Answer:
        """Run one command; `variables` are added to the environment, without their prefix."""
        with self.monkeypatch.context() as patch:
            for name, value in variables.items():
                patch.setenv(f"STREAMKIT_{name}", value)
            self.capsys.readouterr()
            code = execute(arguments)
        captured = self.capsys.readouterr()
        return Answer(code, captured.out, captured.err.replace(str(self.folder), "<folder>"))

    def file(self, name: str, text: str) -> Path:
        path = self.folder / name
        path.write_text(text)
        return path


@pytest.fixture
def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[CommandLine]:
    for name in [name for name in os.environ if name.upper().startswith("STREAMKIT_")]:
        monkeypatch.delenv(name)
    for name, value in MEMORY.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    MemoryLog.forget()
    modules = set(sys.modules)
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield CommandLine(tmp_path, capsys, monkeypatch)
    for number, handler in handlers.items():
        signal.signal(number, handler)
    for name in set(sys.modules) - modules:
        if str(tmp_path) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]
    logging.getLogger("streamkit").handlers.clear()
    MemoryLog.forget()
