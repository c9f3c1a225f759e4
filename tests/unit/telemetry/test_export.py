"""`streamkit run` and the variables of OpenTelemetry: what a collector gets, who may set providers, and that no collector holds the exit.

The collector is in this process, the worker in another one, because a process has one provider for ever.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.propagate import inject
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.trace import SpanKind

from streamkit.errors import ConfigurationError
from streamkit.telemetry.export import set_up_export
from tests.unit.telemetry.collector import Collected, Collector, collecting

MODULE = """\
import json, os, sys, time
from streamkit import record_processor
from streamkit.builtin.memory import MemoryLog

log = MemoryLog.named()
log.create("orders", 1)
headers = [(name, value.encode()) for name, value in json.loads(os.environ["CARRIED"]).items()]
log.append("orders", b"an order", headers=headers, now=time.time())

def say(text):
    os.write(1, text.encode() + b"\\n")

@record_processor
def handle(record, context):
    from opentelemetry import trace
    with trace.get_tracer("shop").start_as_current_span("ship"):
        pass

@record_processor
def looks(record, context):
    say(sys._getframe(1).f_code.co_name)
    say(str(sorted(name for name in sys.modules if name.startswith("opentelemetry"))))

@record_processor
def hangs(record, context):
    say("began")
    time.sleep(3600)
"""

OWN = """
from opentelemetry import trace
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider

class Mine(SpanProcessor):
    def on_end(self, span):
        say(span.name)

provider = TracerProvider()
provider.add_span_processor(Mine())
trace.set_tracer_provider(provider)
"""


LATE = """
from contextlib import contextmanager
from opentelemetry import trace
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from streamkit import App

class Mine(SpanProcessor):
    def on_end(self, span):
        say(span.name)

@contextmanager
def set_up():
    provider = TracerProvider()
    provider.add_span_processor(Mine())
    trace.set_tracer_provider(provider)
    yield

