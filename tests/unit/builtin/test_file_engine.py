"""Files under the real engine, in virtual time: what is read, what is put aside, and what happens when a file is not right."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from streamkit.builtin.file import FileSettings
from streamkit.builtin.file.broker import FileBroker
from streamkit.builtin.file.lines import decode
from streamkit.builtin.file.producer import FileProducer
from streamkit.builtin.memory import MemoryLog, MemorySettings, MemoryStore
from streamkit.engine.adapter_context import EngineContext
from streamkit.engine.delivery.call import Code
from streamkit.engine.supervisor import Parts, Supervisor
from streamkit.model import Partition, Position, Record
from streamkit.plugin import Observer
from streamkit.processing import Context, facts_of, record_processor
from streamkit.settings import Settings
from streamkit.testing.virtual import VirtualRuntime


class Watch(Observer):
    def __init__(self) -> None:
        self.said: list[str] = []

    def on_halted(self, partition: Partition, error: Exception) -> None:
        self.said.append(f"halted: {error}")

    def on_recovered(self, partition: Partition) -> None:
        self.said.append("recovered")

    def on_put_aside(self, partition: Partition, position: Position, error: BaseException, how: str) -> None:
        self.said.append(f"{how} {position}")

    def on_problem(self, subject: str, error: BaseException) -> None:
        self.said.append(f"{subject}: {error}")


class Rig:
    """One app over `orders.jsonl`, which fails at values that hold `bad`."""

    def __init__(self, folder: Path) -> None:
        self.orders, self.letters = folder / "orders.jsonl", folder / "box" / "dlq.jsonl"
        self.letters.parent.mkdir()
        self.runtime = VirtualRuntime()
        self.watch = Watch()
        self.seen: list[str] = []
        self.supervisor: Supervisor | None = None

    def context(self) -> EngineContext:
        return EngineContext(self.runtime, "file", broker="file", group="billing", worker="w1")

    def start(self, **settings: Any) -> Any:
        @record_processor
        def handle(record: Record, context: Context) -> None:
            text = (record.value or b"").decode()
            if "bad" in text:
                raise ValueError("bad")
            self.seen.append(text)

        given = {"on_failure": "dead_letter", "dead_letter": f"file:{self.letters}", "retry_attempts": 1, **settings}
        parsed = Settings(broker="file", stream=(str(self.orders),), group="billing", checkpoint_interval=timedelta(seconds=1), **given)
        store = MemoryStore(MemorySettings(name="files"), self.context())
        facts = facts_of(handle)
        assert facts is not None
        parts = Parts(
            settings=parsed,
            code=Code(facts, function=handle),
            broker=FileBroker(FileSettings(), self.context()),
            store=store,
            store_adapter=store,
            observer=self.watch,
            worker_name="w1",
            ownership="static",
            dead_letter=FileProducer(FileSettings(), self.context()),
        )
        self.supervisor = Supervisor(parts, self.runtime)
        return self.runtime.control.call("run", self.supervisor.run())

    def write(self, text: str) -> None:
        with self.orders.open("a") as file:
            file.write(text)

    def wait(self, seconds: float) -> None:
        self.runtime.run(asyncio.sleep(seconds))

    @property
    def put_aside(self) -> list[bytes | None]:
        lines = map(decode, self.letters.read_bytes().splitlines()) if self.letters.exists() else ()
        return [line.value for line in lines if line is not None]


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    MemoryLog.forget("files")
    made = Rig(tmp_path)
    yield made
    made.runtime.stop()
    MemoryLog.forget("files")


def line(value: str) -> str:
    return f'{{"streamkit": 1, "value": "{value}"}}\n'


def test_a_file_is_followed_and_what_fails_is_put_aside_in_order(rig: Rig) -> None:
    rig.write(line("1") + line("bad2"))
    life = rig.start()
    rig.wait(1)
    rig.write(line("3") + line("bad4") + line("5"))
    rig.wait(2)
    assert rig.seen == ["1", "3", "5"]
    assert rig.put_aside == [b"bad2", b"bad4"]
    assert rig.watch.said == ["dead_letter 2", "dead_letter 4"]
    assert rig.supervisor is not None
    rig.supervisor.stop("over")
    rig.runtime.run(life)


def test_a_letter_that_cannot_be_written_halts_and_nothing_is_lost(rig: Rig) -> None:
    rig.write(line("1"))
    rig.start()
    rig.wait(1)
    rig.letters.parent.rename(rig.letters.parent.with_name("away"))
    rig.write(line("bad2") + line("3"))
    rig.wait(5)
    assert rig.seen == ["1"], "what comes after it waits"
    (halted,) = rig.watch.said
    assert halted.startswith(f"halted: file:{rig.letters} did not take the dead letter of {rig.orders}/0/2: BrokerUnavailableError: ")
    rig.letters.parent.with_name("away").rename(rig.letters.parent)
    rig.wait(60)
    assert rig.put_aside == [b"bad2"]
    assert rig.seen == ["1", "3"]
    assert "recovered" in rig.watch.said


def test_a_run_ends_at_a_line_that_was_cut_off_and_says_so(rig: Rig) -> None:
    rig.write(line("1") + line("2")[:-5])
    life = rig.start(stop="at_end")
    rig.wait(10)
    assert life.done()
    assert rig.seen == ["1"]
    assert any("ends in the middle of line 2" in said for said in rig.watch.said)


def test_a_line_that_a_crash_left_is_passed_loudly(rig: Rig) -> None:
    rig.write(line("1") + line("2")[:-5] + "#torn\n" + line("3"))
    life = rig.start(stop="at_end")
    rig.wait(10)
    assert life.done()
    assert rig.seen == ["1", "3"]
    assert any("line 2 of" in said and "never acknowledged" in said for said in rig.watch.said)


def test_a_line_that_is_no_record_halts_the_file_until_it_is_mended_also_where_the_file_was_empty_before(rig: Rig) -> None:
    rig.write("")
    rig.start()
    rig.wait(1)
    rig.write("oops\n" + line("2"))
    rig.wait(5)
    assert rig.seen == []
    assert rig.watch.said[-1].startswith("halted: line 1 of ")
    rig.orders.write_text(line("1") + line("2"))
    rig.wait(60)
    assert rig.seen == ["1", "2"]
    assert rig.watch.said[-1] == "recovered"
