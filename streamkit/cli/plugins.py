"""`streamkit plugins`: what is installed, what each offers and can do, and what is broken and why."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from streamkit.assembly.registry import PluginDescription, Registry
from streamkit.cli.output import JsonFlag, examples, print_json, print_table, remark
from streamkit.errors import ConfigurationError
from streamkit.model import Capabilities

__all__ = ["EXAMPLES", "plugins"]

EXAMPLES = examples("streamkit plugins", "streamkit plugins --json")

_ROLES = ("broker", "store", "producer")


def plugins(as_json: JsonFlag = False) -> None:
    """List the installed plugins: distribution, version, what each offers, and what cannot be loaded and why."""
    registry = Registry()
    found = [_describe(registry, description) for description in registry.describe()]
    if as_json:
        print_json(found)
        return
    rows = [
        (str(one["name"]), f"{one['distribution']} {one['version']}", _offer_text(one), "broken" if one["problems"] else "")
        for one in found
    ]
    print_table(("plugin", "distribution", "offers", ""), rows)
    for one in found:
        for problem in one["problems"]:
            remark(problem)


def _describe(registry: Registry, description: PluginDescription) -> dict[str, Any]:
    offers: dict[str, dict[str, object]] = {}
    problems = [description.error] if description.error else []
    for role in _ROLES:
        if getattr(description, role):
            try:
                offers[role] = _capabilities(registry, description.name, role)
            except ConfigurationError as error:
                offers[role] = {}
                problems.append(str(error))
    return {
        "name": description.name,
        "distribution": description.distribution,
        "version": description.version,
        "offers": offers,
        "problems": problems,
    }


def _capabilities(registry: Registry, name: str, role: str) -> dict[str, object]:
    """What the class says without being made; settings may change it. Loads the adapter's SDK."""
    adapter = registry.load_factory(name, getattr(registry.select(name), role))
    found = getattr(adapter, "capabilities", None)
    if not isinstance(found, Capabilities):
        return {}
    return {field.name: value for field in fields(found) if (value := getattr(found, field.name)) != field.default or field.name == "scope"}


def _offer_text(one: dict[str, Any]) -> str:
    texts = []
    for role, capabilities in one["offers"].items():
        shown = {key: value for key, value in capabilities.items() if key != "scope" or role == "store"}
        can = ", ".join(key.replace("_", " ") if value is True else f"{key.replace('_', ' ')} {value}" for key, value in shown.items())
        texts.append(f"{role} ({can})" if can else role)
    return "; ".join(texts)
