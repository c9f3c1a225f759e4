"""Blobs to rows and back: ours whole, another program's as far as it goes, and nothing taken for absent that is not."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from streamkit_azureblob.container import Blob, Content
from streamkit_azureblob.rows import CHECKPOINT_TEXT, ROW, Stored, body_key, content_of, nothing, stored_of

from plugins.azureblob.tests.lossy import after, hub
from streamkit.errors import StoreUnavailableError
from streamkit.model import Checkpoint, ParkedKey, Partition, Position
from streamkit.plugin import fencing

NAME = "myns.servicebus.windows.net/orders/$default/checkpoint/0"
ODD = "  two  spaces\n, ASCII? nö 日本 😀 \x7f "
FULL = replace(
    after(42),
    metadata=ODD,
    record_time=datetime(2026, 1, 2, tzinfo=UTC),
    partitions_at_start=4,
    group_started=datetime(2026, 1, 1, tzinfo=UTC),
    pending=Position(41, token="x:y"),
    pending_state=b"\x00\xff",
    suspect=Position(43),
    suspected=2,
)
PARKED = replace(FULL, parked={b"k\x00": ParkedKey("orders/0/7", ("a", "b"))})


def write(row: fencing.Row, before: Stored | None = None, *, request: str = "") -> tuple[Content, Stored]:
    return content_of(before or nothing(NAME, hub()), row, "7/w/cc", request, shared=True)


def blob(content: Content, **changes: Any) -> Blob:
    body = content.body or b""
    return replace(Blob(NAME, "e1", content.metadata, len(body), 5.0, body or None), **changes)


def read(found: Blob) -> Stored:
    return stored_of(found, "0", lambda said: said or "orders")


def row(checkpoint: Checkpoint | None = None) -> fencing.Row:
    return fencing.Row(7, "w#1", checkpoint, 9, "other", 2, replace(hub(), parents=("p",), children=("c",), key_range=(0, 1 << 127)))


@pytest.mark.parametrize("checkpoint", [None, after(1), FULL, PARKED, replace(FULL, metadata="日" * 4096)])
def test_a_row_comes_back_as_it_was_written(checkpoint: Checkpoint | None) -> None:
    content, meant = write(row(checkpoint), request="replay «x»")
    found = read(blob(content))
    assert repr(found.row) == repr(meant.row)
    assert (found.grant, found.request, found.etag) == ("7/w/cc", "replay «x»", "e1")
    assert not found.is_foreign


@pytest.mark.parametrize("checkpoint", [None, after(1), FULL, PARKED, replace(FULL, metadata="日" * 4096)])
def test_metadata_go_through_a_header_as_they_are_and_fit(checkpoint: Checkpoint | None) -> None:
    content, _ = write(row(checkpoint), request="replay «x»  y")
    for name, value in content.metadata.items():
        assert name.isalnum()
        assert value.isascii()
        assert value.isprintable()
        assert " " not in value, "spaces may be folded on the way"
    assert sum(len(name) + len(value) for name, value in content.metadata.items()) < 8192


def test_the_body_is_empty_unless_something_must_be_there() -> None:
    assert write(row(FULL))[0].body == b""
    assert write(row(PARKED))[0].body


def test_a_body_that_is_the_same_is_not_sent_again() -> None:
    _, before = write(row(PARKED))
    stored = replace(before, etag="e1")
    assert write(replace(row(PARKED), version=10), stored)[0].body is None
    assert write(row(FULL), stored)[0].body == b"", "and one that is not needed any more is taken away"


def test_a_body_is_read_before_it_is_believed() -> None:
    content, _ = write(row(PARKED))
    listed = replace(blob(content), body=None)
    assert body_key(listed) == body_key(replace(listed, etag="e2")) != ""
    with pytest.raises(StoreUnavailableError, match="checkpoint/0"):
        read(listed)
    with pytest.raises(StoreUnavailableError):
        read(blob(content, body=b'{"partition": {}}'))
    assert not body_key(blob(write(row(FULL))[0]))
    assert not body_key(blob(content)), "it was read"


def test_where_the_words_of_others_differ_theirs_count() -> None:
    content, _ = write(row(FULL))
    content.metadata["sequencenumber"] = "50"
    found = read(blob(content))
    assert found.is_foreign
    assert found.row.owner == ""
    assert found.row.checkpoint is not None
    assert found.row.checkpoint.at.position == Position(50)


def test_what_another_program_has_wiped_is_nobodys_and_keeps_what_was_parked() -> None:
    content, _ = write(row(PARKED))
    found = read(blob(Content({"offset": "900", "sequencenumber": "9"}, content.body)))
    assert (found.is_foreign, found.row.owner, found.row.epoch, found.grant) == (True, "", 0, "")
    assert found.row.checkpoint is not None
    assert found.row.checkpoint.at.position == Position(9)
    assert found.row.checkpoint.parked == PARKED.parked
    assert found.row.checkpoint.partitions_at_start == 4
    assert found.row.checkpoint.metadata == "", "it was said of another place"


def test_a_body_of_another_program_is_no_checkpoint() -> None:
    for body in (b"x", b"[]", b"{}", b'{"checkpoint": 1}', b"\xff"):
        found = read(blob(Content({"offset": "900", "sequencenumber": "9"}, body)))
        assert found.row.checkpoint is not None
        assert found.row.checkpoint.parked == {}


def test_a_checkpoint_that_says_no_place_is_odd_and_still_a_row() -> None:
    found = read(blob(Content({"clientidentifier": "x"})))
    assert (found.is_odd, found.exists, found.row.checkpoint) == (True, True, None)


def test_what_another_program_writes_moves_the_version() -> None:
    one = read(blob(Content({"offset": "900", "sequencenumber": "9"})))
    other = read(blob(Content({"offset": "900", "sequencenumber": "9"}), etag="e2"))
    assert one.row.version != other.row.version


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"v":9}', '{"v":1}', '{"v":1,"partition":{},"epoch":"x"}'])
def test_a_row_that_cannot_be_read_is_named_and_never_absent(text: str) -> None:
    with pytest.raises(StoreUnavailableError, match="checkpoint/0"):
        read(Blob(NAME, "e", {ROW: text, "offset": "-1", "sequencenumber": "-1"}, 0, 0.0))
    with pytest.raises(StoreUnavailableError):
        stored_of(Blob("streamkit/kinesis/g/s/0", "e", {}, 0, 0.0), None, None)


def test_a_neighbouring_version_is_read() -> None:
    content, _ = write(row(FULL))
    newer = {**json.loads(content.metadata[ROW]), "v": 2, "unknown": 1}
    assert read(blob(Content({**content.metadata, ROW: json.dumps(newer)}))).row.epoch == 7


def test_a_stream_is_called_as_the_reader_says_it() -> None:
    content, _ = write(row(FULL))
    found = stored_of(blob(content), "0", lambda said: said.upper())
    assert found.partition == Partition("ORDERS", "0")
    assert found.row.checkpoint is not None
    assert found.row.checkpoint.partition.stream == "ORDERS"
    assert CHECKPOINT_TEXT in content.metadata
