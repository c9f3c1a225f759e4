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
from streamkit.assembly.parts import load_settings, open_broker, open_exchange, open_store
from streamkit.assembly.registry import Registry
from streamkit.cli.output import DOTENV, remark
from streamkit.cli.reading import read_records
from streamkit.engine.adapter_context import EngineContext
from streamkit.engine.runtime import ThreadRuntime
from streamkit.errors import FencedError
from streamkit.model import Checkpoint, Lease, Partition, Position, Record, StartPosition
from streamkit.plugin import Adapter, Broker, CheckpointStore, Exchange, Exported, Foreign, Grant, LeaseStore

__all__ = ["Connection", "connect", "load_for_command"]

T = TypeVar("T")

CLOSE_SECONDS = 5.0


@runtime_checkable
class _CountsMembers(Protocol):
    """A group's own store that can say how many members the group has."""

    async def members(self) -> int: ...


def load_for_command(
    registry: Registry, config: Path | None, overrides: Mapping[str, object] = MappingProxyType({}), also: Sequence[str] = ()
) -> Loaded:
    """The settings as every command reads them: the process's environment, .env of the current folder, `--config`."""
    loaded = load_settings(registry, overrides=overrides, dotenv=DOTENV, config=config, also=also)
    for warning in loaded.warnings:
        remark(f"warning: {warning}")
    return loaded


class Connection:
    """A broker and a store that are open. Every method blocks until the answer is there, and raises what the adapter does."""

    def __init__(
        self,
        loaded: Loaded,
        ownership: str,
        runtime: ThreadRuntime,
        broker: Broker[Any],
        store: CheckpointStore,
        counter: object,
        exchange: tuple[str, Exchange[Any]] | None = None,
    ) -> None:
        self.settings = loaded.settings
        self.capabilities = broker.capabilities
        self.ownership = ownership
        self._runtime = runtime
        self._broker = broker
        self._store = store
        self._counter = counter
        self._exchange = exchange

    def _call(self, name: str, coroutine: Coroutine[object, object, T]) -> T:
        return self._runtime.io.call(name, coroutine).result()

    @property
    def exchange(self) -> Exchange[Any]:
        """What knows another program's checkpoints, if `connect` was told which one."""
        assert self._exchange is not None
        return self._exchange[1]

    def is_store(self, found: Foreign) -> bool:
        """Whether these rows are what this group's own store keeps."""
        assert self._exchange is not None
        return found.is_store and self.settings.store == self._exchange[0]

    def partitions(self, start: StartPosition | None = None) -> Sequence[Partition]:
        """Those of STREAMKIT_STREAM, as discovery finds them for `start`; None: for STREAMKIT_START."""
        return self._call("discover", self._broker.discover(self.settings.stream, start or self.settings.start))

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

    def create(self, leases: Sequence[Lease]) -> bool:
        """Add leases that nobody owns, if the store keeps any; those that exist stay as they are. False if it keeps none."""
        if not isinstance(self._store, LeaseStore):
            return False
        self._call("create", self._store.create(leases))
        return True

    def has_table(self, table: str) -> bool:
        """Whether the other program has a table of that name."""
        return self._call("exists", self.exchange.exists(table))

    def foreign(self, table: str, partitions: Sequence[Partition]) -> Foreign:
        """What another program has stored."""
        return self._call("read", self.exchange.read(table, partitions, self.settings.start))

    def give(self, table: str, leases: Sequence[Lease]) -> Exported:
        """Put rows into another program's table."""
        return self._call("write", self.exchange.write(table, leases))

    def ask(self, partition: Partition, request: str) -> None:
        """Leave a request for whoever owns the partition."""
        self._call("ask", self._store.ask(partition, request))

    def requests(self) -> Mapping[Partition, str]:
        """Those that are not answered yet."""
        return self._call("requests", self._store.requests())

    def own(self, partitions: Sequence[Partition], change: Callable[[Sequence[Checkpoint]], Sequence[Checkpoint]]) -> Sequence[Partition]:
        """Change checkpoints that nobody owns, as their owner for a moment; `change` is called once they are ours, and answers for each.
        Those of which somebody else has become the owner meanwhile are returned, and are as they were."""
        claims = {partition: self._call("claim", self._store.claim(partition, "dead-letters", 0)) for partition in partitions}
        held = {partition: claim.grant for partition, claim in claims.items()}
        try:
            owned = [replace(claim.checkpoint, epoch=claim.epoch) for claim in claims.values() if claim.checkpoint is not None]
            changed = change(owned)
            answers = self._call("save", self._store.save([(one, held[one.partition]) for one in changed]))
            return self._fenced(held, [one.partition for one in changed], answers)
        finally:
            if isinstance(self._store, LeaseStore):
                self._call("release", self._store.release(list(held.items())))

    def _fenced(self, held: dict[Partition, Grant], saved: Sequence[Partition], answers: Sequence[Grant | Exception]) -> list[Partition]:
        """Which of these were refused; with the grants of the others `held` goes on. Raises what else was answered."""
        fenced = []
        for partition, answer in zip(saved, answers, strict=True):
            if isinstance(answer, FencedError):
                fenced.append(partition)
                del held[partition]
            elif isinstance(answer, Exception):
                raise answer
            else:
                held[partition] = answer
        return fenced

    def read(self, starts: Mapping[Partition, StartPosition], see: Callable[[Record], bool]) -> None:
        """Show `see` each record from there on, until it answers False or everything that is there has been read."""
        reader = self._broker.reader()
        carrier = self._runtime.thread("reading") if reader.blocking else self._runtime.io
        carrier.call("read", read_records(reader, carrier.signal(), self._runtime.monotonic, starts, see)).result()

    def members(self) -> int | None:
        """How many live members the group has; None where nobody can tell."""
        if self.ownership != "group" or not isinstance(self._counter, _CountsMembers):
            return None
        return self._call("members", self._counter.members())


@contextmanager
def connect(
    config: Path | None, overrides: Mapping[str, object] = MappingProxyType({}), exchange: str | None = None
) -> Iterator[Connection]:
    """Open what the settings name, and close it whatever happens; `exchange`: and what knows the checkpoints of that program."""
    registry = Registry()
    plugin, factory = registry.exchange(exchange) if exchange is not None else (None, "")
    loaded = load_for_command(registry, config, overrides, also=(plugin.name,) if plugin is not None else ())
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
        foreign: tuple[str, Exchange[Any]] | None = None
        if plugin is not None:
            made, context = open_exchange(loaded, registry, runtime, worker, plugin.name, factory)
            _open(stack, runtime, made, context)
            foreign = (plugin.name, made)
        yield Connection(loaded, ownership_of(loaded.settings, registry, broker), runtime, broker, store, counter, foreign)


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
