"""How the demo looks: a table that moves on a terminal, plain lines everywhere else (CI, a pipe)."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Protocol

from streamkit.cli.demo_ledger import Ledger

if TYPE_CHECKING:
    from rich.console import RenderableType

__all__ = ["View", "view_of"]

_PLAIN_SECONDS = 1.0
_BAR = 24
_LAST_EVENTS = 8


class View(Protocol):
    """What the demo tells while it runs."""

    def __enter__(self) -> object: ...
    def __exit__(self, *error: object) -> None: ...

    def event(self, text: str) -> None:
        """Something has happened."""

    def tick(self) -> None:
        """Some time has passed."""


def view_of(ledger: Ledger, dead: Sequence[str], *, silent: bool) -> View:
    """The view that fits stdout. `dead` names the workers that were killed, and grows."""
    if silent:
        return _Silent()
    return _Live(ledger, dead) if sys.stdout.isatty() else _Plain(ledger)


class _Silent(nullcontext[None]):
    def event(self, text: str) -> None:
        """Nobody looks."""

    def tick(self) -> None:
        """Nobody looks."""


class _Plain(nullcontext[None]):
    """A line for each event, and one for each second."""

    def __init__(self, ledger: Ledger) -> None:
        super().__init__()
        self._ledger = ledger
        self._began = self._told = time.monotonic()

    def event(self, text: str) -> None:
        print(f"{time.monotonic() - self._began:4.1f}s  {text}", flush=True)

    def tick(self) -> None:
        if time.monotonic() - self._told >= _PLAIN_SECONDS:
            self._told = time.monotonic()
            self.event(self._ledger.progress)


class _Live:
    """The partitions, redrawn some times a second, and the last events."""

    def __init__(self, ledger: Ledger, dead: Sequence[str]) -> None:
        from rich.live import Live

        self._ledger = ledger
        self._dead = dead
        self._began = time.monotonic()
        self._events: list[str] = []
        self._live: AbstractContextManager[Live] = Live(get_renderable=self._render, refresh_per_second=10)

    def __enter__(self) -> object:
        return self._live.__enter__()

    def __exit__(self, *error: object) -> None:
        self._live.__exit__(None, None, None)

    def event(self, text: str) -> None:
        self._events.append(f"{time.monotonic() - self._began:4.1f}s  {text}")

    def tick(self) -> None:
        """It redraws itself."""

    def _render(self) -> RenderableType:
        from rich import box
        from rich.console import Group
        from rich.table import Table
        from rich.text import Text

        table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
        for name in ("partition", "owner", ""):
            table.add_column(name)
        for name in ("done", "lag"):
            table.add_column(name, justify="right")
        for partition, total in self._ledger.produced.items():
            done = self._ledger.position(partition)
            bar = "█" * (_BAR * done // total)
            table.add_row(f"orders/{partition}", self._owner(partition), f"{bar:<{_BAR}}", f"{done:,}", f"{total - done:,}")
        return Group(table, Text(self._ledger.progress), *map(Text, self._events[-_LAST_EVENTS:]))

    def _owner(self, partition: str) -> str:
        worker, epoch = self._ledger.owners.get(partition, ("-", 0))
        return f"[red]{worker}, dead[/]" if worker in self._dead else f"{worker}, epoch {epoch}" if epoch else worker
