"""Rules of promise 2: where a group begins, and that it is in the store before the first record."""

from tests.mutants.mutant import Mutant
from tests.mutants.rules.places import CLAIMING, STATIC

__all__ = ["MUTANTS"]

START = "engine/ownership/start.py"

TWO = "tests/promise/test_promise_2_start.py::"

MUTANTS: tuple[Mutant, ...] = (
    Mutant(
        "the start is saved before the first record",
        CLAIMING,
        "answer = await self._house.first_saves.ask((first, grant), self._may_begin)",
        "answer = grant",
        (TWO + "test_latest_and_a_kill_in_the_first_call_lose_nothing",),
    ),
    Mutant(
        "the start is resolved before it is saved",
        CLAIMING,
        'start = await house.runtime.io.call("resolve", house.broker.resolve(one.partition, first.wish))',
        "start = first.wish",
        (TWO + "test_latest_and_a_kill_in_the_first_call_lose_nothing",),
    ),
    Mutant(
        "a partition found later begins at EARLIEST",
        START,
        "    return FirstStart(StartPosition.EARLIEST, count, started)\n",
        "    return FirstStart(configured, count, started)\n",
        (TWO + "test_a_partition_found_later_begins_at_earliest",),
    ),
    Mutant(
        "one that was there from the beginning does not begin at EARLIEST",
        START,
        "return int(partition.id) < min(counts)",
        "return False",
        (TWO + "test_latest_is_the_first_start_of_the_group_for_every_partition",),
    ),
    Mutant(
        "what a group has begun it finishes, wherever a new one would start",
        STATIC,
        "    return [partition for partition in everything if partition in kept]\n",
        "    return found\n",
        (TWO + "test_latest_does_not_forget_a_partition_that_was_begun_and_has_ended_since",),
    ),
)
