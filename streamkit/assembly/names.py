"""Which setting a variable names: one of streamkit's own, one of a selected plugin, or none, and then what to say about it."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from pydantic import BaseModel

from streamkit.assembly.sources import ENVIRONMENT, Given
from streamkit.assembly.suggestions import closest
from streamkit.errors import ConfigurationError
from streamkit.settings import PREFIX, Settings, variable_of

__all__ = ["SortedNames", "sort_names"]

# What Kubernetes puts into every pod for a Service called `streamkit…` (and Docker for links):
# https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables
_KUBERNETES = re.compile(PREFIX + r"(.*_)?(SERVICE_HOST|SERVICE_PORT(_.*)?|PORT|PORT_\d+_.*)")

# What the test command and the sandbox read: they start servers, and say nothing to a consumer that runs beside them.
_COMPANIONS = re.compile(PREFIX + r"(TEST|SANDBOX)_\w+")

_SECTION_LIKENESS = 0.75
"""How like a plugin's name an unknown section must be to be taken for a mistake: `kafak` is (0.8), `postgres` is like nothing."""


@dataclass(slots=True)
class SortedNames:
    """What was given, by what it is for."""

    core: dict[str, Given] = field(default_factory=dict)
    """By field of `Settings`."""
    sections: dict[str, dict[str, Given]] = field(default_factory=dict)
    """By selected plugin, then by field of its settings."""
    unused: dict[str, Given] = field(default_factory=dict)
    """By variable: settings of installed plugins that nothing selected."""
    foreign: dict[str, dict[str, Given]] = field(default_factory=dict)
    """By section, then by variable: sections of no installed plugin."""
    errors: list[ConfigurationError] = field(default_factory=list)

    @property
    def unused_sections(self) -> set[str]:
        """The plugins that `unused` is about."""
        return {_split(variable)[0] for variable in self.unused}

    @property
    def warnings(self) -> tuple[str, ...]:
        """One for each section of no installed plugin."""
        lines = []
        for section, variables in self.foreign.items():
            given = ", ".join(f"{name} (from {value.origin})" for name, value in variables.items())
            lines.append(f"{given}: not used, because no plugin {section!r} is installed")
        return tuple(lines)


def _split(variable: str) -> tuple[str, str, str]:
    """Section, `__` if there is one, and the rest, in lower case."""
    return variable.removeprefix(PREFIX).lower().partition("__")


def sort_names(given: Mapping[str, Given], selected: Mapping[str, type[BaseModel]], installed: Collection[str]) -> SortedNames:
    """Sort variables by what they are for. `selected`: settings models by plugin; `installed`: the names of all plugins."""
    found = SortedNames(sections={plugin: {} for plugin in selected})
    for variable, value in given.items():
        section, separator, name = _split(variable)
        if not separator and section in Settings.model_fields:
            found.core[section] = value
        elif separator and section in selected and name in selected[section].model_fields:
            found.sections[section][name] = value
        elif not separator and (_is_injected(variable, value) or _COMPANIONS.fullmatch(variable)):
            continue
        elif not separator:
            found.errors.append(_unknown_core(variable, value, _core_names(section, selected, installed)))
        elif section in selected:
            found.errors.append(_unknown_field(variable, value, section, selected[section]))
        elif section in installed:
            found.unused[variable] = value
        elif error := _mistaken_section(variable, value, installed):
            found.errors.append(error)
        elif not _is_injected(variable, value):  # After the plugins: a setting of theirs may end in `_PORT`.
            found.foreign.setdefault(section, {})[variable] = value
    return found


def _is_injected(variable: str, given: Given) -> bool:
    return given.origin == ENVIRONMENT and _KUBERNETES.fullmatch(variable) is not None


def _core_names(name: str, selected: Mapping[str, type[BaseModel]], installed: Collection[str]) -> list[str]:
    """Core names; and where one underscore is missing (`kafka_options`), the names of that plugin."""
    names = list(Settings.model_fields)
    for plugin in installed:
        if name.startswith(f"{plugin}_"):
            fields = selected[plugin].model_fields if plugin in selected else [name.removeprefix(f"{plugin}_")]
            names += [f"{plugin}__{field}" for field in fields]
    return names


def _unknown(variable: str, given: Given, near: str | None) -> ConfigurationError:
    fix = f"did you mean {near}?" if near else "`streamkit explain` lists the settings"
    return ConfigurationError("there is no such setting", setting=variable, origin=given.origin, fix=fix)


def _unknown_core(variable: str, given: Given, names: Collection[str]) -> ConfigurationError:
    near = closest(_split(variable)[0], names)
    return _unknown(variable, given, variable_of(near) if near else None)


def _unknown_field(variable: str, given: Given, plugin: str, model: type[BaseModel]) -> ConfigurationError:
    name = _split(variable)[2]
    outer = name.partition("__")[0]
    if outer in model.model_fields:
        cause = "`__` stands once in a name, after the plugin's"
        return ConfigurationError(cause, setting=variable, origin=given.origin, fix=f"give {variable_of(outer, plugin)} as JSON")
    near = closest(name, model.model_fields)
    return _unknown(variable, given, variable_of(near, plugin) if near else None)


def _mistaken_section(variable: str, given: Given, installed: Collection[str]) -> ConfigurationError | None:
    """An error if the section is nearly a plugin's name, or the start of a core name (`RETRY__ATTEMPTS`, a TOML table `[retry]`)."""
    section, _, name = _split(variable)
    near = closest(section, installed, likeness=_SECTION_LIKENESS)
    flat = f"{section}_{name}"
    meant = variable_of(name, near) if near else variable_of(flat) if flat in Settings.model_fields else ""
    if not meant:
        return None
    cause = f"there is no plugin {section!r}" if near else "the settings of streamkit itself have no sections"
    return ConfigurationError(cause, setting=variable, origin=given.origin, fix=f"did you mean {meant}?")
