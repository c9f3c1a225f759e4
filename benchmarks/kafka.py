"""streamkit beside the raw client, on a real Apache Kafka that this program starts: `uv run --group bench benchmarks/kafka.py`.

Contenders run one at a time, each in a process and a group of its own, in interleaved rounds, because the speed of a machine
drifts. Figures are medians over rounds; ratios are taken pair by pair within a round, and then their median.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
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
    for number in range(rounds):
        for name in names[number % len(names) :] + names[: number % len(names)]:
            results[name].append(run_one(name, servers, topic, expected))
            print(f"  round {number + 1}: {name}: {results[name][-1]['rate']:,.0f}/s", file=sys.stderr, flush=True)
    return results


def latency(servers: str, seconds: int) -> dict[str, dict[str, float]]:
    """Both contenders read one topic at once while 1,000 records a second are written."""
    topic = create_topic(servers, 4, {})
    expected = 1000 * (seconds - 3)
    names = ["raw latency", "streamkit latency"]
    processes = {
        name: subprocess.Popen(
            [sys.executable, str(CONTENDER), name, servers, topic, f"lat-{uuid.uuid4().hex[:8]}", str(expected)],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        for name in names
    }
    time.sleep(5)  # both have joined: what is written before would count as latency
    producer = Producer({"bootstrap.servers": servers, "linger.ms": 0})
    start = time.monotonic()
    for number in range(1000 * seconds):
        producer.produce(topic, b"%d" % time.monotonic_ns(), partition=number % 4)
        producer.poll(0)
        wait = start + (number + 1) / 1000 - time.monotonic()
        if wait > 0:
            time.sleep(wait)
    producer.flush(10)
    return {name: json.loads(process.communicate(timeout=60)[0].strip().splitlines()[-1]) for name, process in processes.items()}


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
    parser.add_argument("--sizes", default="100,1024")
    parser.add_argument("--latency-seconds", type=int, default=15, help="0: no latency")
    options = parser.parse_args()
    with KafkaServer() as server:
        servers = server.bootstrap_servers
        for size in (int(text) for text in options.sizes.split(",")):
            records = options.records if size <= 100 else options.records * 3 // 20
            topic = create_topic(servers, 4, {})
            produce(servers, topic, records, size, 4)
            results = rates(servers, topic, records, options.rounds, options.peers)
            print(f"\n{records:,} records of {size} bytes, 4 partitions, {options.rounds} rounds\n\n{table(results)}\n\n{ratios(results)}")
        if options.latency_seconds:
            for name, result in latency(servers, options.latency_seconds).items():
                print(f"{name}: p50 {result['p50_ms']:.2f} ms, p99 {result['p99_ms']:.2f} ms at 1,000 records/s")


if __name__ == "__main__":
    main()
