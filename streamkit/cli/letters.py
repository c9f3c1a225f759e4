"""What the commands about dead letters share: the settings of a replay, the letters that wait for one, and how they are shown."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from pathlib import Path

from pydantic import BaseModel

from streamkit.assembly.loader import Loaded
from streamkit.assembly.parts import load_settings
from streamkit.assembly.registry import Registry
from streamkit.assembly.sources import UNSET
from streamkit.builtin.file import FileSettings
from streamkit.cli.connection import Connection
from streamkit.cli.output import DOTENV, remark
from streamkit.engine.delivery.letter import Letter, original_of
from streamkit.errors import ConfigurationError, UnsupportedError
from streamkit.model import Capabilities, Checkpoint, Partition, Record, StartPosition
from streamkit.plugin import GroupBroker
from streamkit.settings import variable_of

__all__ = ["error_text", "find", "first", "json_of", "name_of", "printable", "replay_overrides", "starts", "summary_of", "text_of"]

_TARGET = variable_of("dead_letter")
_OF_THE_APP = (
    "concurrency",
    "handover_timeout",
    "lease_duration",
    "max_partitions",
    "max_wait",
    "ordering",
    "ownership",
    "partitions",
    "status_address",
)
"""How the app itself is run: many at once, on an address of its own. A replay is one run, in order, perhaps beside it."""


def replay_overrides(config: Path | None, given: Mapping[str, object]) -> dict[str, object]:
    """What a run over the dead letters has to be told beside the user's own settings: `given` (by an app's code), environment, files.

    Its group is the app's with `.replay` behind it: its checkpoints say which letters have been dealt with.
    """
    registry = Registry()
    loaded = load_settings(registry, overrides=given, dotenv=DOTENV, config=config)
    settings = loaded.settings
    if settings.dead_letter is None:
        raise ConfigurationError(
            "nothing sets it, so it is not known where the dead letters are", setting=_TARGET, fix="set it as your app has it"
        )
    plugin, _, name = settings.dead_letter.partition(":")
    broker = registry.select(plugin).broker
    if broker is None:
        raise UnsupportedError(f"{plugin} can be written and not read", setting=_TARGET, fix="read it with its own tools")
    overrides: dict[str, object] = {
        **given,
        "broker": plugin,
        "stream": (name,),
        "group": f"{settings.group}.replay",
        "start": "earliest",
        "stop": "at_end",
        "on_failure": "halt",
        "dead_letter": UNSET,
        "max_batch": 1,  # one that fails again must not take others with it
        "checkpoint_records": 1,
        "checkpoint_interval": "200ms",  # for those that were done while the one before was being saved
        **dict.fromkeys(_OF_THE_APP, UNSET),
    }
    if settings.store in (None, settings.broker) or _is_forgetful(registry, settings.store):
        overrides |= _store_beside(loaded, plugin, name, given)
    if not issubclass(registry.load_factory(plugin, broker), GroupBroker):
        store = overrides.get("store", settings.store)
        overrides["ownership"] = "lease" if _keeps_leases(registry, plugin if store is UNSET else str(store)) else "static"
        if overrides["ownership"] == "lease":
            del overrides["lease_duration"]
    return overrides


def _is_forgetful(registry: Registry, store: str) -> bool:
    """Whether the store dies with its process: the next replay would begin anew."""
    capabilities = _capabilities(registry, store)
    return capabilities is not None and capabilities.scope == "process"


def _keeps_leases(registry: Registry, store: str) -> bool:
    """Whether it can be seen that a replay is running: then there are never two, and nothing is discarded beside one."""
    capabilities = _capabilities(registry, store)
    return capabilities is not None and capabilities.leases


def _capabilities(registry: Registry, store: str) -> Capabilities | None:
    factory = registry.select(store).store
    capabilities = getattr(registry.load_factory(store, factory), "capabilities", None) if factory is not None else None
    return capabilities if isinstance(capabilities, Capabilities) else None


def _store_beside(loaded: Loaded, plugin: str, name: str, given: Mapping[str, object]) -> dict[str, object]:
    """Where the app's checkpoints are kept by its broker, those of the replay are kept by the target: a file has a folder beside it."""
    if plugin != "file":
        return {"store": UNSET}
    section = loaded.sections.get("file")
    if isinstance(section, FileSettings) and section.path is not None:
        return {"store": "file"}
    own = given.get("file")
    values = own.model_dump(exclude_unset=True) if isinstance(own, BaseModel) else dict(own) if isinstance(own, Mapping) else {}
    return {"store": "file", "file": {**values, "path": f"{name}.checkpoints"}}


