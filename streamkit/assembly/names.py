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
    def warnings(self) -> tuple[str, ...]:
        """One for each section of no installed plugin."""
        return tuple(
            f"{', '.join(f'{name} (from {given.origin})' for name, given in variables.items())}: no plugin {section!r} is installed, not used"
            for section, variables in self.foreign.items()
        )


def sort_names(given: Mapping[str, Given], selected: Mapping[str, type[BaseModel]], installed: Collection[str]) -> SortedNames:
    """Sort variables by what they are for. `selected`: settings models by plugin; `installed`: the names of all plugins."""
    found = SortedNames(sections={plugin: {} for plugin in selected})
    for variable, value in given.items():
        rest = variable.removeprefix(PREFIX).lower()
        section, separator, name = rest.partition("__")
        if rest in Settings.model_fields:
            found.core[rest] = value
        elif separator and section in selected and name in selected[section].model_fields:
            found.sections[section][name] = value
        elif value.origin == ENVIRONMENT and _KUBERNETES.fullmatch(variable):
            continue
        elif not separator:
            found.errors.append(_unknown(variable, value, _core_candidates(rest, selected, installed)))
        elif section in selected:
            found.errors.append(_unknown_field(variable, value, section, selected[section]))
        elif section in installed:
            found.unused[variable] = value
        elif error := _mistaken_section(variable, value, installed):
            found.errors.append(error)
        else:
            found.foreign.setdefault(section, {})[variable] = value
    return found


def _core_candidates(rest: str, selected: Mapping[str, type[BaseModel]], installed: Collection[str]) -> list[str]:
    """Core names; and where one underscore is missing (`KAFKA_OPTIONS`), the plugin's names."""
    for plugin in installed:
        if rest.startswith(f"{plugin}_"):
            model = selected.get(plugin)
            fields = list(model.model_fields) if model else [rest.removeprefix(f"{plugin}_")]
            return [variable_of(name, plugin) for name in fields]
    return [variable_of(name) for name in Settings.model_fields]


def _unknown(variable: str, given: Given, candidates: Collection[str]) -> ConfigurationError:
    near = closest(variable, candidates)
    fix = f"did you mean {near}?" if near else "`streamkit explain` lists the settings"
    return ConfigurationError("there is no such setting", setting=variable, origin=given.origin, fix=fix)


def _unknown_field(variable: str, given: Given, plugin: str, model: type[BaseModel]) -> ConfigurationError:
    outer = variable.removeprefix(PREFIX).lower().split("__")[1]
    if outer in model.model_fields:
        cause = "`__` stands once in a name, after the plugin's"
        return ConfigurationError(cause, setting=variable, origin=given.origin, fix=f"give {variable_of(outer, plugin)} as JSON")
    return _unknown(variable, given, [variable_of(name, plugin) for name in model.model_fields])


def _mistaken_section(variable: str, given: Given, installed: Collection[str]) -> ConfigurationError | None:
    """An error if the section is nearly a plugin's name, or the start of a core name (`RETRY__ATTEMPTS`, a TOML table `[retry]`)."""
    rest = variable.removeprefix(PREFIX).lower()
    section, _, name = rest.partition("__")
    near = closest(section, installed, likeness=_SECTION_LIKENESS)
    flat = f"{section}_{name}"
    meant = variable_of(name, near) if near else variable_of(flat) if flat in Settings.model_fields else ""
    if not meant:
        return None
    cause = f"there is no plugin {section!r}" if near else "the settings of streamkit itself have no sections"
    return ConfigurationError(cause, setting=variable, origin=given.origin, fix=f"did you mean {meant}?")
