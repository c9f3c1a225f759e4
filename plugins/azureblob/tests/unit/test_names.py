"""Names of blobs: those that Azure's SDKs share, and ours."""

from __future__ import annotations

import pytest
from streamkit_azureblob.names import Folder, OwnNames, SharedNames

from plugins.azureblob.tests.lossy import hub
from streamkit.errors import ConfigurationError
from streamkit.model import Partition


def test_the_names_of_event_hubs_are_lower_case_and_have_no_port() -> None:
    names = SharedNames("$Default", ["Orders"], None)
    folder = names.folder_of(hub(stream="Orders", incarnation="MyNS.servicebus.windows.net:5671/orders@1790000000"))
    assert folder is not None
    assert folder.prefix == "myns.servicebus.windows.net/orders/$default/"


def test_a_namespace_that_is_set_counts_port_and_all() -> None:
    names = SharedNames("g", ["orders"], "LocalHost:6000")
    assert names.folder_of(hub(incarnation="")) == Folder("localhost:6000", "orders", "g")
    assert names.folder_of(hub()) == Folder("localhost:6000", "orders", "g")


def test_a_partition_that_says_nothing_has_no_folder() -> None:
    assert SharedNames("g", ["orders"], None).folder_of(hub(incarnation="")) is None


def test_a_stream_is_called_as_STREAM_says_it() -> None:
    names = SharedNames("g", ["Orders", "^pay.*"], None)
    assert names.stream_of("orders") == "Orders"
    assert names.stream_of("payments", "Payments") == "Payments", "as our row says it"
    assert names.stream_of("payments", "Refunds") == "payments", "a row that was copied is not believed"
    assert names.is_read("ORDERS")
    assert names.is_read("payments")
    assert not names.is_read("refunds")
    with pytest.raises(ConfigurationError, match="STREAMKIT_STREAM"):
        SharedNames("g", ["^("], None).is_read("x")


def test_the_rows_of_other_brokers_never_look_like_a_namespace() -> None:
    assert not SharedNames("g", ["orders"], None).is_our_namespace("streamkit", None)
    assert OwnNames("kinesis", "g").name_of(Partition("orders", "0")).startswith("streamkit/")


def test_no_two_partitions_of_other_brokers_have_one_name() -> None:
    odd = ["a", "A", "a.", "a..", ".", "..", "a/b", "a%2Fb", "a~b", "", "~", "日本", " ", "x" * 200, "x" * 199 + "y"]
    names = OwnNames("kinesis", "g")
    made = {names.name_of(Partition(stream, name)) for stream in odd for name in odd}
    assert len(made) == len(odd) ** 2
    for name in made:
        assert len(name) <= 1024
        assert name.isascii()
        assert not any(part in ("", ".", "..") or part.endswith(".") for part in name.split("/")), name
