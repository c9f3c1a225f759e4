"""As much of HTTP/1.1 as a proxy between an SDK and a local server needs: whole messages in, whole messages out."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

__all__ = ["MAX_MESSAGE_BYTES", "Message", "read_message"]

MAX_MESSAGE_BYTES = 64 * 1024 * 1024
_HOP_BY_HOP = {"connection", "keep-alive", "content-length", "transfer-encoding", "expect", "accept-encoding"}


@dataclass(slots=True)
class Message:
    """A request or an answer. `stream` is True for an answer whose body has no end that could be waited for; it is not read."""

    first_line: str
    headers: list[tuple[str, str]]
    body: bytes = b""
    stream: bool = False

    def header(self, name: str) -> str:
        """The value of a header, empty if there is none; `name` in lower case."""
        return next((value for key, value in self.headers if key.lower() == name), "")

    @property
    def status(self) -> int:
        """Of an answer."""
        return int(self.first_line.split(" ", 2)[1])

    def head(self, body_bytes: int) -> bytes:
        """The message up to its body, which is announced with `body_bytes`."""
        lines = [self.first_line, *(f"{name}: {value}" for name, value in self.headers if name.lower() not in _HOP_BY_HOP)]
        return "\r\n".join([*lines, f"Content-Length: {body_bytes}", "", ""]).encode("latin-1")

    def rendered(self) -> bytes:
        """The whole message."""
        return self.head(len(self.body)) + self.body

    def raw_head(self) -> bytes:
        """The head with its own framing, for a body that is passed on as it comes."""
        return "\r\n".join([self.first_line, *(f"{name}: {value}" for name, value in self.headers), "", ""]).encode("latin-1")


async def read_message(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Message | None:
    """The next message, None if the other side has closed the connection in between.

    Raises asyncio.IncompleteReadError or OSError if it breaks off. `writer` tells a client that waits for it to go on.
    """
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError as error:
        if not error.partial:
            return None
        raise
    first_line, *lines = head[:-4].decode("latin-1").split("\r\n")
    headers = [(name.strip(), value.strip()) for name, _, value in (line.partition(":") for line in lines)]
    message = Message(first_line, headers)
    if message.header("content-type").startswith("application/vnd.amazon.eventstream"):
        message.stream = True
    elif message.header("transfer-encoding").lower() == "chunked":
        message.body = await _chunks(reader)
    elif length := int(message.header("content-length") or 0):
        if message.header("expect").lower() == "100-continue":
            writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        message.body = await reader.readexactly(length)
    return message


async def _chunks(reader: asyncio.StreamReader) -> bytes:
    parts: list[bytes] = []
    while size := int((await reader.readuntil(b"\r\n")).split(b";")[0], 16):
        parts.append(await reader.readexactly(size))
        await reader.readexactly(2)
    while await reader.readuntil(b"\r\n") != b"\r\n":  # trailers
        pass
    return b"".join(parts)
