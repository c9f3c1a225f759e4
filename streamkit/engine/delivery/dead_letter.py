"""Putting records aside: writing their dead letters through any producer. Runs on the control thread.

What a letter says is in `letter.py`. A letter that is written twice (a crash before the checkpoint, an answer that was lost) has
the same id both times.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

from streamkit.engine.delivery.enclosed import enclosed
from streamkit.engine.delivery.letter import letter_of
from streamkit.engine.delivery.messages import FailedRecord
from streamkit.engine.instrumentation import Instrumentation
from streamkit.engine.runtime import Runtime
from streamkit.errors import DeadLetterError, StreamGoneError, StreamkitError
from streamkit.model import Headers
from streamkit.plugin import Producer

__all__ = ["DeadLetters"]


class DeadLetters:
    """The target of one app, `<plugin>:<stream>`."""

    def __init__(
        self,
        producer: Producer,  # type: ignore[type-arg]  # whatever its settings are
        target: str,
        runtime: Runtime,
        *,
        group: str,
        worker: str,
        instrumentation: Instrumentation | None = None,
    ) -> None:
        self._instrumentation = instrumentation
        self._producer = producer
        self._target = target
        self._stream = target.partition(":")[2]
        self._runtime = runtime
        self._group = group
        self._worker = worker

    async def check(self) -> None:
        """Once, before anything is read: a target that is not there would halt partitions at night. Raises what the producer does."""
        try:
            await self._runtime.io.call("check-dead-letter", self._producer.check(self._stream))
        except StreamGoneError as error:
            text = f"dead letters cannot be written to {self._target}: {error}"
            raise StreamGoneError(text, broker=error.broker, fix="create it, or correct STREAMKIT_DEAD_LETTER") from error

    def parts(self, failed: Sequence[FailedRecord]) -> Sequence[Sequence[FailedRecord]]:
        """What may be written together, in order: a letter of a parked key that is not taken must not be overtaken by a later one, which
        a replay would run first."""
        return (failed,) if self._producer.is_gapless else _one_by_one(failed)

    async def write(self, failed: Sequence[FailedRecord]) -> None:
        """Returns when the target has acknowledged all of them. Raises DeadLetterError if one of them was not: then any may be
        there, and all are to be written again."""
        if not failed:
            return
        if self._instrumentation is None:
            await self._write(failed, None)
            return
        began = self._runtime.unix_time()
        error: BaseException | None = None
        try:
            await self._write(failed, self._instrumentation)
        except BaseException as raised:
            error = raised
            raise
        finally:
            records = [one.record for one in failed]
            self._instrumentation.sent(self._target, records, began, self._runtime.unix_time(), error)

    async def _write(self, failed: Sequence[FailedRecord], instrumentation: Instrumentation | None) -> None:
        at = datetime.fromtimestamp(self._runtime.unix_time(), UTC)
        try:
            letters = [letter_of(one, group=self._group, worker=self._worker, failed_at=at) for one in failed]
            if instrumentation is not None:
                more = [instrumentation.context_of(one.record) for one in failed]
                letters = [replace(letter, headers=Headers((*letter.headers, *own))) for letter, own in zip(letters, more, strict=True)]
            if not self._producer.keeps_headers:
                letters = [enclosed(letter) for letter in letters]
            answers = await self._runtime.io.call("write-dead-letters", self._producer.send(self._stream, letters))
        except Exception as error:
            raise self._error(failed[0], error) from error
        if len(answers) != len(letters):
            raise self._error(failed[0], RuntimeError(f"{len(answers)} answers for {len(letters)} records"))
        for one, answer in zip(failed, answers, strict=True):
            if answer is not None:
                raise self._error(one, answer) from answer

    def _error(self, failed: FailedRecord, cause: Exception) -> DeadLetterError:
        fix = cause.fix if isinstance(cause, StreamkitError) else ""
        return DeadLetterError(
            f"{self._target} did not take the dead letter of {failed.record.id}: {type(cause).__name__}: {cause}",
            record=failed.record.id,
            attempts=failed.attempts,
            fix=fix or "the record stays where it is, and is tried again; see that the target can be written",
        )


def _one_by_one(failed: Sequence[FailedRecord]) -> Sequence[Sequence[FailedRecord]]:
    """Each with one letter at most of each parked key."""
    parts: list[list[FailedRecord]] = []
    parted: Counter[bytes | None] = Counter()
    for one in failed:
        number = parted[one.record.key] if one.parked else 0
        parted[one.record.key] += bool(one.parked)
        parts.extend([] for _ in range(number + 1 - len(parts)))
        parts[number].append(one)
    return parts
