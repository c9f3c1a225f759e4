"""What is put to the test: the user's code, its settings, and what a test does around each life."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from streamkit.builtin.memory import membership, reader
from streamkit.engine.delivery import retry
from streamkit.engine.delivery.call import Code
from streamkit.model import Record
from streamkit.plugin import NewRecord

__all__ = ["Subject", "quick"]


@dataclass(frozen=True, slots=True)
class Subject:
    """What is put to the test."""

    code: Code
    settings: Mapping[str, object]
    state: object = None
    record: Callable[[int], NewRecord] | None = None
    """Makes the record of that number; None: any."""
    setup: Callable[[], None] | None = None
    """Called before each life."""
    check: Callable[[Sequence[Record]], None] | None = None
    """Called at the quiet end of each life, with all records that were written since the group began."""


@contextmanager
def quick() -> Iterator[None]:
    """Shorter waits where the engine's and the memory plugin's are made for people and real time."""
    before = membership._IDLE_SECONDS, reader._IDLE_SECONDS, retry.HALT_BACKOFF_SECONDS
    membership._IDLE_SECONDS = reader._IDLE_SECONDS = 0.05
    retry.HALT_BACKOFF_SECONDS = 0.5
    try:
        yield
    finally:
        membership._IDLE_SECONDS, reader._IDLE_SECONDS, retry.HALT_BACKOFF_SECONDS = before
