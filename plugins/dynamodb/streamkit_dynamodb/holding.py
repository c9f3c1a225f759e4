"""What an owner writes: renewals, saves, children, releases. Blocking.

Each write compares `leaseOwner` and our grant, which stay the same from the take to the next change of owner, so an answer that
was lost costs nothing and a repeat is harmless. And each has a counter of its own, larger than that of all before it, and is
refused once a larger one has been written: a request that was given up here, and arrives late, undoes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from streamkit.errors import CheckpointError, ConfigurationError, FencedError, StoreUnavailableError
from streamkit.model import Partition
from streamkit.plugin import Grant, fencing
from streamkit_dynamodb.reading import Reading
from streamkit_dynamodb.rows import COUNTER, GRANT, KEY, OWNER, Rows, Stored, changed, everything, moved
from streamkit_dynamodb.statements import Done, Refused, Result, Statement, Statements, Value, Where

__all__ = ["Change", "Holding"]

_OURS = f'"{KEY}" = ? AND "{OWNER}" = ? AND "{GRANT}" = ? AND "{COUNTER}" <= ?'
MAX_ROUNDS = 3
"""A row that an owner of the same name changes as well: each of them has seen the other's after one round."""


@dataclass(frozen=True, slots=True)
class Change:
    """One write of an owner."""

    partition: Partition
    grant: Grant
    make: Callable[[fencing.Row | None], fencing.Row]
    """From the row as it is to what it is to be. Raises FencedError, or what the rules say."""
    checkpoint: bool = False
    """Writes the checkpoint too."""


@dataclass(slots=True)
class _Held:
    """A row of ours."""

    stored: Stored
    """As it was last confirmed."""
    counter: int
    """The largest that was ever sent."""
    is_sure: bool = True
    """Nothing but what was confirmed has been sent."""

    proof: tuple[Value, ...] = ()
    """Key, owner and grant, which all its writes compare; nothing, if it is not ours."""

    @classmethod
    def of(cls, stored: Stored) -> _Held:
        item = stored.item
        return cls(stored, stored.row.version, proof=({"S": stored.key}, item[OWNER], item[GRANT]) if stored.is_ours else ())

    def row(self) -> fencing.Row:
        """With the version that the next one is counted from."""
        row = self.stored.row
        return row if row.version == self.counter else replace(row, version=self.counter)


@dataclass(frozen=True, slots=True)
class _Plan:
    change: Change
    held: _Held
    after: Stored
    statement: Statement
    settles: bool
    """If it is carried out, all of `after` is certain."""


