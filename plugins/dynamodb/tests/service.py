"""What tests of this plugin share: a table in memory that carries out the statements that the plugin writes, with faults on request.

It is the service's answers that are made up here, never ours: conditions are evaluated on items as DynamoDB does it.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Sequence
from typing import Any

from botocore.exceptions import ClientError, ReadTimeoutError

__all__ = ["Service", "client_error", "lost"]

_UPDATE = re.compile(r'UPDATE "([^"]+)" (.*) WHERE (.*)$')


def client_error(code: str, operation: str = "Scan", text: str = "", status: int = 400) -> ClientError:
    response = {"Error": {"Code": code, "Message": text}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(response, operation)  # type: ignore[arg-type]


def lost() -> ReadTimeoutError:
    return ReadTimeoutError(endpoint_url="http://dynamodb")


class Service:
    """One table, with the methods of a client. `before` and `after` a call run what a test has put there; they may raise."""

    def __init__(self) -> None:
        self.items: dict[str, dict[str, Any]] = {}
        self.table: dict[str, Any] | None = {
            "TableStatus": "ACTIVE",
            "TableId": "one",
            "KeySchema": [{"AttributeName": "leaseKey", "KeyType": "HASH"}],
            "AttributeDefinitions": [{"AttributeName": "leaseKey", "AttributeType": "S"}],
        }
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.before: list[Callable[[str], None]] = []
        self.after: list[Callable[[str], None]] = []
        self.each: Callable[[int], dict[str, str] | None] = lambda index: None
        """An error for the statement of that index of a batch, instead of carrying it out."""
        self.page = 1000

    def _call(self, name: str, request: dict[str, Any], work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        self.calls.append((name, request))
        if self.before:
            self.before.pop(0)(name)
        if self.table is None and name not in ("CreateTable", "close"):
            raise client_error("ResourceNotFoundException", name)
        answer = work()
        if self.after:
            self.after.pop(0)(name)
        return answer

    def count(self, name: str) -> int:
        return sum(1 for called, _ in self.calls if called == name)

    def close(self) -> None:
        self.calls.append(("close", {}))

    def describe_table(self, **request: Any) -> dict[str, Any]:
        return self._call("DescribeTable", request, lambda: {"Table": self.table})

    def create_table(self, **request: Any) -> dict[str, Any]:
        def make() -> dict[str, Any]:
            if self.table is not None:
                raise client_error("ResourceInUseException", "CreateTable")
            self.table = {"TableStatus": "CREATING", "TableId": "new", **request}
            return {"TableDescription": self.table}

        return self._call("CreateTable", request, make)

    def get_item(self, **request: Any) -> dict[str, Any]:
        def get() -> dict[str, Any]:
            item = self.items.get(request["Key"]["leaseKey"]["S"])
            found = {} if item is None else {"Item": copy.deepcopy(item)}
            return {"ConsumedCapacity": {"CapacityUnits": 1.0}, **found}

        return self._call("GetItem", request, get)

    def scan(self, **request: Any) -> dict[str, Any]:
        def page() -> dict[str, Any]:
            keys = sorted(self.items)
            last = request.get("ExclusiveStartKey", {"leaseKey": {"S": ""}})["leaseKey"]["S"]
            keys = [key for key in keys if key > last]
            more = {"LastEvaluatedKey": {"leaseKey": {"S": keys[self.page - 1]}}} if len(keys) > self.page else {}
            found = [copy.deepcopy(self.items[key]) for key in keys[: self.page]]
            return {"Items": found, "Count": len(found), "ScannedCount": len(found), "ConsumedCapacity": {"CapacityUnits": 1.0}, **more}

        return self._call("Scan", request, page)

    def batch_execute_statement(self, **request: Any) -> dict[str, Any]:
        def run() -> dict[str, Any]:
            return {"Responses": [self._statement(index, one) for index, one in enumerate(request["Statements"])]}

        return self._call("BatchExecuteStatement", request, run)

    def _statement(self, index: int, request: dict[str, Any]) -> dict[str, Any]:
        error = self.each(index)
        if error is not None:
            return {"Error": error}
        text, values = request["Statement"], list(request["Parameters"])
        if text.startswith("INSERT"):
            return self._insert(re.findall(r"'(\w+)': \?", text), values)
        if text.startswith("DELETE"):
            return self._delete(text.split(" WHERE ", 1)[1], values)
        return self._update(text, values)

    def _insert(self, names: Sequence[str], values: Sequence[Any]) -> dict[str, Any]:
        item = dict(zip(names, values, strict=True))
        if item["leaseKey"]["S"] in self.items:
            return {"Error": {"Code": "DuplicateItem", "Message": "Duplicate primary key exists in table"}}
        self.items[item["leaseKey"]["S"]] = copy.deepcopy(item)
        return {}

    def _delete(self, where: str, values: list[Any]) -> dict[str, Any]:
        item = self.items.get(values[0]["S"])
        if item is not None and not _holds(where, values, item):
            return {"Error": {"Code": "ConditionalCheckFailed"}}
        self.items.pop(values[0]["S"], None)
        return {}

    def _update(self, text: str, values: list[Any]) -> dict[str, Any]:
        match = _UPDATE.match(text)
        assert match, text
        changes, where = match[2], match[3]
        sets, removes = re.findall(r'SET "(\w+)" = \?', changes), re.findall(r'REMOVE "(\w+)"', changes)
        rest = values[len(sets) :]
        item = self.items.get(rest[0]["S"])
        if item is None or not _holds(where, rest, item):
            seen = {} if item is None else {"Item": copy.deepcopy(item)}
            return {"Error": {"Code": "ConditionalCheckFailed", "Message": "The conditional request failed", **seen}}
        item |= copy.deepcopy(dict(zip(sets, values, strict=False)))
        for name in removes:
            item.pop(name, None)
        return {}


def _holds(where: str, values: Sequence[Any], item: dict[str, Any]) -> bool:
    left = list(values)
    truth = []
    for part in where.split(" AND "):
        tests = part.strip("()").split(" OR ") if part.startswith("(") else [part]
        outcomes = [_test(test, left, item) for test in tests]  # each takes its value
        truth.append(any(outcomes))
    assert not left, where
    return all(truth)


def _test(test: str, left: list[Any], item: dict[str, Any]) -> bool:
    match = re.search(r'"(\w+)"', test)
    assert match, test
    value = item.get(match[1])
    if test.endswith("IS MISSING"):
        return value is None
    wanted = left.pop(0)
    if "<=" in test:
        return value is not None and int(value["N"]) <= int(wanted["N"])
    if test.startswith("begins_with"):
        return value is not None and str(value["S"]).startswith(wanted["S"])
    return bool(value == wanted)
