"""The address that every server of the sandbox listens on, and ports that are free there."""

from __future__ import annotations

import socket
from random import SystemRandom

__all__ = ["LOOPBACK", "free_ports"]

LOOPBACK = "127.0.0.1"


def free_ports(count: int) -> list[int]:
    """`count` ports that nobody listens on at 127.0.0.1.

    They lie below the ranges that systems take for outgoing connections: while a server is down, a client that retries
    could otherwise connect to itself and keep the server from its port.
    """
    found: list[int] = []
    choice = SystemRandom()
    while len(found) < count:
        port = choice.randrange(12_000, 32_000)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((LOOPBACK, port))
            except OSError:
                continue
        if port not in found:
            found.append(port)
    return found
