"""streamkit beside the raw client, on a real Apache Kafka that this program starts: `uv run --group bench benchmarks/kafka.py`.

Contenders run one at a time, each in a process and a group of its own, in interleaved rounds, because the speed of a machine
drifts. Figures are medians over rounds; ratios are taken pair by pair within a round, and then their median.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path

from confluent_kafka import Producer
from streamkit_sandbox.kafka import KafkaServer
from streamkit_sandbox.kafka_topics import create_topic

RATES = [
    "raw consume(500) tuned",
    "raw poll() tuned",
    "streamkit batch",
    "streamkit record",
    "streamkit async record",
]
PEERS = ["raw consume(500) default", "raw poll() default", "aiokafka getmany(1000)"]
AIMS = [
    ("streamkit batch", "raw consume(500) tuned", 0.85),
    ("streamkit record", "raw poll() tuned", 0.90),
    ("streamkit async record", "raw poll() tuned", 0.75),
]
CONTENDER = Path(__file__).with_name("kafka_contender.py")


def produce(servers: str, topic: str, records: int, size: int, partitions: int) -> None:
    """Fill the topic in runs, as a busy producer does."""
    producer = Producer({"bootstrap.servers": servers, "linger.ms": 50, "batch.size": 1_000_000, "queue.buffering.max.messages": 1_000_000})
    value = b"x" * size
    for number in range(records):
        while True:
            try:
                producer.produce(topic, value, partition=number % partitions)
                break
            except BufferError:
                producer.poll(0.1)
    producer.flush(120)


def run_one(name: str, servers: str, topic: str, expected: int) -> dict[str, float]:
    command = [sys.executable, str(CONTENDER), name, servers, topic, f"bench-{uuid.uuid4().hex[:8]}", str(expected)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=180, check=False)
    if done.returncode or not done.stdout.strip():
        raise SystemExit(f"{name} failed:\n{done.stdout}\n{done.stderr}")
    result: dict[str, float] = json.loads(done.stdout.strip().splitlines()[-1])
    return result


def rates(servers: str, topic: str, expected: int, rounds: int, peers: bool) -> dict[str, list[dict[str, float]]]:
    names = RATES + (PEERS if peers else [])
    results: dict[str, list[dict[str, float]]] = {name: [] for name in names}
    for name in names:
        run_one(name, servers, topic, 1)  # not measured: from now on its modules are compiled
    for number in range(rounds):
        for name in names[number % len(names) :] + names[: number % len(names)]:
            results[name].append(run_one(name, servers, topic, expected))
            print(f"  round {number + 1}: {name}: {results[name][-1]['rate']:,.0f}/s", file=sys.stderr, flush=True)
    return results


def memory_by_backlog(servers: str, records: int) -> str:
    """Peak memory of the batch handler over topics of growing length."""
    lines = ["| records waiting, of 100 bytes | peak memory of streamkit batch, MB |", "|---|---|"]
    for backlog in (records // 8, records // 2, records * 2):
        topic = create_topic(servers, 4, {})
        produce(servers, topic, backlog, 100, 4)
        peak = statistics.median(run_one("streamkit batch", servers, topic, backlog)["rss_mb"] for _ in range(3))
        lines.append(f"| {backlog:,} | {peak:.0f} |")
    return "\n".join(lines)


def latency(servers: str, seconds: int, rounds: int) -> dict[str, list[dict[str, float]]]:
    """From the producer's clock to the handler at 1,000 records a second; the contenders take turns, each on a topic of its own."""
    names = ["raw latency", "streamkit latency"]
    results: dict[str, list[dict[str, float]]] = {name: [] for name in names}
    for number in range(rounds):
        for name in names[number % 2 :] + names[: number % 2]:
            results[name].append(one_latency(name, servers, seconds))
            print(f"  round {number + 1}: {name}: p50 {results[name][-1]['p50_ms']:.2f} ms", file=sys.stderr, flush=True)
    return results


