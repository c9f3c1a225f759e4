"""Writes of those who are not the owner: takes, claims, new rows, and what operators do. Blocking.

Each compares what it has read: `leaseCounter`, and who owns the row by either column of the KCL. A write that was answered by
«not as you have read it» may be our own, sent twice; then our grant is in the row, with a part that nobody else can have.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from streamkit.errors import CheckpointError, ConfigurationError, FencedError, StoreThrottledError
from streamkit.model import Lease, Partition, StartPosition
from streamkit.plugin import fencing, leasing
from streamkit_dynamodb.reading import Reading
from streamkit_dynamodb.rows import CHECKPOINT_OWNER, COUNTER, GRANT, HANDOVER, OWNER, REQUEST, Rows, Stored, changed, grant_text
from streamkit_dynamodb.statements import Done, Refused, Result, Statement, Statements, Where

__all__ = ["Changing"]

CLOCK_MARGIN = timedelta(seconds=60)
"""How far our clock and the service's may differ: a start at a time is put so much earlier, never later."""
MAX_ROUNDS = 50
"""How often a row that others change meanwhile is read again."""


@dataclass(frozen=True, slots=True)
class _Taking:
    lease: Lease
    before: Stored
    after: Stored
    statement: Statement


class Changing:
    """Used by one thread."""

    def __init__(
        self,
        table: str,
        rows: Rows,
        reading: Reading,
        statements: Statements,
        key_of: Callable[[Partition], str],
        unix_time: Callable[[], float],
    ) -> None:
        self._table = table
        self._unix_time = unix_time
        self._rows = rows
        self._reading = reading
        self._statements = statements
        self._key_of = key_of

    # -- rows that are read first ---------------------------------------------------------------------------------

    def claim(self, partition: Partition, owner: str, epoch: int) -> Stored:
        """Raises ConfigurationError for another stream of that name."""
        return self._changed(partition, lambda row: fencing.claimed(row, partition, owner, epoch))

    def overwrite(self, partition: Partition, make: Callable[[fencing.Row | None], fencing.Row]) -> None:
        self._changed(partition, make, checkpoint=True)

    def forget(self, partition: Partition) -> None:
        if self._reading.find(self._key_of(partition)) is not None:
            self._changed(partition, lambda row: fencing.forgotten(row or fencing.Row()), checkpoint=True)

    def _changed(self, partition: Partition, make: Callable[[fencing.Row | None], fencing.Row], *, checkpoint: bool = False) -> Stored:
        """Read, ask the rule, write if nobody has written meanwhile; the row as it is then."""
        key, tried = self._key_of(partition), set[str]()
        for _ in range(MAX_ROUNDS):
            before = self._read(key)
            if before is not None and before.grant in tried and (checkpoint or before.is_ours):
                return before  # what we have written, and its answer was lost; an owner is not ours if the KCL has taken it since
            made = self._pinned(_numbered(make(before.row if before is not None else None)), before)
            grant = grant_text(made.epoch, made.owner, secrets.token_hex(4))  # without an owner it only tells that it was us
            tried.add(grant)
            writes = checkpoint or before is None or made.checkpoint is not before.row.checkpoint
            after = self._after(before or self._rows.nothing(key, partition), made, grant, checkpoint=writes)
            (result,) = self._statements.run([self._statement(before, after)])
            if isinstance(result, Done):
                return after
            if not isinstance(result, Refused):
                raise result
        raise StoreThrottledError(f"DynamoDB {self._table!r}: too many others write the row {key!r}")

    def _pinned(self, made: fencing.Row, before: Stored | None) -> fencing.Row:
        """A start at LATEST that the KCL has left becomes the time of this write: later it would be another place, and what was written
        until then would be skipped."""
        checkpoint = made.checkpoint
        if not made.owner or checkpoint is None or checkpoint.at != StartPosition.LATEST or before is None or before.has_text:
            return made
        time = datetime.fromtimestamp(self._unix_time(), UTC) - CLOCK_MARGIN
        return replace(made, checkpoint=replace(checkpoint, at=StartPosition.at_time(time)))

    def _read(self, key: str) -> Stored | None:
        item = self._reading.find(key)
        return self._rows.read(item) if item is not None else None

    def _after(self, before: Stored, made: fencing.Row, grant: str, *, checkpoint: bool) -> Stored:
        is_moved = bool(made.owner and before.row.owner) and made.owner != before.row.owner
        switches = 0 if checkpoint else before.switches + is_moved
        return self._rows.after(before, made, grant=grant, switches=switches, checkpoint=checkpoint)

    def _statement(self, before: Stored | None, after: Stored) -> Statement:
        """To write `after` in place of what was read: with it go requests that were made to the owner before."""
        if before is None:
            return Statement.insert(self._table, after.item)
        sets, removes = changed(before.item, after.item)
        gone = [HANDOVER, *([CHECKPOINT_OWNER] if CHECKPOINT_OWNER in before.item else [])]
        return Statement.update(self._table, sets, [*removes, *gone], _as_read(before))

    # -- takes ----------------------------------------------------------------------------------------------------

    def take(self, leases: Sequence[Lease], owner: str, listed: Callable[[Partition], Stored | None]) -> list[Stored | Exception]:
        """One answer for each; `listed` is the row as the last listing had it."""
        answers: list[Stored | Exception] = []
        taking: dict[int, _Taking] = {}
        for lease in leases:
            try:
                taking[len(answers)] = plan = self._plan(lease, owner, listed(lease.partition))
                answers.append(plan.after)
            except (CheckpointError, ConfigurationError) as error:
                answers.append(error)
        results = self._statements.run([plan.statement for plan in taking.values()])
        for (index, plan), result in zip(taking.items(), results, strict=True):
            answers[index] = self._taken(plan, result)
        return answers

    def _plan(self, lease: Lease, owner: str, before: Stored | None) -> _Taking:
        if before is None or not leasing.is_unchanged(before.row, lease):
            before = self._read(self._key_of(lease.partition))
        made = _numbered(leasing.taken(before.row if before is not None else None, lease, owner))
        assert before is not None  # of nothing, nothing is taken
        made = self._pinned(made, before)
        writes = made.checkpoint is not before.row.checkpoint
        after = self._after(before, made, grant_text(made.epoch, owner, secrets.token_hex(4)), checkpoint=writes)
        return _Taking(lease, before, after, self._statement(before, after))

    def _taken(self, plan: _Taking, result: Result) -> Stored | Exception:
        if isinstance(result, Done):
            return plan.after
        if not isinstance(result, Refused):
            return result
        fresh = self._rows.read(result.item) if result.item is not None else None
        if fresh is not None and fresh.is_ours and fresh.grant == plan.after.grant:
            return fresh  # its answer was lost; the KCL would have left our grant there
        current = fresh.row.epoch if fresh is not None else None
        message = f"{plan.lease.partition} has changed since epoch {plan.lease.epoch} was listed"
        return FencedError(message, held=plan.lease.epoch, current=current)

    # -- rows that come and go ------------------------------------------------------------------------------------

    def create(self, leases: Sequence[Lease]) -> None:
        """What is there stays as it is."""
        inserts: dict[str, Statement] = {}
        for lease in leases:
            key = self._key_of(lease.partition)
            made = self._rows.after(self._rows.nothing(key, lease.partition), leasing.created(lease), grant="", switches=0, checkpoint=True)
            inserts.setdefault(key, Statement.insert(self._table, made.item))
        _raise_first(self._statements.run(list(inserts.values())))

    def remove(self, leases: Sequence[Lease]) -> None:
        """What has changed since it was listed stays."""
        deletes = {}
        for lease in leases:
            where = Where.key(self._key_of(lease.partition)).equals(COUNTER, {"N": str(lease.version)})
            deletes[self._key_of(lease.partition)] = Statement.delete(self._table, where.equals(OWNER, _owner(lease)))
        _raise_first(self._statements.run(list(deletes.values())))

    # -- requests -------------------------------------------------------------------------------------------------

    def request_handover(self, lease: Lease, to: str) -> bool:
        """Whether it is noted. Of a worker of the KCL nothing can be asked: it knows no such column."""
        where = Where.key(self._key_of(lease.partition)).equals(OWNER, _owner(lease)).one_of(HANDOVER, sorted({lease.handover_to, to}))
        if lease.owner:
            where = where.begins_with(GRANT, f"{lease.epoch}/{lease.owner}/")
        else:
            where = where.equals(COUNTER, {"N": str(lease.version)})
        return self._note(HANDOVER, to, where)

    def ask(self, partition: Partition, request: str) -> None:
        """Raises CheckpointError if there is no row, and one made for this would be a lease of its own."""
        key = self._key_of(partition)
        for _ in range(MAX_ROUNDS):
            if self._note(REQUEST, request, Where.key(key)):
                return
            if self._rows.is_kcl:
                raise CheckpointError(f"{partition} has no lease, so nothing of it is parked")
            made = self._rows.after(self._rows.nothing(key, partition), fencing.Row(), grant="", switches=0, checkpoint=True)
            (result,) = self._statements.run([Statement.insert(self._table, made.item | {REQUEST: {"S": request}})])
            if isinstance(result, Done):
                return
        raise StoreThrottledError(f"DynamoDB {self._table!r}: the row {key!r} comes and goes")

    def answered(self, partition: Partition, request: str) -> None:
        self._note(REQUEST, "", Where.key(self._key_of(partition)).equals(REQUEST, {"S": request}))

    def _note(self, column: str, text: str, where: Where) -> bool:
        sets, removes = ({column: {"S": text}}, []) if text else ({}, [column])
        (result,) = self._statements.run([Statement.update(self._table, sets, removes, where)])
        if isinstance(result, Done | Refused):
            return isinstance(result, Done)
        raise result


def _numbered(row: fencing.Row) -> fencing.Row:
    """With one number for both: what a take or a claim makes of the counter is the epoch."""
    number = max(row.epoch, row.version)
    return replace(row, epoch=number, version=number)


def _as_read(before: Stored) -> Where:
    where = Where.key(before.key)
    for column in (COUNTER, OWNER, CHECKPOINT_OWNER):
        where = where.equals(column, before.item.get(column))
    return where


def _owner(lease: Lease) -> dict[str, str] | None:
    return {"S": lease.owner} if lease.owner else None


def _raise_first(results: Sequence[Result]) -> None:
    for result in results:
        if not isinstance(result, Done | Refused):
            raise result
