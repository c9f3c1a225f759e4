"""What a rule about stores works with: two stores over the same rows, as two owners have them, and short ways to write what they keep."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from types import TracebackType
from typing import Self, TypeVar, cast

from streamkit.model import Checkpoint, Partition, Position, StartPosition
from streamkit.plugin import Adapter, CheckpointStore, Grant, LeaseStore
from streamkit.testing.conformance.aside import Aside
from streamkit.testing.conformance.context import KitContext
from streamkit.testing.conformance.kit import StoreKit

__all__ = ["StoreBench", "after", "opened_store", "partition", "save"]

T = TypeVar("T")


class StoreBench:
    """One for each rule. Use it as an asynchronous context manager: `a` and `b` are open in it."""

    def __init__(self, kit: StoreKit) -> None:
        self.kit = kit
        self._aside = Aside("kit")
        self._stack = AsyncExitStack()
        self._a: CheckpointStore | None = None
        self._b: CheckpointStore | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        try:
            async with asyncio.timeout(self.kit.patience_seconds) as limit:
                await self._stack.aclose()
        except TimeoutError as late:
            assert not limit.expired(), f"what the rule had opened could not be closed within {self.kit.patience_seconds:g} s"
            raise late
        finally:
            self._aside.end()

    async def open(self) -> None:
        """Open `a` and `b`."""
        self._a = await self._stack.enter_async_context(self.opened(worker="a"))
        self._b = await self._stack.enter_async_context(self.opened(worker="b"))

    @property
    def a(self) -> CheckpointStore:
        assert self._a is not None, "opened by `open`"
        return self._a

    @property
    def b(self) -> CheckpointStore:
        assert self._b is not None, "opened by `open`"
        return self._b

    @property
    def leases(self) -> tuple[LeaseStore, LeaseStore]:
        """`a` and `b` of a store that declares leases."""
        assert isinstance(self.a, LeaseStore), f"{type(self.a).__name__} declares leases and is no LeaseStore"
        assert isinstance(self.b, LeaseStore)
        return self.a, self.b

    @asynccontextmanager
    async def opened(
        self, *, broker: str = "kit", group: str = "g", worker: str = "w", fast_seconds: float = 0.0
    ) -> AsyncIterator[CheckpointStore]:
        """A further store over what the kit has."""
        async with opened_store(self.kit, broker=broker, group=group, worker=worker, fast_seconds=fast_seconds) as store:
            yield store

    async def made(self) -> CheckpointStore:
        """A new store that nobody opens or closes but the rule."""
        return await self._aside.call(self.kit.store, self._context())

    async def unreachable(self) -> CheckpointStore:
        """The same, where nothing answers."""
        return await self._aside.call(self.kit.unreachable, self._context())

    def _context(self) -> KitContext:
        context = KitContext()
        self._stack.callback(context.end)
        return context

    async def beside(self, function: Callable[[], T]) -> T:
        """Call what blocks, away from the loop."""
        return await self._aside.call(function)


@asynccontextmanager
async def opened_store(
    kit: StoreKit, *, broker: str = "kit", group: str = "g", worker: str = "w", fast_seconds: float = 0.0
) -> AsyncIterator[CheckpointStore]:
    """A store of this kit, open inside the block. In any thread and any process."""
    context = KitContext(broker=broker, group=group, worker=worker, fast_seconds=fast_seconds)
    store = kit.store(context)
    assert isinstance(store, Adapter), f"{type(store).__name__} is no streamkit.plugin.Adapter: nobody would open it"
    try:
        await store.open()
        yield cast(CheckpointStore, store)
    finally:
        await store.close()
        context.end()


def partition(name: str = "0", *, stream: str = "orders", incarnation: str = "c/1") -> Partition:
    return Partition(stream, name, incarnation=incarnation)


def after(sequence: int, of: Partition | None = None, *, metadata: str = "") -> Checkpoint:
    """A checkpoint that says: done up to and including that record."""
    return Checkpoint(of or partition(), StartPosition.after(Position(sequence)), metadata=metadata, owner="w")


async def save(store: CheckpointStore, checkpoint: Checkpoint, grant: Grant) -> Grant | Exception:
    """The answer for one checkpoint."""
    answers = list(await store.save([(checkpoint, grant)]))
    assert len(answers) == 1, f"one checkpoint was saved, and there are {len(answers)} answers"
    return answers[0]
