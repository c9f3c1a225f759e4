"""Requests over a connection that is open: what is plain goes the short way, and everything else is left to botocore."""

from __future__ import annotations

import gc
import json
import os
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import trustme
from botocore import exceptions as sdk
from botocore.config import Config
from streamkit_kinesis.connection import OpenConnections

from plugins.kinesis.tests.reading_client import client_of
from plugins.kinesis.tests.wire import Said, Wire

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
        PLAIN.replace(b"\r\n\r\n", b"\r\nX-Name: \xe4\r\n\r\n"),
        PLAIN.replace(b"\r\n\r\n", b"\r\nConnection: Keep-Alive\r\nX-Empty:\r\n\r\n"),
    ],
    ids=["plain", "no reason", "another case", "another letter", "kept alive"],
)
def test_a_plain_answer_is_botocores_and_the_connection_used_again(answer: bytes) -> None:
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


def of_headers(*lines: bytes, status: bytes = b"HTTP/1.1 200 OK", body: bytes = EMPTY) -> bytes:
    return b"\r\n".join((status, *lines, b"", body))


LENGTH = b"Content-Length: %d" % len(EMPTY)


@pytest.mark.parametrize(
    ("answer", "cause"),
    [
        (b"HTTP/1.1 100 Continue\r\n\r\n" + PLAIN, "another status line"),
        (b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n", "another status line"),
        (of_headers(LENGTH, status=b"HTTP/1.1 600 OK"), "another status line"),
        (of_headers(LENGTH, status=b"HTTP/1.1 204 OK"), "another status line"),
        (of_headers(b"Content-Length: 0", status=b"HTTP/1.1 304 OK", body=b""), "another status line"),
        (of_headers(LENGTH, status=b"HTTP/1.1 2000 OK"), "another status line"),
        (of_headers(LENGTH, status=b"HTTP/1.0 200 OK"), "another status line"),
        (b"HTTP/1.0", "does not begin"),
        (b"220 mail.example ESMTP\r\n", "does not begin"),
        (PLAIN.replace(b"\r\n", b"\n"), "does not begin"),
        (IN_CHUNKS, "in chunks"),
        (IN_CHUNKS.replace(b"\r\n", b"\r\nContent-Length: 3\r\n", 1), "in chunks"),
        (of_headers(b"X-Long: a", b" b", LENGTH), "no header"),
        (of_headers(b"X-Long: a", b" b: c", LENGTH), "no header"),
        (of_headers(b"X-Long: a\rContent-Length: 3", LENGTH), "no header"),
        (of_headers(b"X-Long: a\nContent-Length: 3", LENGTH), "no header"),
        (of_headers(b"X-Long: a\0b", LENGTH), "no header"),
        (of_headers(b"X-Long : a", LENGTH), "no header"),
        (of_headers(b"rubbish", LENGTH), "no header"),
        (of_headers(b"X: y"), "without one length"),
        (of_headers(LENGTH, b"Content-Length: 5"), "without one length"),
        (of_headers(b"Content-Length: 5", LENGTH), "without one length"),
        (of_headers(LENGTH + b", 10"), "without one length"),
        (of_headers(b"Content-Length: +37"), "without one length"),
        (of_headers(b"Content-Length: " + b"1" * 13), "without one length"),
        (of_headers(LENGTH, *[b"X: y"] * 100), "too many headers"),
        (of_headers(b"X: " + b"y" * 70_000, LENGTH), "too long ones"),
        (b"HTTP/1.1 200 " + b"y" * 140_000, "does not begin"),
        (PLAIN + b"H", "bytes behind an answer"),
        (PLAIN + PLAIN, "bytes behind an answer"),
    ],
    ids=[
        "100 first",
        "103 first",
        "600",
        "204",
        "304",
        "four digits",
        "1.0",
        "a part of 1.0",
        "another protocol",
        "bare line ends",
        "in chunks",
        "in chunks, and a length",
        "a folded header",
        "a folded header that looks like two",
        "a bare return",
        "a bare line end",
        "a zero",
        "a space in a name",
        "no colon",
        "no length",
        "two lengths",
        "two lengths, the other way round",
        "two lengths in one",
        "a sign",
        "a length without end",
        "many headers",
        "a long line",
        "a status line without end",
        "a byte too many",
        "another answer behind it",
    ],
)
def test_an_answer_that_is_not_plain_ends_its_connection_and_the_short_way(answer: bytes, cause: str) -> None:
    """At once, and for ever: what is behind such an answer must not be taken for that to another request."""
    with script([PLAIN, answer], [PLAIN] * 2) as said, ready(said.url) as client:
        short = sent_short(client)
        with pytest.raises(sdk.ConnectionClosedError) as error:
            client.get_records(ShardIterator="i")
        assert cause in str(error.value.__cause__)
        for _ in range(2):
            assert client.get_records(ShardIterator="i")["Records"] == []
    assert short == [False, False]
    assert said.connections == 2


def test_an_answer_that_is_not_plain_is_asked_for_again_by_botocore() -> None:
    with script([PLAIN, IN_CHUNKS], [IN_CHUNKS] * 2) as said, ready(said.url, attempts=2) as client:
        found = [client.get_records(ShardIterator="i") for _ in range(2)]
    assert [answer["ResponseMetadata"]["RetryAttempts"] for answer in found] == [1, 0]


def test_where_the_first_answer_comes_in_chunks_nothing_is_ever_sent_short() -> None:
    with script([IN_CHUNKS] * 3) as said, ready(said.url) as client:
        short = sent_short(client)
        for _ in range(2):
            assert client.get_records(ShardIterator="i")["Records"] == []
    assert short == [False, False]
    assert said.connections == 1


@pytest.mark.parametrize("lines", [b"Connection: close", b"Connection: close\r\nConnection: keep-alive", b"Connection: keep-alive, close"])
def test_a_connection_that_ends_with_its_answer_is_not_used_again(lines: bytes) -> None:
    answer = PLAIN.replace(b"\r\n\r\n", b"\r\n%b\r\n\r\n" % lines)
    with script([PLAIN, answer, PLAIN], [PLAIN, PLAIN]) as said, ready(said.url) as client:
        short = sent_short(client)
        for _ in range(3):
            assert client.get_records(ShardIterator="i")["Records"] == []
    assert short == [True, False, True], "botocore opens the next one"
    assert said.connections == 2


def test_a_connection_that_was_closed_while_nobody_used_it_is_opened_anew() -> None:
    with script([PLAIN, END], [PLAIN]) as said, ready(said.url) as client:
        short = sent_short(client)
        pool = client._endpoint.http_session._manager.connection_from_url(said.url).pool
        places = pool.qsize()
        assert idle_of(client, said.url).sock.recv(1) == b"", "the server's end has arrived"
        assert client.get_records(ShardIterator="i")["Records"] == []
        assert pool.qsize() == places, "what was taken and could not be used was given back"
    assert short == [False]
    assert said.connections == 2


@pytest.mark.parametrize(
    "answer",
    [
        PLAIN[:-5],
        PLAIN[:30],
        b"",
    ],
    ids=["a cut body", "a cut head", "nothing"],
)
def test_an_answer_that_was_cut_is_an_error_of_the_connection_and_of_no_other_call(answer: bytes) -> None:
    with script([PLAIN, answer, END], [PLAIN] * 2) as said, ready(said.url) as client:
        short = sent_short(client)
        with pytest.raises(sdk.ConnectionClosedError):
            client.get_records(ShardIterator="i")
        for _ in range(2):
            assert client.get_records(ShardIterator="i")["Records"] == []
    assert short == [False, True], "a cut answer may come from anybody"
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


def test_the_timeout_is_that_of_this_client_whatever_was_left_on_the_connection() -> None:
    with script([PLAIN, PLAIN[:20]], [PLAIN]) as said, ready(said.url, timeout=0.1) as client:
        idle_of(client, said.url).sock.settimeout(0)
        with pytest.raises(sdk.ReadTimeoutError):
            client.get_records(ShardIterator="i")


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


@pytest.mark.parametrize(("name", "error"), [("recv", ValueError), ("recv", MemoryError), ("sendall", RuntimeError)])
def test_any_error_is_one_of_botocores_and_ends_the_connection(name: str, error: type[Exception]) -> None:
    """The reader would take another one for the end of a shard that cannot be read."""
    with script([PLAIN], [PLAIN]) as said, ready(said.url) as client:
        idle = idle_of(client, said.url)
        idle.sock = Without(idle.sock, name, error)
        with pytest.raises(sdk.HTTPClientError) as found:
            client.get_records(ShardIterator="i")
        assert type(found.value.__cause__) is error
        assert client.get_records(ShardIterator="i")["Records"] == []
    assert said.connections == 2


def test_a_socket_need_not_say_what_its_timeout_is() -> None:
    """That of urllib3's pyOpenSSL does not."""
    with script([PLAIN] * 2) as said, ready(said.url) as client:
        short = sent_short(client)
        idle = idle_of(client, said.url)
        idle.sock = Without(idle.sock, "gettimeout")
        client.get_records(ShardIterator="i")
    assert short == [True]


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n",
    ],
    ids=["a chunk of less than nothing", "a length without end"],
)
def test_any_error_of_a_first_answer_is_one_of_botocores_too(answer: bytes) -> None:
    with script([answer]) as said:
        client = client_of(said.url)
        with pytest.raises(sdk.HTTPClientError):
            client.get_records(ShardIterator="i")
        client.close()


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> tuple[ssl.SSLContext, Path, Path]:
    """Of a server that asks for a certificate; the authority's and a client's."""
    folder = tmp_path_factory.mktemp("tls")
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    authority.configure_trust(context)
    context.verify_mode = ssl.CERT_REQUIRED
    authority.cert_pem.write_to_path(folder / "ca.pem")
    authority.issue_cert("me").private_key_and_cert_chain_pem.write_to_path(folder / "me.pem")
    return context, folder / "ca.pem", folder / "me.pem"


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (PLAIN.replace(b"OK", b"OK" + b"!" * 20_000), None),
        (of_headers(b"Content-Length: 300017", body=b'{"Records":[]' + b" " * 300_003 + b"}"), None),
        (Beneath(b"this is not encrypted at all"), sdk.SSLError),
        (PLAIN + PLAIN, sdk.ConnectionClosedError),
        (PLAIN[:-5], sdk.ReadTimeoutError),
    ],
    ids=["a long head", "a large body", "not encrypted", "two answers in one piece", "a part"],
)
def test_over_tls_with_certificates_of_both_sides(
    answer: bytes, error: type[Exception] | None, tls: tuple[ssl.SSLContext, Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    context, authority, mine = tls
    monkeypatch.setenv("AWS_CA_BUNDLE", str(authority))
    then = [PLAIN] if error is None else []
    with (
        script([PLAIN, answer, *then], [PLAIN], tls=context) as said,
        ready(said.url, timeout=1, config=Config(client_cert=str(mine))) as client,
    ):
        short = sent_short(client)
        if error is None:
            assert client.get_records(ShardIterator="i")["Records"] == []
        else:
            with pytest.raises(error):
                client.get_records(ShardIterator="i")
        assert client.get_records(ShardIterator="i")["Records"] == []
    assert short == ([True, True] if error is None else [False])
    assert said.connections == (1 if error is None else 2)


def test_a_call_leaves_nothing_that_only_the_collector_frees() -> None:
    """Each would hold its answer until then."""
    with script([PLAIN] * 30) as said, ready(said.url) as client:
        for _ in range(5):
            client.get_records(ShardIterator="i")
        gc.collect()
        gc.disable()
        try:
            for _ in range(20):
                client.get_records(ShardIterator="i")
            assert gc.collect() < 20
        finally:
            gc.enable()


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


def _with_header(name: str, value: object) -> Callable[[Any], None]:
    def change(request: Any) -> None:
        request.headers[name] = value

    return change


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(_with_header("Expect", b"100-continue"), id="an answer before the body"),
        pytest.param(_with_header("X Y", "v"), id="a space in a name"),
        pytest.param(_with_header("X:Y", "v"), id="a colon in a name"),
        pytest.param(_with_header("", "v"), id="no name"),
        pytest.param(_with_header("X\u20ac", "v"), id="a name in other letters"),
        pytest.param(_with_header("X-Bad", "a\r\nX-More: b"), id="a line break"),
        pytest.param(_with_header("X-Bad", b"a\rb"), id="a return"),
        pytest.param(_with_header("X-Name", "\xe4"), id="a value in other letters"),
        pytest.param(_with_header("X-Number", 3), id="a number"),
        pytest.param(_with_header("Host", "elsewhere"), id="a host"),
        pytest.param(lambda request: request.headers.__delitem__("User-Agent"), id="no user agent"),
        pytest.param(lambda request: setattr(request, "method", "GET"), id="another method"),
        pytest.param(lambda request: setattr(request, "body", "text"), id="a text"),
        pytest.param(lambda request: setattr(request, "body", None), id="no body"),
        pytest.param(lambda request: request.context.update(read_timeout=3), id="a timeout of its own"),
        pytest.param(lambda request: setattr(request, "url", request.url + "x"), id="another address"),
    ],
)
def test_a_request_that_is_not_plain_is_left_to_botocore(change: Callable[[Any], None]) -> None:
    requests: list[Any] = []
    with script([PLAIN] * 2) as said, ready(said.url) as client:
        client.meta.events.register("before-send.kinesis.GetRecords", lambda request, **_: requests.append(request))
        client.get_records(ShardIterator="i")
        idle = idle_of(client, said.url)
        change(requests[0])
        assert client._endpoint._send._open.send(requests[0]) is None
        assert idle_of(client, said.url) is idle
        assert idle.sock is not None, "nothing was sent, and the connection is as it was"
    assert len(said.requests) == 2


