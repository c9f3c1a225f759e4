"""From an environment to settings, with the origin of each. The rules are in docs/reference/settings.

    code > environment > .env > secret files > TOML > default, field by field; empty means unset.

Called by the app and the command line, which pass everything in: nothing here reads the environment. Reading is in
`sources.py`, names in `names.py`, checking in `sections.py`, words in `translation.py`, secrets in `masking.py`.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from pydantic import BaseModel

from streamkit.assembly.dead_letter import unused_warning
from streamkit.assembly.loaded import ExplainedSetting, Loaded
from streamkit.assembly.names import SortedNames, sort_names
from streamkit.assembly.registry import Registry, Role
from streamkit.assembly.sections import build
from streamkit.assembly.sources import DEFAULT, UNSET, Given, from_code, from_dotenv, from_environment, from_secret_files, from_toml, merge
from streamkit.errors import ConfigurationError
from streamkit.plugin import Plugin
from streamkit.settings import Settings, variable_of

__all__ = ["ExplainedSetting", "Loaded", "load"]

_SELECTING: Mapping[str, Role] = MappingProxyType({"broker": "broker", "store": "store", "dead_letter": "producer"})


def load(
    registry: Registry,
    *,
    environment: Mapping[str, str],
    overrides: Mapping[str, object] = MappingProxyType({}),
    dotenv: Path | None = None,
    config: Path | None = None,
    also: Sequence[str] = (),
) -> Loaded:
    """Read, select plugins, check. `overrides` is what `App` was given; `dotenv` and `config` come from the command line; `also`
    names plugins that no setting selects, and whose settings are wanted.

    Raises ConfigurationError: the one that is wrong, with its own class, or one that lists them all, a line for each. What is
    not built yet is not refused here (`settings.refuse_not_yet`), so that `streamkit explain` can show it.
    """
    given = _gather(environment, overrides, dotenv, config)
    plugins, errors = _select(registry, given, also)
    names = sort_names(given, {plugin.name: plugin.settings for plugin in plugins}, registry.names)
    names.core.setdefault("worker", Given(f"{socket.gethostname()}-{os.getpid()}", DEFAULT))
    errors += names.errors
    settings, wrong = build(Settings, names.core)
    errors += wrong
    sections: dict[str, BaseModel] = {}
    for plugin in plugins:
        section, wrong = build(plugin.settings, names.sections[plugin.name], plugin.name)
        errors += wrong
        if section is not None:
            sections[plugin.name] = section
    if settings is None or errors:
        raise _one_error(errors)
    return _loaded(settings, sections, names)


def _gather(environment: Mapping[str, str], overrides: Mapping[str, object], dotenv: Path | None, config: Path | None) -> dict[str, Given]:
    """Everything that was given, the strongest value of each name. Where to look is known only after the first sources."""
    first = merge(from_code(overrides), from_environment(environment), from_dotenv(dotenv))
    if config is not None:
        first[variable_of("config")] = Given(config, "--config")
    toml = from_toml(first.get(variable_of("config")))
    secrets = from_secret_files(merge(first, toml).get(variable_of("secrets_dir")))
    return {name: given for name, given in merge(first, secrets, toml).items() if given.value is not UNSET}


def _select(registry: Registry, given: Mapping[str, Given], also: Sequence[str]) -> tuple[list[Plugin], list[ConfigurationError]]:
    """The plugins that BROKER, STORE and DEAD_LETTER name, and those of `also`, each once."""
    plugins = {name: registry.select(name) for name in also}
    errors: list[ConfigurationError] = []
    for field, role in _SELECTING.items():
        variable = variable_of(field)
        value = given[variable].value if variable in given else None
        name = value.partition(":")[0] if isinstance(value, str) else ""
        if not name:
            continue
        try:
            plugins[name] = registry.select(name, role)
        except ConfigurationError as error:
            error.setting, error.origin = variable, given[variable].origin
            errors.append(error)
    return list(plugins.values()), errors


def _one_error(errors: Sequence[ConfigurationError]) -> ConfigurationError:
    if len(errors) == 1:
        return errors[0]
    return ConfigurationError("\n".join(f"{error}; {error.fix}" if error.fix else str(error) for error in errors))


def _loaded(settings: Settings, sections: Mapping[str, BaseModel], names: SortedNames) -> Loaded:
    origins: dict[str, str] = {}
    for plugin, model in (("", settings), *sections.items()):
        given = names.sections[plugin] if plugin else names.core
        for field in type(model).model_fields:
            origins[variable_of(field, plugin)] = given[field].origin if field in given else DEFAULT
    origins |= {variable: value.origin for variable, value in names.unused.items()}
    return Loaded(
        settings=settings,
        sections=MappingProxyType(dict(sections)),
        origins=MappingProxyType(origins),
        unused=tuple(sorted(names.unused_sections)),
        warnings=(*names.warnings, *unused_warning(settings, origins[variable_of("dead_letter")])),
        unused_variables=tuple(names.unused),
    )
