"""`explain`, `plugins`, `partitions`, `checkpoints`: what they show and what they refuse, on the memory broker of this process."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import TYPE_CHECKING, Any

import pytest

from streamkit.assembly.registry import PluginDescription, Registry
from streamkit.builtin.memory import MemoryBroker, MemoryLog, MemorySettings, MemoryStore
from streamkit.model import Checkpoint, Lease, Partition, Position, StartPosition
from streamkit.plugin import Budget, Claim
from tests.conformance.context import PlainContext

if TYPE_CHECKING:
    from tests.unit.cli.conftest import CommandLine

HANDLE = "from streamkit import App, record_processor\n\n@record_processor\ndef handle(record, context): ...\n"


def context() -> PlainContext:
    return PlainContext(group="billing", worker="other", now=time.monotonic())


def fill(stream: str = "orders", partitions: int = 2, records: int = 10) -> MemoryLog:
    log = MemoryLog.named()
    log.create(stream, partitions)
    for number in range(records * partitions):
        log.append(stream, b"x", partition=str(number % partitions), now=1_700_000_000.0 + number)
    return log


def put(partition: str, at: StartPosition, **more: Any) -> None:
    (found,) = (p for p in MemoryLog.named().partitions("orders") if p.id == partition)
    asyncio.run(MemoryStore(MemorySettings(), context()).overwrite(Checkpoint(found, at, **more)))


def stored() -> dict[str, str]:
    return {c.partition.id: str(c.at) for c in asyncio.run(MemoryStore(MemorySettings(), context()).list())}


def join() -> None:
    """A worker of another process, as far as this one can tell."""
    membership = MemoryBroker(MemorySettings(), context()).join(["orders"], "billing", lambda revoked: None)
    asyncio.run(membership.poll(Budget(1, 1, 0)))


# -- explain and plugins ----------------------------------------------------------------------------------------------


def test_explain_shows_each_setting_with_its_origin_and_then_the_contract(cli: CommandLine) -> None:
    cli.file("orders.py", HANDLE + "app = App(handle, group='in-code')\n")
    cli.file(".env", "STREAMKIT_MAX_BATCH=7\n")
    cli.file("more.toml", 'checkpoint_interval = "2s"\n')
    answer = cli("explain", "orders:app", "--config", "more.toml")
    assert answer.code == 0, answer.err
    rows = {words[0]: words[1:] for line in answer.out.splitlines() if (words := line.split())}
    assert rows["STREAMKIT_GROUP"] == ["in-code", "App"]
    assert rows["STREAMKIT_MAX_BATCH"] == ["7", ".env"]
    assert rows["STREAMKIT_CHECKPOINT_INTERVAL"] == ["2s", "more.toml"]
    assert rows["STREAMKIT_STREAM"] == ["orders", "environment"]
    assert rows["STREAMKIT_MEMORY__SESSION_TIMEOUT"] == ["6s", "default"]
    assert "consume      orders from memory, as group in-code" in answer.out.splitlines()


def test_explain_masks_secrets_and_connects_nowhere(cli: CommandLine) -> None:
    answer = cli("explain", "--json", BROKER="kafka", KAFKA__BOOTSTRAP_SERVERS="nowhere.invalid:1", KAFKA__SASL_PASSWORD="hush")
    assert answer.code == 0, answer.err
    assert "hush" not in answer.out
    body = json.loads(answer.out)
    assert body["contract"]["consume"] == "orders from kafka, as group billing"
    password = next(one for one in body["settings"] if one["name"] == "STREAMKIT_KAFKA__SASL_PASSWORD")
    assert password["origin"] == "environment"


def test_explain_shows_the_settings_also_of_what_would_not_start(cli: CommandLine) -> None:
    answer = cli("explain", CONCURRENCY="4")
    assert answer.code == 2
    assert "STREAMKIT_CONCURRENCY" in answer.out
    assert answer.err.startswith("streamkit: STREAMKIT_CONCURRENCY: 4 ")


def test_plugins_lists_roles_capabilities_and_what_is_broken(cli: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = Registry.describe
    broken = PluginDescription("nats", "streamkit-nats", "0.1", error="plugin 'nats' cannot be imported: ImportError: no nats")
    monkeypatch.setattr(Registry, "describe", lambda registry: (*whole(registry), broken))
    answer = cli("plugins")
    assert answer.code == 0
    lines = {line.split()[0]: line for line in answer.out.splitlines()}
    assert "store (fencing, scope host, " in lines["sqlite"]
    assert "broker (group, static, " in lines["memory"]
    assert lines["nats"].split() == ["nats", "streamkit-nats", "0.1", "broken"]
    assert answer.err == "streamkit: plugin 'nats' cannot be imported: ImportError: no nats\n"
    body = {one["name"]: one for one in json.loads(cli("plugins", "--json").out)}
    assert body["sqlite"]["offers"]["store"]["fencing"] is True


# -- partitions -------------------------------------------------------------------------------------------------------


def test_partitions_shows_tip_checkpoint_lag_owner_and_why_one_does_not_move(cli: CommandLine) -> None:
    fill(partitions=4)
    put("0", StartPosition.after(Position(9)), owner="worker-1", epoch=3)
    put("1", StartPosition.after(Position(4)), owner="worker-2")
    put("2", StartPosition.after(Position(40)))
    answer = cli("partitions")
    assert answer.out == (
        "partition  tip  checkpoint  lag  owner     epoch  state      reason\n"
        "orders/0   9    after 9     0    worker-1  3      caught up  at its tip\n"
        "orders/1   9    after 4     5    worker-2  -      unowned    group billing has no member\n"
        "orders/2   9    after 40    0    -         -      refused    its checkpoint lies beyond the tip: workers halt it\n"
        "orders/3   9    -           -    -         -      unowned    group billing has no member\n"
        "\n"
        "group billing: 0 members\n"
    )
    join()
    rows = json.loads(cli("partitions", "--json").out)
    assert [one["reason"] for one in rows] == [
        "at its tip",
        "",
        "its checkpoint lies beyond the tip: workers halt it",
        "no worker has started on it yet",
    ]
    assert [one["state"] for one in rows] == ["caught up", "behind", "refused", "new"]


def test_where_the_broker_does_not_tell_tips_nobody_is_said_to_be_behind(cli: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    async def unknown(self: MemoryBroker, partitions: Sequence[Partition]) -> Sequence[Position | None]:
        return [Position(None) for _ in partitions]

    monkeypatch.setattr(MemoryBroker, "tips", unknown)
    fill()
    put("0", StartPosition.after(Position(9)), owner="w")
    rows = json.loads(cli("partitions", "--json", STORE="memory").out)
    assert [(row["tip"], row["lag"], row["state"]) for row in rows] == [("?", None, "unowned")] * 2
    join()
    rows = json.loads(cli("partitions", "--json", STORE="memory").out)
    assert [(row["tip"], row["lag"], row["state"]) for row in rows] == [("?", None, "read"), ("?", None, "new")]


def test_partitions_disturbs_nobody(cli: CommandLine) -> None:
    fill()
    put("0", StartPosition.after(Position(3)), epoch=5)
    before = asyncio.run(MemoryStore(MemorySettings(), context()).list())
    cli("partitions")
    assert asyncio.run(MemoryStore(MemorySettings(), context()).list()) == before
    assert json.loads(cli("partitions", "--json").out)[0]["epoch"] == 5


def test_partitions_shows_lineage_and_what_a_child_waits_for(cli: CommandLine) -> None:
    log = MemoryLog.named()
    (parent,) = log.create("orders", 1, "kinesis")
    log.append("orders", b"x")
    log.split("orders", parent.id)
    rows = json.loads(cli("partitions", "--json", MEMORY__SHAPE="kinesis", STORE="memory").out)
    assert [(row["state"], row["reason"]) for row in rows][1:] == [("waiting", f"waits for the end of {parent.id}")] * 2
    assert rows[0]["children"] == [rows[1]["partition"], rows[2]["partition"]]
    assert rows[0]["lag"] is None, "sequence numbers of this shape are no counts"
    assert cli("partitions", MEMORY__SHAPE="kinesis", STORE="memory").out.split()[:4] == ["partition", "parents", "children", "tip"]


def test_a_checkpoint_of_another_stream_of_that_name_is_said(cli: CommandLine) -> None:
    log = fill()
    put("0", StartPosition.after(Position(3)))
    log.delete("orders")
    fill()
    assert "belongs to 'default/orders@0.000#1', another stream of that name" in cli("partitions").out


# -- checkpoints ------------------------------------------------------------------------------------------------------


def test_checkpoints_list_shows_all_streams_of_the_group(cli: CommandLine) -> None:
    fill()
    put("1", StartPosition.after(Position(4)), owner="worker-2", epoch=3, metadata="run 7")
    out = "partition  checkpoint  owner     epoch  metadata\norders/1   after 4     worker-2  3      run 7\n"
    assert cli("checkpoints", "list").out == out
    assert json.loads(cli("checkpoints", "list", "--json").out)[0]["checkpoint"] == "after 4"


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--all", "earliest"], {"0": "earliest", "1": "earliest"}),
        (["--all", "latest"], {"0": "at 10", "1": "at 10"}),
        (["--all", "2023-11-14T22:13:30Z"], {"0": "at 5", "1": "at 5"}),
        (["1", "7"], {"0": "after 4", "1": "at 7"}),
        (["orders/1", "latest"], {"0": "after 4", "1": "at 10"}),
    ],
)
def test_checkpoints_set_shows_before_and_after(cli: CommandLine, arguments: list[str], expected: dict[str, str]) -> None:
    fill()
    put("0", StartPosition.after(Position(4)))
    dry = cli("checkpoints", "set", *arguments, "--dry-run")
    assert stored() == {"0": "after 4"}
    assert dry.err == "streamkit: nothing was changed (--dry-run)\n"
    answer = cli("checkpoints", "set", *arguments)
    assert (answer.code, answer.err) == (0, "")
    assert stored() == expected
    assert answer.out == dry.out
    assert answer.out.splitlines()[0].split() == ["partition", "before", "after"]


def test_checkpoints_set_raises_the_epoch_and_remembers_the_partitions_of_the_start(cli: CommandLine) -> None:
    fill()
    put("0", StartPosition.after(Position(4)), partitions_at_start=1)
    store = MemoryStore(MemorySettings(), context())
    grant = asyncio.run(store.claim(Partition("orders", "0"), "old", 0)).grant
    cli("checkpoints", "set", "--all", "earliest")
    (answer,) = asyncio.run(store.save([(Checkpoint(Partition("orders", "0"), StartPosition.after(Position(5))), grant)]))
    assert type(answer).__name__ == "FencedError"
    assert {c.partitions_at_start for c in asyncio.run(store.list())} == {1}, "partition 1 stays one that came later"


def test_checkpoints_set_refuses_while_the_group_has_a_member_unless_forced(cli: CommandLine) -> None:
    fill()
    join()
    answer = cli("checkpoints", "set", "--all", "latest")
    assert (answer.code, answer.out, stored()) == (1, "", {})
    assert answer.err == (
        "streamkit: group billing has a live member, whose next checkpoint would undo it\n"
        "  fix: stop its workers; --force goes ahead beside them, where the store lets it\n"
    )
    assert "without it this would be refused: group billing has" in cli("checkpoints", "set", "--all", "latest", "--dry-run").err
    assert cli("checkpoints", "set", "--all", "latest", "--force").code == 0
    assert stored() == {"0": "at 10", "1": "at 10"}


def test_another_store_asks_the_broker_for_the_members_of_the_group(cli: CommandLine) -> None:
    fill()
    sqlite = {"STORE": "sqlite", "SQLITE__PATH": str(cli.folder / "checkpoints.db")}
    assert cli("checkpoints", "set", "0", "3", **sqlite).code == 0
    join()
    assert cli("checkpoints", "set", "0", "4", **sqlite).code == 1
    assert "at 3" in cli("checkpoints", "list", **sqlite).out


def test_with_static_ownership_it_has_to_be_forced(cli: CommandLine) -> None:
    fill()
    static = {"OWNERSHIP": "static", "STORE": "memory"}
    answer = cli("checkpoints", "set", "0", "3", **static)
    assert answer.code == 1
    assert answer.err == (
        "streamkit: with static ownership nothing tells whether a worker is running\n  fix: make sure that none is, then add --force\n"
    )
    assert cli("checkpoints", "set", "0", "3", "--force", **static).code == 0


@pytest.mark.parametrize(
    ("arguments", "code", "error"),
    [
        ([], 2, "it is not said what to put where\n  fix: write PARTITION POSITION, or --all POSITION\n"),
        (["0"], 2, "it is not said what to put where\n  fix: write PARTITION POSITION, or --all POSITION\n"),
        (["0", "1", "--all", "latest"], 2, "--all and a partition were both given\n  fix: give one of them\n"),
        (["9", "latest"], 2, "there is no partition '9'\n  fix: those that there are: orders/0, orders/1\n"),
        (["0", "2023-11-14"], 2, "'2023-11-14' has no time zone\n  fix: add one, such as the Z in 2025-01-31T09:00:00Z\n"),
        (
            ["0", "soon"],
            2,
            "'soon' is not a position\n"
            "  fix: write earliest, latest, an ISO time such as 2025-01-31T09:00:00Z, or the number of the next record\n",
        ),
    ],
)
def test_checkpoints_set_says_what_is_wrong(cli: CommandLine, arguments: list[str], code: int, error: str) -> None:
    fill()
    answer = cli("checkpoints", "set", *arguments)
    assert (answer.code, answer.out, answer.err) == (code, "", f"streamkit: {error}")


def test_a_position_beyond_the_tip_is_refused_and_nothing_is_written(cli: CommandLine) -> None:
    fill()
    answer = cli("checkpoints", "set", "--all", "11")
    assert answer.code == 2
    assert answer.err.startswith("streamkit: orders/0: ")
    assert stored() == {}


# -- partitions, asked of a worker --------------------------------------------------------------------------------------


def answering(body: bytes) -> tuple[HTTPServer, str]:
    """Somebody who answers `/status` with this."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Nobody reads it."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server, f"127.0.0.1:{server.server_port}"


