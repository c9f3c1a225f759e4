"""What can go wrong in a simulated life: the kinds of trouble, and those that have been ordered and wait for somebody to meet them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from streamkit.builtin.memory.faults import Faults, Operation
from streamkit.errors import BrokerUnavailableError, StoreNotReadyError, StoreThrottledError, StoreUnavailableError, ThrottledError
from streamkit.testing.simulation.plan import ANYBODY, Step

__all__ = ["KINDS", "Mishap", "Ordered", "Trouble"]

KINDS: Mapping[str, str] = {
    "joins": "a worker joins while others run",
    "leaves": "a worker drains and leaves",
    "crashes": "a worker dies; nothing is saved",
    "stalls": "all that a worker asks of broker and store hangs",
    "comes back": "a worker that had left or died is started again",
    "store fails": "a call of the store fails, and nothing is written",
    "broker fails": "a poll or a listing of partitions fails",
    "answer lost": "the store has written, and its answer does not arrive",
    "answer repeated": "the store is told something twice, at once or much later; the broker delivers a batch twice",
    "answer late": "a call of store or broker takes long",
    "partitions split": "a partition splits, or two merge",
    "handler fails": "the processor raises, or says Retry or Reject, before or after its effect",
    "handler hangs": "a call of the processor takes long, before or after its effect",
}
"""Every kind of trouble, and what it is."""

BROKER = frozenset({"poll", "discover", "send", "send_after_write"})
_ERRORS: Mapping[str, tuple[Callable[[str], Exception], Callable[[str], Exception]]] = {
    "unavailable": (BrokerUnavailableError, StoreUnavailableError),
    "throttled": (lambda what: ThrottledError(what, retry_after=0.3), StoreThrottledError),
    "not-ready": (BrokerUnavailableError, StoreNotReadyError),
}


class Mishap(Exception):
    """What the simulator raises around user code."""


@dataclass(slots=True)
class Ordered:
    """Something that the next `times` calls of `what` meet."""

    verb: str
    what: str
    value: str
    times: int
    worker: str

    @classmethod
    def of(cls, step: Step) -> Ordered:
        """Raises ValueError for a step of another form."""
        verb, what, value, times, worker = step.words
        if verb == "fail" and value not in _ERRORS:
            raise ValueError(f"{value} is none of {', '.join(_ERRORS)}")
        if verb in ("late", "repeat", "handler", "hook"):
            float(value)
        return cls(verb, what, value, int(times), worker)


class Trouble(Faults):
    """Stands between the memory plugin and its callers, and around user code."""

    def __init__(self, noticed: Callable[[str], None]) -> None:
        """`noticed` is told the kind of each trouble that somebody meets."""
        super().__init__()
        self._noticed = noticed
        self._ordered: dict[tuple[str, str], list[Ordered]] = {}
        """By verb and what."""

    def order(self, step: Step) -> None:
        ordered = Ordered.of(step)
        verb, what = ordered.verb, ordered.what
        if verb == "lose":
            verb, what = "fail", f"{what}_after_write"
        self._ordered.setdefault((verb, what), []).append(ordered)

    def clear(self) -> None:
        super().clear()
        self._ordered.clear()

    def meet(self, verb: str, what: str, worker: str) -> Ordered | None:
        """What was ordered for this call, if anything; each is met as often as it says."""
        waiting = self._ordered.get((verb, what))
        if not waiting:
            return None
        for ordered in waiting:
            if ordered.worker in (ANYBODY, worker):
                ordered.times -= 1
                if not ordered.times:
                    waiting.remove(ordered)
                return ordered
        return None

    async def strike(self, operation: Operation | Literal["send_after_write"], worker: str) -> None:
        if self._holds and operation != "send_after_write":
            await super().strike(operation, worker)
        if not self._ordered:
            return
        if (late := self.meet("late", operation, worker)) is not None:
            self._noticed("answer late")
            await asyncio.sleep(float(late.value))
        if (failing := self.meet("fail", operation, worker)) is not None:
            on_broker = operation in BROKER
            self._noticed("answer lost" if failing.verb == "lose" else "broker fails" if on_broker else "store fails")
            raise _ERRORS[failing.value][0 if on_broker else 1](f"{operation} fails in the simulation")

    def repeats(self, operation: str, worker: str) -> float | None:
        """After how many seconds this call arrives a second time; None: it does not."""
        again = self.meet("repeat", operation, worker) if self._ordered else None
        if again is None:
            return None
        self._noticed("answer repeated")
        return float(again.value)

    def mishap(self, worker: str) -> tuple[str, float] | None:
        """What happens to the next call of user code: how, and how many seconds it hangs."""
        if not self._ordered:
            return None
        for (verb, how), waiting in self._ordered.items():
            if verb == "handler" and waiting and (met := self.meet(verb, how, worker)) is not None:
                self._noticed("handler hangs" if how.startswith("hangs") else "handler fails")
                return how, float(met.value)
        return None

    def hook_fails(self, hook: str, worker: str) -> bool:
        if self._ordered and self.meet("hook", hook, worker) is not None:
            self._noticed("handler fails")
            return True
        return False
