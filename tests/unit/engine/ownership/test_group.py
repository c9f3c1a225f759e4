"""Group ownership: the group waits for `done`, so `done` comes whatever happens."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence

import pytest

from streamkit.engine.ownership.group import GroupOwnership
from streamkit.model import Partition
from streamkit.plugin import Assigned, Lost, Revoked

P = Partition("s", "0")


class Owner:
    def __init__(self, error: Exception | None = None) -> None:
        self.calls: list[tuple[object, ...]] = []
        self.error = error

    def assign(self, partition: Partition, epoch: int) -> None:
        self.calls.append(("assign", partition, epoch))

    async def revoke(self, partitions: Sequence[Partition], reason: str, seconds: float) -> Sequence[Partition]:
        self.calls.append(("revoke", tuple(partitions), reason, seconds))
        if self.error is not None:
            raise self.error
        return ()

    def lose(self, partitions: Sequence[Partition], reason: str) -> None:
        self.calls.append(("lose", tuple(partitions), reason))

    def extend(self, partition: Partition, until: float) -> None:
        raise AssertionError("a group has no leases")

    def is_occupied(self, partition: Partition) -> bool:
        raise AssertionError("the group decides")


def following(owner: Owner) -> GroupOwnership:
    """What it spawns runs to its end at once."""

    def spawn(_name: str, work: Coroutine[object, object, None]) -> None:
        asyncio.run(work)

    return GroupOwnership(owner, spawn)


def test_each_assigned_partition_is_begun_with_the_generation() -> None:
    owner = Owner()
    following(owner).heard(Assigned((P, Partition("s", "1")), 7))
    assert [(call[0], call[2]) for call in owner.calls] == [("assign", 7), ("assign", 7)]


def test_a_revoke_keeps_some_of_its_time_for_the_answer() -> None:
    owner, done = Owner(), []
    asyncio.run(following(owner).revoked(Revoked((P,), 5.0, lambda: done.append(True))))
    assert owner.calls == [("revoke", (P,), "rebalance", pytest.approx(4.8))]
    assert done == [True]


def test_a_revoke_without_time_is_still_answered() -> None:
    owner, done = Owner(), []
    asyncio.run(following(owner).revoked(Revoked((P,), 0.1, lambda: done.append(True))))
    assert owner.calls[0][3] == 0.0
    assert done == [True]


def test_a_revoke_that_fails_is_still_answered() -> None:
    done: list[bool] = []
    with pytest.raises(ZeroDivisionError):
        asyncio.run(following(Owner(ZeroDivisionError())).revoked(Revoked((P,), 5.0, lambda: done.append(True))))
    assert done == [True]


def test_a_revoke_that_is_heard_is_answered() -> None:
    owner, done = Owner(), []
    following(owner).heard(Revoked((P,), 5.0, lambda: done.append(True)))
    assert [call[0] for call in owner.calls] == ["revoke"]
    assert done == [True]


def test_a_loss_is_a_loss() -> None:
    owner = Owner()
    following(owner).heard(Lost((P,)))
    assert owner.calls[0][0] == "lose"
