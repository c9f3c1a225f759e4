"""The group protocol of the memory broker: who owns which partition, and how it changes hands. Pure: time is passed in.

Cooperative, as Kafka's is: a member keeps what it keeps; what shall move is revoked first, and its next owner gets it when
the old one is done, when the deadline has passed, or when the old one has left or expired. There is no leader and no
message: each member's poll brings the group up to date and fetches what concerns it. All members must share one clock.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from streamkit.builtin.memory.balance import balance, by_number
from streamkit.model import Partition

__all__ = ["Changes", "Coordinator", "Subscriber"]


@dataclass(frozen=True, slots=True)
class Changes:
    """What a poll tells a member, in this order."""

    lost: tuple[Partition, ...] = ()
    revoked: tuple[Partition, ...] = ()
    assigned: tuple[Partition, ...] = ()
    revocation: int = 0
    """Names the revocation of `revoked`, for `done`."""


@dataclass(frozen=True, slots=True)
class Subscriber:
    """What a member says about itself with each poll."""

    member: str
    streams: tuple[str, ...]
    """Names, or regular expressions with a leading `^`."""
    session_seconds: float
    revoke_seconds: float

    def wants(self, stream: str) -> bool:
        return any(re.match(name, stream) if name.startswith("^") else name == stream for name in self.streams)


class Coordinator:
    """One group. The caller holds the lock."""

    def __init__(self) -> None:
        self.generation = 0
        """Rises with every change of members or partitions."""
        self._members: dict[str, Subscriber] = {}
        self._expires: dict[str, float] = {}
        self._seen: frozenset[Partition] = frozenset()
        self._partitions: frozenset[Partition] = frozenset()
        self._target: dict[Partition, str] = {}
        self._owner: dict[Partition, str] = {}
        self._revoking: dict[Partition, tuple[int, float]] = {}  # its revocation, and when the owner loses it
        self._revocations = 0

    def poll(self, subscriber: Subscriber, partitions: frozenset[Partition], held: Collection[Partition], now: float) -> Changes:
        """A sign of life. `partitions` are all that exist, `held` those that the member believes to own.

        A member that is not known (new, or expired) joins; what it believed to own is lost, and it is assigned something
        from its next poll on. Partitions that are gone stay with their owner, whose reader will say so.
        """
        member = subscriber.member
        self._expire(now)
        lost = tuple(p for p in sorted(held, key=by_number) if self._owner.get(p) != member)
        joins = member not in self._members
        if not self._members:
            self._seen = self._partitions = frozenset()
        if joins or partitions is not self._seen:
            self._members[member] = subscriber
            self._seen, self._partitions = partitions, self._partitions | partitions
            self._rebalance()
        self._expires[member] = now + subscriber.session_seconds
        if joins:
            return Changes(lost)
        revoked = self._revoke(member, now + subscriber.revoke_seconds)
        return Changes(lost, revoked, self._assign(member), self._revocations)

    def done(self, revocation: int) -> None:
        """The owner has finished with everything of that revocation. Too late, or twice: nothing happens."""
        self._free(p for p, (number, _) in self._revoking.items() if number == revocation)

    def leave(self, member: str) -> None:
        """Everything that it owns is free at once."""
        if self._members.pop(member, None) is not None:
            del self._expires[member]
            self._free(p for p, owner in self._owner.items() if owner == member)
            self._rebalance()

    def owns(self, member: str, partition: Partition) -> bool:
        """Whether it is this member's, also while it is being revoked."""
        return self._owner.get(partition) == member

    def members(self, now: float) -> int:
        """How many there are that have not expired."""
        self._expire(now)
        return len(self._members)

    def knows(self, stream: str) -> bool:
        """Whether the group has had partitions of that stream, even if it is gone now."""
        return any(p.stream == stream for p in self._partitions)

    def _expire(self, now: float) -> None:
        """Do what time alone does: members that went silent are out, revocations that took too long are over."""
        for member in [member for member, expires in self._expires.items() if expires <= now]:
            self.leave(member)
        self._free(p for p, (_, deadline) in self._revoking.items() if deadline <= now)

    def _rebalance(self) -> None:
        self.generation += 1
        wants = {member: frozenset(p for p in self._partitions if who.wants(p.stream)) for member, who in self._members.items()}
        self._target = balance(wants, self._target)

    def _revoke(self, member: str, deadline: float) -> tuple[Partition, ...]:
        moving = [p for p, owner in self._owner.items() if owner == member and self._target.get(p) != member and p not in self._revoking]
        if moving:
            self._revocations += 1
            self._revoking.update((p, (self._revocations, deadline)) for p in moving)
        return tuple(moving)

    def _assign(self, member: str) -> tuple[Partition, ...]:
        free = tuple(p for p, target in self._target.items() if target == member and p not in self._owner)
        self._owner.update((p, member) for p in free)
        return free

    def _free(self, partitions: Iterable[Partition]) -> None:
        for partition in list(partitions):
            self._owner.pop(partition, None)
            self._revoking.pop(partition, None)
