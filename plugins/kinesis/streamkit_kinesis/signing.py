"""Signs requests as botocore does (AWS Signature Version 4), without working out anew what is the same for each of them.

botocore's signer is its base: credentials, region and name of the service come from there, and every request of another form than
ours is left to it. What is kept: the address in its canonical form, and the key, which is good for a day. `lean.py` chooses it.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
"""

from __future__ import annotations

import hmac
from datetime import UTC, datetime
from functools import lru_cache
from hashlib import sha256
from typing import Any

from botocore.auth import AUTH_TYPE_MAPS, SIGNED_HEADERS_BLACKLIST, SigV4Auth

__all__ = ["SIGNATURE", "LeanSigner"]

SIGNATURE = "streamkit-v4"
"""Its name among botocore's signers."""

_UNSIGNED = frozenset(SIGNED_HEADERS_BLACKLIST)
"""Headers that may change on their way."""
_NOT_OURS = {"date", "x-amz-content-sha256"}
"""Headers that mean that something else is wanted of a signer."""
_WRITTEN = {"authorization", "x-amz-date", "x-amz-security-token"}


class LeanSigner(SigV4Auth):  # type: ignore[misc]  # botocore has no types
    """Of one request; made by botocore."""

    _addresses: dict[str, tuple[str, str]] = {}  # noqa: RUF012 (one for all: there are few)

    def add_auth(self, request: Any) -> None:
        """Write the headers that sign the request, those of an earlier attempt taken away."""
        headers, context, body = request.headers, request.context, request.data
        items = [(name.lower(), value) for name, value in headers.items() if name.lower() not in _WRITTEN]
        if (
            self.credentials is None
            or not isinstance(body, bytes)
            or not body
            or request.params
            or "checksum" in context
            or not context.get("payload_signing_enabled", True)
            or len(dict(items)) != len(items)
            or any(name in _NOT_OURS or not isinstance(value, str) for name, value in items)
        ):
            super().add_auth(request)
            return
        for name in _WRITTEN:
            del headers[name]
        stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
        context["timestamp"] = headers["X-Amz-Date"] = stamp
        signed = {name: " ".join(value.split()) for name, value in items if name not in _UNSIGNED}
        signed["x-amz-date"] = stamp
        if self.credentials.token:
            signed["x-amz-security-token"] = headers["X-Amz-Security-Token"] = self.credentials.token
        target, host = self._address(request)
        signed.setdefault("host", host)
        headers["Authorization"] = self._authorization(stamp, target, signed, sha256(body).hexdigest())

    def _authorization(self, stamp: str, target: str, signed: dict[str, str], payload: str) -> str:
        names = sorted(signed)
        listed = ";".join(names)
        lines = "\n".join([f"{name}:{signed[name]}" for name in names])
        canonical = sha256(f"{target}\n{lines}\n\n{listed}\n{payload}".encode()).hexdigest()
        day = stamp[:8]
        scope = f"{day}/{self._region_name}/{self._service_name}/aws4_request"
        key = _key(self.credentials.secret_key, day, self._region_name, self._service_name)
        signature = hmac.digest(key, f"AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{canonical}".encode(), "sha256").hex()
        return f"AWS4-HMAC-SHA256 Credential={self.credentials.access_key}/{scope}, SignedHeaders={listed}, Signature={signature}"

    def _address(self, request: Any) -> tuple[str, str]:
        """Method, path and query as they are signed, and the host."""
        kept = f"{request.method} {request.url}"
        if (known := self._addresses.get(kept)) is None:
            method, path, query = self.canonical_request(request).split("\n")[:3]
            known = self._addresses[kept] = (f"{method}\n{path}\n{query}", self.headers_to_sign(request)["host"])
        return known


@lru_cache(maxsize=16)
def _key(secret: str, day: str, region: str, service: str) -> bytes:
    """What requests of that day are signed with."""
    key = f"AWS4{secret}".encode()
    for part in (day, region, service, "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    return key


AUTH_TYPE_MAPS.setdefault(SIGNATURE, LeanSigner)