def one_latency(name: str, servers: str, seconds: int) -> dict[str, float]:
    topic = create_topic(servers, 4, {})
    command = [sys.executable, str(CONTENDER), name, servers, topic, f"lat-{uuid.uuid4().hex[:8]}", str(1000 * seconds)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        time.sleep(4)  # it has joined
        producer = Producer({"bootstrap.servers": servers, "linger.ms": 0})
        start = time.monotonic()
        warm_up = 2000  # connections, leaders and code paths: not measured
        for number in range(1000 * seconds + warm_up):
            value = b"%d" % time.monotonic_ns() if number >= warm_up else b"0"
            producer.produce(topic, value, partition=number % 4)
            producer.poll(0)
            wait = start + (number + 1) / 1000 - time.monotonic()
            if wait > 0:
                time.sleep(wait)
        producer.flush(10)
        result: dict[str, float] = json.loads(process.communicate(timeout=60)[0].strip().splitlines()[-1])
        return result


def latency_table(results: dict[str, list[dict[str, float]]]) -> str:
    lines = ["| at 1,000 records/s | p50 ms | lowest to highest | p99 ms | lowest to highest |", "|---|---|---|---|---|"]
    for name, runs in results.items():
        cells = []
        for key in ("p50_ms", "p99_ms"):
            values = sorted(run[key] for run in runs)
            cells.append(f"{statistics.median(values):.2f} | {values[0]:.2f} to {values[-1]:.2f}")
        lines.append(f"| {name.removesuffix(' latency')} | {' | '.join(cells)} |")
    return "\n".join(lines)


def table(results: dict[str, list[dict[str, float]]]) -> str:
    lines = ["| contender | records/s | CPU us a record | peak memory MB |", "|---|---|---|---|"]
    for name, runs in results.items():
        rate, cpu, rss = (statistics.median(run[key] for run in runs) for key in ("rate", "cpu_us", "rss_mb"))
        lines.append(f"| {name} | {rate:,.0f} | {cpu:.2f} | {rss:.0f} |")
    return "\n".join(lines)


def ratios(results: dict[str, list[dict[str, float]]]) -> str:
    lines = ["| ratio | median | lowest to highest | aim |", "|---|---|---|---|"]
    for ours, theirs, aim in AIMS:
        pairs = sorted(a["rate"] / b["rate"] for a, b in zip(results[ours], results[theirs], strict=True))
        lines.append(f"| {ours} / {theirs} | {statistics.median(pairs):.2f} | {pairs[0]:.2f} to {pairs[-1]:.2f} | {aim:.2f} |")
    ours_mb, raw_mb = (statistics.median(run["rss_mb"] for run in results[name]) for name in ("streamkit batch", "raw consume(500) tuned"))
    lines.append(f"| peak memory of streamkit batch above raw, MB | {ours_mb - raw_mb:.0f} | | 45 |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--records", type=int, default=2_000_000, help="of 100 bytes; a seventh of that of 1 KiB")
    parser.add_argument("--peers", action="store_true", help="also defaults and aiokafka")
    parser.add_argument("--backlog", action="store_true", help="also peak memory by the length of the topic")
    parser.add_argument("--sizes", default="100,1024")
    parser.add_argument("--latency-seconds", type=int, default=10, help="each contender in each round; 0: no latency")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as bytecode, KafkaServer() as server:
        # As programs run that are installed: where Python is told to write no bytecode, each start compiles all modules again.
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
        os.environ["PYTHONPYCACHEPREFIX"] = bytecode
        servers = server.bootstrap_servers
        for size in (int(text) for text in options.sizes.split(",")):
            records = options.records if size <= 100 else options.records * 3 // 20
            topic = create_topic(servers, 4, {})
            produce(servers, topic, records, size, 4)
            results = rates(servers, topic, records, options.rounds, options.peers)
            print(
                f"\n{records:,} records of {size} bytes, 4 partitions, {options.rounds} rounds\n\n{table(results)}\n\n{ratios(results)}",
                flush=True,
            )
        if options.backlog:
            print(f"\n{memory_by_backlog(servers, options.records)}", flush=True)
        if options.latency_seconds:
            print(f"\n{latency_table(latency(servers, options.latency_seconds, min(options.rounds, 6)))}")


if __name__ == "__main__":
    main()
