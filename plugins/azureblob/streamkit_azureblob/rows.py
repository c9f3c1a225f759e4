"""Rows of the store: blobs to `fencing.Row` and back. Pure.

A blob is a row. Its metadata are what Azure's SDKs keep (`positions.py`, for event hubs alone) and two texts of ours, which those
neither read nor keep. Where ours are missing, or say another place than theirs, another program has gone on, and theirs count. The
body is empty, but for a checkpoint that does not fit, or that holds what no other program may wipe: parked keys.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from streamkit.errors import StoreUnavailableError
from streamkit.model import Checkpoint, Partition
from streamkit.plugin import fencing
from streamkit_azureblob.container import Blob, Content
from streamkit_azureblob.names import safe
from streamkit_azureblob.positions import place_of, told_by

__all__ = ["CHECKPOINT_TEXT", "ROW", "Stored", "body_key", "content_of", "grant_text", "nothing", "stored_of"]

ROW, CHECKPOINT_TEXT = "streamkitrow", "streamkitcheckpoint"
MAX_METADATA = 6000
"""Characters of our texts: the service allows 8 KiB of names and values, and headers have limits of their own on the way."""
_VERSION = 1


@dataclass(frozen=True, slots=True)
class Stored:
    """A row, and the blob that it was read from or written to."""

    name: str
    etag: str | None
    """None: there is no blob of this name; what the row says is known from elsewhere, or nothing is."""
    partition: Partition
    """As far as its name goes."""
    row: fencing.Row
    grant: str = ""
    """`<epoch>/<owner>/<chance>`: whose writes are taken. The last part tells claims of two processes with one name apart."""
    request: str = ""
    body: bytes = b""
    modified: float = 0.0
    is_foreign: bool = False
    """Another program has written it last."""
    is_odd: bool = False
    """Something in it could not be used."""

    @property
    def exists(self) -> bool:
        """Under this name or another one."""
        return self.etag is not None or self.row.partition is not None


def grant_text(epoch: int, owner: str, chance: str) -> str:
    return f"{epoch}/{owner}/{chance}"


def nothing(name: str, partition: Partition) -> Stored:
    """Before there is a row."""
    return Stored(name, None, Partition(partition.stream, partition.id), fencing.Row())


def body_key(blob: Blob) -> str:
    """What its body is known by, if it says something there that was not read; the same for the same body. Else nothing."""
    if blob.body is not None or not blob.size:
        return ""
    if ROW not in blob.metadata:
        return blob.etag
    try:
        return str(_head(blob).get("digest", ""))
    except (ValueError, TypeError, KeyError, AttributeError):  # `stored_of` says what is wrong with it
        return ""


def stored_of(blob: Blob, partition_id: str | None, stream_of: Callable[[str], str] | None) -> Stored:
    """`partition_id` and `stream_of`, which is given the stream as the row says it, or nothing: of an event hub's partition, whose name
    is in the blob's. None: the row alone says what it is of.

    Raises StoreUnavailableError for a row that cannot be read, and names it: without it, it would look free or missing.
    """
    try:
        if ROW in blob.metadata:
            return _stored(blob, partition_id, stream_of)
        if partition_id is None or stream_of is None:
            raise ValueError("it is no row of streamkit")
        return _foreign(blob, Partition(stream_of(""), partition_id))
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        fix = "restore the blob; or, to begin anew, delete it"
        raise StoreUnavailableError(f"Blob Storage: {blob.name!r} cannot be read: {error!r}", fix=fix) from error


def _stored(blob: Blob, partition_id: str | None, stream_of: Callable[[str], str] | None) -> Stored:
    head = _head(blob)
    tail = _tail(blob, head)
    said = tail["partition"]
    stream = said.get("stream", "")
    own_id = said.get("id", "")
    is_same = partition_id is None or safe(own_id) == partition_id
    bare = Partition(stream_of(stream) if stream_of else stream, own_id if is_same else str(partition_id))
    partition = Partition(
        bare.stream,
        bare.id,
        incarnation=said.get("incarnation", ""),
        parents=tuple(said.get("parents", ())),
        children=tuple(said.get("children", ())),
        key_range=(said["key_range"][0], said["key_range"][1]) if "key_range" in said else None,
        extra=said.get("extra", {}),
    )
    checkpoint = _checkpoint(tail.get("checkpoint"), bare)
    if stream_of and place_of(checkpoint.at if checkpoint else None) != {name: blob.metadata.get(name) for name in place_of(None)}:
        return _foreign(blob, bare)
    row = fencing.Row(
        epoch=int(head.get("epoch", 0)),
        owner=head.get("owner", ""),
        checkpoint=checkpoint,
        version=int(head.get("version", 0)),
        handover_to=head.get("handover", ""),
        fruitless_claims=int(head.get("fruitless", 0)),
        partition=partition,
    )
    grant, request = head.get("grant", ""), tail.get("request", "")
    return Stored(blob.name, blob.etag, bare, row, grant, request, blob.body or b"", blob.modified)


def _checkpoint(body: object, bare: Partition) -> Checkpoint | None:
    if body is None:
        return None
    found = Checkpoint.from_text(json.dumps(body))
    return replace(found, partition=replace(found.partition, stream=bare.stream, id=bare.id))


def _foreign(blob: Blob, bare: Partition) -> Stored:
    """A row that is nobody's here, and is where the other program stands. What it could not know of, and did not wipe, stays."""
    told = told_by(blob.metadata)
    ours = _left_over(blob, bare)
    checkpoint = None
    if told.at is not None:
        checkpoint = Checkpoint(
            bare,
            told.at,
            partitions_at_start=ours.partitions_at_start if ours else None,
            group_started=ours.group_started if ours else None,
            parked=ours.parked if ours else {},
        )
    # Its sign of life is that the blob changes.
    version = int(hashlib.sha256(blob.etag.encode()).hexdigest()[:12], 16)
    row = fencing.Row(checkpoint=checkpoint, version=version, partition=bare)
    body = blob.body or b""
    return Stored(blob.name, blob.etag, bare, row, body=body, modified=blob.modified, is_foreign=True, is_odd=told.ignored)


