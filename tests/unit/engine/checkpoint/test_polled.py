"""A group's own store that hears of a save while it is polled: the reader is polled meanwhile, and every answer arrives."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from typing import Any, cast

import pytest

from streamkit.engine.checkpoint.calls import ReaderStoreCalls
from streamkit.engine.reading import Reading
from streamkit.engine.runtime import Promise
from streamkit.errors import StoreUnavailableError
from streamkit.model import Capabilities, Checkpoint, Partition, Position, StartPosition
from streamkit.plugin import BegunSave, Claim, Grant, PolledStore
from streamkit.testing.virtual import VirtualRuntime

ONE = (Checkpoint(Partition("stream", "0"), StartPosition.after(Position(7))), Grant(1))


class Turns:
    """A reading loop, as far as a store sees it: commands run one at a time, and each after a poll."""

    def __init__(self, runtime: VirtualRuntime) -> None:
        self.polls = 0
        self._runtime = runtime

    def call(self, make: Callable[[], Awaitable[Any]]) -> Promise[Any]:
        async def turn() -> Any:
            self.polls += 1
            await asyncio.sleep(0.01)
            return await make()

        return self._runtime.io.call("turn", turn())


class Late(PolledStore):
    """Knows the answers after so many polls."""

    capabilities = Capabilities()

    def __init__(self, turns: Turns, polls: int) -> None:
        self.looks = 0
        self.error: Exception | None = None
        self._turns = turns
        self._polls = polls

    async def begin_save(self, checkpoints: Sequence[tuple[Checkpoint, Grant]]) -> BegunSave:
        return BegunSave([grant for _, grant in checkpoints] if self._turns.polls >= self._polls else None)

    async def look(self, begun: BegunSave) -> None:
        self.looks += 1
        if self.error is not None:
            raise self.error
        if self._turns.polls >= self._polls:
            begun.answers = [ONE[1]]

    async def save(self, checkpoints: Sequence[tuple[Checkpoint, Grant]]) -> Sequence[Grant | Exception]:
        raise AssertionError("it would keep the reader from being polled")

    async def claim(self, partition: Partition, owner: str, epoch: int) -> Claim:
        raise NotImplementedError

    async def list(self) -> Sequence[Checkpoint]:
        raise NotImplementedError

    async def overwrite(self, checkpoint: Checkpoint) -> None:
        raise NotImplementedError

    async def delete(self, partitions: Sequence[Partition]) -> None:
        raise NotImplementedError

    async def ask(self, partition: Partition, request: str) -> None:
        raise NotImplementedError

    async def requests(self) -> Mapping[Partition, str]:
        raise NotImplementedError


@pytest.fixture
def runtime() -> Iterator[VirtualRuntime]:
    runtime = VirtualRuntime()
    yield runtime
    runtime.stop()


def saved(runtime: VirtualRuntime, store: Late, turns: Turns) -> Sequence[Grant | Exception]:
    return runtime.run(ReaderStoreCalls(store, cast(Reading, turns)).save([ONE]))


def test_it_is_looked_at_between_polls_until_the_answers_are_there(runtime: VirtualRuntime) -> None:
    turns = Turns(runtime)
    store = Late(turns, 5)
    assert saved(runtime, store, turns) == [ONE[1]]
    assert (turns.polls, store.looks) == (5, 4)


def test_answers_that_are_known_at_once_cost_no_second_turn(runtime: VirtualRuntime) -> None:
    turns = Turns(runtime)
    store = Late(turns, 1)
    assert saved(runtime, store, turns) == [ONE[1]]
    assert (turns.polls, store.looks) == (1, 0)


def test_what_a_look_raises_is_what_the_save_raises(runtime: VirtualRuntime) -> None:
    turns = Turns(runtime)
    store = Late(turns, 5)
    store.error = StoreUnavailableError("gone")
    with pytest.raises(StoreUnavailableError):
        saved(runtime, store, turns)
