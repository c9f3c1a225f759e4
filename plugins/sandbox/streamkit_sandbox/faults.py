"""What the fault proxy can do to a request, by which rule, and which of them meet a request: chance with a seed, no I/O."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from random import Random

from streamkit_sandbox.errors import SandboxError

__all__ = ["Dice", "Fault", "Kind", "error_answer", "every_fault"]


class Kind(StrEnum):
    """Kinds of faults; the names are those of `FaultProxy.counts`."""

    THROTTLE = "throttle"
    """400 with the service's own error for it; `error` gives another (`KMSThrottlingException`, `ExpiredIteratorException`)."""
    ERROR = "error"
    """500 with the service's own error; with `status=503` a page that is no JSON, as a load balancer answers."""
    PARTIAL = "partial"
    """PutRecords, BatchExecuteStatement: 200, and some entries are refused and not carried out; `share` of them, at least one."""
    DELAY = "delay"
    """`seconds` before the answer; another fault may follow it."""
    RESET = "reset"
    """The connection is reset instead of an answer."""
    CUT = "cut"
    """The answer ends in the middle, and its Content-Length says more."""
    CUT_QUIETLY = "cut_quietly"
    """The answer ends in the middle, and its Content-Length agrees."""
    BLACK_HOLE = "black_hole"
    """No answer at all; the connection stays open until the client gives up."""
    LIMIT = "limit"
    """A limit of a shard was exceeded: not a rule, see `shard_limits.py`."""


@dataclass(frozen=True, slots=True)
class Fault:
    """A rule: `kind` meets a request for one of `operations` (`"GetRecords"`; none: any) with `chance`, at most `times` times.

    `acted=True`: the server carries the request out and its answer is lost (ERROR, RESET, BLACK_HOLE; with cuts and delays it
    always does). Raises SandboxError for what makes no sense.
    """

    kind: Kind
    chance: float = 1.0
    operations: str | Sequence[str] = ()
    times: int | None = None
    acted: bool = False
    seconds: float = 0.0
    error: str = ""
    status: int = 500
    share: float = 0.5

    def __post_init__(self) -> None:
        if not 0.0 <= self.chance <= 1.0:
            raise SandboxError(f"chance={self.chance!r} is no probability; use 0 to 1")
        if self.kind is Kind.DELAY and self.seconds <= 0:
            raise SandboxError("a delay takes time; give seconds=")
        if self.kind is Kind.LIMIT:
            raise SandboxError("limits are no rules; use FaultProxy(limits=ShardLimits(...))")
        if self.acted and self.kind not in (Kind.ERROR, Kind.RESET, Kind.BLACK_HOLE):
            raise SandboxError(f"acted=True means nothing to {self.kind}; leave it out")

    def concerns(self, operation: str) -> bool:
        """Whether it is a rule for this operation."""
        if self.kind is Kind.PARTIAL and operation not in ("PutRecords", "BatchExecuteStatement"):
            return False
        names = (self.operations,) if isinstance(self.operations, str) else self.operations
        return not names or operation in names


def every_fault(chance: float, *, delay_seconds: float = 0.2, operations: str | Sequence[str] = ()) -> list[Fault]:
    """A rule of every kind with the same chance; answers are lost both before and after the server acted."""
    rules = [Fault(kind, chance, operations) for kind in (Kind.THROTTLE, Kind.PARTIAL, Kind.CUT, Kind.CUT_QUIETLY)]
    rules += [
        Fault(kind, chance / 2, operations, acted=acted) for kind in (Kind.ERROR, Kind.RESET, Kind.BLACK_HOLE) for acted in (False, True)
    ]
    return [Fault(Kind.DELAY, chance, operations, seconds=delay_seconds), *rules]


class Dice:
    """Which rules meet a request. Each operation has a chance of its own from the seed, so that the third GetRecords meets the
    same whatever else is asked in between."""

    def __init__(self, seed: int, rules: Sequence[Fault]) -> None:
        self.rules = tuple(rules)
        self._seed = seed
        self._chances: dict[str, Random] = {}
        self._used: Counter[int] = Counter()

    def throw(self, operation: str) -> tuple[float, Fault | None, Random]:
        """Seconds of delay, at most one other fault (the first of the rules), and the chance for its details."""
        chance = self._chances.setdefault(operation, Random(f"{self._seed}/{operation}"))
        seconds, found = 0.0, None
        for number, rule in enumerate(self.rules):
            # Drawn for each rule, so that what one rule does leaves the chances of the others as they are.
            hit = chance.random() < rule.chance
            if not hit or not rule.concerns(operation) or (found and rule.kind is not Kind.DELAY):
                continue
            if rule.times is not None and self._used[number] >= rule.times:
                continue
            self._used[number] += 1
            if rule.kind is Kind.DELAY:
                seconds += rule.seconds
            else:
                found = rule
        return seconds, found, Random(chance.random())


_KINESIS_DATA = {"GetRecords", "GetShardIterator", "PutRecord", "PutRecords"}
_DYNAMODB_CONTROL = {"CreateTable", "DeleteTable", "DescribeTable", "ListTables", "UpdateTable", "TagResource", "UpdateTimeToLive"}
_EXCEEDED = "ProvisionedThroughputExceededException"


def error_answer(fault: Fault, service: str, operation: str) -> tuple[int, bytes]:
    """Status and body of a THROTTLE or an ERROR, as `service` ("Kinesis", "DynamoDB") says it for `operation`."""
    if fault.kind is Kind.THROTTLE:
        if fault.error:
            name = fault.error
        elif service == "DynamoDB":
            name = "ThrottlingException" if operation in _DYNAMODB_CONTROL else _EXCEEDED
        else:
            name = _EXCEEDED if operation in _KINESIS_DATA else "LimitExceededException"
        return 400, refusal(service, name, "Rate exceeded (made by the fault proxy)")
    if fault.status == 503 and not fault.error:
        return 503, b"<html><body><b>Http/1.1 Service Unavailable</b></body></html>"
    name = fault.error or ("InternalServerError" if service == "DynamoDB" else "InternalFailure")
    return fault.status, refusal(service, name, "made by the fault proxy")


def refusal(service: str, name: str, message: str) -> bytes:
    """The body of an error; the services differ in where they take the name from and how they write `message`."""
    if service != "DynamoDB":
        return json.dumps({"__type": name, "message": message}).encode()
    origin = "com.amazon.coral.availability" if name == "ThrottlingException" else "com.amazonaws.dynamodb.v20120810"
    return json.dumps({"__type": f"{origin}#{name}", "message": message}).encode()
