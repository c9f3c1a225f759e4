"""Answers and requests that are lost, late or refused: a write is never taken for another's, nor another's for one's own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import pytest
from azure.storage.blob import ContainerSasPermissions, generate_container_sas
from azure.storage.blob.aio import ContainerClient
from streamkit_azureblob.mirror import REFRESH_SECONDS
from streamkit_azureblob.store import AzureBlobStore
from streamkit_sandbox.azurite import AzuriteServer
from streamkit_sandbox.fault_proxy import Fault, FaultProxy, Kind

from plugins.azureblob.tests.lossy import Lossy, after, context_of, hub, in_loop, opened
from streamkit.errors import (
    AccessDeniedError,
    CheckpointError,
    ConfigurationError,
    FencedError,
    StoreUnavailableError,
)
from streamkit.model import Checkpoint, Lease, Position
from streamkit.plugin import Claim
from tests.conformance.context import PlainContext

pytestmark = pytest.mark.integration

ROW, OWNERSHIP = "/checkpoint/", "/ownership/"


def puts(part: str, times: int = 100) -> Callable[[str, str], bool]:
    """The next so many writes of such a blob."""
    left = [times]

    def met(method: str, url: str) -> bool:
        if method != "PUT" or part not in url or not left[0]:
            return False
        left[0] -= 1
        return True

    return met


@asynccontextmanager
async def two(server: AzuriteServer, container: str, retries: int) -> AsyncIterator[tuple[AzureBlobStore, Lossy, AzureBlobStore]]:
    """A store whose network is bad, and one whose network is good."""
    bad = Lossy()
    async with opened(server, container, transport=bad, retries=retries) as a, opened(server, container) as b:
        yield a, bad, b


async def listed(store: AzureBlobStore) -> Lease:
    (lease,) = await store.leases()
    return lease


async def place(store: AzureBlobStore) -> Position | None:
    (found,) = await store.list()
    return found.at.position


async def take(store: AzureBlobStore, owner: str) -> Claim:
    (answer,) = await store.take([await listed(store)], owner)
    assert isinstance(answer, Claim), answer
    return answer


@pytest.mark.parametrize("retries", [0, 2])
@in_loop
async def test_a_lost_answer_to_a_take_leaves_it_ours_or_in_doubt(azurite_server: AzuriteServer, blob_container: str, retries: int) -> None:
    async with two(azurite_server, blob_container, retries) as (a, bad, b):
        await b.create([Lease(hub())])
        lease = await listed(a)
        bad.lose = puts(ROW, 1)
        if retries:
            (answer,) = await a.take([lease], "a#00000001")
            assert isinstance(answer, Claim), "the SDK has sent it again, and what was refused then was our own"
        else:
            (error,) = await a.take([lease], "a#00000001")
            assert isinstance(error, StoreUnavailableError)
            assert (await listed(a)).owner == "a#00000001", "the next listing shows it"


@pytest.mark.parametrize("retries", [0, 2])
@in_loop
async def test_a_lost_answer_to_a_write_of_an_owner_costs_nothing(azurite_server: AzuriteServer, blob_container: str, retries: int) -> None:
    async with two(azurite_server, blob_container, retries) as (a, bad, b):
        await b.create([Lease(hub())])
        claim = await take(a, "a#00000001")
        for step in range(3):
            bad.lose = puts(ROW, 1)
            if retries:
                assert list(await a.save([(after(step), claim.grant)])) == [claim.grant]
            else:
                with pytest.raises(StoreUnavailableError):
                    await a.save([(after(step), claim.grant)])
                assert list(await a.save([(after(step), claim.grant)])) == [claim.grant]
            bad.lose = puts(ROW, 1)
            if retries:
                assert list(await a.renew([(hub(), claim.grant)])) == [claim.grant]
        assert await place(b) == Position(2)
        bad.lose = puts(ROW, 1)
        if not retries:
            with pytest.raises(StoreUnavailableError):
                await a.release([(hub(), claim.grant)])
        (answer,) = await a.release([(hub(), claim.grant)])
        assert answer is None or isinstance(answer, FencedError), "no longer ours is as good"
        assert (await listed(b)).owner == ""
        assert (await take(b, "b#00000002")).epoch > claim.epoch


async def names_of_owners(store: AzureBlobStore) -> list[str]:
    return [one.owner for one in (await store._open_parts.listing.all(everything=False)).owners.values()]


@in_loop
async def test_our_name_is_put_there_and_taken_off_whatever_answers_are_lost(azurite_server: AzuriteServer, blob_container: str) -> None:
    async with two(azurite_server, blob_container, 2) as (a, bad, b):
        await b.create([Lease(hub())])
        bad.lose = puts(OWNERSHIP, 1)
        claim = await take(a, "a#00000001")
        assert await names_of_owners(b) == ["streamkit:a#00000001"]
        assert isinstance(a.context, PlainContext)
        a.context.now += REFRESH_SECONDS
        bad.lose = puts(OWNERSHIP, 3)
        with pytest.raises(StoreUnavailableError):
            await a.renew([(hub(), claim.grant)])
        assert list(await a.release([(hub(), claim.grant)])) == [None]
        assert await names_of_owners(b) == [""]


@in_loop
async def test_a_claim_whose_answer_was_lost_is_known_again(azurite_server: AzuriteServer, blob_container: str) -> None:
    async with two(azurite_server, blob_container, 2) as (a, bad, b):
        await b.create([Lease(hub())])
        bad.lose = puts(ROW, 1)
        claim = await a.claim(hub(), "a", 0)
        assert claim.fruitless == 0, "one claim, not two"
        assert list(await a.save([(after(1), claim.grant)])) == [claim.grant]


@in_loop
async def test_what_arrives_late_undoes_nothing(azurite_server: AzuriteServer, blob_container: str) -> None:
    async with two(azurite_server, blob_container, 0) as (a, bad, b):
        await b.create([Lease(hub())])
        claim = await take(a, "a#00000001")
        bad.hold = puts(ROW, 1)
        with pytest.raises(StoreUnavailableError):
            await a.save([(after(1), claim.grant)])
        assert list(await a.save([(after(2), claim.grant)])) == [claim.grant]
        assert await bad.deliver() == [412]
        bad.hold = puts(ROW, 1)
        with pytest.raises(StoreUnavailableError):
            await a.save([(after(3), claim.grant)])
        await a.release([(hub(), claim.grant)])
        won = await take(b, "b#00000002")
        assert await bad.deliver() == [412]
        assert await place(b) == Position(2)
        assert list(await b.save([(after(4), won.grant)])) == [won.grant]


@in_loop
async def test_what_arrives_late_and_is_first_is_counted_in(azurite_server: AzuriteServer, blob_container: str) -> None:
    async with two(azurite_server, blob_container, 0) as (a, bad, b):
        await b.create([Lease(hub())])
        claim = await take(a, "a#00000001")
        bad.hold = puts(ROW, 1)
        with pytest.raises(StoreUnavailableError):
            await a.save([(after(1), claim.grant)])
        assert await bad.deliver() == [200]
        assert list(await a.save([(after(2), claim.grant)])) == [claim.grant]
        assert await place(b) == Position(2)


@in_loop
async def test_of_two_that_take_at_once_one_is_refused(azurite_server: AzuriteServer, blob_container: str) -> None:
    for part in (ROW, OWNERSHIP):
        container = azurite_server.create_container()
        async with two(azurite_server, container, 0) as (a, bad, b):
            await b.create([Lease(hub())])
            lease = await listed(a)
            won: list[Claim | Exception] = []

            async def faster(b: AzureBlobStore = b, won: list[Claim | Exception] = won, lease: Lease = lease) -> None:
                await b.leases()
                won.extend(await b.take([lease], "b#00000002"))

            bad.between = [faster] if part == OWNERSHIP else [_nothing, faster]
            (answer,) = await a.take([lease], "a#00000001")
            outcomes = [isinstance(one, Claim) for one in (answer, *won)]
            assert sorted(outcomes) == [False, True], (answer, won)
            row = await listed(b)
            assert row.owner == ("a#00000001" if outcomes[0] else "b#00000002")


async def _nothing() -> None:
    return


@in_loop
async def test_a_request_that_comes_just_before_a_save_is_kept_and_the_save_is_done(
    azurite_server: AzuriteServer, blob_container: str
) -> None:
    async with two(azurite_server, blob_container, 0) as (a, bad, b):
        await b.create([Lease(hub())])
        claim = await take(a, "a#00000001")
        lease = await listed(b)

        async def ask() -> None:
            assert await b.request_handover(lease, "b#00000002")
            await b.ask(hub(), "replay")

        bad.between = [ask]
        assert list(await a.save([(after(1), claim.grant)])) == [claim.grant]
        assert (await listed(b)).handover_to == "b#00000002"
        assert dict(await b.requests()) == {hub(): "replay"}
        assert await place(b) == Position(1)


@in_loop
async def test_a_store_that_another_has_fenced_writes_nothing_however_it_tries(azurite_server: AzuriteServer, blob_container: str) -> None:
    async with two(azurite_server, blob_container, 0) as (a, bad, b):
        await b.create([Lease(hub())])
        old = await take(a, "a#00000001")
        new = await take(b, "b#00000002")
        await b.save([(after(5), new.grant)])
        before = await listed(b)
        sent = bad.writes()
        writes: list[Awaitable[object]] = [a.save([(after(9), old.grant)]), a.renew([(hub(), old.grant)]), a.release([(hub(), old.grant)])]
        for write in writes:
            answers = await write
            assert isinstance(answers, list)
            assert [type(answer) for answer in answers] == [FencedError]
        assert bad.writes() == sent + 1, "after the first refusal nothing is tried blindly"
        assert (await listed(b)).version == before.version


# -- the service itself -----------------------------------------------------------------------------------------------


@in_loop
async def test_a_listing_of_several_pages_is_whole(
    azurite_server: AzuriteServer, blob_container: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(azurite_server, blob_container) as store:
        await store.create([Lease(hub(str(n))) for n in range(12)])
        container = store._open_parts.listing._container
        whole = container._client.list_blobs
        monkeypatch.setattr(container._client, "list_blobs", lambda *args, **more: whole(*args, results_per_page=5, **more))
        assert len(await store.leases()) == 12


@pytest.mark.parametrize("kind", [Kind.CUT, Kind.CUT_QUIETLY])
@in_loop
async def test_an_answer_that_is_cut_raises(azurite_server: AzuriteServer, blob_container: str, kind: Kind) -> None:
    """Also where its length agrees with what is left of it."""
    async with opened(azurite_server, blob_container) as store:
        await store.create([Lease(hub(str(n))) for n in range(3)])
    with FaultProxy(azurite_server.endpoint_url) as proxy:
        through = azurite_server.connection_string.replace(azurite_server.endpoint_url, proxy.url)
        async with opened(azurite_server, blob_container, connection_string=through) as store:
            assert len(await store.leases()) == 3
            for seed in range(8):  # cut at another place each time
                proxy.rules = [Fault(kind, times=seed + 1)]
                for _ in range(seed + 1):
                    with pytest.raises(StoreUnavailableError):
                        await store.leases()
            proxy.rules = []
            assert len(await store.leases()) == 3


_EMPTY = '<?xml version="1.0" encoding="utf-8"?><EnumerationResults><Blobs /><NextMarker /></EnumerationResults>'


@pytest.mark.parametrize(
    ("headers", "body"),
    [("", ""), ("", "<html>log in</html>"), ("", _EMPTY), ("x-ms-request-id: 1\r\n", ""), ("x-ms-request-id: 1\r\n", "<a />")],
)
@in_loop
async def test_an_answer_of_something_in_between_is_never_taken_for_absence(
    azurite_server: AzuriteServer, blob_container: str, headers: str, body: str
) -> None:
    """A log-in page, a proxy that has lost what it had: 200, and nothing that the service would say."""
    head = f"HTTP/1.1 200 OK\r\nContent-Type: application/xml\r\nETag: 0x1\r\nConnection: close\r\n{headers}"

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked = await reader.readuntil(b"\r\n\r\n")
        sent = "" if asked.startswith(b"HEAD") else body
        writer.write(f"{head}Content-Length: {len(sent)}\r\n\r\n{sent}".encode())
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        elsewhere = azurite_server.connection_string.replace(azurite_server.endpoint_url, f"http://127.0.0.1:{port}")
        async with opened(azurite_server, blob_container) as store:
            container = store._open_parts.listing._container
            real = container._client
            container._client = ContainerClient.from_connection_string(elsewhere, blob_container, retry_total=0)
            try:
                with pytest.raises(StoreUnavailableError):
                    await store.leases()
                with pytest.raises(StoreUnavailableError):
                    await store.list()
                if not headers:
                    with pytest.raises(StoreUnavailableError):
                        await store.claim(hub(), "w", 0)
            finally:
                await container._client.close()
                container._client = real


@in_loop
async def test_the_clock_of_something_in_between_is_not_the_services(azurite_server: AzuriteServer, blob_container: str) -> None:
    """Epochs begin with it, and who is alive is told by it."""
    head = "HTTP/1.1 502 Bad Gateway\r\nDate: Fri, 01 Jan 2100 00:00:00 GMT\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(head.encode())
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        elsewhere = azurite_server.connection_string.replace(azurite_server.endpoint_url, f"http://127.0.0.1:{port}")
        async with opened(azurite_server, blob_container) as store:
            container = store._open_parts.listing._container
            before = container._clock.now()
            real, container._client = (
                container._client,
                ContainerClient.from_connection_string(elsewhere, blob_container, retry_total=0),
            )
            try:
                with pytest.raises(StoreUnavailableError):
                    await store.leases()
            finally:
                await container._client.close()
                container._client = real
            assert container._clock.now() < before + 3600


@in_loop
async def test_a_container_that_is_not_there_is_made_or_named(azurite_server: AzuriteServer) -> None:
    with pytest.raises(ConfigurationError, match="no container 'missing'"):
        async with opened(azurite_server, "missing", create_container=False):
            pass
    async with opened(azurite_server, "missing") as store:
        assert list(await store.leases()) == []


@in_loop
async def test_a_container_that_is_deleted_stops_the_worker_and_is_not_made_anew(
    azurite_server: AzuriteServer, blob_container: str
) -> None:
    async with opened(azurite_server, blob_container) as store:
        await store.create([Lease(hub())])
        claim = await take(store, "a#00000001")
        await store._open_parts.listing._container._client.delete_container()
        with pytest.raises(ConfigurationError, match="there is no container") as raised:
            await store.leases()
        assert "checkpoints are gone" in raised.value.fix
        (answer,) = await store.save([(after(1), claim.grant)])
        assert isinstance(answer, ConfigurationError)


@in_loop
async def test_a_signature_of_the_container_with_the_rights_that_the_docs_name_is_enough(
    azurite_server: AzuriteServer, blob_container: str
) -> None:
    """The service lets none of those read a container's properties."""
    said = dict(part.split("=", 1) for part in azurite_server.connection_string.strip(";").split(";"))
    signature = generate_container_sas(
        said["AccountName"],
        blob_container,
        account_key=said["AccountKey"],
        permission=ContainerSasPermissions(read=True, add=True, create=True, write=True, delete=True, list=True),
        expiry=datetime.now(UTC) + timedelta(hours=1),
    )
    by_signature = f"BlobEndpoint={said['BlobEndpoint']};SharedAccessSignature={signature}"
    async with opened(azurite_server, blob_container, connection_string=by_signature) as store:
        await store.create([Lease(hub())])
        claim = await take(store, "a#00000001")
        assert list(await store.save([(after(1), claim.grant)])) == [claim.grant]
        assert list(await store.release([(hub(), claim.grant)])) == [None]


