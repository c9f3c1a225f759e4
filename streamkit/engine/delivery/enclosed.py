"""A dead letter as one value, for targets that keep neither headers nor records without a value. Pure.

    {"streamkit-letter": 1, "key": "ada", "value": "tea", "headers": [["source", "shop"], ["streamkit-version", "1"], …]}

Bytes are text where they are UTF-8, else `{"base64": "…"}`; null is None. `DeadLetters` encloses what it gives to such a target,
`original_of` opens it again; what the headers mean is in `letter.py`.
"""

from __future__ import annotations

import base64
import hashlib
import json

from streamkit.model import Headers, PlainRecord, Record
from streamkit.plugin import NewRecord

__all__ = ["MAX_KEY_CHARACTERS", "enclosed", "opened"]

_VERSION = 1
_NAME = "streamkit-letter"
_BEGIN = b'{"streamkit-letter":'
MAX_KEY_CHARACTERS = 256


def enclosed(letter: NewRecord) -> NewRecord:
    """The same letter as a value. Its key stays, if it is text that any broker takes; another key is made of one that is not.

    Records of one key get one key, so they keep their order; the key itself is inside.
    """
    body = {
        _NAME: _VERSION,
        "key": _written(letter.key),
        "value": _written(letter.value),
        "headers": [[name, _written(value)] for name, value in letter.headers],
    }
    # What UTF-8 cannot hold (half a surrogate pair in a header's name) becomes an escape that JSON reads back.
    text = json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "backslashreplace")
    return NewRecord(text, key=_outer(letter.key), partition=letter.partition)


def opened(record: Record) -> Record | None:
    """The record as it was before it was enclosed, at the same place; None if it is no enclosed letter of ours."""
    value = record.value
    if value is None or not value.startswith(_BEGIN):
        return None
    try:
        body = json.loads(value.decode())
        if not 1 <= body[_NAME] <= _VERSION + 1:
            return None
        headers = Headers((str(name), _read(header)) for name, header in body["headers"])
        key, inside = _read(body["key"]), _read(body["value"])
    except (ValueError, TypeError, KeyError, RecursionError):  # somebody else's, that begins like ours
        return None
    return PlainRecord(
        record.partition, record.position, inside, key=key, headers=headers, timestamp=record.timestamp, native=record.native
    )


def _outer(key: bytes | None) -> bytes | None:
    if key is None:
        return None
    try:
        fits = 1 <= len(key.decode()) <= MAX_KEY_CHARACTERS
    except UnicodeDecodeError:
        fits = False
    return key if fits else hashlib.sha256(key).hexdigest().encode()


def _written(value: bytes | None) -> str | dict[str, str] | None:
    if value is None:
        return None
    try:
        return value.decode()
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(value).decode()}


def _read(value: object) -> bytes | None:
    if value is None:
        return None
    if isinstance(value, str):
        return value.encode()
    if isinstance(value, dict) and isinstance(value.get("base64"), str):
        return base64.b64decode(value["base64"], validate=True)
    raise ValueError("neither text, null nor base64")
