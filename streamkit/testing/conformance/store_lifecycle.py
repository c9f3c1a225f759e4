"""Rules about opening and closing a store, and about what it declares."""

from __future__ import annotations

from typing import Any, cast

import pytest

from streamkit.errors import StoreUnavailableError, UnsupportedError
from streamkit.plugin import Adapter, LeaseStore
from streamkit.testing.conformance.rule import Rule
from streamkit.testing.conformance.store_bench import StoreBench, after, partition, save

rule = Rule[StoreBench].of


@rule("S01", "a store that was never opened can be closed")
async def closes_unopened(bench: StoreBench) -> None:
    """If another adapter of the app fails first, this one is closed without having been opened."""
    store = await bench.made()
    await cast(Adapter[Any], store).close()


@rule("S02", "a store that cannot be reached says that it is unavailable, each time, and can be closed", kit=("unreachable",))
async def unavailable(bench: StoreBench) -> None:
    """The engine tries again, and says so. An empty answer instead would be taken for «no checkpoint», and records would be skipped. A
    store may connect with its first question only."""
    store = await bench.unreachable()
    adapter = cast(Adapter[Any], store)
    try:
        for _ in range(2):
            with pytest.raises(StoreUnavailableError) as caught:
                await adapter.open()
                await store.claim(partition(), "w", 0)
    finally:
        await adapter.close()
    assert str(caught.value)


@rule("S03", "a store that is closed leaves the others alone")
async def closed_alone(bench: StoreBench) -> None:
    """Two apps of one process may share what a store is made of: a file, a connection, a client."""
    claim = await bench.a.claim(partition(), "a", 0)
    async with bench.opened(worker="c") as store:
        await store.list()
    assert await save(bench.a, after(1), claim.grant) == claim.grant
    assert list(await bench.b.list()) == [after(1)]


@rule("S04", "`leases` is declared if, and only if, it is a LeaseStore")
async def declares_leases(bench: StoreBench) -> None:
    """Capabilities are compared with the settings before anything starts. One that is declared and missing fails later, in the middle;
    one that is there and not declared nobody can use."""
    assert bench.a.capabilities.leases == isinstance(bench.a, LeaseStore)
    if bench.a.capabilities.leases:
        assert bench.a.capabilities.fencing, "leases without fencing protect nobody"


@rule("S05", "`parked_bytes` is declared if, and only if, requests can be left")
async def declares_parking(bench: StoreBench) -> None:
    """As S04, for `ON_FAILURE=park`."""
    if bench.a.capabilities.parked_bytes:
        await bench.a.ask(partition(), "please")
        assert await bench.b.requests() == {partition(): "please"}
    else:
        with pytest.raises(UnsupportedError):
            await bench.a.ask(partition(), "please")


@rule("S06", "`fencing` is declared if, and only if, an older grant is refused")
async def declares_fencing(bench: StoreBench) -> None:
    """As S04: the contract says to users what protects them from an old owner."""
    old = await bench.a.claim(partition(), "a", 0)
    await bench.b.claim(partition(), "b", 0)
    refused = isinstance(await save(bench.a, after(1), old.grant), Exception)
    assert refused == bench.a.capabilities.fencing
