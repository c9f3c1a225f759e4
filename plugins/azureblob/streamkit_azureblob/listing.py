"""Every row of a group, whole or not at all; and who else owns its partitions, as Azure's SDKs say it.

For event hubs a listing also finds what the Go SDK has written under names with capitals, and what was written with the port of a
local server: it counts where there is no row of the usual name.
"""

from __future__ import annotations

import builtins
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from streamkit.errors import ConfigurationError, StoreThrottledError
from streamkit.model import Partition
from streamkit_azureblob.clock import Clock
from streamkit_azureblob.container import Blob, Container
from streamkit_azureblob.names import (
    CHECKPOINT,
    NAMESPACE,
    OWNERSHIP,
    Folder,
    OwnNames,
    SharedNames,
    is_of_service,
    ownership_name,
    safe,
    without_port,
)
from streamkit_azureblob.owners import Ownership, ownership_of
from streamkit_azureblob.rows import Stored, body_key, nothing, stored_of
from streamkit_azureblob.together import all_of

__all__ = ["IGNORED_NAME", "IGNORED_PLACE", "IGNORED_ROW", "Listed", "OwnListing", "SharedListing"]

FOLDER_SECONDS = 60.0
"""For how long it is believed which folders there are."""
PAGE = 5000
"""Blobs in one answer of a listing."""
MAX_SECONDS = 2.0
"""For a listing of several answers. Rows of different moments may contradict each other: a child begins when its parents have ended."""
IGNORED_PLACE = "another program's checkpoint lacks an offset or a sequence number, or has one that means nothing: what is there is used"
IGNORED_ROW = "another program's checkpoint lies under a name with capitals or a port, beside ours: not used"
IGNORED_NAME = "a blob among the checkpoints has a name that is none of a partition's: passed over"


@dataclass(frozen=True, slots=True)
class Listed:
    """As of one listing."""

    rows: Mapping[Partition, Stored] = field(default_factory=dict)
    owners: Mapping[Partition, Ownership] = field(default_factory=dict)
    """As the blob of the usual name says it, or else another one."""


class OwnListing:
    """Rows with names of our own."""

    shared = False

    def __init__(self, container: Container, names: OwnNames, clock: Clock) -> None:
        self._container = container
        self._names = names
        self._clock = clock
        self._bodies = _Bodies(container)

    async def all(self, *, everything: bool, fresh: bool = True) -> Listed:
        """Raises StoreThrottledError if it took too long to be of one moment."""
        began = self._clock.monotonic()
        blobs = [blob for blob in await self._container.list(self._names.prefix) if not _is_directory(blob)]
        bodies, is_in_parts = await self._bodies.of(blobs)
        took = self._clock.monotonic() - began
        if (is_in_parts or len(blobs) >= PAGE) and took > MAX_SECONDS:
            raise StoreThrottledError(f"Blob Storage: listing {len(blobs)} rows took {took:.1f}s, too long to be of one moment")
        rows = [stored_of(blob, None, None) for blob in bodies]
        return Listed({stored.partition: stored for stored in rows})

    def name_of(self, partition: Partition) -> str:
        return self._names.name_of(partition)

    async def find(self, partition: Partition, *, owner: bool = False) -> Stored:
        """What is there of it, if anything."""
        name = self._names.name_of(partition)
        blob = await self._container.read(name, owner=owner)
        return stored_of(blob, None, None) if blob is not None else nothing(name, partition)


