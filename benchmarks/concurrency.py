"""How throughput grows with `STREAMKIT_CONCURRENCY`: handlers that wait 20 ms, on one partition of the memory broker.

`uv run benchmarks/concurrency.py`. The limit is the handler's: `concurrency / handler time`. Each measurement runs in a process
of its own; the clock runs from the first call to the last return, so starting and importing do not count.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import resource
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable

from streamkit import App, Context, Record, record_processor, run
from streamkit.builtin.memory import MemoryLog

HANDLER_SECONDS = 0.02
KEYS = 10_000
SECONDS = 8.0
"""About how long one measurement lasts."""
CASES = [("bare threads", 64), ("def", 16), ("def", 64), ("bare tasks", 256), ("async def", 64), ("async def", 256)]
"""Bare: so many threads or tasks that do nothing but wait, each again and again. The machine allows no more."""
AIM = 0.9
AIMED = {("def", 64), ("async def", 256)}


class Clock:
    """First call, last return."""

    def __init__(self, app: Callable[[], App], records: int) -> None:
        self.first = 0.0
        self.last = 0.0
        self.cpu_seconds = self._cpu = 0.0
        self._app = app
        self._records = records
        self._count = itertools.count(1)

    def begin(self) -> None:
        if not self.first:
            self.first = time.perf_counter()
            self._cpu = time.process_time()

    def end(self) -> None:
        self.last = time.perf_counter()
        if next(self._count) == self._records:  # one step for the interpreter, so no two threads get the same number
            self.cpu_seconds = time.process_time() - self._cpu
            self._app().stop("done")


def bare(kind: str, concurrency: int, records: int) -> dict[str, float]:
    """Nothing but the waits themselves."""
    each = records // concurrency

    def plain() -> None:
        for _ in range(each):
            time.sleep(HANDLER_SECONDS)

    async def asynchronous() -> None:
        async def one() -> None:
            for _ in range(each):
                await asyncio.sleep(HANDLER_SECONDS)

        await asyncio.gather(*[one() for _ in range(concurrency)])

    cpu, begun = time.process_time(), time.perf_counter()
    if kind == "bare tasks":
        asyncio.run(asynchronous())
    else:
        threads = [threading.Thread(target=plain) for _ in range(concurrency)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    return _result(each * concurrency, concurrency, time.perf_counter() - begun, time.process_time() - cpu)


def _result(records: int, concurrency: int, seconds: float, cpu_seconds: float) -> dict[str, float]:
    return {
        "rate": records / seconds,
        "limit": concurrency / HANDLER_SECONDS,
        "cpu_us": cpu_seconds / records * 1e6,
        "rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def measure(kind: str, concurrency: int, records: int) -> dict[str, float]:
    """One run in this process."""
    log = MemoryLog.named("bench")
    log.create("work", 1)
    for number in range(records):
        log.append("work", b"x" * 100, key=b"%d" % (number * 7919 % KEYS), partition="0", now=0.0)
    clock = Clock(lambda: app, records)

    @record_processor
    def plain(record: Record, context: Context) -> None:
        clock.begin()
        time.sleep(HANDLER_SECONDS)
        clock.end()

    @record_processor
    async def asynchronous(record: Record, context: Context) -> None:
        clock.begin()
        await asyncio.sleep(HANDLER_SECONDS)
        clock.end()

    handler = plain if kind == "def" else asynchronous
    app = App(handler, broker="memory", stream="work", group="bench", ordering="key", concurrency=concurrency, memory={"name": "bench"})
    run(app)
    return _result(records, concurrency, clock.last - clock.first, clock.cpu_seconds)


def run_one(kind: str, concurrency: int, seconds: float) -> dict[str, float]:
    records = int(concurrency / HANDLER_SECONDS * seconds)
    command = [sys.executable, __file__, "--one", kind, str(concurrency), str(records)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60 + 10 * seconds, check=False)
    if done.returncode or not done.stdout.strip():
        raise SystemExit(f"{kind} {concurrency} failed:\n{done.stdout}\n{done.stderr}")
    result: dict[str, float] = json.loads(done.stdout.strip().splitlines()[-1])
    return result


def table(results: dict[tuple[str, int], list[dict[str, float]]]) -> str:
    lines = [
        "| handler | calls at once | records/s | limit | of the limit | lowest to highest | aim | CPU us a record | peak memory MB |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for (kind, concurrency), runs in results.items():
        shares = [one["rate"] / one["limit"] for one in runs]
        rate, cpu, rss = (statistics.median(one[name] for one in runs) for name in ("rate", "cpu_us", "rss_mb"))
        aim = f"{AIM}" if (kind, concurrency) in AIMED else ""
        spread = f"{min(shares):.2f} to {max(shares):.2f}"
        lines.append(
            f"| `{kind}` | {concurrency} | {rate:,.0f} | {runs[0]['limit']:,.0f} | {statistics.median(shares):.2f} | {spread} | {aim} "
            f"| {cpu:.0f} | {rss:.0f} |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=SECONDS)
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        run_here = bare if options.one[0].startswith("bare") else measure
        print(json.dumps(run_here(options.one[0], int(options.one[1]), int(options.one[2]))))
        return
    results: dict[tuple[str, int], list[dict[str, float]]] = {case: [] for case in CASES}
    for number in range(options.rounds):
        for case in CASES:
            results[case].append(run_one(*case, options.seconds))
            print(f"  round {number + 1}: {case[0]} {case[1]}: {results[case][-1]['rate']:,.0f}/s", file=sys.stderr, flush=True)
    print(f"Handlers that wait {HANDLER_SECONDS * 1000:g} ms, one partition, {KEYS:,} keys, {options.rounds} rounds:\n\n{table(results)}")
    missed = [case for case in CASES if case in AIMED and statistics.median(one["rate"] / one["limit"] for one in results[case]) < AIM]
    sys.exit(1 if missed else 0)


if __name__ == "__main__":
    main()
