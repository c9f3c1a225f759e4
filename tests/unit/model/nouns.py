"""Strategies for the nouns."""

from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import strategies as st

from streamkit.model import Checkpoint, ParkedKey, Partition, PlainRecord, Position, StartPosition

__all__ = ["checkpoints", "known_positions", "positions", "records", "starts"]

PARTITION = Partition("orders", "0")

sequences = st.integers(min_value=0, max_value=1 << 190)
known_positions = st.builds(Position, sequences, st.integers(0, 1000), st.text(max_size=8)) | st.just(Position.END)
positions = known_positions | st.builds(Position, st.none(), st.just(0), st.text(min_size=1, max_size=8))
times = st.datetimes(datetime(1970, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))
starts = (
    st.sampled_from([StartPosition.EARLIEST, StartPosition.LATEST])
    | st.builds(StartPosition.at, positions)
    | st.builds(StartPosition.after, positions)
    | st.builds(StartPosition.at_time, times)
)
partitions = st.builds(
    Partition,
    st.text(min_size=1, max_size=8),
    st.text(min_size=1, max_size=8),
    incarnation=st.text(max_size=8),
    extra=st.dictionaries(st.text(max_size=4), st.text(max_size=4), max_size=3),
)
checkpoints = st.builds(
    Checkpoint,
    partitions,
    starts,
    metadata=st.text(max_size=20),
    record_time=st.none() | times,
    owner=st.text(max_size=8),
    epoch=st.integers(min_value=0),
    partitions_at_start=st.none() | st.integers(min_value=1),
    pending=st.none() | positions,
    pending_state=st.binary(max_size=20),
    parked=st.dictionaries(
        st.binary(max_size=9), st.builds(ParkedKey, st.text(max_size=9), st.lists(st.text(max_size=9)).map(tuple)), max_size=3
    ),
)


@st.composite
def records(draw: st.DrawFn, min_size: int = 1, max_size: int = 12) -> list[PlainRecord]:
    """A run of records of one partition: strictly rising, with gaps."""
    steps = draw(st.lists(st.integers(1, 5), min_size=min_size, max_size=max_size))
    values = st.none() | st.binary(max_size=6)
    made = []
    sequence = draw(st.integers(0, 100))
    for step in steps:
        sequence += step
        made.append(PlainRecord(PARTITION, Position(sequence), draw(values), key=draw(values)))
    return made
