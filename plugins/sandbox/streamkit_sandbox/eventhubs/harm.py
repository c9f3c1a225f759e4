"""How a fault is done to a link and its connection."""

from __future__ import annotations

from typing import TYPE_CHECKING

from streamkit_sandbox.eventhubs.faults import Fault, Kind
from streamkit_sandbox.eventhubs.links import Link

if TYPE_CHECKING:
    from streamkit_sandbox.eventhubs.session import Session

__all__ = ["end"]


def end(fault: Fault, session: Session, link: Link | None) -> None:
    """DETACH, DROP or CUT. A cut takes half of the next bytes that are written; the caller writes some, or a heartbeat is taken."""
    if fault.kind is Kind.DETACH and link is not None:
        session.detach(link, fault.error, f"The link '{link.name}' is force detached by the broker. Fault on purpose.")
    elif fault.kind is Kind.DROP:
        session.connection.abort()
    elif fault.kind is Kind.CUT:
        session.connection.cut()