def _left_over(blob: Blob, bare: Partition) -> Checkpoint | None:
    """Our last text, if it stood in the body. A body that is not ours is none."""
    try:
        return _checkpoint(json.loads(blob.body).get("checkpoint"), bare) if blob.body else None
    except (ValueError, AttributeError):
        return None


def _head(blob: Blob) -> dict[str, Any]:
    """Who owns it: always among the metadata."""
    head: dict[str, Any] = json.loads(blob.metadata[ROW])
    if not 1 <= head["v"] <= _VERSION + 1:
        raise ValueError(f"made by another streamkit: version {head['v']}")
    return head


def _tail(blob: Blob, head: dict[str, Any]) -> dict[str, Any]:
    """The rest."""
    if "digest" not in head:
        text = blob.metadata.get(CHECKPOINT_TEXT)
        return {**head, **({"checkpoint": json.loads(text)} if text else {})}
    if blob.body is None or _digest(blob.body) != head["digest"]:
        raise ValueError("its body is not the one that was written with it")
    tail: dict[str, Any] = json.loads(blob.body)
    return tail


def content_of(before: Stored, row: fencing.Row, grant: str, request: str, *, shared: bool) -> tuple[Content, Stored]:
    """What `row` is written as, in place of `before`; and as it is then, but for the ETag."""
    known = row.partition or before.partition
    said = {
        "stream": before.partition.stream,
        "id": before.partition.id,
        "incarnation": known.incarnation,
        "parents": list(known.parents),
        "children": list(known.children),
        "key_range": known.key_range and list(known.key_range),
        "extra": dict(known.extra),
    }
    head = {"epoch": row.epoch, "version": row.version, "owner": row.owner, "grant": grant, "handover": row.handover_to}
    head = {"v": _VERSION, **_without_empty(head), **_without_empty({"fruitless": row.fruitless_claims})}
    tail = {"partition": _without_empty(said), **_without_empty({"request": request})}
    checkpoint = json.loads(row.checkpoint.to_text()) if row.checkpoint is not None else None
    metadata = place_of(row.checkpoint.at if row.checkpoint else None) if shared else {}
    texts = {ROW: _ascii({**head, **tail}), **({CHECKPOINT_TEXT: _ascii(checkpoint)} if checkpoint is not None else {})}
    body = b""
    if sum(map(len, texts.values())) > MAX_METADATA or (row.checkpoint is not None and row.checkpoint.parked):
        body = _ascii({**tail, "checkpoint": checkpoint}).encode()
        texts = {ROW: _ascii({**head, "digest": _digest(body)})}
    after = Stored(before.name, before.etag, before.partition, row, grant, request, body)
    return Content(metadata | texts, body if before.etag is None or body != before.body else None), after


def _without_empty(body: Mapping[str, object]) -> dict[str, object]:
    return {name: value for name, value in body.items() if value}


def _ascii(body: object) -> str:
    """JSON that goes through a header as it is: ASCII alone, and no spaces, which signatures and proxies may fold."""
    return json.dumps(body, sort_keys=True, separators=(",", ":")).replace(" ", "\\u0020")


def _digest(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()[:16]
