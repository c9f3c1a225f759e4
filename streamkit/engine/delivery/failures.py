"""What a failure leads to: another attempt, a record put aside or skipped, a halt, or a stop. Decides; acts only where it says so.

A `Trouble` is the state of whatever is retried by itself: one for a partition in order, one for each key. Used on the worker's
carrier alone; others may look.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from streamkit.engine.delivery.call import Exited
from streamkit.engine.delivery.life import Life
from streamkit.engine.delivery.messages import FailedRecord
from streamkit.engine.delivery.parking import Parking
from streamkit.engine.delivery.retry import halt_delay
from streamkit.errors import RetriesExhaustedError
from streamkit.model import Batch, Record
from streamkit.outcome import Reject, Retry, Stop

__all__ = ["DOUBT", "Failures", "Trouble", "Verdict", "as_error"]

DOUBT = "was being processed when its owner died or lost it"
"""What a partition says that halts for its owners' sake: too many have gone, and nobody knows how."""
_ASIDE = ("dead_letter", "park", "skip")


@dataclass(slots=True)
class Trouble:
    """What has failed and is tried again."""

    what: str = ""
    """What failed last, for people: a record, a batch, a hook."""
    record: str = ""
    """The id of the first record of it; empty for hooks."""
    attempt: int = 0
    """How many attempts have failed since the beginning, or since the last halt."""
    halts: int = 0
    error: BaseException | None = None
    """What the last attempt raised."""
    retry_at: float | None = None
    """When it is tried again (monotonic), while that is waited for."""
    aside: int = 0
    """How many of its records are being put aside."""
    tried: int = 0
    """How many attempts these have had."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What has to be done now."""

    do: Literal["retry", "put_aside", "skip", "halt", "stop"]
    wait_seconds: float = 0.0
    """retry and halt: how long to wait before the next attempt."""
    failed: Sequence[FailedRecord] = ()
    """put_aside and skip: which records."""


