"""What the emulator does wrong on purpose, and when: rules with chances from a seed, throttling, slowness. No I/O here.

Whoever is about to do something asks `roll`, and carries out what it says by `carry_out` in `harm.py`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from random import Random

from streamkit_sandbox.errors import SandboxError
from streamkit_sandbox.eventhubs.refused import Refused

__all__ = ["BUSY", "OPERATIONS", "Fault", "Faults", "Kind", "every_fault"]

OPERATIONS = ("attach", "send", "deliver", "put-token", "read")
"""A link is opened, a delivery comes in, an event goes out, a token is put, `$management` is asked."""

BUSY = "com.microsoft:server-busy"
_BUSY_TEXT = "The request was terminated because the namespace is being throttled. Error code : 50002. Please wait 4 seconds and try again."


class Kind(StrEnum):
    """Kinds of faults; the names are those of `EventHubsServer.fault_counts`."""

    REJECT = "reject"
    """The operation is refused with `condition`, com.microsoft:server-busy unless said otherwise; not of events going out."""
    DETACH = "detach"
    """The link is detached with `condition`, amqp:link:detach-forced unless said otherwise."""
    DROP = "drop"
    """The connection is reset."""
    CUT = "cut"
    """The connection ends in the middle of a frame."""
    LOSE = "lose"
    """It is carried out, and the answer is never sent; not of events going out, since TCP loses nothing in silence."""
    DELAY = "delay"
    """The answer, or the event and all after it, come `seconds` later."""


_IMPOSSIBLE = {("attach", Kind.DETACH), ("attach", Kind.DELAY), ("deliver", Kind.REJECT), ("deliver", Kind.LOSE)}


@dataclass(frozen=True, slots=True)
class Fault:
    """A rule: `kind` meets one of `operations` (`"send"`; none: any that it can meet) with `chance`, at most `times` times.

    `hub` empty: any. `acted=True`: a send is carried out before its link or connection ends. Raises SandboxError for nonsense.
    """

    kind: Kind
    chance: float = 1.0
    operations: str | Sequence[str] = ()
    times: int | None = None
    hub: str = ""
    acted: bool = False
    seconds: float = 0.0
    condition: str = ""

    def __post_init__(self) -> None:
        if not 0.0 <= self.chance <= 1.0:
            raise SandboxError(f"chance={self.chance!r} is no probability; use 0 to 1")
        if self.kind is Kind.DELAY and self.seconds <= 0:
            raise SandboxError("a delay takes time; give seconds=")
        if self.acted and self.kind not in (Kind.DETACH, Kind.DROP, Kind.CUT):
            raise SandboxError(f"acted=True means nothing to {self.kind}; leave it out")
        for name in self._named():
            if name not in OPERATIONS:
                raise SandboxError(f"there is no operation {name!r}; there are {', '.join(OPERATIONS)}")
            if (name, self.kind) in _IMPOSSIBLE:
                raise SandboxError(f"{self.kind} cannot happen to {name!r}; use another kind")

    def concerns(self, operation: str, hub: str) -> bool:
        """Whether it is a rule for this."""
        if (operation, self.kind) in _IMPOSSIBLE or (self.hub and self.hub.lower() != hub.lower()):
            return False
        return not self._named() or operation in self._named()

    @property
    def error(self) -> str:
        """The condition that the client is told."""
        return self.condition or (BUSY if self.kind is Kind.REJECT else "amqp:link:detach-forced")

    def _named(self) -> Sequence[str]:
        return (self.operations,) if isinstance(self.operations, str) else self.operations


def every_fault(chance: float, *, delay_seconds: float = 0.2, hub: str = "") -> list[Fault]:
    """A rule of every kind with the same chance; acknowledgements are lost both before and after the event was stored."""
    rules = [Fault(kind, chance, hub=hub) for kind in (Kind.REJECT, Kind.LOSE)]
    rules += [Fault(kind, chance / 2, hub=hub, acted=acted) for kind in (Kind.DETACH, Kind.DROP, Kind.CUT) for acted in (False, True)]
    return [*rules, Fault(Kind.DELAY, chance, hub=hub, seconds=delay_seconds)]


class Faults:
    """What is wrong now. `time` gives seconds of a clock that only goes forward."""

    def __init__(self, time: Callable[[], float], seed: int = 0) -> None:
        self.counts: Counter[tuple[str, Kind]] = Counter()
        self.latency_seconds = 0.0
        """How much later everything goes out."""
        self.is_holding = False
        """Nothing comes in and nothing goes out; connections stay open."""
        self.events_per_second: float | None = None
        """The most that one receiver gets; None: no limit."""
        self._time, self._seed = time, seed
        self._busy_until = 0.0
        self._rules: tuple[Fault, ...] = ()
        self._left: list[int | None] = []
        self._chances: dict[str, Random] = {}

    @property
    def rules(self) -> tuple[Fault, ...]:
        """Tried in this order; the first that meets happens. Setting them begins the chances anew."""
        return self._rules

    @rules.setter
    def rules(self, rules: Iterable[Fault]) -> None:
        self._rules = tuple(rules)
        self._left = [rule.times for rule in self._rules]
        # For each operation its own: the third send meets the same whatever else happens in between.
        self._chances = {operation: Random(f"{self._seed}/{operation}") for operation in OPERATIONS}

    def throttle(self, seconds: float) -> None:
        """Sends and requests are refused for so long."""
        self._busy_until = self._time() + seconds

    @property
    def busy(self) -> Refused | None:
        """What a send or a request is told while it is throttled."""
        return Refused(BUSY, _BUSY_TEXT) if self._time() < self._busy_until else None

    def may_meet(self, operation: str, hub: str) -> bool:
        """Whether `roll` could say anything."""
        return bool(self._rules) and any(rule.concerns(operation, hub) for rule in self._rules)

    def roll(self, operation: str, hub: str) -> Fault | None:
        """The fault that meets this operation, None if all goes well."""
        for index, rule in enumerate(self._rules):
            if self._left[index] == 0 or not rule.concerns(operation, hub):
                continue
            if self._chances[operation].random() < rule.chance:
                left = self._left[index]
                self._left[index] = None if left is None else left - 1
                self.counts[operation, rule.kind] += 1
                return rule
        return None
