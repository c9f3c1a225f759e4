"""From a plan that fails to a smaller one that fails in the same way: fewer steps, workers, records, partitions. Pure but for `fails`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from streamkit.testing.simulation.plan import Plan, Step

__all__ = ["shrunk"]

MAX_TRIES = 250
"""So many smaller plans are tried at most: each costs a life."""


def shrunk(plan: Plan, fails: Callable[[Plan], bool], max_tries: int = MAX_TRIES) -> Plan:
    """The smallest plan found for which `fails` says yes, as it does for `plan`."""
    search = _Search(plan, fails, max_tries)
    search.run()
    return search.best


class _Search:
    def __init__(self, plan: Plan, fails: Callable[[Plan], bool], max_tries: int) -> None:
        self.best = plan
        self._fails = fails
        self._left = max_tries

    def run(self) -> None:
        self._try(replace(self.best, changes=0))
        before = None
        while before != self.best and self._left > 0:
            before = self.best
            self._drop_workers()
            self._drop_steps()
            self._lower_numbers()
            for partitions in range(1, self.best.partitions):
                if self._try(replace(self.best, partitions=partitions)):
                    break

    def _try(self, plan: Plan) -> bool:
        if self._left <= 0 or plan == self.best:
            return False
        self._left -= 1
        if not self._fails(plan):
            return False
        self.best = plan
        return True

    def _drop_workers(self) -> None:
        """Each with all that is done to it."""
        for name in sorted({step.words[1] for step in self.best.steps if step.words[0] == "join"}, reverse=True):
            self._try(self.best.with_steps([step for step in self.best.steps if name not in step.words[1:]]))

    def _drop_steps(self) -> None:
        """Large pieces first, from the end: what came after the failure goes at once."""
        size = len(self.best.steps)
        while size:
            end = len(self.best.steps)
            while end > 0:
                start = max(0, end - size)
                steps = self.best.steps
                self._try(self.best.with_steps([*steps[:start], *steps[end:]]))
                end = start
            size //= 2

    def _lower_numbers(self) -> None:
        """Fewer records, and fewer times that something happens."""
        for index in range(len(self.best.steps)):
            for smaller in _smaller(self.best.steps[index]):
                steps = list(self.best.steps)
                steps[index] = smaller
                if self._try(self.best.with_steps(steps)):
                    break


def _smaller(step: Step) -> Iterator[Step]:
    where = _NUMBERS.get(step.words[0])
    if where is None or not step.words[where].isdigit():
        return
    for number in _below(int(step.words[where])):
        yield replace(step, words=(*step.words[:where], str(number), *step.words[where + 1 :]))


def _below(number: int) -> Sequence[int]:
    return sorted({value for value in (1, number // 4, number // 2) if 0 < value < number})


_NUMBERS = {"write": 1, "fail": 3, "lose": 3, "late": 3, "repeat": 3, "handler": 3, "hook": 3}
"""At which word of a step its number stands."""
