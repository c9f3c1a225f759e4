"""A session: its windows and its links. Handles of ours are those of the client, as each direction counts its own."""

from __future__ import annotations

import struct
from collections import deque
from typing import TYPE_CHECKING

from streamkit_sandbox.eventhubs.amqp_types import Value
from streamkit_sandbox.eventhubs.attach import open_link
from streamkit_sandbox.eventhubs.frames import frame
from streamkit_sandbox.eventhubs.links import Gone, Link, ReplyLink
from streamkit_sandbox.eventhubs.performatives import (
    ACCEPTED,
    Attach,
    Begin,
    Composite,
    Detach,
    Disposition,
    End,
    Error,
    Flow,
    Performative,
    Transfer,
    accepted,
)
from streamkit_sandbox.eventhubs.refused import Refused

if TYPE_CHECKING:
    from streamkit_sandbox.eventhubs.connection import Connection

__all__ = ["HANDLE_MAX", "INCOMING_WINDOW", "Session", "SessionEnded"]

HANDLE_MAX = 255
INCOMING_WINDOW = 5000
"""Frames; both are the service's figures."""
_OUTGOING_WINDOW = 0x7FFF_FFFF
_UINT = 0xFFFF_FFFF
_TAG = struct.Struct(">I")


class SessionEnded(Refused):
    """The client broke a rule of sessions, which ends this one and no other."""


