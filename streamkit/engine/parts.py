"""What an app is made of: put together by `assembly`, run by the supervisor."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from streamkit.engine.delivery.call import Code
from streamkit.engine.instrumentation import Instrumentation
from streamkit.plugin import Adapter, Broker, CheckpointStore, Observer, Producer
from streamkit.settings import Settings

__all__ = ["Parts"]


@dataclass(slots=True)
class Parts:
    """One app."""

    settings: Settings
    code: Code
    broker: Broker  # type: ignore[type-arg]  # the engine does not look into an adapter's settings
    store: CheckpointStore | None
    """None: the group's own."""
    store_adapter: Adapter | None  # type: ignore[type-arg]
    """The same object as what is opened and closed."""
    observer: Observer
    worker_name: str
    ownership: Literal["group", "static", "lease"]
    state: object = None
    dead_letter: Producer | None = None  # type: ignore[type-arg]
    """Writes the records that failed for good; None: none are put aside."""
    instrumentation: Instrumentation | None = None
    """What measures and traces; None: nothing does, and it costs nothing."""