class Failures:
    """Of one assignment."""

    def __init__(self, life: Life, reject_on: tuple[type[BaseException], ...], parking: Parking) -> None:
        self.parking = parking
        """Keys whose records are put aside uncalled."""
        self._life = life
        self._reject: tuple[type, ...] = (Reject, *reject_on)
        self._halted: set[int] = set()
        self.retries = 0
        """Attempts that failed and were followed by another one, without a halt in between."""
        self._in_a_row = 0
        """Records put aside or skipped since the last success, those that are being written included."""
        self._open: dict[int, Trouble] = {}
        self.last: Trouble | None = None
        """What has failed last and has not recovered since: one line for people."""

    def _note(self, trouble: Trouble) -> None:
        """It is in trouble, and for people the newest one that is."""
        self._open.pop(id(trouble), None)
        self._open[id(trouble)] = self.last = trouble

    @property
    def is_halted(self) -> bool:
        return bool(self._halted)

    def after(self, trouble: Trouble, failure: object, subject: Batch | str) -> Verdict:
        """Report one failed attempt, and decide."""
        self._life.events.attempt_failed(as_error(failure), trouble.attempt + 1)
        return self.judge(trouble, failure, subject)

    def judge(self, trouble: Trouble, failure: object, subject: Batch | str) -> Verdict:
        """Count one failed attempt, and decide. `subject`: the records that the policy may put aside, or the name of a hook, which
        can only halt or stop. A halt or stop is told to the assignment at once."""
        failure = failure.stop if isinstance(failure, Exited) else failure
        trouble.error = as_error(failure)
        trouble.what, trouble.record = _names(subject)
        trouble.attempt += 1
        self._note(trouble)
        limits = self._life.limits
        if isinstance(failure, Stop):
            return self.stop(trouble, _final(trouble))
        if not isinstance(failure, self._reject) and not limits.retry.exhausted(trouble.attempt):
            asked = failure.after if isinstance(failure, Retry) else None
            self.retries += 1
            return Verdict("retry", limits.retry.delay(trouble.attempt, self._life.runtime.random()) if asked is None else asked)
        if limits.on_failure == "stop":
            return self.stop(trouble, _final(trouble))
        if isinstance(subject, str) or limits.on_failure not in _ASIDE:
            return self.halt(trouble, _final(trouble))
        return self._aside(trouble, subject)

    def condemn(self, trouble: Trouble, batch: Batch, times: int, *, is_proven: bool) -> Verdict:
        """A record has killed its process so often when it was delivered alone: it is not called again, the policy takes it. While
        it may as well be that its owners only lost the partition, no policy passes it: it halts."""
        trouble.what, trouble.record = _names(batch)
        trouble.attempt = times
        trouble.error = error = _killed(trouble, times) if is_proven else _perhaps_killed(trouble, times)
        self._note(trouble)
        if self._life.limits.on_failure == "stop":
            return self.stop(trouble, error)
        if not is_proven or self._life.limits.on_failure not in _ASIDE:
            return self.halt(trouble, error)
        return self._aside(trouble, batch)

    def halt(self, trouble: Trouble, error: Exception) -> Verdict:
        """Nothing else is left: wait long, then begin again with fresh attempts."""
        self._halted.add(id(trouble))
        self._in_a_row = max(0, self._in_a_row - trouble.aside)  # they were not put aside after all
        trouble.aside = 0
        trouble.halts += 1
        trouble.attempt = 0
        self._note(trouble)
        self._life.events.halt(error)
        return Verdict("halt", halt_delay(trouble.halts))

    def stop(self, trouble: Trouble, error: Exception) -> Verdict:
        """The process is to drain; the same record is delivered again after its next start."""
        self._halted.add(id(trouble))
        self._life.events.stop_asked(error)
        return Verdict("stop")

    def passed(self, trouble: Trouble) -> None:
        """What was in trouble is done: its next failure is the first one of something else."""
        trouble.attempt = trouble.aside = 0
        trouble.error = trouble.retry_at = None
        if self._open.pop(id(trouble), None) is not None:
            self.last = next(reversed(self._open.values()), None)
        if trouble.halts:
            trouble.halts = 0
            self._halted.discard(id(trouble))
            if not self._halted:
                self._life.events.recovered()

    def succeeded(self) -> None:
        """The user's code has finished a record: a row of records put aside ends here."""
        self._in_a_row = 0

    async def carry_out(self, trouble: Trouble, verdict: Verdict) -> bool:
        """Do what the verdict says, with nothing else beside it. True if the records are done with: put aside, or skipped. False:
        they are to be delivered again, unless the assignment ends."""
        if verdict.do not in ("put_aside", "skip"):
            await self.sit_out(trouble, verdict)
            return False
        try:
            if verdict.do == "skip":
                self._life.events.skipped(verdict.failed)
            elif not await self._life.arrives(self._life.events.put_aside(verdict.failed)):
                return False
        except Exception as error:  # whatever the target says: what was not put aside is not done
            await self.sit_out(trouble, self.halt(trouble, error))
            return False
        self.passed(trouble)
        return True

    def behind(self, trouble: Trouble, records: Iterable[Record]) -> list[FailedRecord]:
        """Records of parked keys, as they are put aside: uncalled, but for one whose own letter could not be written."""
        found = []
        for record in records:
            one = self.parking.behind(record)
            if trouble.error is not None and trouble.record == record.id:
                one = replace(one, error=trouble.error, attempts=trouble.tried)
            found.append(one)
        return found

    def halt_behind(self, trouble: Trouble, batch: Batch, error: Exception) -> Verdict:
        """Records of parked keys could not be put aside."""
        trouble.what, trouble.record = _names(batch)
        return self.halt(trouble, error)

    async def put_behind(self, trouble: Trouble, batch: Batch) -> int:
        """Put records of parked keys aside, with nothing else beside it. How many of them are done with."""
        written = self._life.events.put_behind(self.behind(trouble, batch))
        try:
            if not await self._life.arrives(written):
                return 0
        except Exception as error:  # as above
            await self.sit_out(trouble, self.halt_behind(trouble, batch, error))
            return 0
        count = written.result()
        if count < len(batch):
            self.parking.forget(next(iter(batch.slice(count, count + 1))))
        if count:
            self.passed(trouble)
        return count

    async def sit_out(self, trouble: Trouble, verdict: Verdict) -> None:
        """Wait as `retry`, `halt` and `stop` want, but not longer than the assignment lasts."""
        if verdict.do == "stop":
            await self._life.wait_for_end()
            return
        trouble.retry_at = self._life.runtime.monotonic() + verdict.wait_seconds
        await self._life.wait(verdict.wait_seconds)
        trouble.retry_at = None

    def _aside(self, trouble: Trouble, batch: Batch) -> Verdict:
        """To the dead letters, or past it, as long as that does not drain the stream."""
        limits = self._life.limits
        if self._in_a_row + len(batch) > limits.max_consecutive:
            return self.halt(trouble, _too_many(trouble, len(batch), self._in_a_row, limits.max_consecutive))
        trouble.aside = len(batch)
        trouble.tried = trouble.attempt
        self._in_a_row += len(batch)
        failed = [FailedRecord(record, as_error(trouble.error), trouble.attempt) for record in batch]
        return Verdict("skip" if limits.on_failure == "skip" else "put_aside", failed=failed)


