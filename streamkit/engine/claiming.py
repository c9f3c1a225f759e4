"""Claiming a partition, and finding where to go on in it: what comes before its worker. Runs on the control thread.

An assignment has one. It asks the store and the broker until they answer, or until the assignment may not begin any more.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Protocol

from streamkit.engine.house import House
from streamkit.engine.ownership.start import first_start
from streamkit.engine.parked import after_a_claim, inherited, still_parked
from streamkit.errors import ConfigurationError, FencedError, StreamkitError
from streamkit.model import Checkpoint, ParkedKey, Partition
from streamkit.plugin import Claim, Grant

__all__ = ["Claimant", "Claiming"]

RETRY_SECONDS = 0.2
MAX_RETRY_SECONDS = 10.0


class Claimant(Protocol):
    """The assignment, as far as it is looked at here."""

    partition: Partition
    epoch: int
    problem: Exception | None
    fruitless: int
    previous_owner: str

    @property
    def may_begin(self) -> bool:
        """It has neither been given back nor lost."""

    @property
    def may_claim(self) -> bool:
        """It has not been lost. While it is given back, what runs may still have to be saved."""

    async def pause(self, seconds: float) -> None:
        """Wait, but no longer than until one of these has changed."""


class Claiming:
    """Of one assignment."""

    def __init__(self, one: Claimant, house: House) -> None:
        self._one = one
        self._house = house

    async def find_start(self) -> tuple[Checkpoint | None, object, int]:
        """Claim, and where to go on. Fenced in between: somebody has claimed it since, so claim once more."""
        one = self._one
        failures = 0
        while (claim := await self.claim()) is not None:
            try:
                return await self._first_checkpoint(claim)
            except FencedError as error:
                failures += 1
                await self._wait_after(f"finding where to start in {one.partition}", error, failures)
        return None, None, 0

    async def claim(self) -> Claim | None:
        """Claim until it succeeds or the partition is given back or lost: without an answer nothing is read or saved."""
        one = self._one
        failures = 0
        while one.may_claim:
            try:
                one.partition = await self._house.look_up(one.partition)
                claim = await self._house.store.claim(one.partition, self._house.claimant, one.epoch)
            except ConfigurationError:
                raise
            except StreamkitError as error:
                failures += 1
                await self._wait_after(f"claiming {one.partition}", error, failures)
            else:
                one.problem = None
                one.fruitless = claim.fruitless
                one.previous_owner = claim.checkpoint.owner if claim.checkpoint is not None else ""
                return claim
        return None

    async def _first_checkpoint(self, claim: Claim) -> tuple[Checkpoint | None, object, int]:
        """The stored checkpoint, or the start position, resolved once and saved before the first record is read."""
        one = self._one
        failures = 0
        grant = claim.grant
        checkpoint = claim.checkpoint
        first: Checkpoint | None = None
        while one.may_begin and checkpoint is None:
            try:
                stored = await self._house.listing.ask(None, self._may_begin)
                written = next((c for c in stored if c.partition == one.partition), None)
                # A save whose answer was lost is repeated as it was written: what follows a save may not have happened yet.
                first = written or first or await self._resolve_start(stored, claim)
                answer = await self._house.first_saves.ask((first, grant), self._may_begin)
                if isinstance(answer, Exception):
                    raise answer
                checkpoint, grant = first, answer
            except (ConfigurationError, FencedError):
                raise
            except StreamkitError as error:
                failures += 1
                await self._wait_after(f"finding where to start in {one.partition}", error, failures)
        one.problem = None
        if checkpoint is None:
            return None, grant, claim.epoch
        owned = replace(checkpoint, partition=one.partition, owner=self._house.worker_name, epoch=claim.epoch)
        owned, grant = await self._with_parked(owned, grant)
        return owned, grant, claim.epoch

    async def _with_parked(self, checkpoint: Checkpoint, grant: Grant) -> tuple[Checkpoint, Grant]:
        """With what is parked, and that it is ours now, both saved before the first record is read.

        Raises FencedError; ConfigurationError if keys are parked and ON_FAILURE does not go on with that: their order would be lost.
        """
        one, house = self._one, self._house
        failures = 0
        while one.may_begin and not checkpoint.at.is_end and (checkpoint.parked or _is_heir(checkpoint)):
            try:
                parked = await self._parked(checkpoint)
                if still_parked(parked) and house.settings.on_failure != "park":
                    raise ConfigurationError(
                        f"{len(still_parked(parked))} keys of {one.partition} are parked, so their records are not to be called",
                        setting="STREAMKIT_ON_FAILURE",
                        fix="set it to park; to leave that, release them first: streamkit dead-letters replay, still with park",
                    )
                if parked or checkpoint.parked:  # also where nothing is new: whoever comes after us has to know that we were here
                    checkpoint = replace(checkpoint, parked=parked)
                    answer = await house.first_saves.ask((checkpoint, grant), self._may_begin)
                    if isinstance(answer, Exception):
                        raise answer
                    grant = answer
                break
            except (ConfigurationError, FencedError):
                raise
            except StreamkitError as error:
                failures += 1
                await self._wait_after(f"finding what is parked in {one.partition}", error, failures)
        one.problem = None
        return checkpoint, grant

    async def _parked(self, checkpoint: Checkpoint) -> Mapping[bytes, ParkedKey]:
        """What the store says is parked. The parents are asked as long as no record of this partition is done: until one is, their rows
        are kept. Who has been here before may have written letters that no marker names, unless it gave back in order."""
        one, parked = self._one, checkpoint.parked
        if not _is_heir(checkpoint):
            parked = still_parked(parked)
        else:
            parents = [Partition(one.partition.stream, parent) for parent in one.partition.parents]
            rows = await self._house.listing.ask(None, self._may_begin)
            parked = inherited(parked, [row.parked for row in rows if row.partition in parents])
        return after_a_claim(parked, one.partition, checkpoint.epoch) if one.previous_owner else parked

    async def _resolve_start(self, stored: Sequence[Checkpoint], claim: Claim) -> Checkpoint:
        one = self._one
        house = self._house
        now = datetime.fromtimestamp(house.runtime.unix_time(), UTC)
        first = first_start(one.partition, house.settings.start, stored, house.partitions_of, now)
        start = await house.runtime.io.call("resolve", house.broker.resolve(one.partition, first.wish))
        return Checkpoint(
            one.partition,
            start,
            owner=house.worker_name,
            epoch=claim.epoch,
            partitions_at_start=first.partitions,
            group_started=first.started,
        )

    def _may_begin(self) -> bool:
        return self._one.may_begin

    async def _wait_after(self, doing: str, error: StreamkitError, failures: int) -> None:
        one = self._one
        one.problem = error
        if failures == 1:
            self._house.observer.on_problem(doing, error)
        delay = min(MAX_RETRY_SECONDS, RETRY_SECONDS * 2 ** min(failures - 1, 10))
        await one.pause(delay * (0.5 + self._house.runtime.random() / 2))


def _is_heir(checkpoint: Checkpoint) -> bool:
    """What its parents have parked is not known to be in its own row yet."""
    return bool(checkpoint.partition.parents) and checkpoint.at.kind != "after"
