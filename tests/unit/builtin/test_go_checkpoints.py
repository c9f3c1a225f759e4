"""The files of the Go persister for Event Hubs, to and from."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from streamkit.builtin.file import FileSettings
from streamkit.builtin.file.go_checkpoints import GoFilesExchange
from streamkit.errors import ConfigurationError
from streamkit.model import Checkpoint, Lease, Partition, Position, StartPosition
from tests.conformance.context import PlainContext

FILES = Path(__file__).parent / "go_checkpoints"
"""Written by azure-event-hubs-go v3."""
HUB = "myns.servicebus.windows.net/myhub@1790000000"
PARTS = [Partition("myhub", str(n), incarnation=HUB) for n in range(3)]


def exchange(broker: str = "eventhubs", group: str = "$Default") -> GoFilesExchange:
    return GoFilesExchange(FileSettings(), PlainContext(broker=broker, group=group))


def read(folder: Path, parts: list[Partition] | None = None) -> dict[str, Checkpoint]:
    found = asyncio.run(exchange().read(str(folder), parts or PARTS, StartPosition.LATEST))
    return {one.partition.id: one for one in found.checkpoints}


def test_what_go_has_written_is_understood() -> None:
    found = read(FILES)
    assert set(found) == {"0", "2"}
    assert found["0"].at == StartPosition.EARLIEST
    assert found["2"].at.to_text() == StartPosition.after(Position(42, token="4294968472")).to_text()
    assert found["2"].record_time == datetime(2026, 11, 21, 6, 40, 12, 345678, UTC)


def test_files_of_a_group_that_is_called_as_ours_and_more_are_not_ours(tmp_path: Path) -> None:
    shutil.copytree(FILES, tmp_path, dirs_exist_ok=True)
    shutil.copy(FILES / "myns_myhub_Default_2", tmp_path / "myns_myhub_Default_2_2")
    assert set(read(tmp_path)) == {"0", "2"}


def test_what_we_write_go_reads_and_so_do_we(tmp_path: Path) -> None:
    checkpoints = [
        Checkpoint(PARTS[0], StartPosition.after(Position(7, token="700")), record_time=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)),
        Checkpoint(PARTS[1], StartPosition.EARLIEST),
        Checkpoint(PARTS[2], StartPosition.LATEST),
    ]
    made = asyncio.run(exchange().write(str(tmp_path / "new"), [Lease(one.partition, checkpoint=one) for one in checkpoints]))
    assert list(made.remarks) == []
    assert {file.name for file in (tmp_path / "new").iterdir()} == {f"myns_myhub_Default_{n}" for n in range(3)}
    text = (tmp_path / "new" / "myns_myhub_Default_0").read_text()
    assert text == '{"offset":"700","sequenceNumber":7,"enqueueTime":"2026-01-02T03:04:05Z"}'
    found = read(tmp_path / "new")
    assert [found[one.partition.id].to_text() for one in checkpoints] == [one.to_text() for one in checkpoints]


def test_what_go_has_written_comes_back_byte_by_byte_as_far_as_it_is_kept(tmp_path: Path) -> None:
    found = read(FILES)
    asyncio.run(exchange().write(str(tmp_path), [Lease(one.partition, checkpoint=one) for one in found.values()]))
    assert (tmp_path / "myns_myhub_Default_0").read_text() == (FILES / "myns_myhub_Default_0").read_text()
    again, before = (json.loads((folder / "myns_myhub_Default_2").read_text()) for folder in (tmp_path, FILES))
    assert (again["offset"], again["sequenceNumber"]) == (before["offset"], before["sequenceNumber"])


@pytest.mark.parametrize("at", [StartPosition.after(Position(7)), StartPosition.at(Position(7, token="7"))])
def test_without_an_offset_go_begins_at_the_oldest_and_that_is_said(at: StartPosition) -> None:
    made = exchange().export([Lease(PARTS[0], checkpoint=Checkpoint(PARTS[0], at, metadata="mine"))])
    assert json.loads(made.text)["checkpoint"]["offset"] == "-1"
    assert ["oldest event" in made.remarks[0], "metadata" in made.remarks[1]] == [True, True]


def test_an_export_is_a_file_that_can_be_imported() -> None:
    made = exchange().export([Lease(one, checkpoint=Checkpoint(one, StartPosition.after(Position(5, token="50")))) for one in PARTS])
    found = exchange().parse(made.text, PARTS, StartPosition.LATEST)
    assert [one.at.position for one in found.checkpoints] == [Position(5)] * 3


def test_a_file_that_is_written_again_is_a_sign_of_life(tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(FILES, folder)
    before = asyncio.run(exchange().read(str(folder), PARTS, StartPosition.LATEST)).signs
    file = folder / "myns_myhub_Default_2"
    stamp = file.stat().st_mtime_ns
    file.write_text(file.read_text())
    os.utime(file, ns=(stamp + 1, stamp + 1))
    after = asyncio.run(exchange().read(str(folder), PARTS, StartPosition.LATEST)).signs
    assert {name for name in before if before[name] != after[name]} == {"myns_myhub_Default_2"}


def test_capitals_and_whole_hosts_are_the_same_hub_and_others_are_left_alone(tmp_path: Path) -> None:
    body = '{"offset":"10","sequenceNumber":1,"enqueueTime":"2026-01-01T00:00:00+01:00"}'
    for name in ("MyNs_MyHub_Default_0", "myns.servicebus.windows.net_myhub_Default_1", "myns_myhub_other_2", "myns_myhub2_Default_2"):
        (tmp_path / name).write_text(body)
    found = read(tmp_path)
    assert set(found) == {"0", "1"}
    assert found["0"].record_time == datetime(2025, 12, 31, 23, tzinfo=UTC)
    assert set(read(tmp_path, [replace(PARTS[0], stream="myhub2"), replace(PARTS[2], stream="myhub2")])) == {"2"}


def test_a_partition_that_is_gone_is_shown_to_be() -> None:
    assert set(read(FILES, PARTS[:1])) == {"0", "2"}


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "{}", '{"offset":"5","sequenceNumber":"x"}', '{"offset":"5","sequenceNumber":1,"enqueueTime":"soon"}', '{"offset":""}'],
)
def test_a_file_that_cannot_be_understood_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "myns_myhub_Default_1").write_text(text)
    with pytest.raises(ConfigurationError, match="myns_myhub_Default_1"):
        read(tmp_path)


def test_two_files_of_one_partition_are_refused(tmp_path: Path) -> None:
    for name in ("myns_myhub_Default_0", "myns.servicebus.windows.net_myhub_Default_0"):
        (tmp_path / name).write_text('{"offset":"-1","sequenceNumber":0,"enqueueTime":"0001-01-01T00:00:00Z"}')
    with pytest.raises(ConfigurationError, match="second file"):
        read(tmp_path)


def test_a_folder_that_is_not_there_and_another_broker_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="no folder"):
        read(tmp_path / "nowhere")
    with pytest.raises(ConfigurationError, match="no partition of an event hub"):
        exchange("kafka").export([Lease(PARTS[0], checkpoint=Checkpoint(PARTS[0], StartPosition.EARLIEST))])
    assert not asyncio.run(exchange().exists(str(tmp_path / "nowhere")))
    with pytest.raises(ConfigurationError, match="line 1"):
        exchange().parse('{"offset":"-1"}', PARTS, StartPosition.LATEST)
