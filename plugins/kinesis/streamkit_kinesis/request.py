"""Makes botocore's request of a call with fewer steps: the same events, the same signature, the same bytes.

botocore builds a whole second request to look at the body of the first one, and asks a policy for mails about each header, many times a
call. `lean.py` puts this in the place of its `create_request`, for GetRecords alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from botocore.awsrequest import AWSRequest
from botocore.compat import HTTPHeaders

__all__ = ["Requests"]


class Requests:
    """`create_request` of botocore's endpoint."""

    def __init__(self, endpoint: Any, ordinary: Callable[..., Any]) -> None:
        self._endpoint = endpoint
        self._ordinary = ordinary
        self._emit: Callable[..., object] = endpoint._event_emitter.emit

    def __call__(self, params: Mapping[str, Any], operation_model: Any = None) -> Any:
        if getattr(operation_model, "name", None) != "GetRecords":
            return self._ordinary(params, operation_model)
        request = _Request(params)
        self._emit("request-created.kinesis.GetRecords", request=request, operation_name="GetRecords")
        return self._endpoint.prepare_request(request)


class _Headers(HTTPHeaders):  # type: ignore[misc]  # botocore has no types
    """They are text or bytes, and are kept as they come."""

    def items(self) -> list[tuple[str, Any]]:
        return self._headers.copy()  # type: ignore[no-any-return]

    def __setitem__(self, name: str, value: Any) -> None:
        self._headers.append((name, value))


class _Request(AWSRequest):  # type: ignore[misc]
    """To be signed."""

    def __init__(self, params: Mapping[str, Any]) -> None:
        super().__init__(method=params["method"], url=params["url"], data=params["body"], auth_path=params.get("auth_path"))
        self.headers = _Headers()
        for name, value in params["headers"].items():
            self.headers[name] = value
        self.context = params["context"]

    @property
    def body(self) -> Any:
        """What is sent. Bytes are sent as they are."""
        return self.data if isinstance(self.data, bytes) and self.data else super().body