app = App(handle, lifespan=set_up)
"""


@pytest.fixture
def collector() -> Iterator[Collector]:
    with collecting() as collector:
        yield collector


class Worker:
    """`streamkit run`, until the end of its stream."""

    def __init__(self, folder: Path, target: str = "handle", *, more: str = "", carried: str = "{}", **variables: str) -> None:
        (folder / "orders.py").write_text(MODULE + more)
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("STREAMKIT_", "OTEL_"))}
        settings = {"BROKER": "memory", "STREAM": "orders", "GROUP": "billing", "STOP": "at_end"}
        self.process = subprocess.Popen(
            [sys.executable, "-W", "error", "-c", "from streamkit.cli import main; main()", "run", f"orders:{target}"],
            cwd=folder,
            env=environment | {f"STREAMKIT_{name}": value for name, value in settings.items()} | {"CARRIED": carried} | variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def end(self) -> tuple[int, str, str]:
        try:
            out, err = self.process.communicate(timeout=60)
        finally:
            self.process.kill()
        return self.process.returncode, out, err


def named(collector: Collector, name: str) -> Collected:
    (found,) = [span for span in collector.spans if span.name == name]
    return found


def test_a_trace_of_one_record_from_producer_to_handler_to_checkpoint(collector: Collector, tmp_path: Path) -> None:
    exporter = OTLPSpanExporter(f"{collector.url}/v1/traces")
    shop = TracerProvider(resource=Resource({"service.name": "shop"}), shutdown_on_exit=False)
    shop.add_span_processor(SimpleSpanProcessor(exporter))
    carried: dict[str, str] = {}
    with shop.get_tracer("shop").start_as_current_span("send orders", kind=SpanKind.PRODUCER):
        inject(carried)

    code, _, err = Worker(
        tmp_path, carried=str(carried).replace("'", '"'), OTEL_EXPORTER_OTLP_ENDPOINT=collector.url, OTEL_SERVICE_NAME="billing"
    ).end()

    assert code == 0, err
    sent, processed, shipped, saved = (named(collector, name) for name in ("send orders", "process orders", "ship", "checkpoint orders"))
    assert {span.trace for span in collector.spans} == {sent.trace}, "one trace"
    assert [processed.parent, shipped.parent, saved.parent] == [sent.id, processed.id, processed.id]
    assert [span.service for span in (sent, processed, shipped, saved)] == ["shop", "billing", "billing", "billing"]
    assert processed.attributes["messaging.consumer.group.name"] == "billing"
    assert saved.attributes["streamkit.position"] == "0"

    ((attributes, records),) = collector.metrics["streamkit.records"]
    assert (attributes["messaging.destination.name"], records) == ("orders", 1.0), "collected once more at the end"
    assert collector.metrics["streamkit.processed"][0][1] == len(b"an order")
    assert collector.metrics["streamkit.saves"][0][1] == 1.0
    assert collector.metrics["streamkit.save"][0][1] > 0.0
    ((_, calls),) = collector.metrics["messaging.process.duration"]
    assert calls == 1.0


def test_the_service_is_called_after_the_module_if_nobody_says_otherwise(collector: Collector, tmp_path: Path) -> None:
    assert Worker(tmp_path, OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=f"{collector.url}/v1/traces").end()[0] == 0
    assert named(collector, "process orders").service == "orders"
    assert collector.metrics == {}, "nobody has asked for them"


def test_a_provider_of_the_users_own_is_left_alone(collector: Collector, tmp_path: Path) -> None:
    code, out, err = Worker(tmp_path, more=OWN, OTEL_EXPORTER_OTLP_ENDPOINT=collector.url).end()
    assert (code, out.splitlines()) == (0, ["ship", "process orders", "checkpoint orders"])
    assert "Overriding" not in err
    assert collector.spans == []
    assert "streamkit.records" in collector.metrics, "of metrics there was none"


def test_a_provider_that_the_lifespan_sets_counts(tmp_path: Path) -> None:
    code, out, err = Worker(tmp_path, "app", more=LATE).end()
    assert (code, out.splitlines()) == (0, ["ship", "process orders", "checkpoint orders"]), err


@pytest.mark.parametrize(
    "variables", [{}, {"OTEL_TRACES_EXPORTER": "none", "OTEL_METRICS_EXPORTER": "none"}, {"OTEL_SDK_DISABLED": "true"}]
)
def test_without_a_wish_nothing_of_opentelemetry_is_imported_and_nothing_is_put_around_the_handler(
    collector: Collector, tmp_path: Path, variables: dict[str, str]
) -> None:
    if "OTEL_SDK_DISABLED" in variables:
        variables = {**variables, "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url}
    code, out, err = Worker(tmp_path, "looks", **variables).end()
    assert code == 0, err
    assert out.splitlines() == ["_records", "[]"]
    assert not collector.asked.is_set()


def test_a_collector_that_hangs_does_not_hold_the_exit(collector: Collector, tmp_path: Path) -> None:
    collector.hold = True
    patient = {"OTEL_EXPORTER_OTLP_TIMEOUT": "50"}  # of the exporter; it is ten seconds by default, and a batch processor's are thirty
    worker = Worker(tmp_path, OTEL_EXPORTER_OTLP_ENDPOINT=collector.url, STREAMKIT_DRAIN_TIMEOUT="1s", **patient)
    assert collector.asked.wait(60), "it flushes, at its end"
    began = time.monotonic()
    code, _, err = worker.end()
    assert code == 0
    assert time.monotonic() - began < 20, "the exporter would take fifty seconds, and its processor thirty"
    assert "the collector did not take them within 1.0s" in err


def test_spans_are_sent_when_the_drain_has_timed_out(collector: Collector, tmp_path: Path) -> None:
    worker = Worker(tmp_path, "hangs", OTEL_EXPORTER_OTLP_ENDPOINT=collector.url, STREAMKIT_STOP="never", STREAMKIT_DRAIN_TIMEOUT="200ms")
    assert worker.process.stdout is not None
    assert worker.process.stdout.readline() == "began\n"
    worker.process.terminate()
    assert worker.end()[0] == 3
    assert collector.metrics["streamkit.rebalances"][0][1] == 1.0


def test_an_exporter_that_cannot_be_made_refuses_to_start(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("def make():\n    raise ValueError('no password')\n")
    about = tmp_path / "broken-1.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 1\n")
    (about / "entry_points.txt").write_text("[opentelemetry_traces_exporter]\nbroken = broken:make\n")
    code, _, err = Worker(tmp_path, OTEL_TRACES_EXPORTER="broken").end()
    assert code == 2
    assert "OTEL_TRACES_EXPORTER: the exporter broken cannot be made: ValueError: no password" in err


def test_a_provider_that_the_environment_names_and_that_is_not_there_refuses_to_start(tmp_path: Path) -> None:
    code, _, err = Worker(tmp_path, OTEL_PYTHON_TRACER_PROVIDER="nobodys").end()
    assert code == 2
    assert "OTEL_PYTHON_TRACER_PROVIDER: the provider of OpenTelemetry cannot be had" in err


def test_an_sdk_that_is_not_installed_is_said_and_the_worker_works(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    said = set_up_export({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://localhost:4318"}, "orders")
    assert said == "OTEL_EXPORTER_OTLP_ENDPOINT is set, but nothing is traced or measured: pip install 'streamkit[otel]'"


@pytest.mark.parametrize(
    ("variables", "says", "fix"),
    [
        (
            {"OTEL_TRACES_EXPORTER": "zipkin"},
            "OTEL_TRACES_EXPORTER: no exporter of traces is called 'zipkin' here",
            "set it to otlp, console or none",
        ),
        (
            {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://localhost", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"},
            "OTEL_EXPORTER_OTLP_PROTOCOL: no exporter of traces is called 'otlp_proto_grpc' here",
            "install opentelemetry-exporter-otlp-proto-grpc",
        ),
        (
            {"OTEL_METRICS_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_METRICS_PROTOCOL": "http/json"},
            "OTEL_EXPORTER_OTLP_METRICS_PROTOCOL: there is no OTLP by 'http/json'",
            "set it to http/protobuf or grpc",
        ),
    ],
)
def test_an_exporter_that_is_not_there_is_an_error_that_names_its_variable(variables: dict[str, str], says: str, fix: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        set_up_export(variables, "orders")
    assert (str(caught.value), caught.value.fix) == (says, fix)
