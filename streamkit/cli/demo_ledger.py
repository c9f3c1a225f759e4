"""What the demo writes down, and the proof that it draws from it. It knows no broker and no screen.

Every call of the handler is one entry: position, worker and epoch. The proof looks at nothing else but these entries, what was
produced, and which checkpoints were reported as saved.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from streamkit.model import Checkpoint, Partition, Record
from streamkit.plugin import Observer
from streamkit.processing import Context, record_processor

__all__ = ["Ledger", "Owner", "Verdict", "Watcher"]

_PACE_EVERY = 25

Owner = tuple[str, int]
"""Worker and epoch: one assignment of one partition."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the ledger proves."""

    records: int
    missing: int
    out_of_order: int
    repeats: int
    allowed_repeats: int
    """Records that had been processed above the last saved checkpoint when their owner died: so many may come again."""
    over_allowance: int
    """Partitions in which more came again than that."""

    @property
    def is_proven(self) -> bool:
        return not (self.missing or self.out_of_order or self.over_allowance)


@dataclass(slots=True)
class Ledger:
    """Shared by the workers of the demo. Lists and dicts are written by one thread each, or by single operations."""

    produced: Mapping[str, int]
    """How many records each partition holds, from position 0."""
    records_per_second: float
    entries: dict[str, list[tuple[int, Owner]]] = field(default_factory=dict)
    saved: dict[str, dict[Owner, int]] = field(default_factory=dict)
    owners: dict[str, Owner] = field(default_factory=dict)
    _paces: dict[tuple[str, Owner], tuple[float, int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.entries = {partition: [] for partition in self.produced}
        self.saved = {partition: {} for partition in self.produced}

    def handler(self, worker: str) -> Callable[[Record, Context], None]:
        """A processor as a user writes one, for one worker: it takes its time, and notes what it was given."""

        @record_processor
        def handle(record: Record, context: Context) -> None:
            partition, owner = context.partition.id, (worker, context.epoch)
            sequence = record.position.sequence
            assert sequence is not None
            if sequence % _PACE_EVERY == 0:
                self._take_time(partition, owner, sequence)
            self.entries[partition].append((sequence, owner))

        return handle

    def _take_time(self, partition: str, owner: Owner, sequence: int) -> None:
        began, first = self._paces.setdefault((partition, owner), (time.monotonic(), sequence))
        early = began + (sequence - first) / self.records_per_second - time.monotonic()
        if early > 0:
            time.sleep(early)

    @property
    def calls(self) -> int:
        """How often the handler was called, in all."""
        return sum(map(len, self.entries.values()))

    def position(self, partition: str) -> int:
        """How many records of a partition have been processed, as its newest owner counts."""
        entries = self.entries[partition]
        return entries[-1][0] + 1 if entries else 0

    @property
    def progress(self) -> str:
        """Both in words. The first goes back where a new owner begins at the last checkpoint."""
        done = sum(map(self.position, self.produced))
        return f"{done:,} of {sum(self.produced.values()):,} records done in {self.calls:,} calls"

    def verdict(self) -> Verdict:
        """The proof over all partitions."""
        parts = [_prove(self.entries[partition], count, self.saved[partition]) for partition, count in self.produced.items()]
        return Verdict(
            records=sum(self.produced.values()),
            missing=sum(part.missing for part in parts),
            out_of_order=sum(part.out_of_order for part in parts),
            repeats=sum(part.repeats for part in parts),
            allowed_repeats=sum(part.allowed_repeats for part in parts),
            over_allowance=sum(part.over_allowance for part in parts),
        )


def _prove(entries: Sequence[tuple[int, Owner]], produced: int, saved: Mapping[Owner, int]) -> Verdict:
    """One partition: first sightings rise one by one, and no more comes again than the owners before the last had not saved."""
    newest = -1
    out_of_order = repeats = 0
    first: dict[Owner, int] = {}
    last: dict[Owner, int] = {}
    seen: set[int] = set()
    for sequence, owner in entries:
        first.setdefault(owner, sequence)
        last[owner] = sequence
        if sequence in seen:
            repeats += 1
            continue
        seen.add(sequence)
        out_of_order += sequence != newest + 1
        newest = sequence
    allowed = sum(last[owner] - max(first[owner] - 1, saved.get(owner, -1)) for owner in list(first)[:-1])
    missing = len(set(range(produced)) - seen)
    return Verdict(produced, missing, out_of_order, repeats, allowed, int(repeats > allowed))


class Watcher(Observer):
    """Notes for one worker who owns what, and what is in the store. Called on that worker's control thread."""

    def __init__(self, ledger: Ledger, worker: str) -> None:
        self._ledger = ledger
        self._worker = worker

    def on_assigned(self, partition: Partition, epoch: int) -> None:
        self._ledger.owners[partition.id] = (self._worker, epoch)

    def on_revoked(self, partition: Partition, epoch: int, reason: str) -> None:
        self._forget(partition, epoch)

    def on_lost(self, partition: Partition, epoch: int, reason: str) -> None:
        self._forget(partition, epoch)

    def _forget(self, partition: Partition, epoch: int) -> None:
        if self._ledger.owners.get(partition.id) == (self._worker, epoch):
            del self._ledger.owners[partition.id]

    def on_checkpointed(self, checkpoint: Checkpoint) -> None:
        position = checkpoint.at.position
        if position is not None and position.sequence is not None:
            self._ledger.saved[checkpoint.partition.id][self._worker, checkpoint.epoch] = position.sequence
