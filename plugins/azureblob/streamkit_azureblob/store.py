"""Leases and checkpoints in a container of Azure Blob Storage, in the layout that Azure's SDKs share.

What a row is, is in `rows.py`, where it lies in `names.py`; owners write by `holding.py`, everybody else by `changing.py`. All on the
engine's I/O loop, with the SDK's aio client.
"""

from __future__ import annotations

import builtins
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from typing import Any

from streamkit.errors import FencedError, StoreUnavailableError
from streamkit.model import Capabilities, Checkpoint, Lease, Partition
from streamkit.plugin import Adapter, AdapterContext, Claim, Grant, LeaseStore, fencing, leasing
from streamkit_azureblob.changing import Changing, held_by_another
from streamkit_azureblob.client import call_seconds, make_client
from streamkit_azureblob.clock import Clock
from streamkit_azureblob.container import Container
from streamkit_azureblob.holding import Change, Holding, comparable
from streamkit_azureblob.listing import Listed, OwnListing, SharedListing
from streamkit_azureblob.mirror import Mirror
from streamkit_azureblob.names import OwnNames, SharedNames
from streamkit_azureblob.rows import Stored
from streamkit_azureblob.settings import AzureBlobSettings

__all__ = ["HELD_BY_ANOTHER", "AzureBlobStore"]

SHARED_BROKER = "eventhubs"
"""The broker whose checkpoints Azure's SDKs know."""
HELD_BY_ANOTHER = "another program, such as an EventProcessor, owns it: taken when that has given it back, or has been silent for long"


class AzureBlobStore(Adapter[AzureBlobSettings], LeaseStore):
    """One client of one container."""

    # What does not fit among the metadata of a blob is in its body, which has room for more than this.
    capabilities = Capabilities(
        fencing=True, scope="cluster", metadata_characters=4096, pending_bytes=1 << 16, parked_bytes=1 << 15, leases=True
    )

    def __init__(self, settings: AzureBlobSettings, context: AdapterContext, **client_options: Any) -> None:
        """`client_options`: for the SDK's client, such as a transport."""
        super().__init__(settings, context)
        self._client_options = client_options
        self._closing = AsyncExitStack()
        self._parts: _Parts | None = None

    async def open(self) -> None:
        settings, context = self.settings, self.context
        await self._closing.aclose()  # what an earlier one has made, that failed
        client = await make_client(settings, self._closing, **self._client_options)
        clock = self._clock()
        container = Container(client, settings.container, call_seconds(settings), clock)
        await container.open(create=settings.create_container)
        self._parts = _Parts(settings, context, container, clock)

    async def close(self) -> None:
        self._parts = None
        await self._closing.aclose()

    def _clock(self) -> Clock:
        return Clock(self.context.monotonic, self.context.unix_time)

    @property
    def _open_parts(self) -> _Parts:
        if self._parts is None:
            raise StoreUnavailableError("the container is not open")
        return self._parts

    # -- checkpoints ------------------------------------------------------------------------------------------------

    async def claim(self, partition: Partition, owner: str, epoch: int) -> Claim:
        parts = self._open_parts
        stored = await parts.changing.claim(partition, owner, epoch)
        parts.holding.add(stored)
        return fencing.claim_of(stored.row)

    async def save(self, checkpoints: Sequence[tuple[Checkpoint, Grant]]) -> Sequence[Grant | Exception]:
        return await self._open_parts.write([_save(checkpoint, grant) for checkpoint, grant in checkpoints])

    async def list(self) -> Sequence[Checkpoint]:
        rows = (await self._open_parts.listed(everything=True)).rows.values()
        return [stored.row.checkpoint for stored in rows if stored.row.checkpoint is not None]

    async def overwrite(self, checkpoint: Checkpoint) -> None:
        await self._open_parts.changing.overwrite(checkpoint.partition, lambda row: fencing.overwritten(row, checkpoint))

    async def delete(self, partitions: Sequence[Partition]) -> None:
        for partition in partitions:
            await self._open_parts.changing.forget(partition)

    async def ask(self, partition: Partition, request: str) -> None:
        await self._open_parts.changing.ask(partition, request)

    async def requests(self) -> Mapping[Partition, str]:
        rows = (await self._open_parts.listed(everything=True, fresh=False)).rows  # who asks often, and for what it owns
        return {partition: stored.request for partition, stored in rows.items() if stored.request}

    async def answered(self, partition: Partition, request: str) -> None:
        await self._open_parts.changing.answered(partition, request)

    # -- leases -----------------------------------------------------------------------------------------------------

    async def check_start(self) -> None:
        await self._open_parts.check_start()

    async def learn(self, partitions: Sequence[Partition]) -> bool:
        listing = self._open_parts.listing
        return isinstance(listing, SharedListing) and listing.learn(partitions)

    async def leases(self) -> Sequence[Lease]:
        return await self._open_parts.leases()

    async def create(self, leases: Sequence[Lease]) -> None:
        await self._open_parts.changing.create(leases)

    async def take(self, leases: Sequence[Lease], owner: str) -> Sequence[Claim | Exception]:
        return await self._open_parts.take(leases, owner)

    async def renew(self, held: Sequence[tuple[Partition, Grant]]) -> Sequence[Grant | Exception]:
        return await self._open_parts.write([_renewal(partition, grant) for partition, grant in held])

    async def request_handover(self, lease: Lease, to: str) -> bool:
        return await self._open_parts.changing.request_handover(lease, to)

    async def release(self, held: Sequence[tuple[Partition, Grant]]) -> Sequence[Exception | None]:
        """Raises what leaves one of them in doubt: it is given back again then, and what is free already is «no longer ours»."""
        answers = await self._open_parts.write([_release(partition, grant) for partition, grant in held])
        for answer in answers:
            if isinstance(answer, Exception) and not isinstance(answer, FencedError):
                raise answer
        return [answer if isinstance(answer, Exception) else None for answer in answers]

    async def name_children(self, partition: Partition, grant: Grant, children: Sequence[str]) -> Grant:
        change = Change(partition, grant, lambda row: leasing.with_children(row, partition, grant, children))
        (answer,) = await self._open_parts.write([change])
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def remove(self, leases: Sequence[Lease]) -> None:
        await self._open_parts.changing.remove(leases)


