"""`simulate`: many lives of one processor, one after the other; the first that breaks a rule is made small and shown."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from streamkit.app import App, code_of
from streamkit.engine.delivery.reentrant import check_order
from streamkit.model import Headers, Record
from streamkit.plugin import NewRecord
from streamkit.settings import Settings
from streamkit.testing.simulation.chance import plan_of
from streamkit.testing.simulation.ledger import RULES, Broken, Entry
from streamkit.testing.simulation.plan import Ownership, Plan
from streamkit.testing.simulation.shrink import shrunk
from streamkit.testing.simulation.subject import Subject
from streamkit.testing.simulation.trouble import KINDS
from streamkit.testing.simulation.world import GROUP, STREAM, World
from streamkit.testing.virtual import Stalled

__all__ = ["MIN_CHANGES", "MIN_KINDS", "MIN_SHARE", "Report", "SimulationFailed", "lived", "planned", "simulate", "subject_of"]

MIN_CHANGES = 3
"""A life in which hardly any partition changes hands proves little."""
MIN_KINDS = 4
"""A life in which fewer kinds of trouble were met is a quiet one, and does not count."""
MIN_SHARE = 0.2
"""Each kind of trouble is met in at least so many of the lives."""
ENOUGH_TO_JUDGE = 100
"""With fewer lives a share says nothing."""
TRACE_LINES = 40
_IMPOSSIBLE: Mapping[str, frozenset[str]] = {"group": frozenset({"partitions split"}), "static": frozenset({"joins"})}
"""What cannot be met in worlds of that kind."""
_OURS = frozenset(
    {"broker", "stream", "group", "store", "worker", "partitions", "status_address", "log_format", "stop", "dead_letter", "ownership"}
)
"""Settings of an App that the simulation says itself."""


class SimulationFailed(AssertionError):
    """A rule was broken. `replay` is a text for `simulate(…, replay=…)` that breaks it again."""

    def __init__(self, broken: Broken, plan: Plan, trace: Sequence[Entry], seed: int) -> None:
        self.rule = broken.rule
        self.seed = seed
        """Of the life that failed; the plan is smaller than what that seed gives."""
        self.plan = plan
        self.replay = plan.to_text()
        self.trace = trace
        super().__init__(self._text(broken))

    def _text(self, broken: Broken) -> str:
        shown = [" ".join((f"{at:8.3f}", *(word for word in words if word))) for at, *words in self.trace[-TRACE_LINES:]]
        return "\n".join(
            [
                str(broken),
                f"  the rule: {RULES[self.rule]}",
                f"  found with seed={self.seed}; the smallest life that shows it, for simulate(…, replay=…):",
                "",
                self.replay,
                f"its last {len(shown)} events (seconds, worker, event, partition, record of it):",
                *shown,
            ]
        )


@dataclass
class Report:
    """What the lives were like."""

    first: int
    """The first seed."""
    lives: int = 0
    """Those that counted."""
    quiet: int = 0
    """Those that did not, because too little happened in them."""
    min_changes: int = 0
    """Changes of owner in the life that had the fewest."""
    changes: int = 0
    records: int = 0
    seconds: float = 0.0
    """Real ones."""
    kinds: Counter[str] = field(default_factory=Counter)
    """In how many lives each kind of trouble was met."""
    events: Counter[str] = field(default_factory=Counter)
    """What else happened, in all of them: `ended`, `halted`, `recovered`, `lost`, `repeats` (records that came again), …"""

    def add(self, world: World) -> None:
        if len(world.kinds) < MIN_KINDS or world.ledger.changes_of_owner < MIN_CHANGES:
            self.quiet += 1
            return
        changes = world.ledger.changes_of_owner
        self.min_changes = min(changes, self.min_changes) if self.lives else changes
        self.lives += 1
        self.changes += changes
        self.records += len(world.written)
        self.kinds.update(world.kinds)
        self.events.update(world.ledger.counts)

    def check(self, ownership: Ownership | None = None) -> None:
        """Raise AssertionError if a kind of trouble was met in less than a fifth of the lives."""
        never = _IMPOSSIBLE.get(ownership or "", frozenset())
        rare = [kind for kind in KINDS if self.kinds[kind] < MIN_SHARE * self.lives and kind not in never]
        if self.lives >= ENOUGH_TO_JUDGE and rare:
            raise AssertionError(f"met in less than a fifth of the lives: {', '.join(rare)}; {self}")

    def merge(self, other: Report) -> None:
        """Count what the other counts as well; their seconds have passed side by side."""
        if other.lives:
            self.min_changes = min(self.min_changes, other.min_changes) if self.lives else other.min_changes
        self.first = min(self.first, other.first)
        self.lives += other.lives
        self.quiet += other.quiet
        self.changes += other.changes
        self.records += other.records
        self.seconds = max(self.seconds, other.seconds)
        self.kinds.update(other.kinds)
        self.events.update(other.events)

    def __str__(self) -> str:
        per_life = self.seconds / max(1, self.lives + self.quiet)
        shares = ", ".join(f"{kind} {100 * self.kinds[kind] // max(1, self.lives)} %" for kind in KINDS)
        return (
            f"{self.lives} lives from seed {self.first} on, {self.quiet} quiet ones besides; {self.records} records; "
            f"{self.changes} changes of owner, at least {self.min_changes} in each; {1000 * per_life:.0f} ms each\n"
            f"met in so many of them: {shares}"
        )


def simulate(
    target: object,
    /,
    *,
    seeds: int = 200,
    first: int | None = 0,
    seed: int | None = None,
    replay: str | None = None,
    records: Callable[[int], bytes | NewRecord] | None = None,
    setup: Callable[[], None] | None = None,
    check: Callable[[Sequence[Record]], None] | None = None,
    state: object = None,
    ownership: Ownership | None = None,
    shrink: bool = True,
    **settings: object,
) -> Report:
    """Run a processor through many simulated lives, on the real engine in virtual time, and raise if a rule is broken.

    `target`: as for `App`, or an `App`. Each life is one seed, from `first` on (None: from a seed by chance, printed); `seed`: this one
    alone. `replay`: the text that a failure has printed. `records` makes the record of a number; `setup` is called before each life,
    `check` at its end with all records since the group began: what it raises fails the life. `state` becomes `context.state`.
    `ownership`: only worlds of that kind. `shrink=False`: do not look for a smaller life that fails as well. `settings` as in `App`.

    Raises `SimulationFailed`; AssertionError if too little happened for the lives to say anything; ConfigurationError for settings
    that do not go together; ValueError for a replay that cannot be read.
    """
    subject = subject_of(target, records=records, setup=setup, check=check, state=state, **settings)
    if replay is not None:
        plan = Plan.from_text(replay)
        return _one(plan, subject, shrink=False)
    if seed is not None:
        return _one(planned(seed, subject, ownership), subject, shrink=shrink)
    if first is None:
        first = random.SystemRandom().randrange(10**9)
        print(f"simulation: from seed {first} on", flush=True)
    report, began = Report(first), time.perf_counter()
    number = first
    while report.lives < seeds:
        report.add(lived(planned(number, subject, ownership), subject, shrink=shrink))
        number += 1
        if report.quiet > seeds:
            raise AssertionError(f"too little happens in these lives to prove anything: {report}")
    report.seconds = time.perf_counter() - began
    report.check(ownership)
    return report


def subject_of(
    target: object,
    *,
    records: Callable[[int], bytes | NewRecord] | None = None,
    setup: Callable[[], None] | None = None,
    check: Callable[[Sequence[Record]], None] | None = None,
    state: object = None,
    **settings: object,
) -> Subject:
    """The target, its settings, and what is done around it. Raises ConfigurationError for what does not go together."""
    if isinstance(target, App):
        settings = {**{name: value for name, value in target.overrides.items() if name not in _OURS}, **settings}
    code = target.code if isinstance(target, App) else code_of(target)

    def record(number: int) -> NewRecord:
        assert records is not None
        made = records(number)
        return made if isinstance(made, NewRecord) else NewRecord(made, headers=Headers())

    subject = Subject(code, settings, state, None if records is None else record, setup, check)
    check_order(Settings.model_validate(_named(subject)), code)
    return subject


def _named(subject: Subject) -> dict[str, object]:
    """Enough to look at its settings."""
    return {"broker": "memory", "stream": STREAM, "group": GROUP, "dead_letter": "memory:letters", **subject.settings}


def planned(number: int, subject: Subject, ownership: Ownership | None = None) -> Plan:
    """The plan of that seed for that subject."""
    by_key = Settings.model_validate(_named(subject)).ordering == "key"
    return plan_of(number, ownership=ownership, by_key=by_key, settings=subject.settings)


def _one(plan: Plan, subject: Subject, *, shrink: bool) -> Report:
    report, began = Report(plan.seed), time.perf_counter()
    report.add(lived(plan, subject, shrink=shrink))
    report.seconds = time.perf_counter() - began
    return report


def lived(plan: Plan, subject: Subject, *, shrink: bool = True) -> World:
    """The world after its life. Raises SimulationFailed."""
    world = World(plan, subject)
    if (broken := _broken(world)) is None:
        return world
    ledger, seed = world.ledger, plan.seed
    if shrink:

        def fails(smaller: Plan) -> bool:
            nonlocal plan, broken, ledger
            world = World(smaller, subject)
            found = _broken(world)
            if found is None or broken is None or found.rule != broken.rule:
                return False
            plan, broken, ledger = smaller, found, world.ledger
            return True

        shrunk(plan, fails)
    raise SimulationFailed(broken, plan, ledger.trace[: broken.events], seed)


def _broken(world: World) -> Broken | None:
    try:
        world.live()
    except Broken as broken:
        return broken
    except Stalled as error:
        return Broken("goes on", str(error))
    return None
