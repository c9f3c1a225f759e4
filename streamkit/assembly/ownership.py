"""Who deals out the partitions: what was asked for, what broker and store can do, and whether that fits together."""

from __future__ import annotations

from typing import Any, Literal

from streamkit.assembly.registry import Registry
from streamkit.errors import ConfigurationError, UnsupportedError
from streamkit.model import Capabilities
from streamkit.plugin import Broker, CheckpointStore, GroupBroker, LeaseStore
from streamkit.settings import Settings, variable_of

__all__ = ["check_leases", "ownership_of"]

_OF_LEASES = ("max_partitions", "lease_duration", "handover_timeout")


def ownership_of(settings: Settings, registry: Registry, broker: Broker[Any]) -> Literal["group", "static", "lease"]:
    """The broker's group where it has one; else leases where the store has them; PARTITIONS means static.

    Raises `ConfigurationError` where broker, store and settings do not agree.
    """
    can_group = isinstance(broker, GroupBroker) and broker.capabilities.group
    wanted = settings.ownership or _unasked(settings, registry, can_group)
    if wanted == "group" and not can_group:
        raise UnsupportedError(f"broker {settings.broker} has no groups", setting="STREAMKIT_OWNERSHIP", fix="set it to lease or static")
    if wanted != "static" and settings.partitions:
        who = "the group deals" if wanted == "group" else "leases deal"
        raise ConfigurationError(
            f"partitions are named, but {who} them out", setting="STREAMKIT_PARTITIONS", fix="set STREAMKIT_OWNERSHIP=static"
        )
    if wanted == "lease":
        broker.capabilities.require("static", of=f"broker {settings.broker}", because="STREAMKIT_OWNERSHIP=lease")
    else:
        _refuse_lease_settings(settings, wanted)
    return wanted


def _unasked(settings: Settings, registry: Registry, can_group: bool) -> Literal["group", "static", "lease"]:
    if settings.partitions:
        return "static"
    if can_group:
        return "group"
    return "lease" if _has_leases(registry, settings.store or settings.broker) else "static"


def _refuse_lease_settings(settings: Settings, ownership: str) -> None:
    """A setting that would do nothing is a mistake somebody should hear of."""
    for field in _OF_LEASES:
        if getattr(settings, field) != Settings.model_fields[field].default:
            raise ConfigurationError(
                f"ownership is {ownership}, which has no leases",
                setting=variable_of(field),
                fix=f"unset it, or set STREAMKIT_OWNERSHIP=lease and, if need be, STREAMKIT_STORE; unset {variable_of('partitions')}",
            )


def check_leases(store: CheckpointStore, settings: Settings, registry: Registry) -> None:
    """Raises `UnsupportedError` if the store keeps no leases, and names those that do."""
    if isinstance(store, LeaseStore) and store.capabilities.leases:
        return
    others = [plugin.name for plugin in registry.describe() if plugin.store and _has_leases(registry, plugin.name)]
    raise UnsupportedError(
        f"ownership by leases needs a store that keeps them, and {settings.store or settings.broker} does not",
        setting="STREAMKIT_STORE",
        fix=f"set it to one of {', '.join(others)}",
    )


def _has_leases(registry: Registry, name: str) -> bool:
    """What the store's class says without being made."""
    try:
        factory = registry.select(name).store
        made_by = registry.load_factory(name, factory) if factory is not None else None
    except ConfigurationError:  # broken: said when it is chosen
        return False
    capabilities = getattr(made_by, "capabilities", None)
    return isinstance(capabilities, Capabilities) and capabilities.leases
