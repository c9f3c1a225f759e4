"""What is shipped: the core wheel alone in a clean environment, then the Kafka plugin beside it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

ROOT = Path(__file__).parents[2]
HEAVY = (
    "boto3",
    "botocore",
    "msgspec",
    "pybase64",
    "confluent_kafka",
    "azure",
    "rich",
    "typer",
    "starlette",
    "uvicorn",
    "prometheus_client",
    "opentelemetry.sdk",
    "streamkit_azureblob",
    "streamkit_dynamodb",
    "streamkit_eventhubs",
    "streamkit_kafka",
    "streamkit_kinesis",
    "streamkit_sandbox",
    "pytest",
)


PLUGINS = ("azureblob", "dynamodb", "eventhubs", "kafka", "kinesis")


def uv(*arguments: object, folder: Path = ROOT) -> None:
    program = os.environ.get("UV") or shutil.which("uv")
    command = [program] if program else [sys.executable, "-m", "uv"]
    done = subprocess.run([*command, *map(str, arguments)], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


class Environment:
    """A virtual environment, and the folder that programs are run in."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "work"
        self.folder.mkdir()
        self.path = folder / "venv"
        uv("venv", "--quiet", "--python", sys.executable, self.path)
        self.programs = self.path / ("Scripts" if sys.platform == "win32" else "bin")

    def install(self, *wheels: Path | str) -> None:
        uv("pip", "install", "--quiet", "--python", self.programs / "python", *wheels)

    def run(self, program: str, *arguments: str, timeout: float = 60, **variables: str) -> subprocess.CompletedProcess[str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("STREAMKIT_", "PYTHON"))}
        command = [str(self.programs / program), *arguments]
        return subprocess.run(command, cwd=self.folder, env=kept | variables, capture_output=True, text=True, timeout=timeout, check=False)

    def loaded_by(self, statement: str) -> set[str]:
        """Which of the heavy packages a statement brings into a fresh interpreter."""
        code = f"{statement}\nimport json, sys\nprint(json.dumps([n for n in {HEAVY!r} if n in sys.modules]))"
        done = self.run("python", "-W", "error", "-c", code)
        assert done.returncode == 0, done.stderr
        return set(json.loads(done.stdout))

    def plugins(self) -> dict[str, dict[str, object]]:
        done = self.run("streamkit", "plugins", "--json")
        assert done.returncode == 0, done.stderr
        return {plugin["name"]: plugin for plugin in json.loads(done.stdout)}


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """By distribution. Each wheel is made from its source distribution, so what that lacks is found here."""
    folder = tmp_path_factory.mktemp("dist")
    for name in ("streamkit", *(f"streamkit-{plugin}" for plugin in PLUGINS)):
        uv("build", "--quiet", "--package", name, "--out-dir", folder)
    return {wheel.name.split("-")[0]: wheel for wheel in folder.glob("*.whl")}


@pytest.fixture(scope="module")
def core(wheels: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """The core wheel and what it depends on; nothing else."""
    environment = Environment(tmp_path_factory.mktemp("core"))
    environment.install(wheels["streamkit"])
    return environment


def test_wheels_hold_their_package_and_nothing_else(wheels: dict[str, Path]) -> None:
    for name, wheel in wheels.items():
        names = zipfile.ZipFile(wheel).namelist()
        assert {entry.split("/")[0].split("-")[0] for entry in names} == {name}
        assert f"{name}/py.typed" in names
        assert any(entry.endswith("entry_points.txt") for entry in names)
    assert any(entry.endswith("licenses/LICENSE") for entry in zipfile.ZipFile(wheels["streamkit"]).namelist())


def test_import_streamkit_loads_no_sdk_and_nothing_of_the_command_line(core: Environment) -> None:
    assert core.loaded_by("import streamkit, streamkit.plugin, streamkit.cli") == set()


def test_the_command_line_works_alone(core: Environment) -> None:
    shown = core.run("streamkit", "--help")
    assert shown.returncode == 0, shown.stderr
    assert "run" in shown.stdout
    assert core.run("streamkit", "--version").stdout.split()[-1] == version()


def version() -> str:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    return str(project["version"])


def test_the_builtin_plugins_are_there_and_no_other(core: Environment) -> None:
    assert set(core.plugins()) == {"memory", "file", "sqlite"}


def test_a_missing_plugin_is_named_with_the_way_to_install_it(core: Environment) -> None:
    done = core.run("streamkit", "explain", STREAMKIT_BROKER="kafka", STREAMKIT_STREAM="orders", STREAMKIT_GROUP="billing")
    assert done.returncode == 2
    assert "pip install 'streamkit[kafka]'" in done.stderr


def test_a_processor_runs_on_the_core_alone(core: Environment) -> None:
    shutil.copytree(ROOT / "examples" / "01_first_processor", core.folder, dirs_exist_ok=True)
    lines = (core.folder / "memory.env").read_text("utf-8").splitlines()
    variables = dict(line.split("=", 1) for line in lines if line.startswith("STREAMKIT_"))
    done = core.run("python", "on_memory.py", **variables)
    assert done.stdout.splitlines()[0] == "ada ordered b'tea'", done.stderr


def test_the_status_page_without_its_extra_says_how_to_install_it(core: Environment) -> None:
    shutil.copytree(ROOT / "examples" / "01_first_processor", core.folder, dirs_exist_ok=True)
    lines = (core.folder / "memory.env").read_text("utf-8").splitlines()
    variables = dict(line.split("=", 1) for line in lines if line.startswith("STREAMKIT_"))
    done = core.run("python", "on_memory.py", **variables, STREAMKIT_STATUS_ADDRESS="0")
    assert done.returncode == 2
    assert "pip install 'streamkit[status]'" in done.stderr


def test_the_status_page_is_there_with_its_extra(wheels: dict[str, Path], tmp_path: Path) -> None:
    environment = Environment(tmp_path)
    environment.install(f"{wheels['streamkit']}[status]")
    assert environment.loaded_by("import streamkit, streamkit.cli") == set()
    shutil.copytree(ROOT / "examples" / "01_first_processor", environment.folder, dirs_exist_ok=True)
    lines = (environment.folder / "memory.env").read_text("utf-8").splitlines()
    variables = dict(line.split("=", 1) for line in lines if line.startswith("STREAMKIT_"))
    done = environment.run("python", "on_memory.py", **variables, STREAMKIT_STATUS_ADDRESS="0")
    assert done.returncode == 0, done.stderr
    assert "streamkit: status page on http://127.0.0.1:" in done.stderr


@pytest.mark.parametrize("plugin", PLUGINS)
def test_a_plugin_is_found_when_installed_and_its_client_is_not_loaded_before_it_is_used(
    wheels: dict[str, Path], tmp_path: Path, plugin: str
) -> None:
    environment = Environment(tmp_path)
    environment.install(wheels["streamkit"], wheels[f"streamkit_{plugin}"])
    assert set(environment.plugins()) == {"memory", "file", "sqlite", plugin}
    assert environment.loaded_by(f"import streamkit, streamkit_{plugin}") == {f"streamkit_{plugin}"}
