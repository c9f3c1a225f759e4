"""Logs: an observer that writes what happens to the logger `streamkit`, and its set-up for programs (text or JSON lines).

Nothing is logged per record; the chattiest line is one for each failed attempt.
"""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime

from streamkit.model import Checkpoint, Partition
from streamkit.plugin import Observer

__all__ = ["LogObserver", "set_up_logs"]

_log = logging.getLogger("streamkit")


class LogObserver(Observer):
    """One line for each change, with partition, epoch and position as fields."""

    def __init__(self) -> None:
        self._failing: set[Partition] = set()

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
        if checkpoint.partition in self._failing:
            self._failing.discard(checkpoint.partition)
            _log.info("%s: checkpoints are saved again", checkpoint.partition, extra=fields)
        _log.debug("%s: checkpoint %s", checkpoint.partition, checkpoint.at, extra=fields)

    def on_checkpoint_failed(self, checkpoint: Checkpoint, error: Exception) -> None:
        self._failing.add(checkpoint.partition)
        _log.warning(
            "%s: checkpoint %s not saved, kept and tried again: %s",
            checkpoint.partition,
            checkpoint.at,
            error,
            extra=_fields(checkpoint.partition, epoch=checkpoint.epoch),
        )

    def on_attempt_failed(self, partition: Partition, error: BaseException, attempt: int) -> None:
        _log.warning("%s: attempt %d failed: %s: %s", partition, attempt, type(error).__name__, error, extra=_fields(partition))

    def on_halted(self, partition: Partition, error: Exception) -> None:
        _log.error("%s HALTED: %s", partition, error, extra=_fields(partition), exc_info=error.__cause__)

    def on_recovered(self, partition: Partition) -> None:
        _log.info("%s goes on", partition, extra=_fields(partition))

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
