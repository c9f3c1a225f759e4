"""Logs: an observer that writes what happens to the logger `streamkit`, and its set-up for programs (text or JSON lines).

Nothing is logged per record; the chattiest line is one for each failed attempt. A line about a failure names the span that it happened
in, and `JsonFormatter` names the span that is current where a line is written.
"""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime

from streamkit.errors import ProcessingError
from streamkit.model import Checkpoint, Partition, Position
from streamkit.plugin import Observer
from streamkit.telemetry.errors import span_of

__all__ = ["FIELDS", "JsonFormatter", "LogObserver", "set_up_logs"]

FIELDS = ("partition", "epoch", "position", "record", "trace_id", "span_id")
"""What a line may have besides time, level, logger, message and error."""

MAX_CAUSES = 10

_log = logging.getLogger("streamkit")


class LogObserver(Observer):
    """One line for each change, with partition, epoch and position as fields."""

    def __init__(self) -> None:
        self._noticed: dict[tuple[str, str], int] = {}
        self._epochs: dict[Partition, int] = {}
        """Of the partitions that are here."""

    def on_assigned(self, partition: Partition, epoch: int) -> None:
        self._epochs[partition] = epoch
        _log.info("%s assigned, epoch %d", partition, epoch, extra=_fields(partition, epoch=epoch))

    def on_revoked(self, partition: Partition, epoch: int, reason: str) -> None:
        self._epochs.pop(partition, None)
        _log.info("%s given back: %s", partition, reason, extra=_fields(partition, epoch=epoch))

    def on_lost(self, partition: Partition, epoch: int, reason: str) -> None:
        self._epochs.pop(partition, None)
        _log.warning(
            "%s lost: %s; its last records may be delivered again elsewhere", partition, reason, extra=_fields(partition, epoch=epoch)
        )

    def on_ended(self, partition: Partition, epoch: int) -> None:
        self._epochs.pop(partition, None)
        _log.info("%s has ended", partition, extra=_fields(partition, epoch=epoch))

    def on_checkpointed(self, checkpoint: Checkpoint) -> None:
        fields = _fields(checkpoint.partition, epoch=checkpoint.epoch, position=str(checkpoint.at.position))
        _log.debug("%s: checkpoint %s", checkpoint.partition, checkpoint.at, extra=fields)

    def on_checkpoint_failed(self, checkpoint: Checkpoint, error: Exception) -> None:
        fields = _fields(checkpoint.partition, epoch=checkpoint.epoch)  # of a store that is down there is one line for all partitions
        _log.debug("%s: checkpoint %s not saved: %s", checkpoint.partition, checkpoint.at, error, extra=fields)

    def on_store_down(self, error: Exception, partitions: int) -> None:
        of = f"{partitions} partition{'s' if partitions != 1 else ''}"
        _log.warning("checkpoints of %s not saved, kept and tried again: %s: %s", of, type(error).__name__, error)

    def on_store_up(self, seconds: float, partitions: int) -> None:
        of = f"{partitions} partition{'s' if partitions != 1 else ''}"
        _log.info("checkpoints are saved again, after %.1fs; %s had to wait", seconds, of)

    def on_attempt_failed(self, partition: Partition, error: BaseException, attempt: int) -> None:
        fields = self._of(partition, error)
        _log.warning("%s: attempt %d failed: %s: %s", partition, attempt, type(error).__name__, error, extra=fields)

    def on_put_aside(self, partition: Partition, position: Position, error: BaseException, how: str) -> None:
        _log.error(
            "%s/%s %s: %s: %s",
            partition,
            position,
            "SKIPPED" if how == "skip" else "put aside as a dead letter",
            type(error).__name__,
            error,
            extra={**self._of(partition, error), "position": str(position)},
        )

    def on_halted(self, partition: Partition, error: Exception) -> None:
        _log.error("%s HALTED: %s", partition, error, extra=self._of(partition, error), exc_info=error.__cause__)

    def on_recovered(self, partition: Partition) -> None:
        _log.info("%s goes on", partition, extra=self._of(partition))

    def on_stuck(self, partition: Partition, seconds: float, stack: str) -> None:
        _log.error("%s STUCK: a call has been running for %.0fs, here:\n%s", partition, seconds, stack, extra=self._of(partition))

    def on_blocked(self, what: str, seconds: float, stack: str) -> None:
        _log.error("%s could not run for %.1fs, because of this:\n%s", what, seconds, stack)

    def on_noticed(self, partition: Partition, what: str, records: int) -> None:
        of_stream = (partition.stream, what)
        before = self._noticed.get(of_stream, 0)
        self._noticed[of_stream] = before + records
        if len(str(before)) < len(str(before + records)) or not before:
            _log.warning("%s: %d records of %s so far: %s", partition, before + records, partition.stream, what, extra=_fields(partition))

    def on_problem(self, subject: str, error: BaseException) -> None:
        _log.warning("%s: %s: %s", subject, type(error).__name__, error, extra=_span(error))

    def _of(self, partition: Partition, error: BaseException | None = None) -> dict[str, object]:
        """What is known of the partition, and of what happened to it."""
        fields = _fields(partition)
        if (epoch := self._epochs.get(partition)) is not None:
            fields["epoch"] = epoch
        if isinstance(error, ProcessingError) and error.record:
            fields["record"] = error.record
        return {**fields, **_span(error)}


def _fields(partition: Partition, **more: object) -> dict[str, object]:
    return {"partition": str(partition), **more}


def _span(error: BaseException | None) -> dict[str, object]:
    """Where it was raised, if that was traced; of an error of ours, where its cause was."""
    for _ in range(MAX_CAUSES):
        if error is None:
            break
        if (span := span_of(error)) is not None:
            return {"trace_id": span[0], "span_id": span[1]}
        error = error.__cause__
    return {}


def _current_span() -> dict[str, object]:
    """The span that is current here, if anybody traces. OpenTelemetry is not imported for it."""
    trace = sys.modules.get("opentelemetry.trace")
    context = trace.get_current_span().get_span_context() if trace is not None else None
    if context is None or not context.is_valid:
        return {}
    return {"trace_id": format(context.trace_id, "032x"), "span_id": format(context.span_id, "016x")}


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time, level, logger, message, `FIELDS` as far as `extra` has them, the current span, the traceback."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, without its end."""
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        line |= {name: getattr(record, name) for name in FIELDS if hasattr(record, name)}
        if "trace_id" not in line:
            line |= _current_span()
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


def set_up_logs(log_format: str) -> None:
    """Write the logger `streamkit` to stderr, unless the program has set up logging itself."""
    if logging.getLogger().handlers or _log.handlers:
        return
    handler = logging.StreamHandler(sys.stderr)
    formatter = JsonFormatter() if log_format == "json" else logging.Formatter("%(asctime)s %(levelname)-7s %(message)s")
    handler.setFormatter(formatter)
    _log.addHandler(handler)
    _log.setLevel(logging.INFO)
