"""Sends a request over a connection of botocore's that is open already, and reads the answer, in a third of the time.

botocore and urllib3 open connections, check certificates, go through proxies and keep the pool. What they do again for each
request, though it is always the same, is done here once: lines that do not change, a parser of mails for eight headers, a body in
pieces. `lean.py` asks here before it asks botocore. What is not plain is left to botocore: a request before it is sent, an address with
its first answer that is not plain, for ever. Such an answer is an error of the connection, because nothing here could understand it.
"""

from __future__ import annotations

import re
import socket
import ssl
import weakref
from collections.abc import Iterator, Mapping
from typing import Any

from botocore import exceptions as sdk
from botocore.awsrequest import AWSResponse
from urllib3 import exceptions as http

__all__ = ["OpenConnections", "Whole"]

READ_BYTES = 64 << 10
"""So much is read at once: small answers come in one piece."""
MAX_HEAD = 64 << 10
MAX_HEADERS = 100
_PROTOCOL = b"HTTP/1.1 "
_STATUS = re.compile(r"HTTP/1\.1 ([2-5][0-9][0-9])(?: [^\x00-\x1f\x7f]*)?")
_HEADER = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([^\x00-\x08\x0a-\x1f\x7f]*)")
"""A line that begins otherwise goes on with the header before it, or is none."""
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_LENGTH = re.compile(r"[0-9]{1,12}")
_TARGET = re.compile(r"[A-Za-z0-9/._~-]*")
"""Of others, urllib3 changes what it sends."""

Headers = list[tuple[str, str]]


class Whole:
    """A body that has been read, as botocore expects it."""

    def __init__(self, body: bytes) -> None:
        self._body = body

    def stream(self) -> Iterator[bytes]:
        yield self._body


class _NotPlainError(Exception):
    """It takes more than this to understand the answer, or to know where it ends."""


class OpenConnections:
    """Of one botocore session. From any number of threads: a connection is out of its pool while it is used."""

    def __init__(self, session: Any) -> None:
        """`session`: botocore's `URLLib3Session`."""
        self._session = session
        self._known: dict[str, _Address] = {}
        self._strange: set[str] = set()
        """URLs that are botocore's alone. Only added to, so no thread that still learns one makes it plain again."""

    def learn(self, url: str, headers: Mapping[str, str]) -> None:
        """botocore has had an answer with these headers from there, so there may be a connection. Never raises."""
        known = self._known.get(url)
        if url in self._strange or (known is not None and known.pool() is not None):
            return
        try:
            address = None if "transfer-encoding" in headers else _address_of(self._session, url)
        except Exception:  # a urllib3 or botocore that is built otherwise: the answer is there and must not be lost for that
            address = None
        if address is None:
            self._strange.add(url)
        else:
            self._known[url] = address

    def send(self, request: Any) -> AWSResponse | None:
        """The whole answer to botocore's `AWSPreparedRequest`; None: nothing was sent, botocore has to do it.

        Raises botocore's errors of connections.
        """
        address = self._known.get(request.url)
        if address is None or request.url in self._strange or (request.context and "read_timeout" in request.context):
            return None
        try:
            message, pool = address.message(request), address.pool()
            if message is None or pool is None or (connection := _take(pool)) is None:
                return None
            is_reusable = False
            try:
                status, headers, body, is_reusable = _exchange(connection.sock, message, address.read_seconds)
            finally:
                if not is_reusable:
                    connection.close()
                pool._put_conn(connection)
        except _NotPlainError as error:
            self._strange.add(request.url)
            raise sdk.ConnectionClosedError(error=error, request=request, endpoint_url=request.url) from error
        except ssl.SSLError as error:
            raise sdk.SSLError(endpoint_url=request.url, error=error) from error
        except TimeoutError as error:
            raise sdk.ReadTimeoutError(endpoint_url=request.url, error=error) from error
        except OSError as error:
            raise sdk.ConnectionClosedError(error=error, request=request, endpoint_url=request.url) from error
        except Exception as error:
            raise sdk.HTTPClientError(error=error) from error
        return AWSResponse(request.url, status, headers, Whole(body))


