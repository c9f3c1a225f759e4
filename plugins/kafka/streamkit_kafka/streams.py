"""Names of streams: a topic, or with a leading `^` a regular expression that a topic's name must begin with. Pure.

The dialects differ a little (Python here, POSIX extended in classic clients, RE2 in KIP-848 brokers): keep them simple.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from streamkit.errors import ConfigurationError

__all__ = ["is_pattern", "matches", "subscription"]


def is_pattern(stream: str) -> bool:
    return stream.startswith("^")


def matches(stream: str, topic: str) -> bool:
    """Whether `topic` is meant by `stream`. A pattern never means Kafka's internal topics. Raises ConfigurationError."""
    if not is_pattern(stream):
        return stream == topic
    try:
        return not topic.startswith("__") and re.match(stream, topic) is not None
    except re.error as error:
        raise ConfigurationError(f"{stream!r} is not a regular expression: {error}", setting="STREAMKIT_STREAM") from error


def subscription(streams: Sequence[str], group_protocol: str) -> list[str]:
    """As each protocol wants it: a classic client matches patterns as prefixes, a KIP-848 broker whole names (measured).

    The client checks patterns as POSIX ones before it sends them, so the group is a capturing one.
    """
    if group_protocol == "classic":
        return list(streams)
    return [f"^({stream}).*" if is_pattern(stream) else stream for stream in streams]
