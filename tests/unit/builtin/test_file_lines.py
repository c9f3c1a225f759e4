"""One record as one line: any bytes come back, a cut line is never a record, and what people write by hand is understood."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamkit.builtin.file.lines import TORN, Line, decode, encode, is_torn
from streamkit.model import Headers
from streamkit.plugin import NewRecord

NOW = 1_738_314_000.123456

values = st.one_of(st.none(), st.binary(max_size=40), st.text(max_size=20).map(str.encode))
headers = st.lists(st.tuples(st.text(st.characters(exclude_categories=()), max_size=10), values), max_size=5).map(Headers)
records = st.builds(NewRecord, values, values, headers)


def read(line: bytes) -> Line:
    found = decode(line)
    assert found is not None
    return found


def is_record(line: bytes) -> bool:
    try:
        return decode(line) is not None
    except ValueError:
        return False


@settings(deadline=None)
@given(records)
def test_a_record_comes_back_as_it_was_from_one_line(record: NewRecord) -> None:
    line = encode(record, NOW)
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    line.decode()  # a text file, whatever is in it
    found = read(line)
    assert (found.value, found.key, found.headers) == (record.value, record.key, record.headers)
    assert found.time == datetime.fromtimestamp(NOW, UTC)


@settings(deadline=None)
@given(records, st.data())
def test_a_line_that_was_cut_off_is_no_record_and_a_marked_one_is_none_either(record: NewRecord, data: st.DataObject) -> None:
    line = encode(record, NOW)
    cut = line[: data.draw(st.integers(1, len(line) - 2))]
    for tail in (cut, cut + TORN, cut + TORN[:3] + TORN):
        assert not is_record(tail)
    assert is_torn(cut + TORN + b"\n")
    assert not is_torn(line)
    assert read(line[:-1]) == read(line), "only the line end is missing"


def test_the_format_is_one_that_people_can_read() -> None:
    line = encode(NewRecord(b"caf\xc3\xa9", b"\xff", Headers([("a", b"1"), ("a", None), ("b", b"\xfe")])), NOW)
    assert json.loads(line) == {
        "streamkit": 1,
        "key": {"base64": "/w=="},
        "value": "café",
        "headers": [["a", "1"], ["a", None], ["b", {"base64": "/g=="}]],
        "time": "2025-01-31T09:00:00.123456+00:00",
    }
    assert "café".encode() in line


@pytest.mark.parametrize(
    "line", [b'{"id": 1, "item": "tea"}', b"  {}  \r\n", b'{"value": "x", "key": 3}', b'\xef\xbb\xbf{"id": "\xc3\xa9"}\n']
)
def test_any_json_object_is_a_record_whose_value_is_the_line(line: bytes) -> None:
    assert read(line) == Line(line.removeprefix(b"\xef\xbb\xbf").strip())


@pytest.mark.parametrize("line", [b"\n", b"", b" \t\r\n"])
def test_a_blank_line_is_nothing(line: bytes) -> None:
    assert decode(line) is None


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (b"tea", "Expecting value"),
        (b"[1]", "not a JSON object"),
        (b"12", "not a JSON object"),
        (b'{"id": 1} {"id": 2}', "Extra data"),
        (b'{"id": "\xff"}', "can't decode byte"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"streamkit": 3}', "version 3; this is version 1"),
        (b'{"streamkit": "1"}', "version '1'"),
        (b'{"streamkit": 1, "value": 5}', "its value is neither text, null nor"),
        (b'{"streamkit": 1, "key": {"base64": "%"}}', "Only base64 data"),
        (b'{"streamkit": 1, "key": {"base64": "/w==", "more": 1}}', "its key is neither"),
        (b'{"streamkit": 1, "headers": {"a": "b"}}', "not a list of"),
        (b'{"streamkit": 1, "headers": [["a"]]}', "not a list of"),
        (b'{"streamkit": 1, "headers": [["a", 1]]}', "its header 'a' is neither"),
        (b'{"streamkit": 1, "time": "2025-01-31T09:00:00"}', "not an ISO time with a zone"),
        (b'{"streamkit": 1, "time": 5}', "not an ISO time with a zone"),
    ],
)
def test_anything_else_is_an_error_that_says_why(line: bytes, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        decode(line)


def test_parts_may_be_missing_and_unknown_ones_are_passed_over() -> None:
    assert read(b'{"streamkit": 2, "colour": "red"}') == Line(None)
