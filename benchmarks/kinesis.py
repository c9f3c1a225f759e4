"""streamkit beside boto3 on Kinesis, from canned answers that a process of its own replays: `uv run benchmarks/kinesis.py`.

What counts is records per second of processor time, because one process reads many shards: what a record costs decides how
many. Contenders run one at a time, each in a process of its own, in interleaved rounds, because the speed of a machine drifts. Figures
are medians over rounds; ratios are taken pair by pair within a round, and then their median.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kinesis_server import SHAPES

PLAIN = ["boto3 loop", "streamkit decoding", "streamkit batch", "streamkit record"]
PACKED = [
    "boto3 + aws-kinesis-agg",
    "streamkit decoding",
    "streamkit batch",
    "aggregates alone: aws-kinesis-agg",
    "aggregates alone: streamkit",
]
AIMS: dict[str, list[tuple[str, str, float]]] = {
    "1,000 x 1 KiB": [("streamkit batch", "boto3 loop", 8.0)],
    "10,000 x 100 B": [("streamkit batch", "boto3 loop", 15.0)],
    "20 x 1 KiB": [("streamkit batch", "boto3 loop", 1.5)],
    "aggregates, 100 B": [("aggregates alone: streamkit", "aggregates alone: aws-kinesis-agg", 1.5)],
    "aggregates, 1 KiB": [("aggregates alone: streamkit", "aggregates alone: aws-kinesis-agg", 1.5)],
}
DAEMON_CPU = 0.30
"""CPU seconds for 10,000 records of 1 KiB that the KCL's daemon in Java and a child in Python take (measured: 0.30 to 0.33)."""
HERE = Path(__file__).parent


@contextmanager
def service(shape: str, shards: int = 1) -> Iterator[str]:
    command = [sys.executable, str(HERE / "kinesis_server.py"), shape, str(shards)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        yield process.stdout.readline().strip()
        process.stdin.close()


def run_one(name: str, url: str, expected: int) -> dict[str, float]:
    command = [sys.executable, str(HERE / "kinesis_contender.py"), name, url, str(expected)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=180, check=False)
    if done.returncode or not done.stdout.strip():
        raise SystemExit(f"{name} failed:\n{done.stdout}\n{done.stderr}")
    result: dict[str, float] = json.loads(done.stdout.strip().splitlines()[-1])
    return result


def measure(shape: str, rounds: int, names: list[str]) -> dict[str, list[dict[str, float]]]:
    results: dict[str, list[dict[str, float]]] = {name: [] for name in names}
    with service(shape) as url:
        for number in range(rounds):
            for name in names[number % len(names) :] + names[: number % len(names)]:
                results[name].append(run_one(name, url, SHAPES[shape].total))
                print(f"  round {number + 1}: {name}: {results[name][-1]['per_cpu_second']:,.0f}", file=sys.stderr, flush=True)
    return results


def table(shape: str, results: dict[str, list[dict[str, float]]]) -> str:
    lines = [f"| {shape} | records per CPU second | lowest to highest | CPU us a record |", "|---|---|---|---|"]
    for name, runs in results.items():
        rates = sorted(run["per_cpu_second"] for run in runs)
        middle = statistics.median(rates)
        lines.append(f"| {name} | {middle:,.0f} | {rates[0]:,.0f} to {rates[-1]:,.0f} | {1e6 / middle:.2f} |")
    return "\n".join(lines)


def ratios(shape: str, results: dict[str, list[dict[str, float]]]) -> str:
    base = next((name for name in results if name.startswith("boto3")), None)
    rows = [(name, base) for name in results if base is not None and name.startswith("streamkit")]
    aims = {(ours, theirs): aim for ours, theirs, aim in AIMS[shape]}
    rows += [pair for pair in aims if pair not in rows and set(pair) <= results.keys()]
    lines = ["| ratio | median | lowest to highest | aim |", "|---|---|---|---|"]
    for ours, theirs in rows:
        pairs = sorted(a["per_cpu_second"] / b["per_cpu_second"] for a, b in zip(results[ours], results[theirs], strict=True))
        aim = aims.get((ours, theirs))
        lines.append(f"| {ours} / {theirs} | {statistics.median(pairs):.2f} | {pairs[0]:.2f} to {pairs[-1]:.2f} | {aim or ''} |")
    return "\n".join(lines)


def end_to_end(results: dict[str, list[dict[str, float]]]) -> str:
    """What 10,000 records of 1 KiB cost, beside the KCL's daemon."""
    lines = ["| 10,000 records of 1 KiB | CPU seconds | of the KCL's daemon and child | aim |", "|---|---|---|---|"]
    for name in ("streamkit batch", "streamkit record"):
        if name in results:
            cpu = 10_000 / statistics.median(run["per_cpu_second"] for run in results[name])
            lines.append(f"| {name} | {cpu:.3f} | {cpu / DAEMON_CPU:.2f} | 0.20 |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--shapes", nargs="*", default=list(SHAPES), choices=list(SHAPES))
    parser.add_argument("--contenders", nargs="*", help="only these")
    options = parser.parse_args()
    for shape in options.shapes:
        known = PLAIN if SHAPES[shape].users == 1 else PACKED
        names = [name for name in known if not options.contenders or name in options.contenders]
        results = measure(shape, options.rounds, names)
        print(f"\n{table(shape, results)}\n\n{ratios(shape, results)}", flush=True)
        if shape == "1,000 x 1 KiB" and "streamkit batch" in results:
            print(f"\n{end_to_end(results)}", flush=True)


if __name__ == "__main__":
    main()
