"""A rule: an id, a sentence, why it holds, and a coroutine that looks whether it does. Pytest turns each into a test."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from inspect import cleandoc
from types import ModuleType
from typing import Generic, TypeVar

__all__ = ["Rule", "rules_of"]

B = TypeVar("B")


@dataclass(frozen=True, slots=True)
class Rule(Generic[B]):
    """`B` is the bench that it is looked at on: `BrokerBench` or `StoreBench`."""

    id: str
    """A letter and two digits; it never changes, because people exclude and look up rules by it."""
    title: str
    """What holds, as a sentence without its first capital."""
    why: str
    """Who relies on it, and what goes wrong without it. Makes the page of the docs."""
    check: Callable[[B], Awaitable[None]]
    """Raises AssertionError if it does not hold."""
    declares: tuple[str, ...] = ()
    """Capabilities that must be declared; without them the rule says nothing."""
    kit: tuple[str, ...] = ()
    """Optional methods of the kit that it needs."""
    unmade: bool = False
    """For stores: the rule begins before anybody has opened one, so there is nothing yet that it would be kept in."""

    def __str__(self) -> str:
        return f"{self.id} {self.title}"

    @staticmethod
    def of(
        id: str, title: str, *, declares: Sequence[str] = (), kit: Sequence[str] = (), unmade: bool = False
    ) -> Callable[[Callable[[B], Awaitable[None]]], Rule[B]]:
        """Makes a rule of a coroutine function; its docstring is why."""

        def made(check: Callable[[B], Awaitable[None]]) -> Rule[B]:
            return Rule(id, title, cleandoc(check.__doc__ or ""), check, tuple(declares), tuple(kit), unmade)

        return made


def rules_of(*modules: ModuleType) -> tuple[Rule[B], ...]:
    """The rules in these modules, in the order in which they stand there."""
    return tuple(value for module in modules for value in vars(module).values() if isinstance(value, Rule))
