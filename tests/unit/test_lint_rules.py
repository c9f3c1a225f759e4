"""Import rules that import-linter cannot say: each is a function from source text to what breaks it, and is shown to bite.

The floors themselves (errors below model below … cli) are contracts of import-linter, in pyproject.toml.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CORE = ROOT / "streamkit"
PLUGINS = ROOT / "plugins"

CARRIERS = {"asyncio", "concurrent", "multiprocessing", "queue", "random", "sched", "secrets", "threading", "time"}
"""What only `engine/runtime` may import: everything else in the engine must run in virtual time, from a seed."""
PUBLIC = {"app", "errors", "model", "outcome", "plugin", "processing", "settings", "testing"}
"""What a plugin may import of streamkit, besides the names in `streamkit` itself."""
SEAMS = {"errors", "model", "plugin", "settings"}
"""The same for the plugins inside streamkit, which are shaped like outside ones."""


def imported(source: str) -> Iterator[str]:
    """Every module that `source` imports anywhere, `from a import b` as both `a` and `a.b`."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = "." * node.level + (node.module or "")
            yield module
            yield from (f"{module}.{alias.name}" for alias in node.names)


def carrier_imports(source: str) -> set[str]:
    """Clocks, threads, loops and randomness."""
    return {name for name in imported(source) if name.partition(".")[0] in CARRIERS}


def relative_imports(source: str) -> set[str]:
    return {name for name in imported(source) if name.startswith(".")}


def root_imports(source: str) -> set[str]:
    """`from streamkit import …` inside streamkit: the front door imports everybody, so nobody inside may go through it."""
    return {name for name in imported(source) if name == "streamkit"}


def environment_reads(source: str) -> set[str]:
    """`os.environ`, `os.getenv`, also imported by name."""
    names = {"environ", "environb", "getenv", "getenvb"}
    found = {f"os.{node.attr}" for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Attribute) and node.attr in names}
    return found | {name for name in imported(source) if name.startswith("os.") and name.partition(".")[2] in names}


def private_imports(source: str, allowed: set[str]) -> set[str]:
    """Modules of streamkit outside `allowed`, and names with a leading underscore."""
    ours = [name.split(".") for name in imported(source) if name == "streamkit" or name.startswith("streamkit.")]
    first = {parts[1] for parts in ours if len(parts) > 1 and is_module(parts[1])}
    hidden = {".".join(parts) for parts in ours if any(part.startswith("_") and not part.startswith("__") for part in parts)}
    return {f"streamkit.{name}" for name in first - allowed} | hidden


def is_module(name: str) -> bool:
    return (CORE / name).is_dir() or (CORE / f"{name}.py").is_file()


def other_plugins(source: str, own: str) -> set[str]:
    return {name for name in imported(source) if name.startswith("streamkit_") and name.partition(".")[0] != own}


def files(*folders: Path) -> list[Path]:
    return sorted(file for folder in folders for file in folder.rglob("*.py"))


def breaches(found: Callable[[str], set[str]], paths: list[Path]) -> dict[str, set[str]]:
    assert paths, "there is nothing to look at: has a folder moved?"
    return {str(path.relative_to(ROOT)): wrong for path in paths if (wrong := found(path.read_text("utf-8")))}


def packages() -> list[Path]:
    return [folder for folder in sorted(PLUGINS.glob("*/streamkit_*")) if folder.is_dir()]


def test_in_the_engine_only_the_runtime_knows_threads_clocks_loops_and_chance() -> None:
    engine = [file for file in files(CORE / "engine") if CORE / "engine" / "runtime" not in file.parents]
    assert breaches(carrier_imports, engine) == {}


def test_only_the_assembly_reads_the_environment() -> None:
    outside = [file for file in files(CORE) if CORE / "assembly" not in file.parents]
    assert breaches(environment_reads, outside) == {}


def test_imports_are_absolute() -> None:
    assert breaches(relative_imports, files(CORE, *packages())) == {}


def test_nothing_inside_streamkit_goes_through_its_front_door() -> None:
    inside = [file for file in files(CORE) if CORE / "cli" not in file.parents and CORE / "testing" not in file.parents]
    assert breaches(root_imports, inside) == {}


def test_plugins_import_only_what_is_public() -> None:
    assert breaches(lambda source: private_imports(source, PUBLIC), files(*packages())) == {}


def test_builtin_plugins_stand_on_the_same_seams_as_outside_ones() -> None:
    assert breaches(lambda source: private_imports(source, SEAMS | {"builtin"}), files(CORE / "builtin")) == {}


def test_plugins_do_not_import_each_other() -> None:
    for package in packages():
        assert breaches(lambda source, own=package.name: other_plugins(source, own), files(package)) == {}


def test_no_sdk_is_imported_by_what_introduces_a_plugin() -> None:
    allowed = {"__future__", "collections", "datetime", "pathlib", "re", "typing", "pydantic", "streamkit"}
    for package in packages():
        for file in (package / "__init__.py", package / "settings.py"):
            if file.is_file():
                tops = {name.partition(".")[0] for name in imported(file.read_text("utf-8"))}
                assert tops <= allowed | {package.name}, file


@pytest.mark.parametrize(
    "line",
    [
        "import time",
        "import asyncio as a",
        "from threading import Lock",
        "from concurrent.futures import Future",
        "def f():\n    import random",
        "if TYPE_CHECKING:\n    import queue",
    ],
)
def test_the_rule_about_the_runtime_bites(line: str) -> None:
    assert carrier_imports(line)


@pytest.mark.parametrize("line", ["os.environ['X']", "os.getenv('X')", "from os import environ", "x = os.environ.get('HOME')"])
def test_the_rule_about_the_environment_bites(line: str) -> None:
    assert environment_reads(line)


@pytest.mark.parametrize(
    "line",
    [
        "from streamkit.engine.runtime import Promise",
        "from streamkit import engine",
        "import streamkit.assembly.loader",
        "from streamkit.builtin.sqlite import SqliteStore",
        "from streamkit.model.record import _ListBatch",
    ],
)
def test_the_rule_about_what_is_public_bites(line: str) -> None:
    assert private_imports(line, PUBLIC)


def test_the_rule_about_what_is_public_lets_the_public_pass() -> None:
    lines = "from streamkit import App, Record\nfrom streamkit.plugin import Reader\nfrom streamkit.model import Batch\nimport streamkit"
    assert private_imports(lines, PUBLIC) == set()


def test_the_other_rules_bite() -> None:
    assert other_plugins("from streamkit_kafka.client import Config", "streamkit_sandbox")
    assert not other_plugins("from streamkit_kafka.client import Config", "streamkit_kafka")
    assert relative_imports("from . import errors")
    assert root_imports("from streamkit import App")
    assert not root_imports("from streamkit.model import Batch")
