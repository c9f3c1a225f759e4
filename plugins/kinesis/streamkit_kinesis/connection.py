"""Sends a request over a connection of botocore's that is open already, and reads the answer, in a third of the time.

botocore and urllib3 open connections, check certificates, go through proxies and keep the pool. What they do again for each
request, though it is always the same, is done here once: lines that do not change, a parser of mails for eight headers, a body in
pieces. `lean.py` asks here before it asks botocore. Whatever is not plain (no connection that is open, a proxy, an answer in chunks)
is left to botocore, or to `http.client`.
"""

from __future__ import annotations

import io
import re
import socket
import ssl
import weakref
from collections.abc import Iterator
from http.client import HTTPException, HTTPResponse, IncompleteRead
from typing import Any, cast

from botocore import exceptions as sdk
from botocore.awsrequest import AWSResponse
from urllib3 import exceptions as http

__all__ = ["OpenConnections", "Whole"]

READ_BYTES = 64 << 10
"""So much is read at once: small answers come in one piece. What is left of a large one is read past this buffer."""
MAX_LINE = 64 << 10
MAX_HEADERS = 100
_PLAIN = re.compile(rb"HTTP/1\.1 ([2-5]\d\d)[ \r]")
_FOLD = re.compile(r"[ \t]*\r?\n[ \t]+")
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
"""A line that begins otherwise goes on with the header before it, or is none."""

_OF_SESSION = ("_manager", "_get_request_target")
_OF_POOL = ("ConnectionCls", "_get_conn", "_put_conn", "timeout", "proxy_headers")
"""Names that are used here and are not public: where one is missing, botocore sends everything."""

Headers = list[tuple[str, str]]


class Whole:
    """A body that has been read, as botocore expects it."""

    def __init__(self, body: bytes) -> None:
        self._body = body

    def stream(self) -> Iterator[bytes]:
        yield self._body


class OpenConnections:
    """Of one botocore session. From any number of threads: a connection is out of its pool while it is used."""

    def __init__(self, session: Any) -> None:
        """`session`: botocore's `URLLib3Session`."""
        self._session = session
        self._known: dict[str, _Address] = {}

    def learn(self, url: str) -> None:
        """botocore has had an answer from there, so there may be a connection. Does nothing if this address is not a plain one."""
        known = self._known.get(url)
        if (known is None or known.pool() is None) and (address := _address_of(self._session, url)) is not None:
            self._known[url] = address

    def send(self, request: Any) -> AWSResponse | None:
        """The whole answer to botocore's `AWSPreparedRequest`; None: nothing was sent, botocore has to do it.

        Raises botocore's errors of connections.
        """
        address = self._known.get(request.url)
        if address is None or (request.context and "read_timeout" in request.context):
            return None
        message, pool = address.message(request), address.pool()
        if message is None or pool is None or (connection := _take(pool)) is None:
            return None
        is_reusable = False
        try:
            status, headers, body, is_reusable = _exchange(connection.sock, message, address.read_seconds)
        except ssl.SSLError as error:
            raise sdk.SSLError(endpoint_url=request.url, error=error) from error
        except TimeoutError as error:
            raise sdk.ReadTimeoutError(endpoint_url=request.url, error=error) from error
        except (OSError, HTTPException) as error:
            raise sdk.ConnectionClosedError(error=error, request=request, endpoint_url=request.url) from error
        finally:
            if not is_reusable:
                connection.close()
            pool._put_conn(connection)
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
            if not isinstance(value, bytes):
                return None
            plain = name.encode("latin-1")
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
    """Behind a proxy this finds a pool in which no connection is ever open: that of the proxy is another one."""
    if not all(hasattr(session, name) for name in _OF_SESSION):
        return None
    pool = session._manager.connection_from_url(url)
    if not all(hasattr(pool, name) for name in _OF_POOL) or pool.proxy_headers:
        return None
    return _Address(pool, session._get_request_target(url, None))


def _exchange(sock: socket.socket, message: bytes, seconds: float | None) -> tuple[int, Headers, bytes, bool]:
    """Status, headers, body, and whether the connection may be used again."""
    if sock.gettimeout() != seconds:
        sock.settimeout(seconds)
    sock.sendall(message)
    with sock.makefile("rb", READ_BYTES) as file:
        lines = [file.readline(MAX_LINE)]
        while lines[-1] not in (b"\r\n", b"\n", b"") and len(lines) <= MAX_HEADERS:
            lines.append(file.readline(MAX_LINE))
        plain = _plain(lines)
        if plain is None:
            return _as_it_comes(b"".join(lines), cast("io.BufferedReader", file))
        status, headers, length, is_reusable = plain
        body = file.read(length)
    if len(body) < length:
        raise IncompleteRead(body, length - len(body))
    return status, headers, body, is_reusable


def _plain(lines: list[bytes]) -> tuple[int, Headers, int, bool] | None:
    """Status, headers, length of the body, and whether the connection stays; None: it takes more than this to understand it."""
    begins = _PLAIN.match(lines[0])
    if begins is None or lines[-1] != b"\r\n":
        return None
    status = int(begins[1])
    headers: Headers = []
    lengths: list[str] = []
    is_reusable = True
    for line in b"".join(lines[1:-1]).decode("latin-1").split("\r\n")[:-1]:
        name, colon, value = line.partition(":")
        if not colon or _NAME.fullmatch(name) is None or "\n" in value:
            return None
        value = value.strip(" \t")
        headers.append((name, value))
        match name.lower():
            case "content-length":
                lengths.append(value)
            case "transfer-encoding":
                return None
            case "connection":
                is_reusable = value.lower() == "keep-alive"
    if len(lengths) != 1 or not (lengths[0].isascii() and lengths[0].isdecimal()) or status in (204, 304):
        return None
    return status, headers, int(lengths[0]), is_reusable


def _as_it_comes(begun: bytes, file: io.BufferedReader) -> tuple[int, Headers, bytes, bool]:
    """The same by `http.client`, of which so much has been read."""
    response = HTTPResponse(_Begun(begun, file), method="POST")  # type: ignore[arg-type]
    response.begin()
    body = response.read()
    headers = [(name, _FOLD.sub(" ", value)) for name, value in response.getheaders()]
    return response.status, headers, body, not response.will_close


class _Begun:
    """A socket, as far as `HTTPResponse` needs one."""

    def __init__(self, begun: bytes, file: io.BufferedReader) -> None:
        self._begun = begun
        self._file = file

    def makefile(self, mode: str) -> io.BufferedReader:
        return io.BufferedReader(_Joined(self._begun, self._file))


class _Joined(io.RawIOBase):
    """What has been read, and then the rest."""

    def __init__(self, begun: bytes, file: io.BufferedReader) -> None:
        self._begun = begun
        self._file = file

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        part = self._begun[: len(buffer)] or self._file.read1(len(buffer))
        self._begun = self._begun[len(part) :]
        buffer[: len(part)] = part
        return len(part)
