"""Settings and options wrong in every way: exact words, exit code 2, no traceback."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.unit.cli.conftest import CommandLine

HANDLE = "from streamkit import record_processor\n\n@record_processor\ndef handle(record, context): ...\n"
RUN = ("run", "orders:handle")
_GONE = "  fix: make the stream, or correct STREAMKIT_STREAM\n"


@pytest.mark.parametrize("command", [RUN, ("explain",), ("partitions",), ("checkpoints", "list")])
@pytest.mark.parametrize(
    ("variables", "error"),
    [
        (
            {"BROKER": "kafak"},
            "streamkit: STREAMKIT_BROKER (from environment): no broker 'kafak' is installed\n  fix: did you mean 'kafka'?\n",
        ),
        (
            {"MAX_BACH": "3"},
            "streamkit: STREAMKIT_MAX_BACH (from environment): there is no such setting\n  fix: did you mean STREAMKIT_MAX_BATCH?\n",
        ),
    ],
)
def test_a_wrong_variable(cli: CommandLine, command: tuple[str, ...], variables: dict[str, str], error: str) -> None:
    cli.file("orders.py", HANDLE)
    answer = cli(*command, **variables)
    assert (answer.code, answer.out, answer.err) == (2, "", error)


@pytest.mark.parametrize("command", [RUN, ("partitions",), ("checkpoints", "set", "--all", "latest")])
def test_a_missing_stream(cli: CommandLine, command: tuple[str, ...]) -> None:
    cli.file("orders.py", HANDLE)
    answer = cli(*command, MEMORY__AUTO_CREATE="false")
    assert answer.code == 2
    assert answer.err.endswith(f"streamkit: stream 'orders' does not exist\n{_GONE}")
    assert "Traceback" not in answer.err


def test_several_wrong_settings_are_a_line_each(cli: CommandLine) -> None:
    cli.file("orders.py", HANDLE)
    answer = cli(*RUN, MAX_BATCH="many", CHECKPOINT_INTERVAL="5")
    lines = answer.err.splitlines()
    assert answer.code == 2
    assert len(lines) == 2
    assert all(line.startswith("streamkit: STREAMKIT_") for line in lines)


@pytest.mark.parametrize(
    ("name", "content", "error"),
    [
        ("missing.toml", None, "STREAMKIT_CONFIG (from --config): cannot read 'missing.toml': No such file or directory"),
        ("folder", "", "STREAMKIT_CONFIG (from --config): cannot read 'folder': Is a directory"),
        ("binary.toml", b"\xff\xfe", "STREAMKIT_CONFIG (from --config): 'binary.toml' is not text in UTF-8"),
        ("broken.toml", b"stream =", "STREAMKIT_CONFIG (from --config): 'broken.toml' is not TOML: Invalid value (at end of document)"),
    ],
)
def test_an_unreadable_config_file(cli: CommandLine, name: str, content: bytes | str | None, error: str) -> None:
    cli.file("orders.py", HANDLE)
    if isinstance(content, bytes):
        (cli.folder / name).write_bytes(content)
    elif content is not None:
        (cli.folder / name).mkdir()
    answer = cli(*RUN, "--config", name)
    assert answer.code == 2
    assert answer.err.splitlines()[0] == f"streamkit: {error}"
    assert len(answer.err.splitlines()) == 2


def test_a_broken_dotenv_file_names_its_line(cli: CommandLine) -> None:
    cli.file("orders.py", HANDLE)
    cli.file(".env", "STREAMKIT_MAX_BATCH=3\nthis is no variable\n")
    answer = cli(*RUN)
    assert answer.code == 2
    assert answer.err == "streamkit: .env: line 2 is not NAME=value\n  fix: mend the line, or put # in front of it\n"


def test_what_is_not_built_yet_is_refused(cli: CommandLine) -> None:
    cli.file("orders.py", HANDLE)
    cli.monkeypatch.setattr("streamkit.settings.NOT_YET", {"bisect": "batches are retried whole"})
    answer = cli(*RUN, BISECT="true")
    assert answer.code == 2
    assert answer.err == ("streamkit: STREAMKIT_BISECT: True is not built yet; batches are retried whole\n  fix: unset STREAMKIT_BISECT\n")


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["run"], "streamkit: Missing argument 'MODULE:NAME'.\n  fix: `streamkit run --help` shows what it takes\n"),
        (["nonsense"], "streamkit: No such command 'nonsense'.\n  fix: `streamkit --help` shows what it takes\n"),
        (
            ["run", "orders:handle", "--confg", "x"],
            "streamkit: No such option: --confg (Possible options: --config)\n  fix: `streamkit run --help` shows what it takes\n",
        ),
    ],
)
def test_what_the_command_line_does_not_know(cli: CommandLine, arguments: list[str], error: str) -> None:
    answer = cli(*arguments)
    assert (answer.code, answer.out, answer.err) == (2, "", error)


def test_a_warning_of_the_settings_is_shown_and_stops_nothing(cli: CommandLine) -> None:
    cli.file("orders.py", HANDLE)
    for command in (RUN, ("explain",)):
        answer = cli(*command, STOP="at_end", SOMETHING__ELSE="1")
        assert answer.code == 0
        warning = "STREAMKIT_SOMETHING__ELSE (from environment): not used, because no plugin 'something' is installed"
        assert answer.err.startswith(f"streamkit: warning: {warning}\n")
