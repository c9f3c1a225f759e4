"""The worlds in which promises are tested.

`world`     any broker with a group; every test that takes it must hold on all of them. A test never sleeps: it waits for notes.
`threads`   the same, on real threads: for handlers that block.
`virtual`   the memory broker in virtual time, whose faults and clock a test may use.

A variant for a real broker makes a `World` of its own, overrides `world` and `threads` in its conftest.py, and imports the tests that
it wants to run. Where brokers have leases in a store, the tests are in `workers/`, and each broker's folder imports them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, cast

import pytest

from streamkit.builtin.memory import membership, reader
from tests.promise.world import MemoryWorld, World

pytest.register_assert_rewrite("tests.promise.workers")  # bodies of tests, in files that are not called like tests


@pytest.fixture(autouse=True)
def _rare_polls(monkeypatch: pytest.MonkeyPatch) -> None:
    """Minutes of virtual time are spent in polls that find nothing."""
    for module in (membership, reader):
        monkeypatch.setattr(module, "_IDLE_SECONDS", 0.05)


@pytest.fixture(params=["threads", "virtual"])
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    made = MemoryWorld(cast("Literal['threads', 'virtual']", request.param))
    yield made
    made.close()


@pytest.fixture
def threads() -> Iterator[World]:
    made = MemoryWorld("threads")
    yield made
    made.close()


@pytest.fixture
def virtual() -> Iterator[MemoryWorld]:
    made = MemoryWorld("virtual")
    yield made
    made.close()


@pytest.fixture
def beside() -> Iterator[MemoryWorld]:
    """Virtual time, with the checkpoints in a store beside the group."""
    made = MemoryWorld("virtual", own_store=True)
    yield made
    made.close()


@pytest.fixture
def lineage() -> Iterator[MemoryWorld]:
    """Virtual time and partitions that split and merge, all read by one worker (static ownership)."""
    made = MemoryWorld("virtual", shape="kinesis")
    yield made
    made.close()
