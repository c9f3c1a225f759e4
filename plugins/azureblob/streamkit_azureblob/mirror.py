"""Our name in the ownership blobs of Azure's SDKs: written with a take, now and then while we own, taken off with a release.

It keeps a processor of those SDKs from taking what is ours for free, and a stopped one's blobs from being written over while it may
be alive. It fences nothing among workers of streamkit.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import quote

from streamkit.model import Partition
from streamkit_azureblob.clock import Clock
from streamkit_azureblob.container import Container, Content
from streamkit_azureblob.listing import SharedListing
from streamkit_azureblob.names import ownership_name
from streamkit_azureblob.owners import MARK, OWNER_ID, Ownership

__all__ = ["TAKEN_BESIDE_US", "Mirror"]

REFRESH_SECONDS = 15.0
"""The shortest expiration that any of the SDKs has by default is a minute."""
TAKEN_BESIDE_US = "an EventProcessor has put its name on a partition that is ours: it must be stopped, ours is put there again"


@dataclass(slots=True)
class _Mine:
    etag: str
    written_at: float


class Mirror:
    """Used on one loop; for one partition never twice at once. `row` is the name of the row's blob."""

    def __init__(
        self,
        container: Container,
        listing: SharedListing,
        clock: Clock,
        expiry_seconds: float,
        noticed: Callable[[Partition, str], None],
    ) -> None:
        self._container = container
        self._listing = listing
        self._clock = clock
        self._expiry_seconds = expiry_seconds
        self._noticed = noticed
        self._mine: dict[str, _Mine] = {}
        """By the name of the row."""

    def is_anothers(self, found: Ownership | None) -> bool:
        """Another program has it, and may be alive."""
        return found is not None and found.is_foreign and found.is_alive(self._clock.now(), self._expiry_seconds)

    async def take(self, row: str, owner: str, found: Ownership | None) -> bool:
        """Put our name in place of what was found, unless another program has it or somebody has written since."""
        if self.is_anothers(found):
            return False
        if found is not None and found.name != ownership_name(row):  # under a name with capitals or a port
            found = await self._listing.ownership(row)
            if self.is_anothers(found):
                return False
        etag = await self._write(row, owner, found.etag if found is not None else None)
        if etag is None:
            fresh = await self._listing.ownership(row)
            if fresh is None or fresh.owner != _name(owner):
                return False
            etag = fresh.etag  # ours, and its answer was lost
        self._mine[row] = _Mine(etag, self._clock.monotonic())
        return True

    async def refresh(self, row: str, partition: Partition, owner: str) -> None:
        """Show that we live, if that was not done lately."""
        mine = self._mine.get(row)
        now = self._clock.monotonic()
        if mine is not None and now - mine.written_at < REFRESH_SECONDS:
            return
        etag = await self._write(row, owner, mine.etag) if mine is not None else None
        if etag is None:
            fresh = await self._listing.ownership(row)
            if fresh is not None and fresh.is_foreign:
                self._noticed(partition, TAKEN_BESIDE_US)
            etag = await self._write(row, owner, fresh.etag if fresh is not None else None)
        if etag is not None:  # else somebody writes it all the time, and we are back with the next renewal
            self._mine[row] = _Mine(etag, now)

    async def free(self, row: str, owner: str) -> None:
        """Take our name off, if it is there."""
        mine = self._mine.pop(row, None)
        if mine is not None and await self._write(row, "", mine.etag) is not None:
            return
        fresh = await self._listing.ownership(row)
        if fresh is not None and fresh.owner == _name(owner):
            await self._write(row, "", fresh.etag)

    def drop(self, row: str) -> None:
        """It is not ours any more."""
        self._mine.pop(row, None)

    async def _write(self, row: str, owner: str, etag: str | None) -> str | None:
        return await self._container.write(ownership_name(row), Content({OWNER_ID: _name(owner)}), etag, owner=True)


def _name(owner: str) -> str:
    return f"{MARK}{quote(owner, safe='#')}" if owner else ""
