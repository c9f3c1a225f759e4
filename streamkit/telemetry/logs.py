"""Logs: an observer that writes what happens to the logger `streamkit`, and its set-up for programs (text or JSON lines).

Nothing is logged per record; the chattiest line is one for each failed attempt.
"""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime

from streamkit.model import Checkpoint, Partition, Position
from streamkit.plugin import Observer

__all__ = ["LogObserver", "set_up_logs"]

_log = logging.getLogger("streamkit")


class LogObserver(Observer):
    """One line for each change, with partition, epoch and position as fields."""

    def __init__(self) -> None:
        self._noticed: dict[tuple[str, str], int] = {}

    def on_assigned(self, partition: Partition, epoch: int) -> None:
        _log.info("%s assigned, epoch %d", partition, epoch, extra=_fields(partition, epoch=epoch))

    def on_revoked(self, partition: Partition, epoch: int, reason: str) -> None:
        _log.info("%s given back: %s", partition, reason, extra=_fields(partition, epoch=epoch))

    def on_lost(self, partition: Partition, epoch: int, reason: str) -> None:
        _log.warning(
            "%s lost: %s; its last records may be delivered again elsewhere", partition, reason, extra=_fields(partition, epoch=epoch)
        )

    def on_ended(self, partition: Partition, epoch: int) -> None:
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
        _log.warning("%s: attempt %d failed: %s: %s", partition, attempt, type(error).__name__, error, extra=_fields(partition))

    def on_put_aside(self, partition: Partition, position: Position, error: BaseException, how: str) -> None:
        _log.error(
            "%s/%s %s: %s: %s",
            partition,
            position,
            "SKIPPED" if how == "skip" else "put aside as a dead letter",
            type(error).__name__,
            error,
            extra=_fields(partition, position=str(position)),
        )

    def on_halted(self, partition: Partition, error: Exception) -> None:
        _log.error("%s HALTED: %s", partition, error, extra=_fields(partition), exc_info=error.__cause__)

    def on_recovered(self, partition: Partition) -> None:
        _log.info("%s goes on", partition, extra=_fields(partition))

    def on_stuck(self, partition: Partition, seconds: float, stack: str) -> None:
        _log.error("%s STUCK: a call has been running for %.0fs, here:\n%s", partition, seconds, stack, extra=_fields(partition))

    def on_blocked(self, what: str, seconds: float, stack: str) -> None:
        _log.error("%s could not run for %.1fs, because of this:\n%s", what, seconds, stack)

    def on_noticed(self, partition: Partition, what: str, records: int) -> None:
        of_stream = (partition.stream, what)
        before = self._noticed.get(of_stream, 0)
        self._noticed[of_stream] = before + records
        if len(str(before)) < len(str(before + records)) or not before:
            _log.warning("%s: %d records of %s so far: %s", partition, before + records, partition.stream, what, extra=_fields(partition))

    def on_problem(self, subject: str, error: BaseException) -> None:
        _log.warning("%s: %s: %s", subject, type(error).__name__, error)


def _fields(partition: Partition, **more: object) -> dict[str, object]:
    return {"partition": str(partition), **more}


class _JsonFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        for name in ("partition", "epoch", "position"):
            if hasattr(record, name):
                line[name] = getattr(record, name)
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


def set_up_logs(log_format: str) -> None:
    """Write the logger `streamkit` to stderr, unless the program has set up logging itself."""
    if logging.getLogger().handlers or _log.handlers:
        return
    handler = logging.StreamHandler(sys.stderr)
    formatter = _JsonFormatter() if log_format == "json" else logging.Formatter("%(asctime)s %(levelname)-7s %(message)s")
    handler.setFormatter(formatter)
    _log.addHandler(handler)
    _log.setLevel(logging.INFO)
