"""From a seed to a plan. Which worlds there are, what is done to them, and how often: all of it is here. Pure."""

from __future__ import annotations

import random
from collections.abc import Mapping

from streamkit.testing.simulation.plan import ANYBODY, Ownership, Plan, Shape, Step

__all__ = ["LEASE_SECONDS", "SLOW_SECONDS", "plan_of"]

LEASE_SECONDS = 2.0
SLOW_SECONDS = 8.0
"""The longest that a call hangs: longer than a lease, a rebalance or a drain waits, and all that may come after a drain."""
STEPS = 14
"""How often something happens, besides what every life begins with."""
RECORDS = 120
MAX_WORKERS = 4

Weighted = Mapping[str, int]

LEASE_CALLS = ("leases", "create", "take", "renew", "request_handover", "release", "name_children", "remove", "save")
CLAIM_CALLS = ("claim", "save", "list")
TO_BE_LOST = frozenset({"create", "take", "renew", "request_handover", "release", "name_children", "remove", "save", "claim"})
"""Calls that write, so that a lost or a repeated answer may do harm."""
HANDLER_MISHAPS = ("raises", "raises-after", "retries", "rejects", "hangs", "hangs-after")
HOOK_MISHAPS = ("initialize", "flush")

ACTIONS: Weighted = {"join": 26, "leave": 10, "crash": 11, "stall": 14, "reshard": 9, "store": 14, "broker": 6, "handler": 10}


def plan_of(
    seed: int,
    *,
    ownership: Ownership | None = None,
    shape: Shape | None = None,
    by_key: bool = False,
    settings: Mapping[str, object] | None = None,
) -> Plan:
    """The plan of that seed. `ownership`, `shape`: only worlds of that kind. `settings` are said by somebody else: none is made up."""
    return _Maker(seed, (ownership, shape), by_key, dict(settings or {})).plan()


