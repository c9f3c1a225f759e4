"""What observers count, and the text that comes of it."""

from __future__ import annotations

import builtins

import pytest

from streamkit.errors import ConfigurationError, StoreUnavailableError
from streamkit.model import Checkpoint, Partition, Position, StartPosition
from streamkit.telemetry.metrics import MAX_DEPARTED, EventCounts, Sample, check_installed, exposition, samples_of
from streamkit.telemetry.names import METRICS

P0 = Partition("orders", "0")
LABELS = ("memory", "billing", "orders", "0")
NAMES = [
    "streamkit_records_total",
    "streamkit_processed_bytes_total",
    "streamkit_calls_total",
    "streamkit_call_seconds_total",
    "streamkit_failures_total",
    "streamkit_retries_total",
    "streamkit_put_aside_total",
    "streamkit_checkpoints_total",
    "streamkit_checkpoint_failures_total",
    "streamkit_saves_total",
    "streamkit_save_seconds_total",
    "streamkit_rebalances_total",
    "streamkit_stuck_total",
    "streamkit_blocked_total",
    "streamkit_noticed_total",
    "streamkit_checkpoint_age_seconds",
    "streamkit_in_flight_records",
    "streamkit_lag_records",
    "streamkit_lag_seconds",
    "streamkit_parked_keys",
    "streamkit_halted",
    "streamkit_stuck",
    "streamkit_assigned_partitions",
    "streamkit_ready",
    "streamkit_uptime_seconds",
]
"""Dashboards and alerts hang on these: a name is never changed, and a new one is added here."""


def counted(counts: EventCounts) -> dict[tuple[str, ...], float]:
    return {(sample.name, *sample.labels[3:]): sample.value for sample in samples_of(counts, "memory", "billing")}


def test_the_names_are_those_that_dashboards_know() -> None:
    assert [metric.name for metric in METRICS] == NAMES


def test_labels_are_of_a_bounded_kind() -> None:
    assert {label for metric in METRICS for label in metric.labels} == {"broker", "group", "stream", "partition", "how", "what"}


def test_each_event_is_counted_under_its_partition() -> None:
    counts = EventCounts()
    saved = Checkpoint(P0, StartPosition.after(Position(4)))
    counts.on_assigned(P0, 1)
    counts.on_attempt_failed(P0, ValueError(), 1)
    counts.on_attempt_failed(P0, ValueError(), 2)
    counts.on_checkpointed(saved)
    counts.on_checkpoint_failed(saved, StoreUnavailableError("down"))
    counts.on_stuck(P0, 300.0, "")
    counts.on_blocked("the loop", 3.0, "")
    counts.on_noticed(P0, "damaged", 3)
    counts.on_noticed(P0, "damaged", 2)
    counts.on_lost(P0, 1, "taken")
    assert counted(counts) == {
        ("streamkit_blocked_total",): 1,
        ("streamkit_noticed_total", "0", "damaged"): 5,
        ("streamkit_failures_total", "0"): 2,
        ("streamkit_checkpoints_total", "0"): 1,
        ("streamkit_checkpoint_failures_total", "0"): 1,
        ("streamkit_stuck_total", "0"): 1,
        ("streamkit_rebalances_total", "0", "assigned"): 1,
        ("streamkit_rebalances_total", "0", "lost"): 1,
    }


def test_the_age_of_a_checkpoint_begins_with_the_assignment_and_ends_with_it() -> None:
    counts, now = EventCounts(), [100.0]
    counts.monotonic = lambda: now[0]
    assert counts.checkpoint_age(P0) is None
    counts.on_assigned(P0, 1)
    now[0] = 103.0
    assert counts.checkpoint_age(P0) == 3.0
    counts.on_checkpointed(Checkpoint(P0, StartPosition.after(Position(4))))
    assert counts.checkpoint_age(P0) == 0.0
    counts.on_revoked(P0, 1, "rebalance")
    assert counts.checkpoint_age(P0) is None


def test_partitions_that_come_and_go_for_ever_cost_no_memory_and_what_is_here_is_kept() -> None:
    counts = EventCounts()
    counts.on_assigned(P0, 1)
    for number in range(MAX_DEPARTED + 100):
        partition = Partition("other", str(number))
        counts.on_assigned(partition, 1)
        counts.on_ended(partition, 1)
        counts.on_attempt_failed(partition, ValueError(), 1)  # told late
    events = counts.events()
    assert len(events) <= MAX_DEPARTED + 2
    assert P0 in events


def test_the_text_is_what_prometheus_reads() -> None:
    text, content_type = exposition([Sample("streamkit_records_total", ("memory", "billing", 'a"b\n', "0"), 3)])
    assert content_type.startswith("text/plain")
    lines = text.decode().splitlines()
    assert "# TYPE streamkit_records_total counter" in lines
    assert r'streamkit_records_total{broker="memory",group="billing",partition="0",stream="a\"b\n"} 3.0' in lines
    assert [line.split()[2] for line in lines if line.startswith("# TYPE")] == NAMES, "also those without a value"


def test_a_missing_package_is_named_with_the_way_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def missing(name: str, *rest: object) -> object:
        if name == "uvicorn":
            raise ImportError("no", name="uvicorn")
        return real(name, *rest)  # type: ignore[arg-type]

    check_installed()
    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(ConfigurationError, match="STREAMKIT_STATUS_ADDRESS: the status page needs uvicorn") as caught:
        check_installed()
    assert caught.value.fix == "pip install 'streamkit[status]', or unset it"
