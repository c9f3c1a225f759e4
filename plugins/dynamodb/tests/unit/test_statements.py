"""Batches: an answer for each statement, throttled ones tried again for a bounded time, and a cut answer believed by nobody."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from streamkit_dynamodb.statements import Done, Refused, Retries, Statement, Statements, Where

from plugins.dynamodb.tests.service import Service, client_error, lost
from streamkit.errors import (
    AccessDeniedError,
    CheckpointError,
    ConfigurationError,
    StoreThrottledError,
    StoreUnavailableError,
)


class Clock:
    """Moves only while somebody waits."""

    def __init__(self) -> None:
        self.now = 0.0
        self.pauses: list[float] = []

    def wait(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds

    def retries(self, seconds: float = 1.0) -> Retries:
        return Retries(lambda: self.now, seconds, self.wait)


def writes(service: Service, clock: Clock | None = None, *, seconds: float = 1.0) -> Statements:
    return Statements(service, "t", (clock or Clock()).retries(seconds))


def insert(number: int, **more: str) -> Statement:
    return Statement.insert("t", {"leaseKey": {"S": f"k{number:03}"}, **{name: {"S": text} for name, text in more.items()}})


def throttle(indexes: set[int], times: int, code: str = "ProvisionedThroughputExceeded") -> Callable[[int], dict[str, str] | None]:
    """Each of the first so many statements at these places of a batch."""
    left = times

    def each(index: int) -> dict[str, str] | None:
        nonlocal left
        if index not in indexes or left == 0:
            return None
        left -= 1
        return {"Code": code, "Message": ""}

    return each


def test_25_a_call_and_an_answer_for_each() -> None:
    service = Service()
    results = writes(service).run([insert(number) for number in range(60)])
    assert results == [Done()] * 60
    assert [len(request["Statements"]) for _, request in service.calls] == [25, 25, 10]
    assert writes(service).run([]) == []


def test_large_values_are_spread_over_calls() -> None:
    service = Service()
    assert writes(service).run([insert(number, big="x" * 390_000) for number in range(5)]) == [Done()] * 5
    assert [len(request["Statements"]) for _, request in service.calls] == [2, 2, 1]


def test_a_condition_that_fails_fails_alone_and_shows_the_item() -> None:
    service = Service()
    service.items["k001"] = {"leaseKey": {"S": "k001"}, "leaseOwner": {"S": "b"}}
    update = Statement.update("t", {"a": {"S": "1"}}, ["x"], Where.key("k001").equals("leaseOwner", {"S": "a"}))
    absent = Statement.update("t", {"a": {"S": "1"}}, [], Where.key("k002"))
    results = writes(service).run([insert(0), update, absent])
    assert results == [Done(), Refused({"leaseKey": {"S": "k001"}, "leaseOwner": {"S": "b"}}), Refused(None)]
    assert writes(service).run([insert(0)]) == [Refused(None)], "it is there"


def test_what_was_throttled_is_tried_again_alone() -> None:
    service, clock = Service(), Clock()
    service.each = throttle({1, 3}, 3)
    results = writes(service, clock).run([insert(number) for number in range(5)])
    assert results == [Done()] * 5
    assert [len(request["Statements"]) for _, request in service.calls] == [5, 2, 1] or service.count("BatchExecuteStatement") > 1
    assert len(clock.pauses) >= 1


@pytest.mark.parametrize("code", ["ProvisionedThroughputExceeded", "ThrottlingError", "RequestLimitExceeded", "TransactionConflict"])
def test_throttling_ends_in_an_answer_in_bounded_time_and_never_in_a_hot_loop(code: str) -> None:
    service, clock = Service(), Clock()
    service.each = lambda index: {"Code": code, "Message": ""} if index == 0 else None
    results = writes(service, clock, seconds=1.0).run([insert(0), insert(1)])
    assert isinstance(results[0], StoreThrottledError)
    assert results[1] == Done()
    assert clock.now <= 1.0
    assert len(service.calls) == len(clock.pauses) + 1 <= 10


def test_pauses_grow_with_full_jitter() -> None:
    most: list[float] = []
    for _ in range(200):
        clock = Clock()
        again = clock.retries(100.0).begin()
        while again():
            pass
        most = [max(a, b) for a, b in zip(most or clock.pauses, clock.pauses, strict=True)]
        assert min(clock.pauses) >= 0.0
    assert 0.05 < most[0] <= 0.1
    assert 0.1 < most[1] <= 0.2
    assert all(0.4 < longest <= 0.5 for longest in most[4:])


@pytest.mark.parametrize("error", [lost(), client_error("InternalServerError", status=500), client_error("ThrottlingException")])
def test_a_call_that_fails_as_a_whole_is_tried_again(error: Exception) -> None:
    service = Service()

    def fail(name: str) -> None:
        raise error

    service.before = [fail]
    assert writes(service).run([insert(0)]) == [Done()]


def test_behind_a_call_without_an_answer_nothing_is_asked() -> None:
    """A thousand rows are forty calls, and each would cost its time limit."""
    service, clock = Service(), Clock()

    def time_out(name: str) -> None:
        clock.now += 2.0
        raise lost()

    service.before = [time_out] * 50
    results = writes(service, clock).run([insert(number) for number in range(100)])
    assert {type(result) for result in results} == {StoreUnavailableError}
    assert clock.now <= 1.0 + 2.0, "a try may begin while there is time, and then takes one time limit more"


def test_a_missing_table_and_a_missing_right_are_wrong_with_all_of_it() -> None:
    service = Service()
    for code, kind in (("ResourceNotFound", ConfigurationError), ("AccessDenied", AccessDeniedError)):
        error = {"Code": code, "Message": "not authorized to perform: dynamodb:PartiQLInsert on resource"}
        service.each = lambda index, error=error: error  # type: ignore[misc]
        with pytest.raises(kind):
            writes(service).run([insert(0)])


def test_a_row_that_is_too_large_is_its_own_named_answer() -> None:
    service = Service()
    size = {"Code": "ValidationError", "Message": "Item size to update has exceeded the maximum allowed size"}
    service.each = lambda index: size if index == 0 else None
    results = writes(service).run([insert(0), insert(1)])
    assert type(results[0]) is CheckpointError
    assert "400 KB" in str(results[0])
    assert results[1] == Done()


@pytest.mark.parametrize("answer", [{}, {"Responses": []}, {"Responses": [{}]}])
def test_a_cut_answer_is_none(answer: dict[str, Any]) -> None:
    class Cut(Service):
        def batch_execute_statement(self, **request: Any) -> dict[str, Any]:
            return answer

    assert [type(result) for result in writes(Cut()).run([insert(0), insert(1)])] == [StoreUnavailableError] * 2