class _Address:
    """One URL, and urllib3's pool of connections to it."""

    def __init__(self, pool: Any, target: str) -> None:
        self.read_seconds: float | None = pool.timeout.read_timeout
        self.pool = weakref.ref(pool)
        """Gone when the client is closed: then urllib3 closes the connections of a pool that nobody holds."""
        unused = pool.ConnectionCls(host=pool.host, port=pool.port)  # never connected: it only shows what is written before the headers
        unused.putrequest("POST", target)
        self._opening = b"\r\n".join(unused._buffer)
        self._written = {line.partition(b":")[0].lower() for line in unused._buffer[1:]}

    def message(self, request: Any) -> bytes | None:
        """All bytes of the request, as `http.client` writes them; None: it is not one of those that this knows."""
        body = request.body
        if request.method != "POST" or not isinstance(body, bytes):
            return None
        lines = [self._opening]
        names = set()
        for name, value in request.headers.items():
            if isinstance(value, str) and value.isascii():
                value = value.encode()
            if not isinstance(value, bytes) or _NAME.fullmatch(name) is None:
                return None
            plain = name.encode()
            names.add(plain.lower())
            lines.append(b"%b: %b" % (plain, value))
        if not names.isdisjoint(self._written) or not names >= {b"user-agent", b"content-length"} or b"expect" in names:
            return None
        head = b"\r\n".join(lines)
        breaks = len(self._written) + len(names)
        if head.count(b"\n") != breaks or head.count(b"\r") != breaks:
            return None  # a header with a line break in it, which `http.client` refuses
        return b"%b\r\n\r\n%b" % (head, body)


def _take(pool: Any) -> Any:
    """A connection that is open; None if there is none."""
    try:
        connection = pool._get_conn()
    except http.PoolError:  # urllib3 has put the pool away
        return None
    if connection.sock is not None:
        return connection
    pool._put_conn(connection)
    return None


def _address_of(session: Any, url: str) -> _Address | None:
    """None: not a plain one. Behind a proxy it is one whose pool never has an open connection: that of the proxy is another one."""
    pool = session._manager.connection_from_url(url)
    target = session._get_request_target(url, None)
    if pool.proxy_headers or _TARGET.fullmatch(target) is None or not (callable(pool._get_conn) and callable(pool._put_conn)):
        return None
    return _Address(pool, target)


def _exchange(sock: socket.socket, message: bytes, seconds: float | None) -> tuple[int, Headers, bytes, bool]:
    """Status, headers, body, and whether the connection may be used again. Raises _NotPlainError."""
    sock.settimeout(seconds)
    sock.sendall(message)
    begun = _more(sock, READ_BYTES)
    while (end := begun.find(b"\r\n\r\n")) < 0:
        # What is refused here may never bring the empty line, and would be waited for until it is too late.
        if len(begun) > MAX_HEAD or not _PROTOCOL.startswith(begun[: len(_PROTOCOL)]) or b"\n" in begun.replace(b"\r\n", b""):
            raise _NotPlainError("an answer that does not begin as one of HTTP/1.1, or has no end of its headers")
        begun += _more(sock, READ_BYTES)
    status, headers, length, is_reusable = _plain(begun[:end].decode("latin-1"))
    parts = [begun[end + 4 :]]
    left = length - len(parts[0])
    while left > 0:
        parts.append(_more(sock, min(left + 1, READ_BYTES)))  # one more than there should be: over TLS nothing else would show it
        left -= len(parts[-1])
    if left < 0:
        raise _NotPlainError("bytes behind an answer, which could be taken for the next one")
    return status, headers, b"".join(parts), is_reusable


def _more(sock: socket.socket, most: int) -> bytes:
    received = sock.recv(most)
    if not received:
        raise ConnectionError("the connection ended before its answer did")
    return received


def _plain(head: str) -> tuple[int, Headers, int, bool]:
    """Status, headers, length of the body, and whether the connection stays. Raises _NotPlainError."""
    begins, *lines = head.split("\r\n")
    found = _STATUS.fullmatch(begins)
    if found is None or found[1] in ("204", "304") or len(lines) > MAX_HEADERS or len(head) > MAX_HEAD:
        raise _NotPlainError("an answer with another status line, without a body, or with too many headers or too long ones")
    headers: Headers = []
    lengths: list[str] = []
    is_reusable = True
    for line in lines:
        header = _HEADER.fullmatch(line)
        if header is None:
            raise _NotPlainError("an answer with a line that is no header")
        name, value = header[1], header[2].rstrip(" \t")
        headers.append((name, value))
        match name.lower():
            case "content-length":
                lengths.append(value)
            case "transfer-encoding":
                raise _NotPlainError("an answer in chunks")
            case "connection" if value.lower() != "keep-alive":
                is_reusable = False
    if len(lengths) != 1 or _LENGTH.fullmatch(lengths[0]) is None:
        raise _NotPlainError("an answer without one length")
    return int(found[1]), headers, int(lengths[0]), is_reusable
