"""`--help` of every command: a sentence for each option, and examples that exist."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest
import typer.main

from streamkit.cli.application import application

if TYPE_CHECKING:
    from tests.unit.cli.conftest import CommandLine


def commands(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    yield path, command
    for name, inner in getattr(command, "commands", {}).items():
        yield from commands(inner, (*path, name))


COMMANDS = dict(commands(typer.main.get_command(application)))
LEAVES = [path for path, command in COMMANDS.items() if not hasattr(command, "commands")]


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_each_command_and_option_says_in_a_sentence_what_it_does(path: tuple[str, ...]) -> None:
    command = COMMANDS[path]
    assert command.help.strip().endswith(".")
    for parameter in command.params:
        assert parameter.help.rstrip().endswith((".", "--list.")), parameter.name


@pytest.mark.parametrize("path", LEAVES, ids=" ".join)
def test_each_example_is_of_its_command(path: tuple[str, ...]) -> None:
    title, *lines = COMMANDS[path].epilog.split("\n\n")
    assert title == "Examples:"
    assert lines
    assert all(f"streamkit {' '.join(path)}" in line for line in lines)


@pytest.mark.parametrize("words", [(), ("--help",), ("checkpoints",), *((*path, "--help") for path in LEAVES)], ids=" ".join)
def test_help_is_shown_and_is_no_error(cli: CommandLine, words: tuple[str, ...]) -> None:
    answer = cli(*words)
    assert (answer.code, answer.err) == (0, "")
    assert "Usage: streamkit" in answer.out


def test_the_version_is_shown(cli: CommandLine) -> None:
    assert cli("--version").out == "streamkit 0.1.0\n"
