"""The rules that every broker keeps, looked at on this one: `pytest test_rules.py`."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from streamkit_lines import LinesSettings
from streamkit_lines.broker import LinesBroker

from streamkit.plugin import AdapterContext, NewRecord
from streamkit.testing.conformance import BrokerKit, broker_rules


class LinesKit(BrokerKit):
    keeps_keys = keeps_headers = keeps_none = keeps_bytes = False

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def broker(self, context: AdapterContext) -> LinesBroker:
        return LinesBroker(LinesSettings(path=self.folder), context)

    def create(self, partitions: int) -> str:
        name = f"stream-{len(list(self.folder.iterdir()))}"
        (self.folder / name).mkdir()
        for number in range(partitions):
            (self.folder / name / f"{number}.txt").touch()
        return name

    def write(self, stream: str, records: Sequence[NewRecord]) -> None:
        for record in records:
            with (self.folder / stream / f"{record.partition}.txt").open("ab") as file:
                file.write((record.value or b"") + b"\n")


@pytest.fixture
def lines(tmp_path: Path) -> LinesKit:
    return LinesKit(tmp_path)


test_rules = broker_rules("lines")
