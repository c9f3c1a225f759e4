"""Who deals out the partitions of an app, and how that lets its store be called. Put together once, by the supervisor."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from streamkit.engine.checkpoint.calls import IoStoreCalls, MirroredStoreCalls, ReaderStoreCalls
from streamkit.engine.checkpoint.checkpointer import StoreCalls
from streamkit.engine.discovery import Discovery
from streamkit.engine.ownership.group import GroupOwnership
from streamkit.engine.ownership.protocol import Owner, Ownership
from streamkit.engine.ownership.static import StaticOwnership
from streamkit.engine.parts import Parts
from streamkit.engine.reading import Reading
from streamkit.engine.runtime import Runtime
from streamkit.plugin import CheckpointStore, LeaseStore

__all__ = ["Dealing"]


@dataclass(frozen=True, slots=True)
class Dealing:
    """What it takes."""

    parts: Parts
    runtime: Runtime
    owner: Owner
    discovery: Discovery
    reading: Reading
    on_task_ended: Callable[[BaseException | None], None]

    def begin(self, store: CheckpointStore, own: CheckpointStore | None) -> tuple[Ownership, StoreCalls]:
        """`store` is what counts, `own` the group's own: the same one, or a copy."""
        settings = self.parts.settings
        if self.parts.ownership == "lease":
            assert isinstance(store, LeaseStore)
            return self._by_leases(store)
        calls = self._calls(store, own)
        if self.parts.ownership == "static":
            return StaticOwnership(self.owner, settings.partitions), calls
        spawn = self.runtime.control.spawn
        return GroupOwnership(self.owner, lambda name, work: spawn(name, work, self.on_task_ended)), calls

    def _by_leases(self, store: LeaseStore) -> tuple[Ownership, StoreCalls]:
        # Imported late: members of a group and static workers start without it.
        from streamkit.engine.checkpoint.leased_calls import LeasedStoreCalls
        from streamkit.engine.ownership.lease import LeaseOwnership, Surroundings, limits_of
        from streamkit.engine.ownership.roster import Streams

        parts, settings = self.parts, self.parts.settings
        calls = LeasedStoreCalls(store, self.runtime, settings.stream)
        around = Surroundings(
            self.runtime,
            parts.worker_name,
            limits_of(settings),
            Streams(settings.start, self.discovery.find, self.discovery.resolve),
            parts.observer.on_problem,
            self.on_task_ended,
        )
        return LeaseOwnership(self.owner, calls, around), calls

    def _calls(self, store: CheckpointStore, own: CheckpointStore | None) -> StoreCalls:
        parts, settings = self.parts, self.parts.settings
        if parts.store is None:
            return ReaderStoreCalls(store, self.reading)
        external = IoStoreCalls(store, self.runtime.io)
        if own is None:
            return external
        mirror = ReaderStoreCalls(own, self.reading)
        return MirroredStoreCalls(external, mirror, settings.store or settings.broker, self.runtime.control, parts.observer.on_problem)
