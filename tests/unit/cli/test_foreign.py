"""`checkpoints import --from` and `export --to`, with a made-up program: nothing is taken or given while a worker of it lives."""

from __future__ import annotations

import asyncio
import json
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from types import ModuleType
from typing import TYPE_CHECKING, ClassVar

import pytest
from pydantic import BaseModel, ConfigDict, Field

from streamkit.builtin.memory import MemoryLog, MemorySettings, MemoryStore
from streamkit.cli import foreign
from streamkit.model import Checkpoint, Lease, ParkedKey, Partition, Position, StartPosition
from streamkit.plugin import Exchange, Exported, Foreign, Plugin, hookimpl
from tests.conformance.context import PlainContext

if TYPE_CHECKING:
    from tests.unit.cli.conftest import CommandLine

LEASES = {"OWNERSHIP": "lease", "STORE": "memory", "LEASE_DURATION": "1s"}


class OldSettings(BaseModel):
    model_config = ConfigDict(extra="forbid")

    url: str = Field(default="old://", description="Where it is.")


class OldProgram(Exchange[OldSettings]):
    """Its tables are in this class; each look at one calls `looked`."""

    tables: ClassVar[dict[str, Foreign]] = {}
    looked: ClassVar[Callable[[], None]] = lambda: None
    written: ClassVar[dict[str, Sequence[Lease]]] = {}
    urls: ClassVar[list[str]] = []

    async def exists(self, table: str) -> bool:
        return table in self.tables

    async def read(self, table: str, partitions: Sequence[Partition], start: StartPosition) -> Foreign:
        type(self).looked()
        self.urls.append(self.settings.url)
        return self.tables[table]

    def parse(self, text: str, partitions: Sequence[Partition], start: StartPosition) -> Foreign:
        return Foreign([Checkpoint.from_text(line) for line in text.splitlines()])

    def export(self, leases: Sequence[Lease]) -> Exported:
        return Exported("".join(f"{lease.partition.id} {lease.checkpoint and lease.checkpoint.at}\n" for lease in leases), ["mind the gap"])

    async def write(self, table: str, leases: Sequence[Lease]) -> Exported:
        self.written[table] = leases
        return Exported(remarks=["mind the gap"])


@hookimpl
def streamkit_plugin() -> Plugin:
    return Plugin(name="oldprogram", settings=OldSettings, exchanges={"old": f"{__name__}:OldProgram"})


@pytest.fixture(autouse=True)
def program(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[OldProgram]]:
    module = ModuleType("oldprogram")
    module.streamkit_plugin = streamkit_plugin  # type: ignore[attr-defined]
    monkeypatch.setattr("streamkit.plugin.plugin._registered", [module])
    monkeypatch.setitem(sys.modules, __name__, sys.modules[__name__])
    monkeypatch.setattr(foreign, "LOOK_SECONDS", 0.01)
    yield OldProgram
    OldProgram.tables.clear()
    OldProgram.written.clear()
    OldProgram.urls.clear()
    OldProgram.looked = lambda: None


def fill() -> None:
    log = MemoryLog.named()
    log.create("orders", 2)
    for partition in "01":
        for number in range(10):
            log.append("orders", b"%d" % number, partition=partition, now=1_700_000_000.0 + number)


def at(partition: str, position: int, **fields: object) -> Checkpoint:
    return Checkpoint(Partition("orders", partition), StartPosition.after(Position(position)), **fields)  # type: ignore[arg-type]


def stored(group: str = "billing") -> dict[str, Checkpoint]:
    store = MemoryStore(MemorySettings(), PlainContext(broker="memory", group=group))
    return {one.partition.id: one for one in asyncio.run(store.list())}


def put(checkpoint: Checkpoint) -> None:
    asyncio.run(MemoryStore(MemorySettings(), PlainContext(broker="memory", group="billing")).overwrite(checkpoint))


def take(cli: CommandLine, *options: str, watch: str = "0.1", **variables: str):  # type: ignore[no-untyped-def]
    return cli("checkpoints", "import", "--from", "old", *options, "--watch", watch, **{**LEASES, **variables})


def test_a_table_is_taken_over_when_nothing_has_moved_in_it(cli: CommandLine, program: type[OldProgram]) -> None:
    fill()
    program.tables["app"] = Foreign(
        [at("0", 3), at("1", 5, pending=Position(6), pending_state=b"tx")], {"0": "a, 1"}, remarks=["an oddity"]
    )
    done = take(cli, "--table", "app")
    assert done.code == 0, done.err
    assert {name: str(one.at) for name, one in stored().items()} == {"0": "after 3", "1": "after 5"}
    assert (stored()["1"].pending, stored()["1"].pending_state) == (Position(6), b"tx")
    assert stored()["0"].group_started is not None
    assert "watching" in done.err
    assert "an oddity" in done.err


