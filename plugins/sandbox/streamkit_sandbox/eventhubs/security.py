"""TLS for the emulator: an authority of its own and a certificate for 127.0.0.1 alone, made anew for each emulator.

Nothing here is secret or fit for anything but loopback.
"""

from __future__ import annotations

import ssl
import tempfile
import weakref
from pathlib import Path

from streamkit_sandbox.errors import ServerUnavailableError
from streamkit_sandbox.loopback import LOOPBACK

__all__ = ["Security"]


class Security:
    """The server's side and what clients trust. Raises ServerUnavailableError without trustme."""

    def __init__(self) -> None:
        try:
            import trustme
        except ImportError as error:
            raise ServerUnavailableError(
                "eventhubs", f"its certificate needs trustme ({error})", "install streamkit-sandbox anew"
            ) from error
        authority = trustme.CA()
        self.server_context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        authority.issue_cert(LOOPBACK).configure_cert(self.server_context)
        folder = tempfile.TemporaryDirectory(prefix="streamkit-eventhubs-")
        weakref.finalize(self, folder.cleanup)  # also at the end of the interpreter
        self.ca_file = Path(folder.name) / "ca.pem"
        """PEM file of the authority."""
        authority.cert_pem.write_to_path(self.ca_file)
