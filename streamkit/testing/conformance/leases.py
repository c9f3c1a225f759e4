"""Short ways to write what is said of lease stores."""

from __future__ import annotations

from dataclasses import replace

import pytest

from streamkit.errors import FencedError
from streamkit.model import Lease, Partition
from streamkit.plugin import Claim, Grant, LeaseStore
from streamkit.testing.conformance.store_bench import after, partition

__all__ = ["ODD", "WHOLE", "fresh", "listed", "refuses", "take", "text"]

WHOLE = (0, (1 << 128) - 1)
ODD = Partition(
    "A.b~c/日本",
    "shard/../%2E é",
    incarnation="arn:löwe\n\0\"'😀",
    parents=("one", "zwei 2"),
    children=("x",),
    key_range=(1 << 127, WHOLE[1]),
    extra={"leaseCounter": "7", "日": ""},
)


async def listed(store: LeaseStore, name: str = "0") -> Lease:
    found = [lease for lease in await store.leases() if lease.partition.id == name]
    assert len(found) == 1, f"there are {len(found)} leases of partition {name!r}"
    return found[0]


async def take(store: LeaseStore, lease: Lease, owner: str) -> Claim:
    (answer,) = await store.take([lease], owner)
    assert isinstance(answer, Claim), answer
    return answer


async def fresh(store: LeaseStore, *names: str) -> list[Lease]:
    """Free leases, as they are listed."""
    await store.create([Lease(partition(name)) for name in names or ("0",)])
    return [await listed(store, name) for name in names or ("0",)]


async def refuses(store: LeaseStore, grant: Grant, name: str = "0") -> None:
    """Nothing that an owner may write is written with this grant."""
    before = await listed(store, name)
    for (answer,) in (
        await store.renew([(partition(name), grant)]),
        await store.save([(after(10**6, partition(name)), grant)]),
        await store.release([(partition(name), grant)]),
    ):
        assert isinstance(answer, FencedError), answer
    with pytest.raises(FencedError):
        await store.name_children(partition(name), grant, ["x"])
    assert text(await listed(store, name)) == text(before)


def text(lease: Lease) -> str:
    """All of a lease; partitions and checkpoints compare by less than they hold."""
    p = lease.partition
    seen = (p.incarnation, p.parents, p.children, p.key_range, p.ended, dict(p.extra))
    return repr((replace(lease, checkpoint=None), seen, lease.checkpoint and lease.checkpoint.to_text()))
