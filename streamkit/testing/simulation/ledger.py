"""What happened in a simulated life, and the rules that hold at every step of it. A broken rule raises where it is broken.

The ledger looks at the engine from outside: what the processor was called with and what came of it, and what was written to the
store. A record is *done* when the processor has returned from it (or flushed it, or checkpointed it if it does that itself), or when
the failure policy has put it aside.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NoReturn

from streamkit.builtin.memory import MemoryLog
from streamkit.engine.delivery.runner import RunnerContext
from streamkit.model import Checkpoint, Partition, Position, Record, StartPosition
from streamkit.plugin.fencing import Row
from streamkit.processing import Context

__all__ = ["RULES", "Broken", "Entry", "Ledger", "WatchedRows", "main_of"]

RULES = {
    "no loss": "no checkpoint passes a record that is not done, and in the end all are done and saved",
    "order": "an assignment goes on exactly where it stands (by key: each key does); children come after all their parents",
    "one owner": "nobody is given a partition that another still has; only the owner's calls begin, and only its writes count",
    "checkpoint forward": "a checkpoint, an epoch and where an assignment begins never go back",
    "bounded memory": "no partition has more in flight than MAX_IN_FLIGHT and one read; no more than that comes again",
    "drain in time": "a worker that was told to stop has stopped by DRAIN_TIMEOUT",
    "goes on": "once nothing disturbs it any more, everything is done before long, and no worker ends by itself; a partition halts for "
    "its owners' sake only after five of them made no progress, and then goes on when its checkpoint is set",
    "hooks": "no hook of a processor runs beside another of its own, and none after close",
    "your own check": "what `check` raises",
}
"""Every rule, and what it says."""

Entry = tuple[float, str, str, str, str]
"""Virtual time, worker, event, partition, position."""


class Broken(AssertionError):
    """A rule does not hold."""

    def __init__(self, rule: str, message: str, events: int | None = None) -> None:
        """`events`: so many had happened."""
        super().__init__(f"{rule}: {message}")
        self.rule = rule
        self.events = events


@dataclass(slots=True)
class Run:
    """One assignment as its processor sees it."""

    context: Context
    """Kept, so that no other context gets its identity."""
    worker: str
    first: int
    next: int
    """Index of the first record that it has not returned from."""
    late: int = 0
    """Calls that began although the assignment was over, or about to be."""
    said: int = 0
    """Up to where the code itself has checkpointed."""
    tried: set[int] = field(default_factory=set)
    done: set[int] = field(default_factory=set)
    running: set[bytes] = field(default_factory=set)
    """Keys of the calls that run, with order by key."""


class Ledger:
    """One stream of one life."""

    def __init__(self, log: MemoryLog, stream: str, now: Callable[[], float], window: int, *, by_key: bool = False) -> None:
        self.trace: list[Entry] = []
        self.counts: Counter[str] = Counter()
        self.changes_of_owner = 0
        self.broken: list[Broken] = []
        self.skips = False
        """Whether the failure policy passes records without telling beforehand."""
        self.is_manual = False
        self.at_once = 1
        """How many calls of an assignment may run at once."""
        self._log = log
        self._stream = stream
        self._now = now
        self._window = window
        self._by_key = by_key
        self._runs: dict[int, Run] = {}
        self._done: dict[str, set[int]] = {}
        self._frontier: dict[str, int] = {}
        self._delivered: dict[str, int] = {}
        self._saved: dict[str, Checkpoint] = {}
        self._begins: dict[str, int] = {}
        """Where the group began, where that is not the beginning."""
        self._owner: dict[str, str] = {}
        self._rows: dict[str, Row] = {}
        self._fruitless: Counter[str] = Counter()
        self.signs: dict[str, float] = {}
        """When each row last had a sign of life of its owner."""
        self.may_not_know: Callable[[str, Partition], bool] = lambda worker, partition: False
        """Whether a worker may have lost the partition without its knowledge: then it may go on until it hears of it."""

    def fail(self, rule: str, message: str) -> NoReturn:
        """A rule is broken. The engine may swallow what is raised inside a handler or a store, so it is kept as well."""
        broken = Broken(rule, f"{message} (at {self._now():.3f}s)", len(self.trace))
        self.broken.append(broken)
        raise broken

    def note(self, worker: str, event: str, partition: object = "", position: object = "") -> None:
        self.trace.append((round(self._now(), 6), worker, event, str(partition), str(position)))
        self.counts[event] += 1

    def place(self, partition: str, at: StartPosition) -> str:
        """In the numbers of records, which are easier to read than positions."""
        if at.is_end or at.position is None:
            return str(at)
        return f"{at.kind} #{self._first(partition, at) - (at.kind == 'after')}"

    def sequences(self, partition: str) -> list[int]:
        return self._log.topic(self._stream).log(partition).sequences

    # -- what the processor sees ----------------------------------------------------------------------------------

    def called(self, worker: str, context: Context, records: Sequence[Record]) -> None:
        """A handler was called with these."""
        run = self._run(worker, context)
        partition = run.context.partition.id
        indexes = [self._index(partition, record.position) for record in records]
        for index in indexes:
            self.note(worker, "called", partition, f"#{index}")
        run.late += run.context.lost or run.context.ending
        if run.late > self.at_once:  # one may have been on its way when the loss came
            self.fail("one owner", f"{worker} was given {partition}/{records[0].position} after its assignment had begun to end")
        owner = self._rows.get(partition, Row()).owner.partition("#")[0]
        if (
            owner not in ("", worker)
            and run.context.epoch < self._rows[partition].epoch
            and not self.may_not_know(worker, run.context.partition)
        ):
            self.fail("one owner", f"{worker} was given {partition}/{records[0].position}, but {owner} owns the partition")
        (self._check_keys if self._by_key else self._check_next)(run, partition, indexes, records)
        run.tried.update(indexes)
        self._delivered[partition] = max(*indexes, self._delivered.get(partition, -1))

    def _check_next(self, run: Run, partition: str, indexes: Sequence[int], records: Sequence[Record]) -> None:
        """They go on exactly where the assignment stands, but for what was put aside."""
        expected = run.next
        settled = self._done.setdefault(partition, set())
        for index, record in zip(indexes, records, strict=True):
            passed = range(expected, index)
            if index < expected or any(i not in settled and not (self.skips and i in run.tried) for i in passed):
                self.fail("order", f"{run.worker} was given {partition}/{record.position}, but record number {expected} is next")
            expected = index + 1
        if indexes[0] > self._delivered.get(partition, -1) + 1 and any(
            i not in settled for i in range(self._delivered.get(partition, -1) + 1, indexes[0])
        ):
            self.fail("no loss", f"{run.worker} was given {partition} from number {indexes[0]}, but nobody has seen those before it")

    def _check_keys(self, run: Run, partition: str, indexes: Sequence[int], records: Sequence[Record]) -> None:
        """No key runs twice at once, and none of its records overtakes another, whoever owns it."""
        log = self._log.topic(self._stream).log(partition).records
        keys = {record.key for record in records if record.key is not None}
        if keys & run.running:
            self.fail("order", f"{run.worker} was given {partition} {sorted(keys & run.running)}, and a call with that key still runs")
        run.running |= keys
        self.counts["beside another"] += len(run.running) > len(keys)
        anybody = self._done.setdefault(partition, set())
        for index, record in zip(indexes, records, strict=True):
            if index < run.first or index in run.done:
                self.fail("order", f"{run.worker} was given {partition}/{record.position} again, which it has done")
            if record.key is None:
                continue
            for before in range(self._frontier.get(partition, 0), index):
                if log[before].key == record.key and before not in anybody and before not in indexes:
                    self.fail(
                        "order", f"{run.worker} was given {partition}/{record.position}; {log[before].position} of its key is not done"
                    )
        if list(indexes) != sorted(indexes):
            self.fail("order", f"{run.worker} was given {partition} {indexes}, which is not in order")

    def over(self, worker: str, context: Context, records: Sequence[Record]) -> None:
        """That call has ended, in whatever way."""
        if self._by_key:
            self._run(worker, context).running.difference_update(record.key for record in records if record.key is not None)

    def done(self, worker: str, context: Context, records: Sequence[Record]) -> None:
        """The handler has returned from these, and they need nothing more."""
        if not records:
            return
        run = self._run(worker, context)
        partition = run.context.partition.id
        indexes = [self._index(partition, record.position) for record in records]
        self.note(worker, "done", partition, f"#{indexes[-1]}")
        run.done.update(indexes)
        if self._by_key:
            while run.next in run.done:
                run.next += 1
        else:
            run.next = max(run.next, indexes[-1] + 1)
        self._settle(partition, indexes)

    def accepted(self, worker: str, context: Context, records: Sequence[Record]) -> None:
        """The handler has returned, but what it has is not durable before its flush, or before it checkpoints."""
        if records:
            run = self._run(worker, context)
            run.next = max(run.next, self._index(run.context.partition.id, records[-1].position) + 1)

    def said(self, worker: str, context: Context, position: Position | None) -> None:
        """The code itself says that everything of its assignment up to `position` is done; None: all that it has returned from."""
        run = self._run(worker, context)
        partition = run.context.partition.id
        upto = run.next if position is None else len(self.sequences(partition)) if position.is_end else self._index(partition, position) + 1
        run.said = max(run.said, upto)
        run.next = max(run.next, upto)
        self._settle(partition, range(run.first, upto))

    def flushed(self, worker: str, context: Context, upto: int) -> None:
        """A flush has returned that began when `upto` was the next record."""
        run = self._run(worker, context)
        self.note(worker, "flushed", run.context.partition.id, f"after #{upto - 1}")
        self._settle(run.context.partition.id, range(run.first, upto))

    def next_of(self, worker: str, context: Context) -> int:
        """Index of the first record that this assignment has not returned from."""
        return self._run(worker, context).next

    def put_aside(self, worker: str, partition: str, position: Position, how: str) -> None:
        """The failure policy has passed it."""
        index = self._index(partition, position)
        self.note(worker, how, partition, f"#{index}")
        for run in self._runs.values():
            if run.worker == worker and run.context.partition.id == partition:
                run.done.add(index)
        self._settle(partition, (index,))

    def _settle(self, partition: str, indexes: Sequence[int]) -> None:
        done = self._done.setdefault(partition, set())
        done.update(indexes)
        frontier = self._frontier.get(partition, 0)
        while frontier in done:
            frontier += 1
        self._frontier[partition] = frontier

    def _run(self, worker: str, context: Context) -> Run:
        main = main_of(context)
        return self._runs.get(id(main)) or self._begin(worker, main)

    def _begin(self, worker: str, context: Context) -> Run:
        partition = context.partition.id
        first = self._first(partition, context.start)
        self._delivered.setdefault(partition, first - 1)
        self._check_parents(partition)
        repeats = self._delivered[partition] + 1 - first
        self.counts["repeats"] += max(0, repeats)
        if repeats > self._window:
            self.fail(
                "bounded memory",
                f"{worker} begins {partition} {repeats} records before what was delivered; the window is {self._window}",
            )
        run = self._runs[id(context)] = Run(context, worker, first, first)
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
                self.fail("order", f"{partition} has begun before the end of its parent {parent} was saved")

    def _index(self, partition: str, position: Position) -> int:
        assert position.sequence is not None
        return bisect_left(self.sequences(partition), position.sequence)

    # -- what the store is told -----------------------------------------------------------------------------------

    def written(self, partition: str, before: Row | None, row: Row) -> None:
        """Rows move forward, and no checkpoint passes a record that is not done."""
        self._rows[partition] = row
        if before is not None and row.version != before.version:
            self.signs[partition] = self._now()
        if before is not None and row.owner != before.owner and row.epoch == before.epoch:
            self.fail(
                "one owner", f"{partition}: {before.owner or 'nobody'} has gone, {row.owner or 'nobody'} has come, with the same epoch"
            )
        if before is not None and row.epoch < before.epoch:
            self.fail("checkpoint forward", f"{partition}: epoch {row.epoch} after {before.epoch}")
        if before is not None and before.checkpoint is not None and row.checkpoint is None:
            self.fail("checkpoint forward", f"{partition}: the checkpoint is gone")
        self._check_count(partition, before, row)
        if row.checkpoint is None or (before is not None and before.checkpoint == row.checkpoint):
            return
        at = row.checkpoint.at
        self._saved[partition] = row.checkpoint
        self.note(row.owner.partition("#")[0] or "(nobody)", "saved", partition, self.place(partition, at))
        if at.kind != "after":  # where the group begins: what lies before it does not count
            first = self._first(partition, at)
            self._begins.setdefault(partition, first)
            self._done.setdefault(partition, set()).update(range(first))
            self._frontier[partition] = max(first, self._frontier.get(partition, 0))
            return
        came_from = before.checkpoint.at if before is not None and before.checkpoint is not None else None
        if came_from is not None and self._first(partition, came_from) > self._first(partition, at):
            self.fail("checkpoint forward", f"{partition}: the checkpoint went back from {came_from} to {at}")
        reached, frontier = self._first(partition, at), self._frontier.get(partition, 0)
        if reached > frontier:
            self.fail("no loss", f"{partition}: checkpoint {at} passes record number {frontier}, which nobody has done")

    def _check_count(self, partition: str, before: Row | None, row: Row) -> None:
        """The store may count fewer owners without progress than there were, and never more."""
        if row.owner and (before is None or row.epoch > before.epoch):
            self._fruitless[partition] += 1
        elif row.checkpoint is not None and row.checkpoint.at.kind == "after":
            came_from = before.checkpoint if before is not None else None
            if came_from is None or came_from.at != row.checkpoint.at:
                self._fruitless[partition] = 0
        if row.fruitless_claims > self._fruitless[partition]:
            self.fail("goes on", f"{partition}: {row.fruitless_claims} owners without progress are counted")

    def saved(self, partition: str) -> StartPosition | None:
        checkpoint = self._saved.get(partition)
        return None if checkpoint is None else checkpoint.at

    def owned(self, worker: str, partition: Partition, epoch: int, start: StartPosition | None) -> None:
        """A worker has been assigned the partition: it begins where the store says, so that nothing before that comes again."""
        before = self._owner.get(partition.id)
        if before is not None and before != worker:
            self.changes_of_owner += 1
        self._owner[partition.id] = worker
        if epoch == self._rows.get(partition.id, Row()).epoch and start != self.saved(partition.id):
            self.fail("checkpoint forward", f"{worker} begins {partition} {start}, but {self.saved(partition.id)} is stored")

    def revoked(self, worker: str, partition: Partition, epoch: int) -> None:
        """A worker has given the partition back in order: all that it has done is saved, so nothing comes again."""
        runs = [r for r in self._runs.values() if r.worker == worker and r.context.partition == partition and r.context.epoch == epoch]
        saved = self.saved(partition.id)
        if runs and epoch == self._rows.get(partition.id, Row()).epoch:
            done = runs[-1].said if self.is_manual else runs[-1].next
            if (saved is None and done > runs[-1].first) or (saved is not None and self._first(partition.id, saved) < done):
                self.fail("no loss", f"{worker} has given {partition} back; {done} records are done, but {saved} is stored")

    # -- the end --------------------------------------------------------------------------------------------------

    def is_saved(self, partition: str) -> bool:
        """Whether the checkpoint stands behind the last record."""
        at = self.saved(partition)
        return at is not None and self._first(partition, at) >= len(self.sequences(partition))

    def is_delivered(self, partition: str) -> bool:
        """Whether everything is saved; of code that checkpoints by itself, whether it has returned from everything."""
        if self.is_saved(partition) or not self.is_manual:  # what one has done who died before it was saved comes again
            return self.is_saved(partition)
        count = len(self.sequences(partition))
        if self._frontier.get(partition, 0) >= count:
            return True
        return any(r.next >= count for r in self._runs.values() if r.context.partition.id == partition and not r.context.lost)

    def is_read(self, record: Record) -> bool:
        """Whether the group began before it."""
        return self._index(record.partition.id, record.position) >= self._begins.get(record.partition.id, 0)

    def check_nothing_lost(self) -> None:
        """Everybody has left in order. Code that checkpoints by itself may leave something unsaid, but nothing unsaved that it has said."""
        for partition in self._log.topic(self._stream).logs:
            said = [run.said for run in self._runs.values() if run.context.partition.id == partition]
            needed = max(said, default=0) if self.is_manual else len(self.sequences(partition))
            done, at = self._frontier.get(partition, 0), self.saved(partition)
            if done < needed:
                self.fail("no loss", f"{partition}: record number {done} was never done ({needed - done} after it or it)")
            if (0 if at is None else self._first(partition, at)) < needed:
                self.fail("no loss", f"{partition}: {needed} records are done, but {at} is stored")


class WatchedRows(dict[tuple[str, str], Row]):
    """The rows of a memory store, whose every write goes past the ledger."""

    def __init__(self, ledger: Ledger) -> None:
        super().__init__()
        self._ledger = ledger

    def __setitem__(self, key: tuple[str, str], row: Row) -> None:
        before = self.get(key)
        super().__setitem__(key, row)
        self._ledger.written(key[1], before, row)


def main_of(context: Context) -> Context:
    """The assignment's context, whichever of its calls this one belongs to."""
    return context._main if isinstance(context, RunnerContext) else context
