"""Event hubs' rows on Azurite: what lies where, whose writes count, and what other programs leave."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from azure.storage.blob.aio import ContainerClient
from streamkit_azureblob.clock import Clock
from streamkit_azureblob.listing import IGNORED_NAME, IGNORED_PLACE, IGNORED_ROW
from streamkit_azureblob.mirror import REFRESH_SECONDS, TAKEN_BESIDE_US
from streamkit_azureblob.rows import CHECKPOINT_TEXT, ROW
from streamkit_azureblob.store import HELD_BY_ANOTHER, AzureBlobStore
from streamkit_sandbox.azurite import AzuriteServer

from plugins.azureblob.tests.lossy import NAMESPACE, Lossy, after, context_of, hub, in_loop, opened
from streamkit.errors import ConfigurationError, FencedError, StoreThrottledError
from streamkit.model import Checkpoint, Lease, ParkedKey, Position, StartPosition
from streamkit.plugin import Claim
from tests.conformance.context import PlainContext

pytestmark = pytest.mark.integration

PREFIX = f"{NAMESPACE}/orders/$default/"
FIXTURE = Path(__file__).parents[1] / "checkpoints" / "js-checkpointstore-2.0.0.json"


class Deaf(Clock):
    """Moved by hand, whatever the service says."""

    def saw(self, date: str | None) -> None:
        return


class ByHand(AzureBlobStore):
    """With that clock."""

    def _clock(self) -> Clock:
        return Deaf(self.context.monotonic, self.context.unix_time)


class Others:
    """Another program on the same container: it writes as the SDKs do, without conditions."""

    def __init__(self, server: AzuriteServer, container: str) -> None:
        self._server = server
        self._container = container

    def _client(self) -> ContainerClient:
        return ContainerClient.from_connection_string(self._server.connection_string, self._container)

    async def put(self, name: str, metadata: Mapping[str, str], body: bytes = b"") -> None:
        async with self._client() as client:
            await client.upload_blob(name, body, metadata=dict(metadata), overwrite=True)

    async def set(self, name: str, metadata: Mapping[str, str]) -> None:
        async with self._client() as client:
            await client.get_blob_client(name).set_blob_metadata(dict(metadata))

    async def blobs(self) -> dict[str, dict[str, str]]:
        async with self._client() as client:
            return {
                blob.name: {name: value or "" for name, value in (blob.metadata or {}).items()}
                async for blob in client.list_blobs(include=["metadata"])
            }


@pytest.fixture
def others(azurite_server: AzuriteServer, blob_container: str) -> Others:
    return Others(azurite_server, blob_container)


async def listed(store: AzureBlobStore, name: str = "0") -> Lease:
    (lease,) = [lease for lease in await store.leases() if lease.partition.id == name]
    return lease


async def take(store: AzureBlobStore, owner: str = "w#00000001", name: str = "0") -> Claim:
    (answer,) = await store.take([await listed(store, name)], owner)
    assert isinstance(answer, Claim), answer
    return answer


@in_loop
async def test_a_checkpoint_lies_where_the_sdks_look_for_it_in_their_words(
    azurite_server: AzuriteServer, blob_container: str, others: Others
) -> None:
    async with opened(azurite_server, blob_container) as store:
        await store.create([Lease(hub())])
        claim = await take(store)
        assert list(await store.save([(after(42, token="4294968472"), claim.grant)])) == [claim.grant]
        found = await others.blobs()
    assert set(found) == {f"{PREFIX}checkpoint/0", f"{PREFIX}ownership/0"}
    ours = found[f"{PREFIX}checkpoint/0"]
    assert (ours["offset"], ours["sequencenumber"]) == ("4294968472", "42")
    assert set(ours) == {"offset", "sequencenumber", ROW, CHECKPOINT_TEXT}
    assert found[f"{PREFIX}ownership/0"] == {"ownerid": "streamkit:w#00000001"}


@in_loop
async def test_every_row_has_both_words_from_its_first_moment(azurite_server: AzuriteServer, blob_container: str, others: Others) -> None:
    """Python's reader fails with all checkpoints of the hub else."""
    async with opened(azurite_server, blob_container) as store:
        await store.create([Lease(hub("0")), Lease(hub("1"), checkpoint=Checkpoint(hub("1"), StartPosition.LATEST))])
        await store.claim(hub("2"), "w", 0)
        await store.overwrite(Checkpoint(hub("3"), StartPosition.EARLIEST))
        await store.delete([hub("3")])
        found = await others.blobs()
    rows = {name: one for name, one in found.items() if "/checkpoint/" in name}
    assert len(rows) == 4
    for metadata in rows.values():
        assert (metadata["offset"], metadata["sequencenumber"]) == ("-1", "-1")


