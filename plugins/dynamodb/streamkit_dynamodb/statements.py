"""Conditional writes, as PartiQL statements: 25 a call, an answer for each, those that were throttled tried again.

https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_BatchExecuteStatement.html: the statements of a call are not one
transaction, and a condition that fails fails alone. Each statement may be repeated: what it compares no longer holds once it
has been carried out, or it writes the same again.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from streamkit.errors import CheckpointError, StoreThrottledError, StoreUnavailableError
from streamkit_dynamodb.answers import Answer, Item, whole
from streamkit_dynamodb.client import DynamoDBClient
from streamkit_dynamodb.errors import statement_error, translated

__all__ = ["Done", "Refused", "Result", "Retries", "Statement", "Statements", "Value", "Where"]

Value: TypeAlias = Mapping[str, Any]

MAX_STATEMENTS = 25
MAX_BYTES = 1 << 20
"""Of a call's values, so that it does not take longer than its time limit."""
FIRST_PAUSE_SECONDS = 0.05
MAX_PAUSE_SECONDS = 0.5
MAX_TRIES = 10


@dataclass(frozen=True, slots=True)
class Done:
    """Carried out."""


@dataclass(frozen=True, slots=True)
class Refused:
    """Its condition does not hold; the item as it is, if there is one. Of an insert: there is one."""

    item: Item | None


Result: TypeAlias = Done | Refused | CheckpointError


@dataclass(frozen=True, slots=True)
class Where:
    """Conditions on one item, all of which must hold."""

    text: str
    values: tuple[Value, ...]

    @classmethod
    def key(cls, key: str) -> Where:
        return cls('"leaseKey" = ?', ({"S": key},))

    def equals(self, column: str, value: Value | None) -> Where:
        """None: the column is absent."""
        if value is None:
            return Where(f'{self.text} AND "{column}" IS MISSING', self.values)
        return Where(f'{self.text} AND "{column}" = ?', (*self.values, value))

    def begins_with(self, column: str, text: str) -> Where:
        return Where(f'{self.text} AND begins_with("{column}", ?)', (*self.values, {"S": text}))

    def one_of(self, column: str, texts: Sequence[str]) -> Where:
        """One of these; an empty one is an absent column."""
        tests = [f'"{column}" = ?' if text else f'"{column}" IS MISSING' for text in texts]
        return Where(f"{self.text} AND ({' OR '.join(tests)})", (*self.values, *({"S": text} for text in texts if text)))


@dataclass(frozen=True, slots=True)
class Statement:
    """One write of one item."""

    text: str
    values: tuple[Value, ...]

    @classmethod
    def insert(cls, table: str, item: Item) -> Statement:
        names = ", ".join(f"'{name}': ?" for name in item)
        return cls(f'INSERT INTO "{table}" VALUE {{{names}}}', tuple(item.values()))

    @classmethod
    def update(cls, table: str, sets: Item, removes: Sequence[str], where: Where) -> Statement:
        changes = [f'SET "{name}" = ?' for name in sets] + [f'REMOVE "{name}"' for name in removes]
        return cls(f'UPDATE "{table}" {" ".join(changes)} WHERE {where.text}', (*sets.values(), *where.values))

    @classmethod
    def delete(cls, table: str, where: Where) -> Statement:
        # Not an injection: names are ours, the table's was checked, and values are parameters.
        return cls(f'DELETE FROM "{table}" WHERE {where.text}', where.values)  # noqa: S608

    def request(self) -> dict[str, object]:
        return {"Statement": self.text, "Parameters": self.values, "ReturnValuesOnConditionCheckFailure": "ALL_OLD"}

    @property
    def bytes(self) -> int:
        return len(self.text) + sum(len(part) for value in self.values for part in value.values())


class Retries:
    """For how long, and after which pauses, one call of the store is tried again."""

    def __init__(
        self, monotonic: Callable[[], float], seconds: float, pause: Callable[[float], None] = time.sleep, *, most: int = MAX_TRIES
    ) -> None:
        self.monotonic = monotonic
        self._seconds = seconds
        self._pause = pause
        self._most = most

    def begin(self) -> Callable[[], bool]:
        """A function that waits before another try, with full jitter, and answers whether there is time for one."""
        until = self.monotonic() + self._seconds
        tries = 0

        def again() -> bool:
            nonlocal tries
            tries += 1
            seconds = random.uniform(0, min(MAX_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2.0**tries))
            if tries >= self._most or self.monotonic() + seconds > until:
                return False
            self._pause(seconds)
            return True

        return again


class Statements:
    """Carries them out. May be used by several threads."""

    def __init__(self, client: DynamoDBClient, table: str, retries: Retries) -> None:
        self._client = client
        self._table = table
        self._retries = retries

    def run(self, statements: Sequence[Statement]) -> list[Result]:
        """One result for each. No two may be of one item. Takes no longer than `Retries` allow, and one answer.

        An error as a result is in doubt: it may have been carried out. Raises ConfigurationError if the table is gone,
        AccessDeniedError; StoreUnavailableError only as results, and for all that was not tried any more as well.
        """
        results: dict[int, Result] = {}
        waiting = list(range(len(statements)))
        again = self._retries.begin()
        while True:
            self._pass(statements, waiting, results)
            waiting = [index for index in waiting if isinstance(results[index], StoreThrottledError | StoreUnavailableError)]
            if not waiting or not again():
                return [results[index] for index in range(len(statements))]

    def _pass(self, statements: Sequence[Statement], waiting: Sequence[int], results: dict[int, Result]) -> None:
        """Each of them once; but what comes behind a call without an answer is not asked, or a thousand rows would cost forty time-outs."""
        failed: StoreUnavailableError | None = None
        for batch in _batches(statements, waiting):
            if failed is None:
                failed = self._call(statements, batch, results)
            else:
                results.update(dict.fromkeys(batch, failed))

    def _call(self, statements: Sequence[Statement], batch: Sequence[int], results: dict[int, Result]) -> StoreUnavailableError | None:
        try:
            answers = self._answers([statements[index] for index in batch])
        except (StoreThrottledError, StoreUnavailableError) as error:
            results.update(dict.fromkeys(batch, error))
            return error if isinstance(error, StoreUnavailableError) else None
        for index, answer in zip(batch, answers, strict=True):
            results[index] = self._result(answer)
        return None

    def _answers(self, statements: Sequence[Statement]) -> Sequence[Answer]:
        doing = "BatchExecuteStatement"
        with translated(doing, self._table):
            answer = self._client.batch_execute_statement(Statements=[one.request() for one in statements])
        answers: Sequence[Answer] = whole(answer, ["Responses"], doing)["Responses"]
        if len(answers) != len(statements):
            raise StoreUnavailableError(f"DynamoDB, {doing}: {len(answers)} answers to {len(statements)} statements")
        return answers

    def _result(self, answer: Answer) -> Result:
        error = answer.get("Error")
        if error is None:
            return Done()
        if error.get("Code") in ("ConditionalCheckFailed", "DuplicateItem"):
            return Refused(error.get("Item"))
        known = statement_error(error, self._table)
        if isinstance(known, CheckpointError):
            return known
        raise known  # what is wrong with the table, or with our rights, is wrong with all of them


def _batches(statements: Sequence[Statement], indexes: Sequence[int]) -> Iterator[list[int]]:
    batch: list[int] = []
    size = 0
    for index in indexes:
        more = statements[index].bytes
        if batch and (len(batch) == MAX_STATEMENTS or size + more > MAX_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(index)
        size += more
    if batch:
        yield batch
