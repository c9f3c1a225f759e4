"""How much is read ahead: bounded whatever happens, and never stuck."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from streamkit.engine.delivery.pressure import RECORD_OVERHEAD_BYTES, Pressure


@dataclass
class Load:
    queued_records: int = 0
    held_bytes: int = 0
    in_flight: int = 0
    resting_records: int = 0


limits = st.builds(Pressure, max_batch=st.integers(1, 2000), max_in_flight=st.integers(1, 5000), max_bytes=st.integers(1024, 1 << 20))
loads = st.integers(0, 6000).flatmap(
    lambda queued: st.builds(
        Load,
        queued_records=st.just(queued),
        held_bytes=st.integers(0, 1 << 12).map(lambda size: queued * (RECORD_OVERHEAD_BYTES + size)),
        in_flight=st.integers(queued, queued + 6000),
    )
)


@given(limits, loads, st.integers(1, 3000))
def test_what_has_room_is_not_full(pressure: Pressure, load: Load, partitions: int) -> None:
    assert not (pressure.has_room(load, partitions) and pressure.is_full(load, partitions))


@given(limits, st.integers(1, 3000))
def test_an_empty_partition_is_always_read(pressure: Pressure, partitions: int) -> None:
    assert pressure.has_room(Load(), partitions)
    assert not pressure.is_full(Load(), partitions)


@given(limits, loads, st.integers(1, 3000))
def test_a_full_partition_has_room_again_when_all_of_it_is_done_and_saved(pressure: Pressure, load: Load, partitions: int) -> None:
    assert pressure.has_room(Load(0, 0, 0), partitions)


@given(limits, st.lists(loads, max_size=20))
def test_at_least_one_byte_is_always_left_and_never_more_than_the_limit(pressure: Pressure, loads: list[Load]) -> None:
    assert 1 <= pressure.bytes_left(loads) <= pressure.max_bytes


@given(
    max_batch=st.integers(1, 50),
    max_in_flight=st.integers(1, 300),
    max_bytes=st.integers(1024, 100_000),
    batches=st.lists(st.tuples(st.integers(1, 50), st.integers(0, 3000)), min_size=1, max_size=200),
    steps=st.lists(st.sampled_from(["finish", "save"]), max_size=400),
)
def test_a_reader_that_stops_at_full_holds_at_most_the_limits_and_one_batch(
    max_batch: int, max_in_flight: int, max_bytes: int, batches: list[tuple[int, int]], steps: list[str]
) -> None:
    pressure = Pressure(max_batch=max_batch, max_in_flight=max_in_flight, max_bytes=max_bytes)
    load, done = Load(), 0
    queue: list[tuple[int, int]] = []
    moves = iter(steps)
    for wished, size in batches:
        count = min(wished, max_batch)
        bytes_ = count * (RECORD_OVERHEAD_BYTES + size)
        while pressure.is_full(load, 1):
            move = next(moves, "finish" if queue else "save")
            if move == "finish" and queue:
                finished, freed = queue.pop(0)
                load.queued_records -= finished
                load.held_bytes -= freed
                done += finished
            else:
                load.in_flight -= done
                done = 0
        before = Load(load.queued_records, load.held_bytes, load.in_flight)
        queue.append((count, bytes_))
        load.queued_records += count
        load.held_bytes += bytes_
        load.in_flight += count
        assert load.in_flight < max_in_flight + max_batch
        assert load.queued_records < 4 * max_batch + max_batch
        assert before.queued_records == 0 or before.held_bytes < max_bytes


def test_the_share_of_a_partition_is_what_all_have_divided_by_their_number() -> None:
    pressure = Pressure(max_batch=1000, max_in_flight=100_000, max_bytes=10_000)
    load = Load(queued_records=5, held_bytes=1_000, in_flight=5)
    assert pressure.is_full(load, 10)
    assert not pressure.is_full(load, 9)


def test_one_record_is_admitted_however_large() -> None:
    pressure = Pressure(max_batch=10, max_in_flight=100, max_bytes=1024)
    assert not pressure.is_full(Load(queued_records=0, held_bytes=0, in_flight=3), 1)
    assert pressure.is_full(Load(queued_records=1, held_bytes=10**9, in_flight=4), 1)


def test_records_behind_a_retry_hold_up_others_only_by_their_bytes_and_in_flight() -> None:
    pressure = Pressure(max_batch=10, max_in_flight=1000, max_bytes=100_000)
    resting = Load(queued_records=500, resting_records=495, held_bytes=90_000, in_flight=500)
    assert not pressure.is_full(resting, 1)
    assert pressure.is_full(Load(queued_records=500, held_bytes=90_000, in_flight=500), 1)
    assert pressure.is_full(Load(queued_records=500, resting_records=495, held_bytes=100_000, in_flight=500), 1)
    assert pressure.is_full(Load(queued_records=1000, resting_records=1000, held_bytes=1000, in_flight=1000), 1)
    assert pressure.has_room(Load(queued_records=500, resting_records=495, held_bytes=50_000, in_flight=500), 1)
