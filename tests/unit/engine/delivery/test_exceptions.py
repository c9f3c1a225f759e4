"""Exceptions that are not failures of the record: what a handler and each hook may raise, and what a user would expect of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from streamkit.errors import ConfigurationError
from streamkit.model import Batch, Record
from streamkit.processing import Context, Processor, processor, record_processor
from streamkit.testing import Harness

FAILURES = [asyncio.CancelledError, MemoryError, RecursionError, BaseExceptionGroup]
"""A failure like another: tried again, then ON_FAILURE."""
EXITS = [SystemExit, KeyboardInterrupt]
"""The process drains, with exit code 1; the record is delivered again after the next start."""
KINDS = ["record", "async record", "batch", "async batch"]


def made(error: type[BaseException]) -> BaseException:
    return error("several", [asyncio.CancelledError()]) if error is BaseExceptionGroup else error()


def handler(kind: str, act: Callable[[bytes | None, Context], None]) -> Callable[..., object]:
    """A handler of that kind, which does this for each record."""

    @record_processor
    def record(record: Record, context: Context) -> None:
        act(record.value, context)

    @record_processor
    async def async_record(record: Record, context: Context) -> None:
        act(record.value, context)

    @processor
    def batch(batch: Batch, context: Context) -> None:
        for record in batch:
            act(record.value, context)

    @processor
    async def async_batch(batch: Batch, context: Context) -> None:
        for record in batch:
            act(record.value, context)

    kinds: dict[str, Callable[..., object]] = {"record": record, "async record": async_record, "batch": batch, "async batch": async_batch}
    return kinds[kind]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("error", FAILURES)
def test_a_failure_like_another(kind: str, error: type[BaseException]) -> None:
    def act(value: bytes | None, context: Context) -> None:
        if value == b"bad":
            raise made(error)

    with Harness(handler(kind, act), on_failure="skip", retry_attempts=2, max_batch=1) as h:
        h.deliver(b"a", b"bad", b"c")
        assert h.put_aside == [(1, "skip")]
        assert len(h.calls) == 4
        assert h.checkpoint == 2
    assert h.exit_code == 0


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("error", EXITS)
@pytest.mark.parametrize("policy", ["halt", "skip"])
def test_an_exit_drains_the_process_whatever_the_policy(kind: str, error: type[BaseException], policy: str) -> None:
    def act(value: bytes | None, context: Context) -> None:
        if value == b"bad":
            raise error

    with Harness(handler(kind, act), on_failure=policy, max_batch=1) as h:
        h.deliver(b"a", b"bad", b"c")
        assert not h.is_running
        assert h.put_aside == []
        assert any(error.__name__ in problem for problem in h.problems)
    assert len(h.calls) == 2
    assert h.exit_code == 1
    assert h.checkpoint == 0


# -- hooks ---------------------------------------------------------------------------------------------------------------

RETRIED = ["initialize", "flush", "partition_ended"]
LAST = ["partition_revoked", "partition_lost", "close"]


def raising(hook: str, error: BaseException, times: int, kind: str) -> type[Processor]:
    """A processor whose hook raises that so often."""
    left = [times]

    def act(*_: object) -> None:
        if left[0] > 0:
            left[0] -= 1
            raise error

    async def act_async(*_: object) -> None:
        act()

    def done(self: Processor, *_: object) -> None:
        return None

    method: object = act_async if kind == "async def" else act
    hooks = {"process": done, "flush": done, hook: lambda self, *args: method(*args)}  # type: ignore[operator]
    if kind == "async def":

        async def bound(self: Processor, *args: object) -> None:
            act()

        hooks[hook] = bound
    return type("Raising", (Processor,), hooks)


@pytest.mark.parametrize("kind", ["def", "async def"])
@pytest.mark.parametrize("hook", RETRIED)
@pytest.mark.parametrize("error", FAILURES)
def test_a_hook_is_called_again(hook: str, error: type[BaseException], kind: str) -> None:
    with Harness(raising(hook, made(error), 2, kind), retry_attempts=5) as h:
        h.deliver(b"a")
        h.end()
        assert h.errors is not None
        assert h.hooks.count(hook) >= 3
    assert h.exit_code == 0


@pytest.mark.parametrize("kind", ["def", "async def"])
@pytest.mark.parametrize("hook", RETRIED)
@pytest.mark.parametrize("error", EXITS)
def test_a_hook_may_end_the_process(hook: str, error: type[BaseException], kind: str) -> None:
    with Harness(raising(hook, made(error), 1, kind), assigned=False) as h:
        h.deliver(b"a")
        if h.is_running:
            h.end()
        assert not h.is_running
        assert h.errors is not None
        assert any(error.__name__ in problem for problem in h.problems if problem.startswith("stopping"))
    assert h.exit_code == 1


@pytest.mark.parametrize("hook", LAST)
@pytest.mark.parametrize("error", [*FAILURES, *EXITS])
def test_a_last_hook_is_reported_and_holds_up_nothing(hook: str, error: type[BaseException]) -> None:
    with Harness(raising(hook, made(error), 1, "def"), partitions=2) as h:
        h.deliver(b"a", partition="0")
        if hook == "partition_lost":
            h.lose("0")
        else:
            h.revoke("0")
        assert h.hooks.count("close") == 1 or error in EXITS
        assert any(problem.startswith(f"{hook} of stream/0") for problem in h.problems)
        assert h.errors is not None
        h.settle()
        assert h.is_running == (error not in EXITS)
    assert h.exit_code == (1 if error in EXITS else 0)


# -- code that refuses its set-up ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["constructor", "initialize"])
def test_a_configuration_error_of_the_code_ends_the_app_at_once(where: str) -> None:
    class Refusing(Processor):
        def __init__(self) -> None:
            if where == "constructor":
                raise ConfigurationError("DATABASE_URL is not set", fix="set it")

        def initialize(self, context: Context) -> None:
            if where == "initialize":
                raise ConfigurationError("DATABASE_URL is not set", fix="set it")

        def process(self, batch: Batch, context: Context) -> None:
            return None

    harness = Harness(Refusing, partitions=2, assigned=False)
    with pytest.raises(ConfigurationError, match="DATABASE_URL is not set"), harness as h:  # exit code 2
        h.deliver(b"a")
    assert harness.time < 1.0
    assert harness.checkpoint is None


def test_a_configuration_error_of_process_is_a_failure_like_another() -> None:
    @record_processor
    def handle(record: Record, context: Context) -> None:
        if context.attempt == 1:
            raise ConfigurationError("not now")

    with Harness(handle) as h:
        h.deliver(b"a")
        assert len(h.errors) == 1
        assert h.checkpoint == 0
