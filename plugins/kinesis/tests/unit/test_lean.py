"""A cheaper `get_records`: the same request, the same answer, the same errors and retries as botocore's own."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from botocore import exceptions as sdk
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest, AWSResponse
from botocore.credentials import Credentials
from streamkit_kinesis.lean import make_lean

from plugins.kinesis.tests.reading_client import client_of
from plugins.kinesis.tests.wire import Asked, Said, Wire

ARN = "arn:aws:kinesis:eu-west-1:123456789012:stream/orders"
EMPTY = b'{"Records":[],"MillisBehindLatest":0}'
PER_CALL = {"x-amz-date", "authorization", "amz-sdk-invocation-id"}


@pytest.mark.parametrize("arguments", [{}, {"Limit": 7}, {"Limit": 9, "StreamARN": ARN}], ids=["plain", "limit", "ARN"])
def test_the_request_is_the_one_that_botocore_makes(arguments: dict[str, object]) -> None:
    with Wire(lambda asked: Said(EMPTY)) as wire:
        for client in (client_of(wire.url, lean=False), client_of(wire.url)):
            for iterator in ("one", 'tw"o\u00fc', "three"):
                client.get_records(ShardIterator=iterator, **arguments)
    ordinary, lean = wire.asked[:3], wire.asked[3:]
    for before, after in zip(ordinary, lean, strict=True):
        assert (before.path, before.body) == (after.path, after.body)
        assert before.headers.keys() == after.headers.keys()
        same = before.headers.keys() - PER_CALL - {"user-agent"}
        assert {name: before.headers[name] for name in same} == {name: after.headers[name] for name in same}
        assert _agent(before) == _agent(after)
        assert _scope(before) == _scope(after)
    assert [asked.body["ShardIterator"] for asked in lean] == ["one", 'tw"o\u00fc', "three"]
    assert len({asked.headers["amz-sdk-invocation-id"] for asked in wire.asked}) == 6
    assert len({asked.headers["authorization"] for asked in lean}) == 3, "each one is signed"


def _agent(asked: Asked) -> str:
    """Without the letters for features of botocore, which it notes for each call; the service only counts them."""
    return re.sub(r" m/\S+", "", asked.headers["user-agent"])


def _scope(asked: Asked) -> str:
    return asked.headers["authorization"].rpartition("Signature=")[0]


def test_the_signature_is_the_one_that_botocore_would_make_of_what_was_sent() -> None:
    with Wire(lambda asked: Said(EMPTY)) as wire:
        client = client_of(wire.url)
        for iterator in ("one", "two", "three"):
            client.get_records(ShardIterator=iterator)
    for asked in wire.asked:
        signed, said = re.fullmatch(r".*SignedHeaders=(\S+), Signature=(\w+)", asked.headers["authorization"]).groups()  # type: ignore[union-attr]
        assert "host" in signed.split(";")
        headers = {name: asked.headers[name] for name in signed.split(";")}
        request = AWSRequest("POST", wire.url + asked.path, headers=headers, data=asked.raw)
        request.context["timestamp"] = asked.headers["x-amz-date"]
        auth = SigV4Auth(Credentials("key-1", "s"), "kinesis", "eu-west-1")
        assert said == auth.signature(auth.string_to_sign(request, auth.canonical_request(request)), request)


def test_only_the_first_call_of_a_stream_is_an_ordinary_one() -> None:
    with Wire(lambda asked: Said(EMPTY)) as wire:
        client = client_of(wire.url)
        ordinary: list[object] = []
        client.meta.events.register(
            "provide-client-params.kinesis.GetRecords", lambda params, **_: ordinary.append(params.get("StreamARN"))
        )
        for arn in ({}, {"StreamARN": ARN}, {"StreamARN": ARN + "2"}, {"StreamARN": ARN}, {}, {}):
            client.get_records(ShardIterator="i", **arn)
        assert ordinary == [None, ARN, ARN + "2"]
        with pytest.raises(sdk.ParamValidationError):
            client.get_records(ShardIterator="i", Unknown=1)


@pytest.mark.parametrize("event", ["provide-client-params.kinesis.GetRecords", "before-call.kinesis.GetRecords", "before-call"])
def test_where_somebody_puts_something_into_the_context_of_calls_all_of_them_are_ordinary(event: str) -> None:
    """Client-side metrics have an object there for each call."""
    called: list[object] = []

    def put(context: dict[str, object], **_: object) -> None:
        called.append(context)
        context["current_call"] = len(called)

    with Wire(lambda asked: Said(EMPTY)) as wire:
        client = client_of(wire.url)
        client.meta.events.register(event, put)
        for _ in range(3):
            client.get_records(ShardIterator="i")
        assert len(called) == 3
        client.meta.events.unregister(event, put)
        ordinary: list[object] = []
        client.meta.events.register("provide-client-params.kinesis.GetRecords", lambda params, **_: ordinary.append(params))
        for _ in range(2):
            client.get_records(ShardIterator="i")
        assert len(ordinary) == 2, "for ever: who did it once may do it again"


@pytest.mark.parametrize("event", ["before-call.kinesis.GetRecords", "before-call"])
def test_a_header_of_one_call_is_not_sent_with_the_next(event: str) -> None:
    traces = iter("abc")
    with Wire(lambda asked: Said(EMPTY)) as wire:
        client = client_of(wire.url)
        client.meta.events.register(event, lambda params, **_: params["headers"].update({"X-Trace": next(traces)}))
        for _ in range(3):
            client.get_records(ShardIterator="i")
    assert [asked.headers["x-trace"] for asked in wire.asked] == ["a", "b", "c"]


def test_these_calls_are_signed_as_all_others_are() -> None:
    client = client_of("http://127.0.0.1:1")
    chosen: list[object] = []
    for operation in ("GetRecords", "ListShards"):
        client.meta.events.register(f"before-sign.kinesis.{operation}", lambda signature_version, **_: chosen.append(signature_version))
    with pytest.raises(sdk.EndpointConnectionError):
        client.get_records(ShardIterator="i")
    with pytest.raises(sdk.EndpointConnectionError):
        client.list_shards(StreamName="s")
    assert chosen == ["v4", "v4"]


def test_an_address_that_follows_from_the_stream_is_kept_for_that_stream_alone() -> None:
    """The service has addresses for each account; which one it is, the ARN says."""
    client = client_of(None)
    urls: list[str] = []

    def refuse(request: Any, **_: object) -> None:
        urls.append(request.url)
        raise sdk.EndpointConnectionError(endpoint_url=request.url, error="not sent")

    client.meta.events.register_first("before-send.kinesis.GetRecords", refuse)
    for arn in ({}, {"StreamARN": ARN}, {"StreamARN": ARN.replace("123456789012", "999999999999")}) * 2:
        with pytest.raises(sdk.EndpointConnectionError):
            client.get_records(ShardIterator="i", **arn)
    assert urls[:3] == urls[3:]
    assert len(set(urls)) == 3
    assert "123456789012" in urls[1]
    assert "999999999999" in urls[2]


def test_errors_are_botocores() -> None:
    said = Said(b'{"__type":"ExpiredIteratorException","message":"Iterator expired."}', 400)
    with Wire(lambda asked: said) as wire:
        client = client_of(wire.url)
        errors = []
        for _ in range(2):
            with pytest.raises(client.exceptions.ExpiredIteratorException) as error:
                client.get_records(ShardIterator="i")
            response = error.value.response
            errors.append((response["Error"], response["ResponseMetadata"]["HTTPStatusCode"], str(error.value), error.value.operation_name))
        assert errors[0] == errors[1]
        said = Said(b'{"__type":"SomethingNewException"}', 400)
        with pytest.raises(sdk.ClientError, match="SomethingNewException"):
            client.get_records(ShardIterator="i")


def test_what_failed_is_tried_again_by_botocore_and_signed_anew() -> None:
    answers = [Said(EMPTY), Said(b"", 503), Said(b"", 500), Said(EMPTY)]
    with Wire(lambda asked: answers[len(wire.asked) - 1]) as wire:
        client = client_of(wire.url, attempts=3)
        client.get_records(ShardIterator="a")
        assert client.get_records(ShardIterator="b")["ResponseMetadata"]["RetryAttempts"] == 2
    first, *tried = wire.asked
    assert [asked.body["ShardIterator"] for asked in tried] == ["b"] * 3
    assert [re.findall("attempt=[0-9]", asked.headers["amz-sdk-request"]) for asked in tried] == [
        ["attempt=1"],
        ["attempt=2"],
        ["attempt=3"],
    ]
    assert len({asked.headers["amz-sdk-invocation-id"] for asked in tried}) == 1
    assert first.headers["amz-sdk-invocation-id"] != tried[0].headers["amz-sdk-invocation-id"]


def test_credentials_are_looked_up_for_each_call() -> None:
    with Wire(lambda asked: Said(EMPTY)) as wire:
        client = client_of(wire.url)
        client.get_records(ShardIterator="i")
        client._request_signer._credentials = Credentials("key-2", "other")
        client.get_records(ShardIterator="i")
    assert ["key-1" in asked.headers["authorization"] for asked in wire.asked] == [True, False]
    assert "key-2" in wire.asked[1].headers["authorization"]


def test_a_body_that_ends_too_early_is_an_error_of_the_connection_and_tried_again() -> None:
    whole = b'{"Records":[],"NextShardIterator":"' + b"n" * 100_000 + b'","MillisBehindLatest":3}'
    answers = [Said(whole), Said(whole[:50_000], length=len(whole)), Said(whole)]
    with Wire(lambda asked: answers[min(2, len(wire.asked) - 1)]) as wire:
        client = client_of(wire.url, attempts=2)
        for _ in range(2):
            assert client.get_records(ShardIterator="i")["NextShardIterator"] == "n" * 100_000
        assert len(wire.asked) == 3
        answers[2] = answers[1]
        with pytest.raises(sdk.ConnectionClosedError):
            client.get_records(ShardIterator="i")


@pytest.mark.parametrize("said_first", [b"", EMPTY[:10]], ids=["nothing", "a part of the body"])
def test_an_answer_that_stops_coming_is_a_timeout(said_first: bytes) -> None:
    stuck = threading.Event()

    def hang(asked: Asked) -> Said:
        if not said_first:
            stuck.wait(10)
        return Said(said_first, length=1000, before_close=stuck)

    with Wire(hang) as wire:
        client = client_of(wire.url, timeout=0.1)
        with pytest.raises(sdk.ReadTimeoutError):
            client.get_records(ShardIterator="i")
        stuck.set()


def test_answers_of_many_threads_are_not_mixed_up() -> None:
    def echo(asked: Asked) -> Said:
        return Said(json.dumps({"Records": [], "NextShardIterator": asked.body["ShardIterator"], "MillisBehindLatest": 0}).encode())

    with Wire(echo) as wire, ThreadPoolExecutor(8) as pool:
        client = client_of(wire.url)
        names = [f"iterator-{number}" for number in range(64)]
        found = pool.map(lambda name: client.get_records(ShardIterator=name)["NextShardIterator"], names)
        assert list(found) == names


def test_connections_are_used_again() -> None:
    ports: set[object] = set()
    with Wire(lambda asked: Said(EMPTY)) as wire:
        client = client_of(wire.url)
        handler = wire._server.RequestHandlerClass
        setup = handler.setup
        handler.setup = lambda self: (ports.add(self.client_address), setup(self))[1]  # type: ignore[method-assign, func-returns-value]
        for _ in range(5):
            client.get_records(ShardIterator="i")
    assert len(ports) == 1


def test_who_answers_in_place_of_the_service_is_heard_and_nothing_is_sent() -> None:
    class Body:
        def stream(self) -> Iterator[bytes]:
            yield b'{"Records":[],"MillisBehindLatest":5}'

    with Wire(lambda asked: Said(EMPTY)) as wire:
        client = client_of(wire.url)
        client.meta.events.register("before-send", lambda request, **_: AWSResponse(request.url, 200, {}, Body()))
        assert [client.get_records(ShardIterator="i")["MillisBehindLatest"] for _ in range(2)] == [5, 5]
    assert wire.asked == []


def test_the_other_calls_are_sent_as_they_always_are() -> None:
    read: list[bool] = []
    with Wire(lambda asked: Said(b'{"ShardIterator":"i"}')) as wire:
        client = client_of(wire.url)
        send = client._endpoint.http_session.send
        client._endpoint.http_session.send = lambda request: (read.append(request.stream_output), send(request))[1]
        client.get_shard_iterator(ShardId="s", StreamName="orders", ShardIteratorType="LATEST")
        client.get_records(ShardIterator="i")
    assert read == [False, True]


def test_another_botocore_is_left_as_it_is() -> None:
    class Other:
        def get_records(self) -> None: ...

    other = Other()
    before = other.get_records
    assert not make_lean(other)
    assert other.get_records == before
