"""One contender of `kafka.py` in a process of its own: consumes what is in the topic, or measures latency, and prints JSON.

Every contender does the same with a record: it adds up the length of its value. The clock runs from the first record to the
last; processor time and peak memory are the whole process's, imports and start included.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import resource
import sys
import time
from collections.abc import Callable, Iterable

TUNED = {"fetch.queue.backoff.ms": 5, "queued.min.messages": 20000}
SECONDS = 60.0
"""No contender runs longer."""


class Meter:
    """Counts to `expected`, and notes when the first and the last record came."""

    def __init__(self, expected: int) -> None:
        self.expected = expected
        self.count = 0
        self.first = self.last = 0.0
        self.latencies: list[int] = []

    def add(self, count: int) -> bool:
        if not self.count:
            self.first = time.perf_counter()
        self.count += count
        if self.count >= self.expected:
            self.last = time.perf_counter()
            return True
        return False

    def time(self, now: int, values: Iterable[bytes]) -> bool:
        """Values say when they were produced, in ns; 0 is warm-up."""
        taken = [now - sent for sent in map(int, values) if sent]
        self.latencies.extend(taken)
        return bool(taken) and self.add(len(taken))

    def report(self) -> dict[str, float]:
        seconds = max(1e-9, (self.last or time.perf_counter()) - self.first)
        usage = resource.getrusage(resource.RUSAGE_SELF)
        report = {
            "records": self.count,
            "rate": self.count / seconds,
            "cpu_us": (usage.ru_utime + usage.ru_stime) / max(1, self.count) * 1e6,
            "rss_mb": _peak_memory_mb(),
        }
        if self.latencies:
            ordered = sorted(self.latencies)
            report["p50_ms"] = ordered[len(ordered) // 2] / 1e6
            report["p99_ms"] = ordered[int(len(ordered) * 0.99)] / 1e6
        return report


def _peak_memory_mb() -> float:
    """Of this program alone: what getrusage says begins with the parent's."""
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) / 1024


def _config(servers: str, group: str, tuned: bool) -> dict[str, object]:
    base: dict[str, object] = {"bootstrap.servers": servers, "group.id": group, "auto.offset.reset": "earliest"}
    base["partition.assignment.strategy"] = "cooperative-sticky"
    return {**base, **TUNED} if tuned else base


def raw_consume(servers: str, topic: str, group: str, meter: Meter, tuned: bool = True) -> None:
    from confluent_kafka import Consumer

    consumer = Consumer(_config(servers, group, tuned))
    consumer.subscribe([topic])
    total = 0
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        messages = consumer.consume(500, 0.1)
        for message in messages:
            if message.error() is None:
                total += len(message.value())
        if messages and meter.add(len(messages)):
            break
    consumer.close()


def raw_poll(servers: str, topic: str, group: str, meter: Meter, tuned: bool = True) -> None:
    from confluent_kafka import Consumer

    consumer = Consumer(_config(servers, group, tuned))
    consumer.subscribe([topic])
    total = count = 0
    expected = meter.expected
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        message = consumer.poll(0.1)
        if message is None or message.error() is not None:
            continue
        total += len(message.value())
        if not count:
            meter.first = time.perf_counter()
        count += 1
        if count >= expected:
            meter.last = time.perf_counter()
            break
    meter.count = count
    consumer.close()


def raw_latency(servers: str, topic: str, group: str, meter: Meter) -> None:
    """The loop that the reference recommends: poll for the first, then what else is there."""
    from confluent_kafka import Consumer

    consumer = Consumer(_config(servers, group, True))
    consumer.subscribe([topic])
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        first = consumer.poll(0.1)
        if first is None:
            continue
        messages = [first, *consumer.consume(499, 0)]
        now = time.monotonic_ns()
        if meter.time(now, [m.value() for m in messages if m.error() is None]):
            break
    consumer.close()


def aiokafka_getmany(servers: str, topic: str, group: str, meter: Meter) -> None:
    from aiokafka import AIOKafkaConsumer

    async def body() -> None:
        consumer = AIOKafkaConsumer(topic, bootstrap_servers=servers, group_id=group, auto_offset_reset="earliest")
        await consumer.start()
        total = 0
        deadline = time.monotonic() + SECONDS
        try:
            while time.monotonic() < deadline:
                found = await consumer.getmany(timeout_ms=100, max_records=1000)
                count = 0
                for records in found.values():
                    count += len(records)
                    for record in records:
                        total += len(record.value)
                if count and meter.add(count):
                    break
        finally:
            await consumer.stop()

    asyncio.run(body())


def _streamkit(servers: str, topic: str, group: str, target: Callable[..., object]) -> None:
    from streamkit import App, run

    app = App(
        target,
        broker="kafka",
        stream=topic,
        group=group,
        kafka={"bootstrap_servers": servers},
        stop="idle:20s",
        drain_timeout="5s",
    )
    globals()["_app"] = app
    run(app)


def _stop() -> None:
    globals()["_app"].stop("measured")


def streamkit_batch(servers: str, topic: str, group: str, meter: Meter) -> None:
    from streamkit import processor

    @processor
    def handle(batch, context):  # type: ignore[no-untyped-def]
        total = 0
        for value in batch.values():
            total += len(value)
        if meter.add(len(batch)):
            _stop()

    _streamkit(servers, topic, group, handle)


def streamkit_record(servers: str, topic: str, group: str, meter: Meter) -> None:
    from streamkit import record_processor

    numbers = itertools.count(1)
    expected = meter.expected

    @record_processor
    def handle(record, context):  # type: ignore[no-untyped-def]
        len(record.value)
        number = next(numbers)
        if number == 1:
            meter.first = time.perf_counter()
        elif number == expected:
            meter.last = time.perf_counter()
            meter.count = expected
            _stop()

    _streamkit(servers, topic, group, handle)


def streamkit_async_record(servers: str, topic: str, group: str, meter: Meter) -> None:
    from streamkit import record_processor

    numbers = itertools.count(1)
    expected = meter.expected

    @record_processor
    async def handle(record, context):  # type: ignore[no-untyped-def]
        len(record.value)
        number = next(numbers)
        if number == 1:
            meter.first = time.perf_counter()
        elif number == expected:
            meter.last = time.perf_counter()
            meter.count = expected
            _stop()

    _streamkit(servers, topic, group, handle)


def streamkit_latency(servers: str, topic: str, group: str, meter: Meter) -> None:
    from streamkit import processor

    @processor
    def handle(batch, context):  # type: ignore[no-untyped-def]
        if meter.time(time.monotonic_ns(), batch.values()):
            _stop()

    _streamkit(servers, topic, group, handle)


CONTENDERS: dict[str, Callable[[str, str, str, Meter], None]] = {
    "raw consume(500) tuned": raw_consume,
    "raw consume(500) default": lambda *args: raw_consume(*args, tuned=False),
    "raw poll() tuned": raw_poll,
    "raw poll() default": lambda *args: raw_poll(*args, tuned=False),
    "aiokafka getmany(1000)": aiokafka_getmany,
    "streamkit batch": streamkit_batch,
    "streamkit record": streamkit_record,
    "streamkit async record": streamkit_async_record,
    "raw latency": raw_latency,
    "streamkit latency": streamkit_latency,
}


def main() -> None:
    name, servers, topic, group, expected = sys.argv[1:6]
    meter = Meter(int(expected))
    CONTENDERS[name](servers, topic, group, meter)
    print(json.dumps(meter.report()), flush=True)
    os._exit(0)


if __name__ == "__main__":
    main()
