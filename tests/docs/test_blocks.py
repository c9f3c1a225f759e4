"""Every code block in README, docs and examples is a file that runs, or is checked: nothing shown can rot."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest
import typer

from streamkit.app import App
from streamkit.assembly.loader import load
from streamkit.assembly.registry import Registry
from streamkit.cli.application import application
from streamkit.engine.runtime import ThreadRuntime
from streamkit.processing import record_processor
from streamkit.settings import Settings, variable_of
from tests.docs.pages import DOCS, EXAMPLES, PAGES, ROOT, SNIPPETS, Block, blocks, environment, variables_of

LANGUAGES = {"python", "bash", "console", "ini", "json", "toml", "text"}
CONTEXT = {"STREAMKIT_STREAM": "orders", "STREAMKIT_GROUP": "billing"}
OTHER_VARIABLES = {"STREAMKIT_TEST_REQUIRE"}
NOT_INSTALLED = ("STREAMKIT_LINES__", "STREAMKIT_REDISSTREAMS__")
"""Sections of plugins that are not installed here: of examples."""
SET_UP = ["pip install uv && uv run streamkit demo", "pip install uv && uv run pytest"]


def ids(block: Block) -> str:
    return str(block)


def test_blocks_are_of_a_kind_that_is_checked() -> None:
    assert {block.language for block in blocks()} <= LANGUAGES


@pytest.mark.parametrize("block", list(blocks("python")), ids=ids)
def test_a_python_block_is_a_file_that_tests_run(block: Block) -> None:
    """Shown by an include, or (where a page cannot include) letter by letter."""
    files = [*SNIPPETS.rglob("*.py"), *EXAMPLES.rglob("*.py")]
    if block.include is not None:
        assert block.include[0] in files
        assert block.shown.strip()
    else:
        assert any(block.text == file.read_text("utf-8") for file in files), "it is not the text of an example"


@pytest.mark.parametrize("block", list(blocks("json")), ids=ids)
def test_a_json_block_is_a_file_of_the_snippets_and_json(block: Block) -> None:
    assert block.include is not None, "put it into docs/snippets"
    json.loads(block.shown)


def test_pages_that_are_built_include_their_python_and_do_not_copy_it() -> None:
    assert [str(block) for block in blocks("python", pages=sorted(DOCS.rglob("*.md"))) if block.include is None] == []


@pytest.mark.parametrize("block", list(blocks("console")), ids=ids)
def test_shown_output_is_what_the_program_prints(block: Block, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    shutil.copytree(block.page.parent, folder)
    commands = [line.removeprefix("$ ") for line in block.text.splitlines() if line.startswith("$ ")]
    expected = "".join(line for line in block.text.splitlines(keepends=True) if not line.startswith("$ "))
    done = subprocess.run(
        ["bash", "-euc", "\n".join(commands)], cwd=folder, env=environment(), capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.stdout, done.returncode) == (expected, 0), done.stderr


@pytest.mark.parametrize("block", list(blocks("ini")), ids=ids)
def test_an_env_block_is_accepted_as_settings(block: Block) -> None:
    broker = next((name for name in ("eventhubs", "kafka", "kinesis") if f"STREAMKIT_{name.upper()}__" in block.shown), "memory")
    loaded = load(Registry(), environment=CONTEXT | {"STREAMKIT_BROKER": broker} | variables_of(block.shown))
    assert not loaded.warnings
    assert not loaded.unused


@pytest.mark.parametrize("block", list(blocks("toml")), ids=ids)
def test_a_toml_block_can_be_read(block: Block) -> None:
    assert tomllib.loads(block.shown)


@pytest.mark.parametrize("block", list(blocks("bash")), ids=ids)
def test_commands_in_bash_blocks_exist(block: Block) -> None:
    commands = typer.main.get_command(application).commands  # type: ignore[attr-defined]
    for line in block.text.splitlines():
        words = shlex.split(line.rpartition("&& ")[2], comments=True)
        words = words[2:] if words[:2] == ["uv", "run"] else words
        if words[:1] == ["just"]:
            assert words[1] in recipes()
        if words[:1] != ["streamkit"]:
            continue
        command = commands[words[1]]
        if hasattr(command, "commands"):
            command = command.commands[words[2]]
        options = {option for parameter in command.params for option in parameter.opts}
        assert {word for word in words if word.startswith("--")} <= options


def recipes() -> set[str]:
    return set(re.findall(r"^(\w+)[^:\n]*:(?!=)", (ROOT / "justfile").read_text("utf-8"), re.MULTILINE))


def test_recipes_that_are_named_exist() -> None:
    named = {name for page in PAGES for name in re.findall(r"`just (\w+)`", page.read_text("utf-8"))}
    assert named <= recipes()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_variable_that_is_named_exists(page: Path) -> None:
    known = {variable_of(name) for name in Settings.model_fields} | OTHER_VARIABLES
    registry = Registry()
    for name in ("memory", "file", "sqlite", "kafka", "kinesis", "dynamodb", "eventhubs", "azureblob"):
        known |= {variable_of(field, name) for field in registry.select(name).settings.model_fields}
    named = set(re.findall(r"\bSTREAMKIT_[A-Z][A-Z_]*[A-Z]", page.read_text("utf-8")))
    assert {name for name in named - known if not name.startswith(NOT_INSTALLED)} == set()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_between_files_lead_somewhere(page: Path) -> None:
    """Of README and examples too, which mkdocs does not see."""
    prose = re.sub(r"```.*?```", "", page.read_text("utf-8"), flags=re.DOTALL)
    targets = [link.split("#")[0] for link in re.findall(r"\]\(([^)\s]+)\)", prose)]
    relative = [target for target in targets if target and "://" not in target]
    assert [target for target in relative if not (page.parent / target).exists()] == []


def test_the_readme_shows_the_contract_that_the_program_prints(monkeypatch: pytest.MonkeyPatch) -> None:
    """The variables of its first block, given to the program as it is."""
    first = next(block for block in blocks("bash", pages=[ROOT / "README.md"]) if "streamkit run" in block.text)
    given = dict(word.split("=", 1) for word in shlex.split(first.text, comments=True) if word.startswith("STREAMKIT_"))
    for name in environment().keys() ^ environment(**given).keys():
        monkeypatch.setenv(name, given[name])

    @record_processor
    def handle(record: object, context: object) -> None:
        """As first.py: a function of one record."""

    runtime = ThreadRuntime()
    try:
        assembled = App(handle).assemble(runtime)
        assembled.stop()
    finally:
        runtime.stop()
    shown = next(block for block in blocks("text", pages=[ROOT / "README.md"]))
    assert shown.text == assembled.contract + "\n"


def test_the_readme_shows_first_py_and_three_variables_and_one_for_kafka() -> None:
    readme = (ROOT / "README.md").read_text("utf-8")
    assert (EXAMPLES / "01_first_processor" / "first.py").read_text("utf-8") in readme
    assert "export STREAMKIT_BROKER=kafka STREAMKIT_STREAM=orders STREAMKIT_GROUP=billing\n" in readme
    assert "streamkit run first:handle\n" in readme


def test_the_readme_has_exactly_two_set_up_commands() -> None:
    commands = [block.text.strip() for block in blocks("bash", pages=[ROOT / "README.md"]) if "uv run" in block.text]
    assert commands == SET_UP


def test_ci_ends_with_the_test_command_of_the_readme_and_lets_no_server_be_missing() -> None:
    lines = (ROOT / ".ci" / "run").read_text("utf-8").splitlines()
    assert f"if ! step {SET_UP[1].rpartition('&& ')[2]} -n 4 --dist loadfile --no-loadscope-reorder; then" in lines
    assert "export STREAMKIT_TEST_REQUIRE=all" in lines
