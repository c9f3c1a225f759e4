"""One partition from claim to release, on the control thread: claim, start position, worker, reader, end.

An assignment is the only one that knows its worker, its checkpoint entry and its place in the reader at once. Its worker
reports through it; that comes from the worker's thread and is only posted on.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Literal, Protocol

from streamkit.engine.asides import Asides
from streamkit.engine.checkpoint.checkpointer import Entry
from streamkit.engine.checkpoint.link import Link
from streamkit.engine.claiming import Claiming
from streamkit.engine.delivery.call import Caller
from streamkit.engine.delivery.care import suspicion_of
from streamkit.engine.delivery.messages import Ending, FailedRecord
from streamkit.engine.delivery.retry import halt_delay
from streamkit.engine.delivery.worker import Worker
from streamkit.engine.house import House
from streamkit.engine.markers import Markers
from streamkit.engine.runtime import Promise, Signal, Task
from streamkit.errors import (
    FencedError,
    PartitionLostError,
    PositionInvalidError,
)
from streamkit.model import Checkpoint, Partition, Position, StartPosition
from streamkit.processing import Context

__all__ = ["Assignment", "House"]

MAX_RECLAIMS = 3
READ_LOOK_SECONDS, QUIET_SECONDS = 0.25, 30.0  # a reader that was opened again and says nothing for so long, bad or good, reads


class Supervision(Protocol):
    """What an assignment tells the supervisor."""

    def finished(self, assignment: Assignment) -> None: ...
    def stop_asked(self, error: Exception) -> None: ...
    def ended(self, assignment: Assignment, children: Sequence[Partition]) -> None: ...
    async def before_end(self, assignment: Assignment, children: Sequence[Partition]) -> None: ...


class Assignment:
    """Lives on the control thread; methods marked so are called from the worker's."""

    def __init__(self, partition: Partition, epoch: int, house: House, supervision: Supervision, after: Assignment | None) -> None:
        self.partition = partition
        self.epoch = epoch
        self.worker: Worker | None = None
        self.is_caught_up = False
        self._code_error: Exception | None = None
        self._read_error: Exception | None = None
        self.halted_at: float | None = None
        """Since when one of them stands (monotonic)."""
        self.is_over = False
        self.ending: Ending | None = None
        self.start: StartPosition | None = None
        self.problem: Exception | None = None
        """Why it does not move, while it does not."""
        self._house = house
        self._supervision = supervision
        self._after = after
        self._over: list[Signal] = []
        self._entry: Entry | None = None
        self.asides = Asides(partition, house)
        self._link = Link(partition, house.runtime, house.checkpointer, house.store_capabilities)
        self._task: Task | None = None
        self._has_ended = False
        self._read_halts = 0
        self._reclaims = 0
        self.fruitless = 0
        """How many owners before this one have made no progress."""
        self.previous_owner = ""
        """Who wrote the checkpoint that the claim has found."""
        self._pauses: list[Signal] = []
        self._valid_until = math.inf
        self._claiming = Claiming(self, house)

    @property
    def may_begin(self) -> bool:
        return self.ending is None

    @property
    def may_claim(self) -> bool:
        return self.ending is None or (self.worker is not None and self.ending.kind == "revoked")

    @property
    def halted(self) -> Exception | None:
        """Why the processor or the reader has given up for a while; None while both go on."""
        return self._code_error or self._read_error

    @property
    def saved(self) -> Position | None:
        """The last position in the store, as far as this assignment knows."""
        return self._entry.saved if self._entry is not None else None

    # -- from claim to running ------------------------------------------------------------------------------------

    def begin(self) -> None:
        self._task = self._house.runtime.control.spawn(f"assign-{self.partition}", self._begin(), self._begun)

    async def _begin(self) -> None:
        if self._after is not None:
            await self._after.wait_over()  # the old call of this partition in this process has to return first
        checkpoint, grant, epoch = await self._claiming.find_start()
        if self.ending is not None or checkpoint is None:
            return
        house = self._house
        self.epoch = epoch or self.epoch
        self.start = checkpoint.at
        if checkpoint.at.is_end:
            self.is_caught_up = True
            self._supervision.ended(self, ())
            self._finish()
            return
        self._make_worker(checkpoint, grant)
        assert self.worker is not None
        house.observer.on_assigned(self.partition, self.epoch)
        if await self.worker.ready and self.ending is None:
            await house.requests.look_for(self)
            start = self._where_to_read()
            await house.reading.add(self.worker, start, checkpoint.record_time if start is checkpoint.at else None)

    def _begun(self, error: BaseException | None) -> None:
        if self.worker is None and not self.is_over and (self.ending is not None or error is None):
            self._finish()
        elif error is not None and not self.is_over and self.ending is None:
            self._supervision.stop_asked(error if isinstance(error, Exception) else RuntimeError(repr(error)))
            if self.worker is None:
                self._finish()  # nothing of it runs: the drain need not wait for it

    def _make_worker(self, checkpoint: Checkpoint, grant: object) -> None:
        house = self._house
        measured = house.instrumentation.assigned(self.partition) if house.instrumentation is not None else None
        caller = Caller(house.code, house.limits.process_timeout_seconds, measured)
        name = f"worker-{self.partition}"
        carrier = house.runtime.user(name) if caller.on_loop else house.runtime.thread(name)
        context = Context(self.partition, epoch=self.epoch, start=checkpoint.at, state=house.state, link=self._link)
        if checkpoint.pending is not None:
            context.pending = (checkpoint.pending, checkpoint.pending_state)
        # Under our own name, and not by this process: whoever wrote it is dead. Anybody else may live, and have lost the partition.
        has_died = self.previous_owner == house.worker_name and self.partition not in house.turn.unproven
        house.turn.unproven.discard(self.partition)
        suspicion = suspicion_of(self.fruitless, checkpoint.suspect, checkpoint.suspected, has_died=has_died)
        make_room, parked = house.reading.make_room, checkpoint.parked
        worker = Worker(caller, context, carrier, house.runtime, house.limits, self, make_room, suspicion, house.turn, parked)
        worker.valid_until = self._valid_until
        self.worker = self._link.worker = worker
        entry = Entry(worker, checkpoint, grant, caller.is_manual, self._fenced, says_end=caller.hears_end)  # type: ignore[arg-type]
        entry.before_end, entry.fruitless = self._before_end, self.fruitless
        self._entry = self._link.entry = entry
        house.checkpointer.add(self._entry)
        if house.settings.on_failure == "park":
            most = house.store_capabilities.parked_bytes
            self.asides.markers = Markers(entry, house.checkpointer, self.asides.write, worker.parking, most, self._epoch, house.runtime)
        carrier.spawn(name, worker.run(), lambda error: house.runtime.control.post(self._worker_over, error))

    def _epoch(self) -> int:
        return self.epoch

    def _where_to_read(self) -> StartPosition:
        """After the checkpoint; and if `initialize` has committed what an earlier owner had prepared, after that."""
        assert self.worker is not None
        assert self.start is not None
        if (committed := self.worker.submitted) is not None and not committed.is_end:
            self.start = self.worker.context.start = StartPosition.after(committed)
        return self.start

    async def pause(self, seconds: float) -> None:
        """Wait, but no longer than until `end` is called. Several may wait, so each has a signal of its own."""
        signal = self._house.runtime.control.signal()
        self._pauses.append(signal)
        try:
            await signal.wait(seconds)
        finally:
            self._pauses.remove(signal)

    def extend(self, until: float) -> None:
        """Ours for so long, unless it is said again: no call of the user's code is begun at or after it (monotonic)."""
        self._valid_until = until
        if self.worker is not None:
            self.worker.valid_until = until

    # -- the end --------------------------------------------------------------------------------------------------

    def end(self, ending: Ending) -> None:
        """Begin to end. `revoked` gives the worker until the deadline; `lost` and `abandoned` act at once."""
        if self.is_over or (self.ending is not None and self.ending.kind == "abandoned"):
            return  # a dead process is told nothing any more
        if self.ending is None or ending.kind != "revoked":
            self.ending = ending
        for signal in (*self._pauses, *self._over):
            signal.set()
        if self.asides.markers is not None and ending.kind != "revoked":
            self.asides.markers.is_over = True
        if self._entry is not None:
            self._house.checkpointer.give_up_end(self._entry)
            if ending.kind == "revoked" and self._entry.worker.calls():
                self._house.checkpointer.urge(self._entry)  # a call that hangs may never come to the last save
        if self._entry is not None and ending.kind != "revoked":
            why = PartitionLostError(f"{self.partition} has left this worker ({ending.reason}); the checkpoint was not saved")
            if ending.kind == "lost" and self._entry.has_suspect:
                self._house.turn.unproven.add(self.partition)
                self._house.checkpointer.clear_suspect(self._entry)
            self._house.checkpointer.drop(self._entry, why)
        if self.worker is not None:
            self.worker.end(ending)
        elif self._task is not None:
            self._task.cancel()

    @property
    def _is_abandoned(self) -> bool:
        return self.ending is not None and self.ending.kind == "abandoned"

    async def wait_over(self, seconds: float | None = None) -> bool:
        """Wait until the last hook has returned, or is not waited for any more. False after `seconds`, and when abandoned."""
        runtime = self._house.runtime
        until = None if seconds is None else runtime.monotonic() + seconds
        signal = runtime.control.signal()
        self._over.append(signal)
        while not self.is_over and not self._is_abandoned:
            left = None if until is None else until - runtime.monotonic()
            if left is not None and left <= 0:
                break
            await signal.wait(left)
        return self.is_over

    def _worker_over(self, error: BaseException | None) -> None:
        if error is not None:
            problem = error if isinstance(error, Exception) else RuntimeError(f"{type(error).__name__}: {error}")
            self._house.observer.on_problem(f"the worker of {self.partition}", problem)
            if self.ending is None or self.ending.kind == "revoked":
                self._supervision.stop_asked(problem)
        self._finish()

    def _finish(self) -> None:
        if self.is_over:
            return
        self.is_over = True
        if self._entry is not None:
            over = PartitionLostError(f"the assignment of {self.partition} is over; the checkpoint was not saved")
            self._house.checkpointer.drop(self._entry, over)
        ending = None if self._has_ended else self.ending  # observers hear of one end only
        if self.worker is not None and ending is not None and ending.kind == "revoked":
            self._house.observer.on_revoked(self.partition, self.epoch, ending.reason)
        elif self.worker is not None and ending is not None and ending.kind == "lost":
            self._house.observer.on_lost(self.partition, self.epoch, ending.reason)
        for signal in self._over:
            signal.set()
        self._supervision.finished(self)

    def _fenced(self, error: FencedError) -> None:
        """A newer claim exists. Still assigned by the group: claim once more and go on from our own progress."""
        self._house.runtime.control.spawn(f"reclaim-{self.partition}", self._reclaim(error), self._reclaimed)

    async def _reclaim(self, error: FencedError) -> None:
        entry = self._entry
        if entry is None or self._reclaims >= MAX_RECLAIMS:
            self.lose(f"fenced: {error}")
            return
        self._reclaims += 1
        claim = await self._claiming.claim()
        if claim is None or self.is_over:
            return
        stored = claim.checkpoint
        if stored is not None and entry.saved is not None and stored.at.position is not None and stored.at.position < entry.saved:
            self.lose("fenced, and the stored checkpoint has gone back")
            return
        if (stored.parked if stored is not None else {}) != entry.checkpoint.parked:
            self.lose("fenced, and what is parked has changed since")
            return
        entry.grant = claim.grant
        # The other one may have been further: then nothing is written before our own progress has passed that.
        entry.checkpoint = replace(stored or entry.checkpoint, owner=self._house.worker_name, epoch=claim.epoch)
        self.epoch = claim.epoch
        assert self.worker is not None
        self.worker.context.epoch = claim.epoch
        entry.suspended = False
        self._house.checkpointer.urge(entry)

    def _reclaimed(self, error: BaseException | None) -> None:
        if error is not None:
            self.lose(f"fenced, and not to be claimed again: {error}")

    def lose(self, reason: str) -> None:
        """Lost by fencing, or to somebody whom the broker has let in: what the ownership does not know yet."""
        if self.is_over:
            return  # its successor may be reading already
        self._house.reading.remove([self.partition])
        self.end(Ending("lost", reason))

    # -- reading failed -------------------------------------------------------------------------------------------

    def read_failed(self, error: Exception) -> None:
        """The reader cannot go on with this partition: it halts alone, and is opened again after a long back-off."""
        if self.ending is not None or self.is_over:
            return
        self._read_error = error
        self.halted_at = self._house.runtime.monotonic()
        self._read_halts += 1
        self._house.observer.on_halted(self.partition, error)
        self._house.runtime.control.spawn(f"reopen-{self.partition}", self._read_again(), self._read_again_ended)

    async def _read_again(self) -> None:
        until = self._house.runtime.monotonic() + halt_delay(self._read_halts)
        while self.ending is None and (left := until - self._house.runtime.monotonic()) > 0:
            await self.pause(left)
        if self.ending is not None or self.worker is None:
            return
        found = await self._house.look_up(self.partition)
        if self.ending is not None or self.is_over:
            return  # meanwhile; nobody would ever take it out of the reader again
        if "" not in (found.incarnation, self.partition.incarnation) and found.incarnation != self.partition.incarnation:
            raise PositionInvalidError(
                f"{self.partition} has been made anew: our position belongs to {self.partition.incarnation}, this is {found.incarnation}",
                partition=str(self.partition),
                fix="say where to go on: streamkit checkpoints set",
            )
        error, offers = self._read_error, self.worker.offers
        await self._house.reading.add(self.worker, self.worker.where_to_go_on, self.worker.written)
        until = self._house.runtime.monotonic() + QUIET_SECONDS
        while self.worker.offers == offers and self._house.runtime.monotonic() < until:  # that it was opened says nothing yet
            await self.pause(READ_LOOK_SECONDS)
            if self.ending is not None or self._read_error is not error:
                return
        self._read_error, self._read_halts = None, 0
        if self._code_error is None:
            self._house.observer.on_recovered(self.partition)

    def _read_again_ended(self, error: BaseException | None) -> None:
        if error is not None and self.ending is None:
            self.read_failed(error if isinstance(error, Exception) else RuntimeError(repr(error)))

    # -- WorkerEvents: called on the worker's carrier -------------------------------------------------------------

    def _post(self, function: Callable[..., None], *args: object) -> None:
        self._house.runtime.control.post(function, *args)

    def attempt_failed(self, error: BaseException, attempt: int) -> None:
        self._post(self._house.observer.on_attempt_failed, self.partition, error, attempt)

    def _set_halted(self, error: Exception | None) -> None:
        self._code_error = error
        self.halted_at = self._house.runtime.monotonic()
        if error is not None:
            self._house.observer.on_halted(self.partition, error)
        else:
            self._house.observer.on_recovered(self.partition)

    def halt(self, error: Exception) -> None:
        self._post(self._set_halted, error)

    def recovered(self) -> None:
        self._post(self._set_halted, None)

    def stop_asked(self, error: Exception) -> None:
        self._post(self._supervision.stop_asked, error)

    def caught_up(self) -> None:
        self.is_caught_up = True

    def hook_failed(self, hook: str, error: BaseException) -> None:
        self._post(self._house.observer.on_problem, f"{hook} of {self.partition}", error)

    def put_aside(self, failed: Sequence[FailedRecord]) -> Promise[int]:
        return self.asides.put_aside(failed)

    def put_behind(self, records: Sequence[FailedRecord]) -> Promise[int]:
        return self.asides.put_behind(records)

    @property
    def markers(self) -> Markers | None:
        """What is parked, while it is ours and read; None: nothing can be."""
        return self.asides.markers if self.ending is None and not self.is_over and not self._has_ended else None

    def skipped(self, failed: Sequence[FailedRecord]) -> None:
        self.asides.skipped(failed)

    def note_suspect(self, position: Position | None, times: int) -> Promise[None]:
        promise: Promise[None] = Promise()
        self._post(self._note_suspect, position, times, promise)
        return promise

    def _note_suspect(self, position: Position | None, times: int, promise: Promise[None]) -> None:
        assert self._entry is not None
        checkpointer = self._house.checkpointer
        checkpointer.note(self._entry, "suspect", lambda notes: replace(notes, suspect=position, suspected=times), promise)
        checkpointer.urge(self._entry)

    def checkpoint_due(self) -> None:
        self._post(self._urge)

    def settle(self, final: Literal["revoke", "end"]) -> Promise[bool]:
        promise: Promise[bool] = Promise()
        self._post(self._settle, final, promise)
        return promise

    def ended(self) -> None:
        self._post(self._ended)

    async def _before_end(self) -> None:
        """What must be in the store before END: the partitions that go on, so that nobody finds an end that leads nowhere."""
        assert self.worker is not None
        await self._supervision.before_end(self, self.worker.context.children)

    def _ended(self) -> None:
        assert self.worker is not None
        self.is_caught_up = self._has_ended = True
        self._house.observer.on_ended(self.partition, self.epoch)
        self._supervision.ended(self, self.worker.context.children)

    def _urge(self) -> None:
        if self._entry is not None:
            self._house.checkpointer.urge(self._entry)

    def _settle(self, final: Literal["revoke", "end"], promise: Promise[bool]) -> None:
        assert self._entry is not None
        self._house.checkpointer.settle(self._entry, final, promise)
