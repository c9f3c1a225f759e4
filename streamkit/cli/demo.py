"""`streamkit demo`: the main job on generated input, in this process, with a death in the middle; and the proof of what held.

Three workers (each an `App` on threads of its own) share a stream of the memory broker and keep their checkpoints in SQLite.
Half-way one of them is abandoned, as if its process had died. Nothing of the environment is read.
"""

from __future__ import annotations

import random
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from textwrap import indent
from typing import Annotated

import typer

from streamkit.app import App
from streamkit.assembly.loader import load
from streamkit.assembly.parts import assemble
from streamkit.assembly.registry import Registry
from streamkit.builtin.memory import MemoryLog
from streamkit.cli.demo_ledger import Ledger, Owner, Verdict, Watcher
from streamkit.cli.demo_view import View, view_of
from streamkit.cli.output import JsonFlag, examples, print_json
from streamkit.engine.runtime import Promise, ThreadRuntime
from streamkit.errors import UnsupportedError

__all__ = ["EXAMPLES", "demo"]

EXAMPLES = examples("streamkit demo", "streamkit demo --json")

LOG = "streamkit-demo"
STREAM = "orders"
PARTITIONS = 12
RECORDS = 60_000
CUSTOMERS = 2_000
RECORDS_PER_SECOND = 1_600.0
"""Of one partition: so the whole takes some seconds, and the death comes in the middle."""
WORKERS = ("worker-1", "worker-2", "worker-3")
VICTIM = 1
SESSION_TIMEOUT = timedelta(seconds=1)
CHECKPOINT_INTERVAL = timedelta(milliseconds=250)
TICK_SECONDS = 0.05
LIMIT_SECONDS = 60.0

CODE = """\
from streamkit import Context, Record, record_processor


@record_processor
def handle(record: Record, context: Context) -> None:
    print(record.key, record.value)
"""
COMMANDS = """\
streamkit sandbox kafka --stream orders    # prints settings to paste into another terminal
streamkit explain orders:handle            # what it will do, and what it promises
streamkit run orders:handle
"""
NEXT_STEPS = f"""\
Your turn. This is a processor, orders.py:

{indent(CODE, "    ")}
And this runs it, on a Kafka of your own:

{indent(COMMANDS, "    ")}"""


def demo(
    broker: Annotated[str, typer.Option(help="Which broker to show: memory is embedded and needs no server.")] = "memory",
    as_json: JsonFlag = False,
) -> None:
    """Watch three workers share a stream, one of them die, and the others take over. Needs nothing, ends by itself.

    Says at the end what it has proved. Exit code 0: proven; 1: not.
    """
    if broker != "memory":
        raise UnsupportedError(f"the demo does not run on broker {broker!r} yet", fix="streamkit demo --broker memory")
    began = time.monotonic()
    ledger = Ledger(_generate(), RECORDS_PER_SECOND)
    dead: list[str] = []
    with tempfile.TemporaryDirectory(prefix="streamkit-demo-") as folder:
        show = _Show(ledger, view_of(ledger, dead, silent=as_json), dead)
        problem = show.play(Path(folder) / "checkpoints.db")
    seconds = time.monotonic() - began
    verdict = ledger.verdict()
    proven = verdict.is_proven and not problem
    if as_json:
        print_json({"proven": proven, "seconds": round(seconds, 1), "killed": dead, "problem": problem, **asdict(verdict)})
    else:
        print(f"\n{_sentence(verdict, show.victims, seconds, problem)}\n\n{NEXT_STEPS}", end="")
    if not proven:
        raise typer.Exit(1)


def _sentence(verdict: Verdict, victims: int, seconds: float, problem: str) -> str:
    """The verdict in one line; what does not hold is said first."""
    if problem:
        return f"NOT PROVEN: {problem}"
    if not verdict.is_proven:
        return (
            f"NOT PROVEN: {verdict.missing:,} of {verdict.records:,} records missing, {verdict.out_of_order:,} out of order, "
            f"{verdict.over_allowance} partitions repeated more than their last checkpoints allow"
        )
    return (
        f"PROVEN: each of {verdict.records:,} records was processed, in the order of its partition. "
        f"{WORKERS[VICTIM]} died with {victims} partitions; of {verdict.allowed_repeats:,} records done but not yet saved, "
        f"{verdict.repeats:,} came a second time. {seconds:.1f} s"
    )


