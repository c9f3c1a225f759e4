"""What a mutant is: one rule, the change that takes it away, and the tests that must then fail."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Mutant"]


@dataclass(frozen=True, slots=True)
class Mutant:
    """`file` is a path inside the package."""

    rule: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]