class SharedListing:
    """Rows of event hubs. Used on one loop."""

    shared = True

    def __init__(self, container: Container, names: SharedNames, clock: Clock, noticed: Callable[[Partition, str], None]) -> None:
        self._container = container
        self._names = names
        self._clock = clock
        self._noticed = noticed
        self._bodies: dict[str, _Bodies] = {}
        self._told: set[tuple[Partition, str]] = set()
        self._folders: dict[str, Folder] = {}
        """By prefix: those that were found, and those of partitions that we were asked about."""
        self._looked_at: float | None = None
        self._looked_everywhere_at: float | None = None
        self._ours: str | None = None
        """The namespace, as the broker says it."""
        self._listed = Listed()

    async def all(self, *, everything: bool, fresh: bool = True) -> Listed:
        """`everything`: of all hubs, not of those alone that STREAM names. `fresh`: also of a hub of which there was nothing a minute ago.

        Raises ConfigurationError if two namespaces have them."""
        if (everything and (fresh or not self._has_looked(self._looked_everywhere_at))) or not self._knows_folders():
            await self._look(everything)
        ours = [one for one in self._folders.values() if self._names.is_our_namespace(one.namespace, self._ours)]
        folders = [one for one in ours if everything or self._names.is_read(one.hub)]
        found = await all_of(self._list(folder) for folder in folders)
        self._check_namespaces(folders, found)
        # What has a usual name counts; of the others the newest.
        order = sorted(zip(folders, found, strict=True), key=lambda one: one[0].is_usual, reverse=True)
        rows: dict[Partition, Stored] = {}
        owners: dict[Partition, Ownership] = {}
        for folder, listed in order:
            for partition, stored in listed.rows.items():
                self._add(rows, partition, stored, is_usual=folder.is_usual or self._is_named(folder))
            for partition, ownership in listed.owners.items():
                owners.setdefault(partition, ownership)
                if ownership.is_foreign and ownership.modified > owners[partition].modified:
                    owners[partition] = ownership
        self._listed = Listed(rows, owners)
        return self._listed

    def learn(self, partitions: Sequence[Partition]) -> bool:
        """Of which namespace they are, as the broker says it. Whether a listing of before may be of another one."""
        before = self._ours
        for partition in partitions:
            if (folder := self._folder_of(partition)) is not None:
                self._ours = folder.namespace
        return self._ours != before

    def _folder_of(self, partition: Partition) -> Folder | None:
        """Its own, if it says of which namespace it is."""
        folder = self._names.folder_of(partition)
        if folder is not None:
            self._folders.setdefault(folder.prefix, folder)
            self._ours = self._ours or folder.namespace
        return folder

    def name_of(self, partition: Partition) -> str:
        """Raises ConfigurationError if nobody has said of which namespace it is."""
        folder = self._folder_of(partition)
        if folder is not None:
            return f"{folder.prefix}{CHECKPOINT}/{safe(partition.id)}"
        stored = self._listed.rows.get(partition)
        if stored is not None:
            namespace, _, rest = stored.name.lower().partition("/")
            return f"{without_port(namespace)}/{rest}"
        raise ConfigurationError(
            f"{partition} does not say of which namespace it is, and has no checkpoint",
            setting=NAMESPACE,
            fix="set it to the host of the namespace, such as name.servicebus.windows.net",
        )

    async def find(self, partition: Partition, *, owner: bool = False) -> Stored:
        """What is there of it, if anything; what lies under another name has no ETag of ours."""
        name = self.name_of(partition)
        blob = await self._container.read(name, owner=owner)
        if blob is not None:
            return self._row(blob, safe(partition.stream), safe(partition.id))
        if owner:
            return nothing(name, partition)
        other = (await self.all(everything=False)).rows.get(partition)
        if other is not None:
            return replace(other, name=name, etag=None, body=b"")
        await self.check_elsewhere([partition])
        return nothing(name, partition)

    async def check_elsewhere(self, partitions: Sequence[Partition]) -> None:
        """Before they get rows. Raises ConfigurationError if one has a checkpoint under an address that is no namespace's own name: a
        processor may have named ours after where it connects to. Passed over in silence, the partition would begin at START."""
        if self._names.namespace is not None or self._ours is None:
            return
        folders = [
            one for one in await self._there(False, None) if without_port(one.namespace) != self._ours and not is_of_service(one.namespace)
        ]
        found = await all_of(self._list(folder) for folder in folders)
        for folder, listed in zip(folders, found, strict=True):
            for partition in partitions:
                if partition in listed.rows:
                    raise ConfigurationError(
                        f"the container {self._container.name!r} has a checkpoint of {partition} of {folder.namespace}, which may be "
                        f"another address of {self._ours}, where the broker is",
                        setting=NAMESPACE,
                        fix="say which one is meant",
                    )

    async def ownership(self, row_name: str) -> Ownership | None:
        """Of the row of that name, as it is now."""
        blob = await self._container.read(ownership_name(row_name))
        return ownership_of(blob) if blob is not None else None

    # -- folders ----------------------------------------------------------------------------------------------------

    def _knows_folders(self) -> bool:
        return self._has_looked(self._looked_at) and any(self._names.is_read(folder.hub) for folder in self._folders.values())

    def _has_looked(self, at: float | None) -> bool:
        return at is not None and self._clock.monotonic() - at < FOLDER_SECONDS

    async def _look(self, everything: bool) -> None:
        for folder in await self._there(everything, self._ours):
            self._folders.setdefault(folder.prefix, folder)
        self._looked_at = self._clock.monotonic()
        if everything:
            self._looked_everywhere_at = self._looked_at

    async def _there(self, everything: bool, known: str | None) -> builtins.list[Folder]:
        """Of our group. `known`: of that namespace alone."""
        container, names = self._container, self._names
        roots = [root for root in await container.folders("") if names.is_our_namespace(root, known)]
        hubs = await all_of(container.folders(f"{root}/") for root in roots)
        pairs = [(root, hub) for root, some in zip(roots, hubs, strict=True) for hub in some if everything or names.is_read(hub)]
        groups = await all_of(container.folders(f"{root}/{hub}/") for root, hub in pairs)
        found = zip(pairs, groups, strict=True)
        return [Folder(root, hub, group) for (root, hub), some in found for group in some if names.is_our_group(group)]

    def _is_named(self, folder: Folder) -> bool:
        """NAMESPACE says so, port and all."""
        return self._names.namespace is not None and folder.prefix == folder.prefix.lower() and folder.namespace == self._names.namespace

    def _check_namespaces(self, folders: Sequence[Folder], found: Sequence[Listed]) -> None:
        seen: dict[str, set[str]] = {}
        for folder, listed in zip(folders, found, strict=True):
            if listed.rows:
                seen.setdefault(folder.hub.lower(), set()).add(without_port(folder.namespace))
        for hub, namespaces in seen.items():
            if len(namespaces) > 1:
                raise ConfigurationError(
                    f"the container {self._container.name!r} has checkpoints of the hub {hub!r} of {' and of '.join(sorted(namespaces))}",
                    setting=NAMESPACE,
                    fix="say which one is meant",
                )

    # -- rows -------------------------------------------------------------------------------------------------------

    async def _list(self, folder: Folder) -> Listed:
        rows: dict[Partition, Stored] = {}
        owners: dict[Partition, Ownership] = {}
        checkpoints: builtins.list[Blob] = []
        for blob in await self._container.list(folder.prefix):
            kind, _, name = blob.name.removeprefix(folder.prefix).partition("/")
            if _is_directory(blob) or (not name and kind in (CHECKPOINT, OWNERSHIP)):
                continue
            stream = self._names.stream_of(folder.hub)
            if not name or "/" in name or kind not in (CHECKPOINT, OWNERSHIP):
                self._tell(Partition(stream, name or kind), IGNORED_NAME)
            elif kind == CHECKPOINT:
                checkpoints.append(blob)
            else:
                owners[Partition(stream, name)] = ownership_of(blob)
        bodies, _ = await self._bodies.setdefault(folder.prefix, _Bodies(self._container)).of(checkpoints)
        for blob in bodies:
            stored = self._row(blob, folder.hub, blob.name.rpartition("/")[2])
            rows[stored.partition] = stored
        return Listed(rows, {_as_in(rows, partition): one for partition, one in owners.items()})

    def _row(self, blob: Blob, hub: str, partition_id: str) -> Stored:
        stored = stored_of(blob, partition_id, lambda said: self._names.stream_of(hub, said))
        if stored.is_odd:
            self._tell(stored.partition, IGNORED_PLACE)
        return stored

    def _add(self, rows: dict[Partition, Stored], partition: Partition, stored: Stored, *, is_usual: bool) -> None:
        there = rows.get(partition)
        if there is None or (there.etag is None and (is_usual or stored.modified > there.modified)):
            rows[partition] = stored if is_usual else replace(stored, etag=None)
        if there is not None and (stored.modified > there.modified or not is_usual):
            self._tell(partition, IGNORED_ROW)

    def _tell(self, partition: Partition, what: str) -> None:
        if (partition, what) not in self._told:
            self._told.add((partition, what))
            self._noticed(partition, what)


