"""Ends of links that are not receivers of events: what a client sends comes in, and answers to requests go out.

A link knows its session and its handle. Who decides what a delivery means is given as `take`: events go to `intake.py`,
requests to `cbs.py` and `management.py`. Receivers of events are in `feed.py`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from streamkit_sandbox.eventhubs.amqp_types import Value
from streamkit_sandbox.eventhubs.performatives import Flow, Transfer, rejected
from streamkit_sandbox.eventhubs.refused import Refused

if TYPE_CHECKING:
    from streamkit_sandbox.eventhubs.session import Session

__all__ = ["CREDIT", "Delivery", "Gone", "IncomingLink", "Link", "ReplyLink", "link_credit"]

CREDIT = 100
"""Deliveries that a sender may have under way; the service's figure."""
_MAX_ANSWERS = 100  # that wait for a client's credit


class Link(Protocol):
    """Our end of a link, as its session sees it."""

    name: str
    hub: str
    """The hub that it is a link of; empty for `$cbs` and `$management`."""

    def on_flow(self, flow: Flow) -> None:
        """The client has given credit, or asks for nothing but an answer."""

    def on_transfer(self, transfer: Transfer, payload: bytes) -> None:
        """A message or a part of one has come. Raises Refused to have the link detached."""

    def resume(self) -> None:
        """The session or the connection takes more than it did."""

    def ended(self) -> None:
        """The link is gone; called once."""


class Gone:
    """In the place of a link that we have detached, until the client says the same: what was under way is let go."""

    __slots__ = ("hub", "name")

    def __init__(self, name: str) -> None:
        self.name = name
        self.hub = ""

    def on_flow(self, flow: Flow) -> None:
        """Nothing."""

    def on_transfer(self, transfer: Transfer, payload: bytes) -> None:
        """Nothing: the client was told that the link is gone, and holds the delivery as not settled."""

    def resume(self) -> None:
        """Nothing."""

    def ended(self) -> None:
        """Nothing."""


def link_credit(flow: Flow, delivery_count: int) -> int:
    """What a receiver's flow leaves for us to send, as its count may be behind ours."""
    seen = flow.delivery_count or 0
    left = (seen + (flow.link_credit or 0) - delivery_count) & 0xFFFF_FFFF
    return left if left < 0x8000_0000 else 0


@dataclass(frozen=True, slots=True)
class Delivery:
    """A whole message from a client. `settle` must be called once, at any later time; with None the client is not told."""

    link: IncomingLink
    format: int
    message: bytes
    settle: Callable[[Value], None]


class IncomingLink:
    """A client's sender: puts deliveries together, hands each to `take`, and gives credit for as many as were settled."""

    def __init__(
        self, session: Session, handle: int, name: str, hub: str, max_message_bytes: int, take: Callable[[Delivery], None]
    ) -> None:
        self.name, self.hub = name, hub
        self.session = session
        self._handle, self._take = handle, take
        self._max_message_bytes = max_message_bytes
        self._first: Transfer | None = None  # of the delivery that is coming in
        self._parts: list[bytes] = []
        self._size = 0
        self._kept = 0
        self._delivery_count = 0
        self._credit = 0
        self._unsettled = 0
        self._alive = True

    def open(self) -> None:
        """Gives the first credit; after the attach."""
        self._grant()

    def on_flow(self, flow: Flow) -> None:
        """A sender's flow says nothing that we need; an echo is the session's to answer."""

    def on_transfer(self, transfer: Transfer, payload: bytes) -> None:
        first = self._first
        if first is None:
            if transfer.delivery_id is None:
                raise Refused("amqp:invalid-field", "The first transfer of a delivery has no delivery-id.")
            if self._credit <= 0:
                raise Refused("amqp:link:transfer-limit-exceeded", f"Link '{self.name}' has no credit left.")
            first = self._first = transfer
        if not transfer.aborted:
            self._size += len(payload)
            if self._size <= self._max_message_bytes:  # beyond it only the size is of interest
                self._parts.append(payload)
                self._keep(len(payload))
        if transfer.more and not transfer.aborted:
            return
        message, size = b"".join(self._parts), self._size
        self._first, self._parts, self._size = None, [], 0
        self._keep(-self._kept)
        self._delivery_count += 1
        self._credit -= 1
        if not transfer.aborted:
            self._deliver(first, bool(first.settled or transfer.settled), message, size)
        self._top_up()

    def _deliver(self, first: Transfer, settled: bool, message: bytes, size: int) -> None:
        delivery_id = first.delivery_id
        assert delivery_id is not None
        self._unsettled += 1

        def settle(outcome: Value) -> None:
            self._unsettled -= 1
            if self._alive:
                if outcome is not None and not settled:
                    self.session.settle(delivery_id, outcome)
                self._top_up()

        if size > self._max_message_bytes:
            settle(
                rejected(
                    "amqp:link:message-size-exceeded",
                    f"The received message (delivery-id:{delivery_id}, size:{size} bytes) exceeds the limit "
                    f"({self._max_message_bytes} bytes) currently allowed on the link.",
                )
            )
        else:
            self._take(Delivery(self, first.message_format or 0, message, settle))

    def resume(self) -> None:
        """Nothing: what comes in does not wait for what goes out."""

    def ended(self) -> None:
        self._alive = False
        self._parts = []
        self._keep(-self._kept)

    def _keep(self, size: int) -> None:
        self._kept += size
        self.session.connection.keep(size)

    def _top_up(self) -> None:
        if self._alive and self._credit + self._unsettled <= CREDIT // 2:
            self._grant()

    def _grant(self) -> None:
        self._credit = CREDIT - self._unsettled
        self.session.send_flow(self._handle, delivery_count=self._delivery_count, link_credit=self._credit)


class ReplyLink:
    """A client's receiver on `$cbs` or `$management`: answers wait for credit, each in its turn."""

    def __init__(self, session: Session, handle: int, name: str, service: str, target: str | None) -> None:
        self.name, self.service, self.target = name, service, target
        self.hub = ""
        self._session, self._handle = session, handle
        self._waiting: deque[bytes] = deque()
        self._credit = self._delivery_count = 0

    def answer(self, message: bytes) -> None:
        """Sends `message` as soon as there is credit. Raises Refused for a client that asks and never takes the answers."""
        if len(self._waiting) >= _MAX_ANSWERS:
            raise Refused("amqp:resource-limit-exceeded", f"{_MAX_ANSWERS} answers wait for credit of link '{self.name}'.")
        self._waiting.append(message)
        self.resume()

    def on_flow(self, flow: Flow) -> None:
        self._credit = link_credit(flow, self._delivery_count)
        self.resume()

    def on_transfer(self, transfer: Transfer, payload: bytes) -> None:
        raise Refused("amqp:not-allowed", f"Link '{self.name}' receives and does not send.")

    def resume(self) -> None:
        while self._waiting and self._credit > 0 and self._session.is_open_for:
            self._credit -= 1
            self._delivery_count += 1
            self._session.deliver(self._handle, self._waiting.popleft())

    def ended(self) -> None:
        self._waiting.clear()
