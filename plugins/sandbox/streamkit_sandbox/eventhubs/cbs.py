"""`$cbs`: tokens that clients put, and what a connection may do by them.

Without users every token is good, and none is needed. With users a token is a shared access signature by one of their keys, or
one of the bearer tokens that were named, until the time that it says. Source: "Authorize access to Event Hubs resources using shared
access signatures".
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, unquote_plus

from streamkit_sandbox.eventhubs.addresses import Address, parse
from streamkit_sandbox.eventhubs.amqp_types import Int, Value
from streamkit_sandbox.eventhubs.messages import Request
from streamkit_sandbox.eventhubs.refused import Refused

__all__ = ["UNAUTHORIZED", "Access", "Claims", "put_token", "sign"]

UNAUTHORIZED = "amqp:unauthorized-access"
_SAS, _JWT = "servicebus.windows.net:sastoken", "jwt"
_NO_END = 2**53
_SECONDS = re.compile("[0-9]{1,12}")


def sign(resource: str, user: str, key: str, expires: int) -> str:
    """A shared access signature for `resource`, which is quoted already; `expires` in seconds since 1970."""
    signature = base64.b64encode(hmac.new(key.encode(), f"{resource}\n{expires}".encode(), hashlib.sha256).digest()).decode()
    quoted = signature.replace("+", "%2B").replace("/", "%2F").replace("=", "%3D")
    return f"SharedAccessSignature sr={resource}&sig={quoted}&se={expires}&skn={user}"


@dataclass(frozen=True, slots=True)
class Access:
    """Who may come in. `users`: names of shared access keys and the keys; `bearer_tokens`: tokens of type jwt."""

    users: Mapping[str, str]
    bearer_tokens: Collection[str] = ()

    def end_of(self, token: str, kind: str, hub: str, now: float) -> float:
        """When a token for `hub` ends, in seconds since 1970. Raises Refused for one that is not good."""
        if kind == _JWT:
            if token not in self.bearer_tokens:
                raise Refused(UNAUTHORIZED, "InvalidToken: The token is not one that this namespace trusts.")
            if (end := _said_end(token)) <= now:
                raise Refused(UNAUTHORIZED, f"ExpiredToken: The token is expired. Expiration time: '{end:.0f}'.")
            return end
        if kind != _SAS or not token.startswith("SharedAccessSignature "):
            raise Refused(UNAUTHORIZED, "MalformedToken: The token is no shared access signature.")
        raw = dict(part.partition("=")[::2] for part in token.removeprefix("SharedAccessSignature ").split("&"))
        parts = dict(parse_qsl(token.removeprefix("SharedAccessSignature ")))
        key = self.users.get(parts.get("skn", ""))
        expiry = parts.get("se", "")
        if key is None or not _SECONDS.fullmatch(expiry) or "sr" not in raw:
            raise Refused(UNAUTHORIZED, "InvalidSignature: The token names no known key, no resource or no expiry.")
        expected = base64.b64encode(hmac.new(key.encode(), f"{raw['sr']}\n{expiry}".encode(), hashlib.sha256).digest())
        if not hmac.compare_digest(expected, unquote_plus(raw.get("sig", "")).replace(" ", "+").encode()):
            raise Refused(UNAUTHORIZED, "InvalidSignature: The token has an invalid signature.")
        if float(expiry) <= now:
            raise Refused(UNAUTHORIZED, f"ExpiredToken: The token is expired. Expiration time: '{expiry}'.")
        covered = parse(parts["sr"])
        if covered is not None and covered.hub and covered.hub.lower() != hub.lower():
            raise Refused(UNAUTHORIZED, f"InvalidAudience: The token is for '{covered.hub}', not for '{hub}'.")
        return float(expiry)


def _said_end(token: str) -> float:
    """`exp` of a JSON web token, whose signature nobody looks at; one that says no such thing has no end."""
    part = token.split(".")[1:2] or [""]
    try:
        claims = json.loads(base64.urlsafe_b64decode(part[0] + "=" * (-len(part[0]) % 4)))
        return float(claims["exp"])
    except (binascii.Error, ValueError, TypeError, KeyError):
        return _NO_END


@dataclass(slots=True)
class Claims:
    """What one connection was allowed, by its tokens. `access` None: anything."""

    access: Access | None
    clock_seconds: Callable[[], float]
    on_put: Callable[[], None] = lambda: None
    """Told of each token that was taken."""
    _ends: dict[str, float] = field(default_factory=dict)

    def put(self, token: Value, kind: Value, audience: Value) -> None:
        """Takes a token. Raises Refused."""
        if self.access is None:
            return
        address = parse(audience) if isinstance(audience, str) else None
        if address is None or not isinstance(token, str) or not isinstance(kind, str):
            raise Refused(UNAUTHORIZED, "MalformedToken: A token, its type and the name of what it is for are needed.")
        self._ends[address.hub.lower()] = self.access.end_of(token, kind, address.hub, self.clock_seconds())
        self.on_put()

    def seconds_left(self) -> float | None:
        """Until the next token ends; None if none does."""
        now = self.clock_seconds()
        left = [end - now for end in self._ends.values() if now < end < _NO_END]
        return min(left, default=None)

    def allows(self, hub: str) -> bool:
        """Whether a good token for `hub`, or for the whole namespace, is there now."""
        now = self.clock_seconds()
        return self.access is None or any(self._ends.get(name, 0.0) > now for name in (hub.lower(), ""))

    def require(self, address: Address, claim: str, *, also: Value = None) -> None:
        """Raises Refused if there is no good token for the hub; `also` is one that came with a request."""
        if self.allows(address.hub):
            return
        if self.access is not None and isinstance(also, str) and also:
            kind = _SAS if also.startswith("SharedAccessSignature ") else _JWT
            self.access.end_of(also, kind, address.hub, self.clock_seconds())
            return
        raise Refused(
            UNAUTHORIZED, f"Unauthorized access. '{claim}' claim(s) are required to perform this operation. Resource: '{address.hub}'."
        )


def put_token(request: Request, claims: Claims) -> dict[Value, Value]:
    """Application properties of the answer to a put-token: 202, or 401 with the reason."""
    asked = request.application
    if asked.get("operation") != "put-token":
        return {"status-code": Int(400), "status-description": f"The operation {asked.get('operation')!r} is not supported."[:200]}
    try:
        claims.put(request.body, asked.get("type"), asked.get("name"))
    except Refused as refused:
        return {"status-code": Int(401), "status-description": refused.description, "error-condition": refused.condition}
    return {"status-code": Int(202), "status-description": "Accepted"}