@in_loop
async def test_the_epoch_is_never_below_the_services_seconds_and_outlives_what_others_wipe(
    azurite_server: AzuriteServer, blob_container: str, others: Others
) -> None:
    async with opened(azurite_server, blob_container, context_of(now=5.0)) as store:
        await store.create([Lease(hub())])
        first = await take(store)
        assert first.epoch > 1_790_000_000, "our own clock says 1970"
        await store.release([(hub(), first.grant)])
        await others.set(f"{PREFIX}checkpoint/0", {"offset": "900", "sequencenumber": "9"})
        second = await take(store, "v#00000002")
        assert second.epoch > first.epoch
        assert second.checkpoint is not None
        assert second.checkpoint.at == StartPosition.after(Position(9))
        assert second.checkpoint.at.position is not None
        assert second.checkpoint.at.position.token == "900"


@in_loop
async def test_of_two_owners_of_one_epoch_the_later_one_counts(azurite_server: AzuriteServer, blob_container: str, others: Others) -> None:
    """Within a second, and with the row wiped in between, two workers that know nothing of each other have the same epoch."""
    context = context_of(now=time.time())
    async with (
        opened(azurite_server, blob_container, context, kind=ByHand) as a,
        opened(azurite_server, blob_container, context, kind=ByHand) as b,
    ):
        await a.create([Lease(hub())])
        old = await take(a)
        await others.set(f"{PREFIX}checkpoint/0", {"offset": "900", "sequencenumber": "9"})
        new = await take(b, "v#00000002")
        assert new.epoch == old.epoch
        for _ in range(2):
            (answer,) = await a.save([(after(50), old.grant)])
            assert isinstance(answer, FencedError)
        again = await a.claim(hub(), "w#00000001", 0)
        assert list(await a.save([(after(9), again.grant)])) == [again.grant]
        new = await take(b, "v#00000002")
        assert list(await b.save([(after(10), new.grant)])) == [new.grant]


@in_loop
async def test_a_write_of_another_program_takes_the_partition_away(
    azurite_server: AzuriteServer, blob_container: str, others: Others
) -> None:
    """Nothing is written over what it has done: our saves and renewals are refused."""
    async with opened(azurite_server, blob_container) as store:
        await store.create([Lease(hub())])
        claim = await take(store)
        await others.set(f"{PREFIX}checkpoint/0", {"offset": "900", "sequencenumber": "9"})
        (answer,) = await store.save([(after(5), claim.grant)])
        assert isinstance(answer, FencedError)
        assert "another program" in str(answer)
        (answer,) = await store.renew([(hub(), claim.grant)])
        assert isinstance(answer, FencedError)
        assert (await others.blobs())[f"{PREFIX}checkpoint/0"] == {"offset": "900", "sequencenumber": "9"}


@in_loop
async def test_what_was_parked_outlives_what_others_wipe(azurite_server: AzuriteServer, blob_container: str, others: Others) -> None:
    parked = {b"k": ParkedKey("orders/0/1", ("letter",))}
    async with opened(azurite_server, blob_container) as store:
        claim = await store.claim(hub(), "w", 0)
        await store.save([(Checkpoint(hub(), after(1).at, parked=parked), claim.grant)])
        await others.set(f"{PREFIX}checkpoint/0", {"offset": "900", "sequencenumber": "9"})
        (found,) = await store.list()
        assert (found.at.position, dict(found.parked)) == (Position(9), parked)


