"""A store with the state that a frozen worker has in memory: its grants, and the ETags that it has last seen.

The frozen worker itself is stopped by its own clock before it asks the store; its twin asks.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from streamkit_azureblob.settings import AzureBlobSettings
from streamkit_azureblob.store import AzureBlobStore

from streamkit.engine.adapter_context import EngineContext
from streamkit.engine.runtime import ThreadRuntime
from streamkit.model import Checkpoint, Lease, Position, StartPosition
from streamkit.plugin import Grant

__all__ = ["Twin"]

FAR_AHEAD = 1 << 40
"""A sequence number after all that are ever written here: the rule that checkpoints move forward has nothing against it."""


class Twin:
    """Of the worker that holds these partitions now. Blocks until each answer is there; `close` it."""

    def __init__(self, told: Mapping[str, str], group: str, stream: str, partitions: Collection[str]) -> None:
        """`told`: the environment variables of Blob Storage that the worker has."""
        prefix = "STREAMKIT_AZUREBLOB__"
        settings = {name.removeprefix(prefix).lower(): value for name, value in told.items() if name.startswith(prefix)}
        self._runtime = ThreadRuntime()
        self._context = EngineContext(self._runtime, "azureblob", broker="eventhubs", group=group, worker="twin", streams=[stream])
        self._store = AzureBlobStore(AzureBlobSettings.model_validate(settings), self._context)
        self._runtime.io.call("open", self._store.open()).result(60)
        leases: Sequence[Lease] = self._runtime.io.call("leases", self._store.leases()).result(60)
        self.leases = {lease.partition.id: lease for lease in leases if lease.partition.id in partitions}
        """As they were when it was made."""
        held = [(lease.partition, Grant(lease.epoch)) for lease in self.leases.values()]
        answers: Sequence[Grant | Exception] = self._runtime.io.call("renew", self._store.renew(held)).result(60)
        assert not [answer for answer in answers if isinstance(answer, Exception)], answers

    def save(self) -> list[Grant | Exception]:
        """Tries to checkpoint each of its partitions far ahead; one answer for each."""
        place = StartPosition.after(Position(FAR_AHEAD))
        changes = [(Checkpoint(lease.partition, place, owner=lease.owner), Grant(lease.epoch)) for lease in self.leases.values()]
        answers: Sequence[Grant | Exception] = self._runtime.io.call("save", self._store.save(changes)).result(60)
        return list(answers)

    def close(self) -> None:
        self._runtime.io.call("close", self._store.close()).result(60)
        self._context.stop()
        self._runtime.stop()
