"""Where to go on, in the words of Azure's SDKs: an `offset` and a `sequencenumber`, both text, for the last event that is done. Pure.

Both are always written, because the Python SDK fails with all checkpoints of a hub if one of them lacks either. Where streamkit
stands at no such place, the oldest event is named: others then repeat, and skip nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from streamkit.model import Position, StartPosition

__all__ = ["OFFSET", "SEQUENCE", "Told", "place_of", "told_by"]

OFFSET, SEQUENCE = "offset", "sequencenumber"
OLDEST, NEWEST = "-1", "@latest"
_NOTHING = ("", "no offset")
"""What .NET writes where it has none."""


@dataclass(frozen=True, slots=True)
class Told:
    """What another program has left."""

    at: StartPosition | None
    """None: it says of no place."""
    ignored: bool = False
    """Something in it could not be used."""


def place_of(at: StartPosition | None) -> dict[str, str]:
    """The two words for it."""
    position = at.position if at is not None and at.kind == "after" else None
    if position is None or position.is_end:
        return {OFFSET: OLDEST, SEQUENCE: "-1"}
    return {OFFSET: position.token or OLDEST, SEQUENCE: "-1" if position.sequence is None else str(position.sequence)}


def told_by(metadata: Mapping[str, str]) -> Told:
    """What they mean. An offset is opaque: nothing is asked of it but whether it is there."""
    offset, text = metadata.get(OFFSET, ""), metadata.get(SEQUENCE, "")
    sequence = int(text) if text.isascii() and text.isdecimal() else None
    is_odd = (sequence is None and text not in ("", "-1")) or offset in _NOTHING or not text
    token = "" if offset in (*_NOTHING, OLDEST, NEWEST) else offset
    if sequence is not None or token:
        return Told(StartPosition.after(Position(sequence, token=token)), is_odd)
    if offset == OLDEST:
        return Told(StartPosition.EARLIEST, is_odd)
    if offset == NEWEST:
        return Told(StartPosition.LATEST, is_odd)
    return Told(None, True)
