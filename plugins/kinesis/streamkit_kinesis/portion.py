"""The part of a batch that fits into what is left of a poll. Pure."""

from __future__ import annotations

from streamkit.model import Batch

__all__ = ["portion_of"]


def portion_of(batch: Batch, max_records: int, max_bytes: int, *, at_least_one: bool) -> Batch | None:
    """The first of its records, within both limits; with `at_least_one` the first one, however large. None: nothing fits."""
    count = min(len(batch), max_records)
    while count > 0:
        part = batch if count == len(batch) else batch.slice(0, count)
        size = part.bytes
        if size <= max_bytes or (count == 1 and at_least_one):
            return part
        count = min(count - 1, max(int(count * max_bytes / size), 1 if count > 1 else 0))
    return None
