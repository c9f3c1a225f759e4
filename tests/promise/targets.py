"""Handlers that note what they were called with."""

from __future__ import annotations

from streamkit.model import Record
from streamkit.processing import Context, record_processor
from tests.promise.world import Journal

__all__ = ["noting", "text", "values"]


def noting(journal: Journal, worker: str = "w1") -> object:
    """Does nothing but write down each record."""

    @record_processor
    def handle(record: Record, context: Context) -> None:
        journal.note("done", record.partition.id, text(record), worker)

    return handle


def text(record: Record) -> str:
    return (record.value or b"").decode()


def values(journal: Journal, *, partition: str | None = None) -> list[str]:
    """The values that were done, in order."""
    return [str(note[2]) for note in journal.of("done") if partition in (None, note[1])]
