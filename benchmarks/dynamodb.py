"""A thousand leases in one DynamoDB table (AWS's DynamoDB Local): `uv run benchmarks/dynamodb.py`.

Three questions: what a call costs; how soon one process holds all of them, and what holding costs; and how soon eleven processes
are level after an eleventh has joined ten, and whether anything moved twice. The server and all workers share the machine, so
times are upper bounds; processor times are those of the workers alone.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

LEASE_SECONDS = 10.0
RENEWALS_IN_LEASE = 4
LISTINGS_A_SECOND = 1.0
HOLD_SECONDS = 20.0
PATIENCE_SECONDS = 120.0
AIMS = {"held within": 5.0, "renewals of a core": 0.04, "balanced within": 10.0, "moved twice": 0.0}


# -- what a call costs ----------------------------------------------------------------------------------------------------


async def calls(leases: int, rounds: int) -> dict[str, tuple[float, float]]:
    """Wall and processor seconds of each call, medians."""
    from streamkit_dynamodb.settings import DynamoDBSettings
    from streamkit_dynamodb.store import DynamoDBStore

    from streamkit.model import Checkpoint, Lease, Partition, Position, StartPosition
    from streamkit.plugin import Claim
    from tests.conformance.context import PlainContext

    group = f"calls-{time.time_ns()}"
    context = PlainContext(broker="kinesis", group=group)
    context.streams = ("orders",)
    settings = DynamoDBSettings(endpoint_url=os.environ["STREAMKIT_DYNAMODB__ENDPOINT_URL"], region="us-east-1")
    store = DynamoDBStore(settings, context)
    await store.open()
    arn = "arn:aws:kinesis:us-east-1:123456789012:stream/orders@1700000000"
    width = (1 << 128) // leases
    shards = [
        Partition(
            "orders",
            f"shardId-{n:012}",
            incarnation=arn,
            key_range=(n * width, (n + 1) * width - 1),
            parents=(f"shardId-{n + leases:012}",),
        )
        for n in range(leases)
    ]
    found: dict[str, list[tuple[float, float]]] = {}

    async def timed(name: str, call: Callable[[], Awaitable[object]]) -> object:
        wall, cpu = time.perf_counter(), time.process_time()
        answer = await call()
        found.setdefault(name, []).append((time.perf_counter() - wall, time.process_time() - cpu))
        return answer

    await timed("create", lambda: store.create([Lease(shard, checkpoint=Checkpoint(shard, StartPosition.EARLIEST)) for shard in shards]))
    listed = await store.leases()
    answers = await timed("take", lambda: store.take(listed, "worker-1#0a1b2c3d"))
    assert isinstance(answers, list)
    claims = [answer for answer in answers if isinstance(answer, Claim)]
    assert len(claims) == leases
    held = [(lease.partition, claim.grant) for lease, claim in zip(listed, claims, strict=True)]
    for number in range(rounds):
        renewed = await timed("renew", lambda: store.renew(held))
        assert renewed == [grant for _, grant in held]
        assert len(await timed("list", store.leases)) == leases  # type: ignore[arg-type]
        sequence = 49680421529287390267631575473143130109326425027839524866 + number
        saves = [
            (
                Checkpoint(lease.partition, StartPosition.after(Position(sequence)), owner="worker-1#0a1b2c3d", epoch=claim.epoch),
                claim.grant,
            )
            for lease, claim in zip(listed, claims, strict=True)
        ]
        await timed("save", lambda saves=saves: store.save(saves))  # type: ignore[misc]
    await timed("bare boto3, renewals", lambda: asyncio.to_thread(bare_renewals, group, [lease.partition.id for lease in listed], rounds))
    await timed("release", lambda: store.release(held))
    await store.close()
    return {name: (statistics.median(w for w, _ in runs), statistics.median(c for _, c in runs)) for name, runs in found.items()}


def bare_renewals(table: str, keys: list[str], counter: int) -> None:
    """What the same statements cost with boto3 alone, as it comes."""
    import boto3

    client = boto3.client("dynamodb", endpoint_url=os.environ["STREAMKIT_DYNAMODB__ENDPOINT_URL"], region_name="us-east-1")
    text = f'UPDATE "{table}" SET "bare" = ? WHERE "leaseKey" = ? AND "leaseOwner" = ? AND "leaseCounter" <= ?'
    number = {"N": str(counter + 1000)}
    for at in range(0, len(keys), 25):
        values = [[number, {"S": key}, {"S": "worker-1#0a1b2c3d"}, number] for key in keys[at : at + 25]]
        answer = client.batch_execute_statement(Statements=[{"Statement": text, "Parameters": value} for value in values])
        assert not any("Error" in one for one in answer["Responses"])


# -- workers --------------------------------------------------------------------------------------------------------------


class Workers:
    """Processes that share leases, and what they have written down (see `tests/promise/sharing.py`)."""

    def __init__(self, folder: Path, leases: int, group: str) -> None:
        self.folder = folder
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self._environment = {
            **{name: value for name, value in os.environ.items() if name not in ("STREAMKIT_STORE",)},
            "PYTHONPATH": str(ROOT),
            "STREAMKIT_BROKER": "counting",
            "STREAMKIT_STREAM": "numbers",
            "STREAMKIT_GROUP": group,
            "STREAMKIT_STORE": "dynamodb",
            "STREAMKIT_LEASE_DURATION": f"{LEASE_SECONDS:g}s",
            "STREAMKIT_COUNTING__PARTITIONS": str(leases),
            "STREAMKIT_COUNTING__BEGIN": str(time.time()),
            "STREAMKIT_COUNTING__SECONDS": "0",
            "STREAMKIT_LOG_FORMAT": "text",
        }

    def start(self, name: str) -> None:
        environment = {**self._environment, "STREAMKIT_WORKER": name, "WORKER_LOG": str(self.folder / f"{name}.log")}
        with (self.folder / f"{name}.err").open("wb") as errors:
            command = [sys.executable, "-m", "tests.promise.sharing"]
            self.processes[name] = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=errors, stderr=errors)

    def lines(self) -> list[tuple[float, str, str, str, int]]:
        found = []
        for log in self.folder.glob("*.log"):
            for text in log.read_text().splitlines():
                at, worker, what, partition, epoch, _ = text.split()
                found.append((int(at) / 1e9, worker, what, partition, int(epoch)))
        return sorted(found)

    def loads(self) -> list[int]:
        newest: dict[str, tuple[int, str]] = {}
        lines = self.lines()
        for _, worker, what, partition, epoch in lines:
            if what == "assigned" and epoch > newest.get(partition, (0, ""))[0]:
                newest[partition] = (epoch, worker)
        over = {(partition, epoch) for _, _, what, partition, epoch in lines if what in ("revoked", "lost")}
        owners = Counter(worker for partition, (epoch, worker) in newest.items() if (partition, epoch) not in over)
        return sorted(owners.values())

    def until(self, loads: list[int]) -> float:
        """When the last change was made that led there (monotonic)."""
        until = time.monotonic() + PATIENCE_SECONDS
        while self.loads() != loads:
            if time.monotonic() > until:
                problems = "\n".join(path.read_text()[-2000:] for path in sorted(self.folder.glob("*.err")))
                raise SystemExit(f"not level: {self.loads()}\n{problems}")
            time.sleep(0.1)
        return self.lines()[-1][0]

    def cpu_seconds(self, name: str) -> float:
        fields = Path(f"/proc/{self.processes[name].pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def end(self) -> None:
        for process in self.processes.values():
            process.kill()
            process.wait(10)


@contextlib.contextmanager
def workers(leases: int) -> Iterator[Workers]:
    with tempfile.TemporaryDirectory(prefix="streamkit-bench-") as folder:
        made = Workers(Path(folder), leases, f"bench-{time.time_ns()}")
        try:
            yield made
        finally:
            made.end()


def holding(leases: int) -> dict[str, float]:
    with workers(leases) as group:
        group.start("w0")
        held = group.until([leases])
        first = min(at for at, *_ in group.lines())
        started = time.monotonic()
        time.sleep(2 * LEASE_SECONDS / RENEWALS_IN_LEASE)
        cpu, began = group.cpu_seconds("w0"), time.monotonic()
        time.sleep(HOLD_SECONDS)
        used = (group.cpu_seconds("w0") - cpu) / (time.monotonic() - began)
        lost = sum(1 for _, _, what, _, _ in group.lines() if what == "lost")
        return {"first": first, "held": held - first, "started": started, "idle core": used, "lost": lost}


def joining(leases: int, many: int) -> dict[str, float]:
    share, more = divmod(leases, many)
    after, extra = divmod(leases, many + 1)
    with workers(leases) as group:
        for number in range(many):
            group.start(f"w{number}")
        group.until(sorted([share] * (many - more) + [share + 1] * more))
        time.sleep(3.0)
        began = time.monotonic()
        group.start("w-new")
        level = group.until(sorted([after] * (many + 1 - extra) + [after + 1] * extra))
        time.sleep(2.0)
        moves = Counter(partition for at, _, what, partition, _ in group.lines() if at >= began and what == "assigned")
        joined = min(at for at, worker, *_ in group.lines() if worker == "w-new")
        lost = sum(1 for at, _, what, _, _ in group.lines() if at >= began and what == "lost")
        return {
            "balanced": level - joined,
            "since start": level - began,
            "moved": len(moves),
            "twice": sum(n > 1 for n in moves.values()),
            "lost": lost,
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--leases", type=int, default=1000)
    parser.add_argument("--workers", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--only", choices=["calls", "holding", "joining"])
    arguments = parser.parse_args()
    from streamkit_sandbox.dynamodb import DynamoDBServer

    with DynamoDBServer() as server:
        os.environ.update(server.settings())
        results: dict[str, object] = {}
        if arguments.only in (None, "calls"):
            found = asyncio.run(calls(arguments.leases, arguments.rounds))
            results["calls"] = found
            print(f"| {arguments.leases:,} leases | seconds | CPU seconds | CPU us a lease |\n|---|---|---|---|")
            for name, (wall, cpu) in found.items():
                print(f"| {name} | {wall:.2f} | {cpu:.3f} | {1e6 * cpu / arguments.leases:.0f} |")
            renewals = found["renew"][1] * RENEWALS_IN_LEASE / LEASE_SECONDS
            print(
                f"renewals: {renewals:.1%} of a core (aim: under {AIMS['renewals of a core']:.0%}); "
                f"listings: {found['list'][1] * LISTINGS_A_SECOND:.1%}"
            )
        if arguments.only in (None, "holding"):
            one = holding(arguments.leases)
            print(
                f"one process: all held {one['held']:.1f}s after its first (aim: within {AIMS['held within']:g}s); "
                f"holding all, idle: {one['idle core']:.1%} of a core; lost: {one['lost']:.0f}"
            )
        if arguments.only in (None, "joining"):
            more = joining(arguments.leases, arguments.workers)
            print(
                f"{arguments.workers} to {arguments.workers + 1} workers: level {more['balanced']:.1f}s after the new one's first lease, "
                f"{more['since start']:.1f}s after its start (aim: within {AIMS['balanced within']:g}s); "
                f"{more['moved']:.0f} moved, {more['twice']:.0f} twice, {more['lost']:.0f} lost"
            )


if __name__ == "__main__":
    main()
