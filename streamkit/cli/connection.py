"""What the commands that look from outside share: settings as the command line reads them, and adapters without membership.

Nothing here joins a group or claims a partition.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol, TypeVar, cast, runtime_checkable

from streamkit.assembly.loader import Loaded
from streamkit.assembly.ownership import ownership_of
from streamkit.assembly.parts import load_settings, open_broker, open_store
from streamkit.assembly.registry import Registry
from streamkit.cli.output import DOTENV, remark
from streamkit.cli.reading import read_records
from streamkit.engine.adapter_context import EngineContext
from streamkit.engine.runtime import ThreadRuntime
from streamkit.model import Checkpoint, Lease, Partition, Position, Record, StartPosition
from streamkit.plugin import Adapter, Broker, CheckpointStore, LeaseStore

__all__ = ["Connection", "connect", "load_for_command"]

T = TypeVar("T")

CLOSE_SECONDS = 5.0


@runtime_checkable
class _CountsMembers(Protocol):
    """A group's own store that can say how many members the group has."""

    async def members(self) -> int: ...


def load_for_command(registry: Registry, config: Path | None, overrides: Mapping[str, object] = MappingProxyType({})) -> Loaded:
    """The settings as every command reads them: the process's environment, .env of the current folder, `--config`."""
    loaded = load_settings(registry, overrides=overrides, dotenv=DOTENV, config=config)
    for warning in loaded.warnings:
        remark(f"warning: {warning}")
    return loaded


class Connection:
    """A broker and a store that are open. Every method blocks until the answer is there, and raises what the adapter does."""

    def __init__(
        self, loaded: Loaded, ownership: str, runtime: ThreadRuntime, broker: Broker[Any], store: CheckpointStore, counter: object
    ) -> None:
        self.settings = loaded.settings
        self.capabilities = broker.capabilities
        self.ownership = ownership
        self._runtime = runtime
        self._broker = broker
        self._store = store
        self._counter = counter

    def _call(self, name: str, coroutine: Coroutine[object, object, T]) -> T:
        return self._runtime.io.call(name, coroutine).result()

    def partitions(self) -> Sequence[Partition]:
        """Those of STREAMKIT_STREAM, as discovery finds them."""
        return self._call("discover", self._broker.discover(self.settings.stream, self.settings.start))

    def tips(self, partitions: Sequence[Partition]) -> Sequence[Position | None]:
        """The newest position of each; None where there is no record."""
        return self._call("tips", self._broker.tips(partitions))

    def resolve(self, partition: Partition, start: StartPosition) -> StartPosition:
        """What `start` means in this partition, now and tomorrow."""
        return self._call("resolve", self._broker.resolve(partition, start))

    def checkpoints(self) -> Sequence[Checkpoint]:
        """All of this broker and group, whatever their stream."""
        return self._call("list", self._store.list())

    def leases(self) -> Sequence[Lease] | None:
        """Who reads what, where leases say it; None under another ownership."""
        if self.ownership != "lease" or not isinstance(self._store, LeaseStore):
            return None
        return self._call("leases", self._store.leases())

    def overwrite(self, checkpoint: Checkpoint) -> None:
        """Put a checkpoint there, and raise the epoch."""
        self._call("overwrite", self._store.overwrite(checkpoint))

    def ask(self, partition: Partition, request: str) -> None:
        """Leave a request for whoever owns the partition."""
        self._call("ask", self._store.ask(partition, request))

    def requests(self) -> Mapping[Partition, str]:
        """Those that are not answered yet."""
        return self._call("requests", self._store.requests())

    def own(self, partition: Partition, change: Callable[[Checkpoint], Checkpoint]) -> None:
        """Change a checkpoint that nobody owns, as its owner for a moment. Raises FencedError if somebody has come meanwhile."""
        claim = self._call("claim", self._store.claim(partition, "dead-letters", 0))
        if claim.checkpoint is None:
            return
        changed = replace(change(claim.checkpoint), epoch=claim.epoch)
        (answer,) = self._call("save", self._store.save([(changed, claim.grant)]))
        if isinstance(answer, Exception):
            raise answer
        if isinstance(self._store, LeaseStore):
            self._call("release", self._store.release([(partition, answer)]))

    def read(self, starts: Mapping[Partition, StartPosition], see: Callable[[Record], bool]) -> None:
        """Show `see` each record from there on, until it answers False or everything that is there has been read."""
        reader = self._broker.reader()
        carrier = self._runtime.thread("reading") if reader.blocking else self._runtime.io
        carrier.call("read", read_records(reader, carrier.signal(), starts, see)).result()

    def members(self) -> int | None:
        """How many live members the group has; None where nobody can tell."""
        if self.ownership != "group" or not isinstance(self._counter, _CountsMembers):
            return None
        return self._call("members", self._counter.members())


@contextmanager
def connect(config: Path | None, overrides: Mapping[str, object] = MappingProxyType({})) -> Iterator[Connection]:
    """Open what the settings name, and close it whatever happens."""
    registry = Registry()
    loaded = load_for_command(registry, config, overrides)
    runtime = ThreadRuntime()
    with ExitStack() as stack:
        stack.enter_context(_quiet_logs())
        stack.callback(runtime.stop)
        worker = loaded.settings.worker
        broker, context = open_broker(loaded, registry, runtime, worker)
        _open(stack, runtime, broker, context)
        store, context = open_store(loaded, registry, runtime, worker)
        _open(stack, runtime, cast("Adapter[Any]", store), context)
        counter: object = store  # only the broker's own store knows the broker's groups
        if loaded.settings.store not in (None, loaded.settings.broker) and registry.select(loaded.settings.broker).store is not None:
            counter, context = open_store(loaded, registry, runtime, worker, of_broker=True)
            _open(stack, runtime, cast("Adapter[Any]", counter), context)
        yield Connection(loaded, ownership_of(loaded.settings, registry, broker), runtime, broker, store, counter)


@contextmanager
def _quiet_logs() -> Iterator[None]:
    """What SDKs log while they connect is said better by the error that follows. Without a handler it would go to stderr."""
    handler = logging.NullHandler()
    logging.getLogger().addHandler(handler)
    try:
        yield
    finally:
        logging.getLogger().removeHandler(handler)


def _open(stack: ExitStack, runtime: ThreadRuntime, adapter: Adapter[Any], context: EngineContext) -> None:
    """`close` follows also after a failed `open`; how closing fails is of no interest any more."""

    def close() -> None:
        with suppress(Exception):
            runtime.io.call("close", adapter.close()).result(CLOSE_SECONDS)
        context.stop()

    stack.callback(close)
    runtime.io.call("open", adapter.open()).result()
