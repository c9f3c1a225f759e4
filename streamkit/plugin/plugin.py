"""How a plugin introduces itself: one hook, one entry point in the group `streamkit`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import pluggy
from pydantic import BaseModel

__all__ = ["Plugin", "hookimpl", "register", "registered", "streamkit_plugin"]

hookimpl = pluggy.HookimplMarker("streamkit")
_hookspec = pluggy.HookspecMarker("streamkit")


@dataclass(frozen=True, slots=True)
class Plugin:
    """What one plugin offers. Factories are `"module:Name"` of a class that takes (settings, context), imported when first needed."""

    name: str
    """What users write: `STREAMKIT_BROKER=<name>`, and the section of its settings, `STREAMKIT_<NAME>__…`. Lower case, [a-z][a-z0-9]*."""
    settings: type[BaseModel]
    """A plain pydantic model with `extra="forbid"`; every field has a description."""
    broker: str | None = None
    """Factory of a `Broker` or `GroupBroker`."""
    store: str | None = None
    """Factory of a class that is an `Adapter` and a `CheckpointStore`."""
    producer: str | None = None
    """Factory of a `Producer`."""
    exchanges: Mapping[str, str] = field(default_factory=dict)
    """Factories of `Exchange`, each under the name of the program whose checkpoints it knows: `checkpoints import --from NAME`."""
    requires: str = ""
    """Which versions of streamkit it works with, for example `>=0.1,<0.3`; empty: any."""


@_hookspec
def streamkit_plugin() -> Plugin:  # type: ignore[empty-body]
    """Describe the plugin. Must be cheap and import no SDK: it is called for `streamkit plugins` too."""


_registered: list[object] = []


def register(plugin: object) -> None:
    """Offer a plugin that is not installed: a module or object with a `@hookimpl def streamkit_plugin`, from this process's own
    code, before an app starts. Doing it twice is doing it once; a name that is taken is a `PluginConflictError` at the start."""
    if plugin not in _registered:
        _registered.append(plugin)


def registered() -> tuple[object, ...]:
    """What `register` was given. For the registry."""
    return tuple(_registered)
