"""How much each partition has done in this process, over all its assignments. For metrics; nothing is counted here per record.

The control thread adds and retires assignments; whoever asks may be on another thread. What a partition has done so far and who
goes on with it is one tuple, replaced whole, so that no total is ever seen to fall.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from streamkit.model import Partition

__all__ = ["Tally", "Totals"]

K = TypeVar("K")

MAX_DEPARTED = 1000
"""Of so many partitions that nobody here works on any more the totals are kept."""


@dataclass(frozen=True, slots=True)
class Totals:
    """None of it ever falls while the process lives."""

    records: int = 0
    calls: int = 0
    call_seconds: float = 0.0
    retries: int = 0
    put_aside: Mapping[str, int] = field(default_factory=dict)
    """By how: `dead_letter`, `skip`."""
    bytes: int = 0
    """Keys and values of the records, as far as the adapter counts them."""

    def __add__(self, other: Totals) -> Totals:
        return Totals(
            self.records + other.records,
            self.calls + other.calls,
            self.call_seconds + other.call_seconds,
            self.retries + other.retries,
            {how: self.put_aside.get(how, 0) + other.put_aside.get(how, 0) for how in (*self.put_aside, *other.put_aside)},
            self.bytes + other.bytes,
        )


class Tally(Generic[K]):
    """One for each app."""

    def __init__(self, count: Callable[[K], Totals]) -> None:
        """`count`: what one assignment has done so far."""
        self._count = count
        self._entries: dict[Partition, tuple[Totals, tuple[K, ...]]] = {}

    def add(self, partition: Partition, one: K) -> None:
        """It begins."""
        before, running = self._entries.get(partition, (Totals(), ()))
        self._entries[partition] = (before, (*running, one))
        departed = [other for other, (_, left) in self._entries.items() if not left]
        for other in departed[:-MAX_DEPARTED]:
            del self._entries[other]

    def retire(self, partition: Partition, one: K) -> None:
        """It is over: what it has done will not change any more."""
        before, running = self._entries.get(partition, (Totals(), ()))
        if one in running:
            self._entries[partition] = (before + self._count(one), tuple(other for other in running if other is not one))

    def totals(self) -> Mapping[Partition, Totals]:
        """Of every partition that was ever worked on, but for the oldest."""
        return {partition: sum(map(self._count, running), before) for partition, (before, running) in tuple(self._entries.items())}
