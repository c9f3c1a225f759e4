"""One contender of `eventhubs.py` in a process of its own: reads an event hub, adds up the lengths of the bodies, prints JSON.

Processor time and the clock run from the first event to the last, so imports and connecting are not in them. With `latency`, each
event has the time of its writing in its body, and how late each comes is what is measured.
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import statistics
import sys
import time
from collections.abc import Callable, Iterable
from typing import Any

PREFETCH = 1000
WARM_UP_SECONDS = 12.0
"""Until all links are open, on a busy machine too."""


class Meter:
    """Counts to `expected`."""

    def __init__(self, expected: int) -> None:
        self.expected = expected
        self.count = 0
        self.bytes = 0
        self.started = self.cpu_started = self.seconds = self.cpu = 0.0

    def add(self, bodies: Iterable[bytes | None]) -> bool:
        """True: that was all."""
        if not self.count:
            self.started, self.cpu_started = time.perf_counter(), time.process_time()
        for body in bodies:
            self.bytes += len(body or b"")
            self.count += 1
        if self.count < self.expected:
            return False
        self.seconds, self.cpu = time.perf_counter() - self.started, time.process_time() - self.cpu_started
        return True

    def report(self) -> dict[str, float]:
        return {
            "events": self.count,
            "per_second": self.count / self.seconds,
            "cpu_us": self.cpu / self.count * 1e6,
            "mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        }


class Latency(Meter):
    """How late events come, once it has run for a while."""

    def __init__(self, expected: int) -> None:
        super().__init__(expected)
        self.late: list[float] = []

    def add(self, bodies: Iterable[bytes | None]) -> bool:
        now = time.time()
        if not self.count:
            self.started, self.cpu_started, self.count = time.perf_counter(), time.process_time(), 1
        if time.perf_counter() - self.started < WARM_UP_SECONDS:
            return False
        self.late += [now - float(body or b"0") for body in bodies]
        return len(self.late) >= self.expected

    def report(self) -> dict[str, float]:
        busy = (time.process_time() - self.cpu_started) / (time.perf_counter() - self.started)
        parts = statistics.quantiles(self.late, n=100)
        return {"p50_ms": parts[49] * 1e3, "p99_ms": parts[98] * 1e3, "max_ms": max(self.late) * 1e3, "cpu_percent": busy * 100}


def _body(event: Any) -> bytes:
    return b"".join(event.body)


def raw_aio(connection: str, meter: Meter, start: str) -> None:
    """`receive_batch` of the aio client over all partitions, without a checkpoint store."""
    from azure.eventhub.aio import EventHubConsumerClient

    async def read() -> None:
        done = asyncio.Event()

        async def handle(context: Any, events: list[Any]) -> None:
            if events and meter.add(map(_body, events)):
                done.set()

        client = EventHubConsumerClient.from_connection_string(connection, "$Default")
        receiving = asyncio.create_task(
            client.receive_batch(
                handle,
                max_batch_size=PREFETCH,
                prefetch=PREFETCH,
                starting_position=start,
                owner_level=0,
                track_last_enqueued_event_properties=True,
            )
        )
        await done.wait()
        receiving.cancel()

    asyncio.run(read())


def raw_sync(connection: str, meter: Meter, start: str) -> None:
    """`receive_batch` of the sync client over all partitions."""
    from azure.eventhub import EventHubConsumerClient

    def handle(context: Any, events: list[Any]) -> None:
        if events and meter.add(map(_body, events)):
            finish(meter)

    client = EventHubConsumerClient.from_connection_string(connection, "$Default")
    client.receive_batch(
        handle,
        max_batch_size=PREFETCH,
        max_wait_time=0.05 if start == "@latest" else 5,
        prefetch=PREFETCH,
        starting_position=start,
        owner_level=0,
        track_last_enqueued_event_properties=True,
    )


def _streamkit(connection: str, target: Callable[..., object], start: str, **fields: Any) -> None:
    from streamkit import App, run

    run(
        App(
            target,
            broker="eventhubs",
            store="memory",
            stream="bench",
            group="bench",
            start="latest" if start == "@latest" else "earliest",
            eventhubs={"connection_string": connection, "consumer_group": "$Default", "prefetch": PREFETCH, **fields},
            drain_timeout="5s",
        )
    )


def streamkit_batch(connection: str, meter: Meter, start: str, **fields: Any) -> None:
    from streamkit import processor

    @processor
    def handle(batch, context):  # type: ignore[no-untyped-def]
        if meter.add(batch.values()):
            finish(meter)

    _streamkit(connection, handle, start, **fields)


def streamkit_sdk(connection: str, meter: Meter, start: str) -> None:
    streamkit_batch(connection, meter, start, receive="sdk")


def streamkit_record(connection: str, meter: Meter, start: str) -> None:
    from streamkit import record_processor

    @record_processor
    def handle(record, context):  # type: ignore[no-untyped-def]
        if meter.add((record.value,)):
            finish(meter)

    _streamkit(connection, handle, start)


CONTENDERS: dict[str, Callable[[str, Meter, str], None]] = {
    "raw aio client": raw_aio,
    "raw sync client": raw_sync,
    "streamkit batch": streamkit_batch,
    "streamkit record": streamkit_record,
    "streamkit batch, RECEIVE=sdk": streamkit_sdk,
}


def finish(meter: Meter) -> None:
    print(json.dumps(meter.report()), flush=True)
    os._exit(0)


def main() -> None:
    name, connection, expected, mode = sys.argv[1:5]
    is_latency = mode == "latency"
    meter = Latency(int(expected)) if is_latency else Meter(int(expected))
    CONTENDERS[name](connection, meter, "@latest" if is_latency else "-1")
    finish(meter)


if __name__ == "__main__":
    main()
