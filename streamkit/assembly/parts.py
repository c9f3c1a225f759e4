"""From loaded settings to the parts of an app: which adapters, which store, who owns, and whether all that fits together."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

from streamkit.assembly.dead_letter import check_park, target_of
from streamkit.assembly.loader import Loaded, load
from streamkit.assembly.ownership import check_leases, ownership_of
from streamkit.assembly.registry import Registry
from streamkit.engine.adapter_context import EngineContext
from streamkit.engine.contract import contract
from streamkit.engine.delivery.call import Code
from streamkit.engine.delivery.reentrant import check_order
from streamkit.engine.observers import ObserversAside
from streamkit.engine.runtime import Runtime
from streamkit.engine.supervisor import Parts
from streamkit.errors import PluginLoadError, UnsupportedError
from streamkit.model import Capabilities
from streamkit.plugin import Adapter, Broker, CheckpointStore, Exchange, Observer, Producer
from streamkit.settings import refuse_not_yet, variable_of

__all__ = ["Assembled", "assemble", "load_settings", "open_broker", "open_exchange", "open_producer", "open_store"]


@dataclass(slots=True)
class Assembled:
    """An app that could be started."""

    parts: Parts
    contract: str
    loaded: Loaded
    contexts: tuple[EngineContext, ...]
    observers: ObserversAside

    def stop(self) -> None:
        """End the adapters' threads."""
        for context in self.contexts:
            context.stop()


def load_settings(
    registry: Registry,
    *,
    overrides: Mapping[str, object] | None = None,
    dotenv: Path | None = None,
    config: Path | None = None,
    also: Sequence[str] = (),
) -> Loaded:
    """The only place that reads the process's environment."""
    return load(registry, environment=dict(os.environ), overrides=overrides or {}, dotenv=dotenv, config=config, also=also)


def assemble(loaded: Loaded, registry: Registry, code: Code, observers: Sequence[Observer], runtime: Runtime) -> Assembled:
    """Make the adapters and check that they can do what is asked for. Raises `ConfigurationError`; connects to nothing."""
    settings = loaded.settings
    refuse_not_yet(settings)
    check_order(settings, code)
    worker = settings.worker or f"{socket.gethostname()}-{os.getpid()}"
    broker, broker_context = open_broker(loaded, registry, runtime, worker)
    ownership = ownership_of(settings, registry, broker)
    contexts = [broker_context]
    store: CheckpointStore | None = None
    if ownership != "group" or settings.store not in (None, settings.broker):
        store, store_context = open_store(loaded, registry, runtime, worker)
        contexts.append(store_context)
        if ownership == "lease":
            check_leases(store, settings, registry)
    dead_letter: Producer[Any] | None = None
    if (target := target_of(settings, loaded.origins[variable_of("dead_letter")])) is not None:
        dead_letter, producer_context = open_producer(loaded, registry, runtime, worker, target)
        contexts.append(producer_context)
    capabilities = store.capabilities if store is not None else broker.capabilities
    check_park(settings, capabilities, registry)
    if code.facts.prepares:
        _check_prepares(capabilities, settings.store or settings.broker, registry)
    aside = ObserversAside(observers, runtime)
    for context in contexts:
        context.observer = aside
    parts = Parts(
        settings=settings,
        code=code,
        broker=broker,
        store=store,
        store_adapter=cast("Adapter[Any] | None", store),
        observer=aside,
        worker_name=worker,
        ownership=ownership,
        dead_letter=dead_letter,
    )
    kept_by = settings.store or settings.broker
    terms = [term for adapter in (broker, parts.store_adapter, dead_letter) if adapter is not None for term in adapter.terms()]
    text = contract(settings, code.facts, ownership=ownership, store=kept_by, store_capabilities=capabilities, terms=terms)
    return Assembled(parts, text, loaded, tuple(contexts), aside)


