"""One container: the few requests that the store makes, each conditional, whole, and bounded in time and number.

Retries are the SDK's own, a few and short ones. So a write may have been carried out although its answer says otherwise: who writes
reads back, and knows its own.
"""

from __future__ import annotations

import asyncio
import builtins
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from azure.core import MatchConditions
from azure.core.exceptions import ResourceExistsError, ResourceModifiedError, ResourceNotFoundError
from azure.storage.blob import BlobProperties
from azure.storage.blob.aio import BlobClient, BlobPrefix, ContainerClient

from streamkit.errors import StoreThrottledError, StoreUnavailableError
from streamkit_azureblob.clock import Clock
from streamkit_azureblob.errors import code_of, container_gone, translated

__all__ = ["Blob", "Container", "Content"]

AT_ONCE = 16
"""Writes of owners, and beside them as many requests of any other kind: a slow listing holds up no renewal."""
MAX_READS = 3
_BY_THE_SERVICE = "x-ms-request-id"


@dataclass(frozen=True, slots=True)
class Blob:
    """As it was read or listed."""

    name: str
    etag: str
    """Without quotes."""
    metadata: Mapping[str, str]
    size: int
    modified: float
    """Unix seconds, by the service's clock."""
    body: bytes | None = None
    """None: it was not read."""


@dataclass(frozen=True, slots=True)
class Content:
    """What to write."""

    metadata: dict[str, str]
    body: bytes | None = None
    """None: what is there stays."""


