"""What an adapter or a store can do. Declared by plugins, compared with what is asked for before anything starts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from streamkit.errors import UnsupportedError

__all__ = ["Capabilities"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """Of a broker: the first four, and of its group's own checkpoints the others. Of a store: the others. The defaults promise nothing."""

    group: bool = False
    """The broker deals out partitions itself (`GroupBroker`)."""
    static: bool = False
    """Partitions can be read without a group (`Broker.reader`)."""
    lineage: bool = False
    """Partitions end and have children."""
    start_time: bool = False
    """`StartPosition.at_time` is understood."""

    fencing: bool = False
    """A save with an older grant than the newest claim's is refused."""
    scope: Literal["process", "host", "cluster"] = "process"
    """What can share the store: threads of one process, processes of one host, or hosts."""
    metadata_characters: int = 0
    """How long a checkpoint's metadata may be, in characters."""
    pending_bytes: int = 0
    """How much state a prepared checkpoint may hold; 0: prepared checkpoints are not kept."""
    parked_bytes: int = 0
    """How many bytes of keys a checkpoint may name as parked, and requests to release them can be left; 0: neither."""
    leases: bool = False
    """It says who reads what (`LeaseStore`)."""

    def require(self, name: str, *, of: str, because: str, fix: str = "") -> None:
        """Raise UnsupportedError if capability `name` is off (False or 0). `of` names the plugin, `because` what needs it."""
        if not getattr(self, name):
            raise UnsupportedError(f"{because} needs {name!r}, which {of} does not have", fix=fix)
