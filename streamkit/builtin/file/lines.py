"""One record as one line of JSON, and back. Pure.

    {"streamkit": 1, "key": "ada", "value": "tea", "headers": [["source", "shop"]], "time": "2025-01-31T09:00:00.000000+00:00"}

Bytes are text where they are UTF-8, else `{"base64": "…"}`; null is None. A JSON object without `streamkit` is a record too: the
line itself is the value, so any file of JSON lines is a stream. A line never holds a line end inside, and no proper beginning
of a line is a JSON object: that is how one that was cut off is recognised.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, field
from datetime import UTC, datetime

from streamkit.model import Headers
from streamkit.plugin import NewRecord

__all__ = ["TORN", "Line", "decode", "encode", "is_torn"]

_VERSION = 1
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"  # some editors begin a file with it
TORN = b"#torn"
"""Put behind what a crash left of a line, before the next line is begun. No JSON ends so."""


@dataclass(frozen=True, slots=True)
class Line:
    """What a line holds."""

    value: bytes | None
    key: bytes | None = None
    headers: Headers = field(default_factory=Headers)
    time: datetime | None = None
    """When it was written; None where the line does not say."""


def encode(record: NewRecord, now: float) -> bytes:
    """The line of a record, its end included. `now`: unix seconds."""
    body = {
        "streamkit": _VERSION,
        "key": _written(record.key),
        "value": _written(record.value),
        "headers": [[name, _written(value)] for name, value in record.headers],
        "time": datetime.fromtimestamp(now, UTC).isoformat(timespec="microseconds"),
    }
    # What UTF-8 cannot hold (half a surrogate pair in a header's name) becomes an escape that JSON reads back.
    return json.dumps(body, ensure_ascii=False).encode("utf-8", "backslashreplace") + b"\n"


def decode(line: bytes) -> Line | None:
    """What the line says; None if it is blank. Raises ValueError, which says what is wrong, for everything that is no record."""
    text = line.removeprefix(_BYTE_ORDER_MARK).strip()
    if not text:
        return None
    try:
        body = json.loads(text.decode())
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    if not isinstance(body, dict):
        raise ValueError("it is not a JSON object")
    if "streamkit" not in body:
        return Line(text)
    version = body["streamkit"]
    if not isinstance(version, int) or not 1 <= version <= _VERSION + 1:
        raise ValueError(f"it is of version {version!r}; this is version {_VERSION}")
    headers = body.get("headers", [])
    if not isinstance(headers, list) or not all(isinstance(h, list) and len(h) == 2 and isinstance(h[0], str) for h in headers):
        raise ValueError("its headers are not a list of [name, value]")
    return Line(
        _read(body.get("value"), "value"),
        _read(body.get("key"), "key"),
        Headers((name, _read(value, f"header {name!r}")) for name, value in headers),
        _time(body["time"]) if "time" in body else None,
    )


def is_torn(line: bytes) -> bool:
    """Whether it is what a crash left of a line."""
    return line.rstrip().endswith(TORN)


def _written(value: bytes | None) -> str | dict[str, str] | None:
    if value is None:
        return None
    try:
        return value.decode()
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(value).decode()}


def _read(value: object, what: str) -> bytes | None:
    if value is None:
        return None
    if isinstance(value, str):
        return value.encode()
    if isinstance(value, dict) and set(value) == {"base64"} and isinstance(value["base64"], str):
        return base64.b64decode(value["base64"], validate=True)
    raise ValueError(f'its {what} is neither text, null nor {{"base64": …}}')


def _time(value: object) -> datetime:
    time = datetime.fromisoformat(value) if isinstance(value, str) else None
    if time is None or time.tzinfo is None:
        raise ValueError(f"its time, {value!r}, is not an ISO time with a zone")
    return time.astimezone(UTC)
