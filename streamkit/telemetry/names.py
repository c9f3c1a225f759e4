"""Every name that telemetry has: metrics, what they are called in Prometheus and in OpenTelemetry, and attributes.

`METRICS` is the list of all metrics; both ways out and docs/reference/metrics.md are made of it. Attributes follow the semantic
conventions of OpenTelemetry for messaging (1.44, which call themselves «development»); what they have no name for begins with
`streamkit`. Pure: imports nothing of OpenTelemetry.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = [
    "APP_LABELS",
    "ATTRIBUTES",
    "DURATIONS",
    "LABELS",
    "METRICS",
    "OPERATION_DURATION",
    "PROCESS_DURATION",
    "Metric",
    "System",
    "system_of",
]

LABELS = ("broker", "group", "stream", "partition")
APP_LABELS = ("broker", "group")

ATTRIBUTES = {
    "broker": "messaging.system",
    "group": "messaging.consumer.group.name",
    "stream": "messaging.destination.name",
    "partition": "messaging.destination.partition.id",
    "how": "streamkit.how",
    "what": "streamkit.what",
    "operation": "messaging.operation.name",
    "error": "error.type",
}
"""A label of Prometheus to the attribute of OpenTelemetry."""


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric, under both of its names."""

    name: str
    """For Prometheus; empty if only OpenTelemetry has it."""
    kind: Literal["counter", "gauge", "histogram"]
    otel: str
    unit: str
    help: str
    labels: tuple[str, ...] = LABELS


METRICS = (
    Metric(
        "streamkit_records_total",
        "counter",
        "streamkit.records",
        "{record}",
        "Records that the processor is done with, put aside included.",
    ),
    Metric(
        "streamkit_processed_bytes_total",
        "counter",
        "streamkit.processed",
        "By",
        "Keys and values of these records, as far as the adapter counts them.",
    ),
    Metric(
        "streamkit_calls_total",
        "counter",
        "streamkit.calls",
        "{call}",
        "Calls of the processor that have returned: batches, or runs of records.",
    ),
    Metric("streamkit_call_seconds_total", "counter", "streamkit.call", "s", "Time spent in those calls; divided by the calls, the mean."),
    Metric("streamkit_failures_total", "counter", "streamkit.failures", "{attempt}", "Attempts that failed."),
    Metric(
        "streamkit_retries_total",
        "counter",
        "streamkit.retries",
        "{attempt}",
        "Failed attempts that were followed by another one without a halt in between.",
    ),
    Metric(
        "streamkit_put_aside_total",
        "counter",
        "streamkit.put_aside",
        "{record}",
        "Records that failed for good and were put aside: dead_letter, park or skip.",
        (*LABELS, "how"),
    ),
    Metric("streamkit_checkpoints_total", "counter", "streamkit.checkpoints", "{checkpoint}", "Checkpoints that were saved."),
    Metric(
        "streamkit_checkpoint_failures_total",
        "counter",
        "streamkit.checkpoint_failures",
        "{failure}",
        "Times that saving began to fail, once until the next checkpoint is saved.",
    ),
    Metric(
        "streamkit_saves_total", "counter", "streamkit.saves", "{save}", "Saves, of one or many checkpoints, that have ended.", APP_LABELS
    ),
    Metric(
        "streamkit_save_seconds_total",
        "counter",
        "streamkit.save",
        "s",
        "Time spent in saves; divided by them, the mean latency of the store.",
        APP_LABELS,
    ),
    Metric(
        "streamkit_rebalances_total",
        "counter",
        "streamkit.rebalances",
        "{partition}",
        "Partitions that came or went: assigned, revoked, lost, ended.",
        (*LABELS, "what"),
    ),
    Metric("streamkit_stuck_total", "counter", "streamkit.stuck_calls", "{call}", "Calls that got nowhere for STREAMKIT_STUCK_AFTER."),
    Metric(
        "streamkit_blocked_total",
        "counter",
        "streamkit.blocked",
        "{time}",
        "Times that the engine or the user's loop was kept from running.",
        APP_LABELS,
    ),
    Metric(
        "streamkit_noticed_total",
        "counter",
        "streamkit.noticed",
        "{record}",
        "Records that an adapter has said something about that is no failure: the broker's page lists what.",
        (*LABELS, "what"),
    ),
    Metric(
        "streamkit_checkpoint_age_seconds",
        "gauge",
        "streamkit.checkpoint.age",
        "s",
        "Time since the last checkpoint was saved, or since the partition was assigned.",
    ),
    Metric(
        "streamkit_in_flight_records",
        "gauge",
        "streamkit.in_flight.records",
        "{record}",
        "Records above the saved checkpoint that were read, done or not.",
    ),
    Metric(
        "streamkit_lag_records",
        "gauge",
        "streamkit.lag.records",
        "{record}",
        "Records between the processor and the tip, as the newest batch saw it; missing where the broker does not say.",
    ),
    Metric(
        "streamkit_lag_seconds", "gauge", "streamkit.lag", "s", "How far the processor is behind the tip, at least; missing where unknown."
    ),
    Metric(
        "streamkit_parked_keys",
        "gauge",
        "streamkit.parked.keys",
        "{key}",
        "Keys that are parked: their records are put aside uncalled, until a replay.",
    ),
    Metric("streamkit_halted", "gauge", "streamkit.halted", "{partition}", "1 while the failure policy has stopped the partition."),
    Metric(
        "streamkit_stuck", "gauge", "streamkit.stuck", "{partition}", "1 while a call of it runs for longer than STREAMKIT_STUCK_AFTER."
    ),
    Metric(
        "streamkit_assigned_partitions",
        "gauge",
        "streamkit.assigned.partitions",
        "{partition}",
        "Partitions that this worker has.",
        APP_LABELS,
    ),
    Metric("streamkit_ready", "gauge", "streamkit.ready", "{app}", "1 if this app is ready, as /ready says.", APP_LABELS),
    Metric("streamkit_uptime_seconds", "gauge", "streamkit.uptime", "s", "Time since the app began to run.", APP_LABELS),
)
"""What is read from the engine when somebody asks."""

PROCESS_DURATION = Metric(
    "",
    "histogram",
    "messaging.process.duration",
    "s",
    "How long a call of the processor took: of a batch, or of a run of records.",
    (*LABELS, "operation", "error"),
)
OPERATION_DURATION = Metric(
    "",
    "histogram",
    "messaging.client.operation.duration",
    "s",
    "How long a save of checkpoints took, or the writing of dead letters.",
    (*LABELS, "operation", "error"),
)
DURATIONS = (PROCESS_DURATION, OPERATION_DURATION)
"""What is recorded call by call, and only if there is somebody to record it."""


@dataclass(frozen=True, slots=True)
class System:
    """How OpenTelemetry speaks of a broker."""

    name: str
    """`messaging.system`."""
    settle: str = "checkpoint"
    """What saving a position is called there."""
    sequence: str = ""
    """The attribute for a record's sequence number; empty: there is none."""
    enqueued: str = ""
    """The attribute for when the broker has taken it, in unix seconds; empty: there is none."""


_SYSTEMS = {
    "kafka": System("kafka", settle="commit", sequence="messaging.kafka.offset"),
    "eventhubs": System("eventhubs", enqueued="messaging.eventhubs.message.enqueued_time"),
    "kinesis": System("aws_kinesis"),
}


def system_of(broker: str) -> System:
    """By the name of the plugin. One that the conventions do not know goes by its own name."""
    return _SYSTEMS.get(broker) or System(broker)
