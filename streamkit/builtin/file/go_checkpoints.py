"""`streamkit checkpoints import --from go-files` and `export --to go-files`: the folder of the Go persister for Event Hubs.

Its FilePersister (azure-event-hubs-go v3, `persist`) keeps a small JSON file for each namespace, hub, consumer group and partition. The
table of the commands is the folder. What one file says is decided here; whether a program still writes is watched by the command.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from streamkit.builtin.file.disk import sync_folder
from streamkit.builtin.file.settings import FileSettings
from streamkit.errors import ConfigurationError, StoreUnavailableError
from streamkit.model import Checkpoint, Lease, Partition, Position, StartPosition
from streamkit.plugin import Exchange, Exported, Foreign

__all__ = ["GoFilesExchange"]

_OLDEST, _NEWEST = "-1", "@latest"
_NO_TIME = "0001-01-01T00:00:00Z"
"""What Go writes for a time that was never set."""
_FIX = "give the folder that its FilePersister was made with, and the hub and consumer group as STREAMKIT_STREAM and STREAMKIT_GROUP"


class GoFilesExchange(Exchange[FileSettings]):
    """Of partitions of event hubs alone: their incarnation says of which namespace they are."""

    async def exists(self, table: str) -> bool:
        return await self.blocking(Path(table).is_dir)

    async def read(self, table: str, partitions: Sequence[Partition], start: StartPosition) -> Foreign:
        return await self.blocking(self._read, Path(table), partitions)

    def parse(self, text: str, partitions: Sequence[Partition], start: StartPosition) -> Foreign:
        """What `export` has made: a line for each file, its name and its contents."""
        return self._foreign(_lines(text), partitions, {})

    def export(self, leases: Sequence[Lease]) -> Exported:
        files = {self._file_of(lease.partition): _body_of(lease) for lease in leases}
        lines = [json.dumps({"name": name, "checkpoint": body}) + "\n" for name, body in files.items()]
        return Exported("".join(lines), _remarks(leases))

    async def write(self, table: str, leases: Sequence[Lease]) -> Exported:
        return await self.blocking(self._write, Path(table), leases)

    # -- on the thread of `blocking` ----------------------------------------------------------------------------------

    def _read(self, folder: Path, partitions: Sequence[Partition]) -> Foreign:
        if not folder.is_dir():
            raise ConfigurationError(f"there is no folder {str(folder)!r}", fix=_FIX)
        found: dict[str, object] = {}
        signs: dict[str, str] = {}
        try:
            for file in sorted(folder.iterdir()):
                if file.is_file() and self._is_ours(file.name, partitions):
                    found[file.name] = _json(file.name, file.read_bytes())
                    signs[file.name] = str(file.stat().st_mtime_ns)
        except OSError as error:
            raise StoreUnavailableError(f"{str(folder)!r}: {error}") from error
        return self._foreign(found, partitions, signs)

    def _write(self, folder: Path, leases: Sequence[Lease]) -> Exported:
        files = {self._file_of(lease.partition): _body_of(lease) for lease in leases}
        try:
            folder.mkdir(exist_ok=True)
            for name, body in files.items():
                temporary = folder / f"{name}.tmp"
                with temporary.open("w", encoding="utf-8") as stream:
                    stream.write(json.dumps(body, separators=(",", ":")))
                    stream.flush()
                    os.fsync(stream.fileno())
                temporary.replace(folder / name)
            sync_folder(folder)
        except OSError as error:
            raise StoreUnavailableError(f"{str(folder)!r}: {error}") from error
        return Exported(remarks=_remarks(leases))

    # -- which file is of which partition -------------------------------------------------------------------------------

    def _is_ours(self, name: str, partitions: Iterable[Partition]) -> bool:
        """Another group may be called as ours and more: `app` and `app_2`."""
        prefixes = {prefix for partition in partitions for prefix in self._prefixes(partition)}
        return any(name.lower().startswith(prefix) and "_" not in name[len(prefix) :] for prefix in prefixes)

    def _file_of(self, partition: Partition) -> str:
        """As the persister calls it: it leaves out the $ of $Default."""
        (short, *_) = self._prefixes(partition, lower=False)
        return f"{short}{partition.id}"

    def _prefixes(self, partition: Partition, *, lower: bool = True) -> list[str]:
        """By the namespace's short name, as its hub client says it, and by the whole host. Raises ConfigurationError."""
        host, slash, _ = partition.incarnation.partition("/")
        if not slash or self.context.broker != "eventhubs":
            raise ConfigurationError(
                f"{partition} is no partition of an event hub, and the Go persister knows no other",
                setting="STREAMKIT_BROKER",
                fix="set it to eventhubs",
            )
        names = [f"{space}_{partition.stream}_{self.context.group}_".replace("$", "") for space in (host.split(".")[0], host)]
        return [name.lower() if lower else name for name in names]

    def _foreign(self, files: Mapping[str, object], partitions: Sequence[Partition], signs: Mapping[str, str]) -> Foreign:
        checkpoints: dict[Partition, Checkpoint] = {}
        for name, body in files.items():
            found = _checkpoint(name, body, self._partition(name, partitions))
            if found.partition in checkpoints:
                raise ConfigurationError(f"{name!r} is a second file of {found.partition}", fix="take the older one away")
            checkpoints[found.partition] = found
        return Foreign(tuple(checkpoints.values()), signs)

    def _partition(self, name: str, partitions: Sequence[Partition]) -> Partition:
        """As the broker lists it; one that it does not list is of the same hub as those that it does."""
        for partition in partitions:
            if any(name.lower() == f"{prefix}{partition.id}".lower() for prefix in self._prefixes(partition)):
                return partition
        for partition in partitions:
            for prefix in self._prefixes(partition):
                if name.lower().startswith(prefix) and (rest := name[len(prefix) :]).isdecimal():
                    return replace(partition, id=rest)
        raise ConfigurationError(f"{name!r} is of no partition of a hub that STREAMKIT_STREAM names", fix=_FIX)


