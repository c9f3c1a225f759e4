"""What a checkpoint store must do. Implemented by plugins; called by the engine's checkpointer and nobody else.

A store keeps, for each partition of a group, the newest checkpoint and the epoch of the owner that may move it. Which group
of which broker is in the `AdapterContext`. Everything here is `async` and runs on the engine's I/O loop without blocking it,
except for the store of a `Membership`, which runs on the reader's thread.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NewType

from streamkit.errors import UnsupportedError
from streamkit.model import Capabilities, Checkpoint, Lease, Partition

__all__ = ["BegunSave", "CheckpointStore", "Claim", "Grant", "LeaseStore", "PolledStore"]

Grant = NewType("Grant", object)
"""The store's own proof of ownership (an epoch, a counter, an ETag). Opaque: kept by the engine, shown to the store."""


@dataclass(frozen=True, slots=True)
class Claim:
    """What `CheckpointStore.claim` found and gave."""

    checkpoint: Checkpoint | None
    """Where to go on, or None if the store *knows* that there is none."""
    grant: Grant
    epoch: int
    """The epoch that this claim has raised the partition to; 0 where the store has none."""
    fruitless: int = 0
    """How many owners before this one ended without progress and without giving back (a release, or a save of a checkpoint without an
    owner); stores that do not count say 0. Who claims again what is its own, because an answer was lost, is not counted twice."""


class CheckpointStore(ABC):
    """Keeps checkpoints so that only the newest owner can move them."""

    capabilities: Capabilities

    @abstractmethod
    async def claim(self, partition: Partition, owner: str, epoch: int) -> Claim:
        """Make `owner` the only one who can save for `partition`, and read where to go on, in one atomic step. `owner` is one process:
        `STREAMKIT_WORKER`, `#` and eight hexadecimal digits.

        When: once per assignment, before the first record is read; again after a `FencedError` while still assigned.
        Where: as the module says; may run beside claims and saves of other partitions, and beside a save with an older grant of its
            own, which is either read here or refused.
        Raises: `StoreUnavailableError` if the answer is in doubt (an empty or cut answer is in doubt, never «no
            checkpoint»); `StoreThrottledError`, `StoreNotReadyError`; `FencedError` if it was taken back meanwhile.
        Afterwards: the stored epoch is at least `epoch`, and larger than before; a save with an older grant is refused for ever.
        """

    @abstractmethod
    async def save(self, checkpoints: Sequence[tuple[Checkpoint, Grant]]) -> Sequence[Grant | Exception]:
        """Move checkpoints forward; one answer for each, in the same order.

        When: every checkpoint interval, and before revoke, end and stop.
        Where: as the module says; never twice at once for one partition.
        Raises: nothing for a single checkpoint (its answer is the error: `FencedError`, `CheckpointPositionError`,
            `StoreNotReadyError`); `StoreUnavailableError` or `StoreThrottledError` when none was written.
        Afterwards: what was granted survives the death of this process and, by `capabilities.scope`, of this host.
        """

    @abstractmethod
    async def list(self) -> Sequence[Checkpoint]:
        """Every checkpoint of this broker and group.

        When: for people (`streamkit checkpoints`), and once when a partition without a checkpoint is claimed.
        Where: as the module says.
        Raises: `StoreUnavailableError` if the answer is in doubt.
        Afterwards: nothing has changed. A row that cannot be read raises, and names itself.
        """

    @abstractmethod
    async def overwrite(self, checkpoint: Checkpoint) -> None:
        """Put a checkpoint wherever an operator wants it, backwards too, and raise the epoch.

        When: by `streamkit checkpoints set` alone.
        Where: as the module says.
        Raises: `StoreUnavailableError`.
        Afterwards: every grant given before is refused.
        """

    @abstractmethod
    async def delete(self, partitions: Sequence[Partition]) -> None:
        """Forget these.

        When: by an operator alone.
        Where: as the module says.
        Raises: `StoreUnavailableError`.
        Afterwards: `claim` finds proof of absence.
        """

    async def ask(self, partition: Partition, request: str) -> None:
        """Leave a request for the owner of a partition, where it is found by whoever owns it, now or later.

        When: by `streamkit dead-letters replay`, for a partition with parked keys. Only stores with `capabilities.parked_bytes`.
        Where: as the module says.
        Raises: `StoreUnavailableError`.
        Afterwards: `requests` shows it, in place of an earlier one of the same partition. Neither epoch nor checkpoint has changed.
        """
        raise _no_requests()

    async def requests(self) -> Mapping[Partition, str]:
        """Every request of this broker and group that is not answered yet.

        When: every checkpoint interval, and before the first record of a partition with parked keys is read.
        Where: as the module says.
        Raises: `StoreUnavailableError` if the answer is in doubt.
        Afterwards: nothing has changed.
        """
        raise _no_requests()

    async def answered(self, partition: Partition, request: str) -> None:
        """Forget a request, unless a newer one has taken its place.

        When: what was asked for has been done, and is in the store, or has been refused; may be repeated.
        Where: as the module says.
        Raises: `StoreUnavailableError`.
        Afterwards: `requests` does not show it.
        """
        raise _no_requests()