class Holding:
    """The rows that this store's worker owns, as of their take and its own writes. One thread writes; another adds."""

    def __init__(self, table: str, rows: Rows, reading: Reading, statements: Statements, key_of: Callable[[Partition], str]) -> None:
        self._table = table
        self._rows = rows
        self._reading = reading
        self._statements = statements
        self._key_of = key_of
        self._held: dict[Partition, _Held] = {}
        self._renewal = Statement.update(table, {COUNTER: {}}, [], Where(_OURS, ())).text

    def add(self, stored: Stored) -> None:
        """It was taken or claimed."""
        self._held[stored.partition] = _Held.of(stored)

    def _drop(self, partition: Partition, held: _Held) -> None:
        """It is not ours any more. What a claim has put in its place meanwhile stays."""
        if self._held.get(partition) is held:
            del self._held[partition]

    def write(self, changes: Sequence[Change]) -> list[Stored | Exception]:
        """One answer for each: the row as it is now, or FencedError, CheckpointPositionError, ConfigurationError, or an error that leaves
        it in doubt. Raises what is wrong with all of them."""
        answers: list[Stored | Exception | None] = [None] * len(changes)
        waiting = list(range(len(changes)))
        for _ in range(MAX_ROUNDS):
            plans: dict[int, _Plan] = {}
            for index in waiting:
                plan = self._plan(changes[index])
                if isinstance(plan, _Plan):
                    plans[index] = plan
                else:
                    answers[index] = plan
            results = self._run(list(plans.values()))
            for (index, plan), result in zip(plans.items(), results, strict=True):
                answers[index] = self._told(plan, result)
            waiting = [index for index in waiting if answers[index] is None]
            if not waiting:
                break
        crowded = StoreUnavailableError(f"DynamoDB {self._table!r}: another worker with the name of this one writes the same rows")
        return [crowded if answer is None else answer for answer in answers]

    def _run(self, plans: Sequence[_Plan]) -> list[Result]:
        for plan in plans:
            plan.held.counter = plan.after.row.version
            plan.held.is_sure = False
        return self._statements.run([plan.statement for plan in plans])

    def _plan(self, change: Change) -> _Plan | Exception:
        try:
            held = self._find(change)
            row = held.row() if held is not None else None
            made = change.make(row)
            if held is None or row is None or not held.proof:
                raise FencedError(f"{change.partition} is not ours, whatever number it has", current=row.epoch if row is not None else None)
            if change.checkpoint:
                self._check_creation(change.partition, held.stored.key)
        except (CheckpointError, ConfigurationError) as error:
            return error
        stored, counter = held.stored, {"N": str(made.version)}
        if _is_renewal(row, made):
            return _Plan(change, held, moved(stored, made), Statement(self._renewal, (counter, *held.proof, counter)), held.is_sure)
        writes = change.checkpoint and made.checkpoint is not row.checkpoint
        switches = 0 if writes else stored.switches
        after = self._rows.after(stored, made, grant=stored.grant if made.owner else "", switches=switches, checkpoint=writes)
        sets, removes = changed(stored.item, after.item) if held.is_sure or not writes else everything(after.item)
        ours = Where(_OURS, (*held.proof, counter))
        return _Plan(change, held, after, Statement.update(self._table, {**sets, COUNTER: counter}, removes, ours), held.is_sure or writes)

    def _find(self, change: Change) -> _Held | None:
        """What we know of it; what we do not know, or know otherwise than the grant says, is read."""
        held = self._held.get(change.partition)
        if held is not None and _is_shown(held.stored.row, change.grant):
            return held
        item = self._reading.find(self._key_of(change.partition))
        stored = self._rows.read(item) if item is not None else None
        if stored is None:
            return None
        held = _Held.of(stored)
        if _is_shown(stored.row, change.grant):
            self._held[change.partition] = held
        return held

    def _check_creation(self, partition: Partition, stored: str) -> None:
        """With several streams the key says of which creation its stream is; a row that only the KCL has written says nothing else."""
        key = self._rows.key_of(partition)
        if key is not None and key != stored:
            raise ConfigurationError(
                f"the lease of {partition} is {stored!r}, and its stream was made anew since: it would be {key!r}",
                fix="check that this is the right stream; if it was made anew, delete the rows of the older one",
            )

    def _told(self, plan: _Plan, result: Result) -> Stored | Exception | None:
        """None: the row has moved, and is still ours; it is looked at again."""
        partition, held = plan.change.partition, plan.held
        if isinstance(result, Done):
            held.stored, held.is_sure = plan.after, plan.settles
            if not plan.after.row.owner:
                self._drop(partition, held)
            return plan.after
        if not isinstance(result, Refused):
            return result
        fresh = self._rows.read(result.item) if result.item is not None else None
        if fresh is not None and fresh.row.owner and fresh.grant == held.stored.grant:
            held.stored, held.counter = fresh, max(held.counter, fresh.row.version)
            return None
        self._drop(partition, held)
        current = fresh.row.epoch if fresh is not None else None
        by = f"{fresh.row.owner} has it" if fresh is not None and fresh.row.owner else "it was taken away"
        shown = held.stored.row.epoch
        return FencedError(f"{partition}: epoch {shown} was shown, and {by}", held=shown, current=current)


def _is_shown(row: fencing.Row, grant: Grant) -> bool:
    shown: object = grant
    return bool(row.owner) and shown == row.epoch


def _is_renewal(row: fencing.Row, made: fencing.Row) -> bool:
    """Nothing but the version differs. Partitions and checkpoints compare by less than they hold."""
    is_same = made.checkpoint is row.checkpoint and made.partition is row.partition
    return is_same and (made.owner, made.epoch, made.fruitless_claims) == (row.owner, row.epoch, row.fruitless_claims)