def test_its_plugins_settings_count_though_nothing_selects_it(cli: CommandLine, program: type[OldProgram]) -> None:
    fill()
    program.tables["app"] = Foreign([at("0", 3)])
    assert take(cli, "--table", "app", OLDPROGRAM__URL="old://there").code == 0
    assert set(program.urls) == {"old://there"}


@pytest.mark.parametrize("after", [{"0": "a, 2"}, {"0": "b, 1"}, {}, {"0": "a, 1", "new": "b, 0"}])
def test_whoever_moves_while_we_watch_is_named_and_nothing_is_taken(
    cli: CommandLine, program: type[OldProgram], after: Mapping[str, str]
) -> None:
    fill()
    first = Foreign([at("0", 3)], {"0": "a, 1"})
    program.tables["app"] = first
    looks = 0

    def looked() -> None:
        nonlocal looks
        looks += 1
        if looks == 3:
            program.tables["app"] = replace(first, signs=after)

    program.looked = looked  # type: ignore[assignment]
    done = take(cli, "--table", "app", watch="20")
    assert done.code == 1
    assert "a worker of old is alive: its row" in done.err
    assert stored() == {}


def test_who_is_known_to_live_is_named_at_once(cli: CommandLine, program: type[OldProgram]) -> None:
    fill()
    program.tables["app"] = Foreign([at("0", 3)], {"0": "a, 1"}, alive=["a has 0 until tomorrow"])
    done = take(cli, "--table", "app", watch="1000")
    assert (done.code, "a has 0 until tomorrow" in done.err) == (1, True)
    assert stored() == {}
    assert take(cli, "--table", "app", "--force").code == 0


def test_on_trial_nobody_is_watched_and_nothing_is_changed(cli: CommandLine, program: type[OldProgram]) -> None:
    fill()
    program.tables["app"] = Foreign([at("0", 3)], {"0": "a, 1"}, alive=["a has 0"])
    done = take(cli, "--table", "app", "--dry-run", watch="1000")
    assert done.code == 0
    assert "after 3" in done.out
    assert stored() == {}


def test_what_is_not_done_and_not_in_the_stream_is_refused_and_what_has_ended_is_not(cli: CommandLine, program: type[OldProgram]) -> None:
    fill()
    ended = Checkpoint(Partition("orders", "9", children=("0", "1")), StartPosition.END)
    program.tables["app"] = Foreign([at("0", 3), at("7", 1), at("8", 1)])
    done = take(cli, "--table", "app")
    assert (done.code, stored()) == (2, {})
    assert "orders/7, orders/8" in done.err
    assert "their records have expired" in done.err
    program.tables["app"] = Foreign([at("0", 3), ended])
    assert take(cli, "--table", "app").code == 0
    assert str(stored()["9"].at) == "after END"
    store = MemoryStore(MemorySettings(), PlainContext(broker="memory", group="billing"))
    assert {lease.partition.id: lease.partition.children for lease in asyncio.run(store.leases())} == {"0": (), "9": ("0", "1")}


def test_latest_becomes_a_position(cli: CommandLine, program: type[OldProgram]) -> None:
    fill()
    program.tables["app"] = Foreign([Checkpoint(Partition("orders", "0"), StartPosition.LATEST)])
    assert take(cli, "--table", "app").code == 0
    assert str(stored()["0"].at) == "at 10"


def test_what_is_stored_already_is_overwritten_backwards_too(cli: CommandLine, program: type[OldProgram]) -> None:
    fill()
    put(at("0", 8))
    program.tables["app"] = Foreign([at("0", 3), at("1", 4)])
    assert take(cli, "--table", "app").code == 0
    assert {name: str(one.at) for name, one in stored().items()} == {"0": "after 3", "1": "after 4"}


def test_a_file_tells_no_life_and_needs_force(cli: CommandLine) -> None:
    fill()
    file = cli.file("rows", at("0", 3).to_text())
    done = take(cli, str(file))
    assert (done.code, "add --force" in done.err, stored()) == (1, True, {})
    assert take(cli, str(file), "--force").code == 0
    assert set(stored()) == {"0"}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("import", "--from", "odl", "--table", "app"), "did you mean old"),
        (("import", "--from", "old"), "name a FILE"),
        (("import", "--table", "app"), "name a FILE"),
        (("import", "--from", "old", "--table", "app", "file"), "name a FILE"),
        (("import", "--from", "old", "--table", "app"), "holds no checkpoints"),
        (("export", "--table", "app"), "add --to"),
        (("export", "--to", "old"), "has no checkpoints"),
    ],
)
def test_what_cannot_be_meant_is_said(cli: CommandLine, program: type[OldProgram], words: tuple[str, ...], said: str) -> None:
    fill()
    program.tables["app"] = Foreign(())
    done = cli("checkpoints", *words, **LEASES)
    assert (done.code, said in done.err) == (2, True), done.err


