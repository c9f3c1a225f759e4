"""One list, two ways out: each metric has a name in OpenTelemetry that an exporter for Prometheus makes into ours."""

from __future__ import annotations

from streamkit.telemetry.names import ATTRIBUTES, DURATIONS, METRICS, Metric, system_of

UNITS = {"s": "seconds", "By": "bytes"}
OTHER = {"streamkit.stuck_calls"}
"""Called otherwise there: OpenTelemetry has one name for one instrument, and `streamkit.stuck` is the gauge."""


def translated(metric: Metric) -> str:
    """As the exporters of OpenTelemetry do it: dots become underlines, units and `total` are added; units in braces say nothing."""
    name = metric.otel.replace(".", "_")
    if unit := UNITS.get(metric.unit):
        name = f"{name}_{unit}"
    return f"{name}_total" if metric.kind == "counter" else name


def test_a_dashboard_works_whichever_way_the_metric_has_come() -> None:
    different = {metric.otel for metric in METRICS if translated(metric) != metric.name}
    assert different == OTHER


def test_no_name_is_there_twice_and_each_has_a_unit_and_a_meaning() -> None:
    names = [metric.otel for metric in (*METRICS, *DURATIONS)]
    assert len(set(names)) == len(names)
    assert [metric.otel for metric in (*METRICS, *DURATIONS) if not metric.unit or not metric.help.endswith(".")] == []


def test_every_label_has_its_attribute() -> None:
    assert {label for metric in (*METRICS, *DURATIONS) for label in metric.labels} == ATTRIBUTES.keys()


def test_brokers_are_called_what_the_conventions_call_them() -> None:
    assert [(system_of(name).name, system_of(name).settle) for name in ("kafka", "eventhubs", "kinesis", "nats")] == [
        ("kafka", "commit"),
        ("eventhubs", "checkpoint"),
        ("aws_kinesis", "checkpoint"),
        ("nats", "checkpoint"),
    ]
