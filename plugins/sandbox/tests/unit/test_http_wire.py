"""Messages of HTTP as the fault proxy reads and writes them, and what it does with connections; no server but a few lines here."""

from __future__ import annotations

import asyncio
import http.client
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, cast

import pytest
from streamkit_sandbox.fault_proxy import FaultProxy
from streamkit_sandbox.http_wire import Message, read_message


class Heard:
    """A writer that keeps what is written."""

    def __init__(self) -> None:
        self.data = b""

    def write(self, data: bytes) -> None:
        self.data += data


def read(data: bytes, heard: Heard | None = None) -> Message | None:
    async def reading() -> Message | None:
        reader = asyncio.StreamReader()
        reader.feed_data(data)
        reader.feed_eof()
        return await read_message(reader, cast("Any", heard or Heard()))

    return asyncio.run(reading())


@pytest.mark.parametrize(
    "framed", [b"Content-Length: 5\r\n\r\nhello", b"Transfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3;x=1\r\nllo\r\n0\r\nTrailer: 1\r\n\r\n"]
)
def test_a_body_is_whole_however_it_is_framed_and_goes_on_with_its_length(framed: bytes) -> None:
    message = read(b"HTTP/1.1 200 OK\r\nX-Id: a:b\r\n" + framed)
    assert message is not None
    assert (message.status, message.header("x-id"), message.body) == (200, "a:b", b"hello")
    assert message.head(3) == b"HTTP/1.1 200 OK\r\nX-Id: a:b\r\nContent-Length: 3\r\n\r\n"


def test_a_connection_that_ends_between_messages_is_no_error_and_inside_one_it_is() -> None:
    assert read(b"") is None
    for part in (b"POST / HTTP/1.1\r\nContent-", b"POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\nhell"):
        with pytest.raises(asyncio.IncompleteReadError):
            read(part)


def test_who_waits_to_be_asked_for_the_body_is_asked() -> None:
    heard = Heard()
    message = read(b"POST / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\nx", heard)
    assert heard.data == b"HTTP/1.1 100 Continue\r\n\r\n"
    assert message is not None
    assert b"xpect" not in message.head(1)


@contextmanager
def serving(serve: Callable[[socket.socket], None]) -> Iterator[str]:
    """Each connection is given to `serve`, one after the other, and closed when it returns."""
    listener = socket.create_server(("127.0.0.1", 0))

    def loop() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                serve(connection)

    thread = threading.Thread(target=loop, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join(30)


def asking(url: str) -> http.client.HTTPConnection:
    return http.client.HTTPConnection("127.0.0.1", int(url.rpartition(":")[2]), timeout=30)


def test_a_server_that_closes_idle_connections_is_no_fault() -> None:
    closed = threading.Semaphore(0)

    def one_answer(connection: socket.socket) -> None:
        connection.recv(65_536)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
        with suppress(OSError):  # the proxy may have been the first to close it
            connection.shutdown(socket.SHUT_RDWR)
        closed.release()

    with serving(one_answer) as url, FaultProxy(url) as proxy:
        client = asking(proxy.url)
        for _ in range(3):
            client.request("POST", "/", b"{}")
            assert client.getresponse().read() == b"{}"
            closed.acquire(timeout=30)
        client.close()


def test_an_event_stream_passes_piece_by_piece() -> None:
    seen = threading.Event()

    def stream(connection: socket.socket) -> None:
        connection.recv(65_536)
        head = b"HTTP/1.1 200 OK\r\nContent-Type: application/vnd.amazon.eventstream\r\nTransfer-Encoding: chunked\r\n\r\n"
        connection.sendall(head + b"5\r\nfirst\r\n")
        seen.wait(30)
        connection.sendall(b"6\r\nsecond\r\n0\r\n\r\n")

    with serving(stream) as url, FaultProxy(url) as proxy:
        client = asking(proxy.url)
        client.request("POST", "/", b"{}")
        answer = client.getresponse()
        assert answer.read(5) == b"first"
        seen.set()
        assert answer.read() == b"second"
        client.close()


def test_a_server_that_is_gone_ends_the_clients_connection() -> None:
    with serving(lambda connection: None) as url:
        pass
    with FaultProxy(url) as proxy:
        client = asking(proxy.url)
        client.request("POST", "/", b"{}")
        with pytest.raises(http.client.RemoteDisconnected):
            client.getresponse()
        client.close()