def _check_prepares(capabilities: Capabilities, store: str, registry: Registry) -> None:
    """Code that prepares checkpoints needs a store that keeps them. Raises `UnsupportedError`."""
    others = [plugin.name for plugin in registry.describe() if plugin.store and plugin.name != store]
    try:
        capabilities.require("pending_bytes", of=store, because="this processor prepares checkpoints (prepares=True), which")
    except UnsupportedError as error:
        raise UnsupportedError(str(error), setting="STREAMKIT_STORE", fix=f"set it to one of {', '.join(others)}") from None


def open_broker(loaded: Loaded, registry: Registry, runtime: Runtime, worker: str) -> tuple[Broker[Any], EngineContext]:
    """The broker's adapter, not yet connected."""
    made, context = _make(loaded, registry, runtime, worker, loaded.settings.broker, "broker")
    if not isinstance(made, Broker):
        raise PluginLoadError(f"broker {loaded.settings.broker} is a {type(made).__name__}, which is not a streamkit.plugin.Broker")
    return made, context


def open_store(
    loaded: Loaded, registry: Registry, runtime: Runtime, worker: str, *, of_broker: bool = False
) -> tuple[CheckpointStore, EngineContext]:
    """The store's adapter, not yet connected; `of_broker`: the broker's own, whatever STREAMKIT_STORE says."""
    name = loaded.settings.broker if of_broker else loaded.settings.store or loaded.settings.broker
    if registry.select(name).store is None:
        stores = ", ".join(plugin.name for plugin in registry.describe() if plugin.store)
        raise UnsupportedError(f"{name} keeps no checkpoints of its own", setting="STREAMKIT_STORE", fix=f"set it to one of {stores}")
    made, context = _make(loaded, registry, runtime, worker, name, "store")
    if not isinstance(made, CheckpointStore) or not isinstance(made, Adapter):
        raise PluginLoadError(f"store {name} is a {type(made).__name__}, which is not an Adapter and a CheckpointStore")
    return made, context


def open_producer(loaded: Loaded, registry: Registry, runtime: Runtime, worker: str, name: str) -> tuple[Producer[Any], EngineContext]:
    """A producer's adapter, not yet connected."""
    made, context = _make(loaded, registry, runtime, worker, name, "producer")
    if not isinstance(made, Producer):
        raise PluginLoadError(f"producer {name} is a {type(made).__name__}, which is not a streamkit.plugin.Producer")
    return made, context


def open_exchange(
    loaded: Loaded, registry: Registry, runtime: Runtime, worker: str, plugin: str, factory: str
) -> tuple[Exchange[Any], EngineContext]:
    """What knows another program's checkpoints, not yet connected."""
    made, context = _made_by(factory, loaded, registry, runtime, worker, plugin)
    if not isinstance(made, Exchange):
        raise PluginLoadError(f"exchange {factory} is a {type(made).__name__}, which is not a streamkit.plugin.Exchange")
    return made, context


def _make(
    loaded: Loaded, registry: Registry, runtime: Runtime, worker: str, name: str, kind: Literal["broker", "store", "producer"]
) -> tuple[object, EngineContext]:
    plugin = registry.select(name)
    factory = getattr(plugin, kind)
    if factory is None:
        raise UnsupportedError(
            f"plugin {name} is no {kind}", setting=f"STREAMKIT_{kind.upper()}", fix="`streamkit plugins` lists what each one offers"
        )
    return _made_by(factory, loaded, registry, runtime, worker, name)


def _made_by(factory: str, loaded: Loaded, registry: Registry, runtime: Runtime, worker: str, name: str) -> tuple[object, EngineContext]:
    settings = loaded.settings
    context = EngineContext(runtime, name, broker=settings.broker, group=settings.group, worker=worker, streams=settings.stream)
    make = cast("Callable[[object, EngineContext], object]", registry.load_factory(name, factory))
    return make(loaded.sections[name], context), context