class _Maker:
    def __init__(self, seed: int, wanted: tuple[Ownership | None, Shape | None], by_key: bool, said: Mapping[str, object]) -> None:
        self.dice = random.Random(f"plan {seed}")
        self.seed = seed
        self.said = said
        self.by_key = by_key
        self.ownership, self.shape, self.own_store = self._world(*wanted)
        self.steps: list[Step] = []
        self.now = 0.0
        self.alive: dict[str, float] = {}
        """Workers that run as far as the plan knows, and until when they are stalled."""

    def _world(self, wanted: Ownership | None, shaped: Shape | None) -> tuple[Ownership, Shape, bool]:
        worlds: list[tuple[Ownership, Shape, bool, int]] = [
            ("lease", "kinesis", False, 50),
            ("lease", "kafka", False, 12),
            ("group", "kafka", True, 16),
            ("group", "kafka", False, 12),
            ("static", "kinesis", False, 10),
        ]
        possible = [world for world in worlds if wanted in (None, world[0]) and shaped in (None, world[1])]
        ownership, shape, own_store, _ = self.dice.choices(possible, [world[3] for world in possible])[0]
        return ownership, shape, own_store

    def plan(self) -> Plan:
        settings = self._settings()
        partitions = self.dice.randint(3, 5)
        self._begin()
        for number in range(STEPS):
            self.now += self.dice.uniform(0.05, 1.1 if self.ownership == "lease" else 0.7)
            self._do("write", self.dice.randrange(2 * RECORDS * 2 // 3 // STEPS))
            if self.shape == "kinesis" and number in (3, 6, 9):
                self._reshard()
            self._act()
        return Plan(self.seed, self.ownership, self.shape, self.own_store, partitions, settings=settings, steps=tuple(self.steps))

    def _settings(self) -> tuple[tuple[str, str], ...]:
        pick = self.dice.choice
        made = {
            "max_batch": pick(("1", "3", "10")),
            "max_wait": pick(("0", "0", "30ms")),
            "max_in_flight": pick(("8", "20", "100")),
            "checkpoint_interval": pick(("50ms", "200ms", "600ms")),
            "checkpoint_records": pick(("", "5")),
            "retry_attempts": pick(("2", "4")),
            "concurrency": pick(("1", "2", "5")) if self.by_key else "",
            "start": pick(("latest", "latest", "earliest", "earliest", "earliest")) if self.ownership == "lease" else "",
        }
        return tuple((name, value) for name, value in made.items() if value and name not in self.said)

    # -- the story ------------------------------------------------------------------------------------------------

    def _do(self, *words: object) -> None:
        self.steps.append(Step(round(self.now, 3), tuple(map(str, words))))

    def _begin(self) -> None:
        """Two workers join, and one of them goes: there is an owner to begin with, and a change."""
        self._do("write", RECORDS // 3)
        self._join()
        self.now += self.dice.choice((0.02, 0.1, 0.4, 1.5))
        if self.ownership == "static":
            return
        self._join()
        if self.dice.random() < 0.3:  # in the middle of the first start
            self._gone("crash", "w1")
        self.now += self.dice.choice((0.8, 1.5))
        self._gone(self.dice.choice(("leave", "crash")), self.dice.choice(list(self.alive)))

    def _join(self) -> None:
        most = 1 if self.ownership == "static" else MAX_WORKERS
        free = [name for name in (f"w{n}" for n in range(1, MAX_WORKERS + 3)) if name not in self.alive]
        if len(self.alive) < most:
            name = self.dice.choice(free) if self.now else "w1"
            self.alive[name] = 0.0
            few = self.ownership == "lease" and len(self.alive) > 2 and self.dice.random() < 0.25
            self._do("join", name, *(["4"] if few else []))

    def _gone(self, how: str, name: str) -> None:
        self.alive.pop(name, None)
        self._do(how, name)

    def _act(self) -> None:
        if self.ownership == "static" and not self.alive:
            self._join()
        action = self.dice.choices(list(ACTIONS), list(ACTIONS.values()))[0]
        movable = [name for name, until in self.alive.items() if until <= self.now]
        if action == "join" or (not movable and action in ("leave", "crash", "stall")):
            self._join()
        elif action in ("leave", "crash"):
            self._gone(action, self.dice.choice(movable))
        elif action == "stall":
            name, seconds = self.dice.choice(movable), self.dice.choice((0.5, LEASE_SECONDS + 0.5, 2 * LEASE_SECONDS))
            self.alive[name] = self.now + seconds
            self._do("stall", name, seconds)
        elif action == "reshard":
            self._reshard()
        if action == "handler" or self.dice.random() < 0.25:
            self._handler()
        if action == "broker" or self.dice.random() < 0.15:
            self._broker()
        if action == "store" or self.dice.random() < 0.35:
            self._store()

    def _reshard(self) -> None:
        if self.shape == "kafka":
            if self.dice.random() < 0.3:
                self._do("grow")
            return
        self._do("merge" if self.dice.random() < 0.4 else "split", self.dice.randrange(64))

    def _someone(self) -> str:
        return self.dice.choice(sorted(self.alive)) if self.alive and self.dice.random() < 0.5 else ANYBODY

    def _store(self) -> None:
        calls = LEASE_CALLS if self.ownership == "lease" else CLAIM_CALLS
        call = self.dice.choice((*calls, "save", "renew") if self.ownership == "lease" else (*calls, "save"))
        times = self.dice.randint(1, 4)
        how = self.dice.choice(("fail", "lose", "repeat", "late")) if call in TO_BE_LOST else self.dice.choice(("fail", "late"))
        if call == "claim" and how in ("repeat", "late"):
            # One that arrives behind another's claim takes the partition from it, and both count as owners that got nowhere. A few of
            # these, with as many deaths, look like a record that kills whoever has it: then its partition halts, for good.
            times = 1
        if how == "fail":
            value: object = self.dice.choice(("unavailable", "throttled", "not-ready"))
        elif how == "lose":
            value = "unavailable"
        else:
            value = self.dice.choice((0, 0.3, 1.5) if how == "repeat" else (0.3, 1.0, LEASE_SECONDS))
        if how == "late" and call in TO_BE_LOST and self.dice.random() < 0.5:
            call = f"{call}_after_write"
        self._do(how, call, value, times, self._someone())

    def _broker(self) -> None:
        has_letters = self.said.get("on_failure") in ("dead_letter", "park")
        call = self.dice.choice(("poll", "poll", "discover", *(("send", "send", "send") if has_letters else ())))
        ways = {"poll": ("fail", "fail", "late", "repeat"), "send": ("fail", "late", "lose")}
        how = self.dice.choice(ways.get(call, ("fail", "late")))
        value: object = self.dice.choice(("unavailable", "throttled")) if how in ("fail", "lose") else 0 if how == "repeat" else 0.4
        self._do(how, call, value, self.dice.randint(1, 4), self._someone())

    def _handler(self) -> None:
        how = self.dice.choice((*HANDLER_MISHAPS, "raises", "hangs", *HOOK_MISHAPS))
        if how in HOOK_MISHAPS:
            self._do("hook", how, 0, self.dice.randint(1, 3), self._someone())
            return
        seconds = self.dice.choice((0.5, 2.0, SLOW_SECONDS / 2, SLOW_SECONDS)) if how.startswith("hangs") else 0
        times = 1 if seconds else self.dice.randint(1, 5)
        self._do("handler", how, seconds, times, self._someone())
