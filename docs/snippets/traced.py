"""A program that sets up OpenTelemetry itself, and spans of its own inside the handler. Runs on the memory broker."""

# --8<-- [start:set_up]
from opentelemetry import trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter

from streamkit import App, Context, Record, record_processor, run


def set_up_traces(exporter: SpanExporter) -> None:
    """Before `run`: when an app starts it looks once whether there is a provider."""
    provider = TracerProvider(resource=Resource.create({"service.name": "billing"}))
    provider.add_span_processor(BatchSpanProcessor(exporter))
    trace.set_tracer_provider(provider)


tracer = trace.get_tracer("billing")


@record_processor
def handle(record: Record, context: Context) -> None:
    with tracer.start_as_current_span("charge"):  # a child of the span of this record
        ...


# --8<-- [end:set_up]

if __name__ == "__main__":
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    from streamkit.builtin.memory import MemoryLog

    log = MemoryLog.named()
    log.create("orders")
    log.append("orders", b"1", headers=[("traceparent", b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")])
    exporter = InMemorySpanExporter()
    set_up_traces(exporter)
    run(App(handle, stream="orders", group="billing"))
    spans = {span.name: span for span in exporter.get_finished_spans()}
    assert list(spans) == ["charge", "process orders", "checkpoint orders"], list(spans)
    assert {span.context.trace_id for span in spans.values()} == {0x0AF7651916CD43DD8448EB211C80319C}
    assert spans["charge"].parent.span_id == spans["process orders"].context.span_id
