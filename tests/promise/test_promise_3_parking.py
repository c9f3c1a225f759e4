"""Promise 3 with ON_FAILURE=park: the records of a parked key keep their order over splits, merges and changes of owner."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator

import pytest

from streamkit.builtin.memory import MemoryLog
from streamkit.engine.delivery.letter import Letter, original_of
from streamkit.testing.simulation.subject import quick
from streamkit.testing.simulation.world import STREAM
from tests.simulation.parking import ParkWorld, plan_with_parking

Play = Callable[[Callable[[ParkWorld], Coroutine[object, object, None]]], None]


@pytest.fixture(params=[2, 3], ids=["partition", "key"])
def play(request: pytest.FixtureRequest) -> Iterator[Play]:
    """A world in which nothing goes wrong but what the story says."""
    with quick():
        world = ParkWorld(plan_with_parking(request.param))
        world.clumsiness = 0.0
        assert world.is_keyed == (request.param == 3)
        yield lambda story: world.runtime.run(story(world))
        world.runtime.stop()
        MemoryLog.forget(world.name)


def write(world: ParkWorld, key: bytes, number: int) -> None:
    world.log.append(STREAM, b"%b:%d" % (key, number), key=key, now=world.runtime.unix_time())


def letters(world: ParkWorld) -> list[tuple[bytes | None, str]]:
    found = [original_of(record) for record in world.letters]
    return [(letter.value, letter.parked.partition(" ")[0]) for letter in found if isinstance(letter, Letter)]


def home(world: ParkWorld, key: bytes) -> str:
    """The partition in which the records of a key are written now."""
    return next(
        name for name, log in world.log.topic(STREAM).logs.items() if any(r.key == key for r in log.records) and not log.partition.ended
    )


async def settle(world: ParkWorld) -> None:
    await asyncio.sleep(6.0)
    world._raise_broken()


async def replay_all(world: ParkWorld) -> None:
    for _ in range(3):
        await world.replay()
        await settle(world)


def test_children_of_a_split_go_on_with_what_their_parent_has_parked(play: Play) -> None:
    async def story(world: ParkWorld) -> None:
        world.start("w1")
        world.bad.add(b"k:0")
        write(world, b"k", 0)
        await settle(world)
        world.log.split(STREAM, home(world, b"k"))
        write(world, b"k", 1)
        await settle(world)
        assert letters(world) == [(b"k:0", "first"), (b"k:1", "behind")]
        assert b"k" not in world.ledger.effects
        world.bad.clear()
        await replay_all(world)
        assert world._parked() == {}
        write(world, b"k", 2)
        await settle(world)
        assert world.ledger.effects[b"k"] == [0, 1, 2]
        assert len(letters(world)) == 2

    play(story)


def test_the_child_of_a_merge_goes_on_with_what_both_parents_have_parked(play: Play) -> None:
    async def story(world: ParkWorld) -> None:
        topic = world.log.topic(STREAM)
        one, other = sorted(topic.partitions, key=lambda p: p.key_range or (0, 0))[:2]
        keys: dict[str, bytes] = {}
        number = 0
        while len(keys) < 2:
            key, number = b"k%d" % number, number + 1
            record = world.log.append(STREAM, key + b":0", key=key, now=world.runtime.unix_time())
            if record.partition in (one, other):
                keys.setdefault(record.partition.id, key)
        world.bad.update(key + b":0" for key in keys.values())
        world.start("w1")
        await settle(world)
        world.log.merge(STREAM, one.id, other.id)
        for key in keys.values():
            write(world, key, 1)
        await settle(world)
        told = letters(world)
        for key in keys.values():
            assert [how for value, how in told if value in (key + b":0", key + b":1")] == ["first", "behind"]
            assert key not in world.ledger.effects
        world.bad.clear()
        await replay_all(world)
        assert world._parked() == {}

    play(story)


def test_the_next_owner_goes_on_with_what_is_parked(play: Play) -> None:
    async def story(world: ParkWorld) -> None:
        first = world.start("w1")
        world.bad.add(b"k:0")
        write(world, b"k", 0)
        await settle(world)
        world.crash(first)
        world.start("w2")
        write(world, b"k", 1)
        await settle(world)
        assert letters(world)[-1] == (b"k:1", "behind")
        assert b"k" not in world.ledger.effects

    play(story)


def test_a_replay_beside_new_records_does_not_release_before_the_last_letter(play: Play) -> None:
    async def story(world: ParkWorld) -> None:
        world.start("w1")
        world.bad.add(b"k:0")
        write(world, b"k", 0)
        await settle(world)
        world.bad.clear()
        replay = asyncio.ensure_future(world.replay())
        for number in range(1, 30):
            write(world, b"k", number)
            await asyncio.sleep(0.05)
        await replay
        await settle(world)
        await replay_all(world)
        assert world._parked() == {}
        write(world, b"k", 30)
        await settle(world)
        assert world.ledger.effects[b"k"] == list(range(31)), "each once, in order"

    play(story)


def test_a_partition_whose_end_is_held_up_is_not_saved_beyond_a_letter_that_no_marker_names(play: Play) -> None:
    """The position goes on to be saved while the leases of the children cannot be made; a crash then must not lose the name."""

    async def story(world: ParkWorld) -> None:
        worker = world.start("w1")
        world.bad.add(b"k:0")
        write(world, b"k", 0)
        await settle(world)
        parent = home(world, b"k")
        world.log.faults.hold("create")
        write(world, b"k", 1)
        world.log.split(STREAM, parent)
        await settle(world)
        world.crash(worker)
        row = world.rows[STREAM, parent].checkpoint
        assert row is not None
        assert row.at.position == world.log.topic(STREAM).log(parent).records[-1].position
        last = original_of(world.letters[-1])
        assert isinstance(last, Letter)
        assert (last.value, row.parked[b"k"].letters) == (b"k:1", (last.parked.partition(" ")[2],))

    play(story)


def test_a_key_that_was_released_stays_so_though_the_row_of_the_parent_says_that_it_is_parked(play: Play) -> None:
    """A child that has no record done asks its parents again with each new owner."""

    async def story(world: ParkWorld) -> None:
        first = world.start("w1")
        world.bad.add(b"k:0")
        write(world, b"k", 0)
        await settle(world)
        parent = home(world, b"k")
        world.log.split(STREAM, parent)
        await settle(world)
        assert len(world._parked()) == 2
        world.bad.clear()
        await replay_all(world)
        assert world._parked() == {}
        world.crash(first)
        world.start("w2")
        await settle(world)
        assert (STREAM, parent) in world.rows
        assert world._parked() == {}
        write(world, b"k", 1)
        await settle(world)
        assert world.ledger.effects[b"k"] == [0, 1]
        assert len(letters(world)) == 1

    play(story)