def _checkpoint(name: str, body: object, partition: Partition) -> Checkpoint:
    try:
        assert isinstance(body, dict)
        offset, sequence = str(body["offset"]), int(body.get("sequenceNumber", 0))
        time = str(body.get("enqueueTime") or _NO_TIME)
        written = None if time.startswith("0001-") else datetime.fromisoformat(time)
        if written is not None and written.tzinfo is None:
            raise ValueError(f"{time!r} has no time zone")
    except (AssertionError, KeyError, TypeError, ValueError) as error:
        fix = 'it is to be {"offset": …, "sequenceNumber": …, "enqueueTime": …}'
        raise ConfigurationError(f"{name!r} is no checkpoint of the Go persister: {error!r}", fix=fix) from error
    if offset == _OLDEST:
        return Checkpoint(partition, StartPosition.EARLIEST)
    if offset == _NEWEST:
        return Checkpoint(partition, StartPosition.LATEST)
    if not offset and written is None:
        raise ConfigurationError(f"{name!r} says of no place", fix="delete it: its partition then begins as STREAMKIT_START says")
    at = StartPosition.after(Position(sequence, token=offset))
    return Checkpoint(partition, at, record_time=written.astimezone(UTC) if written is not None else None)


def _body_of(lease: Lease) -> dict[str, object]:
    checkpoint = lease.checkpoint
    assert checkpoint is not None  # the command exports none without
    position = checkpoint.at.position if checkpoint.at.kind == "after" else None
    if position is None or not position.token or position.is_end:
        return {"offset": _NEWEST if checkpoint.at == StartPosition.LATEST else _OLDEST, "sequenceNumber": 0, "enqueueTime": _NO_TIME}
    time = checkpoint.record_time
    written = time.astimezone(UTC).isoformat().replace("+00:00", "Z") if time is not None else _NO_TIME
    return {"offset": position.token, "sequenceNumber": position.sequence or 0, "enqueueTime": written}


def _remarks(leases: Sequence[Lease]) -> list[str]:
    exact = (StartPosition.EARLIEST, StartPosition.LATEST)
    earlier = [
        str(lease.partition)
        for lease in leases
        if lease.checkpoint and lease.checkpoint.at not in exact and _body_of(lease)["offset"] == _OLDEST
    ]
    remarks = [f"{', '.join(earlier)}: no offset is known of where they stand, and Go begins at the oldest event"] if earlier else []
    if told := [str(lease.partition) for lease in leases if lease.checkpoint and lease.checkpoint.metadata]:
        remarks.append(f"{', '.join(told)}: the Go persister keeps no metadata, and it is left out")
    return remarks


def _lines(text: str) -> dict[str, object]:
    found: dict[str, object] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        one = _json(f"line {number}", line.encode())
        if not isinstance(one, dict) or not isinstance(one.get("name"), str) or "checkpoint" not in one:
            fix = "give what `streamkit checkpoints export --to go-files` has printed; the persister's own files go in with --table FOLDER"
            raise ConfigurationError(f"line {number} names no file and its checkpoint", fix=fix)
        found[one["name"]] = one["checkpoint"]
    return found


def _json(name: str, text: bytes) -> object:
    try:
        return json.loads(text)
    except ValueError as error:
        raise ConfigurationError(f"{name} is not JSON: {error}", fix=_FIX) from error
