"""All partitions of one stream that a listing or a lease knows, and who descends from whom. Pure; used by `lineage` alone.

A listing of a broker is taken while streams split and merge, and it may be cut or old. What cannot be true of one moment is
refused here with a retryable error: from half a family, partitions would be forgotten, or read a second time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence, Set
from dataclasses import replace

from streamkit.errors import BrokerUnavailableError
from streamkit.model import Lease, Partition

__all__ = ["Family", "uncovered"]

KEYS = (0, (1 << 128) - 1)
"""The first and the last hash key of a stream that is split by ranges."""


class Family:
    """Ids are unique within it. A parent that nobody knows any more (its records have expired) is no member."""

    def __init__(self, stream: str, listed: Iterable[Partition], rows: Iterable[Lease]) -> None:
        """`listed` may hold several listings; what has ended in one of them has ended."""
        self.stream = stream
        self.members: dict[str, Partition] = {}
        self._listed: set[str] = set()
        for partition in listed:
            self._listed.add(partition.id)
            self._know(partition)
        for row in rows:
            self._know(replace(row.partition, ended=False))
        self._children: dict[str, list[str]] = {}
        for partition in self.members.values():
            for parent in self.parents(partition.id):
                self._children.setdefault(parent, []).append(partition.id)

    def _know(self, new: Partition) -> None:
        old = self.members.get(new.id)
        if old is not None:
            new = replace(
                old,
                parents=old.parents or new.parents,
                children=old.children or new.children,
                key_range=old.key_range or new.key_range,
                ended=old.ended or new.ended,
            )
        self.members[new.id] = new

    def parents(self, member: str) -> list[str]:
        """Its parents, as far as they are known."""
        return [parent for parent in self.members[member].parents if parent in self.members]

    def children(self, member: str) -> Sequence[str]:
        return self._children.get(member, ())

    def ancestors(self, of: Iterable[str]) -> set[str]:
        """All above them; one of them is among its own ancestors only if another one descends from it."""
        return _reached((parent for member in of for parent in self.parents(member)), self.parents)

    def descendants(self, of: Iterable[str], among: Set[str]) -> set[str]:
        """They and all below them, on ways that stay `among` these members."""
        return _reached((member for member in of if member in among), lambda m: [c for c in self.children(m) if c in among])

    def ranges(self, members: Iterable[str]) -> list[tuple[int, int] | None]:
        return [self.members[member].key_range for member in members]

    def check(self) -> None:
        """Raise BrokerUnavailableError if the listing cannot be whole, or cannot be of one moment."""
        for member in self._listed:
            partition = self.members[member]
            for child in self.children(member):
                if not partition.ended and child in self._listed:
                    raise inconsistent(f"{self.stream}: {child} is listed beside {member}, its parent, which has not ended")
            if not partition.ended:
                continue
            if absent := sorted(set(partition.children) - self.members.keys()):
                raise inconsistent(f"{self.stream}: {member} has ended, and its child {absent[0]} is not listed")
            if partition.key_range is not None and (gaps := uncovered(self.ranges(self.children(member)), partition.key_range)):
                raise inconsistent(f"{self.stream}: {member} has ended, and no child is listed for its hash keys {in_words(gaps)}")


def _reached(begin: Iterable[str], step: Callable[[str], Iterable[str]]) -> set[str]:
    reached: set[str] = set()
    waiting = list(begin)
    while waiting:
        member = waiting.pop()
        if member not in reached:
            reached.add(member)
            waiting.extend(step(member))
    return reached


def uncovered(ranges: Iterable[tuple[int, int] | None], within: tuple[int, int] = KEYS) -> list[tuple[int, int]]:
    """The parts of `within` that are in none of the ranges. Empty if one of them is unknown: then nothing is known of holes."""
    known: list[tuple[int, int]] = []
    for one in ranges:
        if one is None:
            return []
        known.append(one)
    found = []
    following, last = within
    for low, high in sorted(known):
        if low > last:
            break
        if low > following:
            found.append((following, low - 1))
        following = max(following, high + 1)
    if following <= last:
        found.append((following, last))
    return found


def in_words(gaps: Sequence[tuple[int, int]]) -> str:
    """The first of them, as numbers like those of the broker's own listing."""
    low, high = gaps[0]
    return f"{low} to {high}" + (f" and {len(gaps) - 1} more ranges" if len(gaps) > 1 else "")


def inconsistent(what: str) -> BrokerUnavailableError:
    return BrokerUnavailableError(what, fix="it is listed again; if this stays, ask the broker's own tools what partitions there are")
