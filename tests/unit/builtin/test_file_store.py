"""What is particular to the file store: its files, and what it says when one of them is not right."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path
from typing import Any

import pytest

from streamkit.builtin.file import FileSettings, FileStore
from streamkit.builtin.file import store as file
from streamkit.builtin.file.disk import sync_folder
from streamkit.errors import ConfigurationError, StoreUnavailableError
from tests.conformance.context import PlainContext
from tests.conformance.stores import after, opened, partition


def the_file(where: Path) -> Path:
    (found,) = where.rglob("*.json")
    return found


def write_one(where: Path) -> None:
    async def write() -> None:
        async with opened("file", where) as store:
            claim = await store.claim(partition(), "w", 0)
            await store.save([(after(7, metadata="é"), claim.grant)])

    asyncio.run(write())


def test_a_file_is_json_that_people_can_read(tmp_path: Path) -> None:
    write_one(tmp_path)
    assert str(the_file(tmp_path).relative_to(tmp_path)) == "checkpoints/memory.g/orders.0.json"
    body = json.loads(the_file(tmp_path).read_text("utf-8"))
    assert body["checkpoint"]["at"] == "after 1:7:0:"
    assert (body["version"], body["epoch"], body["owner"]) == (1, 1, "w")


BROKEN = {
    "empty": "",
    "cut": '{"version": 1, "str',
    "not an object": "[]",
    "newer": '{"version": 99}',
    "without an epoch": '{"version": 1}',
}


@pytest.mark.parametrize("text", BROKEN.values(), ids=BROKEN.keys())
def test_a_file_that_cannot_be_read_names_itself_and_is_never_absence(text: str, tmp_path: Path) -> None:
    write_one(tmp_path)
    the_file(tmp_path).write_text(text)

    async def test() -> None:
        async with opened("file", tmp_path) as store:
            with pytest.raises(StoreUnavailableError, match=r"orders\.0\.json"):
                await store.claim(partition(), "w", 0)
            with pytest.raises(StoreUnavailableError, match=r"orders\.0\.json"):
                await store.list()
            other = await store.claim(partition("1"), "w", 0)
            bad, good = await store.save([(after(8), other.grant), (after(8, partition("1")), other.grant)])
            assert isinstance(bad, StoreUnavailableError)
            assert good == other.grant, "one broken file holds up its own partition only"

    asyncio.run(test())
    assert the_file_of(tmp_path, "0").read_text() == text, "it is left for people to look at"


def the_file_of(where: Path, name: str) -> Path:
    return where / "checkpoints" / "memory.g" / f"orders.{name}.json"


def test_what_a_crash_left_behind_is_ignored_and_cleaned(tmp_path: Path) -> None:
    write_one(tmp_path)
    leftover = the_file(tmp_path).with_suffix(".tmp")
    leftover.write_text('{"vers')

    async def test() -> None:
        async with opened("file", tmp_path) as store:
            assert not leftover.exists()
            assert list(await store.list()) == [after(7, metadata="é")]

    asyncio.run(test())


def test_no_two_names_give_one_file_whatever_the_file_system_takes_for_equal() -> None:
    names = ["a", "A", "aB", "Ab", "a.b", "a%2eb", "a%2Eb", "é", "É", "a/b", "..", "", "~", "x" * 300, "x" * 301, "X" * 300]
    files = [file._safe(name) for name in names]
    assert len({name.lower() for name in files}) == len(names)
    assert all(len(name) <= 120 and not set(name) & set('./\\:*?"<>| ') for name in files)


def test_a_file_under_a_wrong_name_is_refused(tmp_path: Path) -> None:
    write_one(tmp_path)
    the_file(tmp_path).rename(the_file_of(tmp_path, "1"))

    async def test() -> None:
        async with opened("file", tmp_path) as store:
            with pytest.raises(StoreUnavailableError, match="holds orders/0, not orders/1"):
                await store.claim(partition("1"), "w", 0)

    asyncio.run(test())


def test_a_folder_that_went_away_is_never_absence(tmp_path: Path) -> None:
    async def test() -> None:
        async with opened("file", tmp_path) as store:
            (tmp_path / "checkpoints").rename(tmp_path / "elsewhere")
            with pytest.raises(StoreUnavailableError):
                await store.claim(partition(), "w", 0)
            with pytest.raises(StoreUnavailableError):
                await store.list()

    asyncio.run(test())


def test_a_path_in_no_folder_is_a_configuration_error(tmp_path: Path) -> None:
    store = FileStore(FileSettings(path=tmp_path / "no" / "checkpoints"), PlainContext())
    with pytest.raises(ConfigurationError, match="STREAMKIT_FILE__PATH"):
        asyncio.run(store.open())


def test_content_is_synced_before_it_gets_its_name_and_the_name_before_the_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test() -> None:
        async with opened("file", tmp_path) as store:
            claim = await store.claim(partition(), "w", 0)
            steps: list[str] = []
            fsync, replace = os.fsync, Path.replace

            def noted(name: str, function: Any) -> Any:
                def call(*args: Any) -> Any:
                    steps.append(name)
                    return function(*args)

                return call

            monkeypatch.setattr(os, "fsync", noted("sync", fsync))
            monkeypatch.setattr(Path, "replace", noted("replace", replace))
            monkeypatch.setattr("streamkit.builtin.file.store.sync_folder", noted("folder", sync_folder))
            await store.save([(after(1), claim.grant)])
            assert steps == ["sync", "replace", "folder", "sync"]
            steps.clear()
            await store.save([(after(1), claim.grant)])
            assert steps == ["folder", "sync"], "an earlier try may have failed after its rename"

    asyncio.run(test())


def test_a_full_disk_is_the_answer_and_the_old_checkpoint_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test() -> None:
        async with opened("file", tmp_path) as store:
            claim = await store.claim(partition(), "w", 0)
            await store.save([(after(1), claim.grant)])

            def full(descriptor: int) -> None:
                raise OSError(28, "No space left on device")

            with monkeypatch.context() as patch:
                patch.setattr(os, "fsync", full)
                (answer,) = await store.save([(after(2), claim.grant)])
                assert isinstance(answer, StoreUnavailableError)
                with pytest.raises(StoreUnavailableError, match="No space left"):
                    await store.claim(partition(), "w", 0)
            assert list(await store.list()) == [after(1)]
            assert await store.save([(after(2), claim.grant)]) == [claim.grant]

    asyncio.run(test())
