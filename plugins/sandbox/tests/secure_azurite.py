"""Azurite with TLS, which asks for tokens as well as for keys: a certificate by an authority of its own, for 127.0.0.1 alone."""

from __future__ import annotations

import socket
import ssl
from pathlib import Path
from typing import ClassVar

import trustme
from streamkit_sandbox.azurite import ACCOUNT, CONTAINER, AzuriteServer
from streamkit_sandbox.local_server import Program
from streamkit_sandbox.loopback import LOOPBACK

__all__ = ["SecureAzurite"]


class SecureAzurite(AzuriteServer):
    """`--oauth basic` looks at a token's issuer, audience and times, and at no signature."""

    name: ClassVar[str] = "azurite"

    @property
    def account_url(self) -> str:
        """What `STREAMKIT_AZUREBLOB__ACCOUNT_URL` is set to."""
        return f"{self.endpoint_url.replace('http:', 'https:')}/{ACCOUNT}"

    @property
    def ca_file(self) -> Path:
        """PEM file of the authority."""
        return self.folder / "ca.pem"

    def settings(self) -> dict[str, str]:
        found = {"ACCOUNT_URL": self.account_url, "CA_FILE": str(self.ca_file), "CONTAINER": CONTAINER}
        return {"STREAMKIT_STORE": "azureblob"} | {f"STREAMKIT_AZUREBLOB__{name}": value for name, value in found.items()}

    def _command(self, port: int, folder: Path, data: Path | None) -> Program:
        program = super()._command(port, folder, data)
        more = ["--oauth", "basic", "--cert", str(folder / "server.pem"), "--key", str(folder / "server.key")]
        return Program([*program.argv, *more])

    def _run(self) -> None:
        authority = trustme.CA()
        authority.cert_pem.write_to_path(self.ca_file)
        server = authority.issue_cert(LOOPBACK)
        (self.folder / "server.pem").write_bytes(b"".join(part.bytes() for part in server.cert_chain_pems))
        server.private_key_pem.write_to_path(self.folder / "server.key")
        super()._run()

    def _serves(self, timeout_seconds: float) -> bool:
        trusting = ssl.create_default_context(cafile=self.ca_file)
        try:
            with socket.create_connection((LOOPBACK, self._port), timeout_seconds) as plain:
                trusting.wrap_socket(plain, server_hostname=LOOPBACK).close()
        except OSError:
            return False
        return True
