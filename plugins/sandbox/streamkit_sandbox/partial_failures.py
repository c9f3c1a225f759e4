"""Answers in which some entries failed: what is taken out of a PutRecords or BatchExecuteStatement, and put back as refused.

A refused entry never reaches the server, as with the real services.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from random import Random
from typing import Any

__all__ = ["merged", "split"]

_LISTS = {"PutRecords": ("Records", "Records"), "BatchExecuteStatement": ("Statements", "Responses")}


def split(operation: str, body: bytes, share: float, chance: Random) -> tuple[bytes | None, list[int]]:
    """What is left of a request (None: nothing) and the indices that are refused; none where there is no list."""
    try:
        asked: dict[str, Any] = json.loads(body)
        entries = asked[_LISTS[operation][0]]
    except (ValueError, KeyError, TypeError):
        return body, []
    if not entries:
        return body, []
    refused = [number for number in range(len(entries)) if chance.random() < share] or [chance.randrange(len(entries))]
    kept = [entry for number, entry in enumerate(entries) if number not in set(refused)]
    return (json.dumps(asked | {_LISTS[operation][0]: kept}).encode() if kept else None), refused


def merged(operation: str, answer: bytes, refused: Sequence[int]) -> bytes:
    """The server's answer to the rest (empty: there was none) with the refused entries at their places."""
    found: dict[str, Any] = json.loads(answer or b"{}")
    name = _LISTS[operation][1]
    entries = list(found.get(name) or [])
    for number in refused:  # rising, so that each one lands at its own index
        entries.insert(number, _entry(operation))
    found[name] = entries
    if operation == "PutRecords":
        found["FailedRecordCount"] = int(found.get("FailedRecordCount") or 0) + len(refused)
    return json.dumps(found).encode()


def _entry(operation: str) -> dict[str, Any]:
    if operation == "PutRecords":
        return {"ErrorCode": "ProvisionedThroughputExceededException", "ErrorMessage": "Rate exceeded (made by the fault proxy)"}
    return {"Error": {"Code": "ProvisionedThroughputExceeded", "Message": "Rate exceeded (made by the fault proxy)"}}