@in_loop
async def test_a_body_is_read_once_and_again_when_it_is_another(azurite_server: AzuriteServer, blob_container: str, others: Others) -> None:
    transport = Lossy()
    async with opened(azurite_server, blob_container, transport=transport) as store:
        claim = await store.claim(hub(), "w", 0)
        for count in range(1, 4):
            parked = {b"k": ParkedKey("orders/0/1", tuple(map(str, range(count))))}
            await store.save([(Checkpoint(hub(), after(count).at, parked=parked, owner="w"), claim.grant)])
            for _ in range(3):
                await store.renew([(hub(), claim.grant)])
                (row,) = await store.leases()
                assert row.checkpoint is not None
                assert dict(row.checkpoint.parked) == parked
        bodies = [url for method, url in transport.sent if method == "GET" and "comp=" not in url and "/checkpoint/" in url]
        assert len(bodies) == 3
        await others.set(f"{PREFIX}checkpoint/0", {"offset": "900", "sequencenumber": "9"})
        (row,) = await store.leases()
        assert row.checkpoint is not None
        assert (row.checkpoint.at.position, len(row.checkpoint.parked)) == (Position(9), 1)


@in_loop
async def test_rows_that_are_read_one_by_one_for_long_are_not_of_one_moment(azurite_server: AzuriteServer, blob_container: str) -> None:
    class Slow(PlainContext):
        def monotonic(self) -> float:
            self.now += 3.0
            return self.now

    context = Slow(broker="kinesis", group="g")
    async with opened(azurite_server, blob_container, context) as store:
        claim = await store.claim(hub(), "w", 0)
        await store.save([(after(1), claim.grant)])
        assert len(await store.leases()) == 1, "one answer is of one moment, however slow"
        await store.save([(Checkpoint(hub(), after(2).at, parked={b"k": ParkedKey("a", ("b",))}, owner="w"), claim.grant)])
        with pytest.raises(StoreThrottledError):
            await store.leases()


@in_loop
async def test_who_gives_back_by_a_checkpoint_alone_takes_its_name_off(
    azurite_server: AzuriteServer, blob_container: str, others: Others
) -> None:
    """Static ownership has no release."""
    async with opened(azurite_server, blob_container) as store:
        claim = await store.claim(hub(), "w", 0)
        assert (await others.blobs())[f"{PREFIX}ownership/0"] == {"ownerid": "streamkit:w"}
        last = Checkpoint(hub(), after(1).at)
        assert list(await store.save([(last, claim.grant)])) == [claim.grant]
        assert (await others.blobs())[f"{PREFIX}ownership/0"] == {"ownerid": ""}


@in_loop
async def test_all_that_others_leave_is_read_and_what_is_odd_is_counted(
    azurite_server: AzuriteServer, blob_container: str, others: Others
) -> None:
    left: dict[str, dict[str, str]] = {
        "0": {"offset": "100", "sequencenumber": "10", "clientidentifier": "x"},
        "1": {"sequencenumber": "11"},
        "2": {"offset": "", "sequencenumber": "12"},
        "3": {"offset": "no offset", "sequencenumber": "13"},
        "4": {"offset": "400", "sequencenumber": ""},
        "5": {},
    }
    for name, metadata in left.items():
        await others.put(f"{PREFIX}checkpoint/{name}", metadata)
    await others.put(f"{PREFIX}checkpoint", {"hdi_isfolder": "true"})
    await others.put(f"{PREFIX}ownership", {"hdi_isfolder": "true"})
    await others.put(f"{PREFIX}ownership/1", {})
    await others.put(f"{PREFIX}7", {}, b'{"PartitionId": "7"}')  # of the EventProcessorHost
    context = context_of()
    async with opened(azurite_server, blob_container, context) as store:
        rows = {lease.partition.id: lease.checkpoint for lease in await store.leases()}
    places = {name: found and found.at.position and str(found.at.position) for name, found in rows.items()}
    assert places == {"0": "10", "1": "11", "2": "12", "3": "13", "4": "?400", "5": None}
    told = {(partition.id, what) for partition, what, _ in context.told}
    assert told == {*((name, IGNORED_PLACE) for name in "12345"), ("7", IGNORED_NAME)}


