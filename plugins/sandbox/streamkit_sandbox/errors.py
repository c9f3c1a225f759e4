"""What can go wrong with a server of the sandbox.

SandboxError
├─ ServerUnavailableError   it cannot be had here (no network, no package); tests that need it are skipped
└─ ServerStartError         it was there and did not start or ended early; that is a failure, with the end of its log
"""

from __future__ import annotations

__all__ = ["SandboxError", "ServerStartError", "ServerUnavailableError"]


class SandboxError(Exception):
    """Base of the errors of this package; raised itself for a setting that makes no sense."""


class ServerUnavailableError(SandboxError):
    """A server cannot be had on this machine; the text is one line with the cause and the fix."""

    def __init__(self, server: str, cause: str, fix: str) -> None:
        self.server, self.cause, self.fix = server, one_line(cause), one_line(fix)
        super().__init__(f"{server} is not available: {self.cause}; {self.fix}")


class ServerStartError(SandboxError):
    """A server did not become ready; `log_tail` (also in the text) holds the last lines that it wrote."""

    def __init__(self, server: str, cause: str, log_tail: str = "") -> None:
        self.server, self.cause, self.log_tail = server, one_line(cause), log_tail
        tail = "\n".join(f"  | {line}" for line in log_tail.splitlines()) or "  | (nothing was written)"
        super().__init__(f"{server} did not start: {self.cause}; the end of its log:\n{tail}")


def one_line(text: str) -> str:
    """`text` with every run of white space as one space."""
    return " ".join(text.split())
