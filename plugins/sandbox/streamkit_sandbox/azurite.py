"""Azurite, Microsoft's own imitation of Azure Storage: its blobs, for checkpoints and leases.

What it is not: the other services of a storage account, which are not started. It checks the signature of each request, and takes
any version of the API.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import http.client
from email.utils import formatdate
from pathlib import Path
from secrets import token_hex
from typing import ClassVar

from streamkit_sandbox.errors import SandboxError
from streamkit_sandbox.local_server import LocalServer, Program
from streamkit_sandbox.loopback import LOOPBACK
from streamkit_sandbox.node import ON_LOOPBACK, node, npm_package

__all__ = ["CONTAINER", "AzuriteServer"]

PACKAGE = "azurite@3.35.0"
ACCOUNT = "devstoreaccount1"
# Not a secret: the one that Microsoft publishes for Azurite, and that its clients know.
ACCOUNT_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
CONTAINER = "checkpoints"
_API_VERSION = "2021-12-02"
_ANSWER_SECONDS = 10.0


class AzuriteServer(LocalServer):
    """Azurite 3.35.0, blobs only. `kill()` or `pause()` makes it fail, `restart()` or `resume()` ends that; see LocalServer.

    In memory unless `persist` or `folder` is given; Azurite writes its index to disk every few seconds and at `stop()`, so what
    came after the last writing dies with `kill()`.
    """

    name: ClassVar[str] = "azurite"

    @property
    def connection_string(self) -> str:
        """For any SDK of Azure Storage; the same after a restart."""
        return f"DefaultEndpointsProtocol=http;AccountName={ACCOUNT};AccountKey={ACCOUNT_KEY};BlobEndpoint={self.endpoint_url}/{ACCOUNT};"

    def settings(self) -> dict[str, str]:
        """The environment variables that point streamkit's Blob Storage plugin at this server; its container is still to be made."""
        return {
            "STREAMKIT_STORE": "azureblob",
            "STREAMKIT_AZUREBLOB__CONNECTION_STRING": self.connection_string,
            "STREAMKIT_AZUREBLOB__CONTAINER": CONTAINER,
        }

    def create_container(self, name: str | None = None) -> str:
        """Makes a container, by default with a name of its own, and returns its name; nothing happens if it is there.

        Raises SandboxError if the server refuses it, OSError or http.client.HTTPException where there is no answer.
        """
        self._opened()
        name = name or f"container-{token_hex(4)}"
        status, said = self._ask("PUT", f"/{ACCOUNT}/{name}", {"restype": "container"}, _ANSWER_SECONDS)
        if status not in (http.client.CREATED, http.client.CONFLICT):
            raise SandboxError(f"container {name!r} was refused with {status}: {said}")
        return name

    def _command(self, port: int, folder: Path, data: Path | None) -> Program:
        script = npm_package(self.name, PACKAGE) / "dist" / "src" / "blob" / "main.js"
        argv = [str(node(self.name).launcher), "-r", str(ON_LOOPBACK), str(script), "--blobHost", LOOPBACK, "--blobPort", str(port)]
        argv += ["--silent", "--disableTelemetry", "--skipApiVersionCheck"]
        argv += ["--location", str(data)] if data else ["--inMemoryPersistence"]
        return Program(argv)

    def _serves(self, timeout_seconds: float) -> bool:
        try:
            status, _ = self._ask("GET", f"/{ACCOUNT}", {"comp": "list"}, timeout_seconds)
        except (OSError, http.client.HTTPException):
            return False
        return status == http.client.OK

    def _ask(self, method: str, path: str, query: dict[str, str], timeout_seconds: float) -> tuple[int, str]:
        """The status and the text of one request without a body, signed with the account's key."""
        headers = {"x-ms-date": formatdate(usegmt=True), "x-ms-version": _API_VERSION}
        # The string to sign of "Shared Key": the method, eleven headers that are empty here, ours, and the resource.
        signed = [method, *[""] * 11, *(f"{name}:{value}" for name, value in sorted(headers.items())), f"/{ACCOUNT}{path}"]
        signed += [f"{name}:{value}" for name, value in sorted(query.items())]
        digest = hmac.new(base64.b64decode(ACCOUNT_KEY), "\n".join(signed).encode(), hashlib.sha256).digest()
        headers["Authorization"] = f"SharedKey {ACCOUNT}:{base64.b64encode(digest).decode()}"
        connection = http.client.HTTPConnection(LOOPBACK, self._port, timeout=timeout_seconds)
        try:
            asked = "&".join(f"{name}={value}" for name, value in query.items())
            connection.request(method, f"{path}?{asked}", headers=headers)
            answer = connection.getresponse()
            return answer.status, answer.read().decode("utf-8", "replace")[:500]
        finally:
            connection.close()
