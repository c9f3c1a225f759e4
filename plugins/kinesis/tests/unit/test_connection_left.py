"""What is left to botocore before it is sent: requests, addresses and libraries that are not plain."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from botocore import exceptions as sdk
from botocore.config import Config

from plugins.kinesis.tests.reading_client import client_of
from plugins.kinesis.tests.script import EMPTY, PLAIN, Without, idle_of, ready, script, sent_short
from plugins.kinesis.tests.wire import Said, Wire


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
