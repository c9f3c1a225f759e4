"""Epochs, and five readers without one."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from streamkit_sandbox.eventhubs.readers import MAX_READERS, Readers, Refused, stolen


@dataclass(frozen=True, eq=False)
class Link:
    name: str


@pytest.fixture
def readers() -> Readers[Link]:
    return Readers()


@pytest.mark.parametrize("epoch", [7, 8])
def test_an_equal_or_higher_epoch_takes_over(readers: Readers[Link], epoch: int) -> None:
    old, new = Link("old"), Link("new")
    assert readers.admit(old, 7) == []
    assert readers.admit(new, epoch) == [old]
    assert len(readers) == 1


def test_epoch_zero_is_an_epoch(readers: Readers[Link]) -> None:
    old, new = Link("old"), Link("new")
    readers.admit(old, 0)
    assert readers.admit(new, 0) == [old]
    with pytest.raises(Refused):
        readers.admit(Link("without"), None)


def test_a_lower_epoch_is_refused_and_the_holder_stays(readers: Readers[Link]) -> None:
    holder, late = Link("holder"), Link("late")
    readers.admit(holder, 5)
    with pytest.raises(Refused, match=r"Receiver 'holder' with a higher epoch '5' already exists\. Receiver 'late' with epoch 4") as caught:
        readers.admit(late, 4)
    assert caught.value.condition == "amqp:link:stolen"
    assert readers.admit(Link("next"), 5) == [holder]


def test_a_reader_without_an_epoch_is_refused_beside_one_with(readers: Readers[Link]) -> None:
    readers.admit(Link("holder"), 5)
    with pytest.raises(Refused, match="created with epoch of '5', and so non-epoch receiver is not allowed") as caught:
        readers.admit(Link("late"), None)
    assert caught.value.condition == "amqp:link:stolen"


def test_an_epoch_drives_out_all_readers_without(readers: Readers[Link]) -> None:
    without = [Link(str(number)) for number in range(3)]
    for link in without:
        assert not readers.admit(link, None)
    assert readers.admit(Link("new"), 0) == without


def test_five_readers_without_an_epoch_and_a_sixth_only_when_one_has_left(readers: Readers[Link]) -> None:
    links = [Link(f"r{number}") for number in range(MAX_READERS)]
    for link in links:
        readers.admit(link, None)
    with pytest.raises(Refused, match=r"which is 5\. List of connected receivers - r0, r1, r2, r3, r4") as caught:
        readers.admit(Link("sixth"), None)
    assert caught.value.condition == "amqp:resource-limit-exceeded"
    readers.leave(links[2])
    readers.admit(Link("sixth"), None)
    assert len(readers) == MAX_READERS


def test_an_epoch_is_forgotten_with_its_reader(readers: Readers[Link]) -> None:
    holder = Link("holder")
    readers.admit(holder, 9)
    readers.leave(holder)
    assert readers.admit(Link("later"), 1) == []


def test_who_was_driven_out_takes_nobody_along_when_it_leaves(readers: Readers[Link]) -> None:
    old, new = Link("old"), Link("new")
    readers.admit(old, 1)
    readers.admit(new, 2)
    readers.leave(old)
    with pytest.raises(Refused):
        readers.admit(Link("late"), 1)


def test_who_is_driven_out_is_told_by_whom() -> None:
    told = stolen("old", 3, "new", 4)
    assert told.condition == "amqp:link:stolen"
    assert told.description.startswith("New receiver 'new' with higher epoch of '4' is created hence current receiver 'old' with epoch '3'")