def status(**more: object) -> bytes:
    line = {"stream": "orders", "partition": "1", "state": "halted", "owner": "w7", "epoch": 4, "reason": {"text": "halted: poison"}}
    app = {"broker": "memory", "group": "billing", "streams": ["orders"], "partitions": [line]}
    return json.dumps({"apps": [app | more]}).encode()


def test_partitions_asks_the_worker_about_its_own_and_broker_and_store_about_the_others(cli: CommandLine) -> None:
    fill()
    server, address = answering(status())
    rows = json.loads(cli("partitions", "--json", STATUS_ADDRESS=address).out)
    server.shutdown()
    server.server_close()
    assert [(row["state"], row["owner"], row["epoch"], row["reason"]) for row in rows] == [
        ("unowned", None, None, "group billing has no member"),
        ("halted", "w7", 4, "halted: poison"),
    ]


@pytest.mark.parametrize(
    "body", [status(group="other"), status(broker="kafka"), status(streams=["payments"]), b"<html>", b"[]", b'{"apps": [{}]}', b""]
)
def test_partitions_takes_no_other_answer_for_that_of_its_worker(cli: CommandLine, body: bytes) -> None:
    fill()
    server, address = answering(body)
    answer = cli("partitions", STATUS_ADDRESS=address)
    server.shutdown()
    server.server_close()
    assert answer.code == 0, answer.err
    assert "poison" not in answer.out
    assert answer.out.count("group billing has no member") == 2