def starts(connection: Connection) -> dict[Partition, StartPosition]:
    """Where the letters begin that have not been dealt with, for each partition of the target."""
    stored = {checkpoint.partition: checkpoint for checkpoint in connection.checkpoints()}
    found: dict[Partition, StartPosition] = {}
    for partition in connection.partitions():
        checkpoint = stored.get(partition)
        if checkpoint is not None and _is_foreign(checkpoint, partition):
            remark(f"{partition} has been made anew since the last replay: all of it is shown")
            checkpoint = None
        if checkpoint is None or not checkpoint.at.is_end:
            found[partition] = checkpoint.at if checkpoint is not None else StartPosition.EARLIEST
    return found


def _is_foreign(checkpoint: Checkpoint, partition: Partition) -> bool:
    stored = checkpoint.partition.incarnation
    return "" not in (stored, partition.incarnation) and stored != partition.incarnation


def first(connection: Connection, starts: Mapping[Partition, StartPosition], limit: int) -> list[Record]:
    """The first letters from there on."""
    found: list[Record] = []

    def see(record: Record) -> bool:
        found.append(record)
        return len(found) < limit

    connection.read(starts, see)
    return found


def find(partitions: Sequence[Partition], name: str) -> tuple[Partition, int]:
    """The partition and the position that a letter's name means: `PARTITION/POSITION`, or a position where there is one partition."""
    partition, _, position = name.rpartition("/")
    fix = "write it as `streamkit dead-letters list` shows it"
    if not position.isdecimal():
        raise ConfigurationError(f"{name!r} is not the name of a letter", fix=fix)
    if not partition and len(partitions) > 1:
        raise ConfigurationError(f"{name!r} may be in any of {len(partitions)} partitions", fix=fix)
    for one in partitions:
        if partition in ("", one.id):
            return one, int(position)
    raise ConfigurationError(f"there is no partition {partition!r}", fix=fix)


def name_of(record: Record) -> str:
    """How the commands call a letter."""
    return f"{record.partition.id}/{record.position}"


def error_text(record: Record) -> str:
    """The error as one line."""
    letter = original_of(record)
    if not isinstance(letter, Letter):
        return "(not written by streamkit)"
    first = letter.errors[0] if letter.errors else None
    return f"{first.type}: {first.message}".strip() if first is not None else "(unknown)"


def summary_of(record: Record) -> dict[str, object]:
    """A letter for a list in JSON."""
    letter = original_of(record)
    if not isinstance(letter, Letter):
        return {"letter": name_of(record), "id": None, "error": error_text(record)}
    return {
        "letter": name_of(letter),
        "id": letter.id,
        "stream": letter.origin_stream,
        "partition": letter.origin_partition,
        "position": str(letter.origin_position),
        "timestamp": letter.timestamp.isoformat(),
        "group": letter.group,
        "worker": letter.worker,
        "attempts": letter.attempts,
        "failed_at": letter.failed_at.isoformat(),
        "parked": letter.parked.partition(" ")[0] or None,
        "error": error_text(letter),
    }


def json_of(record: Record) -> dict[str, object]:
    """All of a letter. Bytes are text where they are UTF-8, else base64."""
    seen = original_of(record)
    body = summary_of(record)
    if isinstance(seen, Letter):
        body["errors"] = [error.to_json() for error in seen.errors]
        body["earlier"] = [
            {"group": one.group, "attempts": one.attempts, "failed_at": one.failed_at.isoformat(), "error": one.error}
            for one in seen.earlier
        ]
    body["key"] = _json_bytes(seen.key)
    body["headers"] = [[name, _json_bytes(value)] for name, value in seen.headers]
    body["value"] = _json_bytes(seen.value)
    return body


def _json_bytes(value: bytes | None) -> object:
    if value is None:
        return None
    try:
        return value.decode()
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(value).decode()}


def text_of(value: bytes | None) -> str:
    """Bytes for people: text as it is, else base64."""
    if value is None:
        return "(none)"
    try:
        return printable(value.decode())
    except UnicodeDecodeError:
        return f"base64 {base64.b64encode(value).decode()}"


def printable(text: str) -> str:
    """What a terminal may be shown: data of others must not move its cursor."""
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)
