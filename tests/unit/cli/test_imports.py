"""`import streamkit`, and the entry point of the program, load neither the command line's libraries nor any SDK, nor what few ask for."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = (
    "rich",
    "typer",
    "click",
    "confluent_kafka",
    "boto3",
    "botocore",
    "azure",
    "opentelemetry",
    "streamkit_kafka",
    "streamkit_sandbox",
    "sqlite3",
)


@pytest.mark.parametrize("module", ["streamkit", "streamkit.cli"])
def test_importing_stays_cheap(module: str) -> None:
    code = f"import sys, {module}; print([name for name in {HEAVY!r} if name in sys.modules])"
    answer = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert answer.stdout == "[]\n"


ONLY_IF_ASKED_FOR = (
    "dotenv",
    "streamkit.engine.checkpoint.leased_calls",
    "streamkit.engine.delivery.keyed",
    "streamkit.engine.ownership.lease",
    "tomllib",
)


def test_what_only_some_settings_ask_for_is_not_imported_before() -> None:
    code = f"import sys; from streamkit import App, run; print([name for name in {ONLY_IF_ASKED_FOR!r} if name in sys.modules])"
    answer = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert answer.stdout == "[]\n"
