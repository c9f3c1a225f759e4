"""What telemetry costs: processor time of the worker's loop for each record, with and without what OpenTelemetry hangs on.

`uv run benchmarks/telemetry.py`. All variants run in one process, one after the other in every round, in an order by chance: a
delivery in order of partition calls a `def` handler that does nothing with records that are there already. So nothing is in the
figures but the loop itself, and any cost shows as large as it can.
"""

from __future__ import annotations

import argparse
import gc
import random
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, TraceIdRatioBased
from opentelemetry.trace import NoOpTracerProvider

from streamkit.engine.delivery.call import Caller, Code
from streamkit.engine.delivery.failures import Failures
from streamkit.engine.delivery.flushing import Flushing
from streamkit.engine.delivery.in_order import InOrder
from streamkit.engine.delivery.intake import EndMark, Intake
from streamkit.engine.delivery.life import Life
from streamkit.engine.delivery.messages import Limits
from streamkit.engine.delivery.parking import Parking
from streamkit.engine.delivery.retry import RetryPolicy
from streamkit.engine.instrumentation import CallInstrumentation
from streamkit.engine.runtime import ThreadRuntime
from streamkit.model import Batch, Headers, Partition, PlainRecord, Position, Record, StartPosition
from streamkit.processing import Context, facts_of, record_processor
from streamkit.telemetry.instrumentation import Instrumentation, instrumentation_of
from streamkit.telemetry.names import system_of
from streamkit.telemetry.tracing import Spans

