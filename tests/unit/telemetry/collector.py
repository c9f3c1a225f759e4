"""A collector of OTLP over HTTP in the process of the test: what other processes export comes here, and is decoded."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import KeyValue

__all__ = ["Collected", "Collector", "collecting"]


@dataclass(frozen=True)
class Collected:
    """A span, as it has come over the wire. Ids are hexadecimal digits."""

    service: str
    name: str
    trace: str
    id: str
    parent: str
    attributes: Mapping[str, object]
    links: tuple[str, ...]


@dataclass
class Collector:
    """What has come so far. `hold` keeps every request without an answer."""

    url: str = ""
    spans: list[Collected] = field(default_factory=list)
    metrics: dict[str, list[tuple[Mapping[str, object], float]]] = field(default_factory=dict)
    """The newest values of each metric that was exported."""
    hold: bool = False
    asked: threading.Event = field(default_factory=threading.Event)
    """Set with the first request."""
    over: threading.Event = field(default_factory=threading.Event)

    def take_traces(self, body: bytes) -> None:
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            service = _attributes(resource.resource.attributes).get("service.name", "")
            for scope in resource.scope_spans:
                self.spans += [
                    Collected(
                        str(service),
                        span.name,
                        span.trace_id.hex(),
                        span.span_id.hex(),
                        span.parent_span_id.hex(),
                        _attributes(span.attributes),
                        tuple(link.span_id.hex() for link in span.links),
                    )
                    for span in scope.spans
                ]

    def take_metrics(self, body: bytes) -> None:
        for resource in ExportMetricsServiceRequest.FromString(body).resource_metrics:
            for scope in resource.scope_metrics:
                for metric in scope.metrics:
                    points = [*metric.sum.data_points, *metric.gauge.data_points]
                    values = [(_attributes(point.attributes), point.as_double or float(point.as_int)) for point in points]
                    values += [(_attributes(point.attributes), float(point.count)) for point in metric.histogram.data_points]
                    self.metrics[metric.name] = values


def _attributes(pairs: Iterable[KeyValue]) -> dict[str, object]:
    found: dict[str, object] = {}
    for pair in pairs:
        kind = pair.value.WhichOneof("value")
        found[pair.key] = getattr(pair.value, kind) if kind is not None else None
    return found


@contextmanager
def collecting() -> Iterator[Collector]:
    """A collector on a free port of loopback, ended by its own handle."""
    collector = Collector()
    takes: dict[str, Callable[[bytes], None]] = {"/v1/traces": collector.take_traces, "/v1/metrics": collector.take_metrics}

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            collector.asked.set()
            if collector.hold:
                collector.over.wait()
                return
            takes[self.path](body)
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    collector.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield collector
    finally:
        collector.over.set()
        server.shutdown()
        thread.join()
        server.server_close()
