"""The example of a plugin of one's own keeps the rules that it shows, run as its author would."""

from __future__ import annotations

import os
import subprocess
import sys

from tests.docs.pages import EXAMPLES

FOLDER = EXAMPLES / "05_own_broker"


def test_the_example_of_a_broker_keeps_the_rules() -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_rules.py"]
    variables = os.environ | {"PYTHONPATH": str(FOLDER)}
    done = subprocess.run(command, cwd=FOLDER, env=variables, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stdout
    assert " passed" in done.stdout.splitlines()[-1]
    assert len((FOLDER / "test_rules.py").read_text("utf-8").splitlines()) <= 45
