"""What an owner writes: renewals, saves, children, releases.

Each write compares the ETag that it has last seen. Where that has moved, the blob is read: with our grant in it, it is ours still, and
somebody has put a request there, or an answer was lost; without, it was taken away. The grant stays the same from the take to the next
change of owner, so a lost answer costs a request more, and a request that arrives late undoes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from streamkit.errors import FencedError, StoreThrottledError, StoreUnavailableError, StreamkitError
from streamkit.model import Partition, StartPosition
from streamkit.plugin import Grant, fencing
from streamkit_azureblob.container import Container
from streamkit_azureblob.listing import OwnListing, SharedListing
from streamkit_azureblob.mirror import Mirror
from streamkit_azureblob.rows import Stored, content_of
from streamkit_azureblob.together import all_of

__all__ = ["Change", "Holding", "comparable"]

MAX_ROUNDS = 10
"""Others may write requests into the row, one after the other."""


@dataclass(frozen=True, slots=True)
class Change:
    """One write of an owner."""

    partition: Partition
    grant: Grant
    make: Callable[[fencing.Row | None], fencing.Row]
    """From the row as it is to what it is to be. Raises FencedError, or what the rules say."""
    gives_back: bool = False
    """Its owner is done with it in order, whether a release follows or not."""


class Holding:
    """The rows that this store's worker owns, as of their take and its own writes."""

    def __init__(self, container: Container, listing: OwnListing | SharedListing, mirror: Mirror | None) -> None:
        self._container = container
        self._listing = listing
        self._mirror = mirror
        self._held: dict[Partition, Stored] = {}
        self._lost: dict[Partition, int] = {}
        """The epoch of what was taken from us: where another program has wiped the row, its new owner may have the same one."""

    def add(self, stored: Stored) -> None:
        """It was taken or claimed."""
        self._held[stored.partition] = stored
        self._lost.pop(stored.partition, None)

    async def write(self, changes: Sequence[Change]) -> list[Stored | StreamkitError]:
        """One answer for each: the row as it is now, or why not. Raises what kept all of them from being written."""
        answers = await all_of(self._answer(change) for change in changes)
        outages = [answer for answer in answers if isinstance(answer, StoreUnavailableError | StoreThrottledError)]
        if outages and len(outages) == len(answers):
            raise outages[0]
        return answers

    async def _answer(self, change: Change) -> Stored | StreamkitError:
        try:
            return await self._write(change)
        except StreamkitError as error:
            return error

    async def _write(self, change: Change) -> Stored:
        stored = await self._find(change)
        made = change.make(stored.row if stored.exists else None)
        is_kept = bool(made.owner) and not change.gives_back
        if self._mirror is not None and not is_kept:  # before the row: who does it twice, because an answer was lost, has done this then
            await self._mirror.free(stored.name, stored.row.owner)
        for _ in range(MAX_ROUNDS):
            content, after = content_of(stored, made, stored.grant if made.owner else "", stored.request, shared=self._listing.shared)
            etag = await self._container.write(stored.name, content, stored.etag, owner=True)
            if etag is not None:
                stored = self._keep(replace(after, etag=etag))
                if self._mirror is not None and is_kept:  # after the row: who has lost it does not write over another's name
                    await self._mirror.refresh(stored.name, stored.partition, stored.row.owner)
                return stored
            stored = await self._again(change.partition, stored)
            made = change.make(stored.row)
        raise StoreThrottledError(f"Blob Storage: others write {stored.name!r} all the time")

    async def _find(self, change: Change) -> Stored:
        """As we know it; what we do not know, or know otherwise than the grant says, is read."""
        held = self._held.get(change.partition)
        if held is not None and _is_shown(held.row, change.grant):
            return held
        stored = await self._listing.find(change.partition, owner=True)
        if _is_shown(stored.row, change.grant):
            if (lost := self._lost.get(change.partition)) == stored.row.epoch:
                message = f"{change.partition}: {stored.row.owner} has it, with the epoch {lost} that was taken from us"
                raise FencedError(message, held=lost, current=stored.row.epoch)
            self._held[change.partition] = stored
        return stored

    async def _again(self, partition: Partition, held: Stored) -> Stored:
        """The row, if it is still ours. Raises FencedError."""
        fresh = await self._listing.find(partition, owner=True)
        if fresh.row.owner and fresh.grant == held.grant:
            self._held[partition] = fresh
            return fresh
        self._drop(partition, held)
        by = f"{fresh.row.owner} has it" if fresh.row.owner else "it was taken away"
        by = "another program has written it" if fresh.is_foreign else by
        message = f"{partition}: epoch {held.row.epoch} was shown, and {by}"
        raise FencedError(message, held=held.row.epoch, current=fresh.row.epoch if fresh.exists else None)

    def _keep(self, stored: Stored) -> Stored:
        if stored.row.owner:
            self._held[stored.partition] = stored
        else:
            self._held.pop(stored.partition, None)
        return stored

    def _drop(self, partition: Partition, held: Stored) -> None:
        """It is not ours any more. What a claim has put in its place meanwhile stays."""
        there = self._held.get(partition)
        if there is not None and there.grant == held.grant:
            del self._held[partition]
            self._lost[partition] = held.row.epoch
            if self._mirror is not None:
                self._mirror.drop(held.name)


def comparable(row: fencing.Row | None) -> fencing.Row | None:
    """For the rule that checkpoints move forward, and for saves alone: after an offset alone, which is all that some programs leave,
    anything may follow. An offset cannot be compared with anything."""
    checkpoint = row.checkpoint if row is not None else None
    position = checkpoint.at.position if checkpoint is not None else None
    if row is None or checkpoint is None or position is None or position.is_end or position.sequence is not None:
        return row
    return replace(row, checkpoint=replace(checkpoint, at=StartPosition.EARLIEST))


def _is_shown(row: fencing.Row, grant: Grant) -> bool:
    shown: object = grant
    return bool(row.owner) and shown == row.epoch
