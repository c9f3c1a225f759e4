"""The same engine on real threads: a few whole lives against the memory broker, each over in well under a second."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from streamkit.app import code_of
from streamkit.builtin.memory import MemoryBroker, MemoryLog, MemorySettings
from streamkit.engine.adapter_context import EngineContext
from streamkit.engine.runtime import ThreadRuntime
from streamkit.engine.supervisor import Parts, Supervisor
from streamkit.model import Batch, Record
from streamkit.plugin import Observer
from streamkit.processing import Context, Processor, record_processor
from streamkit.settings import Settings

PATIENCE = 20.0


@pytest.fixture
def log() -> Iterator[MemoryLog]:
    MemoryLog.forget("threads")
    log = MemoryLog.named("threads")
    log.create("s", 4)
    for number in range(400):
        log.append("s", b"%d" % number, partition=str(number % 4), now=1e9)
    yield log
    MemoryLog.forget("threads")


def live(target: object, **settings: object) -> Supervisor:
    """One life until the tips, on threads of its own; none of them may be left."""
    before = threading.active_count()
    runtime = ThreadRuntime()
    context = EngineContext(runtime, "memory", broker="memory", group="g", worker="w")
    chosen = Settings.model_validate({"broker": "memory", "stream": "s", "group": "g", "stop": "at_end", **settings})
    broker = MemoryBroker(MemorySettings(name="threads"), context)
    supervisor = Supervisor(Parts(chosen, code_of(target), broker, None, None, Observer(), "w", "group"), runtime)
    runtime.control.call("run", supervisor.run()).result(PATIENCE)
    context.stop()
    runtime.stop()
    for thread in threading.enumerate():
        if thread.name.startswith("streamkit-worker"):
            thread.join(PATIENCE)
    assert threading.active_count() <= before
    return supervisor


@pytest.mark.usefixtures("log")
class TestThreads:
    def test_def_code_of_each_partition_has_a_thread_of_its_own_for_all_hooks(self) -> None:
        threads: dict[str, set[int]] = {}

        class Noting(Processor):
            def __init__(self) -> None:
                self.where: set[int] = set()

            def initialize(self, context: Context) -> None:
                threads[context.partition.id] = self.where
                self.where.add(threading.get_ident())

            def process(self, batch: Batch, context: Context) -> None:
                self.where.add(threading.get_ident())

            def close(self) -> None:
                self.where.add(threading.get_ident())

        live(Noting)
        assert all(len(where) == 1 for where in threads.values())
        assert len(set.union(*threads.values())) == 4

    def test_async_code_of_all_partitions_shares_one_loop(self) -> None:
        threads = set()

        @record_processor
        async def handle(record: Record, context: Context) -> None:
            threads.add(threading.get_ident())

        live(handle)
        assert len(threads) == 1

    def test_result_of_a_checkpoint_works_in_def_code_and_every_record_comes_once_and_in_order(self) -> None:
        seen: list[Record] = []

        @record_processor(checkpoint="manual")
        def handle(record: Record, context: Context) -> None:
            future = context.checkpoint()
            if (record.position.sequence or 0) % 20 == 19:
                future.result(PATIENCE)
            seen.append(record)

        live(handle, max_batch=7)
        for partition in "0123":
            mine = [record.position.sequence for record in seen if record.partition.id == partition]
            assert mine == list(range(100))

    def test_a_second_life_finds_nothing_left_to_do(self) -> None:
        count = [0]

        @record_processor
        def handle(record: Record, context: Context) -> None:
            count[0] += 1

        assert live(handle).exit_code == 0
        live(handle)
        assert count == [400]
