"""Checkpoints as another program keeps them: what `streamkit checkpoints import --from` and `export --to` go through.

A plugin offers an exchange for each program that it knows (`Plugin.exchanges`). It reads and writes that program's rows and says
what they mean; whether its workers are alive, what is stored where, and what people are told, is the command's.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from pydantic import BaseModel

from streamkit.model import Checkpoint, Lease, Partition, StartPosition
from streamkit.plugin.adapter import Adapter

__all__ = ["Exchange", "Exported", "Foreign"]

S = TypeVar("S", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Foreign:
    """What another program has stored, as it was read."""

    checkpoints: Sequence[Checkpoint]
    """The partition of each as far as it is known: as the broker lists it, or else as the row has it; with the children that the
    row names. LATEST has not been resolved."""
    signs: Mapping[str, str] = field(default_factory=dict)
    """For each row something that changes while a worker lives that has it: its owner and a counter."""
    alive: Sequence[str] = ()
    """What proves already that a worker lives, a line for each; empty: only watching the signs can tell."""
    remarks: Sequence[str] = ()
    """What is not taken along, or means something else here, a line for each."""
    is_store: bool = False
    """It was read from where this plugin's own store keeps its rows: that store goes on with them as they are."""


@dataclass(frozen=True, slots=True)
class Exported:
    """What an export has made, or would make."""

    text: str = ""
    """The rows for a file; empty if they were written into a table."""
    remarks: Sequence[str] = ()
    """As of `Foreign`."""


class Exchange(Adapter[S], ABC):
    """Reads and writes another program's checkpoints. `open` may connect to nothing: a file needs no server.

    A row that cannot be understood is a `ConfigurationError` that names it; nothing is passed over without a remark.
    """

    @abstractmethod
    async def exists(self, table: str) -> bool:
        """Whether there is a table of that name.

        When: before `read` by `streamkit checkpoints export`, which makes one that is missing.
        Where: on the engine's I/O loop.
        Raises: `ConfigurationError` if it is no name of a table; `StoreUnavailableError`, `AccessDeniedError`.
        Afterwards: nothing has changed.
        """

    @abstractmethod
    async def read(self, table: str, partitions: Sequence[Partition], start: StartPosition) -> Foreign:
        """The rows of a table.

        When: by `streamkit checkpoints import`, again after its workers were watched; by `export` of the rows that it will replace.
        Where: on the engine's I/O loop. `partitions` are all that the broker lists; `start` is what STREAMKIT_START says, for rows
            that mean «where the application was told to begin».
        Raises: `ConfigurationError` if there is no such table, or a row cannot be understood or belongs to no stream of
            STREAMKIT_STREAM; `StoreUnavailableError` if the answer is in doubt, `AccessDeniedError`.
        Afterwards: nothing has changed.
        """

    @abstractmethod
    def parse(self, text: str, partitions: Sequence[Partition], start: StartPosition) -> Foreign:
        """The same for a file, which has no signs of life.

        When: by `streamkit checkpoints import` with a file.
        Where: on the main thread; must not do I/O.
        Raises: `ConfigurationError`.
        Afterwards: nothing has changed.
        """

    @abstractmethod
    def export(self, leases: Sequence[Lease]) -> Exported:
        """The rows as text for a file, one on each line.

        When: by `streamkit checkpoints export`.
        Where: on the main thread; must not do I/O.
        Raises: `ConfigurationError` for what that program cannot keep.
        Afterwards: nothing has changed.
        """

    @abstractmethod
    async def write(self, table: str, leases: Sequence[Lease]) -> Exported:
        """Put the rows into a table, which is made if it is not there; they belong to nobody then.

        When: by `streamkit checkpoints export` with a table, when no worker of either program is alive.
        Where: on the engine's I/O loop.
        Raises: as `export` and `read`; `FencedError` for a row that somebody has changed meanwhile. Some may be written then.
        Afterwards: that program goes on from there. Rows of other partitions stay.
        """
