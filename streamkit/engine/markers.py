"""ON_FAILURE=park: markers of parked keys, and the letters that they go before. Of one assignment, on the control thread.

In this order: the marker is in the store, fenced like any checkpoint; the dead letter is acknowledged; the checkpoint passes the
record. A crash between any two brings the record again, to a key that is parked already: so its letter is written again, and
no later one of its key overtakes it.

Each letter has a name that no other has, also not a second copy of it. The marker keeps that of the last one, noted before
it is written. So «the letter of this name has been replayed» means that every letter of the key has been: only then the key
is called again. That the marker names the newest letter need only be in the store with the checkpoint that passes its record.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import replace

from streamkit.engine.checkpoint.checkpointer import Checkpointer, Entry
from streamkit.engine.delivery.messages import FailedRecord
from streamkit.engine.delivery.parking import Parking
from streamkit.engine.parked import is_replayed, name_of, still_parked
from streamkit.engine.runtime import Promise, Runtime
from streamkit.errors import DeadLetterError, PartitionLostError
from streamkit.model import ParkedKey

__all__ = ["MAX_KEYS", "Markers"]

MAX_KEYS = 1000
"""So many keys of a partition are parked at once. More is no handful of bad orders but a bad deploy; and all of them are written
with every checkpoint, some 150 bytes each beside the key."""
LOOK_AGAIN_SECONDS = 0.05


class Markers:
    """The parked keys of one assignment."""

    def __init__(
        self,
        entry: Entry,
        checkpointer: Checkpointer,
        write: Callable[[Sequence[FailedRecord], Callable[[], Awaitable[None]]], Awaitable[None]],
        parking: Parking,
        most_bytes: int,
        epoch: Callable[[], int],
        runtime: Runtime,
    ) -> None:
        """`write`: letters, to the target; before each send it waits for what it is given, which may raise. `most_bytes`: of keys, in
        the store. `epoch`: the newest, for the names of letters."""
        self.is_over = False
        """The partition is not ours any more: nothing is written. Set by the assignment."""
        self._runtime = runtime
        self._entry = entry
        self._checkpointer = checkpointer
        self._write_letters = write
        self._parking = parking
        self._most_bytes = most_bytes
        self._epoch = epoch
        self._parked: dict[bytes, ParkedKey] = still_parked(entry.checkpoint.parked)
        self._released = {key: one for key, one in entry.checkpoint.parked.items() if one.is_released}
        """Of which the parents' rows still say that they are parked."""
        self._unwritten: set[bytes] = set()
        """A letter of theirs is being written, or could not be and will be written again: more may follow than anybody has read."""
        self._releasing: dict[bytes, Promise[None]] = {}
        self._salt = f"{int(runtime.random() * 2**32):08x}"
        self._letters = 0
        self._notes = 0

    @property
    def count(self) -> int:
        """How many keys are parked. From any thread."""
        return len(self._parked)

    async def put_aside(self, failed: Sequence[FailedRecord]) -> int:
        """Records that failed for good, in order: park their keys, then write the letters. How many were written: all of them.

        Raises DeadLetterError over the bound and when a letter is not acknowledged, CheckpointError if the store refuses the marker.
        """
        new = {key for one in failed if (key := _key_of(one)) is not None} - self._parked.keys()
        await self._still_ours()
        self._check_room(failed, new)
        before = self._unwritten & new
        named = self._named(failed, new)
        if new:
            try:
                await self._durable()
            except Exception:
                for key in new:
                    del self._parked[key]
                self._unwritten -= new - before
                self._note(Promise())  # what was refused for one key may wait to be written for another one
                raise
            for key in new:
                self._parking.hold(key, self._parked[key].first)
        else:
            self._note(Promise())
        await self._write(named)
        return len(failed)

    async def put_behind(self, records: Sequence[FailedRecord]) -> int:
        """Records of parked keys, in order. How many were written: those up to the first whose key is not parked any more.

        Raises DeadLetterError when a letter is not acknowledged.
        """
        await self._still_ours()
        first = records[0].record.key
        while first is not None and (releasing := self._releasing.get(first)) is not None:
            await releasing  # not called before it is in the store, and not at all if that fails
        parked = 0
        while parked < len(records) and records[parked].record.key in self._parked:
            parked += 1
        if parked:
            named = self._named(records[:parked], ())
            self._note(Promise())
            await self._write(named)
        return parked

    async def release(self, replayed: Mapping[bytes, Collection[str]]) -> None:
        """Call these keys again, if the last letters that were replayed are the last that there are; durable when it returns."""
        for under_way in {releasing for key in replayed if (releasing := self._releasing.get(key)) is not None}:
            await under_way
        freed = {
            key: self._parked[key]
            for key, letters in replayed.items()
            if key in self._parked and key not in self._unwritten and is_replayed(self._parked[key], letters)
        }
        if not freed:
            return
        over: Promise[None] = Promise()
        for key in freed:
            del self._parked[key]
            self._releasing[key] = over
        released = {key: replace(one, letters=()) for key, one in freed.items()}
        self._released |= released
        try:
            await self._durable()
        except Exception:
            self._parked |= freed
            self._released = {key: one for key, one in self._released.items() if key not in freed}
            self._note(Promise())
            raise
        finally:
            for key in freed:
                del self._releasing[key]
            over.resolve(None)
        for key in freed:
            self._parking.release(key)

    # -- inside ---------------------------------------------------------------------------------------------------

    def _named(self, failed: Sequence[FailedRecord], new: Collection[bytes]) -> list[FailedRecord]:
        """With the names of their letters, which the markers have from here on."""
        named = []
        first = set(new)
        for one in failed:
            key = _key_of(one)
            if key is None:
                named.append(one)
                continue
            self._letters += 1
            name = name_of(self._entry.worker.partition, self._epoch(), self._letters, self._salt)
            parked = self._parked.get(key) or ParkedKey(one.record.id, ())
            is_first = key in first or parked.first == one.record.id
            first.discard(key)
            self._parked[key] = ParkedKey(parked.first, (name,))
            self._unwritten.add(key)
            named.append(replace(one, parked=f"{'first' if is_first else 'behind'} {name}"))
        return named

    async def _still_ours(self) -> None:
        """No letter is begun when another may be the owner: its copy would follow letters that have been replayed. Waits for the
        renewal that comes late. Raises PartitionLostError."""
        while not self.is_over and (self._entry.suspended or self._runtime.monotonic() >= self._entry.worker.valid_until):
            await self._runtime.control.signal().wait(LOOK_AGAIN_SECONDS)
        if self.is_over:
            raise PartitionLostError(f"{self._entry.worker.partition} has left this worker; nothing of it is put aside here")

    async def _write(self, named: Sequence[FailedRecord]) -> None:
        await self._write_letters(named, self._still_ours)
        self._unwritten.difference_update(key for one in named if (key := _key_of(one)) is not None)

    def _check_room(self, failed: Sequence[FailedRecord], new: Collection[bytes]) -> None:
        keys = len(self._parked) + len(new)
        size = sum(map(len, self._parked)) + sum(map(len, new))
        if new and (keys > MAX_KEYS or size > self._most_bytes):
            raise DeadLetterError(
                f"{failed[0].record.id} failed, and its key cannot be parked: {len(self._parked)} keys of "
                f"{self._entry.worker.partition} are parked already, and at most {MAX_KEYS} with {self._most_bytes} bytes may be",
                record=failed[0].record.id,
                attempts=failed[0].attempts,
                fix="mend the processor, then release keys: streamkit dead-letters replay",
            )

    def _note(self, promise: Promise[None]) -> None:
        """Have them written with the next checkpoint at the latest."""
        self._notes += 1
        if self._entry.checkpoint.at.kind == "after":  # nobody asks its parents any more
            self._released.clear()
        parked = {**self._released, **self._parked}
        self._checkpointer.note(self._entry, f"parked-{self._notes}", lambda notes: replace(notes, parked=parked), promise)

    async def _durable(self) -> None:
        promise: Promise[None] = Promise()
        self._note(promise)
        self._checkpointer.urge(self._entry)
        await promise


def _key_of(failed: FailedRecord) -> bytes | None:
    """The key that is parked with it, if any."""
    return None if failed.alone else failed.record.key
