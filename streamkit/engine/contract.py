"""The promise of one app in words, from its settings and from what its adapters can do. Printed at start and by `explain`."""

from __future__ import annotations

from streamkit.engine.delivery.retry import HALT_BACKOFF_SECONDS, HALT_MAX_BACKOFF_SECONDS
from streamkit.engine.house import poll_records
from streamkit.model import Capabilities, StartPosition
from streamkit.processing import Facts
from streamkit.settings import Settings, duration_text, size_text

__all__ = ["contract"]


def contract(settings: Settings, facts: Facts, *, ownership: str, store: str, store_capabilities: Capabilities) -> str:
    """One line for each promise: name, then what holds."""
    lines = [
        ("consume", f"{', '.join(settings.stream)} from {settings.broker}, as group {settings.group}"),
        ("delivery", "at least once; a checkpoint never passes a record that is not done"),
        ("order", "records of a partition, one call at a time"),
        ("start", _start(settings.start)),
        ("checkpoints", _checkpoints(settings, facts, store)),
        ("redelivery", f"after a crash at most {settings.max_in_flight + poll_records(settings)} records of each partition come again"),
        ("failures", _failures(settings)),
        ("ownership", _ownership(ownership, settings)),
        ("fencing", _fencing(ownership, settings, store, store_capabilities)),
        ("memory", f"at most {size_text(settings.max_in_flight_bytes)} of records are held; a full partition is not read"),
        ("shutdown", f"SIGTERM drains within {duration_text(settings.drain_timeout)}; a second one stops at once"),
        ("stop", _stop(settings)),
    ]
    return "\n".join(f"{name:<12} {text}" for name, text in lines)


def _start(start: StartPosition) -> str:
    return f"{start} where no checkpoint exists, resolved once and saved; partitions found later begin at earliest"


def _checkpoints(settings: Settings, facts: Facts, store: str) -> str:
    when = f"every {duration_text(settings.checkpoint_interval)}"
    if settings.checkpoint_records is not None:
        when += f" or {settings.checkpoint_records} records"
    who = "submitted by the processor, written" if facts.checkpoint == "manual" else "automatic,"
    return f"{who} {when}, and before revoke, end and stop; kept by {store}"


def _failures(settings: Settings) -> str:
    first = f"{settings.retry_attempts} attempt{'s' if settings.retry_attempts != 1 else ''}"
    if settings.on_failure == "stop":
        return f"{first}, then the process drains and exits with 1; nothing is skipped"
    return (
        f"{first}, then the partition halts alone and tries again after {HALT_BACKOFF_SECONDS:g}s"
        f" to {HALT_MAX_BACKOFF_SECONDS:g}s; nothing is skipped"
    )


def _ownership(ownership: str, settings: Settings) -> str:
    if ownership == "group":
        return "the broker's group deals out partitions"
    return f"this process takes {', '.join(settings.partitions) or 'all partitions'}; nothing keeps another from taking them too"


def _fencing(ownership: str, settings: Settings, store: str, capabilities: Capabilities) -> str:
    if not capabilities.fencing:
        return f"not fenced: {store} accepts a checkpoint from anybody"
    where = {"process": "threads of one process", "host": "processes of one host", "cluster": "all hosts"}[capabilities.scope]
    if ownership == "group" and store == settings.broker:
        return f"{store}'s group refuses members that it has put out, and we what is not assigned to us; among {where}"
    return f"{store} refuses the checkpoints of an older owner, among {where}"


def _stop(settings: Settings) -> str:
    stop = settings.stop
    if stop.kind == "idle":
        return f"after {stop.idle_seconds:g}s without a record"
    return "when every partition has reached its tip of the start" if stop.kind == "at_end" else "when told to"
