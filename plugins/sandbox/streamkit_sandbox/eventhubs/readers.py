"""Who may read a partition: at most one reader with an epoch for each consumer group, or up to five without.

One object for each hub, consumer group and partition. It opens and closes nothing: the caller detaches whom it names.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Generic, Protocol, TypeVar

from streamkit_sandbox.eventhubs.refused import LIMIT_EXCEEDED, LINK_STOLEN, Refused

__all__ = ["MAX_READERS", "Readers", "Refused", "stolen"]

MAX_READERS = 5
"""Readers without an epoch that one partition and consumer group may have, as the service documents it."""


class Named(Protocol):
    """A reader's link; hashable by identity."""

    @property
    def name(self) -> str:
        """What the client calls itself, for error texts."""


Reader = TypeVar("Reader", bound=Named)


class Readers(Generic[Reader]):
    """The readers of one partition in one consumer group."""

    def __init__(self) -> None:
        self._epochs: dict[Reader, int | None] = {}  # in the order in which they came

    def admit(self, reader: Reader, epoch: int | None) -> Sequence[Reader]:
        """Lets `reader` in and returns whom it drives out: they get what `stolen` says.

        An epoch drives out an equal or lower one, and every reader without. Raises Refused, and changes nothing, where a
        higher epoch reads, where an epoch reads and `reader` has none, and for the sixth reader without one.
        """
        held = max((held for held in self._epochs.values() if held is not None), default=None)
        if epoch is None:
            self._admit_without_epoch(held)
            self._epochs[reader] = None
            return ()
        if held is not None and held > epoch:
            holder = next(other.name for other, its in self._epochs.items() if its == held)
            raise Refused(
                LINK_STOLEN,
                f"Receiver '{holder}' with a higher epoch '{held}' already exists. Receiver '{reader.name}' with epoch {epoch} cannot be "
                "created. Make sure you are creating receiver with increasing epoch value to ensure connectivity, or ensure all old "
                "epoch receivers are closed or disconnected.",
            )
        driven_out = [other for other in self._epochs if other is not reader]
        self._epochs = {reader: epoch}
        return driven_out

    def leave(self, reader: Reader) -> None:
        """`reader` is closed; nothing happens if it was driven out before. Its epoch is forgotten, as in the service."""
        self._epochs.pop(reader, None)

    def __len__(self) -> int:
        return len(self._epochs)

    def _admit_without_epoch(self, held: int | None) -> None:
        if held is not None:
            raise Refused(
                LINK_STOLEN,
                f"At least one receiver for the endpoint is created with epoch of '{held}', and so non-epoch receiver is not allowed. "
                "Either reconnect with a higher epoch, or make sure all epoch receivers are closed or disconnected.",
            )
        if len(self._epochs) >= MAX_READERS:
            names = ", ".join(other.name for other in self._epochs)
            raise Refused(
                LIMIT_EXCEEDED,
                f"Exceeded the maximum number of allowed receivers per partition in a consumer group which is {MAX_READERS}. "
                f"List of connected receivers - {names}.",
            )


def stolen(name: str, epoch: int | None, by: str, by_epoch: int) -> Refused:
    """What a reader is told that is driven out by reader `by`; condition amqp:link:stolen."""
    return Refused(
        LINK_STOLEN,
        f"New receiver '{by}' with higher epoch of '{by_epoch}' is created hence current receiver '{name}' with epoch "
        f"'{0 if epoch is None else epoch}' is getting disconnected. If you are recreating the receiver, make sure a higher epoch is used.",
    )
