"""`streamkit explain`: every setting with its value and origin, and the contract. Nothing is connected."""

from __future__ import annotations

from typing import Annotated

import typer

from streamkit.app import App
from streamkit.assembly.loader import Loaded
from streamkit.assembly.parts import assemble
from streamkit.assembly.registry import Registry
from streamkit.cli.connection import load_for_command
from streamkit.cli.output import ConfigFile, JsonFlag, examples, print_json, print_table
from streamkit.cli.target import app_of
from streamkit.engine.runtime import ThreadRuntime
from streamkit.processing import record_processor

__all__ = ["EXAMPLES", "explain"]

EXAMPLES = examples("streamkit explain", "streamkit explain orders:handle", "streamkit explain --json")


@record_processor
def _any_function(record: object, context: object) -> None:
    """Stands for the processor where none is named."""


def explain(
    target: Annotated[
        str | None,
        typer.Argument(metavar="[MODULE:NAME]", help="What would be run; without it, any plain function.", show_default=False),
    ] = None,
    config: ConfigFile = None,
    as_json: JsonFlag = False,
) -> None:
    """Show every setting, where its value came from, and the promise that follows from them. Connects to nothing."""
    pipeline = app_of(target) if target is not None else App(_any_function)
    registry = Registry()
    loaded = load_for_command(registry, config, pipeline.overrides)
    if as_json:
        contract = _contract(loaded, registry, pipeline)
        print_json({"settings": _settings(loaded), "contract": contract, "warnings": list(loaded.warnings)})
        return
    print_table(("setting", "value", "origin"), [(one["name"], one["value"] or "(unset)", one["origin"]) for one in _settings(loaded)])
    print()
    for name, text in _contract(loaded, registry, pipeline).items():
        print(f"{name:<12} {text}")


def _settings(loaded: Loaded) -> list[dict[str, str]]:
    return [
        {
            "name": one.name,
            "value": one.value_text_masked,
            "origin": one.origin,
            "default": one.default,
            "description": one.description,
        }
        for one in loaded.explain()
    ]


def _contract(loaded: Loaded, registry: Registry, pipeline: App) -> dict[str, str]:
    """The printed contract, by the name of each line. Raises ConfigurationError where it would not start."""
    runtime = ThreadRuntime()
    try:
        assembled = assemble(loaded, registry, pipeline.code, [], runtime)
        assembled.stop()
    finally:
        runtime.stop()
    lines = (line.partition(" ") for line in assembled.contract.splitlines())
    return {name: text.strip() for name, _, text in lines}
