"""Requests over a connection that is open: what is plain goes the short way, and everything else is understood all the same."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from botocore import exceptions as sdk
from botocore.config import Config
from streamkit_kinesis import connection
from streamkit_kinesis.connection import OpenConnections

from plugins.kinesis.tests.reading_client import client_of
from plugins.kinesis.tests.wire import Said, Wire

EMPTY = b'{"Records":[],"MillisBehindLatest":0}'
PLAIN = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(EMPTY), EMPTY)
END = object()
"""In place of an answer: the connection is closed."""


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
    left: threading.Event = field(default_factory=threading.Event)
    """The client has closed one that it had no more to hear from."""

    def serve(self, listener: socket.socket) -> None:
        for answers in self.answers:
            try:
                sock, _ = listener.accept()
            except OSError:
                return
            self.connections += 1
            self.sock = sock
            with sock, sock.makefile("rb") as file:
                for answer in answers:
                    if answer is END or not self._hear(file):
                        break
                    sock.sendall(answer)  # type: ignore[arg-type]
                else:
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
def script(*answers: Sequence[object]) -> Iterator[Script]:
    said = Script(list(answers))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        said.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        thread = threading.Thread(target=said.serve, args=(listener,))
        thread.start()
        try:
            yield said
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            if said.sock is not None and said.sock.fileno() >= 0:  # an error that a test holds may hold the client's end
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


def sent_short(client: Any) -> list[bool]:
    """Of each request from now on: whether it was sent without botocore's help."""
    found: list[bool] = []
    connections: OpenConnections = client._endpoint._send._open
    send = connections.send
    connections.send = lambda request: (answer := send(request), found.append(answer is not None))[0]  # type: ignore[method-assign, func-returns-value]
    return found


def test_what_is_sent_is_what_botocore_sends_byte_by_byte_but_for_the_order_of_headers() -> None:
    with script([PLAIN] * 2) as said, ready(said.url) as client:
        short = sent_short(client)
        client.get_records(ShardIterator="later")
    assert short == [True]
    ordinary, lean = (request.partition(b"\r\n\r\n")[0].split(b"\r\n") for request in said.requests)
    changing = (b"X-Amz-Date", b"Authorization", b"amz-sdk-invocation-id", b"User-Agent")
    assert ordinary[0] == lean[0] == b"POST / HTTP/1.1"
    assert sorted(line for line in ordinary if not line.startswith(changing)) == sorted(
        line for line in lean if not line.startswith(changing)
    )
    assert [line.partition(b":")[0] for line in sorted(ordinary)] == [line.partition(b":")[0] for line in sorted(lean)]


@pytest.mark.parametrize(
    "answer",
    [
        PLAIN,
        PLAIN.replace(b" OK", b""),
        PLAIN.replace(b"Content-Length: ", b"content-length:\t"),
        b"HTTP/1.1 100 Continue\r\n\r\n" + PLAIN,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(EMPTY), EMPTY),
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(EMPTY), EMPTY),
        PLAIN.replace(b"\r\nContent", b"\r\nX-Long: a\r\n b\r\nContent"),
        PLAIN.replace(b"\r\nContent", b"\r\nX-Long: a\r\n b: c\r\nContent"),
        PLAIN.replace(b"\r\n\r\n", b"\r\nX-Name: \xe4\r\n\r\n"),
        PLAIN.replace(b"\r\n", b"\n"),
    ],
    ids=[
        "plain",
        "no reason",
        "another case",
        "100 first",
        "in chunks",
        "in chunks, and a length",
        "a folded header",
        "a folded header that looks like two",
        "another letter",
        "bare line ends",
    ],
)
def test_an_answer_is_understood_in_whatever_form_and_the_connection_used_again(answer: bytes) -> None:
    with script([answer]) as said:
        client = client_of(said.url, lean=False)
        ordinary = client.get_records(ShardIterator="i")
        client.close()
    with script([PLAIN, answer, PLAIN]) as said, ready(said.url) as client:
        short = sent_short(client)
        found = client.get_records(ShardIterator="i")
        assert found == ordinary == {**ordinary, "Records": [], "MillisBehindLatest": 0}
        assert found["ResponseMetadata"]["HTTPStatusCode"] == 200
        client.get_records(ShardIterator="i")
    assert short == [True, True]
    assert said.connections == 1


