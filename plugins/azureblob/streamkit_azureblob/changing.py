"""Writes of those who are not the owner: takes, claims, new rows, and what operators do.

Each compares the ETag of what it has read. One that was answered by «not as you have read it» may be our own, sent twice; then our
grant is in the row, with a part that nobody else can have.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from dataclasses import replace

from streamkit.errors import ConfigurationError, FencedError, StoreThrottledError, StreamkitError
from streamkit.model import Lease, Partition
from streamkit.plugin import fencing, leasing
from streamkit_azureblob.clock import Clock
from streamkit_azureblob.container import Container
from streamkit_azureblob.listing import Listed, OwnListing, SharedListing
from streamkit_azureblob.mirror import Mirror
from streamkit_azureblob.names import NAMESPACE, ownership_name
from streamkit_azureblob.owners import Ownership
from streamkit_azureblob.rows import Stored, content_of, grant_text, nothing
from streamkit_azureblob.together import all_of

__all__ = ["Changing", "held_by_another"]

MAX_ROUNDS = 50
"""How often a row that others change meanwhile is read again."""


class Changing:
    """Used on one loop."""

    def __init__(self, container: Container, listing: OwnListing | SharedListing, mirror: Mirror | None, clock: Clock) -> None:
        self._container = container
        self._listing = listing
        self._mirror = mirror
        self._clock = clock
        self._epochs: dict[Partition, int] = {}
        """The largest that was seen: another program wipes them out of its rows."""

    def saw(self, listed: Listed) -> None:
        for partition, stored in listed.rows.items():
            self._epochs[partition] = max(stored.row.epoch, self._epochs.get(partition, 0))

    # -- rows that are read first -----------------------------------------------------------------------------------

    async def claim(self, partition: Partition, owner: str, epoch: int) -> Stored:
        """Raises ConfigurationError for another stream of that name, or if another program has it."""
        if self._mirror is not None:
            await self._show(self._mirror, partition, owner)
        return await self._changed(partition, lambda row: fencing.claimed(row, partition, owner, max(epoch, self._lowest(partition))))

    async def overwrite(self, partition: Partition, make: Callable[[fencing.Row | None], fencing.Row]) -> None:
        await self._changed(partition, make)

    async def forget(self, partition: Partition) -> None:
        if (await self._listing.find(partition)).exists:
            await self._changed(partition, lambda row: fencing.forgotten(row or fencing.Row()))

    async def _show(self, mirror: Mirror, partition: Partition, owner: str) -> None:
        assert isinstance(self._listing, SharedListing)
        row = self._listing.name_of(partition)
        for _ in range(MAX_ROUNDS):
            found = await self._listing.ownership(row)
            if mirror.is_anothers(found):
                assert found is not None
                raise held_by_another([(partition, found)], self._clock)
            if await mirror.take(row, owner, found):
                return
        raise StoreThrottledError(f"Blob Storage: others write the ownership of {partition} all the time")

    async def _changed(
        self, partition: Partition, make: Callable[[fencing.Row | None], fencing.Row], request: Callable[[str], str] = str
    ) -> Stored:
        """Read, ask the rule, write if nobody has written meanwhile; the row as it is then. `request`: from the old to the new one."""
        tried = set[str]()
        for _ in range(MAX_ROUNDS):
            before = await self._listing.find(partition)
            if before.grant in tried:
                return before  # what we have written, and its answer was lost
            made = make(before.row if before.exists else None)
            grant = self._grant(before, made)
            if grant != before.grant:
                tried.add(grant)
            after = await self._write(before, made, grant, request(before.request))
            if after is not None:
                return after
        raise StoreThrottledError(f"Blob Storage: too many others write the row of {partition}")

    @staticmethod
    def _grant(before: Stored, made: fencing.Row) -> str:
        """A new one with each change of owner. Without an owner it only tells that it was us."""
        is_same = (made.epoch, made.owner) == (before.row.epoch, before.row.owner)
        return before.grant if is_same else grant_text(made.epoch, made.owner, secrets.token_hex(4))

    async def _write(self, before: Stored, made: fencing.Row, grant: str, request: str) -> Stored | None:
        content, after = content_of(before, made, grant, request, shared=self._listing.shared)
        etag = await self._container.write(before.name, content, before.etag)
        if etag is None:
            return None
        self._epochs[before.partition] = max(made.epoch, self._epochs.get(before.partition, 0))
        return replace(after, etag=etag)

    def _lowest(self, partition: Partition) -> int:
        """What the next owner's epoch is at least. Where another program can wipe it, seconds by the service's clock take its place."""
        return max(int(self._clock.now()), self._epochs.get(partition, 0) + 1) if self._listing.shared else 0

    # -- takes ------------------------------------------------------------------------------------------------------

    async def take(self, leases: Sequence[Lease], owner: str, listed: Listed) -> list[Stored | StreamkitError]:
        """One answer for each."""
        return await all_of(self._answer(lease, owner, listed) for lease in leases)

    async def _answer(self, lease: Lease, owner: str, listed: Listed) -> Stored | StreamkitError:
        try:
            return await self._take(lease, owner, listed)
        except StreamkitError as error:
            return error

    async def _take(self, lease: Lease, owner: str, listed: Listed) -> Stored:
        partition = lease.partition
        before = listed.rows.get(partition)
        found = listed.owners.get(partition)
        if before is None or before.etag is None or not leasing.is_unchanged(self.shown(before, found), lease):
            before = await self._listing.find(partition)
            if isinstance(self._listing, SharedListing) and (found is None or found.name == ownership_name(before.name)):
                found = await self._listing.ownership(before.name)  # else it lies under another name, and we never write that
        made = leasing.taken(self.shown(before, found) if before.exists else None, lease, owner)
        made = replace(made, epoch=max(made.epoch, self._lowest(partition)), version=before.row.version + 1)
        if self._mirror is not None and not await self._mirror.take(before.name, owner, found):
            raise self._changed_since(lease, "another program has it, or somebody was faster")
        grant = grant_text(made.epoch, owner, secrets.token_hex(4))
        after = await self._write(before, made, grant, before.request)
        if after is not None:
            return after
        fresh = await self._listing.find(partition)
        if fresh.grant == grant:
            return fresh  # its answer was lost
        if self._mirror is not None:
            self._mirror.drop(before.name)
        raise self._changed_since(lease, f"{fresh.row.owner or 'nobody'} has it", fresh.row.epoch)

    def shown(self, stored: Stored, found: Ownership | None) -> fencing.Row:
        """The row as others are to see it: what is free here, and another program has, is that program's. It moves while that may live."""
        row = stored.row
        if row.owner or found is None or not found.is_foreign:
            return row
        version = row.version + int(found.modified)
        if self._mirror is not None and self._mirror.is_anothers(found):
            version += 1 + int(self._clock.now())
        return replace(row, owner=found.owner, version=version, handover_to="")

    @staticmethod
    def _changed_since(lease: Lease, why: str, current: int | None = None) -> FencedError:
        message = f"{lease.partition} has changed since epoch {lease.epoch} was listed: {why}"
        return FencedError(message, held=lease.epoch, current=current)

    # -- rows that come and go ----------------------------------------------------------------------------------------

    async def create(self, leases: Sequence[Lease]) -> None:
        """What is there stays as it is; of two of one partition the first counts."""
        firsts = {lease.partition: lease for lease in reversed(leases)}
        if isinstance(self._listing, SharedListing):
            await self._listing.check_elsewhere(list(firsts))
        await all_of(self._create(lease) for lease in firsts.values())

    async def _create(self, lease: Lease) -> None:
        before = nothing(self._listing.name_of(lease.partition), lease.partition)
        await self._write(before, leasing.created(lease), "", "")

    async def remove(self, leases: Sequence[Lease]) -> None:
        """What has changed since it was listed stays."""
        for lease in leases:
            stored = await self._listing.find(lease.partition)
            if stored.etag is not None and leasing.is_unchanged(stored.row, lease):
                await self._container.delete(stored.name, stored.etag)

    # -- requests -----------------------------------------------------------------------------------------------------

    async def request_handover(self, lease: Lease, to: str) -> bool:
        """Whether it is noted. Of another program nothing can be asked."""
        for _ in range(MAX_ROUNDS):
            before = await self._listing.find(lease.partition)
            made = leasing.handed_over(before.row if before.exists else None, lease, to)
            if made is None or before.etag is None:
                return False
            if await self._write(before, made, before.grant, before.request) is not None:
                return True
        raise StoreThrottledError(f"Blob Storage: too many others write the row of {lease.partition}")

    async def ask(self, partition: Partition, request: str) -> None:
        await self._changed(partition, lambda row: row or fencing.Row(), lambda _: request)

    async def answered(self, partition: Partition, request: str) -> None:
        if (await self._listing.find(partition)).request == request:
            await self._changed(partition, lambda row: row or fencing.Row(), lambda there: "" if there == request else there)


def held_by_another(found: Sequence[tuple[Partition, Ownership]], clock: Clock) -> ConfigurationError:
    """Raised at the start: beside a running EventProcessor nothing settles, since each takes away what the other has."""
    said = ", ".join(f"{partition} ({one.owner}, {max(0.0, clock.now() - one.modified):.0f}s ago)" for partition, one in found[:5])
    more = f" and {len(found) - 5} more" if len(found) > 5 else ""
    return ConfigurationError(
        f"another program reads with this group, and has last shown that it lives: {said}{more}",
        fix="stop every EventProcessor of the group first; what one has not given back counts for STREAMKIT_AZUREBLOB__PROCESSOR_EXPIRY; "
        f"if it reads another namespace, set {NAMESPACE} to the one that is read here",
    )
