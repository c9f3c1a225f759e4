"""Without keys: azure-identity's default chain, asked for real, with a managed identity on loopback and an emulator that checks tokens."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from azure.eventhub._pyamqp.aio._cbs_async import CBSAuthenticator
from streamkit_eventhubs import fast_link
from streamkit_eventhubs.errors import UnclearDenialError
from streamkit_eventhubs.producer import EventHubsProducer
from streamkit_sandbox.eventhubs.server import EventHubsServer

from plugins.eventhubs.tests.live import Live, Worker, on
from plugins.sandbox.tests.identity import ManagedIdentity, logged_in, no_identity
from streamkit.errors import AccessDeniedError, StreamkitError
from streamkit.model import Partition, StartPosition
from streamkit.plugin import NewRecord

pytestmark = pytest.mark.integration

RESOURCE = "https://eventhubs.azure.net/"
LIFE_SECONDS, WINDOW_SECONDS = 14, 9
"""The SDK wants a new token in the last tenth of a life. Of so short a one that is a second, in which a machine may stand still: here it is
this window instead."""


@pytest.fixture
def identity(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[ManagedIdentity]:
    with ManagedIdentity() as identity:
        logged_in(monkeypatch, identity, str(tmp_path))
        yield identity


@pytest.fixture
def server(identity: ManagedIdentity) -> Iterator[EventHubsServer]:
    """It lets in who shows one of the identity's tokens, until that ends, and nobody else."""
    with EventHubsServer({"orders": 2}, tls=True, bearer_tokens=identity.tokens) as server:
        yield server


def fields_of(server: EventHubsServer, **more: Any) -> dict[str, Any]:
    address = {"custom_endpoint": server.namespace, "ca_file": server.ca_file}
    return {"connection_string": None, "namespace": "shop.servicebus.windows.net", **address, **more}


async def said_to_who_asks(here: Live) -> StreamkitError:
    with pytest.raises(StreamkitError) as caught:
        await here.discover()
    return caught.value


async def said_to_who_writes(here: Live) -> StreamkitError:
    producer = EventHubsProducer(here.settings, here.context)
    await producer.open()
    try:
        with pytest.raises(StreamkitError) as caught:
            await producer.check("orders")
        return caught.value
    finally:
        await producer.close()


@pytest.mark.parametrize("why", ["expired", "of another one"])
def test_a_token_that_the_namespace_does_not_take_is_a_denial(identity: ManagedIdentity, server: EventHubsServer, why: str) -> None:
    async def test(here: Live) -> None:
        error = await (said_to_who_asks(here) if why == "expired" else said_to_who_writes(here))
        assert isinstance(error, AccessDeniedError)
        assert error.missing == ("Listen" if why == "expired" else "Send")
        assert "the identity of this machine" in error.fix
        assert not any(token in str(error) for token in identity.tokens)

    if why == "expired":
        identity.life_seconds = -5
    else:
        identity.tokens = set()  # not those that the emulator looks into
    on(server, "orders", test, **fields_of(server))


@asynccontextmanager
async def also_by_the_sdk(here: Live) -> AsyncIterator[Live]:
    """A second broker beside this one, which receives the other way."""
    other = Live(here.server, here.hub, **fields_of(here.server, receive="sdk"))
    await other.broker.open()
    try:
        yield other
    finally:
        await other.broker.close()


