"""What workers do when there are several of them at once. Each waits for `go` before every step, and says one thing after it."""

from __future__ import annotations

import random
from collections.abc import Callable, Coroutine
from itertools import count
from typing import Any

from streamkit.errors import CheckpointError
from streamkit.model import Lease, Position
from streamkit.plugin import Claim, LeaseStore
from streamkit.testing.conformance.kit import StoreKit
from streamkit.testing.conformance.store_bench import after, opened_store, partition, save

__all__ = ["LEASES", "ROLES", "STEPS", "Role"]

Role = Callable[[StoreKit, str, Callable[[], bool], Callable[[Any], None]], Coroutine[Any, Any, None]]

LEASES = tuple(f"{number:02}" for number in range(12))
"""Names of the leases that takers make and take."""
STEPS = 20
"""How often a racer claims and saves in its last step."""


async def race(kit: StoreKit, worker: str, go: Callable[[], bool], say: Callable[[Any], None]) -> None:
    """Opens a store, claims a partition, saves; then claims and saves as fast as it can. Says its epoch, whether it could save, and how
    many of its further saves were granted."""
    go()
    async with opened_store(kit, worker=worker) as store:
        say("open")
        go()
        claim = await store.claim(partition(), worker, 0)
        say(claim.epoch)
        go()
        say(not isinstance(await save(store, after(0), claim.grant), Exception))
        go()
        granted = 0
        for _ in range(STEPS):
            again = await store.claim(partition(), worker, 0)
            assert again.checkpoint is not None, "a saved checkpoint was not found"
            assert again.checkpoint.at.position is not None
            answer = await save(store, after((again.checkpoint.at.position.sequence or 0) + 1), again.grant)
            assert not isinstance(answer, Exception) or isinstance(answer, CheckpointError), answer
            granted += not isinstance(answer, Exception)
        say(granted)


async def take(kit: StoreKit, worker: str, go: Callable[[], bool], say: Callable[[Any], None]) -> None:
    """Creates the leases; then in each round everybody has seen the same listing and takes all of it, a few leases at a time in an order
    of its own. Says what it has won: names and epochs."""
    chance = random.Random(worker)
    async with opened_store(kit, worker=worker) as store:
        assert isinstance(store, LeaseStore)
        go()
        await store.create([Lease(partition(name)) for name in LEASES])
        say("created")
        while go():
            leases = list(await store.leases())
            chance.shuffle(leases)
            say("listed")
            go()
            won = []
            for at in range(0, len(leases), 3):
                some = leases[at : at + 3]
                answers = await store.take(some, worker)
                won += [(lease.partition.id, a.epoch) for lease, a in zip(some, answers, strict=True) if isinstance(a, Claim)]
            say(won)


async def save_for_ever(kit: StoreKit, worker: str, go: Callable[[], bool], say: Callable[[Any], None]) -> None:
    """Saves rising positions, and says each that was acknowledged."""
    async with opened_store(kit, worker=worker) as store:
        claim = await store.claim(partition(), worker, 0)
        found = claim.checkpoint.at.position if claim.checkpoint else None
        for sequence in count(_following(found)):
            answer = await save(store, after(sequence, metadata="x" * (sequence * 97 % 4096)), claim.grant)
            assert not isinstance(answer, Exception), answer
            say(sequence)


async def own_for_ever(kit: StoreKit, worker: str, go: Callable[[], bool], say: Callable[[Any], None]) -> None:
    """Takes every lease, says their epochs, then renews and saves all of them; says each position that was acknowledged for all."""
    async with opened_store(kit, worker=worker) as store:
        assert isinstance(store, LeaseStore)
        leases = await store.leases()
        claims = [claim for claim in await store.take(leases, worker) if isinstance(claim, Claim)]
        assert len(claims) == len(leases), "not all of them could be taken"
        say([claim.epoch for claim in claims])
        held = [(lease.partition, claim.grant) for lease, claim in zip(leases, claims, strict=True)]
        stored = [lease.checkpoint.at.position for lease in leases if lease.checkpoint is not None]
        for sequence in count(max([_following(position) for position in stored], default=0)):
            for renewed in await store.renew(held):
                assert not isinstance(renewed, Exception), renewed
            for answer in await store.save([(after(sequence, one), grant) for one, grant in held]):
                assert not isinstance(answer, Exception), answer
            say(sequence)


def _following(position: Position | None) -> int:
    return 0 if position is None or position.sequence is None else position.sequence + 1


ROLES: dict[str, Role] = {"race": race, "take": take, "save_for_ever": save_for_ever, "own_for_ever": own_for_ever}
