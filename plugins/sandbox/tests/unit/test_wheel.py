"""What is no Python is shipped too: the scripts that servers are started with."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]


@pytest.mark.slow
def test_the_wheel_has_the_scripts_that_servers_are_started_with(tmp_path: Path) -> None:
    program = os.environ.get("UV") or shutil.which("uv")
    command = [program] if program else [sys.executable, "-m", "uv"]
    subprocess.run([*command, "build", "--quiet", "--out-dir", str(tmp_path), str(PROJECT)], check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    shipped = {Path(name).name for name in zipfile.ZipFile(wheel).namelist()}
    here = {file.name for file in (PROJECT / "streamkit_sandbox").iterdir() if file.suffix in (".js", ".java")}
    assert here == {"clock.js", "eventhubs_js.js", "loopback.js", "DynamoDBOnLoopback.java"}
    assert here <= shipped
