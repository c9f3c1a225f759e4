"""Putting records aside: what a dead letter says, and writing it through any producer. Runs on the control thread."""

from __future__ import annotations

from collections.abc import Sequence

from streamkit.engine.delivery.messages import FailedRecord
from streamkit.engine.runtime import Carrier
from streamkit.errors import DeadLetterError
from streamkit.plugin import Producer

__all__ = ["DeadLetters"]


class DeadLetters:
    """The target of one app, `<plugin>:<stream>`."""

    def __init__(self, producer: Producer, stream: str, io: Carrier) -> None:  # type: ignore[type-arg]  # whatever its settings are
        self._producer = producer
        self._stream = stream
        self._io = io

    async def write(self, failed: Sequence[FailedRecord]) -> None:
        """Returns when the target has acknowledged all of them. Raises DeadLetterError if one of them was not."""
        raise DeadLetterError("not built yet")
