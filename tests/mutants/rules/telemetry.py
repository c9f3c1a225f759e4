"""Rules of traces, and of their export."""

from tests.mutants.mutant import Mutant

__all__ = ["MUTANTS"]

TRACES = "tests/unit/telemetry/test_tracing.py::"
EXPORT = "tests/unit/telemetry/test_export.py::"

MUTANTS: tuple[Mutant, ...] = (
    Mutant(
        "the span of a record is current while the code runs",
        "telemetry/tracing.py",
        "        self._token = attach(self._surroundings)\n",
        "        self._token = attach(get_current())\n",
        (TRACES + "test_the_process_span_is_current_while_the_code_runs_and_not_afterwards",),
    ),
    Mutant(
        "and it is not current in other hooks",
        "telemetry/tracing.py",
        "        detach(self._token)\n",
        "",
        (TRACES + "test_no_span_is_current_in_other_hooks",),
    ),
    Mutant(
        "the parent of a record's span is in its headers",
        "telemetry/tracing.py",
        "self._tracer.start_span(self._name, carried, SpanKind.CONSUMER, attributes)",
        "self._tracer.start_span(self._name, Surroundings(), SpanKind.CONSUMER, attributes)",
        (TRACES + "test_a_record_has_a_span_whose_parent_is_in_its_headers",),
    ),
    Mutant(
        "a checkpoint names the records that it covers, and each of them once",
        "telemetry/unsaved.py",
        "if is_saved and found:",
        "if False:",
        (TRACES + "test_the_checkpoint_of_several_records_is_a_root_with_links_to_their_spans_and_no_link_comes_twice",),
    ),
    Mutant(
        "a new assignment does not name what an earlier one has done",
        "telemetry/unsaved.py",
        "            self._spans.pop(partition, None)\n            self._spans[partition] = deque(maxlen=MAX_SPANS)\n",
        "            self._spans.setdefault(partition, deque(maxlen=MAX_SPANS))\n",
        (TRACES + "test_a_new_assignment_does_not_name_what_an_earlier_one_has_done",),
    ),
    Mutant(
        "a dead letter keeps the trace context of its record",
        "telemetry/tracing.py",
        "        if carries_context(record.headers):\n            return ()\n",
        "",
        (TRACES + "test_a_dead_letter_carries_the_context_of_its_record_as_it_was",),
    ),
    Mutant(
        "telemetry that fails costs the span and not the record",
        "telemetry/tracing.py",
        "            return begin(subject, context)\n        except Exception:\n",
        "            return begin(subject, context)\n        except ZeroDivisionError:\n",
        (TRACES + "test_a_propagator_that_raises_costs_the_span_and_not_the_record",),
    ),
    Mutant(
        "without a provider nothing of OpenTelemetry is imported",
        "assembly/telemetry.py",
        "    if not _is_there() and not any(map(os.environ.get, PROVIDERS)):\n        return\n",
        "",
        (EXPORT + "test_without_a_wish_nothing_of_opentelemetry_is_imported_and_nothing_is_put_around_the_handler",),
    ),
    Mutant(
        "a collector that hangs does not hold the exit",
        "telemetry/export.py",
        "if not event.wait(max(0.0, until - time.monotonic())):",
        "if not event.wait():",
        (EXPORT + "test_a_collector_that_hangs_does_not_hold_the_exit",),
    ),
)
