"""`import streamkit`, and the entry point of the program, load neither the command line's libraries nor any SDK."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = ("rich", "typer", "click", "confluent_kafka", "boto3", "botocore", "azure", "streamkit_kafka", "streamkit_sandbox", "sqlite3")


@pytest.mark.parametrize("module", ["streamkit", "streamkit.cli"])
def test_importing_stays_cheap(module: str) -> None:
    code = f"import sys, {module}; print([name for name in {HEAVY!r} if name in sys.modules])"
    answer = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert answer.stdout == "[]\n"
