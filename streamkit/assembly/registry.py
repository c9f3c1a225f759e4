"""Which plugins there are, and the ones that were asked for: entry points of the group `streamkit`, and pluggy.

The name of an entry point is the plugin's name, so that nothing has to be imported to know who is there; only a selected
plugin is, and a broken one that nobody selected stops nothing. Streamkit's own plugins come by the same way as all others.
Called by the loader and by `streamkit plugins`. Adapters are made by the engine, from the classes of `load_factory`.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib.metadata import EntryPoint, PackageNotFoundError, entry_points, version
from typing import Literal

import pluggy

from streamkit.assembly.suggestions import closest
from streamkit.assembly.versions import allows
from streamkit.errors import (
    ConfigurationError,
    PluginConflictError,
    PluginLoadError,
    PluginVersionError,
    UnknownPluginError,
    UnsupportedError,
)
from streamkit.plugin import Plugin
from streamkit.plugin import plugin as hookspecs
from streamkit.plugin.plugin import registered
from streamkit.settings import Settings

__all__ = ["PluginDescription", "Registry", "Role"]

GROUP = "streamkit"

Role = Literal["broker", "store", "producer"]

_FIRST_PARTY = ("kafka", "kinesis", "eventhubs", "dynamodb", "azureblob")


@dataclass(frozen=True, slots=True)
class PluginDescription:
    """One line of `streamkit plugins`."""

    name: str
    distribution: str
    """What was installed, `streamkit-kafka`; or `code`, for one that was registered in code."""
    version: str
    broker: bool = False
    """Whether it can be selected as a broker; likewise `store` and `producer`. All False if it cannot be loaded."""
    store: bool = False
    producer: bool = False
    error: str = ""
    """Why it cannot be used, or empty."""


@dataclass(frozen=True, slots=True)
class _Offer:
    """Somebody's claim to a name, not yet imported."""

    name: str
    distribution: str
    version: str
    load: Callable[[], object]

    def __str__(self) -> str:
        return f"{self.distribution} {self.version}".rstrip()


class Registry:
    """The plugins of one process. Pass `installed` to look at other entry points than those of this environment."""

    def __init__(self, installed: Iterable[EntryPoint] | None = None) -> None:
        self._manager = pluggy.PluginManager(GROUP)
        self._manager.add_hookspecs(hookspecs)
        self._offers: dict[str, list[_Offer]] = {}
        self._plugins: dict[str, Plugin] = {}
        for entry in entry_points(group=GROUP) if installed is None else installed:
            self._offers.setdefault(entry.name, []).append(_offer_of(entry))
        if installed is None:
            for plugin in registered():
                self.register(plugin)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all plugins, broken ones too, in alphabetical order."""
        return tuple(sorted(self._offers))

    def register(self, plugin: object) -> Plugin:
        """Add a module or object that has a `@hookimpl def streamkit_plugin`, and return what it says.

        Raises `PluginConflictError` if its name is taken, `PluginLoadError` or `PluginVersionError` if it is not fit for use.
        """
        where = f"registered in code ({getattr(plugin, '__name__', type(plugin).__name__)})"
        found = self._introduce(plugin, where, name=None)
        offer = _Offer(found.name, "code", "", lambda: plugin)
        if found.name in self._offers:
            self._manager.unregister(plugin)
            raise _conflict(found.name, [*self._offers[found.name], offer])
        self._offers[found.name] = [offer]
        self._plugins[found.name] = found
        return found

    def select(self, name: str, role: Role | None = None) -> Plugin:
        """Import the plugin of that name. With a role, it must offer it.

        Raises `UnknownPluginError`, `PluginConflictError`, `PluginLoadError`, `PluginVersionError`; `UnsupportedError` if
        it does not offer the role. They do not know which setting asked: the loader adds it.
        """
        plugin = self._plugin(name, role or "plugin")
        if role is not None and getattr(plugin, role) is None:
            able = ", ".join(description.name for description in self.describe() if getattr(description, role))
            raise UnsupportedError(
                f"plugin {name!r} is no {role}", fix=f"those that are: {able}" if able else f"install a plugin that is a {role}"
            )
        return plugin

    def describe(self) -> tuple[PluginDescription, ...]:
        """All plugins, by name. Imports every one of them, and reports what does not work in place of raising it."""
        return tuple(self._describe(offer) for name in self.names for offer in self._offers[name])

    def exchange(self, name: str) -> tuple[Plugin, str]:
        """The plugin that knows the checkpoints of the program of that name, and the factory. Imports all plugins.

        Raises `UnsupportedError` if none does.
        """
        known: dict[str, tuple[Plugin, str]] = {}
        for description in self.describe():
            if not description.error:
                plugin = self.select(description.name)
                known.update((one, (plugin, factory)) for one, factory in plugin.exchanges.items())
        if name in known:
            return known[name]
        near = closest(name, list(known))
        fix = f"did you mean {near}?" if near else f"those that are known: {', '.join(sorted(known)) or 'none'}"
        raise UnsupportedError(f"no installed plugin knows the checkpoints of {name!r}", fix=fix)

    def check_pending(self) -> None:
        """Raise PluginLoadError if a plugin implements a hook that does not exist."""
        try:
            self._manager.check_pending()
        except pluggy.PluginValidationError as error:
            raise PluginLoadError(f"a plugin does not fit its hook: {_one_line(error)}", fix=_HOOK_FIX) from error

    def load_factory(self, plugin: str, path: str) -> type:
        """Import the class `"module:Name"` that a plugin named. Raises PluginLoadError, with the plugin's name and the cause."""
        module, _, name = path.partition(":")
        try:
            if not (module and name):
                raise ValueError("it is not of the form module:Name")
            found = getattr(importlib.import_module(module), name)
            if not isinstance(found, type):
                raise TypeError("it is not a class")
        except Exception as error:
            message = f"plugin {plugin!r} cannot load {path!r}: {_one_line(error)}"
            raise PluginLoadError(message, fix="install what is missing, or reinstall the plugin") from error
        return found

    def _describe(self, offer: _Offer) -> PluginDescription:
        try:
            plugin = self._plugin(offer.name, "plugin")
        except ConfigurationError as error:
            return PluginDescription(offer.name, offer.distribution, offer.version, error=str(error))
        return PluginDescription(
            offer.name,
            offer.distribution,
            offer.version,
            broker=plugin.broker is not None,
            store=plugin.store is not None,
            producer=plugin.producer is not None,
        )

    def _plugin(self, name: str, wanted: str) -> Plugin:
        offers = self._offers.get(name, [])
        if not offers:
            raise UnknownPluginError(f"no {wanted} {name!r} is installed", fix=_suggest(name, self.names))
        if len(offers) > 1:
            raise _conflict(name, offers)
        if name not in self._plugins:
            self._plugins[name] = self._load(offers[0])
        return self._plugins[name]

    def _load(self, offer: _Offer) -> Plugin:
        try:
            module = offer.load()
        except Exception as error:
            message = f"plugin {offer.name!r} ({offer}) cannot be imported: {_one_line(error)}"
            raise PluginLoadError(message, fix=f"reinstall or remove {offer.distribution}") from error
        return self._introduce(module, str(offer), name=offer.name)

    def _introduce(self, module: object, where: str, name: str | None) -> Plugin:
        """Give the module to pluggy and ask it, and only it, for its `Plugin`. It stays registered only if all is well."""
        subject = f"plugin {name!r} ({where})" if name else f"the plugin {where}"
        if self._manager.is_registered(module):
            raise PluginConflictError(f"{subject} is there already, as {self._manager.get_name(module)!r}", fix="name it once")
        try:
            self._manager.register(module, name)
            self._manager.check_pending()
            others = [plugin for plugin in self._manager.get_plugins() if plugin is not module]
            answers = self._manager.subset_hook_caller("streamkit_plugin", others)()
            found = _check(answers, name, subject)
        except ConfigurationError:
            self._manager.unregister(module)
            raise
        except Exception as error:
            if self._manager.is_registered(module):
                self._manager.unregister(module)
            raise PluginLoadError(f"{subject} does not introduce itself: {_one_line(error)}", fix=_HOOK_FIX) from error
        return found