def test_partitions_does_without_a_worker_that_does_not_run(cli: CommandLine) -> None:
    fill()
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    assert cli("partitions", STATUS_ADDRESS=port).out == cli("partitions").out


def test_partitions_shows_who_holds_each_lease_and_for_whom_it_is_kept(cli: CommandLine) -> None:
    fill(partitions=3)
    store = MemoryStore(MemorySettings(), context())
    parts = MemoryLog.named().partitions("orders")

    async def deal() -> None:
        await store.create([Lease(partition) for partition in parts])
        first, second, _ = sorted(await store.leases(), key=lambda lease: lease.partition.id)
        (claim, _) = await store.take([first, second], "w1#00c0ffee")
        assert isinstance(claim, Claim)
        first = next(lease for lease in await store.leases() if lease.partition.id == "0")
        await store.request_handover(first, "w2#0badcafe")

    asyncio.run(deal())
    rows = json.loads(cli("partitions", "--json", OWNERSHIP="lease", STORE="memory").out)
    assert [(row["owner"], row["epoch"], row["state"], row["reason"]) for row in rows] == [
        ("w1#00c0ffee", 1, "behind", "w2 has asked for it"),
        ("w1#00c0ffee", 1, "new", "no worker has started on it yet"),
        (None, 0, "unowned", "no worker holds its lease"),
    ]
    assert cli("partitions", OWNERSHIP="lease", STORE="memory").out.splitlines()[1].split()[4:6] == ["w1", "1"], "people know the name"


def test_partitions_says_of_another_programs_lease_that_it_cannot_be_asked_for(cli: CommandLine) -> None:
    fill(partitions=1)
    store = MemoryStore(MemorySettings(), context())

    async def deal() -> None:
        await store.create([Lease(partition) for partition in MemoryLog.named().partitions("orders")])
        await store.take(await store.leases(), "ip-10-0-0-1:5f0c")

    asyncio.run(deal())
    (row,) = json.loads(cli("partitions", "--json", OWNERSHIP="lease", STORE="memory").out)
    assert (row["owner"], row["state"]) == ("ip-10-0-0-1:5f0c", "behind")
    assert row["reason"] == (
        "ip-10-0-0-1:5f0c is another program, such as the KCL, or was: stop it, and workers take it after LEASE_DURATION"
    )
