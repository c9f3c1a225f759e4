"""The promise of one app in words, from its settings and from what its adapters can do. Printed at start and by `explain`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from streamkit.engine.delivery.retry import HALT_BACKOFF_SECONDS, HALT_MAX_BACKOFF_SECONDS
from streamkit.engine.house import poll_records
from streamkit.engine.markers import MAX_KEYS
from streamkit.engine.ownership.observation import valid_seconds
from streamkit.model import Capabilities, StartPosition
from streamkit.processing import Facts
from streamkit.settings import Settings, duration_text, size_text

__all__ = ["contract"]

_WHERE = {"process": "threads of one process", "host": "processes of one host", "cluster": "all hosts"}


def contract(
    settings: Settings,
    facts: Facts,
    *,
    ownership: str,
    store: str,
    store_capabilities: Capabilities,
    terms: Sequence[tuple[str, str]] = (),
) -> str:
    """One line for each promise: name, then what holds. `terms`: what adapters add (`Adapter.terms`)."""
    lines = [
        ("consume", f"{', '.join(settings.stream)} from {settings.broker}, as group {settings.group}"),
        ("delivery", "at least once; a checkpoint never passes a record that is not done"),
        ("order", _order(settings)),
        ("start", _start(settings.start)),
        ("checkpoints", _checkpoints(settings, facts, store)),
        ("redelivery", f"after a crash at most {settings.max_in_flight + poll_records(settings)} records of each partition come again"),
        ("failures", _failures(settings, facts)),
        ("ownership", _ownership(ownership, settings, store, store_capabilities)),
        ("fencing", _fencing(ownership, settings, store, store_capabilities)),
        ("memory", f"at most {size_text(settings.max_in_flight_bytes)} of records are held; a full partition is not read"),
        ("shutdown", f"SIGTERM drains within {duration_text(settings.drain_timeout)}; a second one stops at once"),
        ("stop", _stop(settings)),
        *terms,
    ]
    return "\n".join(f"{name:<12} {text}" for name, text in lines)


def _order(settings: Settings) -> str:
    if settings.ordering == "partition":
        return "records of a partition, one call at a time"
    most = f"up to {settings.concurrency} calls at once for each partition" if settings.concurrency > 1 else "one call at a time"
    return f"records of a key one after the other, {most}; a key in trouble blocks only itself"


def _start(start: StartPosition) -> str:
    return f"{start} where no checkpoint exists, resolved once and saved; partitions found later begin at earliest"


def _checkpoints(settings: Settings, facts: Facts, store: str) -> str:
    when = f"every {duration_text(settings.checkpoint_interval)}"
    if settings.checkpoint_records is not None:
        when += f" or {settings.checkpoint_records} records"
    who = "submitted by the processor, written" if facts.checkpoint == "manual" else "automatic,"
    prepared = ", prepared ones as well" if facts.prepares else ""
    return f"{who} {when}, and before revoke, end and stop; kept by {store}{prepared}"


def _failures(settings: Settings, facts: Facts) -> str:
    halves = settings.bisect and facts.by == "batch"
    attempts = f"{settings.retry_attempts} attempt{'s' if settings.retry_attempts != 1 else ''}"
    if settings.process_timeout is not None:
        attempts += f" of {duration_text(settings.process_timeout)} (def code is not cut, but told of)"
    if halves:
        attempts += " of the record that halving its batch has found"
    what = "the record" if halves or facts.by == "record" else "the record that the code names, or its whole batch,"
    halts = f"the partition halts alone and tries again after {HALT_BACKOFF_SECONDS:g}s to {HALT_MAX_BACKOFF_SECONDS:g}s"
    limit = settings.dead_letter_max_consecutive
    if settings.on_failure == "stop":
        return f"{attempts}, then the process drains and exits with 1; nothing is skipped"
    if settings.on_failure == "dead_letter":
        return (
            f"{attempts}, then {what} is written to {settings.dead_letter} and passed; after {limit} of those in a row, "
            f"or if that cannot be written, {halts}"
        )
    if settings.on_failure == "park":
        return (
            f"{attempts}, then {what} is written to {settings.dead_letter}, and every later record of its key behind it, uncalled, until a "
            f"replay has dealt with them; after {limit} failures in a row, over {MAX_KEYS} keys of a partition, or if a letter cannot be "
            f"written, {halts}"
        )
    if settings.on_failure == "skip":
        return f"{attempts}, then {what} is SKIPPED: counted, logged and kept nowhere; after {limit} of those in a row {halts}"
    return f"{attempts}, then {halts}; nothing is skipped"


def _ownership(ownership: str, settings: Settings, store: str, capabilities: Capabilities) -> str:
    if ownership == "group":
        return "the broker's group deals out partitions"
    if ownership == "lease":
        most = f", at most {settings.max_partitions} here" if settings.max_partitions is not None else ""
        return (
            f"leases in {store}, level among {_WHERE[capabilities.scope]}{most}; who is silent for {duration_text(settings.lease_duration)}"
            f" loses them, and a hand-over takes at most {duration_text(settings.handover_timeout)}"
        )
    return f"this process takes {', '.join(settings.partitions) or 'all partitions'}; nothing keeps another from taking them too"


def _fencing(ownership: str, settings: Settings, store: str, capabilities: Capabilities) -> str:
    if not capabilities.fencing:
        return f"not fenced: {store} accepts a checkpoint from anybody"
    where = _WHERE[capabilities.scope]
    if ownership == "group" and store == settings.broker:
        return f"{store}'s group refuses members that it has put out, and we what is not assigned to us; among {where}"
    if ownership == "lease":
        alone = timedelta(seconds=valid_seconds(settings.lease_duration.total_seconds()))
        return (
            f"{store} refuses the checkpoints of an older owner, among {where}; "
            f"a worker that cannot renew begins no call after {duration_text(alone)}"
        )
    return f"{store} refuses the checkpoints of an older owner, among {where}"


def _stop(settings: Settings) -> str:
    stop = settings.stop
    if stop.kind == "idle":
        return f"after {stop.idle_seconds:g}s without a record"
    return "when every partition has reached its tip of the start" if stop.kind == "at_end" else "when told to"
