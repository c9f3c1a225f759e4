"""A managed identity on loopback, as App Service offers one: azure-identity's default chain finds it by two variables, and asks over HTTP.

It hands out tokens that look like those of Microsoft Entra, signed by nobody: the emulator of Event Hubs is given `tokens` to tell good
ones from others, Azurite looks at issuer, audience and times only. It has a thread of its own. Source of the protocol: "How to use managed
identities for App Service and Azure Functions", REST endpoint reference.
"""

from __future__ import annotations

import base64
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from secrets import token_hex
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

import pytest

__all__ = ["ManagedIdentity", "logged_in", "no_identity"]

_ISSUER = "https://sts.windows.net/00000000-0000-0000-0000-000000000000/"
_MARGIN_SECONDS = 300
"""Azurite takes no token that is valid from this second on."""
_OF_AZURE = ("AZURE_", "IDENTITY_", "MSI_", "IMDS_")


class ManagedIdentity:
    """Started by `with`. `life_seconds`: how long a token is good from when it is asked for; below 0 it has expired by then."""

    def __init__(self, *, life_seconds: int = 3600) -> None:
        self.life_seconds = life_seconds
        self.is_refusing = False
        """Answers 401, as for an identity that this machine has not."""
        self.refusals = 0
        """How often it has."""
        self.tokens: set[str] = set()
        """All that were handed out. Grows while it runs; who clears it has taken them back."""
        self.resources: list[str] = []
        """What each was for, in order."""
        self._secret = token_hex(8)
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), name="identity", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def variables(self) -> dict[str, str]:
        """What a process finds in its environment."""
        return {"IDENTITY_ENDPOINT": f"http://127.0.0.1:{self._server.server_address[1]}/msi/token", "IDENTITY_HEADER": self._secret}

    def answer(self, resource: str, secret: str | None) -> tuple[int, dict[str, Any]]:
        """Status and body."""
        if secret != self._secret or self.is_refusing:
            self.refusals += 1
            return 401, {"statusCode": 401, "message": "No identity of this name is assigned to this app."}
        now = int(time.time())
        expires = now + self.life_seconds
        times = {"nbf": now - _MARGIN_SECONDS, "iat": now - _MARGIN_SECONDS, "exp": expires}
        claims = {"aud": resource.rstrip("/"), "iss": _ISSUER, "oid": "streamkit", "jti": token_hex(8), **times}
        token = ".".join((_encoded({"alg": "RS256", "typ": "JWT"}), _encoded(claims), "nobody"))
        self.tokens.add(token)
        self.resources.append(resource)
        # With `refresh_in` azure-identity asks again from then on, and does not wait for half a minute between two questions.
        found = {"access_token": token, "expires_on": str(expires), "resource": resource, "token_type": "Bearer", "refresh_in": 1}
        return 200, found


def _encoded(part: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode()


def _handler(identity: ManagedIdentity) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked = parse_qs(urlsplit(self.path).query)
            status, body = identity.answer(asked["resource"][0], self.headers["X-IDENTITY-HEADER"])
            whole = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(whole)))
            self.end_headers()
            self.wfile.write(whole)

        def log_message(self, format: str, *args: object) -> None:
            """Says nothing."""

    return Handler


def no_identity(patched: pytest.MonkeyPatch, folder: str) -> None:
    """This process has none any more: no variables, no commands that somebody has logged in with, no files of theirs."""
    import os

    for name in [name for name in os.environ if name.startswith(_OF_AZURE)]:
        patched.delenv(name)
    patched.setenv("PATH", folder)
    patched.setenv("HOME", folder)


def logged_in(patched: pytest.MonkeyPatch, identity: ManagedIdentity, folder: str) -> None:
    """This process has this one alone."""
    no_identity(patched, folder)
    for name, value in identity.variables.items():
        patched.setenv(name, value)


def claims_of(token: str) -> dict[str, Any]:
    """What a token says. Raises ValueError if it is none."""
    part = token.split(".")[1]
    found: dict[str, Any] = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    return found