@in_loop
async def test_after_an_offset_alone_anything_may_be_saved(azurite_server: AzuriteServer, blob_container: str, others: Others) -> None:
    await others.put(f"{PREFIX}checkpoint/0", {"offset": "400", "sequencenumber": ""})
    async with opened(azurite_server, blob_container) as store:
        claim = await take(store)
        assert claim.checkpoint is not None
        assert claim.checkpoint.at.position is not None
        assert (claim.checkpoint.at.position.sequence, claim.checkpoint.at.position.token) == (None, "400")
        await store.renew([(hub(), claim.grant)])
        await store.release([(hub(), claim.grant)])
        assert (await others.blobs())[f"{PREFIX}checkpoint/0"]["offset"] == "400", "only a save moves it"
        claim = await take(store, "v#00000002")
        assert list(await store.save([(after(3), claim.grant)])) == [claim.grant]


@in_loop
async def test_what_the_javascript_store_wrote_is_gone_on_with(azurite_server: AzuriteServer, blob_container: str, others: Others) -> None:
    steps = {step["step"]: step["result"] for step in json.loads(FIXTURE.read_text())["log"]}
    for blob in steps["blobs after second checkpoint"]:
        await others.put(blob["name"], {**blob["metadata"], **({"ownerid": ""} if "ownerid" in blob["metadata"] else {})})
    context = context_of()
    context.streams = ("MyHub",)
    async with opened(azurite_server, blob_container, context) as store:
        rows = await store.leases()
        assert {str(row.partition): row.checkpoint and str(row.checkpoint.at) for row in rows} == {
            "MyHub/0": "after 43",
            "MyHub/1": "after 7",
        }
        answers = await store.take(rows, "w#00000001")
        assert all(isinstance(answer, Claim) for answer in answers)
    assert context.told == []


# -- names with capitals, ports, other namespaces ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "folder", [f"{NAMESPACE}/orders/$Default/", f"{NAMESPACE}/Orders/$Default/", "MYNS.servicebus.windows.net:5671/orders/$default/"]
)
@in_loop
async def test_what_lies_under_a_name_with_capitals_or_a_port_counts_until_there_is_a_row_of_ours(
    azurite_server: AzuriteServer, blob_container: str, others: Others, folder: str
) -> None:
    await others.put(f"{folder}checkpoint/0", {"offset": "900", "sequencenumber": "9"})
    context = context_of()
    async with opened(azurite_server, blob_container, context) as store:
        lease = await listed(store)
        assert lease.checkpoint is not None
        assert lease.checkpoint.at.position == Position(9)
        (claim,) = await store.take([Lease(hub(), version=lease.version, checkpoint=lease.checkpoint)], "w#00000001")
        assert isinstance(claim, Claim)
        assert claim.checkpoint is not None
        assert claim.checkpoint.at.position == Position(9)
        await store.save([(after(12), claim.grant)])
        await others.put(f"{folder}checkpoint/0", {"offset": "999", "sequencenumber": "10"})
    async with opened(azurite_server, blob_container, context) as store:
        found = (await listed(store)).checkpoint
        assert found is not None
        assert found.at.position == Position(12)
    assert [what for _, what, _ in context.told] == [IGNORED_ROW]
    assert (await others.blobs())[f"{PREFIX}checkpoint/0"]["sequencenumber"] == "12"


