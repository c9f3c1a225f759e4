"""What the address of a link or the name in a request means: `amqps://host/hub/ConsumerGroups/group/Partitions/0`.

Some clients write scheme and host, some a leading slash, some neither; case does not count, except in what is shown back.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

__all__ = ["CBS", "MANAGEMENT", "Address", "parse"]

CBS, MANAGEMENT = "$cbs", "$management"
_AUTHORITY = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]*://[^/]*")


@dataclass(frozen=True, slots=True)
class Address:
    """`service` is `$cbs`, `$management` or empty; the others are as the client wrote them, empty if it did not."""

    hub: str = ""
    group: str = ""
    partition: str = ""
    service: str = ""


def parse(text: str) -> Address | None:
    """None for what is no address of Event Hubs."""
    parts = [part for part in _AUTHORITY.sub("", text, count=1).split("/") if part]
    words = [part.lower() for part in parts]
    if not parts or len(parts) > 5:
        return None
    if words[-1] in (CBS, MANAGEMENT) and len(parts) <= 2:
        return Address(hub=parts[0] if len(parts) == 2 else "", service=words[-1])
    found = {"": parts[0]}
    for word, part in zip(words[1::2], parts[2::2], strict=False):
        if word not in ("consumergroups", "partitions") or word in found or "partitions" in found:
            return None
        found[word] = part
    if len(parts) % 2 == 0:
        return None
    return Address(parts[0], found.get("consumergroups", ""), found.get("partitions", ""))
