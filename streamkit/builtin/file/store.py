"""Checkpoints as one JSON file for each partition, in a folder: for any number of processes on one host.

Under `path` each group has a folder `<broker>.<group>` with files `<stream>.<partition>.json` and a lock file. A file is
never changed: a new one is written beside it, synced, and put in its place, so a crash at any moment leaves the old one or
the new one. The lock is held from reading to replacing; the operating system lets go of it when a process dies.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote

from streamkit.builtin.file.disk import acquire, sync_folder
from streamkit.builtin.file.settings import FileSettings
from streamkit.errors import CheckpointError, ConfigurationError, StoreUnavailableError
from streamkit.model import Capabilities, Checkpoint, Partition
from streamkit.plugin import Adapter, AdapterContext, CheckpointStore, Claim, Grant, fencing

__all__ = ["FileStore"]

T = TypeVar("T")

_VERSION = 1
_LONGEST_NAME = 110  # of a part; file systems allow 255 bytes for the whole


class FileStore(Adapter[FileSettings], CheckpointStore):
    """All work is done on the thread of `blocking`, one step under the group's lock at a time."""

    capabilities = Capabilities(fencing=True, scope="host", metadata_characters=4096, pending_bytes=1 << 20, parked_bytes=1 << 16)

    def __init__(self, settings: FileSettings, context: AdapterContext) -> None:
        super().__init__(settings, context)
        self._path = _path_of(settings, context)
        self._folder = self._path / f"{_safe(context.broker)}.{_safe(context.group)}"

    async def open(self) -> None:
        await self.blocking(self._open)

    async def claim(self, partition: Partition, owner: str, epoch: int) -> Claim:
        return await self.blocking(self._locked, lambda: self._claim(partition, owner, epoch))

    async def save(self, checkpoints: Sequence[tuple[Checkpoint, Grant]]) -> Sequence[Grant | Exception]:
        return await self.blocking(self._locked, lambda: [self._save(checkpoint, grant) for checkpoint, grant in checkpoints])

    async def list(self) -> Sequence[Checkpoint]:
        return await self.blocking(self._locked, self._list)

    async def overwrite(self, checkpoint: Checkpoint) -> None:
        await self.blocking(self._locked, lambda: self._overwrite(checkpoint))

    async def delete(self, partitions: Sequence[Partition]) -> None:
        await self.blocking(self._locked, lambda: self._delete(partitions))

    async def ask(self, partition: Partition, request: str) -> None:
        body = {"version": _VERSION, "stream": partition.stream, "partition": partition.id, "request": request}
        await self.blocking(self._locked, lambda: self._replace(self._request(partition), body))

    async def requests(self) -> Mapping[Partition, str]:
        return await self.blocking(self._locked, lambda: dict(map(_read_request, sorted(self._folder.glob("*.request")))))

    async def answered(self, partition: Partition, request: str) -> None:
        await self.blocking(self._locked, lambda: self._answered(partition, request))

    def _open(self) -> None:
        path = self._path
        if not path.absolute().parent.is_dir():
            raise ConfigurationError(f"there is no folder {str(path.absolute().parent)!r}", setting="STREAMKIT_FILE__PATH", fix="make it")
        with self._translated():
            for folder in (path, self._folder):
                folder.mkdir(exist_ok=True)
                sync_folder(folder.absolute().parent)
        self._locked(self._clean)

    def _clean(self) -> None:
        """Under the lock nobody is writing, so what is half written was left behind by a crash."""
        for leftover in self._folder.glob("*.tmp"):
            leftover.unlink()

    def _claim(self, partition: Partition, owner: str, epoch: int) -> Claim:
        row = fencing.claimed(self._row(partition), partition, owner, epoch)
        self._write(partition, row)
        return fencing.claim_of(row)

    def _save(self, checkpoint: Checkpoint, grant: Grant) -> Grant | Exception:
        try:
            with self._translated():
                stored = self._row(checkpoint.partition)
                row = fencing.saved(stored, checkpoint, grant)
                if stored is None or row.checkpoint is not stored.checkpoint:
                    self._write(checkpoint.partition, row)
                else:
                    sync_folder(self._folder)  # an earlier try may have failed between the rename and its sync
        except CheckpointError as error:  # of this file alone
            return error
        return grant

    def _list(self) -> Sequence[Checkpoint]:
        rows = [self._read(file) for file in sorted(self._folder.glob("*.json"))]
        return [row.checkpoint for _, row in rows if row.checkpoint is not None]

    def _overwrite(self, checkpoint: Checkpoint) -> None:
        self._write(checkpoint.partition, fencing.overwritten(self._row(checkpoint.partition), checkpoint))

    def _delete(self, partitions: Sequence[Partition]) -> None:
        for partition in partitions:
            if (row := self._row(partition)) is not None:
                self._write(partition, fencing.forgotten(row))

    def _answered(self, partition: Partition, request: str) -> None:
        file = self._request(partition)
        if file.exists() and _read_request(file)[1] == request:
            file.unlink()
            sync_folder(self._folder)

    def _request(self, partition: Partition) -> Path:
        return self._file(partition).with_suffix(".request")

    def _file(self, partition: Partition) -> Path:
        return self._folder / f"{_safe(partition.stream)}.{_safe(partition.id)}.json"

    def _row(self, partition: Partition) -> fencing.Row | None:
        """None only if there is no such file in a folder that is there (its lock file was just opened)."""
        file = self._file(partition)
        try:
            found, row = self._read(file)
        except FileNotFoundError:
            return None
        if found != partition:  # somebody has copied or renamed it
            raise StoreUnavailableError(f"{str(file)!r} holds {found}, not {partition}")
        return row

    def _read(self, file: Path) -> tuple[Partition, fencing.Row]:
        try:
            body = json.loads(file.read_bytes())
            if not 1 <= body["version"] <= _VERSION + 1:
                raise ValueError(f"file of version {body['version']}; this is version {_VERSION}")
            stored = body["checkpoint"]
            checkpoint = None if stored is None else Checkpoint.from_text(json.dumps(stored))
            fruitless = int(body.get("fruitless_claims", 0))
            row = fencing.Row(int(body["epoch"]), body["owner"], checkpoint, fruitless_claims=fruitless)
            return Partition(body["stream"], body["partition"]), row
        except (ValueError, KeyError, TypeError) as error:
            raise StoreUnavailableError(f"{str(file)!r} cannot be read: {error}", fix="restore it; or, to begin anew, delete it") from error

    def _write(self, partition: Partition, row: fencing.Row) -> None:
        body = {
            "version": _VERSION,
            "stream": partition.stream,
            "partition": partition.id,
            "epoch": row.epoch,
            "owner": row.owner,
            "checkpoint": None if row.checkpoint is None else json.loads(row.checkpoint.to_text()),
            "fruitless_claims": row.fruitless_claims,
        }
        self._replace(self._file(partition), body)

    def _replace(self, file: Path, body: Mapping[str, object]) -> None:
        temporary = file.with_suffix(".tmp")
        with temporary.open("wb") as stream:
            stream.write(json.dumps(body, ensure_ascii=False, indent=1).encode())
            stream.flush()
            os.fsync(stream.fileno())  # before the rename, or a power cut leaves an empty file under the right name
        temporary.replace(file)
        sync_folder(self._folder)

    def _locked(self, work: Callable[[], T]) -> T:
        """Run `work` while no other process, and no other store of this one, is at work in the group's folder."""
        with self._translated(), (self._folder / "lock").open("ab") as lock:
            acquire(lock.fileno())  # closing the file releases it
            return work()

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise StoreUnavailableError(f"{str(self._folder)!r}: {error}") from error


def _read_request(file: Path) -> tuple[Partition, str]:
    try:
        body = json.loads(file.read_bytes())
        return Partition(body["stream"], body["partition"]), str(body["request"])
    except (ValueError, KeyError, TypeError) as error:
        raise StoreUnavailableError(f"{str(file)!r} cannot be read: {error}", fix="delete it, and ask again") from error


def _path_of(settings: FileSettings, context: AdapterContext) -> Path:
    if settings.path is not None:
        return settings.path
    if context.broker == "file":  # whose streams are looked for in the current folder as well
        return Path("checkpoints")
    raise ConfigurationError(
        "nothing sets it, and checkpoints need a folder", setting="STREAMKIT_FILE__PATH", fix="set it to a folder on a disk of this host"
    )


def _safe(name: str) -> str:
    """`name` as a part of a file name on any system; no two names give the same.

    Capitals get a short hash, because some file systems take them for small letters; a very long name is cut and gets a long one.
    """
    text = quote(name, safe="").replace(".", "%2E").replace("~", "%7E")
    digest = hashlib.sha256(name.encode()).hexdigest()
    if len(text) > _LONGEST_NAME:
        return f"{text[:50]}~{digest}"
    return text if name == name.lower() else f"{text}~{digest[:12]}"