@in_loop
async def test_a_dead_processor_that_wrote_names_with_capitals_is_taken_over_from(
    azurite_server: AzuriteServer, blob_container: str, others: Others
) -> None:
    """Go's, of the group $Default, which was killed."""
    for name in ("0", "1"):
        await others.put(f"{NAMESPACE}/orders/$Default/checkpoint/{name}", {"offset": "900", "sequencenumber": "9"})
        await others.put(f"{NAMESPACE}/orders/$Default/ownership/{name}", {"ownerid": "killed"})
    context = context_of(now=time.time())
    async with opened(azurite_server, blob_container, context, kind=ByHand) as store:
        with pytest.raises(ConfigurationError, match="killed"):
            await store.check_start()
        context.now += 200
        await store.check_start()
        await store.overwrite(after(3, hub("1")))  # so it has a row of the usual name as well
        for lease in await store.leases():
            known = replace(lease, partition=hub(lease.partition.id))  # as the broker lists it
            assert known.owner == "killed"
            (claim,) = await store.take([known], "w#00000001")
            assert isinstance(claim, Claim), claim
        found = await others.blobs()
        assert [found[f"{PREFIX}ownership/{name}"] for name in ("0", "1")] == [{"ownerid": "streamkit:w#00000001"}] * 2
        assert {lease.owner for lease in await store.leases()} == {"w#00000001"}


@in_loop
async def test_two_namespaces_with_one_hub_need_a_setting(azurite_server: AzuriteServer, blob_container: str, others: Others) -> None:
    await others.put(f"{PREFIX}checkpoint/0", {"offset": "900", "sequencenumber": "9"})
    await others.put("second.servicebus.windows.net/orders/$default/checkpoint/0", {"offset": "100", "sequencenumber": "1"})
    async with opened(azurite_server, blob_container) as store:
        with pytest.raises(ConfigurationError, match="second"):
            await store.leases()
    async with opened(azurite_server, blob_container, namespace="second.servicebus.windows.net") as store:
        found = (await listed(store)).checkpoint
        assert found is not None
        assert found.at.position == Position(1)


@in_loop
async def test_a_checkpoint_under_another_address_is_not_passed_over_in_silence(
    azurite_server: AzuriteServer, blob_container: str, others: Others
) -> None:
    """The JavaScript SDK names its blobs after the address that it is told to connect to."""
    await others.put("10.0.0.4/orders/$default/checkpoint/0", {"offset": "900", "sequencenumber": "9"})
    async with opened(azurite_server, blob_container) as store:
        with pytest.raises(ConfigurationError, match="of 10\\.0\\.0\\.4, which may be another address of myns"):
            await store.claim(hub(), "w", 0)
        with pytest.raises(ConfigurationError, match="NAMESPACE"):
            await store.create([Lease(hub("1")), Lease(hub())])
        assert (await store.claim(hub("1"), "w", 0)).checkpoint is None, "it has none there"
    async with opened(azurite_server, blob_container, namespace="10.0.0.4") as store:
        found = (await store.claim(hub(), "w", 0)).checkpoint
        assert found is not None
        assert found.at.position == Position(9)


@in_loop
async def test_which_folders_there_are_is_not_asked_with_each_listing(azurite_server: AzuriteServer, blob_container: str) -> None:
    transport, context = Lossy(), context_of()
    async with opened(azurite_server, blob_container, context, transport) as store:
        await store.create([Lease(hub())])
        await store.leases()
        await store.requests()
        sent = len(transport.sent)
        for _ in range(5):
            await store.leases()
            await store.requests()
        assert len(transport.sent) == sent + 10, "one request each"
        context.now += 60
        await store.leases()
        assert len(transport.sent) > sent + 11, "and once a minute it is"


@in_loop
async def test_other_groups_and_hubs_are_left_alone(azurite_server: AzuriteServer, blob_container: str, others: Others) -> None:
    for folder in (f"{NAMESPACE}/orders/other/", f"{NAMESPACE}/orders2/$default/", f"{NAMESPACE}/order/$default/"):
        await others.put(f"{folder}checkpoint/0", {"offset": "900", "sequencenumber": "9"})
    async with opened(azurite_server, blob_container) as store:
        assert list(await store.leases()) == []
        assert {str(one.partition) for one in await store.list()} == {"orders2/0", "order/0"}, "all of the group, for people"