class _Parts:
    """An open container."""

    def __init__(self, settings: AzureBlobSettings, context: AdapterContext, container: Container, clock: Clock) -> None:
        self._context = context
        self._clock = clock
        self._told: set[Partition] = set()
        self._listed = Listed()
        """As of the last listing; replaced whole."""
        self.listing: OwnListing | SharedListing
        self.mirror: Mirror | None = None
        if context.broker == SHARED_BROKER:
            self._shared = SharedNames(context.group, context.streams, settings.namespace)
            self.listing = SharedListing(container, self._shared, clock, context.noticed)
            self.mirror = Mirror(container, self.listing, clock, settings.processor_expiry.total_seconds(), context.noticed)
        else:
            self.listing = OwnListing(container, OwnNames(context.broker, context.group), clock)
        self.holding = Holding(container, self.listing, self.mirror)
        self.changing = Changing(container, self.listing, self.mirror, clock)

    async def listed(self, *, everything: bool, fresh: bool = True) -> Listed:
        listed = await self.listing.all(everything=everything, fresh=fresh)
        self.changing.saw(listed)
        return listed

    async def check_start(self) -> None:
        """Raises ConfigurationError if another program is alive that has a partition of ours."""
        if self.mirror is None:
            return
        owners = (await self.listed(everything=False)).owners
        alive = [(partition, one) for partition, one in owners.items() if self.mirror.is_anothers(one)]
        if alive:
            raise held_by_another(sorted(alive, key=lambda one: str(one[0])), self._clock)

    async def leases(self) -> builtins.list[Lease]:
        listed = self._listed = await self.listed(everything=False)
        return [self._lease(partition, stored) for partition, stored in listed.rows.items()]

    def _lease(self, partition: Partition, stored: Stored) -> Lease:
        row = self.changing.shown(stored, self._listed.owners.get(partition))
        if row.owner != stored.row.owner and partition not in self._told:
            self._told.add(partition)
            self._context.noticed(partition, HELD_BY_ANOTHER)
        return leasing.lease_of(row, partition)

    async def take(self, leases: Sequence[Lease], owner: str) -> builtins.list[Claim | Exception]:
        answers: builtins.list[Claim | Exception] = []
        for answer in await self.changing.take(leases, owner, self._listed):
            if isinstance(answer, Stored):
                self.holding.add(answer)
                answers.append(fencing.claim_of(answer.row))
            else:
                answers.append(answer)
        return answers

    async def write(self, changes: Sequence[Change]) -> builtins.list[Grant | Exception]:
        answers = await self.holding.write(changes)
        return [a if isinstance(a, Exception) else change.grant for change, a in zip(changes, answers, strict=True)]


def _save(checkpoint: Checkpoint, grant: Grant) -> Change:
    return Change(
        checkpoint.partition, grant, lambda row: fencing.saved(comparable(row), checkpoint, grant), gives_back=not checkpoint.owner
    )


def _renewal(partition: Partition, grant: Grant) -> Change:
    return Change(partition, grant, lambda row: leasing.renewed(row, partition, grant))


def _release(partition: Partition, grant: Grant) -> Change:
    return Change(partition, grant, lambda row: leasing.released(row, partition, grant))
