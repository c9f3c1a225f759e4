"""Writes checkpoints: the latest wins, never backwards, never two at once for one partition. Runs on the control thread.

What may be written comes from two sides: the worker's progress (automatic), and what the processor submitted. A store that
fails is tried again with back-off, its failure reported once and its recovery once; nothing is forgotten meanwhile.
"""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import Literal, Protocol

from streamkit.engine.checkpoint.entry import Draft, Entry, Notes, Wanted
from streamkit.engine.checkpoint.outage import Outage
from streamkit.engine.delivery.worker import Worker
from streamkit.engine.instrumentation import Instrumentation
from streamkit.engine.runtime import Promise, Runtime
from streamkit.errors import (
    CheckpointError,
    FencedError,
    PartitionLostError,
    StoreNotReadyError,
    StoreThrottledError,
    StoreUnavailableError,
    StreamkitError,
)
from streamkit.model import Checkpoint, Partition, Position
from streamkit.plugin import Claim, Grant
from streamkit.plugin.observer import Observer

__all__ = ["Checkpointer", "Entry", "Notes", "StoreCalls"]

RETRY_SECONDS = 0.1
MAX_RETRY_SECONDS = 5.0
SILENT_SECONDS = 30.0
"""A store that has not answered for so long does not answer."""
LOOK_SECONDS = 1.0


class StoreCalls(Protocol):
    """A store as the control thread sees it: calls go to the thread or loop that the store lives on."""

    def claim(self, partition: Partition, owner: str, epoch: int) -> Awaitable[Claim]: ...
    def save(self, checkpoints: Sequence[tuple[Checkpoint, Grant]]) -> Awaitable[Sequence[Grant | Exception]]: ...
    def list(self) -> Awaitable[Sequence[Checkpoint]]: ...
    def requests(self) -> Awaitable[Mapping[Partition, str]]: ...
    def answered(self, partition: Partition, request: str) -> Awaitable[None]: ...


