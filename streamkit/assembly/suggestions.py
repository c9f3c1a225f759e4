"""What somebody probably meant to write."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = ["closest"]


def closest(name: str, known: Iterable[str], *, likeness: float = 0.6) -> str | None:
    """The one of `known` that is most like `name`, ignoring case, if any is at all (`likeness` from 0 to 1)."""
    names = {candidate.lower(): candidate for candidate in sorted(known)}
    found = difflib.get_close_matches(name.lower(), names, n=1, cutoff=likeness)
    return names[found[0]] if found else None