def as_error(failure: object) -> BaseException:
    """A failure as something that can be raised, logged and written down."""
    return failure if isinstance(failure, BaseException) else RuntimeError(str(failure))


def _names(subject: Batch | str) -> tuple[str, str]:
    if isinstance(subject, str):
        return subject, ""
    record = f"{subject.partition}/{subject.first}"
    return (f"record {record}" if len(subject) == 1 else f"the batch of {len(subject)} records from {record}"), record


def _final(trouble: Trouble) -> RetriesExhaustedError:
    return _exhausted(trouble, "", "mend the processor; the record is delivered again, nothing was skipped")


def _too_many(trouble: Trouble, count: int, in_a_row: int, limit: int) -> RetriesExhaustedError:
    setting = f"STREAMKIT_DEAD_LETTER_MAX_CONSECUTIVE={limit}"
    if count > limit:
        why = f"; its {count} records are more than may be put aside at once"
        fix = f"find the bad record with STREAMKIT_BISECT=true, or raise {setting}"
    else:
        why = f"; {in_a_row} records in a row were put aside before it"
        fix = f"mend the processor, it fails at every record; or raise {setting}"
    return _exhausted(trouble, f"{why} ({setting})", fix)


def _killed(trouble: Trouble, times: int) -> RetriesExhaustedError:
    return RetriesExhaustedError(
        f"{trouble.what} killed its process {times} times: it was delivered alone, and the process died",
        record=trouble.record,
        attempts=times,
        fix="look for what ended the processes (out of memory, a fault in native code); the record is not called again",
    )


def _perhaps_killed(trouble: Trouble, owners: int) -> RetriesExhaustedError:
    return RetriesExhaustedError(
        f"{trouble.what} {DOUBT}; {owners} owners in a row made no progress",
        record=trouble.record,
        attempts=owners,
        fix="look at what ended them. If the record is to be passed, or called again: streamkit checkpoints set, behind it or before it. "
        "With a STREAMKIT_WORKER that stays the same from start to start a death can be told from a loss, and STREAMKIT_ON_FAILURE applies",
    )


def _exhausted(trouble: Trouble, why: str, fix: str) -> RetriesExhaustedError:
    attempts, cause = trouble.attempt, trouble.error
    error = RetriesExhaustedError(
        f"{trouble.what} failed after {attempts} attempt{'s' if attempts > 1 else ''}: {type(cause).__name__}: {cause}{why}",
        record=trouble.record,
        attempts=attempts,
        fix=fix,
    )
    error.__cause__ = cause
    return error
