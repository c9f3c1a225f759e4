"""Appends records to files of JSON lines: one lock, one write and one sync for each `send`.

Any number of processes of one host may write to a file. The lock belongs to the open file, so it dies with its process; what a
process that was killed has left of a line is marked before the next line is begun, and never becomes part of it.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from streamkit.builtin.file.disk import acquire, sync_folder
from streamkit.builtin.file.lines import TORN, decode, encode
from streamkit.builtin.file.settings import FileSettings
from streamkit.errors import AccessDeniedError, BrokerError, BrokerUnavailableError, StreamGoneError
from streamkit.plugin import NewRecord, Producer

__all__ = ["FileProducer"]

_BROKER = "file"
_LONGEST_LINE = 1 << 30  # of what was cut off; more is not looked at, only marked


class FileProducer(Producer[FileSettings]):
    """A stream is a path, relative to the current folder. The file is made by its first record; the folder must be there."""

    is_gapless = True  # all of a `send` or nothing, but for records that name a partition

    async def check(self, stream: str) -> None:
        await self.blocking(self._check, Path(stream))

    async def send(self, stream: str, records: Sequence[NewRecord]) -> Sequence[Exception | None]:
        now = self.context.unix_time()
        answers: list[Exception | None] = [_refused(stream, record) for record in records]
        lines = [encode(record, now) for record, answer in zip(records, answers, strict=True) if answer is None]
        if lines:
            await self.blocking(self._append, Path(stream), b"".join(lines))
        return answers

    def _check(self, path: Path) -> None:
        folder = path.absolute().parent
        if not folder.is_dir():
            raise StreamGoneError(f"there is no folder {str(folder)!r} for {str(path)!r}", broker=_BROKER, fix="make it")
        if path.is_dir():
            raise StreamGoneError(f"{str(path)!r} is a folder", broker=_BROKER, fix="name a file in it")
        if not os.access(path if path.exists() else folder, os.W_OK):
            raise AccessDeniedError(f"{str(path)!r} cannot be written", broker=_BROKER, missing="write", fix="let this user write it")

    def _append(self, path: Path, lines: bytes) -> None:
        try:
            descriptor = _open(path)
            try:
                before = os.fstat(descriptor).st_size
                mended = _mend(descriptor, before)
                _write(descriptor, mended + lines, before)
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            if before == 0:
                sync_folder(path.absolute().parent)
        except OSError as error:
            raise BrokerUnavailableError(f"{str(path)!r} cannot be written: {error}", broker=_BROKER) from error


def _refused(stream: str, record: NewRecord) -> BrokerError | None:
    if record.partition in (None, "0"):
        return None
    return BrokerError(f"{stream} has no partition {record.partition!r}, only 0", broker=_BROKER, partition=record.partition or "")


def _open(path: Path) -> int:
    """The file, open and locked. Again if it was renamed or deleted while we waited for the lock."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0), 0o644)
        try:
            acquire(descriptor)
            found = os.stat(path)
            if os.path.samestat(found, os.fstat(descriptor)):
                return descriptor
        except FileNotFoundError:
            pass
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def _mend(descriptor: int, size: int) -> bytes:
    """What has to be written before a new line: nothing, or the end of a last line that has none."""
    if size == 0:
        return b""
    os.lseek(descriptor, size - 1, os.SEEK_SET)
    if os.read(descriptor, 1) == b"\n":
        return b""
    try:
        whole = decode(_last_line(descriptor, size)) is not None
    except ValueError:
        whole = False
    return b"\n" if whole else TORN + b"\n"


def _last_line(descriptor: int, size: int) -> bytes:
    """What stands behind the last line end."""
    length = 1 << 12
    while True:
        length = min(length, size)
        os.lseek(descriptor, size - length, os.SEEK_SET)
        tail = b""
        while len(tail) < length and (more := os.read(descriptor, length - len(tail))):
            tail += more
        if b"\n" in tail or length in (size, _LONGEST_LINE):
            return tail.rpartition(b"\n")[2]
        length *= 4


def _write(descriptor: int, content: bytes, before: int) -> None:
    """All of it or, as far as the disk lets us, nothing: a failed write is taken back, unless somebody without the lock wrote too."""
    written = 0
    try:
        while written < len(content):
            written += os.write(descriptor, content[written:])
    except OSError:
        if os.fstat(descriptor).st_size == before + written:
            os.ftruncate(descriptor, before)
        raise
