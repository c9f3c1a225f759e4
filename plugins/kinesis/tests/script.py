"""A server on loopback that says byte by byte what a test has written, and a client that has a connection to it open."""

from __future__ import annotations

import os
import socket
import ssl
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from streamkit_kinesis.connection import OpenConnections

from plugins.kinesis.tests.reading_client import client_of

EMPTY = b'{"Records":[],"MillisBehindLatest":0}'
PLAIN = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(EMPTY), EMPTY)
IN_CHUNKS = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(EMPTY), EMPTY)
END = object()
"""In place of an answer: the connection is closed."""


class Beneath(bytes):
    """An answer that is not encrypted, whatever the connection is."""


@dataclass
class Script:
    """A server that says what is written here, byte by byte, and counts the connections."""

    answers: list[Sequence[object]]
    """Of each connection: what it says to one request after the other."""
    connections: int = 0
    requests: list[bytes] = field(default_factory=list)
    url: str = ""
    sock: socket.socket | None = None
    """The newest connection."""
    tls: ssl.SSLContext | None = None
    left: threading.Event = field(default_factory=threading.Event)
    """The client has closed one that it had no more to hear from."""

    def serve(self, listener: socket.socket) -> None:
        for answers in self.answers:
            try:
                sock, _ = listener.accept()
            except OSError:
                return
            self.connections += 1
            if self.tls is not None:
                sock = self.tls.wrap_socket(sock, server_side=True)
            self.sock = sock
            with sock, suppress(OSError):  # a client that has given up is what some tests are about
                self._answer(sock, answers)

    def _answer(self, sock: socket.socket, answers: Sequence[object]) -> None:
        with sock.makefile("rb") as file:
            for answer in answers:
                if answer is END or not self._hear(file):
                    return
                if isinstance(answer, Beneath):
                    os.write(sock.fileno(), answer)
                else:
                    sock.sendall(answer)  # type: ignore[arg-type]
            file.read(1)  # until it is closed
            self.left.set()

    def _hear(self, file: Any) -> bool:
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            line = file.readline()
            if not line:
                return False
            head += line
        length = next(int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length"))
        self.requests.append(head + file.read(length))
        return True


@contextmanager
def script(*answers: Sequence[object], tls: ssl.SSLContext | None = None) -> Iterator[Script]:
    said = Script(list(answers), tls=tls)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        said.url = f"{'https' if tls else 'http'}://127.0.0.1:{listener.getsockname()[1]}"
        thread = threading.Thread(target=said.serve, args=(listener,))
        thread.start()
        try:
            yield said
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            if said.sock is not None and said.sock.fileno() >= 0:  # an error that a test holds may hold the client's end
                with suppress(OSError):  # or the client has gone by itself, just now
                    said.sock.shutdown(socket.SHUT_RDWR)
            thread.join(10)
            assert not thread.is_alive()


@contextmanager
def ready(url: str, **options: Any) -> Iterator[Any]:
    """A client that has a connection open, and has had one ordinary answer."""
    client = client_of(url, **options)
    try:
        assert client.get_records(ShardIterator="first")["MillisBehindLatest"] == 0
        yield client
    finally:
        client.close()


def idle_of(client: Any, url: str) -> Any:
    """The connection that is used next."""
    return client._endpoint.http_session._manager.connection_from_url(url).pool.queue[-1]


def sent_short(client: Any) -> list[bool]:
    """Of each request from now on: whether it was sent without botocore's help."""
    found: list[bool] = []
    connections: OpenConnections = client._endpoint._send._open
    send = connections.send
    connections.send = lambda request: (answer := send(request), found.append(answer is not None))[0]  # type: ignore[method-assign, func-returns-value]
    return found


def of_headers(*lines: bytes, status: bytes = b"HTTP/1.1 200 OK", body: bytes = EMPTY) -> bytes:
    return b"\r\n".join((status, *lines, b"", body))


class Without:
    """Another object, but for one name, or with a call of that name that fails."""

    def __init__(self, other: Any, name: str, error: type[Exception] | None = None) -> None:
        self._other, self._name, self._error = other, name, error

    def __getattr__(self, name: str) -> Any:
        if name != self._name:
            return getattr(self._other, name)
        if self._error is None:
            raise AttributeError(name)
        return self._fail

    def _fail(self, *_: object) -> None:
        assert self._error is not None
        raise self._error("not expected")
