"""Offsets, which clients must take as they are: text that rises with the events, and says nothing else.

Those of the service are byte positions in the partition, so they are neither sequence numbers nor dense. Hubs with geo-replication
have offsets that are no numbers at all; `Offsets(opaque=True)` makes such ones.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from streamkit_sandbox.eventhubs.refused import ARGUMENT_ERROR, Refused

__all__ = ["Offsets"]

_HEADER_BYTES = 56
"""What the imitated log stores beside a message."""
_NUMBER = re.compile(r"-1|\d{1,18}")
_OPAQUE = re.compile(r"g1:([0-9a-f]{16})")


@dataclass(frozen=True, slots=True)
class Offsets:
    """Makes the offsets of a partition, and reads those that it made."""

    opaque: bool = False
    """Whether they are other than numbers. The form is ours; all that is known of the service's is that it is no number."""

    def text(self, position: int) -> str:
        """The offset of the event at byte `position`."""
        return f"g1:{position:016x}" if self.opaque else str(position)

    def position(self, text: str) -> int:
        """The byte position in an offset. Raises Refused for what is none: clients must not make up offsets."""
        if self.opaque and (found := _OPAQUE.fullmatch(text)):
            return int(found[1], 16)
        # A number is good everywhere: a hub that got its geo-replication later has handed out numbers before.
        if _NUMBER.fullmatch(text):
            return int(text)
        raise Refused(ARGUMENT_ERROR, f"The supplied offset '{text}' is invalid.")

    @staticmethod
    def room(message: bytes) -> int:
        """How many bytes further the event after `message` lies: with its header, in whole words of 8."""
        return (_HEADER_BYTES + len(message) + 7) // 8 * 8
