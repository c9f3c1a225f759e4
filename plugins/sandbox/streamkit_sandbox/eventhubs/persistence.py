"""Hubs in a folder, so that they outlive the emulator, also when it is killed.

Each hub has a folder with `hub.json`, which is written anew as a whole, and a file for each partition: one line of JSON for each append,
only ever added to. A line is in the file before anybody sees its events. What is not covered: a machine that loses power, because
nothing is synced; and space, because trimmed events stay in the files.
"""

from __future__ import annotations

import base64
import json
import logging
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from io import FileIO
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

from streamkit_sandbox.errors import SandboxError
from streamkit_sandbox.eventhubs.log import Event, Hub, PartitionLog
from streamkit_sandbox.eventhubs.offsets import Offsets

if sys.platform != "win32":
    import fcntl

__all__ = ["HubFolder"]

_FORM = 1
_DESCRIPTION = "hub.json"

_log = logging.getLogger(__name__)


class HubFolder:
    """A folder of hubs, for one emulator at a time; `with` or `close()` lets go of it.

    Raises SandboxError when another one has it, and when it cannot be written.
    """

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder).absolute()
        self._files: dict[str, list[FileIO]] = {}  # by the name of the hub's folder
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._lock = (self.folder / ".lock").open("wb")
        except OSError as error:
            raise SandboxError(f"hubs cannot be kept in {self.folder} ({error.strerror}); choose another folder") from error
        if sys.platform != "win32":
            try:
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                self._lock.close()
                raise SandboxError(f"{self.folder} belongs to an emulator that still runs; end it, or choose another folder") from None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Closes the files; may be called again. What is appended to the hubs after that raises ValueError."""
        for place in tuple(self._files):
            self._let_go(place)
        self._lock.close()

    def names(self) -> list[str]:
        """The hubs that are kept here."""
        return sorted(_read(path)["name"] for path in self.folder.glob(f"*/{_DESCRIPTION}"))

    def open(
        self,
        name: str,
        partition_count: int,
        *,
        clock_ms: Callable[[], int],
        retention_ms: int | None = None,
        max_events: int | None = None,
        offsets: Offsets | None = None,
    ) -> Hub:
        """The hub as it was left, or a new one; its appends are written down from now on. A kept hub has at least the partitions it had.

        An append of which only a part is in the file was never acknowledged: it is taken away, with a warning. Raises
        SandboxError, with the file and the line, for any other line that cannot be read.
        """
        place = self._place(name)
        if not (place / _DESCRIPTION).exists():
            self.remove(name)  # what a kill has left of one that was being deleted
        kept = _read(place / _DESCRIPTION) if place.exists() else {}
        hub = Hub(
            name,
            max(partition_count, kept.get("partitions", 0)),
            clock_ms=clock_ms,
            created_ms=kept.get("created_ms"),
            retention_ms=retention_ms,
            max_events=max_events,
            offsets=offsets,
        )
        hub.consumer_groups |= set(kept.get("consumer_groups", ()))
        place.mkdir(exist_ok=True)
        for partition in hub.partitions:
            self._attach(place, partition)
        self.save(hub)
        return hub

    def remove(self, name: str) -> None:
        """Deletes what is kept of a hub, so that one made anew begins empty; nothing happens for one that is not kept."""
        place = self._place(name)
        self._let_go(place.name)
        if place.exists():
            # First of all what says that there is a hub: a kill in the middle leaves nothing that could come back.
            (place / _DESCRIPTION).unlink(missing_ok=True)
            shutil.rmtree(place)

    def save(self, hub: Hub) -> None:
        """Writes down what the hub is: its birthday, its consumer groups, its partitions. For after a change of those."""
        place = self._place(hub.name)
        for partition in hub.partitions:
            if partition.journal is None:  # it has grown since
                self._attach(place, partition)
        told = {
            "form": _FORM,
            "name": hub.name,
            "created_ms": hub.created_ms,
            "partitions": len(hub.partitions),
            "consumer_groups": sorted(hub.consumer_groups),
        }
        draft = place / f".{_DESCRIPTION}"
        draft.write_text(json.dumps(told, indent=2) + "\n")
        draft.replace(place / _DESCRIPTION)

    def _place(self, name: str) -> Path:
        # `quote` leaves dots alone, and a hub called `..` must not lead out of here.
        return self.folder / quote(name.lower(), safe="").replace(".", "%2E")

    def _let_go(self, place: str) -> None:
        for file in self._files.pop(place, ()):
            file.close()

    def _attach(self, place: Path, partition: PartitionLog) -> None:
        path = place / f"{partition.id}.jsonl"
        if path.exists():
            partition.restore(_events(path))
        file = FileIO(path, "a")
        self._files.setdefault(place.name, []).append(file)
        partition.journal = partial(_write, file)


def _read(path: Path) -> Mapping[str, Any]:
    try:
        found: Mapping[str, Any] = json.loads(path.read_text())
        form = found["form"]
    except (ValueError, KeyError, TypeError) as error:
        raise SandboxError(f"{path} does not describe a hub ({error}); remove its folder to begin anew") from error
    if form != _FORM:
        raise SandboxError(f"{path} has form {form}, and this emulator knows {_FORM}; use the one that wrote it, or another folder")
    return found


def _write(file: FileIO, events: Sequence[Event]) -> None:
    first = events[0]
    line: dict[str, object] = {"sequence": first.sequence, "enqueued_ms": first.enqueued_ms}
    if first.partition_key is not None:
        line["key"] = first.partition_key
    line["events"] = [[event.offset, base64.b64encode(event.message).decode()] for event in events]
    data = json.dumps(line, separators=(",", ":")).encode() + b"\n"
    begin = os.fstat(file.fileno()).st_size
    written = 0
    try:
        while written < len(data):
            written += file.write(data[written:]) or 0
    except OSError:
        # A part of a line would spoil the next one.
        os.truncate(file.fileno(), begin)
        raise


def _events(path: Path) -> Iterator[Event]:
    """The events in a partition's file; its last line is taken away if it is torn."""
    with path.open("r+b") as file:
        good = expected = 0
        for number, line in enumerate(file, 1):
            if not line.endswith(b"\n"):
                _log.warning("%s: the last append was cut off after %d bytes and is dropped; it was never acknowledged", path, len(line))
                file.truncate(good)
                return
            try:
                events = _parsed(line)
            except (ValueError, KeyError, TypeError) as error:
                raise SandboxError(f"{path}, line {number} is no append ({error}); remove the hub's folder to begin anew") from error
            if events[0].sequence != expected:
                raise SandboxError(f"{path}, line {number} begins at sequence number {events[0].sequence} and not {expected}")
            expected = events[-1].sequence + 1
            good += len(line)
            yield from events


def _parsed(line: bytes) -> list[Event]:
    told = json.loads(line)
    sequence, enqueued_ms, key = told["sequence"], told["enqueued_ms"], told.get("key")
    events = [
        Event(sequence + index, offset, enqueued_ms, key, base64.b64decode(message, validate=True))
        for index, (offset, message) in enumerate(told["events"])
    ]
    if not events:
        raise ValueError("it has no events")
    return events