def _no_requests() -> UnsupportedError:
    return UnsupportedError("this store keeps no requests", setting="STREAMKIT_STORE", fix="use another one, such as sqlite")


class BegunSave:
    """A save that is under way."""

    def __init__(self, answers: Sequence[Grant | Exception] | None = None) -> None:
        self.answers = answers
        """What `CheckpointStore.save` would return; None: nobody knows yet."""


class PolledStore(CheckpointStore):
    """The store of a `Membership` whose client hears what became of a save while it is polled. `save` waits; with these two the reader
    is polled meanwhile, so that a save costs a busy reader no time."""

    @abstractmethod
    async def begin_save(self, checkpoints: Sequence[tuple[Checkpoint, Grant]]) -> BegunSave:
        """The same as `save`, but it need not know the answers yet.

        When: as `save`.
        Where: on the reader's thread, between two polls or inside a revoke callback: there it must wait, and where polls bring nothing
            it had better.
        Raises: what `save` does.
        """

    @abstractmethod
    async def look(self, begun: BegunSave) -> None:
        """Fill in the answers if they are known; in bounded time they are.

        When: again and again until they are, with polls in between, except inside a revoke callback.
        Where: as `begin_save`.
        Raises: what `save` does.
        """


class LeaseStore(CheckpointStore, ABC):
    """A checkpoint store that also says who reads what. Every write of a lease compares and sets: of two, one is refused.

    The row of a lease and the row of its checkpoint are the same, and a grant given by `take` is one for `save` as well. All
    methods run on the engine's I/O loop. Renewals, saves and releases of one lease never run beside each other.
    """

    async def check_start(self) -> None:
        """Refuse to begin beside another program that takes what it wants and can be asked for nothing. Most stores know none.

        When: once by each worker, before it looks at leases for the first time; again after an error that is worth another try.
        Where: on the engine's I/O loop.
        Raises: `ConfigurationError`, which names that program and ends the worker; `StoreUnavailableError`, `StoreThrottledError`.
        Afterwards: nothing has changed.
        """

    async def learn(self, partitions: Sequence[Partition]) -> bool:
        """Be told what the broker lists, with incarnations, of which another program's row may say nothing. Most stores need not know.

        When: each time the partitions were listed; before any of their leases is created or taken.
        Where: on the engine's I/O loop; must not ask the store.
        Raises: nothing.
        Afterwards: answers whether `leases` may have shown rows that are no rows of these, or not all: then it is asked again first.
        """
        return False

    @abstractmethod
    async def leases(self) -> Sequence[Lease]:
        """Every lease of this broker and group, read consistently.

        When: at every poll of lease ownership, by every worker.
        Where: on the engine's I/O loop.
        Raises: `StoreUnavailableError` if the answer is in doubt: a cut listing would look like free or missing partitions.
        Afterwards: nothing has changed.
        """

    @abstractmethod
    async def create(self, leases: Sequence[Lease]) -> None:
        """Add free leases, with the checkpoint that they carry or none; those that exist stay as they are.

        When: at the group's first start, when partitions are found, and before a parent is saved as ended.
        Where: on the engine's I/O loop.
        Raises: `StoreUnavailableError`, `StoreThrottledError`; some may exist then, and it is called again.
        Afterwards: each exists.
        """

    @abstractmethod
    async def take(self, leases: Sequence[Lease], owner: str) -> Sequence[Claim | Exception]:
        """Become the owner of these, if nothing of them has changed since they were listed; one answer for each.

        When: a lease is free, has expired, is handed over, or is taken by force.
        Where: on the engine's I/O loop.
        Raises: nothing for a single lease (its answer is the error: `FencedError`, or a `ConfigurationError` as `claim` raises
            it); `StoreUnavailableError`, `StoreThrottledError` when it is in doubt: then some may be ours, which the next
            `leases` shows.
        Afterwards: as after `claim`, and `handover_to` is empty. Compared: version, owner and epoch.
        """

    @abstractmethod
    async def renew(self, held: Sequence[tuple[Partition, Grant]]) -> Sequence[Grant | Exception]:
        """Show that the owner lives; one answer for each, the grant to go on with, or `FencedError`.

        When: several times in each lease duration.
        Where: on the engine's I/O loop; never beside a save of the same lease.
        Raises: `StoreUnavailableError`, `StoreThrottledError` when it is in doubt; the same grant is shown again then, and a
            renewal whose answer was lost is recognised as one's own.
        Afterwards: the version has risen.
        """

    @abstractmethod
    async def request_handover(self, lease: Lease, to: str) -> bool:
        """Ask the owner for it; `to` empty: the owner refuses the request. Answers whether it is noted.

        When: another worker has more than its share; the owner refuses what would not even things out.
        Where: on the engine's I/O loop.
        Raises: `StoreUnavailableError`, `StoreThrottledError`.
        Afterwards: `handover_to` is `to`, if owner, epoch and `handover_to` were still those listed. The version is the same.
        """

    @abstractmethod
    async def release(self, held: Sequence[tuple[Partition, Grant]]) -> Sequence[Exception | None]:
        """Give back; one answer for each: None, or `FencedError` if it is no longer ours, which is as good.

        When: after the last hook of an assignment: shutdown, hand-over, end, or giving up.
        Where: on the engine's I/O loop.
        Raises: `StoreUnavailableError`, `StoreThrottledError`; the lease expires by itself then.
        Afterwards: free; every grant of it is refused; `handover_to` stays, and says for whom it is kept.
        """

    @abstractmethod
    async def name_children(self, partition: Partition, grant: Grant, children: Sequence[str]) -> Grant:
        """Write the ids of the partitions that go on where this one ended, into its own row; answers the grant to go on with.

        When: after their leases were created, before END is saved.
        Where: on the engine's I/O loop; never beside a save of the same lease.
        Raises: `FencedError`; `StoreUnavailableError`, `StoreThrottledError`: called again with the same grant, as after `renew`.
        Afterwards: `leases` shows them, and the version has risen.
        """

    @abstractmethod
    async def remove(self, leases: Sequence[Lease]) -> None:
        """Forget ended leases whose children have taken over; those that have changed since they were listed stay.

        When: all children of an ended lease exist, and its own parents are gone.
        Where: on the engine's I/O loop.
        Raises: `StoreUnavailableError`, `StoreThrottledError`.
        Afterwards: the rows are gone, epochs included: a partition's id is never used again.
        """
