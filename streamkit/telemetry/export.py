"""The SDK of OpenTelemetry for a program that has none of its own: set up by the variables that all languages share.

`streamkit run` calls `set_up_export` once the user's module is imported, so what that has set up wins. Anything else is the SDK's own
business: samplers, resources, intervals, endpoints, headers. `flush` is called at the end of every `run`; it waits for so long and
no longer, because a collector that hangs must not keep a process from ending.
"""

from __future__ import annotations

import logging
import threading
import time
import uuid
from collections.abc import Iterator, Mapping
from importlib.metadata import entry_points
from typing import Any, Literal

from streamkit.errors import ConfigurationError

__all__ = ["flush", "set_up_export"]

Signal = Literal["traces", "metrics"]
SIGNALS: tuple[Signal, ...] = ("traces", "metrics")
PROTOCOLS = {"http/protobuf": "otlp_proto_http", "grpc": "otlp_proto_grpc"}

_log = logging.getLogger("streamkit.telemetry")


def set_up_export(environment: Mapping[str, str], service: str) -> str:
    """Set the providers that the environment asks for, and that nobody has set. `service` is the service's name if the environment has
    none. Answers a warning for people, or nothing. Raises ConfigurationError for an exporter that is not there."""
    wanted = {signal: names for signal in SIGNALS if (names := _exporters(signal, environment))}
    if not wanted or environment.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return ""
    try:
        import opentelemetry.sdk.trace  # noqa: F401
    except ImportError:
        variable = next(name for name in _variables(next(iter(wanted))) if environment.get(name))
        return f"{variable} is set, but nothing is traced or measured: pip install 'streamkit[otel]'"
    from opentelemetry.sdk.resources import Resource

    resource = Resource.create(_resource(environment, service))
    if "traces" in wanted:
        _set_tracers(resource, [_made("traces", name, environment) for name in wanted["traces"]])
    if "metrics" in wanted:
        _set_meters(resource, [_made("metrics", name, environment) for name in wanted["metrics"]])
    return ""


def flush(seconds: float) -> None:
    """Send what waits, whoever has set the providers; at most so long."""
    from streamkit.telemetry.instrumentation import real_meter_provider, real_tracer_provider

    providers = [one for one in (real_tracer_provider(), real_meter_provider()) if hasattr(one, "force_flush")]
    over = [threading.Event() for _ in providers]
    for provider, event in zip(providers, over, strict=True):
        threading.Thread(target=_flush, args=(provider, seconds, event), name="streamkit-flush", daemon=True).start()
    until = time.monotonic() + seconds
    for event in over:
        if not event.wait(max(0.0, until - time.monotonic())):
            _log.warning("spans and metrics of the last moments were not sent: the collector did not take them within %.1fs", seconds)
            return


def _flush(provider: Any, seconds: float, over: threading.Event) -> None:
    try:
        provider.force_flush(max(1, int(seconds * 1000)))
    except Exception as error:
        _log.warning("spans or metrics of the last moments were not sent: %s: %s", type(error).__name__, error)
    finally:
        over.set()


# -- what the environment asks for ---------------------------------------------------------------------------------------


def _variables(signal: Signal) -> tuple[str, ...]:
    name = signal.upper()
    return (f"OTEL_{name}_EXPORTER", f"OTEL_EXPORTER_OTLP_{name}_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")


def _exporters(signal: Signal, environment: Mapping[str, str]) -> list[str]:
    """By name. An endpoint alone asks for OTLP; `none` for nothing."""
    exporter, *endpoints = _variables(signal)
    named = environment.get(exporter, "").strip()
    if not named:
        return ["otlp"] if any(environment.get(name, "").strip() for name in endpoints) else []
    return [name for part in named.split(",") if (name := part.strip()) not in ("", "none")]


def _made(signal: Signal, name: str, environment: Mapping[str, str]) -> Any:
    """An exporter, by the entry points that exporters have; it reads its own variables."""
    variable, entry = f"OTEL_{signal.upper()}_EXPORTER", name
    if name == "otlp":
        names = (f"OTEL_EXPORTER_OTLP_{signal.upper()}_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
        protocols = ((one, environment.get(one, "").strip()) for one in names)
        variable, protocol = next(((one, value) for one, value in protocols if value), (variable, "http/protobuf"))
        if (entry := PROTOCOLS.get(protocol, "")) == "":
            raise ConfigurationError(f"there is no OTLP by {protocol!r}", setting=variable, fix=f"set it to {' or '.join(PROTOCOLS)}")
    found = next(iter(entry_points(group=f"opentelemetry_{signal}_exporter", name=entry)), None)
    if found is None:
        fix = f"install opentelemetry-exporter-{entry.replace('_', '-')}" if name == "otlp" else "set it to otlp, console or none"
        raise ConfigurationError(f"no exporter of {signal} is called {entry!r} here", setting=variable, fix=fix)
    try:
        return found.load()()
    except Exception as error:  # whatever it makes of its variables
        cause = f"the exporter {entry} cannot be made: {type(error).__name__}: {error}"
        raise ConfigurationError(cause, setting=variable, fix="correct its variables, or set it to none") from error


def _resource(environment: Mapping[str, str], service: str) -> dict[str, str]:
    """What the environment does not say: which service this is, and which of its processes."""
    given = {part.partition("=")[0].strip() for part in environment.get("OTEL_RESOURCE_ATTRIBUTES", "").split(",")}
    named = {} if "service.name" in given or environment.get("OTEL_SERVICE_NAME") else {"service.name": service}
    return named if "service.instance.id" in given else {**named, "service.instance.id": str(uuid.uuid4())}


def _set_tracers(resource: Any, exporters: list[Any]) -> None:
    from opentelemetry import trace
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    from streamkit.telemetry.instrumentation import real_tracer_provider

    if real_tracer_provider() is None:
        provider = TracerProvider(resource=resource, shutdown_on_exit=False)  # at exit it would wait for a collector that hangs
        for exporter in exporters:
            provider.add_span_processor(BatchSpanProcessor(exporter))
        trace.set_tracer_provider(provider)


def _set_meters(resource: Any, exporters: list[Any]) -> None:
    from opentelemetry import metrics
    from opentelemetry.sdk.metrics import MeterProvider

    from streamkit.telemetry.instrumentation import real_meter_provider

    if real_meter_provider() is None:
        metrics.set_meter_provider(MeterProvider(list(_readers(exporters)), resource, shutdown_on_exit=False))


def _readers(exporters: list[Any]) -> Iterator[Any]:
    from opentelemetry.sdk.metrics.export import MetricReader, PeriodicExportingMetricReader

    for exporter in exporters:
        yield exporter if isinstance(exporter, MetricReader) else PeriodicExportingMetricReader(exporter)
