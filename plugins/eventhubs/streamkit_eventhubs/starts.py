"""Start positions: what the SDK is given for them, which event comes first then, and whether there is one. Pure."""

from __future__ import annotations

from datetime import datetime

from streamkit.errors import PositionExpiredError, PositionInvalidError
from streamkit.model import Partition, StartPosition
from streamkit_eventhubs.errors import BROKER
from streamkit_eventhubs.hubs import Ends

__all__ = ["expired", "first_wanted", "for_sdk", "is_caught_up", "refuse_beyond"]

_OLDEST, _NEXT = "-1", "@latest"
"""As offsets, what the service itself understands."""


def for_sdk(start: StartPosition) -> tuple[str | int | datetime, bool]:
    """As `starting_position` and `starting_position_inclusive` of the SDK: the offset where it is known, else the sequence number. After a
    geo-replicated namespace has failed over, offsets alone still mean what they meant."""
    if start.kind == "earliest":
        return _OLDEST, False
    if start.kind == "latest":
        return _NEXT, False
    if start.time is not None:
        return start.time, True
    position = start.position
    assert position is not None
    where: str | int | None = position.token or position.sequence
    if where is None or position.is_end:
        raise PositionInvalidError(f"there is no event at {start}", broker=BROKER)
    return where, start.kind == "at"


def first_wanted(start: StartPosition) -> int | None:
    """The sequence number of the first event to come, where the start says it."""
    if start.position is None or start.position.sequence is None:
        return None
    return start.position.sequence + (start.kind == "after")


def refuse_beyond(partition: Partition, start: StartPosition, ends: Ends) -> PositionInvalidError | None:
    """The error, if the start cannot be right: the event written last comes before it. The next one to be written is no such start."""
    wanted = first_wanted(start)
    if wanted is None or wanted <= ends.newest + 1:
        return None
    return PositionInvalidError(
        f"{partition}: {start} lies beyond the event written last ({ends.newest})",
        broker=BROKER,
        partition=str(partition),
        fix="the event hub was made anew, or has failed over to an older copy: check it, then set a checkpoint (streamkit checkpoints set)",
    )


def expired(partition: Partition, wanted: int, oldest: int) -> PositionExpiredError:
    """Says that events from `wanted` on are not kept any more; `oldest` is the first that is."""
    return PositionExpiredError(
        f"{partition}: event {wanted} is older than the oldest one that Event Hubs keeps ({oldest}); {oldest - wanted} are gone",
        earliest=str(oldest),
        broker=BROKER,
        partition=str(partition),
        fix="set a checkpoint (streamkit checkpoints set), or STREAMKIT_EVENTHUBS__ON_EXPIRED=earliest to go on at the oldest event",
    )


def is_caught_up(start: StartPosition, ends: Ends) -> bool:
    """Whether a partition that is opened there has nothing to bring for now."""
    if ends.is_empty or start.kind == "latest":
        return True
    if start.time is not None:
        return ends.written < start.time.timestamp()
    wanted = first_wanted(start)
    if wanted is None and start.position is not None:  # an offset alone, as some programs leave: that of the last event is known
        return start.kind == "after" and start.position.token == ends.offset
    return wanted is not None and wanted > ends.newest
