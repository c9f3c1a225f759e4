"""Writes what follows from the code: the pages about settings, errors, metrics, conformance and the command line, the README's
contract, and which tests hold which promise.

`just docs` runs it.

`pages()` gives each page's text, so that a test can see whether a committed page is stale.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import timedelta
from enum import Enum
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import annotated_types
import typer
from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from streamkit import App, errors, record_processor
from streamkit.assembly.masking import text_of
from streamkit.assembly.registry import Registry
from streamkit.cli.application import application
from streamkit.engine.runtime import ThreadRuntime
from streamkit.settings import NOT_YET, Settings, Size, duration_text, parse_size, size_text, variable_of
from streamkit.telemetry.names import ATTRIBUTES, DURATIONS, METRICS, Metric
from streamkit.testing.conformance import BROKER_RULES, STORE_RULES, Rule

FOLDER = Path(__file__).parent / "reference"
DESIGN = Path(__file__).parent / "design.md"
README = Path(__file__).parents[1] / "README.md"
TESTS = Path(__file__).parents[1] / "tests"
PROMISES = (
    "At least once, and never silently less",
    "A start position is resolved once",
    "Order, per assignment",
    "One owner",
    "Checkpoints move forward only",
    "Everything is bounded",
    "A failure stays small",
    "The contract is printed",
)
SHOWN = {"broker": "kafka", "stream": "orders", "group": "billing", "kafka": {"bootstrap_servers": "localhost:9092"}}
"""What the README sets before it shows the contract."""
PLUGINS = ("memory", "file", "sqlite", "kafka", "kinesis", "eventhubs", "dynamodb", "azureblob")
NOTE = "<!-- Made by docs/generate.py from the code. Change the code, then run `just docs`. -->\n"

_FORMS = {
    int: "whole number",
    bool: "`true` or `false`",
    str: "text",
    Path: "path",
    SecretStr: "text, kept secret",
    timedelta: "duration",
    dict: "JSON object",
    tuple: "list with commas",
}


def pages() -> dict[str, str]:
    """File name to text."""
    return {
        "settings.md": settings_page(),
        "errors.md": errors_page(),
        "cli.md": cli_page(),
        "metrics.md": metrics_page(),
        "conformance.md": conformance_page(),
    }


# -- settings ------------------------------------------------------------------------------------------------------------


def settings_page() -> str:
    parts = [NOTE + SETTINGS_HEAD, "## streamkit itself\n", *_table(Settings, "", NOT_YET)]
    for name in PLUGINS:
        plugin = Registry().select(name)
        roles = ", ".join(role for role in ("broker", "store", "producer") if getattr(plugin, role))
        parts += [f"## {name}\n", f"Read when `{name}` is selected. It is a {roles}.\n", *_table(plugin.settings, name, {})]
    return "\n".join(parts)


SETTINGS_HEAD = """# Settings

Each setting is a variable. It can be given in these places; where several give one, the first of this list wins, setting by
setting.

| place | how |
|---|---|
| code | `App(handle, stream="orders", kafka={"bootstrap_servers": "…"})` |
| environment | `STREAMKIT_STREAM=orders` |
| `.env` in the current folder | lines `NAME=value`; the command line alone reads it |
| secret files | `STREAMKIT_SECRETS_DIR` names a folder; a file is named like a variable and holds its value |
| TOML | `--config FILE` or `STREAMKIT_CONFIG`; core names in lower case, a table for each plugin |
| default | as below |

An empty value means unset. `__` stands once in a name, after the plugin's; deeper structure is JSON. An unknown name is an
error that suggests the nearest one. `streamkit explain` shows every value and where it came from, secrets masked.

