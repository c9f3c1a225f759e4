"""Workers that are killed at random moments, and the proof afterwards, from their own logs and the dead letters alone.

    python -m tests.promise.chaos.chaos --kills 200 --on leases

does by hand, longer, what the tests beside it do; with `--policy park` keys are parked, and replayed beside the workers.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from streamkit.model import Checkpoint
from tests.promise.chaos.counting import STREAM, key_of

__all__ = ["Chaos", "Figures", "chaos_on_kafka", "chaos_on_leases"]

HERE = Path(__file__).parent
ROOT = Path(__file__).parents[3]
PARTITIONS = 6
KEYS = 17
RATE = 40.0
WORKERS = ("one", "two", "three")
REPLAY_SECONDS = 150.0
"""Five rounds, in each of which an owner that has just been killed may be waited for."""


class Line(NamedTuple):
    time: int
    worker: str
    what: str
    partition: str
    number: int


@dataclass(frozen=True, slots=True)
class Figures:
    """What was seen; a test prints it."""

    kills: int
    records: int
    calls: int
    dead_letters: int
    assignments: int
    seconds: float

    def __str__(self) -> str:
        return (
            f"{self.kills} kills in {self.seconds:.0f} s: {self.records} records, none lost, keys in order; {self.calls} finished calls, "
            f"{self.dead_letters} dead letters, {self.assignments} assignments"
        )


class Chaos:
    """Three workers, and somebody who kills them."""

    def __init__(self, folder: Path, environment: dict[str, str], seed: int, policy: str = "dead_letter") -> None:
        self.folder = folder
        self.chance = random.Random(seed)
        self._environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("STREAMKIT_")},
            "PYTHONPATH": str(ROOT),
            "STREAMKIT_ORDERING": "key",
            "STREAMKIT_CONCURRENCY": "4",
            "STREAMKIT_CHECKPOINT_INTERVAL": "500ms",
            "STREAMKIT_RETRY_ATTEMPTS": "2",
            "STREAMKIT_RETRY_BACKOFF": "20ms",
            "STREAMKIT_ON_FAILURE": policy,
            "STREAMKIT_DEAD_LETTER": f"file:{folder / 'letters.jsonl'}",
            "STREAMKIT_GROUP": "chaos",
            **environment,
        }
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._errors: dict[str, Path] = {}
        self._started = 0
        self.parks = policy == "park"
        self.replays = 0
        self.longest_replay = 0.0

    def start(self, name: str) -> None:
        self._started += 1
        log = str(self.folder / f"{name}-{self._started}.log")
        environment = {**self._environment, "STREAMKIT_WORKER": name, "WORKER_LOG": log}
        with (self.folder / f"{name}-{self._started}.err").open("wb") as errors:
            self._errors[name] = Path(errors.name)
            self._processes[name] = subprocess.Popen(
                [sys.executable, "-m", "streamkit", "run", "work:app"], cwd=HERE, env=environment, stdout=errors, stderr=errors
            )

    def kill_one(self) -> None:
        """Any of them, wherever it is in its life, and begin it again."""
        name = self.chance.choice(WORKERS)
        self._processes[name].kill()
        self._processes[name].wait(10)
        self.start(name)

    def lines(self) -> list[Line]:
        found = []
        for log in self.folder.glob("*.log"):
            for text in log.read_text().splitlines():
                time_ns, worker, what, partition, number = text.split()
                found.append(Line(int(time_ns), worker, what, partition, int(number)))
        return sorted(found)

    def letters(self) -> set[tuple[str, int]]:
        """Origin partition and number of each dead letter."""
        with contextlib.suppress(FileNotFoundError):
            return {_origin(line) for line in (self.folder / "letters.jsonl").read_text().splitlines()}
        return set()

    def stop(self) -> list[int]:
        """SIGTERM to all, once the youngest listens to it too; their exit codes."""
        self._until(lambda: all("assigned" in path.read_text() for path in self._errors.values()), 60)
        for process in self._processes.values():
            process.send_signal(signal.SIGTERM)
        return [process.wait(40) for process in self._processes.values()]

    def errors(self) -> str:
        return "\n".join(f"--- {path.name}\n{path.read_text()[-4000:]}" for path in self._errors.values())

    def end(self) -> None:
        for process in self._processes.values():
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            process.wait(10)

    def run(self, kills: int, per_partition: int) -> Figures:
        """Start, kill so many times, wait until everything is done, stop, prove. Raises AssertionError with the workers' words."""
        began = time.monotonic()
        for name in WORKERS:
            self.start(name)
        self._until(lambda: len({line.partition for line in self.lines() if line.what == "record"}) == PARTITIONS, 60)
        with self._replaying() if self.parks else contextlib.nullcontext():
            for _ in range(kills):
                time.sleep(self.chance.uniform(0.2, 3.0))
                self.kill_one()
        expected = {(str(p), n) for p in range(PARTITIONS) for n in range(per_partition)}

        def is_done() -> bool:
            if self.parks:
                self._replay()
            put_aside = set() if self.parks else self.letters()
            done = expected <= {(line.partition, line.number) for line in self.lines() if line.what == "record"} | put_aside
            return done and not (self.parks and self._parked())

        self._until(is_done, 120 + REPLAY_SECONDS * self.parks)
        codes = self.stop()
        assert codes == [0] * len(WORKERS), f"{codes}\n{self.errors()}"
        return self._prove(kills, per_partition, time.monotonic() - began)

    # -- replays --------------------------------------------------------------------------------------------------

    def _prove_last(self, records: Sequence[Line]) -> None:
        """What was done several times, directly and by replays, has ended in order."""
        for (partition, key), last in _numbers(records).items():
            order = sorted(last, key=lambda number: last[number])
            assert order == sorted(order), f"the last effects of key {key!r} of partition {partition} are out of order: {order}"

    @contextlib.contextmanager
    def _replaying(self) -> Iterator[None]:
        """Somebody replays all the time, and is killed as well."""
        over, chance = threading.Event(), random.Random(self.chance.random())
        failures: list[BaseException] = []

        def replay() -> None:
            try:
                while not over.wait(chance.uniform(0.5, 3.0)):
                    self._replay(chance.uniform(2.0, 20.0))
            except BaseException as error:
                failures.append(error)

        thread = threading.Thread(target=replay, name="replays")
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join(REPLAY_SECONDS)
        assert not failures, failures

    def _replay(self, kill_after: float | None = None) -> None:
        self.replays += 1
        environment = {**self._environment, "STREAMKIT_WORKER": "replay", "WORKER_LOG": str(self.folder / f"replay-{self.replays}.log")}
        began = time.monotonic()
        process = self._command("replay", "work:app", environment=environment)
        try:
            said = process.communicate(timeout=kill_after or REPLAY_SECONDS)[1]
        except subprocess.TimeoutExpired:
            process.kill()
            said = process.communicate()[1]
            assert kill_after is not None, f"a replay does not end\n{said.decode()[-3000:]}"
        else:
            self.longest_replay = max(self.longest_replay, time.monotonic() - began)
            is_nothing_there = b"does not exist" in said or b"no such file" in said.lower()
            assert process.returncode == 0 or is_nothing_there, said.decode()[-3000:]

    def _command(self, *arguments: str, environment: dict[str, str]) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "streamkit", "dead-letters", *arguments]
        return subprocess.Popen(command, cwd=HERE, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def _parked(self) -> int:
        """How many keys are parked, as the store says."""
        with contextlib.closing(sqlite3.connect(self.folder / "leases.db")) as file:
            rows = file.execute("SELECT checkpoint FROM checkpoints WHERE checkpoint IS NOT NULL").fetchall()
        return sum(len(Checkpoint.from_text(text).parked) for (text,) in rows)

    def _until(self, condition: object, seconds: float) -> None:
        until = time.monotonic() + seconds
        while not condition():  # type: ignore[operator]
            dead = [name for name, process in self._processes.items() if process.poll() is not None]
            assert not dead, f"{dead} ended by themselves\n{self.errors()}"
            assert time.monotonic() < until, f"not within {seconds:g} s\n{self.errors()}"
            time.sleep(0.2)

    def _prove(self, kills: int, per_partition: int, seconds: float) -> Figures:
        lines = self.lines()
        letters = self.letters()
        records = [line for line in lines if line.what == "record"]
        first: dict[tuple[str, bytes], list[int]] = defaultdict(list)
        seen = set()
        for line in records:
            if (line.partition, line.number) not in seen:
                seen.add((line.partition, line.number))
                first[(line.partition, key_of(line.number, KEYS))].append(line.number)
        everything = {(str(p), n) for p in range(PARTITIONS) for n in range(per_partition)}
        poison = {(p, n) for p, n in everything if n % 97 == 13}
        if self.parks:
            assert not everything - seen, f"lost: {sorted(everything - seen)[:10]}\n{self.errors()}"
            self._prove_last(records)
        assert not everything - seen - letters, f"lost: {sorted(everything - seen - letters)[:10]}\n{self.errors()}"
        assert poison <= letters, f"poison that was not put aside: {sorted(poison - letters)[:10]}"
        assert self.parks or letters <= poison, f"put aside, but not poison: {sorted(letters - poison)[:10]}"
        for (partition, key), numbers in first.items():
            assert numbers == sorted(numbers), f"key {key!r} of partition {partition} was first seen out of order: {numbers}"
        assignments = sum(line.what == "assigned" for line in lines)
        return Figures(kills, len(everything), len(records), len(letters), assignments, seconds)


def _numbers(records: Sequence[Line]) -> dict[tuple[str, bytes], dict[int, int]]:
    """Of each key of each partition, when each number was done for the last time."""
    found: dict[tuple[str, bytes], dict[int, int]] = defaultdict(dict)
    for index, line in enumerate(records):
        found[(line.partition, key_of(line.number, KEYS))][line.number] = index
    return found


def _origin(line: str) -> tuple[str, int]:
    letter = json.loads(line)
    return dict(letter["headers"])["streamkit-partition"], int(letter["value"])


@contextlib.contextmanager
def chaos_on_leases(folder: Path, seconds: float, seed: int, policy: str = "dead_letter") -> Iterator[tuple[Chaos, int]]:
    """Leases in one sqlite file; records from the counting broker."""
    environment = {
        "STREAMKIT_BROKER": "counting",
        "STREAMKIT_STREAM": STREAM,
        "STREAMKIT_STORE": "sqlite",
        "STREAMKIT_SQLITE__PATH": str(folder / "leases.db"),
        "STREAMKIT_OWNERSHIP": "lease",
        "STREAMKIT_LEASE_DURATION": "2s",
        "STREAMKIT_COUNTING__PARTITIONS": str(PARTITIONS),
        "STREAMKIT_COUNTING__KEYS": str(KEYS),
        "STREAMKIT_COUNTING__RATE": str(RATE),
        "STREAMKIT_COUNTING__BEGIN": str(time.time()),
        "STREAMKIT_COUNTING__SECONDS": str(seconds),
    }
    chaos = Chaos(folder, environment, seed, policy)
    try:
        yield chaos, int(seconds * RATE)
    finally:
        chaos.end()


@contextlib.contextmanager
def chaos_on_kafka(folder: Path, servers: str, protocol: str, seconds: float, seed: int) -> Iterator[tuple[Chaos, int]]:
    """A group of a real Kafka, with its own offsets. A thread writes the records while the workers run."""
    from confluent_kafka import Producer
    from streamkit_sandbox.kafka_topics import create_topic

    per_partition = int(seconds * RATE)
    topic = create_topic(servers, PARTITIONS, {})
    producer = Producer({"bootstrap.servers": servers, "linger.ms": 20, "log_level": 0})
    problems: list[str] = []
    over = threading.Event()

    def write() -> None:
        begin = time.monotonic()
        for number in range(per_partition):
            over.wait(max(0.0, begin + number / RATE - time.monotonic()))
            if over.is_set():
                return
            for partition in range(PARTITIONS):
                producer.produce(topic, b"%d" % number, key=key_of(number, KEYS), partition=partition)
            producer.poll(0)
        if producer.flush(60):
            problems.append("not everything could be written")

    writer = threading.Thread(target=write, name="writer")
    environment = {
        "STREAMKIT_BROKER": "kafka",
        "STREAMKIT_STREAM": topic,
        "STREAMKIT_GROUP": f"chaos-{topic}",  # the cluster is shared, and a group has one protocol
        "STREAMKIT_KAFKA__BOOTSTRAP_SERVERS": servers,
        "STREAMKIT_KAFKA__GROUP_PROTOCOL": protocol,
        "STREAMKIT_MAX_IN_FLIGHT": "200",
    }
    if protocol == "classic":
        environment["STREAMKIT_KAFKA__SESSION_TIMEOUT"] = "6s"
    chaos = Chaos(folder, environment, seed)
    writer.start()
    try:
        yield chaos, per_partition
    finally:
        over.set()
        writer.join(60)
        chaos.end()
    assert not problems, problems


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--on", choices=["leases", "classic", "consumer", "eventhubs"], default="leases")
    parser.add_argument("--policy", choices=["dead_letter", "park"], default="dead_letter", help="park: on leases")
    parser.add_argument("--faults", action="store_true", help="on eventhubs: the emulator errs, and the store fails twice")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    options = parser.parse_args(arguments)
    seconds = options.kills * 1.7 + 10
    print(f"seed {options.seed}", flush=True)
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        if options.on == "leases":
            chaos, count = stack.enter_context(chaos_on_leases(folder, seconds, options.seed, options.policy))
        elif options.on == "eventhubs":
            from tests.promise.eventhubs.fire import on_eventhubs_of_its_own

            fire = stack.enter_context(on_eventhubs_of_its_own(folder, options.seed))
            print(f"eventhubs: {fire.run(options.kills, faults=options.faults)}")
            return
        else:
            from streamkit_sandbox.kafka import KafkaServer

            server = stack.enter_context(KafkaServer())
            chaos, count = stack.enter_context(chaos_on_kafka(folder, server.bootstrap_servers, options.on, seconds, options.seed))
        print(f"{options.on}: {chaos.run(options.kills, count)}")


if __name__ == "__main__":
    main()