class Container:
    """Raises what `errors.translation` says, and never answers «nothing» for an answer that was cut."""

    def __init__(self, client: ContainerClient, name: str, seconds: float, clock: Clock) -> None:
        """`seconds`: for one call with all its retries."""
        self.name = name
        self._client = client
        self._seconds = seconds
        self._clock = clock
        self._owners, self._others = asyncio.Semaphore(AT_ONCE), asyncio.Semaphore(AT_ONCE)
        self._blobs: dict[str, BlobClient] = {}

    # -- the container itself ---------------------------------------------------------------------------------------

    async def open(self, *, create: bool) -> None:
        """Raises ConfigurationError if it is not there, and is not to be made."""
        async with self._asked("list blobs"):
            try:  # its properties are not for signatures of a container, whatever their rights
                await anext(self._client.list_blobs(results_per_page=1, raw_response_hook=self._saw).by_page(), None)
                return
            except ResourceNotFoundError as error:
                if code_of(error) not in ("ContainerNotFound", "ResourceNotFound"):
                    raise
                if not create:
                    raise container_gone(self.name) from error
        async with self._asked("create the container"):
            try:
                await self._client.create_container(raw_response_hook=self._saw)
            except ResourceExistsError as error:
                if code_of(error) != "ContainerAlreadyExists":
                    raise

    # -- reading ----------------------------------------------------------------------------------------------------

    async def list(self, prefix: str) -> builtins.list[Blob]:
        """Every blob below it, by name."""
        async with self._asked("list blobs"):
            pages = self._client.list_blobs(prefix, include=["metadata"], raw_response_hook=self._saw).by_page()
            return [_blob(one) async for page in pages async for one in page]

    async def folders(self, prefix: str) -> builtins.list[str]:
        """The names that are followed by a slash there."""
        async with self._asked("list blobs"):
            found = self._client.walk_blobs(prefix, delimiter="/", raw_response_hook=self._saw)
            return [str(one.name).removeprefix(prefix).rstrip("/") async for one in found if isinstance(one, BlobPrefix)]

    async def read(self, name: str, *, owner: bool = False) -> Blob | None:
        """With its body. None: the service has said that there is no such blob."""
        for _ in range(MAX_READS):
            async with self._asked("read blobs", owner=owner):
                try:
                    blob = _blob(await self._blob(name).get_blob_properties(raw_response_hook=self._saw))
                    return blob if not blob.size else await self._with_body(blob)
                except ResourceNotFoundError as error:
                    if code_of(error) != "BlobNotFound":
                        raise
                    return None
                except ResourceModifiedError:
                    continue  # written between the two requests
        raise StoreThrottledError(f"Blob Storage, read blobs in {self.name!r}: others write {name!r} all the time")

    async def _with_body(self, blob: Blob) -> Blob:
        where = self._blob(blob.name)
        stream = await where.download_blob(etag=_quoted(blob.etag), match_condition=MatchConditions.IfNotModified)
        body = await stream.readall()
        if len(body) != blob.size:
            raise StoreUnavailableError(f"Blob Storage, {self.name!r}: {blob.name!r} has {blob.size} bytes, and {len(body)} came")
        return Blob(blob.name, blob.etag, blob.metadata, blob.size, blob.modified, body)

    # -- writing ----------------------------------------------------------------------------------------------------

    async def write(self, name: str, content: Content, etag: str | None, *, owner: bool = False) -> str | None:
        """Its new ETag; None: it is not as `etag` says (None: there is none of that name), or not any more."""
        async with self._asked("write blobs", owner=owner):
            try:
                return _unquoted(str((await self._put(name, content, etag))["etag"]))
            except (ResourceModifiedError, ResourceExistsError) as error:
                if code_of(error) not in ("ConditionNotMet", "BlobAlreadyExists"):
                    raise
                return None
            except ResourceNotFoundError as error:
                if code_of(error) != "BlobNotFound":
                    raise
                return None

    async def _put(self, name: str, content: Content, etag: str | None) -> dict[str, Any]:
        blob = self._blob(name)
        if etag is None:
            return await blob.upload_blob(content.body or b"", metadata=content.metadata, raw_response_hook=self._saw)
        unchanged: dict[str, Any] = {"etag": _quoted(etag), "match_condition": MatchConditions.IfNotModified}
        unchanged["raw_response_hook"] = self._saw
        if content.body is None:
            return await blob.set_blob_metadata(content.metadata, **unchanged)
        return await blob.upload_blob(content.body, metadata=content.metadata, overwrite=True, **unchanged)

    async def delete(self, name: str, etag: str) -> None:
        """If it is as `etag` says; else it stays."""
        async with self._asked("delete blobs"):
            try:
                unchanged: dict[str, Any] = {"etag": _quoted(etag), "match_condition": MatchConditions.IfNotModified}
                await self._blob(name).delete_blob("include", raw_response_hook=self._saw, **unchanged)
            except (ResourceModifiedError, ResourceNotFoundError) as error:
                if code_of(error) not in ("ConditionNotMet", "BlobNotFound"):
                    raise
        self._blobs.pop(name, None)

    # -- inside -----------------------------------------------------------------------------------------------------

    def _blob(self, name: str) -> BlobClient:
        """Kept: to make one takes as long as half a request."""
        blob = self._blobs.get(name)
        if blob is None:
            blob = self._blobs[name] = self._client.get_blob_client(name)
        return blob

    @asynccontextmanager
    async def _asked(self, doing: str, *, owner: bool = False) -> AsyncIterator[None]:
        with translated(doing, self.name):
            async with self._owners if owner else self._others, asyncio.timeout(self._seconds):
                yield

    def _saw(self, response: Any) -> None:
        """Whatever is answered with success, and not by the service, would look like a blob or a list without contents."""
        answer = response.http_response
        if _BY_THE_SERVICE in answer.headers:
            self._clock.saw(answer.headers.get("Date"))
        elif answer.status_code < 300:
            raise StoreUnavailableError(f"Blob Storage, {self.name!r}: something between us and the service has answered")


def _blob(found: BlobProperties) -> Blob:
    modified = found.last_modified.timestamp() if found.last_modified is not None else 0.0
    metadata = {str(name).lower(): str(value or "") for name, value in (found.metadata or {}).items()}
    return Blob(str(found.name), _unquoted(str(found.etag)), metadata, int(found.size or 0), modified)


def _unquoted(etag: str) -> str:
    return etag.strip('"')


def _quoted(etag: str) -> str:
    return f'"{etag}"'
