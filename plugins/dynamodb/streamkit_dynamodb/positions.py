"""Where to go on, as the KCL writes it into two columns, and back. Pure.

The KCL's columns must never lead it beyond what is done: what it cannot say exactly becomes a place before, where it repeats.
What exactly was meant stands in streamkit's own column beside them, and counts as long as nobody has written these two.
"""

from __future__ import annotations

from streamkit.model import Position, StartPosition

__all__ = ["AT_TIMESTAMP", "LATEST", "SHARD_END", "TRIM_HORIZON", "Place", "pending_place", "place_of", "position_of", "start_of"]

Place = tuple[str, int]
"""`checkpoint` and `checkpointSubSequenceNumber`."""

TRIM_HORIZON = "TRIM_HORIZON"
LATEST = "LATEST"
AT_TIMESTAMP = "AT_TIMESTAMP"
SHARD_END = "SHARD_END"


def place_of(start: StartPosition | None) -> Place:
    """What the KCL is told. None: nobody knows where to begin.

    The KCL reads again from the record that it finds here, and passes over sub-sequences up to this one. So `at` a record
    inside an aggregate is «after the one before it». `at` a whole record, or at its first part, has no such word: sequence
    numbers have gaps, and a number of no record is refused by the service. LATEST would skip what comes until the KCL begins;
    AT_TIMESTAMP means a time in the KCL's own settings: another one skips, and without one the shard hangs (KCL 3.1.3).
    """
    position = start.position if start is not None else None
    if start is None or position is None:
        return TRIM_HORIZON, 0
    if position.is_end:
        return SHARD_END, 0
    if position.sequence is None:
        return TRIM_HORIZON, 0
    if start.kind == "after":
        return str(position.sequence), position.sub_sequence
    if position.sub_sequence > 0:
        return str(position.sequence), position.sub_sequence - 1
    return TRIM_HORIZON, 0


def start_of(place: Place) -> StartPosition:
    """What the KCL means. Raises ValueError for what is none of its words, and for AT_TIMESTAMP: the time is in its settings."""
    name, sub_sequence = place
    if name == TRIM_HORIZON:
        return StartPosition.EARLIEST
    if name == LATEST:
        return StartPosition.LATEST
    return StartPosition.after(position_of(name, sub_sequence))


def position_of(name: str, sub_sequence: int) -> Position:
    """A sequence number, or the end. Raises ValueError."""
    if name == SHARD_END:
        return Position.END
    if not (name.isascii() and name.isdigit()):
        raise ValueError(f"{name!r} is no sequence number")
    return Position(int(name), sub_sequence)


def pending_place(pending: Position | None) -> Place | None:
    """`pendingCheckpoint` and its sub-sequence; None if the columns are absent."""
    if pending is None or (pending.sequence is None and not pending.is_end):
        return None
    return (SHARD_END, 0) if pending.is_end else (str(pending.sequence), pending.sub_sequence)