Durations have a unit: `500ms`, `30s`, `5m`, `1h`. Sizes are bytes, or have one: `64KiB`, `10MB`.
"""


def _table(model: type[BaseModel], plugin: str, not_yet: Mapping[str, str]) -> Iterator[str]:
    yield "| variable | form | default | meaning |\n|---|---|---|---|"
    defaults = model.model_construct().model_dump(mode="json", warnings=False)
    for name, field in model.model_fields.items():
        default = "required" if field.is_required() else _code(_default(defaults.get(name), field))
        meaning = field.description or ""
        if name in not_yet:
            meaning += f" **Not built yet:** {not_yet[name]}."
        yield f"| `{variable_of(name, plugin)}` | {_form(field)} | {default} | {_cell(meaning)} |"
    yield ""


def _default(value: object, field: FieldInfo) -> str:
    if isinstance(field.default, timedelta):
        return duration_text(field.default)
    if _is_size(field) and isinstance(field.default, int):
        return size_text(field.default)
    return text_of(value)


def _is_size(field: FieldInfo) -> bool:
    size_parser = next(part for part in get_args(Size)[1:] if getattr(part, "func", None) is parse_size)
    return any(getattr(part, "func", None) is size_parser.func for part in field.metadata)


def _form(field: FieldInfo) -> str:
    choices = list(_choices(field.annotation))
    if choices:
        return " or ".join(_code(choice) for choice in choices)
    if _is_size(field):
        return "size"
    base = _base(field.annotation)
    form = _FORMS.get(base, "text")
    lowest, highest = _bounds(field)
    if base is int and lowest is not None:
        return f"{lowest} or more" if highest is None or highest >= 1_000_000 else f"{lowest} to {highest}"
    return form


def _base(annotation: object) -> Any:
    for member in _members(annotation):
        return get_origin(member) or member
    return str


def _members(annotation: object) -> Iterator[object]:
    if get_origin(annotation) is Annotated:
        yield from _members(get_args(annotation)[0])
    elif get_origin(annotation) in (Union, UnionType):
        for member in get_args(annotation):
            yield from _members(member)
    elif annotation is not NoneType:
        yield annotation


def _choices(annotation: object) -> Iterator[str]:
    for member in _members(annotation):
        if get_origin(member) is Literal:
            yield from map(str, get_args(member))
        elif isinstance(member, type) and issubclass(member, Enum):
            yield from (str(item.value) for item in member)


def _bounds(field: FieldInfo) -> tuple[Any, Any]:
    lowest = highest = None
    for part in _constraints((*field.metadata, field.annotation)):
        lowest = part.ge if isinstance(part, annotated_types.Ge) else lowest
        highest = part.le if isinstance(part, annotated_types.Le) else highest
    return lowest, highest


def _constraints(parts: Iterable[object]) -> Iterator[object]:
    for part in parts:
        yield part
        yield from _constraints(getattr(part, "metadata", ()) if isinstance(part, FieldInfo) else get_args(part))


# -- errors --------------------------------------------------------------------------------------------------------------


def errors_page() -> str:
    tree = (errors.__doc__ or "").split("\n\n", 1)[1].strip()
    parts = [NOTE + ERRORS_HEAD, f"```text\n{tree}\n```\n"]
    parts += [_error(getattr(errors, line.strip("│├└─ ").split("(")[0].strip())) for line in tree.splitlines()]
    return "\n".join(parts)


ERRORS_HEAD = """# Errors

Everything that streamkit raises is in `streamkit.errors`; adapters translate what their clients raise into these. `str()` is
one line for people, `fix` says what to do or is empty, and the cause is kept as `__cause__`.
[What each one means to an operator](../operations/errors.md) is a page of its own.
"""


def _error(kind: type[Exception]) -> str:
    bases = ", ".join(f"`{base.__name__}`" for base in kind.__bases__)
    text = inspect.cleandoc(kind.__doc__ or "")
    own = "__init__" in vars(kind)
    names = [name for name in inspect.signature(kind.__init__).parameters if name not in ("self", "message")] if own else []
    attributes = f"\n\nAttributes: {', '.join(f'`{name}`' for name in names)}." if names else ""
    return f"## {kind.__name__}\n\nA kind of {bases}.\n\n{text}{attributes}\n"


# -- command line --------------------------------------------------------------------------------------------------------

CLI_HEAD = """# Command line

Answers go to stdout, everything else to stderr. An error is one line and a hint; `--debug` adds the traceback.

| exit code | meaning |
|---|---|
| 0 | done; for `run`: drained |
| 1 | it could not be done; for `run`: a failure policy halted a partition or stopped the process |
| 2 | the configuration is wrong, or something is missing or cannot be reached |
| 3 | the drain timed out while code was still running |
| 130 | Ctrl-C; for `run`: a second signal (143 for SIGTERM) |
"""


def cli_page() -> str:
    command = typer.main.get_command(application)
    context = typer.Context(command, info_name="streamkit")
    return "\n".join([NOTE + CLI_HEAD, *_command(command, context, level=2)])


def _command(command: Any, context: Any, level: int) -> Iterator[str]:
    yield f"{'#' * level} `{context.command_path}`\n"
    yield f"{inspect.cleandoc(command.help or '')}\n"
    usage = " ".join(command.collect_usage_pieces(context))
    yield f"```text\n{context.command_path} {usage}\n```\n"
    rows = [row for parameter in command.params if (row := _parameter(parameter, context))]
    if rows:
        yield "\n".join(["| | |", "|---|---|", *rows]) + "\n"
    examples = [line.strip() for line in (command.epilog or "").splitlines() if line.strip() and line.strip() != "Examples:"]
    if examples:
        yield ("Examples:\n\n" + "\n".join(f"    {line}" for line in examples) if "Examples:" in command.epilog else examples[0]) + "\n"
    for name, child in sorted(getattr(command, "commands", {}).items()):
        yield from _command(child, type(context)(child, info_name=name, parent=context), level + 1)


def _parameter(parameter: Any, context: Any) -> str:
    record = None if getattr(parameter, "hidden", False) else parameter.get_help_record(context)
    if record is None:
        return ""
    shown, meaning = record
    if parameter.param_type_name == "argument":
        shown = parameter.metavar or shown
    shown = shown.replace("<str>", "TEXT").replace("<int range>", "NUMBER").replace("<int>", "NUMBER").replace("<path>", "PATH")
    return f"| `{shown}` | {_cell(meaning)} |"


# -- metrics -------------------------------------------------------------------------------------------------------------

METRICS_HEAD = """# Metrics

