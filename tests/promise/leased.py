"""Workers that share leases in virtual time, and what a test asks of them."""

from __future__ import annotations

from datetime import timedelta

from streamkit.engine.ownership.lease import LeaseOwnership
from streamkit.model import Lease, Partition
from streamkit.plugin.leasing import lease_of
from tests.promise.targets import noting
from tests.promise.world import STREAM, Member, MemoryWorld

__all__ = ["ALONE", "LEASE", "SETTINGS", "begin", "held", "ids", "ownership", "rows"]

LEASE = 5.0
"""Polls are a second apart then, and a worker that cannot renew stops after four."""
SETTINGS = {"ownership": "lease", "lease_duration": timedelta(seconds=LEASE), "handover_timeout": timedelta(seconds=3)}
ALONE = 3.0
"""How long one worker takes to have everything: it takes one, waits a poll, and takes the rest."""


def begin(world: MemoryWorld, worker: str = "w1", target: object = None, **more: object) -> Member:
    return world.start(noting(world.journal, worker) if target is None else target, worker, **{**SETTINGS, **more})


def held(member: Member) -> set[str]:
    return {partition.id for partition, one in member.supervisor.assignments.items() if one.worker is not None and one.ending is None}


def rows(world: MemoryWorld) -> dict[str, Lease]:
    with world.log.lock:
        return {key[1]: lease_of(row, Partition(*key)) for key, row in world.store._rows.items()}


def ids(world: MemoryWorld, stream: str = STREAM) -> list[str]:
    return [partition.id for partition in world.log.partitions(stream)]


def ownership(member: Member) -> LeaseOwnership:
    found = member.supervisor._ownership
    assert isinstance(found, LeaseOwnership)
    return found
