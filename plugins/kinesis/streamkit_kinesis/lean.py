"""Makes a client's `get_records` cheaper: what botocore works out anew for each call, though it is the same each time, is kept.

The address, the headers and the context of a request are learned from the first call of a stream, and the body is read in one
piece. `request.py` makes the request with fewer steps, and `connection.py` sends it where a connection is open already. Signing,
credentials, retries, opening connections, errors and the parser of answers stay botocore's: it is entered one floor below
`_make_api_call`. The first call of each stream is an ordinary one, and so is each with arguments that are not known here. A botocore
that is built otherwise is left as it is. `client.py` calls this once for each client that reads.

The other calls make no events `provide-client-params`, `before-parameter-build`, `before-endpoint-resolution`, `before-call`,
`after-call` and `after-call-error`. Where somebody has used them to put something of a call into its context or its headers (client-side
metrics, a trace of Lambda), every call stays an ordinary one.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, Protocol, cast

from botocore import exceptions as sdk
from urllib3 import exceptions as http

from streamkit_kinesis.connection import OpenConnections, Whole
from streamkit_kinesis.request import Requests

__all__ = ["make_lean"]

Answer = Mapping[str, Any]
_TARGETS = ("Kinesis_20131202.GetRecords", b"Kinesis_20131202.GetRecords")
"""botocore makes bytes of some headers."""
_ARGUMENTS = {"ShardIterator", "Limit", "StreamARN"}
"""All of them text and numbers, so the body is plain JSON."""
_CONTEXT = {
    "client_region",
    "client_config",
    "has_streaming_input",
    "auth_type",
    "unsigned_payload",
    "auth_options",
    "endpoint_properties",
    "signing",
}
_HEADERS = {"Content-Type", "User-Agent", "X-Amz-Target"}
"""These two are what botocore itself has worked out when it makes a call, the same for each; anything else may be of one call alone."""


class _Response(Protocol):
    """botocore's, not yet read."""

    raw: Any
    headers: Mapping[str, str]


def make_lean(client: Any) -> bool:
    """From now on `client.get_records` costs less and does the same. False: this botocore is another one, nothing was changed.

    The client must be boto3's, made and not yet used. Calls may come from many threads.
    """
    endpoint: Any = getattr(client, "_endpoint", None)
    make_request = getattr(endpoint, "make_request", None)
    send = getattr(endpoint, "_send", None)
    if make_request is None or send is None:
        return False
    # Not a handler of `before-send`: who answers there, a stub of a test, means that nothing is sent.
    endpoint._send = _Sender(send, OpenConnections(getattr(endpoint, "http_session", None)))
    if hasattr(endpoint, "create_request") and hasattr(endpoint, "prepare_request") and hasattr(endpoint, "_event_emitter"):
        endpoint.create_request = Requests(endpoint, endpoint.create_request)
    _keep_user_agent(client)
    call = _Call(client.get_records, make_request, client.exceptions)
    client.meta.events.register_last("before-call", call.learn)  # behind all who put something into the call
    client.get_records = call
    return True


def _keep_user_agent(client: Any) -> None:
    """botocore writes the header when it makes a request, and once more before it sends it; the second time costs as much."""
    again = getattr(getattr(client, "_user_agent_creator", None), "rebuild_and_replace_user_agent_handler", None)
    if again is not None:
        client.meta.events.unregister("request-created.kinesis", again)


class _Call:
    """`get_records`."""

    def __init__(self, ordinary: Callable[..., Answer], make_request: Callable[..., tuple[Any, dict[str, Any]]], exceptions: Any) -> None:
        self._ordinary = ordinary
        self._make_request = make_request
        self._exceptions = exceptions
        self._learned: dict[str | None, tuple[object, dict[str, Any]]] = {}
        """By the stream's ARN, because the address may follow from it; None: requests that name none."""
        self._is_ordinary = False
        """There was something in a call that may be of that call alone."""

    def learn(self, model: Any, params: Mapping[str, Any], **_: object) -> None:
        """botocore is about to make an ordinary call: what it has worked out is good for the next ones too."""
        if model.name != "GetRecords" or self._is_ordinary:
            return
        if params["context"].keys() <= _CONTEXT and params["headers"].keys() <= _HEADERS:
            arn = json.loads(params["body"]).get("StreamARN")
            self._learned[arn] = (model, _copy({name: value for name, value in params.items() if name != "body"}))
        else:
            self._is_ordinary = True

    def __call__(self, **arguments: object) -> Answer:
        learned = self._learned.get(cast("str | None", arguments.get("StreamARN")))
        if learned is None or self._is_ordinary or not arguments.keys() <= _ARGUMENTS:
            return self._ordinary(**arguments)
        model, template = learned
        request = _copy(template)
        request["body"] = json.dumps(arguments).encode()
        response, parsed = self._make_request(model, request)
        if response.status_code < 300:
            return parsed
        code = parsed.get("Error", {}).get("Code")
        raise self._exceptions.from_code(code)(parsed, "GetRecords")


def _copy(template: Mapping[str, Any]) -> dict[str, Any]:
    """botocore writes into a request and its context while it makes it."""
    copy = {name: dict(value) if isinstance(value, dict) else value for name, value in template.items()}
    copy["context"] = {name: dict(value) if isinstance(value, dict) else value for name, value in template["context"].items()}
    return copy


class _Sender:
    """Sends a request as botocore does, but reads the body of an answer with records in one piece and not in a thousand.

    That is inside botocore's retries, and a body that ends too early is an error of the connection here.
    """

    def __init__(self, send: Callable[[Any], _Response], connections: OpenConnections) -> None:
        self._send = send
        self._open = connections

    def __call__(self, request: Any) -> _Response:
        if request.headers.get("X-Amz-Target") not in _TARGETS:
            return self._send(request)
        if (answered := self._open.send(request)) is not None:
            return cast("_Response", answered)
        request.stream_output = True
        response = self._send(request)
        try:
            body = response.raw.read(decode_content=False)
        except http.SSLError as error:
            raise sdk.SSLError(endpoint_url=request.url, error=error) from error
        except http.ReadTimeoutError as error:
            raise sdk.ReadTimeoutError(endpoint_url=request.url, error=error) from error
        except http.ProtocolError as error:
            raise sdk.ConnectionClosedError(error=error, request=request, endpoint_url=request.url) from error
        except Exception as error:  # as botocore's own `send` ends: a length that no machine has memory for, a chunk of less than nothing
            raise sdk.HTTPClientError(error=error) from error
        response.raw = Whole(body)
        self._open.learn(request.url, response.headers)
        return response
