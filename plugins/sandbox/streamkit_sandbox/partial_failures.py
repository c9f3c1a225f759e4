"""Answers in which some entries failed: what is taken out of a PutRecords or BatchExecuteStatement, and put back as refused.

A refused entry never reaches the server, as with the real services.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from random import Random
from typing import Any

__all__ = ["chosen", "merged", "without"]

_LISTS = {"PutRecords": ("Records", "Records"), "BatchExecuteStatement": ("Statements", "Responses")}


def chosen(operation: str, body: bytes, share: float, chance: Random) -> list[int]:
    """The indices of about `share` of the entries of a request, at least one; none where there is no list."""
    try:
        count = len(json.loads(body)[_LISTS[operation][0]])
    except (ValueError, KeyError, TypeError):
        return []
    return [number for number in range(count) if chance.random() < share] or ([chance.randrange(count)] if count else [])


def without(operation: str, body: bytes, refused: Sequence[int]) -> bytes | None:
    """The request without these entries; None if nothing is left."""
    asked: dict[str, Any] = json.loads(body)
    name, left_out = _LISTS[operation][0], set(refused)
    kept = [entry for number, entry in enumerate(asked[name]) if number not in left_out]
    return json.dumps(asked | {name: kept}).encode() if kept else None


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