_HOOK_FIX = "its author has to define `@hookimpl def streamkit_plugin() -> Plugin` in it (from streamkit.plugin)"


def _check(answers: object, name: str | None, subject: str) -> Plugin:
    """The one answer of a plugin, if it is fit for use."""
    found = answers[0] if isinstance(answers, list) and answers else None
    if not isinstance(found, Plugin):
        raise PluginLoadError(f"{subject} does not introduce itself: it returned no Plugin", fix=_HOOK_FIX)
    if name is not None and found.name != name:
        message = f"{subject} calls itself {found.name!r}"
        raise PluginLoadError(message, fix="its author has to give the entry point and the Plugin the same name")
    if not re.fullmatch(r"[a-z][a-z0-9]*", found.name) or found.name in Settings.model_fields:
        message = f"{subject} cannot be called {found.name!r}"
        raise PluginLoadError(message, fix="a name is lower-case letters and digits, and not that of a setting of streamkit")
    try:
        fits = allows(found.requires, version("streamkit")) if found.requires else True
    except (ValueError, PackageNotFoundError) as error:
        raise PluginLoadError(f"{subject} requires streamkit {found.requires!r}: {_one_line(error)}") from error
    if not fits:
        message = f"{subject} needs streamkit {found.requires}, and this is {version('streamkit')}"
        raise PluginVersionError(message, fix="install versions of the two that fit")
    return found


def _offer_of(entry: EntryPoint) -> _Offer:
    if entry.dist is None:
        return _Offer(entry.name, entry.value, "", entry.load)
    return _Offer(entry.name, entry.dist.name, entry.dist.version, entry.load)


def _conflict(name: str, offers: Iterable[_Offer]) -> PluginConflictError:
    both = " and ".join(sorted(str(offer) for offer in offers))
    return PluginConflictError(f"plugin {name!r} is offered by {both}", fix="remove all but one of them")


def _suggest(name: str, installed: tuple[str, ...]) -> str:
    """How to get what was probably meant."""
    near = closest(name, {*installed, *_FIRST_PARTY})
    mean = "" if near in (None, name) else f"did you mean {near!r}? "
    if near in installed:
        return mean.strip()
    if near in _FIRST_PARTY:
        return f"{mean}pip install 'streamkit[{near}]'"
    return f"installed are: {', '.join(installed)}" if installed else "no plugin is installed"


def _one_line(error: BaseException) -> str:
    return f"{type(error).__name__}: {str(error).strip()}".splitlines()[0].removesuffix(": ")
