"""The file plugin keeps the rules of brokers and of stores."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from streamkit.builtin.file import FileSettings, FileStore
from streamkit.builtin.file.broker import FileBroker
from streamkit.builtin.file.producer import FileProducer
from streamkit.plugin import AdapterContext
from streamkit.testing.conformance import BrokerKit, StoreKit, broker_rules, store_rules


class FileKit(BrokerKit):
    name = "file"
    one_partition = True

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def broker(self, context: AdapterContext) -> FileBroker:
        return FileBroker(FileSettings(), context)

    def producer(self, context: AdapterContext) -> FileProducer:
        return FileProducer(FileSettings(), context)

    def create(self, partitions: int) -> str:
        path = self.folder / f"{len(list(self.folder.iterdir()))}.jsonl"
        path.touch()
        return str(path)

    def delete(self, stream: str) -> None:
        os.remove(stream)


class FileStoreKit(StoreKit):
    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def store(self, context: AdapterContext) -> FileStore:
        return FileStore(FileSettings(path=self.folder / "checkpoints"), context)


@pytest.fixture
def file(tmp_path: Path) -> FileKit:
    return FileKit(tmp_path)


@pytest.fixture
def file_store(tmp_path: Path) -> FileStoreKit:
    return FileStoreKit(tmp_path)


test_rules = broker_rules("file")
test_store_rules = store_rules("file_store")
