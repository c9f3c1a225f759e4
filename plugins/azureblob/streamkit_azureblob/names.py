"""What blobs are called. Pure.

For event hubs as Azure's SDKs do it: `<namespace>/<hub>/<group>/checkpoint/<partition>`, all lower case. For partitions of other brokers
names of our own, below `streamkit/`, in which capitals and odd characters count.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import quote

from streamkit.errors import ConfigurationError
from streamkit.model import Partition

__all__ = [
    "CHECKPOINT",
    "NAMESPACE",
    "OWNERSHIP",
    "Folder",
    "OwnNames",
    "SharedNames",
    "is_of_service",
    "ownership_name",
    "safe",
    "without_port",
]

CHECKPOINT, OWNERSHIP = "checkpoint", "ownership"
NAMESPACE = "STREAMKIT_AZUREBLOB__NAMESPACE"
_LONGEST_PART = 150
"""Of a blob's name, which may have 1,024 characters."""


@dataclass(frozen=True, slots=True)
class Folder:
    """The blobs of one hub and group, as somebody has written their names."""

    namespace: str
    hub: str
    group: str

    @property
    def prefix(self) -> str:
        return f"{self.namespace}/{self.hub}/{self.group}/"

    @property
    def is_usual(self) -> bool:
        """As most SDKs write it. The Go SDK keeps capitals; some write the port of a local server."""
        return self.prefix == self.prefix.lower() and self.namespace == without_port(self.namespace)


def without_port(namespace: str) -> str:
    return namespace.lower().partition(":")[0]


def is_of_service(namespace: str) -> bool:
    """A namespace's own name, in any of the clouds, and not another address of one."""
    return ".servicebus." in namespace.lower()


class SharedNames:
    """Of one group of event hubs."""

    def __init__(self, group: str, streams: Sequence[str], namespace: str | None) -> None:
        self.group = group.lower()
        self.namespace = namespace.lower() if namespace else None
        self._streams = streams

    def folder_of(self, partition: Partition) -> Folder | None:
        """None: it does not say of which namespace it is."""
        said, slash, _ = partition.incarnation.partition("/")
        namespace = self.namespace or (without_port(said) if slash else None)
        return Folder(namespace, safe(partition.stream), safe(self.group)) if namespace else None

    def is_our_group(self, name: str) -> bool:
        return name.lower() == safe(self.group)

    def is_our_namespace(self, name: str, known: str | None) -> bool:
        """`known`: what the broker has said, if it has."""
        wanted = self.namespace or known
        return name != OwnNames.ROOT and (wanted is None or without_port(name) == without_port(wanted))

    def is_read(self, hub: str) -> bool:
        """STREAM names it."""
        return any(_matches(stream, hub) for stream in self._streams)

    def stream_of(self, hub: str, said: str = "") -> str:
        """As STREAM says it, else as our row says it, else as the blob is called."""
        named = [stream for stream in self._streams if not stream.startswith("^") and safe(stream) == hub.lower()]
        if named:
            return named[0]
        return said if said and safe(said) == hub.lower() else hub.lower()


class OwnNames:
    """Of one group of any other broker. A row says itself which partition it is of."""

    ROOT = "streamkit"

    def __init__(self, broker: str, group: str) -> None:
        self.prefix = f"{self.ROOT}/{_part(broker)}/{_part(group)}/"

    def name_of(self, partition: Partition) -> str:
        return f"{self.prefix}{_part(partition.stream)}/{_part(partition.id)}"


def _matches(stream: str, hub: str) -> bool:
    if not stream.startswith("^"):
        return safe(stream) == hub.lower()
    try:
        return re.search(stream, hub, re.IGNORECASE) is not None
    except re.error as error:
        raise ConfigurationError(f"{stream!r} is no regular expression: {error}", setting="STREAMKIT_STREAM") from error


def ownership_name(row_name: str) -> str:
    """The ownership blob beside a checkpoint blob."""
    folder, _, name = row_name.rpartition(f"/{CHECKPOINT}/")
    return f"{folder}/{OWNERSHIP}/{name}"


def safe(name: str) -> str:
    """As a part of a name that Azure's SDKs share: names of hubs, groups and partitions stay as they are, in lower case."""
    return quote(name.lower(), safe="$").lower()


def _part(name: str) -> str:
    """As a part of a blob's name; no two names give the same. The service drops dots at its end."""
    text = quote(name, safe="").replace(".", "%2E").replace("~", "%7E")
    if len(text) > _LONGEST_PART:
        return f"{text[:50]}~{hashlib.sha256(name.encode()).hexdigest()}"
    return text or "~"
