"""Reading a file of JSON lines: where a line begins, which lines are there, which file it is. Blocking, and without state.

A position is the number of a line, from 1, as editors and `sed -n` count: it survives every append. A last line without an end
counts when it is a whole record (an editor may have left the end away), else it is not there yet.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from streamkit.builtin.file.lines import decode
from streamkit.errors import AccessDeniedError, BrokerUnavailableError, StreamGoneError
from streamkit.model import Partition

__all__ = ["BROKER", "Mark", "count_lines", "find_line", "lines_from", "opened", "partition_of"]

BROKER = "file"
_CHUNK = 1 << 20
_MAX_FIRST_LINE = 1 << 16


@dataclass(frozen=True, slots=True)
class Mark:
    """The beginning of a line."""

    line: int
    offset: int


@contextmanager
def opened(stream: str) -> Iterator[BinaryIO]:
    """The file of a stream, with errors as a broker has them. Raises StreamGoneError if there is none."""
    try:
        with Path(stream).open("rb") as file:
            yield file
    except FileNotFoundError as error:
        raise StreamGoneError(f"there is no file {stream!r}", broker=BROKER, fix="make it, or correct the name") from error
    except IsADirectoryError as error:
        raise StreamGoneError(f"{stream!r} is a folder", broker=BROKER, fix="name a file in it") from error
    except PermissionError as error:
        text = f"{stream!r} cannot be read"
        raise AccessDeniedError(text, broker=BROKER, missing="read", fix="let this user read it") from error
    except OSError as error:
        raise BrokerUnavailableError(f"{stream!r}: {error}", broker=BROKER) from error


def partition_of(stream: str) -> Partition:
    """The one partition of a file. Which file it is, is told by its first line: that stays with appends, copies and moves."""
    with opened(stream) as file:
        first = file.readline(_MAX_FIRST_LINE)
    whole = first.endswith(b"\n") or len(first) == _MAX_FIRST_LINE
    incarnation = f"sha256:{hashlib.sha256(first.rstrip()).hexdigest()[:32]}" if whole else ""
    return Partition(stream, "0", incarnation=incarnation)


def find_line(file: BinaryIO, line: int) -> Mark:
    """Where line number `line` begins; where the last one does, if the file has fewer line ends."""
    number, begin, offset = 1, 0, 0
    file.seek(0)
    while number < line and (chunk := file.read(_CHUNK)):
        ends = min(chunk.count(b"\n"), line - number)
        if number + ends == line:
            at = -1
            for _ in range(ends):
                at = chunk.index(b"\n", at + 1)
            begin = offset + at + 1
        elif ends:
            begin = offset + chunk.rindex(b"\n") + 1
        number += ends
        offset += len(chunk)
    return Mark(number, begin)


def count_lines(file: BinaryIO) -> tuple[int, int]:
    """How many lines there are, blank ones too: those that are whole, and with one that is only begun."""
    size = os.fstat(file.fileno()).st_size
    ends = 0
    file.seek(0)
    while file.tell() < size and (chunk := file.read(_CHUNK)):
        ends += chunk.count(b"\n")
    mark = find_line(file, ends + 1)
    file.seek(mark.offset)
    tail = file.read()
    return ends + is_whole(tail), ends + bool(tail)


def lines_from(file: BinaryIO, mark: Mark, max_bytes: int | None = None) -> Iterator[tuple[Mark, bytes]]:
    """Lines from `mark` on, each with its beginning and its end; about `max_bytes` of them, and one at least."""
    file.seek(mark.offset)
    number, offset = mark.line, mark.offset
    while max_bytes is None or offset < mark.offset + max_bytes or number == mark.line:
        line = file.readline()
        if not line.endswith(b"\n") and not is_whole(line):
            return
        yield Mark(number, offset), line
        number += 1
        offset += len(line)


def is_whole(tail: bytes) -> bool:
    """Whether a last line without an end is a record all the same."""
    try:
        return decode(tail) is not None
    except ValueError:
        return False
