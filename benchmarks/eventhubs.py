"""streamkit beside Azure's own client on Event Hubs, as the sandbox emulates it: `uv run benchmarks/eventhubs.py`.

The emulator is a process of its own on loopback, without TLS, and it costs about as much for everybody; a real namespace is slower
for everybody. Contenders run one at a time, each in a process of its own, in interleaved rounds, because the speed of a machine drifts.
Figures are medians over rounds; ratios are taken pair by pair within a round, and then their median.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

NAMES = ["raw aio client", "raw sync client", "streamkit batch", "streamkit record", "streamkit batch, RECEIVE=sdk"]
BASE = "raw aio client"
AIM = 0.95
EVENT_BYTES = 500
RATE = 20
LATE_EVENTS = 200
HERE = Path(__file__).parent

Runs = dict[str, list[dict[str, float]]]


@contextmanager
def emulator(partitions: int, events: int, rate: int = 0) -> Iterator[str]:
    command = [sys.executable, str(HERE / "eventhubs_server.py"), str(partitions), str(events), str(EVENT_BYTES), str(rate)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        yield process.stdout.readline().strip()
        process.stdin.close()


def run_one(name: str, connection: str, expected: int, mode: str) -> dict[str, float]:
    command = [sys.executable, str(HERE / "eventhubs_contender.py"), name, connection, str(expected), mode]
    done = subprocess.run(command, capture_output=True, text=True, timeout=180, check=False)
    if done.returncode or not done.stdout.strip():
        raise SystemExit(f"{name} failed:\n{done.stdout}\n{done.stderr}")
    result: dict[str, float] = json.loads(done.stdout.strip().splitlines()[-1])
    return result


def rates(partitions: int, events: int, rounds: int, names: Sequence[str]) -> Runs:
    results: Runs = {name: [] for name in names}
    with emulator(partitions, events) as connection:
        for number in range(rounds):
            for name in [*names[number % len(names) :], *names[: number % len(names)]]:
                results[name].append(run_one(name, connection, events, "rate"))
                print(f"  round {number + 1}: {name}: {results[name][-1]}", file=sys.stderr, flush=True)
    return results


def latencies(partitions: int, names: Sequence[str]) -> Runs:
    with emulator(partitions, 0, RATE) as connection:
        return {name: [run_one(name, connection, LATE_EVENTS, "latency")] for name in names}


def rate_table(partitions: int, results: Runs) -> str:
    lines = [f"| {partitions} partitions | events a second | CPU us an event | peak MiB |", "|---|---|---|---|"]
    for name, runs in results.items():
        middle = {key: statistics.median(run[key] for run in runs) for key in ("per_second", "cpu_us", "mib")}
        lines.append(f"| {name} | {middle['per_second']:,.0f} | {middle['cpu_us']:.1f} | {middle['mib']:.0f} |")
    return "\n".join(lines)


def ratios(results: Runs) -> str:
    lines = [f"| of the {BASE} | events a second | CPU of it for an event | aim |", "|---|---|---|---|"]
    for name in results:
        if name == BASE or BASE not in results:
            continue
        pairs = list(zip(results[name], results[BASE], strict=True))
        speed = sorted(ours["per_second"] / theirs["per_second"] for ours, theirs in pairs)
        cpu = statistics.median(ours["cpu_us"] / theirs["cpu_us"] for ours, theirs in pairs)
        aim = AIM if name.startswith("streamkit") else ""
        lines.append(f"| {name} | {statistics.median(speed):.2f} ({speed[0]:.2f} to {speed[-1]:.2f}) | {cpu:.2f} | {aim} |")
    return "\n".join(lines)


def latency_table(partitions: int, results: Runs) -> str:
    lines = [f"| {RATE} events a second, {partitions} partitions | p50 ms | p99 ms | CPU % |", "|---|---|---|---|"]
    for name, (run,) in results.items():
        lines.append(f"| {name} | {run['p50_ms']:,.0f} | {run['p99_ms']:,.0f} | {run['cpu_percent']:.1f} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--events", type=int, default=100_000)
    parser.add_argument("--partitions", type=int, nargs="*", default=[1, 32])
    parser.add_argument("--contenders", nargs="*", help="only these")
    parser.add_argument("--only", choices=["rates", "latency"])
    options = parser.parse_args()
    names = [name for name in NAMES if not options.contenders or name in options.contenders]
    for partitions in options.partitions:
        if options.only != "latency":
            results = rates(partitions, options.events, options.rounds, names)
            print(f"\n{rate_table(partitions, results)}\n\n{ratios(results)}", flush=True)
        if options.only != "rates":
            print(f"\n{latency_table(partitions, latencies(partitions, names))}", flush=True)


if __name__ == "__main__":
    main()