_PASSING = (StoreUnavailableError, StoreThrottledError, StoreNotReadyError)


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
        instrumentation: Instrumentation | None = None,
    ) -> None:
        self._instrumentation = instrumentation
        self._runtime = runtime
        self._store = store
        self._observer = observer
        self._interval = interval_seconds
        # Half of the window: the next save is under way while the other half is being filled.
        self._records = min(records or max_in_flight, max(1, max_in_flight // 2))
        self._entries: list[Entry] = []
        self._signal = runtime.control.signal()
        self._stopped = False
        self.outage = Outage(observer, runtime.monotonic)
        self._unsaved: dict[Partition, Exception] = {}
        self._watch_signal = runtime.control.signal()
        self._saving: Sequence[Partition] = ()
        self.saving_since: float | None = None
        """When the save began that the store has not answered."""
        self.saves: tuple[int, float] = (0, 0.0)
        """How many saves the store has answered or refused, and how long they took in all: replaced whole, looked at by others."""

    # -- entries --------------------------------------------------------------------------------------------------

    def add(self, entry: Entry) -> None:
        entry.due_at = self._runtime.monotonic() + self._interval
        entry.worker.checkpoint_at = self._records
        self._entries.append(entry)
        self._unsaved.pop(entry.worker.partition, None)

    def drop(self, entry: Entry, error: Exception) -> None:
        """The partition is gone: nothing of it is saved any more; what waits for it is told so."""
        if entry in self._entries:
            self._entries.remove(entry)
            partition = entry.worker.partition
            is_waiting = entry.settled is not None or bool(entry.waiting)
            if is_waiting and self.outage.error is not None and partition in self.outage.partitions:
                self._unsaved[partition] = self.outage.error
            self.outage.left(partition)
        entry.give_up(error)

    def clear_suspect(self, entry: Entry) -> None:
        """The partition is lost, but nobody has died: take back what says that a record was being called, if the store still lets us.
        It moves nothing, and a store that knows of a newer owner refuses it."""
        stored = replace(entry.checkpoint, suspect=None, suspected=0)
        self._runtime.control.spawn(f"clear-suspect-{stored.partition}", self._clear(stored, entry.grant), lambda _: None)

    async def _clear(self, checkpoint: Checkpoint, grant: Grant) -> None:
        with contextlib.suppress(StreamkitError):
            await self._store.save([(checkpoint, grant)])

    def unsaved(self, partitions: Collection[Partition]) -> dict[Partition, Exception]:
        """Those of `partitions` that were dropped while the store did not take their last checkpoint, and what it said."""
        return {partition: self._unsaved[partition] for partition in partitions if partition in self._unsaved}

    def submit(self, entry: Entry, position: Position, metadata: str | None, promise: Promise[None]) -> None:
        """The processor says that it is done with everything up to `position`. `metadata` None: as it was."""
        if self._is_there(entry, promise):
            entry.submit(position, metadata, promise)

    def follow(self, entry: Entry, position: Position, metadata: str, promise: Promise[None]) -> None:
        """Keep the promise when `position` is saved, without moving anything: with order by key its record is done, others are not."""
        if self._is_there(entry, promise):
            entry.follow(position, metadata, promise)

    def note(self, entry: Entry, subject: str, change: Callable[[Notes], Notes], promise: Promise[None]) -> None:
        """Write something beside the position; the promise is kept when it is in the store. `urge` makes it be written at once."""
        if self._is_there(entry, promise):
            entry.note(subject, change, promise)

    def _is_there(self, entry: Entry, promise: Promise[None]) -> bool:
        if entry in self._entries:
            return True
        promise.fail(PartitionLostError(f"{entry.worker.partition} has left this worker; its checkpoint was not saved"))
        return False

    def urge(self, entry: Entry) -> None:
        """Write it now, not at the next interval."""
        entry.urgent = True
        self._signal.set()

    def settle(self, entry: Entry, final: Literal["revoke", "end"], promise: Promise[bool]) -> None:
        """Save all that may be saved; True when it is in the store. `end`: END as well, if the processor allows it."""
        if entry not in self._entries:
            promise.resolve(False)
            return
        if final == "end" and entry.is_manual and not _says_that_it_ended(entry):
            promise.resolve(False)
            return
        entry.final = final
        entry.settled = promise
        self.urge(entry)

    def give_up_end(self, entry: Entry) -> None:
        """The assignment is about to end otherwise: nobody waits for END any more, if it still waits for what has to come before it."""
        if entry.final == "end" and entry.settled is not None and not entry.end_is_prepared:
            settled, entry.settled, entry.final = entry.settled, None, ""
            settled.resolve(False)

    def stop(self) -> None:
        self._stopped = True
        self._signal.set()
        self._watch_signal.set()

    # -- the loop -------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        self._runtime.control.spawn("watch-saves", self._watch(), lambda _: None)
        while not self._stopped:
            now = self._runtime.monotonic()
            due = [(entry, draft) for entry in self._entries if (draft := self._due(entry, now)) is not None]
            if due:
                await self._save([*due, *self._company(due)])
            else:
                await self._signal.wait(self._seconds_to_next(now))

    async def _watch(self) -> None:
        """A store that answers nothing at all, not even an error, is down as well."""
        told: float | None = None
        while not self._stopped:
            await self._watch_signal.wait(LOOK_SECONDS)
            since = self.saving_since
            if since is not None and since != told and self._runtime.monotonic() - since >= SILENT_SECONDS:
                told = since
                error = StoreUnavailableError(f"the store has not answered a save for {SILENT_SECONDS:g}s")
                self.outage.look(dict.fromkeys(self._saving, error), set())

    def _company(self, due: Sequence[tuple[Entry, Draft]]) -> list[tuple[Entry, Draft]]:
        """Others that have made progress: one save of many costs a store hardly more than one of one."""
        known = {id(entry) for entry, _ in due}
        found = []
        for entry in self._entries:
            if id(entry) in known or entry.suspended or entry.failures or entry.final or entry.is_manual:
                continue
            wanted = entry.wanted()
            if entry.is_news(wanted) and not self._holds_end(entry, wanted):
                found.append((entry, entry.draft(wanted)))
        return found

    def _seconds_to_next(self, now: float) -> float:
        times = [entry.due_at for entry in self._entries if not entry.suspended]
        return min(self._interval, max(0.0, min(times) - now)) if times else self._interval

    def _due(self, entry: Entry, now: float) -> Draft | None:
        """What to write for this entry now, or None."""
        if entry.suspended or (now < entry.due_at and (not entry.urgent or entry.failures)):
            return None
        entry.urgent = False
        wanted = entry.wanted()
        held = self._holds_end(entry, wanted)
        if held and entry.moves(done := entry.done()):  # that may be saved meanwhile; what was said with END is written with it
            return entry.draft(done, only_position=True)
        if not held and entry.is_news(wanted):
            return entry.draft(wanted)
        if held and entry.final != "revoke":
            entry.due_at = now + self._interval if entry.prepares_end else entry.end_at
            return None
        if wanted is not None and not held:  # saved while the batch that it lies in was still running: its records count from now on
            self._count(entry.worker, wanted.count)
        self._ask_flush(entry, now)
        if now >= entry.due_at:
            entry.due_at = now + self._interval
        entry.keep_promises(entry.number)
        self._settled(entry)
        return None

    def _settled(self, entry: Entry) -> None:
        """Everything that may be saved is in the store."""
        if entry.settled is not None:
            settled, entry.settled = entry.settled, None
            settled.resolve(entry.final != "end" or (entry.saved is not None and entry.saved.is_end))

    def _ask_flush(self, entry: Entry, now: float) -> None:
        """A processor with `flush` is asked for it when a checkpoint is due and there is news."""
        worker = entry.worker
        if entry.is_manual or not worker.flushes or entry.final or worker.progress.count <= worker.flushed.count:
            return
        if now >= entry.due_at or worker.progress.count >= worker.checkpoint_at:
            worker.ask_flush()

    # -- END ------------------------------------------------------------------------------------------------------

    def _holds_end(self, entry: Entry, wanted: Wanted | None) -> bool:
        """Whether END has to wait for what must have happened before it; begins that."""
        if wanted is None or not wanted.position.is_end or entry.before_end is None or entry.end_is_prepared:
            return False
        if not entry.prepares_end and self._runtime.monotonic() >= entry.end_at:
            entry.prepares_end = True
            subject = f"before-end-{entry.worker.partition}"
            self._runtime.control.spawn(subject, entry.before_end(), lambda error: self._end_prepared(entry, error))
        return True

    def _end_prepared(self, entry: Entry, error: BaseException | None) -> None:
        entry.prepares_end = False
        if error is None:
            entry.end_is_prepared = True
            self.urge(entry)
            return
        if not entry.end_failures:
            self._observer.on_problem(f"naming the partitions that follow {entry.worker.partition}", error)
        entry.end_failures += 1
        entry.due_at = entry.end_at = self._runtime.monotonic() + _wait_seconds(entry.end_failures)
        self._signal.set()

    # -- saving ---------------------------------------------------------------------------------------------------

    async def _save(self, due: Sequence[tuple[Entry, Draft]]) -> None:
        answers: Sequence[Grant | Exception]
        self._saving = [entry.worker.partition for entry, _ in due]
        began = self.saving_since = self._runtime.monotonic()
        began_at = self._runtime.unix_time()
        try:
            answers = await self._store.save([(draft.checkpoint, entry.grant) for entry, draft in due])
            if len(answers) != len(due):
                raise StoreUnavailableError(f"the store answered for {len(answers)} of {len(due)} checkpoints")
        except Exception as error:
            answers = [error] * len(due)
        finally:
            self.saving_since = None
        took = self._runtime.monotonic() - began
        self.saves = (self.saves[0] + 1, self.saves[1] + took)
        if self._instrumentation is not None:
            told = [
                (draft.checkpoint, answer if isinstance(answer, Exception) else None)
                for (_, draft), answer in zip(due, answers, strict=True)
            ]
            self._instrumentation.saved(told, began_at, began_at + took)
        failed: dict[Partition, Exception] = {}
        saved: set[Partition] = set()
        for (entry, draft), answer in zip(due, answers, strict=True):
            if entry not in self._entries:
                continue
            if not isinstance(answer, Exception):
                self._saved(entry, draft, answer)
                saved.add(entry.worker.partition)
            elif self._failed(entry, draft, answer):
                failed[entry.worker.partition] = answer
            else:
                saved.add(entry.worker.partition)  # it answers: what it refuses is no outage
        self.outage.look(failed, saved)

    def _saved(self, entry: Entry, draft: Draft, grant: Grant) -> None:
        entry.written(draft, grant)
        entry.due_at = self._runtime.monotonic() + self._interval
        if entry.end_failures and not (entry.prepares_end or entry.end_is_prepared):
            entry.due_at = min(entry.due_at, entry.end_at)
        self._count(entry.worker, draft.count)
        self._observer.on_checkpointed(draft.checkpoint)
        if entry.settled is not None or entry.worker.progress.count >= entry.worker.checkpoint_at:
            entry.urgent = True  # look again: more may have become wanted meanwhile, and the worker says so once only

    def _count(self, worker: Worker, count: int) -> None:
        worker.saved_count = max(worker.saved_count, count)
        worker.checkpoint_at = worker.saved_count + self._records

    def _failed(self, entry: Entry, draft: Draft, error: Exception) -> bool:
        """True if the store could not answer, and the same is tried again; False if it has refused."""
        self._wait_after_failure(entry)
        if entry.failures == 1:
            self._observer.on_checkpoint_failed(draft.checkpoint, error)
        if isinstance(error, FencedError):
            entry.suspended, entry.fenced = True, error
            entry.on_fenced(error)
            return False
        if isinstance(error, CheckpointError) and not isinstance(error, _PASSING):
            entry.refused(draft, error)
            if entry.failures == 1:
                self._observer.on_problem(f"the store refuses the checkpoint of {entry.worker.partition}", error)
            return False
        return True

    def _wait_after_failure(self, entry: Entry) -> None:
        entry.failures += 1
        entry.due_at = self._runtime.monotonic() + _wait_seconds(entry.failures)


def _wait_seconds(failures: int) -> float:
    return min(MAX_RETRY_SECONDS, RETRY_SECONDS * float(2 ** min(failures - 1, 10)))


def _says_that_it_ended(entry: Entry) -> bool:
    """Whether a manual processor is done with a partition that has ended. Code that cannot say so in `partition_ended` has said
    it when it has checkpointed the last record that it has finished."""
    if entry.submitted is not None and entry.submitted.is_end:
        return True
    last = entry.worker.own
    if entry.says_end or (last is not None and (entry.submitted is None or entry.submitted < last)):
        return False
    entry.submitted = Position.END
    return True
