"""Which streams `STREAMKIT_STREAM` names. A store keeps the rows of a whole group, whose apps may read different streams. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence

__all__ = ["names_stream"]


def names_stream(asked: Sequence[str], stream: str) -> bool:
    """Whether `stream` is one of those asked for: by its name, or by a regular expression (a leading `^`), as brokers match it."""
    return any(re.match(one, stream) is not None if one.startswith("^") else one == stream for one in asked)
