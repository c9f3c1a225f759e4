"""Rules about several workers at once: compare-and-set between threads and processes, and what a killed process leaves behind."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager

import pytest

from streamkit.errors import FencedError
from streamkit.model import Capabilities, Lease
from streamkit.plugin import Claim, Grant
from streamkit.testing.conformance.contest import Contestant, in_processes, in_threads, process
from streamkit.testing.conformance.contestants import LEASES
from streamkit.testing.conformance.kit import StoreKit
from streamkit.testing.conformance.rule import Rule
from streamkit.testing.conformance.store_bench import StoreBench, after, partition

rule = Rule[StoreBench].of

RIVALS = 3
ROUNDS = 6
KILLED_LEASES = 4
LIVES = 3
MOST_SAVES = 40

Many = Callable[[StoreKit, str, int], AbstractContextManager[Sequence[Contestant]]]


def beyond_one_process(capabilities: Capabilities) -> None:
    if capabilities.scope == "process":
        pytest.skip("its scope is one process")


def step(contestants: Sequence[Contestant]) -> list[object]:
    """All of them at once."""
    for one in contestants:
        one.go()
    return [one.said() for one in contestants]


async def stored(bench: StoreBench) -> int:
    async with bench.opened(worker="reader") as store:
        found = [checkpoint.at.position for checkpoint in await store.list()]
        assert len(found) == 1, f"one partition was saved, and {len(found)} checkpoints are there"
        assert found[0] is not None
        assert found[0].sequence is not None
        return found[0].sequence


async def race(bench: StoreBench, many: Many) -> None:
    def run() -> list[list[object]]:
        with many(bench.kit, "race", RIVALS) as rivals:
            return [step(rivals) for _ in range(4)]

    _, epochs, granted, further = await bench.beside(run)
    numbers = [epoch for epoch in epochs if isinstance(epoch, int)]
    assert len(set(numbers)) == RIVALS, f"two have the same epoch: {epochs}"
    winners = [epoch for epoch, could in zip(numbers, granted, strict=True) if could]
    assert winners == [max(numbers)], f"the last claim alone counts; those that could save have {winners} of {epochs}"
    steps = sum(count for count in further if isinstance(count, int))
    assert steps, "nobody got anywhere"
    assert await stored(bench) == steps, "each granted step is in, and none twice"


@rule("S40", "of several threads that claim at once exactly one can save", declares=("fencing",))
async def threads_race(bench: StoreBench) -> None:
    """Compare and set, under real concurrency: each thread has a store of its own. Two owners of one partition would both save, and the
    slower one would move the checkpoint past records that it has not seen."""
    await race(bench, in_threads)


@rule("S41", "of several processes that claim at once exactly one can save", declares=("fencing",), unmade=True)
async def processes_race(bench: StoreBench) -> None:
    """As S40, for a scope of host or cluster: a lock of this process is not enough. They also open the store at the same moment, when
    nobody has made it yet."""
    beyond_one_process((await bench.made()).capabilities)
    await race(bench, in_processes)


@rule("S42", "what was acknowledged survives kill -9 at any moment")
async def survives(bench: StoreBench) -> None:
    """Promise 1: a checkpoint that was there and is not any more means records that are processed again; half of one means a partition
    that nobody can read on. The next process goes on where this one was killed."""
    beyond_one_process(bench.a.capabilities)
    chance = random.Random(20)
    acknowledged = -1
    for _ in range(LIVES):

        def live(saves: int = chance.randrange(MOST_SAVES)) -> list[int]:
            with process(bench.kit, "save_for_ever", "w") as saver:
                said = [saver.said() for _ in range(saves + 1)]
                return said + saver.kill()

        said = await bench.beside(live)
        assert said[0] in (acknowledged + 1, acknowledged + 2), "it goes on where the last one was killed"
        acknowledged = said[-1]
        assert await stored(bench) in (acknowledged, acknowledged + 1), "written, or written and not yet acknowledged"


async def take(bench: StoreBench, many: Many) -> None:
    a, _ = bench.leases

    def run() -> list[list[object]]:
        with many(bench.kit, "take", RIVALS) as rivals:
            return [step(rivals) for _ in range(1 + 2 * ROUNDS)]

    rounds = (await bench.beside(run))[2::2]
    for number, won in enumerate(rounds, 1):
        every = sorted(tuple(lease) for one in won if isinstance(one, list) for lease in one)
        assert every == [(name, number) for name in LEASES], "each lease once, and each epoch once"
    assert {lease.epoch for lease in await a.leases()} == {ROUNDS}


@rule("L70", "of several threads that take at once exactly one wins each lease", declares=("leases",))
async def threads_take(bench: StoreBench) -> None:
    """As S40. All of them create the leases, as workers do that start together. Then everybody has seen the same listing, and takes
    several leases with one call, in an order of its own."""
    await take(bench, in_threads)


@rule("L71", "of several processes that take at once exactly one wins each lease", declares=("leases",))
async def processes_take(bench: StoreBench) -> None:
    """As L70, for a scope of host or cluster."""
    beyond_one_process(bench.a.capabilities)
    await take(bench, in_processes)


@rule("L72", "a killed owner leaves whole rows, and a grant that is refused", declares=("leases",))
async def killed_owner(bench: StoreBench) -> None:
    """What it had renewed and saved is there, or is not; nothing is half written. Whoever takes over fences what the dead one might
    still send."""
    beyond_one_process(bench.a.capabilities)
    a, _ = bench.leases
    await a.create([Lease(partition(str(number))) for number in range(KILLED_LEASES)])
    chance = random.Random(4)
    acknowledged = -1
    for life in range(LIVES):

        def live(saves: int = chance.randrange(MOST_SAVES), life: int = life) -> tuple[list[int], list[int]]:
            with process(bench.kit, "own_for_ever", f"owner-{life}") as owner:
                epochs = owner.said()
                said = [owner.said() for _ in range(saves)]
                return epochs, said + owner.kill()

        epochs, said = await bench.beside(live)
        acknowledged = max([acknowledged, *said])
        dead, saved = await taken_over(bench, f"owner-{life}")
        assert sorted(lease.epoch for lease in dead) == sorted(epochs)
        for position in saved:
            assert position in (acknowledged, acknowledged + 1), "written, or written and not yet acknowledged"
        held = [(lease.partition, Grant(lease.epoch)) for lease in dead]
        late = [(after(10**9, one), grant) for one, grant in held]
        answers = [*await a.save(late), *await a.renew(held), *await a.release(held)]
        assert all(isinstance(answer, FencedError) for answer in answers), answers
        acknowledged = max(saved)


async def taken_over(bench: StoreBench, owner: str) -> tuple[Sequence[Lease], Sequence[int]]:
    """The leases of a dead owner as an heir has found and taken them, and how far each was saved. A last write of the dead one may still
    have been under way; then it is looked at again."""
    a, _ = bench.leases
    deadline = time.monotonic() + bench.kit.patience_seconds
    found: dict[str, Lease] = {}
    claims: dict[str, Claim] = {}
    while len(claims) < KILLED_LEASES:
        assert time.monotonic() < deadline, "the leases of a dead owner cannot be taken"
        missing = [lease for lease in await a.leases() if lease.partition.id not in claims]
        assert {lease.owner for lease in missing} == {owner}
        for lease, answer in zip(missing, await a.take(missing, "heir"), strict=True):
            if isinstance(answer, Claim):
                found[lease.partition.id], claims[lease.partition.id] = lease, answer
    positions = [claim.checkpoint.at.position if claim.checkpoint is not None else None for claim in claims.values()]
    return list(found.values()), [-1 if one is None or one.sequence is None else one.sequence for one in positions]