def _is_directory(blob: Blob) -> bool:
    """Accounts of Data Lake have a blob for each."""
    return "hdi_isfolder" in blob.metadata


def _as_in(rows: Mapping[Partition, Stored], partition: Partition) -> Partition:
    """By the name of its stream that its row has."""
    same = (one for one in rows if one.id == partition.id and one.stream.lower() == partition.stream.lower())
    return next(same, partition)


class _Bodies:
    """What was read of them, by what they are known by: a row with parked keys has the same for days, and is listed each second."""

    def __init__(self, container: Container) -> None:
        self._container = container
        self._known: dict[tuple[str, str], bytes] = {}

    async def of(self, blobs: Sequence[Blob]) -> tuple[builtins.list[Blob], bool]:
        """The blobs with their bodies, and whether one had to be read; who is gone meanwhile is left out."""
        keys = {(blob.name, key) for blob in blobs if (key := body_key(blob))}
        known = self._known = {key: body for key, body in self._known.items() if key in keys}  # another listing may replace it meanwhile
        missing = {name for name, key in keys if (name, key) not in known}
        read = {blob.name: blob for blob in await all_of(self._read(name) for name in missing) if blob is not None}
        found: builtins.list[Blob] = []
        for blob in blobs:
            if blob.name in missing:
                found += [read[blob.name]] if blob.name in read else []
            else:
                found.append(replace(blob, body=known.get((blob.name, body_key(blob)))))
        return found, bool(missing)

    async def _read(self, name: str) -> Blob | None:
        blob = await self._container.read(name)
        if blob is not None and blob.body is not None and (key := body_key(replace(blob, body=None))):
            self._known[name, key] = blob.body
        return blob
