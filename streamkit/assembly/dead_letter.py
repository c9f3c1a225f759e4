"""Whether the settings about dead letters fit together. Pure; the producer itself is made in `parts.py`, and asked at the start."""

from __future__ import annotations

import posixpath
import re

from streamkit.assembly.registry import Registry
from streamkit.errors import ConfigurationError, UnsupportedError
from streamkit.model import Capabilities
from streamkit.settings import Settings, variable_of

__all__ = ["check_park", "target_of", "unused_warning"]

_SETTING = variable_of("dead_letter")
_NEEDS_ONE = ("dead_letter", "park")
_REACH = {"process": 0, "host": 1, "cluster": 2}
_TARGETS = {"memory": "process", "file": "host"}
"""How far targets reach that not every worker of a cluster can write to and read."""


def target_of(settings: Settings, origin: str = "") -> str | None:
    """The name of the plugin that has to write dead letters; None if nothing is put aside.

    Raises ConfigurationError if there is no target, or if it is a stream that this app reads: it would feed itself for ever.
    """
    if settings.on_failure not in _NEEDS_ONE:
        return None
    if settings.dead_letter is None:
        raise ConfigurationError(
            f"nothing sets it, and {variable_of('on_failure')}={settings.on_failure} needs it",
            setting=_SETTING,
            fix="set it to <plugin>:<name>, such as file:dlq.jsonl",
        )
    plugin, _, name = settings.dead_letter.partition(":")
    if plugin == settings.broker and any(_is_of(name, stream) for stream in settings.stream):
        raise ConfigurationError(
            f"{settings.dead_letter!r} is a stream that this app reads itself ({variable_of('stream')}={','.join(settings.stream)})",
            setting=_SETTING,
            origin=origin,
            fix="write dead letters to another stream",
        )
    return plugin


def check_park(settings: Settings, store: Capabilities, registry: Registry) -> None:
    """Raises `UnsupportedError` where ON_FAILURE=park cannot hold: no place for the markers, or letters that no replay can read."""
    if settings.on_failure != "park" or settings.dead_letter is None:
        return
    wants = f"{variable_of('on_failure')}=park"
    name = settings.store or settings.broker
    if not store.parked_bytes:
        others = ", ".join(sorted({plugin.name for plugin in registry.describe() if plugin.store} - {name}))
        raise UnsupportedError(
            f"{name} cannot keep which keys are parked, and {wants} needs that",
            setting=variable_of("store"),
            fix=f"set it to one of {others}",
        )
    target = settings.dead_letter.partition(":")[0]
    if registry.select(target).broker is None:
        raise UnsupportedError(
            f"{target} can be written and not read, so what {wants} puts aside could never be replayed",
            setting=_SETTING,
            fix="write dead letters to a target whose plugin has a broker, such as file:dlq.jsonl",
        )
    if _REACH[_TARGETS.get(target, "cluster")] < _REACH[store.scope]:
        raise UnsupportedError(
            f"{settings.dead_letter!r} is of one {_TARGETS[target]}, and {name} is shared by more: the letters of a key would be "
            f"scattered, so {wants} could not keep their order",
            setting=_SETTING,
            fix="write dead letters to a stream that all workers reach, such as kafka:orders.dlq",
        )


def unused_warning(settings: Settings, origin: str) -> tuple[str, ...]:
    """One line if there is a target that nothing is written to."""
    if settings.dead_letter is None or settings.on_failure in _NEEDS_ONE:
        return ()
    return (f"{_SETTING} (from {origin}): not used, because {variable_of('on_failure')} is {settings.on_failure}",)


def _is_of(name: str, stream: str) -> bool:
    """Whether they may be one stream: a regular expression may match it, and a path may be written in several ways."""
    if stream.startswith("^"):
        return re.match(stream, name) is not None
    return posixpath.normpath(name) == posixpath.normpath(stream)