PARTITION = Partition("orders", "0")
HEADERS = Headers([("traceparent", b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")])
SIZES = {1000: 200_000, 1: 5_000}
"""Records a call, as many as there mostly are and the fewest; and how many records there are for that."""
TIMES = 5
"""The quickest of so many counts: others on the machine only ever make it slower."""
SHARE = 100
"""Variants that put something around each record get one in so many of the records."""
ALLOWED = 1.02


@record_processor
def handle(record: Record, context: Context) -> None:
    """Does nothing."""


class BareLife(Life):
    """As it would be if nothing could be hung on it."""

    def end_call(self, failure: object = None) -> None:
        if self.call_started is not None:
            self.calls_seconds += self.runtime.monotonic() - self.call_started
            self.calls_made += 1
            self.call_started = None


class Nowhere(SpanProcessor):
    """Spans end here; exporting them costs extra, on a thread of its own."""


def no_op() -> CallInstrumentation:
    """What it would cost to leave the decision to the API: its own tracer around each record, which does nothing."""
    spans = Spans(NoOpTracerProvider().get_tracer("streamkit"), system_of("kafka"), group="billing", worker="w1")
    return Instrumentation(spans, None).assigned(PARTITION)


def with_sdk(share: float) -> Callable[[], CallInstrumentation]:
    def make() -> CallInstrumentation:
        tracers = TracerProvider(ALWAYS_ON if share == 1 else TraceIdRatioBased(share), shutdown_on_exit=False)
        tracers.add_span_processor(Nowhere())
        meters = MeterProvider([InMemoryMetricReader()], shutdown_on_exit=False)
        made = instrumentation_of("kafka", "billing", "w1", tracer_provider=tracers, meter_provider=meters)
        assert made is not None
        return made.assigned(PARTITION)

    return make


def metrics_alone() -> CallInstrumentation:
    made = instrumentation_of("kafka", "billing", "w1", meter_provider=MeterProvider([InMemoryMetricReader()], shutdown_on_exit=False))
    assert made is not None
    return made.assigned(PARTITION)


VARIANTS: dict[str, tuple[type[Life], Callable[[], CallInstrumentation] | None, int]] = {
    "nothing to hang on": (BareLife, None, 1),
    "no SDK": (Life, None, 1),
    "no SDK, once more": (Life, None, 1),
    "metrics alone": (Life, metrics_alone, 1),
    "the API's own tracer": (Life, no_op, SHARE),
    "SDK, no span is sampled": (Life, with_sdk(0.0), SHARE),
    "SDK, each span is": (Life, with_sdk(1.0), SHARE),
}


class Nobody:
    """Events of a worker that nothing happens to."""

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *_: None


def batches(records: int, size: int) -> list[Batch]:
    made = [PlainRecord(PARTITION, Position(number), b"x" * 100, headers=HEADERS) for number in range(records)]
    return [Batch.of(made[at : at + size]) for at in range(0, records, size)]


def measure(variant: str, given: Sequence[Batch], runtime: ThreadRuntime) -> float:
    """Processor time of this thread for one record, in nanoseconds."""
    kind, make, share = VARIANTS[variant]
    given = given[: max(2, len(given) // share)]
    events: Any = Nobody()
    facts = facts_of(handle)
    assert facts is not None
    retry = RetryPolicy(3, 0.1, 1.0)
    limits = Limits(len(given[0]), 0.0, retry, on_failure="halt", max_consecutive=1, bisect=False, process_timeout_seconds=None)
    context = Context(PARTITION, epoch=1, start=StartPosition.EARLIEST, state=None, link=events)
    carrier = runtime.thread("bench")
    caller = Caller(Code(facts, function=handle), None, None if make is None else make())
    life = kind(context, carrier, runtime, limits, events)
    if caller.instrumentation is not None:
        life.called = caller.instrumentation.called
    intake = Intake(life.signal, lambda: None, lambda: None, is_manual=False)
    intake.checkpoint_at = sys.maxsize
    failures = Failures(life, (), Parking(life.signal, {}))
    delivery = InOrder(life, caller, intake, failures, Flushing(life, caller, intake, failures))
    for batch in given:
        intake.offer(batch)
    intake.offer_mark(EndMark(()))
    gc.collect()
    began = time.thread_time_ns()
    carrier.run_here(delivery.run())
    took = time.thread_time_ns() - began
    count = intake.progress.count
    assert count == sum(map(len, given))
    return took / count


def interval(ratios: Sequence[float]) -> tuple[float, float, float]:
    """The median, and where it lies in 19 of 20 cases, whatever the distribution (by order statistics; needs 9 rounds)."""
    ordered, size = sorted(ratios), len(ratios)
    low = max(0, int(size / 2 - 0.98 * size**0.5))
    return ordered[low], statistics.median(ordered), ordered[size - 1 - low]


def table(size: int, found: dict[str, list[float]]) -> str:
    lines = [
        f"| calls of {size} record{'s' if size > 1 else ''} | ns a record | beside «nothing to hang on» | 95 % interval |",
        "|---|---|---|---|",
    ]
    base = found["nothing to hang on"]
    for variant, times in found.items():
        low, middle, high = interval([one / other for one, other in zip(times, base, strict=True)])
        lines.append(f"| {variant} | {statistics.median(times):,.0f} | {middle:.3f} | {low:.3f} to {high:.3f} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--size", type=int, choices=list(SIZES), help="records a call; without it all of them, one after the other")
    options = parser.parse_args()
    runtime, worst = ThreadRuntime(), 0.0
    for size in [options.size] if options.size else list(SIZES):
        given = batches(SIZES[size], size)
        found: dict[str, list[float]] = {variant: [] for variant in VARIANTS}
        for number in range(options.rounds + 1):
            for variant in random.sample(list(VARIANTS), len(VARIANTS)):
                took = min(measure(variant, given, runtime) for _ in range(TIMES))
                if number:  # the first round warms up
                    found[variant].append(took)
            print(f"  calls of {size}: round {number}", file=sys.stderr, flush=True)
        print(f"{table(size, found)}\n")
        ratios = [one / other for one, other in zip(found["no SDK"], found["nothing to hang on"], strict=True)]
        worst = max(worst, interval(ratios)[1] if size > 1 else 0.0)
    runtime.stop()
    sys.exit(1 if worst > ALLOWED else 0)


if __name__ == "__main__":
    main()
