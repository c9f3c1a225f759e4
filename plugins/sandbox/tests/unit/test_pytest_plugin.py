"""What a test run says when a server cannot be had."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

TESTS = """
def test_one(kafka_server): ...
def test_two(kafka_topic): ...
def test_three(): ...
def test_four(kinesis_stream): ...
def test_five(kinesalite_server): ...
def test_six(dynamodb_server): ...
def test_seven(blob_container): ...
def test_eight(event_hub): ...
"""


def run(folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """A run of its own without any Java or Node, and with a cache that has none either."""
    (folder / "test_it.py").write_text(TESTS)
    without = {"STREAMKIT_SANDBOX_JAVA": "system", "STREAMKIT_SANDBOX_NODE": "system", "STREAMKIT_SANDBOX_CACHE": str(folder / "cache")}
    without["PATH"] = str(folder)
    known = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "STREAMKIT"))}
    command = [sys.executable, "-m", "pytest", "-ra", "-p", "no:cacheprovider", f"--rootdir={folder}", str(folder)]
    return subprocess.run(command, cwd=folder, env=known | without | environment, capture_output=True, text=True, check=False)


def test_a_missing_server_skips_its_tests_and_the_last_lines_say_so(tmp_path: Path) -> None:
    done = run(tmp_path)
    *_, heading, azurite, dynamodb, kafka, kinesis, kinesalite, verdict = done.stdout.splitlines()
    assert done.returncode == 0
    assert "not tested" in heading
    assert azurite.startswith("1 test: azurite is not available: STREAMKIT_SANDBOX_NODE=system and there is no node")
    assert dynamodb.startswith("1 test: dynamodb is not available: STREAMKIT_SANDBOX_JAVA=system and there is no java")
    assert kafka.startswith("2 tests: kafka is not available: STREAMKIT_SANDBOX_JAVA=system and there is no java")
    assert kinesalite.startswith("1 test: kinesis-fast is not available: STREAMKIT_SANDBOX_NODE=system and there is no node")
    assert kinesis.startswith("1 test: kinesis is not available: STREAMKIT_SANDBOX_NODE=system and there is no node")
    assert "2 passed, 6 skipped" in verdict


def test_where_all_servers_are_required_a_missing_one_fails(tmp_path: Path) -> None:
    done = run(tmp_path, STREAMKIT_TEST_REQUIRE="all")
    assert done.returncode == 1
    assert "2 passed, 6 errors" in done.stdout
    assert "kafka is not available" in done.stdout
    assert "kinesis is not available" in done.stdout


def test_a_server_that_is_misconfigured_is_an_error_never_a_skip(tmp_path: Path) -> None:
    done = run(tmp_path, STREAMKIT_SANDBOX_JAVA="nonsense", STREAMKIT_SANDBOX_NODE="nonsense")
    assert "2 passed, 6 errors" in done.stdout
