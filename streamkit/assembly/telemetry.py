"""Whether an app is measured and traced: looked at once, when it starts, so that without an SDK nothing is done for a record.

Nothing of OpenTelemetry is imported unless somebody else has done so, or the environment asks for it.
"""

from __future__ import annotations

import os
import sys
from typing import cast

from streamkit.assembly.samples import samples
from streamkit.assembly.view import AppView
from streamkit.engine.parts import Parts
from streamkit.errors import ConfigurationError

__all__ = ["export_if_asked", "flush_seconds", "flush_telemetry", "instrument"]

MIN_FLUSH_SECONDS = 0.5
MAX_FLUSH_SECONDS = 5.0

PROVIDERS = ("OTEL_PYTHON_TRACER_PROVIDER", "OTEL_PYTHON_METER_PROVIDER")
"""By these the API itself makes a provider."""


def instrument(parts: Parts, view: AppView) -> None:
    """Give the engine what measures and traces it, and let metrics be collected, if the process has real providers now. Raises
    ConfigurationError for one that the environment names, and that is not there."""
    if not _is_there() and not any(map(os.environ.get, PROVIDERS)):
        return
    from streamkit.telemetry.instrumentation import instrumentation_of, real_meter_provider

    settings = parts.settings
    try:
        parts.instrumentation = instrumentation_of(settings.broker, settings.group, parts.worker_name)
    except Exception as error:
        named = next((name for name in PROVIDERS if os.environ.get(name)), "")
        cause = f"the provider of OpenTelemetry cannot be had: {type(error).__name__}: {error}"
        raise ConfigurationError(cause, setting=named, fix="correct it, or do without") from error
    if (provider := real_meter_provider()) is not None:
        from streamkit.telemetry.instruments import publish

        publish(view, lambda owner: samples(cast("AppView", owner)), provider)


def export_if_asked(service: str) -> None:
    """Set up the SDK if a variable of OpenTelemetry asks for it, and nobody has; a line on stderr if it is not installed. Raises
    ConfigurationError for an exporter that is not there."""
    if not any(name.startswith("OTEL_") for name in os.environ):
        return
    from streamkit.telemetry.export import set_up_export

    if warning := set_up_export(os.environ, service):
        print(f"streamkit: warning: {warning}", file=sys.stderr)


def flush_seconds(drain_seconds: float, draining_seconds: float) -> float:
    """How long the end may wait for spans and metrics: what the drain has left, and a moment in any case."""
    return min(MAX_FLUSH_SECONDS, max(MIN_FLUSH_SECONDS, drain_seconds - draining_seconds))


def flush_telemetry(seconds: float) -> None:
    """Send what waits, at most so long; nothing without OpenTelemetry."""
    if _is_there():
        from streamkit.telemetry.export import flush

        flush(seconds)


def _is_there() -> bool:
    return bool({"opentelemetry.trace", "opentelemetry.metrics"} & sys.modules.keys())