@pytest.mark.parametrize("path", ["/a%2fb", "/a b", "/k\u00e4se", "/a?x=1", "/a|b", "/a@b"])
def test_a_path_that_urllib3_may_change_is_left_to_botocore(path: str) -> None:
    with script([PLAIN] * 2) as said, ready(said.url + path) as client:
        short = sent_short(client)
        client.get_records(ShardIterator="i")
    assert short == [False]
    assert len({request.partition(b"\r\n")[0] for request in said.requests}) == 1


def test_a_plain_path_is_part_of_what_is_sent() -> None:
    with script([PLAIN] * 2) as said, ready(said.url + "/~a/b.c_d-1//") as client:
        short = sent_short(client)
        client.get_records(ShardIterator="i")
    assert short == [True]
    assert {request.partition(b"\r\n")[0] for request in said.requests} == {b"POST /~a/b.c_d-1// HTTP/1.1"}


@pytest.mark.parametrize("name", ["_manager", "_get_request_target", "ConnectionCls", "_get_conn", "_put_conn", "timeout", "proxy_headers"])
def test_with_another_urllib3_or_botocore_everything_is_sent_as_always(name: str) -> None:
    with script([PLAIN] * 3) as said:
        client = client_of(said.url)
        session = client._endpoint.http_session
        pool = Without(session._manager.connection_from_url(said.url), name)
        other = Without(session, name)
        if not hasattr(session, name):
            other._manager = type("Manager", (), {"connection_from_url": lambda self, url: pool})()
        connections = client._endpoint._send._open
        connections._session = other
        short = sent_short(client)
        for _ in range(3):
            client.get_records(ShardIterator="i")
        client.close()
    assert short == [False] * 3
    assert json.loads(said.requests[-1].partition(b"\r\n\r\n")[2]) == {"ShardIterator": "i"}
