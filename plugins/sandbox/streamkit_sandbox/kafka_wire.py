"""Two Kafka requests written by hand, to see from outside that a broker serves, without a client library.

An open port is not enough: after a kill, a broker listens before the cluster has taken it back. Its own answer to
Metadata lists only brokers that are in.
"""

from __future__ import annotations

import contextlib
import socket
import struct

__all__ = ["coordinates_groups", "listed_brokers"]

_METADATA, _FIND_COORDINATOR = 3, 10
_NO_CLIENT_ID = b"\xff\xff"


def listed_brokers(port: int, timeout_seconds: float = 1.0) -> frozenset[int]:
    """The ids of the brokers that the one at `port` considers alive; none if it does not answer."""
    try:
        body = _ask(port, struct.pack(">hhi", _METADATA, 1, 1) + _NO_CLIENT_ID + struct.pack(">i", 0), timeout_seconds)
    except (OSError, struct.error):
        return frozenset()
    found, at = set(), 4
    for _ in range(struct.unpack_from(">i", body)[0]):
        (node,) = struct.unpack_from(">i", body, at)
        at = _after_string(body, _after_string(body, at + 4) + 4)  # host, port, rack
        found.add(node)
    return frozenset(found)


def coordinates_groups(port: int, group: str = "streamkit-sandbox", timeout_seconds: float = 1.0) -> bool:
    """Whether a coordinator is known for `group`; asking makes the broker create its offsets topic."""
    name = group.encode()
    request = struct.pack(">hhi", _FIND_COORDINATOR, 0, 2) + _NO_CLIENT_ID + struct.pack(">h", len(name)) + name
    with contextlib.suppress(OSError, struct.error):
        return bool(struct.unpack_from(">h", _ask(port, request, timeout_seconds))[0] == 0)
    return False


def _ask(port: int, request: bytes, timeout_seconds: float) -> bytes:
    """The answer's body, after the correlation id."""
    with socket.create_connection(("127.0.0.1", port), timeout=timeout_seconds) as connection:
        connection.sendall(struct.pack(">i", len(request)) + request)
        (size,) = struct.unpack(">i", _exactly(connection, 4))
        return _exactly(connection, size)[4:]


def _exactly(connection: socket.socket, size: int) -> bytes:
    parts = b""
    while len(parts) < size:
        part = connection.recv(size - len(parts))
        if not part:
            raise ConnectionError("the broker closed the connection")
        parts += part
    return parts


def _after_string(body: bytes, at: int) -> int:
    """The offset after a string, which may be null (length -1)."""
    (length,) = struct.unpack_from(">h", body, at)
    return int(at + 2 + max(0, length))