[What they mean](../operations/metrics.md) and what to be woken for is a page of its own. Nothing is counted per record: totals are what the
engine counts anyway. No label is ever anything out of a record.

| label in Prometheus | attribute in OpenTelemetry |
|---|---|"""
METRICS_TABLE = """
| Prometheus | OpenTelemetry | unit | kind | labels | what it is |
|---|---|---|---|---|---|"""


def metrics_page() -> str:
    """Of the one list of names."""
    labels = [f"| `{label}` | `{attribute}` |" for label, attribute in ATTRIBUTES.items()]
    return "\n".join([NOTE + METRICS_HEAD, *labels, METRICS_TABLE, *map(_metric, (*METRICS, *DURATIONS))]) + "\n"


def _metric(metric: Metric) -> str:
    labels = ", ".join(_code(label) for label in metric.labels)
    return f"| {_code(metric.name)} | `{metric.otel}` | {_code(metric.unit)} | {metric.kind} | {labels} | {_cell(metric.help)} |"


# -- conformance ---------------------------------------------------------------------------------------------------------

CONFORMANCE_HEAD = """# Conformance rules

What the engine relies on, as tests for every adapter: [how to run them](../how-to/plugin.md#show-that-it-keeps-the-rules). B are rules of
brokers, P of producers, S of stores, L of stores with leases. An id never changes. A rule says nothing where what it is about is not
declared in the adapter's capabilities, or the kit has no method that it needs.
"""


def conformance_page() -> str:
    """Each rule with its reason, file by file."""
    parts = [NOTE + CONFORMANCE_HEAD]
    heading = ""
    for rule in (*BROKER_RULES, *STORE_RULES):
        said = (inspect.getdoc(inspect.getmodule(rule.check)) or "").removeprefix("Rules about ")
        if heading != (heading := said[:1].upper() + re.split("[:,.]", said)[0][1:]):
            parts.append(f"## {heading}\n")
        parts.append(_rule(rule))
    return "\n".join(parts)


def _rule(rule: Rule[Any]) -> str:
    declared = ", ".join(_code(name) for name in rule.declares)
    needed = ", ".join(_code(name) for name in rule.kit)
    where = [f"where {declared} is declared"] if declared else []
    where += [f"if the kit has {needed}"] if needed else []
    applies = f"\n\n*{', '.join(where).capitalize()}.*" if where else ""
    return f"### {rule.id} {rule.title[:1].upper()}{rule.title[1:]}\n\n{' '.join(rule.why.split())}{applies}\n"


# -- the contract --------------------------------------------------------------------------------------------------------


@record_processor
def _handle(record: object, context: object) -> None:
    """Stands for first.py: a function of one record."""


def readme() -> str:
    """The README with the contract that the program prints now."""
    runtime = ThreadRuntime()
    try:
        assembled = App(_handle, **SHOWN).assemble(runtime)
        assembled.stop()
    finally:
        runtime.stop()
    before, begin, rest = README.read_text("utf-8").partition("```text\n")
    return f"{before}{begin}{assembled.contract}\n```{rest.partition('```')[2]}"


# -- promises ------------------------------------------------------------------------------------------------------------


def design() -> str:
    """The design page with the tests that are there now: `tests/promise/**/test_promise_<number>_….py`."""
    before, begin, rest = DESIGN.read_text("utf-8").partition("<!-- promises -->\n")
    rows = ["| promise | held by |", "|---|---|"]
    for number, title in enumerate(PROMISES, 1):
        files = sorted((TESTS / "promise").rglob(f"test_promise_{number}_*.py"))
        names = [f"`{file.relative_to(TESTS.parent).as_posix()}`" for file in files]
        rows.append(f"| {number}. {title} | {', '.join(names)} |")
    return before + begin + "\n" + "\n".join(rows) + "\n\n<!-- /promises -->" + rest.partition("<!-- /promises -->")[2]


# -- text ----------------------------------------------------------------------------------------------------------------


def _code(text: str) -> str:
    return f"`{text}`" if text else ""


def _cell(text: str) -> str:
    return " ".join(text.replace("|", r"\|").replace("<", "&lt;").split())


def main() -> None:
    """Write what has changed."""
    FOLDER.mkdir(exist_ok=True)
    for page, text in {README: readme(), DESIGN: design(), **{FOLDER / name: text for name, text in pages().items()}}.items():
        if not page.exists() or page.read_text("utf-8") != text:
            page.write_text(text, "utf-8")
            print(f"wrote {page.name}")


if __name__ == "__main__":
    main()