@in_loop
async def test_our_own_rows_under_a_name_with_a_port_are_gone_on_with(azurite_server: AzuriteServer, blob_container: str) -> None:
    """NAMESPACE was another one when they were made."""
    async with opened(azurite_server, blob_container, namespace=f"{NAMESPACE}:5671") as store:
        for name in ("0", "1"):
            claim = await store.claim(hub(name), "w#00000001", 0)
            await store.save([(after(5, hub(name)), claim.grant)])
    async with opened(azurite_server, blob_container) as store:
        for again in (await take(store, "v#00000002"), await store.claim(hub("1"), "v#00000002", 0)):
            assert again.checkpoint is not None, "it is listed, so it is no proof of absence"
            assert again.checkpoint.at.position == Position(5)
            assert again.epoch > claim.epoch


@in_loop
async def test_rows_of_another_namespace_are_not_taken_for_ours_once_the_broker_has_said_which_is(
    azurite_server: AzuriteServer, blob_container: str, others: Others
) -> None:
    """Before anything is taken. What an EventProcessor has left does not say it."""
    theirs = "another.servicebus.windows.net/orders/$default/"
    await others.put(f"{theirs}checkpoint/0", {"offset": "900", "sequencenumber": "9"})
    before = await others.blobs()
    async with opened(azurite_server, blob_container) as store:
        assert (await listed(store)).checkpoint is not None
        assert await store.learn([hub("0"), hub("1")])
        assert list(await store.leases()) == []
        assert not await store.learn([hub("0"), hub("1")]), "nothing new"
        await store.create([Lease(hub())])
        claim = await take(store)
        assert claim.checkpoint is None
        found = await others.blobs()
    assert {name: found[name] for name in before} == before
    assert f"{PREFIX}checkpoint/0" in found


# -- who owns what ----------------------------------------------------------------------------------------------------


@in_loop
async def test_a_live_eventprocessor_refuses_the_start_and_its_partitions_are_not_taken(
    azurite_server: AzuriteServer, blob_container: str, others: Others
) -> None:
    await others.put(f"{PREFIX}checkpoint/0", {"offset": "900", "sequencenumber": "9"})
    await others.put(f"{PREFIX}ownership/0", {"ownerid": "0a1b-processor"})
    context = context_of(now=time.time())
    async with opened(azurite_server, blob_container, context, kind=ByHand) as store:
        with pytest.raises(ConfigurationError, match="orders/0 \\(0a1b-processor"):
            await store.check_start()
        with pytest.raises(ConfigurationError, match="0a1b-processor"):
            await store.claim(hub(), "w", 0)
        lease = await listed(store)
        assert lease.owner == "0a1b-processor"
        context.now += 1
        assert (await listed(store)).version == lease.version + 1, "it lives until it has expired, however seldom it says so"
        (answer,) = await store.take([await listed(store)], "w#00000001")
        assert isinstance(answer, FencedError)
        assert (await others.blobs())[f"{PREFIX}ownership/0"] == {"ownerid": "0a1b-processor"}
    assert [what for _, what, _ in context.told] == [HELD_BY_ANOTHER]


@in_loop
async def test_what_an_eventprocessor_has_given_back_is_free_at_once(
    azurite_server: AzuriteServer, blob_container: str, others: Others
) -> None:
    await others.put(f"{PREFIX}checkpoint/0", {"offset": "900", "sequencenumber": "9"})
    await others.put(f"{PREFIX}ownership/0", {"ownerid": ""})
    async with opened(azurite_server, blob_container) as store:
        await store.check_start()
        assert (await listed(store)).owner == ""
        await take(store)
        assert (await others.blobs())[f"{PREFIX}ownership/0"] == {"ownerid": "streamkit:w#00000001"}


@in_loop
async def test_an_ownership_blob_that_names_nobody_is_free(azurite_server: AzuriteServer, blob_container: str, others: Others) -> None:
    for name in ("0", "1"):
        await others.put(f"{PREFIX}checkpoint/{name}", {"offset": "900", "sequencenumber": "9"})
        await others.put(f"{PREFIX}ownership/{name}", {})
    async with opened(azurite_server, blob_container) as store:
        await take(store)
        await store.claim(hub("1"), "w#00000001", 0)
        found = await others.blobs()
    assert [found[f"{PREFIX}ownership/{name}"] for name in ("0", "1")] == [{"ownerid": "streamkit:w#00000001"}] * 2


