"""Processors that do one thing in one hook: wait, raise, checkpoint, or note where they run."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

from streamkit.model import Batch
from streamkit.processing import Context, LostContext, Processor
from streamkit.testing import Harness
from streamkit.testing.recording import HOOKS

__all__ = ["Scripted", "all_hooks_on", "checkpointing", "raising", "slow_in"]


class Scripted(Processor):
    """Does nothing."""

    def process(self, batch: Batch, context: Context) -> None:
        return None


def raising(hook: str, times: int) -> type[Processor]:
    """Raises in that hook, so often."""
    left = [times]

    def body(self: Processor, *args: object) -> None:
        if left[0] > 0:
            left[0] -= 1
            raise ValueError("not now")

    return type("Raising", (Scripted,), {hook: body})


def slow_in(hook: str, seconds: float) -> tuple[list[float | None], type[Processor]]:
    """Takes so long in that hook, and notes `context.remaining` ten times meanwhile."""
    remaining: list[float | None] = []

    async def body(self: Processor, *args: object) -> None:
        context = args[-1] if args else None
        for _ in range(10):
            if isinstance(context, Context):
                remaining.append(context.remaining)
            await asyncio.sleep(seconds / 10)
        if isinstance(context, Context):
            remaining.append(context.remaining)

    return remaining, type("Slow", (Scripted,), {hook: body})


def checkpointing(hook: str, act: Callable[[Context], None], *, flush: bool = False, manual: bool = False) -> type[Processor]:
    """Calls `act` with the context in that hook."""

    def body(self: Processor, *args: object) -> None:
        context = args[-1]
        assert isinstance(context, Context)
        act(context)

    def nothing(self: Processor, context: Context) -> None:
        return None

    members: dict[str, object] = {"checkpoint": "manual"} if manual else {}
    if flush:
        members["flush"] = nothing
    return type("Checkpointing", (Scripted,), {**members, hook: body})


def all_hooks_on(hook: str) -> None:
    """That hook runs where the page says: `def` with all others in one thread; `async def` in the loop; `def` beside it in one thread."""
    for coroutines in ((), HOOKS, tuple(name for name in HOOKS if name != hook)):
        where: dict[str, set[int]] = {name: set() for name in HOOKS}
        noting = type("Noting", (Scripted,), {name: _noting(name, where, name in coroutines) for name in HOOKS})
        with Harness(noting, checkpoint_interval="1s") as h:
            h.deliver(b"a")
            h.revoke()
            lone = {name: set(places) for name, places in where.items()}
            h.deliver(b"b")
            h.lose()
            h.deliver(b"c")
            h.end()
        loop = threading.get_ident()
        assert where[hook], f"{hook} was never called"
        if hook in coroutines:
            assert where[hook] == {loop}
        else:
            assert loop not in where[hook]
            others = {place for name, places in lone.items() if name not in coroutines for place in places}
            assert len(others) <= 1  # one thread for the `def` hooks of one assignment


def _noting(name: str, where: dict[str, set[int]], is_coroutine: bool) -> Callable[..., object]:
    def body(self: Processor, *args: Batch | Context | LostContext) -> None:
        where[name].add(threading.get_ident())

    async def coroutine(self: Processor, *args: Batch | Context | LostContext) -> None:
        where[name].add(threading.get_ident())

    return coroutine if is_coroutine else body