def test_export_prints_rows_with_what_the_broker_knows(cli: CommandLine) -> None:
    fill()
    put(at("1", 5))
    done = cli("checkpoints", "export", "--to", "old", **LEASES)
    assert (done.code, done.out) == (0, "1 after 5\n")
    assert "mind the gap" in done.err


def test_export_into_a_table_watches_those_that_are_in_it(cli: CommandLine, program: type[OldProgram]) -> None:
    fill()
    put(at("1", 5))
    words = ("checkpoints", "export", "--to", "old", "--table", "app", "--watch", "0.1")
    assert cli(*words, **LEASES).code == 0
    assert [str(lease.checkpoint and lease.checkpoint.at) for lease in program.written.pop("app")] == ["after 5"]
    program.tables["app"] = Foreign([at("1", 2)], {"1": "a, 1"}, alive=["a has 1"])
    refused = cli(*words, **LEASES)
    assert (refused.code, "a has 1" in refused.err, program.written) == (1, True, {})
    assert cli(*words, "--force", **LEASES).code == 0
    assert set(program.written) == {"app"}


def test_parked_keys_are_not_left_behind(cli: CommandLine) -> None:
    fill()
    put(at("1", 5, parked={b"k": ParkedKey("orders/1/3", ("x",))}))
    done = cli("checkpoints", "export", "--to", "old", **LEASES)
    assert (done.code, "parked keys" in done.err, done.out) == (2, True, "")


def test_parked_keys_are_not_overwritten_either(cli: CommandLine, program: type[OldProgram]) -> None:
    fill()
    put(at("1", 5, parked={b"k": ParkedKey("orders/1/3", ("x",))}))
    program.tables["app"] = Foreign([at("1", 7)])
    done = take(cli, "--table", "app")
    assert (done.code, "parked keys" in done.err, str(stored()["1"].at)) == (2, True, "after 5")


def test_a_lease_that_stands_nowhere_yet_is_left_out_and_that_is_said(cli: CommandLine) -> None:
    fill()
    put(at("1", 5))
    store = MemoryStore(MemorySettings(), PlainContext(broker="memory", group="billing"))
    asyncio.run(store.create([Lease(Partition("orders", "0"))]))
    done = cli("checkpoints", "export", "--to", "old", **LEASES)
    assert (done.code, done.out) == (0, "1 after 5\n")
    assert "orders/0: nobody has found out" in done.err


def test_what_is_given_is_what_the_last_worker_has_saved_while_it_was_watched(cli: CommandLine, program: type[OldProgram]) -> None:
    """One that drains saves and gives back within that time: nothing is left of it to be seen."""
    fill()
    for one in (at("0", 3), at("1", 5)):
        put(one)
    program.tables["app"] = Foreign([at("0", 1)], {"0": "nobody, 1"})

    def drains() -> None:
        worker = threading.Thread(target=put, args=[at("0", 7)])
        worker.start()
        worker.join()

    program.looked = drains  # type: ignore[method-assign]
    done = cli("checkpoints", "export", "--to", "old", "--table", "app", "--watch", "0.1", **LEASES)
    assert done.code == 0, done.err
    assert {lease.partition.id: str(lease.checkpoint and lease.checkpoint.at) for lease in program.written["app"]} == {
        "0": "after 7",
        "1": "after 5",
    }


def test_the_plain_export_is_as_it_was(cli: CommandLine) -> None:
    fill()
    put(at("1", 5))
    (line,) = cli("checkpoints", "export").out.splitlines()
    assert json.loads(line)["partition"] == "1"


def test_a_set_loses_no_key_that_the_last_worker_has_parked_while_it_was_watched(cli: CommandLine) -> None:
    """The marks are those in the row when it is written, not when the command began."""
    fill()
    put(at("1", 5))
    store = MemoryStore(MemorySettings(), PlainContext(broker="memory", group="billing"))

    async def dies() -> None:
        await store.create([Lease(Partition("orders", "0"))])
        await store.take([lease for lease in await store.leases() if lease.partition.id == "0"], "w1#00c0ffee")

    asyncio.run(dies())
    drains = threading.Timer(0.3, put, args=[at("1", 7, parked={b"k": ParkedKey("orders/1/6", ("x",))})])
    drains.start()
    done = cli("checkpoints", "set", "1", "2", **LEASES)
    drains.join()
    assert done.code == 0, done.err
    assert (str(stored()["1"].at), set(stored()["1"].parked)) == ("at 2", {b"k"})
