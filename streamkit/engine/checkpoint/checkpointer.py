"""Writes checkpoints: the latest wins, never backwards, never two at once for one partition. Runs on the control thread.

What may be written comes from two sides: the worker's progress (automatic), and what the processor submitted. A store that
fails is tried again with back-off, its failure reported once and its recovery once; nothing is forgotten meanwhile.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, Protocol

from streamkit.engine.delivery.worker import Worker
from streamkit.engine.runtime import Promise, Runtime
from streamkit.errors import (
    CheckpointError,
    FencedError,
    PartitionLostError,
    StoreNotReadyError,
    StoreThrottledError,
    StoreUnavailableError,
)
from streamkit.model import Checkpoint, Partition, Position, StartPosition
from streamkit.plugin import Claim, Grant
from streamkit.plugin.observer import Observer

__all__ = ["Checkpointer", "Entry", "StoreCalls"]

RETRY_SECONDS = 0.1
MAX_RETRY_SECONDS = 5.0


class StoreCalls(Protocol):
    """A store as the control thread sees it: calls go to the thread or loop that the store lives on."""

    def claim(self, partition: Partition, owner: str, epoch: int) -> Awaitable[Claim]: ...
    def save(self, checkpoints: Sequence[tuple[Checkpoint, Grant]]) -> Awaitable[Sequence[Grant | Exception]]: ...
    def list(self) -> Awaitable[Sequence[Checkpoint]]: ...


@dataclass(slots=True)
class Entry:
    """What the checkpointer knows of one assignment."""

    worker: Worker
    checkpoint: Checkpoint
    """The last one that is in the store."""
    grant: Grant
    is_manual: bool
    on_fenced: Callable[[FencedError], None]
    submitted: Position | None = None
    metadata: str = ""
    futures: list[tuple[Position, Promise[None]]] = field(default_factory=list)
    due_at: float = 0.0
    urgent: bool = False
    final: Literal["", "revoke", "end"] = ""
    settled: Promise[bool] | None = None
    failures: int = 0
    suspended: bool = False
    """No saves: the grant is being replaced, or the partition is gone."""

    @property
    def saved(self) -> Position | None:
        at = self.checkpoint.at
        return at.position if at.kind == "after" else None


_PASSING = (StoreUnavailableError, StoreThrottledError, StoreNotReadyError)


@dataclass(frozen=True, slots=True)
class _Wanted:
    position: Position
    count: int


class Checkpointer:
    """One for each app."""

    def __init__(
        self,
        runtime: Runtime,
        store: StoreCalls,
        observer: Observer,
        *,
        interval_seconds: float,
        records: int | None,
        max_in_flight: int,
    ) -> None:
        self._runtime = runtime
        self._store = store
        self._observer = observer
        self._interval = interval_seconds
        # Half of the window: the next save is under way while the other half is being filled.
        self._records = min(records or max_in_flight, max(1, max_in_flight // 2))
        self._entries: list[Entry] = []
        self._signal = runtime.control.signal()
        self._stopped = False

    # -- entries --------------------------------------------------------------------------------------------------

    def add(self, entry: Entry) -> None:
        entry.due_at = self._runtime.monotonic() + self._interval
        entry.worker.checkpoint_at = self._records
        self._entries.append(entry)

    def drop(self, entry: Entry, error: Exception) -> None:
        """The partition is gone: nothing of it is saved any more; what waits for it is told so."""
        entry.suspended = True
        if entry in self._entries:
            self._entries.remove(entry)
        for _, promise in entry.futures:
            promise.fail(error)
        entry.futures.clear()
        if entry.settled is not None:
            entry.settled.resolve(False)

    def submit(self, entry: Entry, position: Position, metadata: str, promise: Promise[None]) -> None:
        """The processor says that it is done with everything up to `position`."""
        if entry.suspended and entry not in self._entries:
            promise.fail(PartitionLostError(f"{entry.worker.partition} has left this worker; its checkpoint was not saved"))
            return
        entry.submitted = position if entry.submitted is None else max(entry.submitted, position)
        entry.metadata = metadata
        entry.futures.append((position, promise))

    def urge(self, entry: Entry) -> None:
        """Write it now, not at the next interval."""
        entry.urgent = True
        self._signal.set()

    def settle(self, entry: Entry, final: Literal["revoke", "end"], promise: Promise[bool]) -> None:
        """Save all that may be saved; True when it is in the store. `end`: END as well, if the processor allows it."""
        if entry not in self._entries:
            promise.resolve(False)
            return
        if final == "end" and entry.is_manual and not (entry.submitted is not None and entry.submitted.is_end):
            promise.resolve(False)
            return
        entry.final = final
        entry.settled = promise
        self.urge(entry)

    def stop(self) -> None:
        self._stopped = True
        self._signal.set()

    # -- the loop -------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        while not self._stopped:
            now = self._runtime.monotonic()
            due = [(entry, wanted) for entry in self._entries if (wanted := self._due(entry, now)) is not None]
            if due:
                await self._save([*due, *self._company(due)])
            else:
                await self._signal.wait(self._seconds_to_next(now))

    def _company(self, due: Sequence[tuple[Entry, _Wanted]]) -> list[tuple[Entry, _Wanted]]:
        """Others that have made progress: one save of many costs a store hardly more than one of one."""
        known = {id(entry) for entry, _ in due}
        found = []
        for entry in self._entries:
            if id(entry) in known or entry.suspended or entry.failures or entry.final or entry.is_manual:
                continue
            wanted = self._wanted(entry)
            if wanted is not None and (entry.saved is None or entry.saved < wanted.position):
                found.append((entry, wanted))
        return found

    def _seconds_to_next(self, now: float) -> float:
        times = [entry.due_at for entry in self._entries if not entry.suspended]
        return min(self._interval, max(0.0, min(times) - now)) if times else self._interval

    def _due(self, entry: Entry, now: float) -> _Wanted | None:
        """What to write for this entry now, or None."""
        if entry.suspended or (now < entry.due_at and (not entry.urgent or entry.failures)):
            return None
        entry.urgent = False
        wanted = self._wanted(entry)
        if wanted is not None and (entry.saved is None or entry.saved < wanted.position):
            return wanted
        if wanted is not None:  # saved while the batch that it lies in was still running: its records count from now on
            self._count(entry.worker, wanted.count)
        self._ask_flush(entry, now)
        if now >= entry.due_at:
            entry.due_at = now + self._interval
        self._settle_futures(entry)
        if entry.settled is not None:
            settled, entry.settled = entry.settled, None
            settled.resolve(True)
        return None

    def _ask_flush(self, entry: Entry, now: float) -> None:
        """A processor with `flush` is asked for it when a checkpoint is due and there is news."""
        worker = entry.worker
        if entry.is_manual or not worker.flushes or entry.final or worker.progress.count <= worker.flushed.count:
            return
        if now >= entry.due_at or worker.progress.count >= worker.checkpoint_at:
            worker.ask_flush()

    def _wanted(self, entry: Entry) -> _Wanted | None:
        """The highest position that may be written, and how many records are done by it."""
        worker = entry.worker
        progress = worker.flushed if worker.flushes else worker.snapshot()
        if entry.is_manual:
            position = entry.submitted
            return None if position is None else _Wanted(position, worker.count_at(position))
        if entry.final == "end":
            return _Wanted(Position.END, progress.count)
        if entry.submitted is not None and (progress.position is None or progress.position < entry.submitted):
            return _Wanted(entry.submitted, progress.count)
        return None if progress.position is None else _Wanted(progress.position, progress.count)

    async def _save(self, due: Sequence[tuple[Entry, _Wanted]]) -> None:
        checkpoints = [
            (_moved(entry.checkpoint, StartPosition.after(wanted.position), entry.metadata), entry.grant) for entry, wanted in due
        ]
        answers: Sequence[Grant | Exception]
        try:
            answers = await self._store.save(checkpoints)
            if len(answers) != len(due):
                raise StoreUnavailableError(f"the store answered for {len(answers)} of {len(due)} checkpoints")
        except Exception as error:
            answers = [error] * len(due)
        for (entry, wanted), (checkpoint, _), answer in zip(due, checkpoints, answers, strict=True):
            if entry not in self._entries:
                continue
            if isinstance(answer, Exception):
                self._failed(entry, checkpoint, answer)
            else:
                self._saved(entry, checkpoint, wanted.count, answer)

    def _saved(self, entry: Entry, checkpoint: Checkpoint, count: int, grant: Grant) -> None:
        entry.checkpoint = checkpoint
        entry.grant = grant
        entry.failures = 0
        entry.due_at = self._runtime.monotonic() + self._interval
        self._count(entry.worker, count)
        self._observer.on_checkpointed(checkpoint)
        self._settle_futures(entry)
        if entry.settled is not None:
            entry.urgent = True  # look again: has more become wanted?

    def _count(self, worker: Worker, count: int) -> None:
        worker.saved_count = max(worker.saved_count, count)
        worker.checkpoint_at = worker.saved_count + self._records

    def _settle_futures(self, entry: Entry) -> None:
        saved = entry.saved
        if saved is None or not entry.futures:
            return
        waiting = []
        for position, promise in entry.futures:
            if position <= saved:
                promise.resolve(None)
            else:
                waiting.append((position, promise))
        entry.futures = waiting

    def _failed(self, entry: Entry, checkpoint: Checkpoint, error: Exception) -> None:
        entry.failures += 1
        wait = min(MAX_RETRY_SECONDS, RETRY_SECONDS * 2 ** min(entry.failures - 1, 10))
        entry.due_at = self._runtime.monotonic() + wait
        if entry.failures == 1:
            self._observer.on_checkpoint_failed(checkpoint, error)
        if isinstance(error, FencedError):
            entry.suspended = True
            entry.on_fenced(error)
        elif isinstance(error, CheckpointError) and not isinstance(error, _PASSING):
            self._refused(entry, error)
        elif not isinstance(error, CheckpointError):
            self._observer.on_problem(f"saving the checkpoint of {entry.worker.partition}", error)

    def _refused(self, entry: Entry, error: CheckpointError) -> None:
        """The store will never take this one. Whoever waits is told; the next is written without what was submitted with it."""
        for _, promise in entry.futures:
            promise.fail(error)
        entry.futures.clear()
        entry.metadata = entry.checkpoint.metadata
        entry.submitted = entry.saved if entry.is_manual else None
        self._observer.on_problem(f"the store refuses the checkpoint of {entry.worker.partition}", error)


def _moved(old: Checkpoint, at: StartPosition, metadata: str) -> Checkpoint:
    return replace(old, at=at, metadata=metadata, record_time=None)