@in_loop
async def test_a_key_that_is_wrong_is_named_and_not_shown(azurite_server: AzuriteServer, blob_container: str) -> None:
    wrong = azurite_server.connection_string.replace("Eby8", "Xby8")
    with pytest.raises(AccessDeniedError) as raised:
        async with opened(azurite_server, blob_container, connection_string=wrong):
            pass
    assert "STREAMKIT_AZUREBLOB__CONNECTION_STRING" in raised.value.fix
    assert "Xby8" not in f"{raised.value!r} {raised.value.fix}"


@in_loop
async def test_a_service_that_does_not_answer_is_an_outage_and_then_goes_on() -> None:
    with AzuriteServer() as own:
        container = own.create_container()
        async with opened(own, container, request_timeout="3s") as store:
            await store.create([Lease(hub()), Lease(hub("1"))])
            claims = await store.take(await store.leases(), "a#00000001")
            held = [
                (lease.partition, claim.grant)
                for lease, claim in zip(await store.leases(), claims, strict=True)
                if isinstance(claim, Claim)
            ]
            own.pause()
            for ask in (store.renew(held), store.save([(after(1), held[0][1])]), store.leases(), store.list()):
                with pytest.raises(CheckpointError):
                    await asyncio.wait_for(ask, 30)
            own.resume()
            assert list(await store.renew(held)) == [grant for _, grant in held]
            saved = [Checkpoint(partition, after(2).at, owner="w") for partition, _ in held]
            assert all(not isinstance(one, Exception) for one in await store.save(list(zip(saved, (g for _, g in held), strict=True))))


@in_loop
async def test_two_stores_of_one_name_are_told_apart(azurite_server: AzuriteServer, blob_container: str) -> None:
    async with opened(azurite_server, blob_container, context_of()) as a, opened(azurite_server, blob_container, context_of()) as b:
        claims = await asyncio.gather(a.claim(hub(), "same", 0), b.claim(hub(), "same", 0))
        answers = [*await a.save([(after(1), claims[0].grant)]), *await b.save([(after(2), claims[1].grant)])]
        assert sorted(isinstance(answer, FencedError) for answer in answers) == [False, True]
