"""Three workers on a stream that changes its shards, two of them killed; and the proof afterwards from their own logs.

    python -m tests.promise.resharding.proof --seconds 60 --faults 0.05

does by hand, longer, what the tests beside it do.
"""

from __future__ import annotations

import argparse
import contextlib
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from tests.promise import aws
from tests.promise.aws import client, plain_environment
from tests.promise.resharding.streams import Producers, Reshaping, is_open, shards

if TYPE_CHECKING:
    from streamkit_sandbox.fault_proxy import FaultProxy

__all__ = ["Figures", "Workers", "faulty", "reshard", "settings"]

HERE = Path(__file__).parent
WORKERS = ("one", "two", "three")
GROUP = "resharding"


class Line(NamedTuple):
    time: int
    worker: str
    what: str
    shard: str
    key: str
    number: int


@dataclass(frozen=True, slots=True)
class Figures:
    """What was seen; a test prints it."""

    records: int
    deliveries: int
    changes: Mapping[str, int]
    shards: int
    closed: int
    kills: int
    seconds: float

    def __str__(self) -> str:
        changes = ", ".join(f"{count} {kind}" for kind, count in self.changes.items())
        return (
            f"{self.records} records delivered {self.deliveries} times, none lost, keys in order; {changes}; {self.shards} shards, all "
            f"{self.closed} closed ones ended before their children began; {self.kills} kills in {self.seconds:.0f} s"
        )


class Workers:
    """`streamkit run` for each; the newest process of a name counts."""

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self.folder = folder
        self._environment = plain_environment() | dict(environment)
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._errors: dict[str, Path] = {}
        self._started = 0

    def start(self, name: str) -> None:
        self._started += 1
        log = str(self.folder / f"{name}-{self._started}.log")
        environment = {**self._environment, "STREAMKIT_WORKER": name, "WORKER_LOG": log}
        with (self.folder / f"{name}-{self._started}.err").open("wb") as errors:
            self._errors[name] = Path(errors.name)
            command = [sys.executable, "-m", "streamkit", "run", "work:Noting"]
            self._processes[name] = subprocess.Popen(command, cwd=HERE, env=environment, stdout=errors, stderr=errors)

    def kill(self, name: str) -> None:
        self._processes[name].kill()
        self._processes.pop(name).wait(10)

    def lines(self) -> list[Line]:
        """Complete ones: a killed worker may have been in the middle of one."""
        found = []
        for log in self.folder.glob("*.log"):
            for text in log.read_text().splitlines():
                time_ns, worker, what, shard, key, number = text.split()
                found.append(Line(int(time_ns), worker, what, shard, key, int(number)))
        return sorted(found)

    def until(self, condition: Callable[[], bool], seconds: float, what: str) -> None:
        until = time.monotonic() + seconds
        while not condition():
            dead = [name for name, process in self._processes.items() if process.poll() is not None]
            assert not dead, f"{dead} ended by themselves\n{self.errors()}"
            assert time.monotonic() < until, f"{what}: not within {seconds:g} s\n{self.errors()}"
            time.sleep(0.2)

    def stop(self) -> list[int]:
        for process in self._processes.values():
            process.send_signal(signal.SIGTERM)
        return [process.wait(40) for process in self._processes.values()]

    def errors(self) -> str:
        return "\n".join(f"--- {path.name}\n{path.read_text()[-4000:]}" for path in sorted(self.folder.glob("*.err")))

    def end(self) -> None:
        for process in self._processes.values():
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            process.wait(10)


def reshard(
    folder: Path, kinesis_url: str, environment: Mapping[str, str], *, stream: str, seconds: float, seed: int, patience: float = 90.0
) -> Figures:
    """Write and reshard for so long, kill two of three workers meanwhile, wait until everything has been read, prove.

    `environment` says where the workers find stream and leases; `kinesis_url` is for producers and changes, without faults.
    Raises AssertionError with the workers' words.
    """
    began = time.monotonic()
    chance = random.Random(seed)
    kinesis = client("kinesis", kinesis_url)
    workers = Workers(folder, {"STREAMKIT_STREAM": stream, "STREAMKIT_GROUP": GROUP, **environment})
    try:
        for name in WORKERS:
            workers.start(name)
        producers = Producers(kinesis_url, stream)
        reshaping = Reshaping(kinesis_url, stream, chance)
        try:
            workers.until(lambda: {line.worker for line in workers.lines()} == set(WORKERS), 60, "each worker has a shard")
            for name in chance.sample(WORKERS, 2):
                time.sleep(chance.uniform(0.1, 0.3) * seconds)
                workers.kill(name)
            time.sleep(max(0.0, seconds - (time.monotonic() - began)))
        finally:
            reshaping.end()
            producers.end()
        written = {(key, number) for key, count in producers.written.items() for number in range(count)}
        listed = shards(kinesis, stream)
        closed = {one["ShardId"] for one in listed if not is_open(one)}

        def is_done() -> bool:
            lines = workers.lines()
            return written <= {(line.key, line.number) for line in lines} and closed <= {
                line.shard for line in lines if line.what == "ended"
            }

        workers.until(is_done, patience, "everything is read and every closed shard has ended")
        codes = workers.stop()
        assert set(codes) == {0}, f"{codes}\n{workers.errors()}"
        lines = workers.lines()
        _prove_order(lines)
        _prove_lineage(lines, listed)
        deliveries = sum(line.what == "record" for line in lines)
        return Figures(len(written), deliveries, reshaping.done, len(listed), len(closed), 2, time.monotonic() - began)
    finally:
        workers.end()


