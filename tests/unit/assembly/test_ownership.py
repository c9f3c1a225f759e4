"""Who deals out the partitions: the default, and what does not fit together."""

from __future__ import annotations

from typing import Literal

import pytest

from streamkit.assembly.ownership import check_leases, ownership_of
from streamkit.assembly.registry import Registry
from streamkit.builtin.file.store import FileStore
from streamkit.builtin.memory import MemoryBroker, MemorySettings, MemoryStore
from streamkit.builtin.sqlite import SqliteStore
from streamkit.engine.adapter_context import EngineContext
from streamkit.errors import ConfigurationError, UnsupportedError
from streamkit.settings import Settings, variable_of
from streamkit.testing import VirtualRuntime

REGISTRY = Registry()


def choose(shape: Literal["kafka", "kinesis"] = "kinesis", **more: object) -> str:
    settings = Settings.model_validate({"broker": "memory", "stream": "s", "group": "g", **more})
    runtime = VirtualRuntime()
    try:
        context = EngineContext(runtime, "memory", broker="memory", group="g", worker="w")
        return ownership_of(settings, REGISTRY, MemoryBroker(MemorySettings(shape=shape), context))
    finally:
        runtime.stop()


def test_the_brokers_group_comes_first_then_leases_then_whatever_is_there() -> None:
    assert choose("kafka") == "group"
    assert choose("kafka", store="sqlite") == "group"
    assert choose() == choose(store="sqlite") == "lease"
    assert choose(store="file") == "static"


def test_named_partitions_mean_static() -> None:
    assert choose("kafka", partitions="0") == choose(partitions="0") == "static"


def test_what_is_asked_for_counts() -> None:
    assert choose("kafka", ownership="lease", store="sqlite") == "lease"
    assert choose(ownership="static") == "static"


def test_a_group_where_there_is_none_is_refused() -> None:
    with pytest.raises(UnsupportedError, match="has no groups") as caught:
        choose(ownership="group")
    assert caught.value.setting == "STREAMKIT_OWNERSHIP"


@pytest.mark.parametrize("ownership", ["group", "lease"])
def test_named_partitions_that_somebody_else_deals_out_are_refused(ownership: str) -> None:
    with pytest.raises(ConfigurationError, match="partitions are named") as caught:
        choose("kafka", ownership=ownership, partitions="0")
    assert caught.value.setting == "STREAMKIT_PARTITIONS"


@pytest.mark.parametrize(("field", "value"), [("max_partitions", 4), ("lease_duration", "20s"), ("handover_timeout", "5s")])
def test_a_setting_of_leases_without_leases_is_refused(field: str, value: object) -> None:
    assert choose(**{field: value}) == "lease"
    for shape, more in (("kafka", {}), ("kinesis", {"ownership": "static"})):
        with pytest.raises(ConfigurationError, match="which has no leases") as caught:
            choose(shape, **{field: value}, **more)  # type: ignore[arg-type]
        assert caught.value.setting == variable_of(field)


def test_a_store_without_leases_is_refused_and_those_that_have_them_are_named() -> None:
    settings = Settings(broker="memory", stream=("s",), group="g", store="file", ownership="lease")
    with pytest.raises(UnsupportedError, match="file does not") as caught:
        check_leases(object.__new__(FileStore), settings, REGISTRY)
    assert caught.value.setting == "STREAMKIT_STORE"
    assert caught.value.fix == "set it to one of azureblob, dynamodb, memory, sqlite"
    for store in (MemoryStore, SqliteStore):
        check_leases(object.__new__(store), settings, REGISTRY)
