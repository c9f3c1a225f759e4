"""Answers over real HTTP from canned bytes: whatever is missing of one, it is never taken for absence."""

from __future__ import annotations

import binascii
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from streamkit_dynamodb.client import DynamoDBClient, make_client
from streamkit_dynamodb.reading import Reading
from streamkit_dynamodb.settings import DynamoDBSettings
from streamkit_dynamodb.statements import Retries

from streamkit.errors import ConfigurationError, StoreUnavailableError

ITEM = {"leaseKey": {"S": "k"}, "n": {"N": "5"}, "b": {"B": "AAE="}, "s": {"SS": ["a", "b"]}}
CAPACITY = {"ConsumedCapacity": {"TableName": "t", "CapacityUnits": 0.5}}
SCAN: dict[str, Any] = {"Items": [ITEM], "Count": 1, "ScannedCount": 1, **CAPACITY}


class Canned:
    """Answers every request with `body`; `says` is what it claims that its length is, `sum_of` of what it sends the checksum."""

    def __init__(self) -> None:
        self.status, self.body, self.says = 200, b"{}", -1
        self.sum_of: bytes | None = None
        canned = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                self.send_response(canned.status)
                self.send_header("Content-Type", "application/x-amz-json-1.0")
                self.send_header("Content-Length", str(len(canned.body) if canned.says < 0 else canned.says))
                if canned.sum_of is not None:
                    self.send_header("x-amz-crc32", str(binascii.crc32(canned.sum_of)))
                self.end_headers()
                self.wfile.write(canned.body)
                self.close_connection = True

            def log_message(self, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,))
        self.thread.start()

    def answer(self, answer: object) -> None:
        self.body = json.dumps(answer).encode()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


@pytest.fixture
def canned() -> Iterator[Canned]:
    canned = Canned()
    yield canned
    canned.close()


@pytest.fixture
def client(canned: Canned, monkeypatch: pytest.MonkeyPatch) -> Iterator[DynamoDBClient]:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "x")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x")
    client = make_client(DynamoDBSettings(endpoint_url=f"http://127.0.0.1:{canned.server.server_port}", region="us-east-1"), "t")
    yield client
    client.close()


@pytest.fixture
def reading(client: DynamoDBClient) -> Reading:
    return Reading(client, "t", Retries(lambda: 0.0, 0.0))


def test_items_are_as_the_service_writes_them(canned: Canned, reading: Reading) -> None:
    canned.answer(SCAN)
    assert reading.all() == [ITEM]
    canned.answer({"Item": ITEM, **CAPACITY})
    assert reading.find("k") == ITEM
    canned.answer(CAPACITY)
    assert reading.find("k") is None


@pytest.mark.parametrize("cut", [1, 2, 20, 10_000])
@pytest.mark.parametrize("is_said", [True, False])
def test_a_body_that_was_cut_is_no_empty_answer(canned: Canned, reading: Reading, cut: int, is_said: bool) -> None:
    """Whether the length says so or was cut with it, and without a checksum."""
    canned.answer(SCAN)
    whole = canned.body
    canned.body = whole[:-cut]
    canned.says = len(whole) if is_said else len(canned.body)
    for ask in (reading.all, lambda: reading.find("k")):
        with pytest.raises(StoreUnavailableError):
            ask()


def test_a_body_that_is_shorter_than_it_says_is_an_error_even_if_it_is_json(canned: Canned, client: DynamoDBClient) -> None:
    canned.answer({"Table": {"TableStatus": "ACTIVE", "KeySchema": []}})
    canned.says = len(canned.body) + 1
    with pytest.raises(Exception, match="cut"):
        client.describe_table(TableName="t")


def test_a_damaged_body_is_an_error(canned: Canned, reading: Reading) -> None:
    canned.answer(SCAN)
    canned.sum_of = canned.body
    assert reading.all() == [ITEM]
    canned.body = canned.body.replace(b'"k"', b'"j"')
    with pytest.raises(StoreUnavailableError, match="checksum"):
        reading.all()


@pytest.mark.parametrize("name", ["Items", "Count", "ScannedCount", "ConsumedCapacity"])
def test_a_listing_without_one_of_its_parts_is_an_error(canned: Canned, reading: Reading, name: str) -> None:
    canned.answer({key: value for key, value in SCAN.items() if key != name})
    with pytest.raises(StoreUnavailableError, match=name):
        reading.all()


def test_a_listing_with_fewer_items_than_it_counts_is_an_error(canned: Canned, reading: Reading) -> None:
    canned.answer(SCAN | {"Count": 2, "ScannedCount": 2})
    with pytest.raises(StoreUnavailableError, match="1 of 2"):
        reading.all()


def test_no_item_without_what_proves_it_is_an_error(canned: Canned, reading: Reading) -> None:
    for answer in ({}, {"message": "?"}):
        canned.answer(answer)
        with pytest.raises(StoreUnavailableError, match="ConsumedCapacity"):
            reading.find("k")


def test_errors_of_the_service_are_read_as_boto3_reads_them(canned: Canned, reading: Reading) -> None:
    canned.status = 400
    canned.answer({"__type": "com.amazonaws.dynamodb.v20120810#ResourceNotFoundException", "message": "no table"})
    with pytest.raises(ConfigurationError, match="is gone"):
        reading.all()


def test_other_answers_are_boto3s_own(canned: Canned, client: DynamoDBClient) -> None:
    canned.answer({"Table": {"TableStatus": "ACTIVE", "CreationDateTime": 1700000000.0}})
    assert client.describe_table(TableName="t")["Table"]["CreationDateTime"].timestamp() == 1700000000.0
