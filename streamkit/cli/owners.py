"""Whether anybody is at work in a group, for commands that would be undone by a living worker, or would stop it."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

from streamkit.cli.connection import Connection
from streamkit.cli.output import remark
from streamkit.engine.ownership.naming import worker_name
from streamkit.errors import OwnershipError
from streamkit.model import Lease, Partition

__all__ = ["refusal"]

LOOK_SECONDS = 0.25
WORTH_A_REMARK_SECONDS = 2.0


def refusal(connection: Connection) -> OwnershipError | None:
    """Why it would be wrong to write now; None: nobody is there. Owned leases are watched for as long as a lease lasts."""
    group = connection.settings.group
    if connection.ownership == "lease":
        return _by_leases(connection)
    if connection.ownership != "group":
        cause = "with static ownership nothing tells whether a worker is running"
        return OwnershipError(cause, fix="make sure that none is, then add --force")
    members = connection.members()
    if members is None:
        cause = f"broker {connection.settings.broker} cannot tell whether group {group} has members"
        return OwnershipError(cause, fix="stop its workers, then add --force")
    if members:
        have = "a live member" if members == 1 else f"{members} live members"
        return OwnershipError(
            f"group {group} has {have}, whose next checkpoint would undo it",
            fix="stop its workers; --force goes ahead beside them, where the store lets it",
        )
    return None


def _by_leases(connection: Connection) -> OwnershipError | None:
    seconds = connection.settings.lease_duration.total_seconds()
    first = _owned(connection.leases() or ())
    if first and seconds >= WORTH_A_REMARK_SECONDS:
        remark(f"watching for {seconds:g}s whether the owners of {len(first)} leases are alive")
    until = time.monotonic() + seconds
    while first and time.monotonic() < until:
        time.sleep(min(LOOK_SECONDS, seconds / 4))
        for partition, lease in _owned(connection.leases() or ()).items():
            before = first.get(partition)
            if before is None or (before.owner, before.version) != (lease.owner, lease.version):
                return OwnershipError(
                    f"{partition} is read by {worker_name(lease.owner)}, whose next checkpoint would undo it",
                    fix="stop the group's workers; --force goes ahead, and makes them begin again from there",
                )
    return None


def _owned(leases: Sequence[Lease]) -> Mapping[Partition, Lease]:
    return {lease.partition: lease for lease in leases if lease.owner and not lease.is_ended}
