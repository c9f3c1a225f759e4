"""Answers over a connection that is open: what is plain goes the short way, and with anything else it ends."""

from __future__ import annotations

import gc

import pytest
from botocore import exceptions as sdk

from plugins.kinesis.tests.reading_client import client_of
from plugins.kinesis.tests.script import EMPTY, END, IN_CHUNKS, PLAIN, Without, idle_of, of_headers, ready, script, sent_short


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
        assert said.left.wait(30)


def test_where_urllib3_has_put_the_connections_away_new_ones_are_used() -> None:
    with script([PLAIN], [PLAIN] * 2) as said, ready(said.url) as client:
        short = sent_short(client)
        client._endpoint.http_session._manager.clear()
        for _ in range(2):
            client.get_records(ShardIterator="i")
    assert short == [False, True]
    assert said.connections == 2
