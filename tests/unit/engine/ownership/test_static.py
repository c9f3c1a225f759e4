"""Static ownership: what it was told, and children when all their parents have ended."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from streamkit.engine.ownership.static import StaticOwnership, with_unfinished
from streamkit.errors import ConfigurationError
from streamkit.model import Checkpoint, Partition, Position, StartPosition


class Owner:
    def __init__(self) -> None:
        self.taken: list[str] = []

    def assign(self, partition: Partition, epoch: int) -> None:
        self.taken.append(partition.id)

    async def revoke(self, partitions: Sequence[Partition], reason: str, seconds: float) -> Sequence[Partition]:
        return ()

    def lose(self, partitions: Sequence[Partition], reason: str) -> None: ...

    def extend(self, partition: Partition, until: float) -> None: ...

    def is_occupied(self, partition: Partition) -> bool:
        return False


def partition(name: str, *parents: str) -> Partition:
    return Partition("s", name, parents=parents)


def test_without_names_all_are_taken() -> None:
    owner = Owner()
    StaticOwnership(owner, ()).begin([partition("0"), partition("1")])
    assert owner.taken == ["0", "1"]


def test_with_names_only_those() -> None:
    owner = Owner()
    StaticOwnership(owner, ("1",)).begin([partition("0"), partition("1")])
    assert owner.taken == ["1"]


def test_a_name_that_does_not_exist_is_refused_and_the_others_are_listed() -> None:
    with pytest.raises(ConfigurationError, match="there is no partition 7") as caught:
        StaticOwnership(Owner(), ("7",)).begin([partition("0"), partition("1")])
    assert "0, 1" in caught.value.fix


def test_a_child_waits_for_its_parent() -> None:
    owner = Owner()
    static = StaticOwnership(owner, ())
    parent, child = partition("0"), partition("1", "0")
    static.begin([parent, child])
    assert owner.taken == ["0"]
    static.ended(parent, [child])
    assert owner.taken == ["0", "1"]


def test_a_merged_child_waits_for_both_parents() -> None:
    owner = Owner()
    static = StaticOwnership(owner, ())
    child = partition("2", "0", "1")
    static.begin([partition("0"), partition("1")])
    static.ended(partition("0"), [child])
    assert owner.taken == ["0", "1"]
    static.ended(partition("1"), [child])
    assert owner.taken == ["0", "1", "2"]


def test_a_child_whose_parents_are_gone_is_taken_at_once() -> None:
    owner = Owner()
    StaticOwnership(owner, ()).begin([partition("5", "0")])
    assert owner.taken == ["5"]


def test_a_child_is_taken_once_however_often_its_parent_ends() -> None:
    owner = Owner()
    static = StaticOwnership(owner, ())
    static.begin([partition("0")])
    for _ in range(2):
        static.ended(partition("0"), [partition("1", "0")])
    assert owner.taken == ["0", "1"]


def test_partitions_of_other_streams_do_not_release_a_child() -> None:
    owner = Owner()
    static = StaticOwnership(owner, ())
    static.begin([partition("0"), partition("1", "0"), Partition("other", "0")])
    static.ended(Partition("other", "0"), [])
    assert "1" not in owner.taken


def test_with_names_their_children_are_waited_for_from_the_start() -> None:
    owner = Owner()
    static = StaticOwnership(owner, ("0",))
    child, grandchild = partition("2", "0"), partition("3", "2")
    static.begin([partition("0"), partition("1"), grandchild, child])
    assert owner.taken == ["0"]
    assert {one.id: set(parents) for one, parents in static.waiting().items()} == {"2": {"0"}, "3": {"2"}}
    static.ended(partition("0"), ())
    assert owner.taken == ["0", "2"]


def test_what_was_begun_is_finished_with_all_that_follows_and_the_other_parent_of_a_merge() -> None:
    """Where a new group would begin at 5: 0 was begun, 1 merges with it, 4 is another family that was over before."""
    zero, one, four = partition("0"), partition("1"), partition("4")
    merged, five = partition("2", "0", "1"), partition("5", "2")
    everything = [zero, one, merged, four, five]
    begun = Checkpoint(zero, StartPosition.after(Position(3)))
    assert list(with_unfinished([five], everything, [begun])) == [zero, one, merged, five]
    assert list(with_unfinished([five], everything, [])) == [five]


def test_what_lies_behind_a_checkpoint_is_not_read() -> None:
    zero, one, merged = partition("0"), partition("1"), partition("2", "0", "1")
    begun = Checkpoint(merged, StartPosition.after(Position(3)))
    assert list(with_unfinished([merged], [zero, one, merged], [begun])) == [merged]
