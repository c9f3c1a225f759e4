"""The metrics of one app as they are now: what the engine counts anyway, what observers have counted, and how it stands.

Asked by the status page and by OpenTelemetry, from any thread; nothing is counted or kept here.
"""

from __future__ import annotations

from collections.abc import Iterator

from streamkit.assembly.view import AppView
from streamkit.engine.status import not_ready
from streamkit.telemetry.metrics import Sample, samples_of

__all__ = ["samples"]


def samples(app: AppView) -> Iterator[Sample]:
    """Every metric of `streamkit.telemetry.names.METRICS` that has a value."""
    status = app.status()
    own = (status.broker, status.group)
    yield from samples_of(app.counts, *own)
    for partition, totals in app.totals().items():
        labels = (*own, partition.stream, partition.id)
        yield Sample("streamkit_records_total", labels, totals.records)
        yield Sample("streamkit_processed_bytes_total", labels, totals.bytes)
        yield Sample("streamkit_calls_total", labels, totals.calls)
        yield Sample("streamkit_call_seconds_total", labels, totals.call_seconds)
        yield Sample("streamkit_retries_total", labels, totals.retries)
        for how, count in totals.put_aside.items():
            yield Sample("streamkit_put_aside_total", (*labels, how), count)
    saves, seconds = app.saves()
    yield Sample("streamkit_saves_total", own, saves)
    yield Sample("streamkit_save_seconds_total", own, seconds)
    held = [one for one in status.partitions if one.state != "waiting"]
    for one in held:
        labels = (*own, one.partition.stream, one.partition.id)
        gauges = {
            "streamkit_checkpoint_age_seconds": app.counts.checkpoint_age(one.partition),
            "streamkit_in_flight_records": one.in_flight,
            "streamkit_lag_records": one.lag_records,
            "streamkit_lag_seconds": one.lag_seconds,
            "streamkit_parked_keys": one.parked,
            "streamkit_halted": int(one.state == "halted"),
            "streamkit_stuck": int(one.state == "stuck"),
        }
        yield from (Sample(name, labels, value) for name, value in gauges.items() if value is not None)
    yield Sample("streamkit_assigned_partitions", own, len(held))
    yield Sample("streamkit_ready", own, int(not not_ready(status)))
    yield Sample("streamkit_uptime_seconds", own, status.uptime_seconds)
