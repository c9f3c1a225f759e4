"""Version ranges as plugins write them, `>=0.1,<0.3`. Not PEP 440: numbers with dots, six operators, nothing else.

Enough for `Plugin.requires`, and not worth a dependency of every user. Called by the registry.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable

__all__ = ["allows"]

Version = tuple[int, ...]

_OPERATORS: dict[str, Callable[[Version, Version], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    "==": operator.eq,
    "!=": operator.ne,
    ">": operator.gt,
    "<": operator.lt,
}
_CLAUSE = re.compile(r"(>=|<=|==|!=|>|<)\s*(\d+(?:\.\d+)*)")


def allows(requires: str, version: str) -> bool:
    """Whether `version` lies in the range `requires`; an empty range allows everything.

    Of the version the leading numbers count: `0.2.0rc1` is `0.2.0`. Raises ValueError for a range that cannot be read.
    """
    numbers = re.match(r"\d+(?:\.\d+)*", version)
    if numbers is None:
        raise ValueError(f"{version!r} is not a version")
    for text in filter(None, (part.strip() for part in requires.split(","))):
        clause = _CLAUSE.fullmatch(text)
        if clause is None:
            raise ValueError(f"{text!r} is not a version range like >=0.1")
        if not _OPERATORS[clause[1]](_parse(numbers[0]), _parse(clause[2])):
            return False
    return True


def _parse(text: str) -> Version:
    """Numbers without trailing zeros, so that 0.3 equals 0.3.0."""
    numbers = [int(part) for part in text.split(".")]
    while numbers and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers)