@pytest.mark.parametrize(
    ("answer", "then"),
    [
        (PLAIN.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"), PLAIN),
        (PLAIN.replace(b"HTTP/1.1", b"HTTP/1.0"), PLAIN),
        (b"HTTP/1.1 200 OK\r\n\r\n" + EMPTY, END),
    ],
    ids=["said", "1.0", "no length"],
)
def test_a_connection_that_ends_with_its_answer_is_not_used_again(answer: bytes, then: object) -> None:
    with script([PLAIN, answer, then], [PLAIN, PLAIN]) as said, ready(said.url) as client:
        short = sent_short(client)
        for _ in range(3):
            assert client.get_records(ShardIterator="i")["Records"] == []
    assert short == [True, False, True], "botocore opens the next one"
    assert said.connections == 2


def test_a_connection_that_was_closed_while_nobody_used_it_is_opened_anew() -> None:
    with script([PLAIN, END], [PLAIN]) as said, ready(said.url) as client:
        short = sent_short(client)
        idle = client._endpoint.http_session._manager.connection_from_url(said.url).pool.queue[-1]
        assert idle.sock.recv(1) == b"", "the server's end has arrived"
        assert client.get_records(ShardIterator="i")["Records"] == []
    assert short == [False]
    assert said.connections == 2


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (PLAIN[:-5], sdk.ConnectionClosedError),
        (PLAIN[:30], sdk.HTTPClientError),
        (b"", sdk.ConnectionClosedError),
        (b"220 mail.example ESMTP\r\n" * 3, sdk.ConnectionClosedError),
        (PLAIN.replace(b"\r\n\r\n", b"\r\nX: y" * 200 + b"\r\n\r\n"), sdk.ConnectionClosedError),
    ],
    ids=["a cut body", "a cut head", "nothing", "another protocol", "too many headers"],
)
def test_what_is_no_answer_is_an_error_and_nothing_of_it_is_left_for_the_next_request(answer: bytes, error: type[Exception]) -> None:
    with script([PLAIN, answer, END], [PLAIN]) as said, ready(said.url) as client:
        with pytest.raises(error):
            client.get_records(ShardIterator="i")
        assert client.get_records(ShardIterator="i")["Records"] == []
    assert said.connections == 2


@pytest.mark.parametrize("answer", [b"", PLAIN[:20], PLAIN[:-5]], ids=["nothing", "a part of the head", "a part of the body"])
def test_an_answer_that_stops_coming_over_an_open_connection_is_a_timeout(answer: bytes) -> None:
    with script([PLAIN, answer], [PLAIN]) as said, ready(said.url, timeout=0.1) as client:
        short = sent_short(client)
        with pytest.raises(sdk.ReadTimeoutError):
            client.get_records(ShardIterator="i")
        assert short == []
        assert client.get_records(ShardIterator="i")["Records"] == []
    assert said.connections == 2, "what comes late must not be taken for the answer to another request"


def test_bytes_behind_an_answer_are_not_taken_for_the_next_one() -> None:
    other = PLAIN.replace(b'"MillisBehindLatest":0', b'"MillisBehindLatest":9')
    with script([PLAIN, PLAIN + other, PLAIN], [PLAIN]) as said, ready(said.url) as client:
        assert [client.get_records(ShardIterator="i")["MillisBehindLatest"] for _ in range(2)] == [0, 0]


def test_connections_end_with_their_client() -> None:
    with script([PLAIN] * 2) as said:
        with ready(said.url) as client:
            client.get_records(ShardIterator="i")
            assert not said.left.is_set()
        assert said.left.wait(5)


def test_where_urllib3_has_put_the_connections_away_new_ones_are_used() -> None:
    with script([PLAIN], [PLAIN] * 2) as said, ready(said.url) as client:
        short = sent_short(client)
        client._endpoint.http_session._manager.clear()
        for _ in range(2):
            client.get_records(ShardIterator="i")
    assert short == [False, True]
    assert said.connections == 2


def test_a_header_with_a_line_break_is_refused_as_always() -> None:
    with Wire(lambda asked: Said(EMPTY)) as wire, ready(wire.url) as client:
        client.meta.events.register(
            "before-send.kinesis.GetRecords", lambda request, **_: request.headers.update({"X-Bad": "a\r\nX-More: b"})
        )
        with pytest.raises(sdk.HTTPClientError, match="Invalid header value"):
            client.get_records(ShardIterator="i")
    assert len(wire.asked) == 1


def test_behind_a_proxy_botocore_sends_everything() -> None:
    with Wire(lambda asked: Said(EMPTY)) as wire:
        client = client_of("http://kinesis.example", config=Config(proxies={"http": wire.url}))
        short = sent_short(client)
        for _ in range(3):
            client.get_records(ShardIterator="i")
        client.close()
    assert short == [False] * 3
    assert [asked.headers["host"] for asked in wire.asked] == ["kinesis.example"] * 3


def test_headers_that_botocore_adds_by_a_switch_are_left_to_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BOTO_EXPERIMENTAL__ADD_PROXY_HOST_HEADER", "true")
    with script([PLAIN] * 2) as said, ready(said.url) as client:
        short = sent_short(client)
        client.get_records(ShardIterator="i")
    assert short == [False]


@pytest.mark.parametrize("names", ["_OF_SESSION", "_OF_POOL"])
def test_with_another_urllib3_or_botocore_everything_is_sent_as_always(names: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, names, ("_a_name_of_tomorrow",))
    with script([PLAIN] * 3) as said, ready(said.url) as client:
        short = sent_short(client)
        for _ in range(2):
            client.get_records(ShardIterator="i")
    assert short == [False, False]
    assert json.loads(said.requests[-1].partition(b"\r\n\r\n")[2]) == {"ShardIterator": "i"}
