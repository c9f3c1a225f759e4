"""Calling a lease store from the control thread: what is held, with which grant, and until when that counts.

Renewals, saves and releases go one after the other, so none of them shows a grant that another is about to replace. The
checkpointer's grant is not the store's: it names what we hold, and what we do not hold any more is refused here. Of the group's
rows only those of our own streams are seen: others read the rest.
"""

from __future__ import annotations

import builtins
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from streamkit.engine.runtime import Promise, Runtime
from streamkit.engine.streams import names_stream
from streamkit.errors import ConfigurationError, FencedError, PartitionLostError, StoreUnavailableError
from streamkit.model import Checkpoint, Lease, Partition
from streamkit.plugin import Claim, Grant, LeaseStore

__all__ = ["Held", "LeasedStoreCalls"]

T = TypeVar("T")


@dataclass(slots=True, eq=False)
class Held:
    """A lease of ours, from its take to its release or loss."""

    partition: Partition
    claim: Claim
    grant: Grant
    renewed_at: float
    """When the last write that the store has confirmed was begun: nobody can have seen its version earlier."""


class LeasedStoreCalls:
    """`StoreCalls` of a worker with leases, and what lease ownership asks of the store."""

    def __init__(self, store: LeaseStore, runtime: Runtime, streams: Sequence[str]) -> None:
        """`streams`: what the app reads, as STREAM says it."""
        self.held: dict[Partition, Held] = {}
        """Everything that this worker may deliver and save."""
        self.on_renewed: Callable[[Held], None] = lambda held: None
        self.on_fenced: Callable[[Held, FencedError], None] = lambda held, error: None
        """Somebody else has it. Set by the ownership, like the other one."""
        self._store = store
        self._runtime = runtime
        self._streams = streams
        self._last: Promise[None] | None = None
        self._unanswered: dict[object, tuple[str, float]] = {}

    def longest_unanswered(self) -> tuple[str, float] | None:
        """The call that the store has owed an answer to for longest, and since when (monotonic). From any thread."""
        return min(builtins.list(self._unanswered.values()), key=lambda call: call[1], default=None)

    # -- StoreCalls -----------------------------------------------------------------------------------------------

    async def claim(self, partition: Partition, owner: str, epoch: int) -> Claim:
        """What `take` has found and given. Raises ConfigurationError if the lease belongs to another stream of that name."""
        held = self.held.get(partition)
        if held is None:
            raise PartitionLostError(f"the lease of {partition} is not ours")
        stored = held.claim.checkpoint.partition.incarnation if held.claim.checkpoint else held.partition.incarnation
        if stored and partition.incarnation and stored != partition.incarnation:
            raise ConfigurationError(
                f"the lease of {partition} belongs to {stored!r}, but the stream is now {partition.incarnation!r}",
                fix="check that this is the right cluster; if the stream was made anew, give it a new group",
            )
        return replace(held.claim, grant=Grant(held))

    def save(self, checkpoints: Sequence[tuple[Checkpoint, Grant]]) -> Awaitable[Sequence[Grant | Exception]]:
        return self._in_turn("save", lambda: self._save(checkpoints))

    async def _save(self, checkpoints: Sequence[tuple[Checkpoint, Grant]]) -> Sequence[Grant | Exception]:
        ours = [(checkpoint, grant) for checkpoint, grant in checkpoints if isinstance(grant, Held) and self._is_ours(grant)]
        began = self._runtime.monotonic()
        sent = [(checkpoint, held.grant) for checkpoint, held in ours]
        answers = await self._ask("save", self._store.save(sent)) if sent else ()
        said = dict(zip((id(held) for _, held in ours), self._told([held for _, held in ours], answers, began), strict=True))
        return [said.get(id(grant)) or _not_ours(checkpoint) for checkpoint, grant in checkpoints]

    async def list(self) -> Sequence[Checkpoint]:
        return [row for row in await self._ask("list", self._store.list()) if self._is_read(row.partition)]

    def requests(self) -> Awaitable[Mapping[Partition, str]]:
        return self._runtime.io.call("requests", self._store.requests())

    def answered(self, partition: Partition, request: str) -> Awaitable[None]:
        return self._runtime.io.call("answered", self._store.answered(partition, request))

    # -- leases ---------------------------------------------------------------------------------------------------

    def check_start(self) -> Awaitable[None]:
        return self._ask("check-start", self._store.check_start())

    def learn(self, partitions: Sequence[Partition]) -> Awaitable[bool]:
        return self._ask("learn", self._store.learn(partitions))

    async def leases(self) -> Sequence[Lease]:
        return [row for row in await self._ask("leases", self._store.leases()) if self._is_read(row.partition)]

    def create(self, leases: Sequence[Lease]) -> Awaitable[None]:
        return self._ask("create-leases", self._store.create(leases))

    def remove(self, leases: Sequence[Lease]) -> Awaitable[None]:
        return self._ask("remove-leases", self._store.remove(leases))

    def request_handover(self, lease: Lease, to: str) -> Awaitable[bool]:
        return self._ask("request-handover", self._store.request_handover(lease, to))

    async def settled(self) -> None:
        """What was begun in turn has been answered. To be waited for before a take, which itself is nothing that others wait for: a
        lease that we could neither renew nor save is not for us, and we would keep it from those who could."""
        if self._last is not None:
            await self._last

    async def take(self, leases: Sequence[Lease], owner: str) -> builtins.list[Held | Exception]:
        """One answer for each. What was given is held from here on."""
        began = self._runtime.monotonic()
        claims = await self._ask("take", self._store.take(leases, owner))
        if len(claims) != len(leases):
            raise StoreUnavailableError(f"the store answered for {len(claims)} of {len(leases)} leases")
        answers: builtins.list[Held | Exception] = []
        for lease, claim in zip(leases, claims, strict=True):
            if isinstance(claim, Exception):
                answers.append(claim)
                continue
            held = self.held[lease.partition] = Held(lease.partition, claim, claim.grant, began)
            answers.append(held)
        return answers

    def renew(self, since: float) -> Awaitable[None]:
        """Show that we live, for all that was last renewed before `since`, in one call."""
        return self._in_turn("renew", lambda: self._renew(since))

    async def _renew(self, since: float) -> None:
        due = [held for held in self.held.values() if held.renewed_at < since]
        began = self._runtime.monotonic()
        if due:
            answers = await self._ask("renew", self._store.renew([(held.partition, held.grant) for held in due]))
            for answer in self._told(due, answers, began):
                if isinstance(answer, Exception) and not isinstance(answer, FencedError):
                    raise answer  # of one lease, but it is no less to be reported, and tried again later rather than at once

    def name_children(self, held: Held, children: Sequence[str]) -> Awaitable[None]:
        """Raises FencedError, which is told to the ownership as well."""
        return self._in_turn("name-children", lambda: self._name_children(held, children))

    async def _name_children(self, held: Held, children: Sequence[str]) -> None:
        if not self._is_ours(held):
            raise _not_ours(held)
        began = self._runtime.monotonic()
        try:
            grant = await self._ask("name-children", self._store.name_children(held.partition, held.grant, children))
        except FencedError as error:
            self._fenced(held, error)
            raise
        self._told([held], [grant], began)

    def release(self, given: Sequence[Held]) -> Awaitable[Sequence[Exception | None]]:
        """Give back what was dropped. A save that was under way comes first."""
        return self._in_turn("release", lambda: self._release(given))

    async def _release(self, given: Sequence[Held]) -> Sequence[Exception | None]:
        return await self._ask("release", self._store.release([(held.partition, held.grant) for held in given]))

    def drop(self, held: Held) -> bool:
        """Not ours any more: nothing of it is renewed or saved. Whether it was."""
        if not self._is_ours(held):
            return False
        del self.held[held.partition]
        return True

    # -- inside ---------------------------------------------------------------------------------------------------

    async def _ask(self, name: str, call: Coroutine[object, object, T]) -> T:
        """Every call goes through here, so that one that is never answered is known."""
        asked = object()
        self._unanswered[asked] = (name, self._runtime.monotonic())
        answer = self._runtime.io.call(name, call)

        def is_answered() -> None:  # whoever waits for it may be cancelled, and the store still owes it
            del self._unanswered[asked]

        answer.on_done(is_answered)
        return await answer

    def _is_read(self, partition: Partition) -> bool:
        return names_stream(self._streams, partition.stream)

    def _in_turn(self, name: str, make: Callable[[], Coroutine[object, object, T]]) -> Promise[T]:
        """One after the other. A task of its own: whoever waits may be cancelled, but not what the store is doing."""
        before, mine = self._last, Promise[None]()
        self._last = mine

        async def body() -> T:
            try:
                if before is not None:
                    await before
                return await make()
            finally:
                mine.resolve(None)

        return self._runtime.control.call(name, body())

    def _told(self, helds: Sequence[Held], answers: Sequence[Grant | Exception], began: float) -> builtins.list[Grant | Exception]:
        """Note what the store has said to a write that was begun at `began`. What the checkpointer is told of each."""
        if len(answers) != len(helds):
            raise StoreUnavailableError(f"the store answered for {len(answers)} of {len(helds)} leases")
        said: builtins.list[Grant | Exception] = []
        for held, answer in zip(helds, answers, strict=True):
            said.append(answer if isinstance(answer, Exception) else Grant(held))
            if isinstance(answer, FencedError):
                self._fenced(held, answer)
            elif not isinstance(answer, Exception):
                held.grant = answer
                held.renewed_at = max(held.renewed_at, began)
                if self._is_ours(held):
                    self.on_renewed(held)
        return said

    def _fenced(self, held: Held, error: FencedError) -> None:
        if self.drop(held):
            self.on_fenced(held, error)

    def _is_ours(self, held: Held) -> bool:
        return self.held.get(held.partition) is held


def _not_ours(what: Checkpoint | Held) -> FencedError:
    return FencedError(f"the lease of {what.partition} is not ours any more")
