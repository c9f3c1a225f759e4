"""What exists is written down: settings, errors, commands, hooks, observers, refused options; generated pages are not stale."""

from __future__ import annotations

import importlib.util
import inspect
import re
from pathlib import Path
from types import ModuleType
from typing import get_args, get_type_hints

import pytest
import typer
from streamkit_kafka import settings as kafka_settings

from streamkit import errors
from streamkit.assembly.registry import Registry
from streamkit.cli.application import application
from streamkit.engine.status import Reason
from streamkit.plugin import Observer
from streamkit.processing import Context, Processor
from streamkit.settings import NOT_YET, Settings, variable_of
from streamkit.status import PATHS
from streamkit.telemetry.logs import FIELDS
from streamkit.telemetry.names import DURATIONS, METRICS
from streamkit.testing import Harness
from tests.docs.pages import DOCS, ROOT


def generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("docs_generate", DOCS / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def page(name: str) -> str:
    return (DOCS / name).read_text("utf-8")


def public_names(kind: type) -> list[str]:
    return [
        name
        for name, member in vars(kind).items()
        if not name.startswith("_") and (inspect.isfunction(member) or isinstance(member, property))
    ]


@pytest.mark.parametrize("name", ["settings.md", "errors.md", "cli.md", "metrics.md", "conformance.md"])
def test_a_generated_page_is_not_stale(name: str) -> None:
    assert page(f"reference/{name}") == generator().pages()[name], "run `just docs`"


def test_every_setting_is_on_the_settings_page() -> None:
    names = [variable_of(field) for field in Settings.model_fields]
    for plugin in generator().PLUGINS:
        names += [variable_of(field, plugin) for field in Registry().select(plugin).settings.model_fields]
    assert [name for name in names if f"| `{name}` |" not in page("reference/settings.md")] == []


def test_every_setting_that_is_not_built_says_so() -> None:
    rows = [line for line in page("reference/settings.md").splitlines() if line.startswith("| `STREAMKIT_")]
    marked = {row.split("`")[1] for row in rows if "**Not built yet:**" in row}
    assert marked == {variable_of(field) for field in NOT_YET}


def test_every_setting_has_a_description() -> None:
    for plugin in ("", *generator().PLUGINS):
        model = Registry().select(plugin).settings if plugin else Settings
        assert [name for name, field in model.model_fields.items() if not field.description] == []


def test_every_error_is_on_both_of_its_pages() -> None:
    for name in errors.__all__:
        assert f"## {name}\n" in page("reference/errors.md")
        assert f"`{name}`" in page("operations/errors.md"), name


def test_every_command_is_on_the_page_of_the_command_line() -> None:
    text = page("reference/cli.md")

    def look(command: object, path: str) -> None:
        assert f"# `{path}`\n" in text
        for name, child in getattr(command, "commands", {}).items():
            look(child, f"{path} {name}")

    look(typer.main.get_command(application), "streamkit")


def test_every_method_of_an_observer_is_written_down() -> None:
    assert [name for name in public_names(Observer) if f"`{name}`" not in page("operations/index.md")] == []


def test_every_metric_is_written_down_under_both_of_its_names() -> None:
    text = page("reference/metrics.md")
    assert [metric.otel for metric in (*METRICS, *DURATIONS) if f"`{metric.otel}` |" not in text] == []
    assert [metric.name for metric in METRICS if f"| `{metric.name}` |" not in text] == []


def test_every_metric_that_operators_are_told_of_exists() -> None:
    text = page("operations/metrics.md")
    named = {name.removesuffix("_bucket") for name in re.findall(r"streamkit_[a-z_]+", text)}
    assert named <= {metric.name for metric in METRICS}
    assert set(re.findall(r"(?:streamkit|messaging)\.[a-z_.]+[a-z]", text)) <= {metric.otel for metric in (*METRICS, *DURATIONS)}


def test_every_field_of_a_log_line_is_written_down() -> None:
    assert [name for name in FIELDS if f"`{name}`" not in page("operations/logs.md")] == []


def test_what_is_said_of_the_status_page_is_there() -> None:
    text = page("how-to/health.md")
    assert set(re.findall(r"path: (/\w+)", text)) <= set(PATHS)
    assert set(re.findall(r"^\| `(/\w+)` \|", text, re.MULTILINE)) == set(PATHS)
    kinds = get_args(get_type_hints(Reason)["kind"])
    assert re.findall(r"^\| `([a-z_]+)` \|", text, re.MULTILINE) == list(kinds)


def test_every_hook_of_a_processor_is_written_down() -> None:
    text = hooks_page()
    assert [name for name in public_names(Processor) if f"`{name}`" not in text] == []


def hooks_page() -> str:
    found: list[Path] = sorted(DOCS.rglob("hooks.md"))
    assert found, "the page about hooks is missing"
    return found[0].read_text("utf-8")


def test_what_a_context_offers_is_written_down() -> None:
    pages = "".join(file.read_text("utf-8") for file in DOCS.rglob("*.md"))
    names = [*Context.__slots__, *public_names(Context)]
    hidden = {"running", "ending", "delivered"}  # for the engine
    assert [name for name in names if not name.startswith("_") and name not in hidden and f"context.{name}" not in pages] == []


def test_what_the_harness_offers_is_written_down() -> None:
    text = page("how-to/test.md")
    assert [name for name in public_names(Harness) if name not in text] == []


def test_every_option_of_librdkafka_that_is_refused_is_written_down() -> None:
    text = page("brokers/kafka.md")
    assert [name for name in kafka_settings._REFUSED if f"`{name}`" not in text] == []


def test_the_files_of_the_map_exist() -> None:
    tree = page("design.md").partition("## File map")[2].partition("```text\n")[2].partition("```")[0]
    folder = ""
    for line in tree.splitlines():
        name = line.split()[0]
        indent = len(line) - len(line.lstrip())
        base = {0: "", 2: "streamkit/", 4: "streamkit/engine/"}[indent]
        folder = f"{base}{name.rstrip('/')}"
        assert (ROOT / folder).exists(), folder


def test_each_promise_is_linked_to_a_test_that_exists() -> None:
    table = page("design.md").partition("## Promises and their tests")[2].partition("\n## ")[0]
    rows = [line.split("|")[1:3] for line in table.splitlines() if line.startswith("| ") and line[2].isdigit()]
    assert [row[0].strip()[0] for row in rows] == list("12345678")
    for promise, tests in rows:
        files = [part for part in tests.split("`") if part.endswith(".py")]
        assert files, promise
        assert [file for file in files if not (ROOT / file).is_file()] == []


def test_every_test_of_a_promise_is_named_in_the_design() -> None:
    assert generator().design() == page("design.md"), "run `just docs`"


def test_the_promises_have_the_same_titles_on_both_pages() -> None:
    text = page("concepts/promises.md")
    assert [title for number, title in enumerate(generator().PROMISES, 1) if f"## {number}. {title}\n" not in text] == []