def test_an_identity_writes_and_reads_and_its_token_is_renewed_while_the_link_stays(
    identity: ManagedIdentity, server: EventHubsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fast_link, "_ATTEND_SECONDS", 0.2)  # the last tenth of an hour is longer than that of so short a life
    window = property(lambda self: WINDOW_SECONDS, lambda self, value: None)
    monkeypatch.setattr(CBSAuthenticator, "_refresh_window", window, raising=False)
    identity.life_seconds = LIFE_SECONDS

    async def stays(here: Live, partition: Partition) -> None:
        async with here.worker() as worker:
            until = time.monotonic() + LIFE_SECONDS + 2.0
            await worker.reader.add(partition, StartPosition.EARLIEST, epoch=1)
            await worker.until(lambda: worker.values == [b"written"])
            await worker.until(lambda: worker.failed or time.monotonic() >= until)
            assert worker.failed == []
            here.append([b"later"], partition.id)
            await worker.until(lambda: worker.values == [b"written", b"later"])

    async def test(here: Live) -> None:
        first, second = await here.discover()
        assert first.incarnation.startswith("shop.servicebus.windows.net/orders@")  # the endpoint is a way there, and no name
        producer = EventHubsProducer(here.settings, here.context)
        await producer.open()
        written = [NewRecord(b"written", partition="0"), NewRecord(b"written", partition="1")]
        assert await producer.send("orders", written) == [None, None]
        await producer.close()
        async with also_by_the_sdk(here) as other:
            await asyncio.gather(stays(here, first), stays(other, second))

    on(server, "orders", test, **fields_of(server))
    assert sorted(info.partition for info in server.admissions("orders")) == ["0", "1"]  # each was opened once
    assert set(identity.resources) == {RESOURCE}


def test_a_token_that_ends_on_an_open_link_is_a_failure_that_may_pass(identity: ManagedIdentity, server: EventHubsServer) -> None:
    async def goes_on(here: Live, partition: Partition) -> None:
        here.append([b"0"], partition.id)
        async with here.worker() as worker:
            await worker.reader.add(partition, StartPosition.EARLIEST, epoch=1)
            await worker.until(lambda: worker.values == [b"0"])
            await worker.until(lambda: worker.failed)
            error = worker.failed[0].error
            assert isinstance(error, UnclearDenialError)
            assert error.retryable
            assert "clock" in error.fix
            identity.life_seconds = 3600
            here.append([b"1"], partition.id)
            await worker.reader.add(partition, StartPosition.after(worker.last_of(partition)), epoch=1)
            await worker.until(lambda: worker.values == [b"0", b"1"])

    async def test(here: Live) -> None:
        first, second = await here.discover()
        async with also_by_the_sdk(here) as other:
            await asyncio.gather(goes_on(here, first), goes_on(other, second))

    identity.life_seconds = 9  # too short to be renewed in time: the last tenth of it is less than a second
    on(server, "orders", test, **fields_of(server))


async def first_failure(here: Live, worker: Worker) -> StreamkitError:
    await worker.reader.add(Partition("orders", "0", "x"), StartPosition.EARLIEST)
    await worker.until(lambda: worker.failed)
    return worker.failed[0].error


@pytest.mark.parametrize("how", ["none at all", "not this one"])
def test_without_an_identity_it_is_said_at_once_what_to_set(
    identity: ManagedIdentity, server: EventHubsServer, how: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    async def test(here: Live) -> None:
        began = time.monotonic()
        async with here.worker() as worker:
            for error in (await said_to_who_asks(here), await said_to_who_writes(here), await first_failure(here, worker)):
                assert isinstance(error, AccessDeniedError)
                assert not error.retryable
                assert error.missing == "a login"
                assert "STREAMKIT_EVENTHUBS__CONNECTION_STRING" in error.fix
                assert "AZURE_CLIENT_ID" in error.fix
                assert len(str(error)) < 800
        assert time.monotonic() - began < 25.0, "the first of the three would have waited for 30 s, if anything was waited for"

    identity.is_refusing = True
    if how == "none at all":
        no_identity(monkeypatch, str(tmp_path))
        monkeypatch.setenv("AZURE_TOKEN_CREDENTIALS", "dev")  # what is on this machine: the rest would ask a network
    on(server, "orders", test, **fields_of(server))


def test_an_identity_that_does_not_answer_is_waited_for_in_bounded_time(server: EventHubsServer, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(here: Live) -> None:
        began = time.monotonic()
        for error in (await said_to_who_asks(here), await said_to_who_writes(here)):
            assert isinstance(error, AccessDeniedError)
            assert error.retryable  # it may answer later
            assert "no answer within 1.2 s" in str(error)
        assert time.monotonic() - began < 15.0

    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("IDENTITY_ENDPOINT", f"http://127.0.0.1:{silent.getsockname()[1]}/msi/token")
        on(server, "orders", test, **fields_of(server, request_timeout=timedelta(seconds=6)))
