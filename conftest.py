"""For every test: the processes that tests start may keep what they compile, and files that wait lie among those that compute.

Hundreds of processes are started, and to compile streamkit and an SDK anew costs two thirds of what a short one takes.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests with servers mostly wait, the others compute: side by side each kind would leave to the other what it does not use."""
    files: dict[Path, list[pytest.Item]] = {}
    for item in items:
        files.setdefault(item.path, []).append(item)
    waiting = [path for path, tests in files.items() if any(test.get_closest_marker("integration") for test in tests)]
    computing = sorted(files.keys() - set(waiting), key=lambda path: (-len(files[path]), path))
    place = {path: (number + 0.5) / len(kind) for kind in (waiting, computing) for number, path in enumerate(kind)}
    items[:] = [item for path in sorted(files, key=lambda path: (place[path], path)) for item in files[path]]
