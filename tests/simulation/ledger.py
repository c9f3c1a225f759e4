"""What happened in a simulated world, and the rules that hold at every step of it. A broken rule raises where it is broken.

The ledger looks at the engine from outside: what handlers were called with, and what was written to the store.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NoReturn

from streamkit.builtin.memory import MemoryLog
from streamkit.model import Checkpoint, Partition, Position, StartPosition
from streamkit.plugin.fencing import Row
from streamkit.processing import Context

__all__ = ["Broken", "Entry", "Ledger", "WatchedRows"]

Entry = tuple[float, str, str, str, str]
"""Virtual time, worker, event, partition, position."""


class Broken(AssertionError):
    """A rule does not hold."""


@dataclass(slots=True)
class _Run:
    """One assignment as its handler sees it."""

    context: Context
    """Kept, so that no other context gets its identity."""
    worker: str
    next: int
    """Index of the first record that is not done yet."""
    first: int


class Ledger:
    """One stream of one world."""

    def __init__(self, log: MemoryLog, stream: str, now: Callable[[], float], window: int) -> None:
        self.trace: list[Entry] = []
        self.counts: Counter[str] = Counter()
        self.changes_of_owner = 0
        self.broken: list[str] = []
        self._log = log
        self._stream = stream
        self._now = now
        self._window = window
        self._runs: dict[int, _Run] = {}
        self._done: dict[str, set[int]] = {}
        self._frontier: dict[str, int] = {}
        self._delivered: dict[str, int] = {}
        self._saved: dict[str, Checkpoint] = {}
        self._owner: dict[str, str] = {}
        self._epochs: dict[str, int] = {}

    def fail(self, message: str) -> NoReturn:
        """A rule is broken. The engine may swallow what is raised inside a handler or a store, so it is kept as well."""
        self.broken.append(f"{self._now():.3f}: {message}")
        raise Broken(message)

    def note(self, worker: str, event: str, partition: object = "", position: object = "") -> None:
        self.trace.append((round(self._now(), 6), worker, event, str(partition), str(position)))
        self.counts[event] += 1

    def sequences(self, partition: str) -> list[int]:
        return self._log.topic(self._stream).log(partition).sequences

    # -- what handlers see ----------------------------------------------------------------------------------------

    def called(self, worker: str, context: Context, positions: Sequence[Position]) -> None:
        """A handler was called with these: they go on exactly where the assignment stands."""
        partition = context.partition.id
        run = self._runs.get(id(context)) or self._begin(worker, context)
        sequences = self.sequences(partition)
        for index, position in enumerate(positions, run.next):
            self.note(worker, "called", partition, position)
            if index >= len(sequences) or sequences[index] != position.sequence:
                self.fail(f"{worker} was given {partition}/{position}, but record number {index} is next")
        last = run.next + len(positions) - 1
        if run.next > self._delivered.get(partition, -1) + 1:
            self.fail(f"{worker} was given {partition} from number {run.next}, but nobody has seen those before it")
        self._delivered[partition] = max(last, self._delivered.get(partition, -1))

    def _begin(self, worker: str, context: Context) -> _Run:
        partition = context.partition.id
        first = self._first(partition, context.start)
        if partition not in self._delivered:
            self._delivered[partition] = first - 1
        self._check_parents(partition)
        repeats = self._delivered[partition] + 1 - first
        self.counts["repeats"] += max(0, repeats)
        if repeats > self._window:
            self.fail(f"{worker} begins {partition} {repeats} records before what was delivered; the window is {self._window}")
        run = self._runs[id(context)] = _Run(context, worker, first, first)
        return run

    def _first(self, partition: str, start: StartPosition) -> int:
        sequences = self.sequences(partition)
        if start.is_end:
            return len(sequences)
        if start.position is None or start.position.sequence is None:
            return 0
        find = bisect_right if start.kind == "after" else bisect_left
        return find(sequences, start.position.sequence)

    def _check_parents(self, partition: str) -> None:
        for parent in self._log.topic(self._stream).log(partition).partition.parents:
            saved = self._saved.get(parent)
            if saved is None or not saved.at.is_end:
                self.fail(f"{partition} has begun before the end of its parent {parent} was saved")

    def done(self, worker: str, context: Context, position: Position) -> None:
        """The handler has done the record and everything before it in its assignment; made durable at once."""
        run = self._runs[id(context)]
        index = self._index(context.partition.id, position)
        if index + 1 <= run.next:
            return
        self.note(worker, "done", context.partition.id, position)
        run.next = index + 1
        self.durable(context, position)

    def accepted(self, context: Context, position: Position) -> None:
        """The handler has returned, but what it has is not durable before its `flush`."""
        run = self._runs[id(context)]
        run.next = max(run.next, self._index(context.partition.id, position) + 1)

    def durable(self, context: Context, position: Position) -> None:
        """Everything from the assignment's first record up to `position` has had its effect."""
        partition = context.partition.id
        run = self._runs[id(context)]
        done = self._done.setdefault(partition, set())
        last = self._index(partition, position)
        index = last
        while index >= run.first and index not in done:
            done.add(index)
            index -= 1
        frontier = self._frontier.get(partition, 0)
        while frontier in done:
            frontier += 1
        self._frontier[partition] = frontier

    def _index(self, partition: str, position: Position) -> int:
        assert position.sequence is not None
        return bisect_left(self.sequences(partition), position.sequence)

    # -- what the store is told -----------------------------------------------------------------------------------

    def written(self, partition: str, before: Row | None, row: Row) -> None:
        """Rows move forward, and no checkpoint passes a record that is not durable."""
        self._epochs[partition] = row.epoch
        if before is not None and row.epoch < before.epoch:
            self.fail(f"{partition}: epoch {row.epoch} after {before.epoch}")
        if before is not None and before.checkpoint is not None and row.checkpoint is None:
            self.fail(f"{partition}: the checkpoint is gone")
        if row.checkpoint is None or (before is not None and before.checkpoint == row.checkpoint):
            return
        at = row.checkpoint.at
        self._saved[partition] = row.checkpoint
        self.note(row.owner, "saved", partition, at)
        if at.kind != "after":  # where the group begins: what lies before it does not count
            first = self._first(partition, at)
            self._done.setdefault(partition, set()).update(range(first))
            self._frontier[partition] = max(first, self._frontier.get(partition, 0))
            return
        came_from = before.checkpoint.at if before is not None and before.checkpoint is not None else None
        if came_from is not None and self._first(partition, came_from) > self._first(partition, at):
            self.fail(f"{partition}: the checkpoint went back from {came_from} to {at}")
        reached = self._first(partition, at)
        if reached > self._frontier.get(partition, 0):
            self.fail(f"{partition}: checkpoint {at} passes record number {self._frontier.get(partition, 0)}, which nobody has done")

    def saved(self, partition: str) -> StartPosition | None:
        checkpoint = self._saved.get(partition)
        return None if checkpoint is None else checkpoint.at

    def owned(self, worker: str, partition: Partition, epoch: int, start: StartPosition | None) -> None:
        """A worker has been assigned the partition: it begins where the store says, so that nothing before that comes again."""
        before = self._owner.get(partition.id)
        if before is not None and before != worker:
            self.changes_of_owner += 1
        self._owner[partition.id] = worker
        if epoch == self._epochs.get(partition.id) and start != self.saved(partition.id):
            self.fail(f"{worker} begins {partition} {start}, but {self.saved(partition.id)} is stored")

    def revoked(self, worker: str, partition: Partition, epoch: int) -> None:
        """A worker has given the partition back in order: all that it has done is saved, so nothing comes again."""
        runs = [r for r in self._runs.values() if r.worker == worker and r.context.partition == partition and r.context.epoch == epoch]
        saved = self.saved(partition.id)
        if runs and epoch == self._epochs.get(partition.id) and (saved is None or self._first(partition.id, saved) < runs[-1].next):
            self.fail(f"{worker} has given {partition} back; {runs[-1].next} records are done, but {saved} is stored")

    # -- the end --------------------------------------------------------------------------------------------------

    def is_saved(self, partition: str) -> bool:
        """Whether the checkpoint stands behind the last record."""
        at = self.saved(partition)
        return at is not None and self._first(partition, at) >= len(self.sequences(partition))

    def is_delivered(self, partition: str) -> bool:
        """Whether some assignment has done everything, saved or not."""
        runs = [run for run in self._runs.values() if run.context.partition.id == partition and not run.context.lost]
        return self.is_saved(partition) or any(run.next >= len(self.sequences(partition)) for run in runs)

    def check_nothing_lost(self) -> None:
        for partition in self._log.topic(self._stream).logs:
            missing = len(self.sequences(partition)) - self._frontier.get(partition, 0)
            if missing > 0:
                self.fail(f"{partition}: record number {self._frontier.get(partition, 0)} was never done ({missing} after it or it)")


class WatchedRows(dict[tuple[str, str], Row]):
    """The rows of a memory store, whose every write goes past the ledger."""

    def __init__(self, ledger: Ledger) -> None:
        super().__init__()
        self._ledger = ledger

    def __setitem__(self, key: tuple[str, str], row: Row) -> None:
        before = self.get(key)
        super().__setitem__(key, row)
        self._ledger.written(key[1], before, row)