class Session:
    """One session of a connection."""

    def __init__(self, connection: Connection, channel: int, begin: Begin) -> None:
        self.connection = connection
        self.channel = channel
        self.links: dict[int, Link] = {}
        self.window = begin.incoming_window
        """Frames with transfers that the client takes now."""
        self._incoming_id = begin.next_outgoing_id
        self._incoming_since_flow = 0
        self._outgoing_id = 0
        self._delivery_id = 0
        self.is_ending = False
        """We have ended it, and wait for the client to say the same."""
        self._waiting: deque[bytes] = deque()  # frames of one large message that the window has cut
        self._waiting_for: int | None = None  # the handle of its link

    def begin(self) -> None:
        """Answers the client's begin."""
        self.send(
            Begin(
                remote_channel=self.channel,
                next_outgoing_id=self._outgoing_id,
                incoming_window=INCOMING_WINDOW,
                outgoing_window=_OUTGOING_WINDOW,
                handle_max=HANDLE_MAX,
            )
        )

    @property
    def is_open_for(self) -> int:
        """How many frames of transfers may be written now."""
        return 0 if self._waiting or self.connection.is_blocked else max(self.window, 0)

    def send(self, performative: Composite) -> None:
        """Sends one performative without a payload."""
        self.connection.write(frame(self.channel, performative.encode()))

    def send_flow(self, handle: int | None = None, *, delivery_count: int | None = None, link_credit: int | None = None) -> None:
        """Tells the windows, and a link's credit."""
        self._incoming_since_flow = 0
        self.send(
            Flow(
                next_incoming_id=self._incoming_id,
                incoming_window=INCOMING_WINDOW,
                next_outgoing_id=self._outgoing_id,
                outgoing_window=_OUTGOING_WINDOW,
                handle=handle,
                delivery_count=delivery_count,
                link_credit=link_credit,
            )
        )

    def settle(self, delivery_id: int, outcome: Value) -> None:
        """Tells the client what became of its delivery."""
        if outcome is ACCEPTED:
            self.connection.write(frame(self.channel, accepted(delivery_id)))
        else:
            self.send(Disposition(role=True, first=delivery_id, last=delivery_id, settled=True, state=outcome))

    def handle(self, performative: Performative, payload: bytes) -> None:
        """What the client sent on this session. Raises SessionEnded."""
        if isinstance(performative, Transfer):
            self._on_transfer(performative, payload)
        elif isinstance(performative, Flow):
            self._on_flow(performative)
        elif isinstance(performative, Attach):
            self._on_attach(performative)
        elif isinstance(performative, Detach):
            self._on_detach(performative)
        elif not isinstance(performative, Disposition):  # of events, which were settled when they were sent
            raise SessionEnded("amqp:not-allowed", f"{performative.SYMBOL} does not belong on a session")

    def numbers(self, frames: int) -> int:
        """The delivery id of the first of `frames` deliveries of one frame each, which the caller is about to write."""
        first = self._delivery_id
        self._delivery_id = (first + frames) & _UINT
        self._outgoing_id = (self._outgoing_id + frames) & _UINT
        self.window -= frames
        return first

    def deliver(self, handle: int, message: bytes) -> None:
        """Sends a message, in as many frames as it takes; those beyond the client's window wait for it."""
        first = Transfer(
            handle=handle,
            delivery_id=self._delivery_id,
            delivery_tag=_TAG.pack(self._delivery_id),
            message_format=0,
            settled=True,
            more=False,
        )
        self._delivery_id = (self._delivery_id + 1) & _UINT
        self._waiting_for = handle
        room = self.connection.max_frame_out - 8 - len(first.encode())
        for start in range(0, max(len(message), 1), room):
            first.more = start + room < len(message)
            self._waiting.append(frame(self.channel, first.encode() + message[start : start + room]))
        self._write_waiting()

    def detach(self, link: Link, condition: str, description: str) -> None:
        """Ends a link from our side, with an error; does nothing if it is gone already."""
        for handle, known in self.links.items():
            if known is link:
                self.links[handle] = Gone(link.name)
                self._forget_waiting(handle)
                link.ended()
                self.send(Detach(handle, closed=True, error=Error(condition, description)))
                return

    def reply_link(self, service: str, reply_to: str | None) -> ReplyLink | None:
        """The link that takes the answers to a request: by its target, else by its name, else the only one there is."""
        links = [link for link in self.links.values() if isinstance(link, ReplyLink) and link.service == service]
        by_target = [link for link in links if reply_to is not None and link.target == reply_to]
        by_name = [link for link in links if reply_to is not None and link.name == reply_to]
        found = by_target or by_name or (links if len(links) == 1 else [])
        return found[0] if found else None

    def resume(self) -> None:
        """The client's window or the connection takes more than it did."""
        self._write_waiting()
        for link in tuple(self.links.values()):
            link.resume()

    def end(self, refused: Refused) -> None:
        """Ends it from our side, with an error."""
        self.is_ending = True
        self.ended()
        self.send(End(Error(refused.condition, refused.description)))

    def ended(self) -> None:
        """The session is gone, and its links with it."""
        links, self.links = self.links, {}
        self._waiting.clear()
        for link in links.values():
            link.ended()

    def _write_waiting(self) -> None:
        while self._waiting and self.window > 0:
            self.window -= 1
            self._outgoing_id = (self._outgoing_id + 1) & _UINT
            self.connection.write(self._waiting.popleft())

    def _forget_waiting(self, handle: int) -> None:
        """Nothing may come behind a detach, and be it the end of a message that has begun."""
        if self._waiting_for == handle:
            self._waiting.clear()

    def _link(self, handle: int) -> Link:
        link = self.links.get(handle)
        if link is None:
            raise SessionEnded("amqp:session:unattached-handle", f"No link is attached with handle {handle}.")
        return link

    def _on_transfer(self, transfer: Transfer, payload: bytes) -> None:
        link = self._link(transfer.handle)
        self._incoming_id = (self._incoming_id + 1) & _UINT
        self._incoming_since_flow += 1
        try:
            link.on_transfer(transfer, payload)
        except Refused as refused:
            if isinstance(refused, SessionEnded):
                raise
            self.detach(link, refused.condition, refused.description)
        if self._incoming_since_flow >= INCOMING_WINDOW // 2:
            self.send_flow()

    def _on_flow(self, flow: Flow) -> None:
        # A client that has seen nothing of us yet leaves the id out.
        seen = 0 if flow.next_incoming_id is None else flow.next_incoming_id
        ahead = (self._outgoing_id - seen) & _UINT
        was_shut = self.window <= 0
        self.window = flow.incoming_window - (ahead if ahead < 0x8000_0000 else 0)
        if flow.handle is not None:
            self._link(flow.handle).on_flow(flow)
        if flow.handle is None or was_shut:  # a window is all links' own, whichever the flow is about
            self.resume()
        if flow.echo:
            self.send_flow()

    def _on_attach(self, attach: Attach) -> None:
        if attach.handle > HANDLE_MAX:
            raise SessionEnded("amqp:not-allowed", f"Handle {attach.handle} is beyond handle-max, which is {HANDLE_MAX}.")
        if attach.handle in self.links:  # also while the client has not said that it knows the link to be gone
            raise SessionEnded("amqp:session:handle-in-use", f"Handle {attach.handle} is in use.")
        try:
            open_link(self, attach)
        except Refused as refused:
            self._refuse(attach, refused)

    def _refuse(self, attach: Attach, refused: Refused) -> None:
        # An attach without source and target says that there is no link; the detach says why.
        self.links[attach.handle] = Gone(attach.name)
        reply = Attach(attach.name, attach.handle, not attach.role, attach.snd_settle_mode, attach.rcv_settle_mode)
        reply.initial_delivery_count = 0 if attach.role else None
        self.send(reply)
        self.send(Detach(attach.handle, closed=True, error=Error(refused.condition, refused.description)))

    def _on_detach(self, detach: Detach) -> None:
        link = self._link(detach.handle)
        del self.links[detach.handle]
        self._forget_waiting(detach.handle)
        if not isinstance(link, Gone):
            link.ended()
            self.send(Detach(detach.handle, closed=detach.closed))
