"""Who owns which partition, as Azure's SDKs keep it: a blob for each, in which the owner's name stands.

Its time of writing is the sign of life. We write our name there as well, so that a processor of Azure's SDKs sees that somebody is at
work; what counts among workers of streamkit is the row.
"""

from __future__ import annotations

from dataclasses import dataclass

from streamkit_azureblob.container import Blob

__all__ = ["MARK", "OWNER_ID", "Ownership", "ownership_of"]

OWNER_ID = "ownerid"
MARK = "streamkit:"
"""What our names begin with there. Every other owner is another program."""


@dataclass(frozen=True, slots=True)
class Ownership:
    """As it was read or listed."""

    name: str
    etag: str
    owner: str
    """Empty: free."""
    modified: float
    """Unix seconds, by the service's clock."""

    @property
    def is_foreign(self) -> bool:
        """Another program has it, or had it when it died."""
        return bool(self.owner) and not self.owner.startswith(MARK)

    def is_alive(self, now: float, expiry_seconds: float) -> bool:
        return now - self.modified < expiry_seconds


def ownership_of(blob: Blob) -> Ownership:
    """One that names no owner is free: it is there, so it cannot be made anew."""
    return Ownership(blob.name, blob.etag, blob.metadata.get(OWNER_ID, ""), blob.modified)