def _prove_order(lines: Sequence[Line]) -> None:
    """A record is first seen after all earlier ones of its key; and within one assignment numbers never fall."""
    seen: dict[str, int] = defaultdict(int)
    current: dict[tuple[str, str, str], int] = {}
    for line in lines:
        if line.what == "begin":
            current = {place: number for place, number in current.items() if place[:2] != (line.worker, line.shard)}
        if line.what != "record":
            continue
        assert line.number <= seen[line.key], f"{line} came before number {seen[line.key]} of its key"
        seen[line.key] = max(seen[line.key], line.number + 1)
        place = (line.worker, line.shard, line.key)
        assert line.number >= current.get(place, -1), f"{line} after {current[place]} in one assignment"
        current[place] = line.number


def _prove_lineage(lines: Sequence[Line], listed: Sequence[dict[str, Any]]) -> None:
    """No shard began before each of its parents had ended."""
    ended = {line.shard: line.time for line in reversed(lines) if line.what == "ended"}
    begun = {line.shard: line.time for line in reversed(lines) if line.what == "begin"}
    for shard in listed:
        for name in ("ParentShardId", "AdjacentParentShardId"):
            parent = shard.get(name)
            if parent in begun and shard["ShardId"] in begun:
                assert ended[parent] < begun[shard["ShardId"]], f"{shard['ShardId']} began before its parent {parent} had ended"


@contextlib.contextmanager
def faulty(kinesis_url: str, dynamodb_url: str, chance: float, seed: int) -> Iterator[tuple[dict[str, str], list[FaultProxy]]]:
    """What workers have to be told to meet every kind of fault with this chance on their way to both servers."""
    from streamkit_sandbox.fault_proxy import FaultProxy, every_fault

    rules = every_fault(chance)
    with (
        FaultProxy(kinesis_url, seed=seed, rules=rules) as kinesis,
        FaultProxy(dynamodb_url, seed=seed + 1, rules=rules) as dynamodb,
    ):
        told = settings(kinesis.url, dynamodb.url)
        yield told | {"STREAMKIT_KINESIS__REQUEST_TIMEOUT": "2s", "STREAMKIT_DYNAMODB__REQUEST_TIMEOUT": "500ms"}, [kinesis, dynamodb]


def settings(kinesis_url: str, dynamodb_url: str) -> dict[str, str]:
    """What workers have to be told to find stream and leases."""
    return aws.settings(kinesis_url, dynamodb_url) | {
        "STREAMKIT_START": "earliest",
        "STREAMKIT_CHECKPOINT_INTERVAL": "1s",
        "STREAMKIT_LEASE_DURATION": "4s",
    }


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--faults", type=float, default=0.0)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    options = parser.parse_args(arguments)
    print(f"seed {options.seed}", flush=True)
    from streamkit_sandbox.dynamodb import DynamoDBServer
    from streamkit_sandbox.kinesis import KinesisServer

    with tempfile.TemporaryDirectory() as name, KinesisServer() as kinesis, DynamoDBServer() as dynamodb, contextlib.ExitStack() as stack:
        told = settings(kinesis.endpoint_url, dynamodb.endpoint_url)
        proxies: list[FaultProxy] = []
        if options.faults:
            proxied = faulty(kinesis.endpoint_url, dynamodb.endpoint_url, options.faults, options.seed)
            told, proxies = stack.enter_context(proxied)
        stream = kinesis.create_stream(3, "orders")
        print(reshard(Path(name), kinesis.endpoint_url, told, stream=stream, seconds=options.seconds, seed=options.seed))
        for proxy in proxies:
            print(f"{sum(proxy.requests.values())} requests, {sum(proxy.counts.values())} faults: {_by_kind(proxy)}")


def _by_kind(proxy: FaultProxy) -> dict[str, int]:
    counts: dict[str, int] = defaultdict(int)
    for (_, kind), count in proxy.counts.items():
        counts[str(kind)] += count
    return dict(counts)


if __name__ == "__main__":
    main()
