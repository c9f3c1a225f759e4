"""Records that a command looks at: a broker that stumbles is asked again, for a while."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from streamkit.cli.reading import PATIENCE_SECONDS, read_records
from streamkit.engine.adapter_context import EngineContext
from streamkit.errors import AccessDeniedError, BrokerError, BrokerUnavailableError
from streamkit.model import Partition, Record, StartPosition
from streamkit.plugin import NewRecord
from streamkit.testing.scripted import Script, ScriptedMembership
from streamkit.testing.virtual import VirtualRuntime

P0 = Partition("stream", "0")
AWAY = BrokerUnavailableError("no broker answers")


class Bench:
    """A log of three records, and who reads them."""

    def __init__(self) -> None:
        self.runtime = VirtualRuntime()
        self.script = Script(["0"])
        for number in range(3):
            self.script.write(NewRecord(b"%d" % number), P0, 0.0)
        self.seen: list[bytes | None] = []

    async def _wait(self, seconds: float) -> None:
        await self.runtime.io.signal().wait(seconds)

    def _see(self, record: Record) -> bool:
        self.seen.append(record.value)
        return True

    def read(self) -> None:
        context = EngineContext(self.runtime, "scripted", broker="scripted", group="group", worker="w")
        reader = ScriptedMembership(self.script, context, self._wait)
        starts = {P0: StartPosition.EARLIEST}
        self.runtime.run(read_records(reader, self.runtime.io.signal(), self.runtime.monotonic, starts, self._see))


@pytest.fixture
def bench() -> Iterator[Bench]:
    bench = Bench()
    yield bench
    bench.runtime.stop()


def test_a_broker_that_comes_back_is_read_to_the_end(bench: Bench) -> None:
    bench.script.events.extend([AWAY] * 10)
    bench.read()
    assert bench.seen == [b"0", b"1", b"2"]
    assert bench.runtime.monotonic() < PATIENCE_SECONDS


def test_one_that_stays_away_is_said_to(bench: Bench) -> None:
    bench.script.events.extend([AWAY] * 1000)
    with pytest.raises(BrokerUnavailableError):
        bench.read()
    assert PATIENCE_SECONDS < bench.runtime.monotonic() < PATIENCE_SECONDS + 2
    assert bench.seen == []


def test_what_does_not_pass_is_raised_at_once(bench: Bench) -> None:
    bench.script.events.append(AccessDeniedError("no right to read"))
    with pytest.raises(BrokerError):
        bench.read()
    assert bench.runtime.monotonic() < 1