@in_loop
async def test_a_dead_eventprocessor_counts_until_it_has_expired(
    azurite_server: AzuriteServer, blob_container: str, others: Others
) -> None:
    await others.put(f"{PREFIX}checkpoint/0", {"offset": "900", "sequencenumber": "9"})
    await others.put(f"{PREFIX}ownership/0", {"ownerid": "dead"})
    context = context_of(now=time.time())
    async with opened(azurite_server, blob_container, context, kind=ByHand, processor_expiry="60s") as store:
        context.now += 50
        with pytest.raises(ConfigurationError, match="dead"):
            await store.check_start()
        context.now += 15
        await store.check_start()
        lease = await listed(store)
        context.now += 5
        assert (await listed(store)).version == lease.version, "it stands still, so it expires for the engine too"
        (answer,) = await store.take([lease], "w#00000001")
        assert isinstance(answer, Claim)


@in_loop
async def test_a_processor_that_starts_beside_us_is_told_of_and_our_name_put_back(
    azurite_server: AzuriteServer, blob_container: str, others: Others
) -> None:
    context = context_of()
    async with opened(azurite_server, blob_container, context) as store:
        await store.create([Lease(hub())])
        claim = await take(store)
        await others.set(f"{PREFIX}ownership/0", {"ownerid": "thief"})
        assert (await listed(store)).owner == "w#00000001", "the row counts"
        await store.renew([(hub(), claim.grant)])
        assert (await others.blobs())[f"{PREFIX}ownership/0"] == {"ownerid": "thief"}, "not looked at with each renewal"
        context.now += REFRESH_SECONDS
        assert list(await store.renew([(hub(), claim.grant)])) == [claim.grant]
        assert (await others.blobs())[f"{PREFIX}ownership/0"] == {"ownerid": "streamkit:w#00000001"}
    assert [what for _, what, _ in context.told] == [TAKEN_BESIDE_US]


@in_loop
async def test_a_release_takes_our_name_off(azurite_server: AzuriteServer, blob_container: str, others: Others) -> None:
    async with opened(azurite_server, blob_container) as store:
        await store.create([Lease(hub())])
        claim = await take(store)
        assert list(await store.release([(hub(), claim.grant)])) == [None]
        assert (await others.blobs())[f"{PREFIX}ownership/0"] == {"ownerid": ""}
        again = await take(store, "v#00000002")
        assert again.epoch > claim.epoch


@in_loop
async def test_who_has_lost_a_partition_does_not_write_over_its_owners_name(
    azurite_server: AzuriteServer, blob_container: str, others: Others
) -> None:
    context = context_of()
    async with opened(azurite_server, blob_container, context) as a, opened(azurite_server, blob_container) as b:
        await a.create([Lease(hub())])
        old = await take(a)
        new = await take(b, "v#00000002")
        context.now += REFRESH_SECONDS
        (answer,) = await a.renew([(hub(), old.grant)])
        assert isinstance(answer, FencedError)
        assert (await others.blobs())[f"{PREFIX}ownership/0"] == {"ownerid": "streamkit:v#00000002"}
        await b.release([(hub(), new.grant)])
        assert (await others.blobs())[f"{PREFIX}ownership/0"] == {"ownerid": ""}, "an EventProcessor may have it at once"


@in_loop
async def test_rows_of_another_broker_have_no_words_for_the_sdks(
    azurite_server: AzuriteServer, blob_container: str, others: Others
) -> None:
    context: PlainContext = context_of(broker="kinesis", group="g")
    async with opened(azurite_server, blob_container, context) as store:
        claim = await store.claim(hub(), "w", 0)
        assert claim.epoch == 1
        await store.save([(after(1), claim.grant)])
    assert {name: set(metadata) for name, metadata in (await others.blobs()).items()} == {
        "streamkit/kinesis/g/orders/0": {ROW, CHECKPOINT_TEXT}
    }
