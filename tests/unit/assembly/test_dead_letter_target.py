"""Settings about dead letters that do not fit together are found before anything starts."""

from __future__ import annotations

from typing import Any

import pytest

from streamkit.app import App
from streamkit.assembly.dead_letter import check_park, target_of
from streamkit.assembly.loader import load
from streamkit.assembly.registry import Registry
from streamkit.assembly.sources import UNSET
from streamkit.builtin.file import FileSettings
from streamkit.builtin.file.producer import FileProducer
from streamkit.engine.runtime import ThreadRuntime
from streamkit.errors import ConfigurationError, UnsupportedError
from streamkit.model import Capabilities
from streamkit.plugin import Plugin
from streamkit.processing import record_processor
from streamkit.settings import Settings
from tests.unit.assembly.fakes import environment, registry


@record_processor
def handle(record: object, context: object) -> None: ...


def settings(**values: Any) -> Settings:
    return Settings(**{"broker": "kafka", "stream": "orders", "group": "billing", "on_failure": "dead_letter", **values})


def assembled(monkeypatch: pytest.MonkeyPatch, **values: Any) -> Any:
    for name in ("broker", "stream", "group", "store", "on_failure", "dead_letter"):
        monkeypatch.delenv(f"STREAMKIT_{name.upper()}", raising=False)
    runtime = ThreadRuntime()
    try:
        made = App(handle, broker="memory", stream="orders", group="billing", **values).assemble(runtime)
        made.stop()
    finally:
        runtime.stop()
    return made.parts.dead_letter


@pytest.mark.parametrize("policy", ["dead_letter", "park"])
def test_a_policy_that_puts_records_aside_needs_a_target(policy: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        target_of(settings(on_failure=policy))
    assert str(caught.value) == f"STREAMKIT_DEAD_LETTER: nothing sets it, and STREAMKIT_ON_FAILURE={policy} needs it"
    assert caught.value.fix == "set it to <plugin>:<name>, such as file:dlq.jsonl"


@pytest.mark.parametrize(
    ("stream", "target"),
    [
        ("orders", "kafka:orders"),
        ("payments,orders", "kafka:orders"),
        ("^orders.*", "kafka:orders.dlq"),
        ("data/orders.jsonl", "kafka:./data/orders.jsonl"),
        ("data/../orders.jsonl", "kafka:orders.jsonl"),
    ],
)
def test_an_app_does_not_feed_itself(stream: str, target: str) -> None:
    with pytest.raises(ConfigurationError, match="is a stream that this app reads itself") as caught:
        target_of(settings(stream=stream, dead_letter=target), "environment")
    assert (caught.value.setting, caught.value.origin) == ("STREAMKIT_DEAD_LETTER", "environment")


@pytest.mark.parametrize(
    ("stream", "target"), [("orders", "kafka:orders.dlq"), ("orders", "memory:orders"), ("^orders$", "kafka:orders.dlq"), ("a", "file:a")]
)
def test_another_stream_or_the_same_name_elsewhere_is_a_target(stream: str, target: str) -> None:
    assert target_of(settings(stream=stream, dead_letter=target)) == target.partition(":")[0]


@pytest.mark.parametrize("policy", ["halt", "stop", "skip"])
def test_other_policies_write_no_letters(policy: str) -> None:
    assert target_of(settings(on_failure=policy, dead_letter="file:dlq.jsonl")) is None
    assert target_of(settings(on_failure=policy)) is None


@pytest.mark.parametrize(
    ("target", "why"),
    [("kafka:^orders.*", "is a pattern"), ("file:a[1].jsonl", "looks like a piece of a regular expression"), ("file:", "is not a dead")],
)
def test_a_target_is_one_stream_that_can_be_read_again(target: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        settings(dead_letter=target)


def test_the_producer_of_the_target_is_made_and_none_where_nothing_is_put_aside(monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(assembled(monkeypatch, on_failure="dead_letter", dead_letter="file:dlq.jsonl"), FileProducer)
    assert assembled(monkeypatch, dead_letter="file:dlq.jsonl") is None
    assert assembled(monkeypatch) is None


def test_a_plugin_that_cannot_write_is_no_target(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UnsupportedError, match="plugin 'sqlite' is no producer") as caught:
        assembled(monkeypatch, on_failure="dead_letter", dead_letter="sqlite:x")
    assert "file" in caught.value.fix


def test_a_target_without_a_use_is_a_warning() -> None:
    def warnings(**given: Any) -> tuple[str, ...]:
        return load(registry(), environment=environment(DEAD_LETTER="box:failed"), **given).warnings

    assert warnings() == ("STREAMKIT_DEAD_LETTER (from environment): not used, because STREAMKIT_ON_FAILURE is halt",)
    assert warnings(overrides={"on_failure": "dead_letter"}) == ()
    assert warnings(overrides={"dead_letter": UNSET}) == ()


# -- park ----------------------------------------------------------------------------------------------------------------


def test_park_needs_a_store_that_can_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UnsupportedError) as caught:
        check_park(settings(on_failure="park", dead_letter="file:dlq.jsonl"), Capabilities(), Registry())
    assert str(caught.value) == "STREAMKIT_STORE: kafka cannot keep which keys are parked, and STREAMKIT_ON_FAILURE=park needs that"
    assert "sqlite" in caught.value.fix


def test_park_needs_a_target_that_a_replay_can_read() -> None:
    with pytest.raises(UnsupportedError) as caught:
        check_park(settings(on_failure="park", dead_letter="pipe:x"), Capabilities(parked_bytes=1), _with_pipe())
    assert caught.value.setting == "STREAMKIT_DEAD_LETTER"
    assert "can be written and not read" in str(caught.value)


@pytest.mark.parametrize(("target", "scope"), [("file:dlq.jsonl", "cluster"), ("memory:dlq", "host"), ("memory:dlq", "cluster")])
def test_park_needs_a_target_that_all_workers_share(target: str, scope: Any) -> None:
    with pytest.raises(UnsupportedError, match="the letters of a key would be scattered") as caught:
        check_park(settings(on_failure="park", dead_letter=target), Capabilities(parked_bytes=1, scope=scope), Registry())
    assert caught.value.setting == "STREAMKIT_DEAD_LETTER"


def test_park_starts_where_all_that_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(assembled(monkeypatch, on_failure="park", dead_letter="file:dlq.jsonl"), FileProducer)
    check_park(settings(on_failure="park", dead_letter="kafka:dlq"), Capabilities(parked_bytes=1, scope="cluster"), Registry())
    check_park(settings(on_failure="dead_letter", dead_letter="file:dlq.jsonl"), Capabilities(), Registry())


def _with_pipe() -> Registry:
    class Known(Registry):
        def select(self, name: str) -> Plugin:
            return Plugin(name="pipe", settings=FileSettings, producer="pipes:Pipe") if name == "pipe" else super().select(name)

    return Known()