class _Worker:
    """An app on a runtime of its own, as if it were a process."""

    def __init__(self, name: str, ledger: Ledger, store: Path) -> None:
        self.name = name
        self.runtime = ThreadRuntime()
        self.app = App(ledger.handler(name))
        overrides: dict[str, object] = {
            "broker": "memory",
            "stream": STREAM,
            "group": "demo",
            "store": "sqlite",
            "stop": "at_end",
            "worker": name,
            "checkpoint_interval": CHECKPOINT_INTERVAL,
            "memory": {"name": LOG, "session_timeout": SESSION_TIMEOUT},
            "sqlite": {"path": store},
        }
        registry = Registry()
        loaded = load(registry, environment={}, overrides=overrides)
        assembled = assemble(loaded, registry, self.app.code, [Watcher(ledger, name)], self.runtime)
        self.life: Promise[None] = self.runtime.control.call(name, self.app.live(assembled, self.runtime))


class _Show:
    """From the first worker's start to the last one's end."""

    def __init__(self, ledger: Ledger, view: View, dead: list[str]) -> None:
        self.victims = 0
        """How many partitions the worker that died had."""
        self._ledger = ledger
        self._view = view
        self._dead = dead
        self._known: dict[str, Owner] = {}

    def play(self, store: Path) -> str:
        """Run it. What went wrong, or nothing."""
        workers = [_Worker(name, self._ledger, store) for name in WORKERS]
        try:
            with self._view:
                self._view.event(f"{len(workers)} workers on {PARTITIONS} partitions with {RECORDS:,} records")
                return self._watch(workers)
        finally:
            for worker in workers:
                worker.app.stop()
            for worker in workers:
                worker.runtime.stop()

    def _watch(self, workers: Sequence[_Worker]) -> str:
        until = time.monotonic() + LIMIT_SECONDS
        while not all(worker.life.done() for worker in workers):
            if time.monotonic() > until:
                return f"not at the end after {LIMIT_SECONDS:g} s"
            if not self._dead and self._ledger.calls >= RECORDS // 2:
                self._kill(workers[VICTIM])
            time.sleep(TICK_SECONDS)
            self._tell_changes()
            self._view.tick()
        for worker in workers:
            try:
                worker.life.result()
            except Exception as error:
                return f"{worker.name} failed: {error}"
        return "" if self.victims else f"{WORKERS[VICTIM]} had no partition when it was to die"

    def _kill(self, worker: _Worker) -> None:
        self.victims = sum(1 for name, _ in self._ledger.owners.values() if name == worker.name)
        worker.app.abandon()
        self._dead.append(worker.name)
        self._view.event(f"{worker.name} dies with {self.victims} partitions: nothing saved, nobody told")

    def _tell_changes(self) -> None:
        owners = dict(self._ledger.owners)
        gained: dict[str, list[str]] = {}
        for partition, owner in owners.items():
            if self._known.get(partition) != owner:
                gained.setdefault(owner[0], []).append(partition)
        for name, partitions in sorted(gained.items()):
            self._view.event(f"{name} takes {', '.join(sorted(partitions, key=int))}")
        self._known = owners


def _generate() -> dict[str, int]:
    """Orders of some customers, keyed by customer; how many there are in each partition."""
    MemoryLog.forget(LOG)
    log = MemoryLog.named(LOG)
    log.create(STREAM, PARTITIONS)
    chance = random.Random(7)
    now = time.time()
    counts = {partition.id: 0 for partition in log.partitions(STREAM)}
    for number in range(RECORDS):
        customer = chance.randrange(CUSTOMERS)
        value = b'{"order": %d, "customer": %d, "cents": %d}' % (number, customer, chance.randrange(100, 100_000))
        counts[log.append(STREAM, value, key=b"customer-%d" % customer, now=now).partition.id] += 1
    return counts
